//! The stream of one connection: what the rest needs of it, whatever it is.

use crate::pipe::Pipe;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use tokio::net::TcpStream;

/// How much unsent data the kernel may hold for a peer that does not read. The default hides megabytes from the bound of
/// the outbox.
const UNSENT_BYTES: u32 = 16 * 1024;

/// One stream.
#[derive(Debug)]
pub enum Socket {
    /// A stream to the client.
    Plain(TcpStream),
    /// None: the client comes for what there is.
    Piped(Box<Pipe>),
}

impl Socket {
    /// Takes a stream over.
    pub fn new(stream: TcpStream) -> Self {
        tune(&stream);
        Self::Plain(stream)
    }

    /// No stream as yet.
    pub fn piped() -> Self {
        Self::Piped(Box::default())
    }

    /// The pipe, if it is one that no stream has succeeded.
    pub fn pipe(&self) -> Option<&Pipe> {
        match self {
            Self::Piped(pipe) if pipe.successor().is_none() => Some(pipe),
            Self::Piped(_) | Self::Plain(_) => None,
        }
    }

    fn stream(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Piped(pipe) => pipe.successor(),
        }
    }

    /// Waits until there may be something to read.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.readable().await,
            Self::Piped(pipe) => pipe.readable().await,
        }
    }

    /// Waits until more may be taken.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.writable().await,
            Self::Piped(pipe) => pipe.writable().await,
        }
    }

    /// Reads what has arrived; `Ok(0)` at the end.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_read(buffer),
            Self::Piped(pipe) => pipe.try_read(buffer),
        }
    }

    /// Writes what is taken, in one call.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, self.stream(), slices) {
            (_, Some(stream), [one]) => stream.try_write(one),
            (_, Some(stream), many) => stream.try_write_vectored(many),
            (Self::Piped(pipe), None, slices) => pipe.try_write(slices),
            (Self::Plain(_), None, _) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Ends both directions: whoever still waits for this socket is woken.
    pub fn shutdown(&self) {
        self.end(Shutdown::Both);
    }

    /// Says that nothing more will be written, so that the peer reads the last frame and then the end.
    pub fn shutdown_write(&self) {
        self.end(Shutdown::Write);
    }

    fn end(&self, how: Shutdown) {
        if let Self::Piped(pipe) = self {
            pipe.finish();
        }
        if let Some(stream) = self.stream() {
            let _ = socket2::SockRef::from(stream).shutdown(how);
        }
    }
}

/// Sets a stream up. Each of these only makes things better; a kernel that lacks one is no reason to refuse a client.
pub fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES);
}
