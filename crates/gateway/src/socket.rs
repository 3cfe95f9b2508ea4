//! The stream of one connection: what the rest needs of it, whether plain, encrypted, or none.

mod sealed;

use crate::pipe::Pipe;
use sealed::Sealed;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConnection;

/// How much unsent data the kernel may hold for a peer that does not read. The default hides megabytes from the bound of
/// the outbox.
const UNSENT_BYTES: u32 = 16 * 1024;

/// One stream.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<Sealed>),
    /// None: the client comes for what there is, until a stream goes on in its place.
    Piped(Box<Pipe>),
}

impl Socket {
    /// Takes a stream over.
    pub fn plain(stream: TcpStream) -> Self {
        prepare(&stream);
        Self::Plain(stream)
    }

    /// Takes over a stream and the TLS session on it, whose handshake is done.
    pub fn tls(stream: TcpStream, session: ServerConnection) -> Self {
        prepare(&stream);
        Self::Tls(Box::new(Sealed::new(stream, session)))
    }

    /// No stream as yet.
    pub fn piped() -> Self {
        Self::Piped(Box::default())
    }

    /// The pipe, if it is one that no stream has succeeded.
    pub fn pipe(&self) -> Option<&Pipe> {
        match self {
            Self::Piped(pipe) if pipe.successor().is_none() => Some(pipe),
            Self::Piped(_) | Self::Plain(_) | Self::Tls(_) => None,
        }
    }

    /// The stream, taken off the runtime of this thread; `None` for one whose encryption knows more than its bytes.
    pub fn into_std(self) -> Option<std::net::TcpStream> {
        match self {
            Self::Plain(stream) => stream.into_std().ok(),
            Self::Tls(_) | Self::Piped(_) => None,
        }
    }

    /// Waits until there may be something to read. For one task at a time: the runtime remembers one reader of a stream
    /// without memory of its own, while each of several would have a place in a list within its future, and so in the task
    /// of every idle connection.
    ///
    /// # Errors
    /// When the stream is broken.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tls(sealed) if sealed.has_opened() => Ok(()),
            Self::Tls(sealed) => poll_fn(|cx| sealed.stream().poll_read_ready(cx)).await,
            Self::Plain(stream) => poll_fn(|cx| stream.poll_read_ready(cx)).await,
            // Boxed, like all that is rare and would make every task larger.
            Self::Piped(pipe) => Box::pin(pipe.readable()).await,
        }
    }

    /// Waits until the kernel may take more.
    ///
    /// # Errors
    /// When the stream is broken.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.writable().await,
            Self::Tls(sealed) => sealed.stream().writable().await,
            Self::Piped(pipe) => pipe.writable().await,
        }
    }

    /// Reads what has arrived; `Ok(0)` at the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has; else the stream is broken.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_read(buffer),
            Self::Tls(sealed) => sealed.try_read(buffer),
            Self::Piped(pipe) => pipe.try_read(buffer),
        }
    }

    /// Writes what can be taken, in one call. What is taken has left the outbox for good, but see [`Socket::try_flush`].
    ///
    /// # Errors
    /// `WouldBlock` when nothing can be taken; else the stream is broken.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Plain(stream), [one]) => stream.try_write(one),
            (Self::Plain(stream), many) => stream.try_write_vectored(many),
            (Self::Tls(sealed), slices) => sealed.try_write(slices),
            (Self::Piped(pipe), slices) => pipe.try_write(slices),
        }
    }

    /// Hands to the kernel what was taken and has not left yet; false while there is still some.
    ///
    /// # Errors
    /// When the stream is broken.
    pub fn try_flush(&self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(sealed) => sealed.try_flush(),
            Self::Piped(pipe) => pipe.successor().map_or(Ok(true), |socket| socket.try_flush()),
        }
    }

    /// How much that is, in bytes; at most some 16 KiB.
    pub fn unsent_bytes(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(sealed) => sealed.unsent_bytes(),
            Self::Piped(pipe) => pipe.successor().map_or(0, |socket| socket.unsent_bytes()),
        }
    }

    /// Ends both directions: whoever still waits for this socket is woken.
    pub fn shutdown(&self) {
        self.cut(Shutdown::Both);
    }

    /// Says that nothing more will be written, so that the peer reads the last frame and then the end; false if that has
    /// to wait until the kernel takes more.
    pub fn try_end(&self) -> bool {
        if let Self::Tls(sealed) = self
            && !sealed.try_end().unwrap_or(true)
        {
            return false;
        }
        if let Self::Piped(pipe) = self {
            pipe.finish();
            return pipe.successor().is_none_or(|socket| socket.try_end());
        }
        self.cut(Shutdown::Write);
        true
    }

    fn cut(&self, how: Shutdown) {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(sealed) => sealed.stream(),
            Self::Piped(pipe) => {
                pipe.finish();
                pipe.successor().inspect(|socket| socket.cut(how));
                return;
            }
        };
        let _ = socket2::SockRef::from(stream).shutdown(how);
    }
}

/// Prepares a stream that is to speak HTTP, perhaps for long: what its peer does not acknowledge for so long ends it, be the
/// peer gone without a word. Whoever takes it over has other ways to find that out.
pub fn prepare_http(stream: &TcpStream, patience: Duration) {
    prepare(stream);
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(patience));
}

fn prepare(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(None);
    // Each of these only makes things better; a kernel that lacks one is no reason to refuse a client.
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES);
}
