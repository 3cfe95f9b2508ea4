//! The stream of one connection: what the rest needs of it, whether plain or (later) encrypted.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use tokio::net::TcpStream;

/// How much unsent data the kernel may hold for a peer that does not read. The default hides megabytes from the bound of
/// the outbox.
const UNSENT_BYTES: u32 = 16 * 1024;

/// One stream.
#[derive(Debug)]
pub struct Socket(TcpStream);

impl Socket {
    /// Takes a stream over.
    pub fn new(stream: TcpStream) -> Self {
        // Each of these only makes things better; a kernel that lacks one is no reason to refuse a client.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
        Self(stream)
    }

    /// Waits until there may be something to read.
    pub async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// Waits until the kernel may take more.
    pub async fn writable(&self) -> io::Result<()> {
        self.0.writable().await
    }

    /// Reads what has arrived; `Ok(0)` at the end.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }

    /// Writes what the kernel takes, in one call.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => self.0.try_write(one),
            many => self.0.try_write_vectored(many),
        }
    }

    /// Ends both directions: whoever still waits for this socket is woken.
    pub fn shutdown(&self) {
        let _ = socket2::SockRef::from(&self.0).shutdown(Shutdown::Both);
    }

    /// Says that nothing more will be written, so that the peer reads the last frame and then the end.
    pub fn shutdown_write(&self) {
        let _ = socket2::SockRef::from(&self.0).shutdown(Shutdown::Write);
    }
}
