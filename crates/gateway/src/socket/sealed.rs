//! TLS on a stream that is read and written without waiting: what it holds back is bounded and never forgotten.
//!
//! Once rustls has encrypted something it has to leave, or the peer cannot read what comes after it. So what was taken is
//! gone from the outbox, and nothing more is taken until the kernel has all of it.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConnection;

/// The most that is encrypted ahead of the kernel: one record's worth (RFC 8446 section 5.1). With more, a peer that does
/// not read would be noticed by the outbox that much later.
const AHEAD_BYTES: usize = 16 * 1024;

/// A stream and the TLS session on it.
#[derive(Debug)]
pub struct Sealed {
    stream: TcpStream,
    session: RefCell<ServerConnection>,
    /// The session may hold text that has been decrypted and not been read: the kernel would not tell of it.
    has_opened: Cell<bool>,
    /// What was taken since nothing was held back.
    unsent_bytes: Cell<usize>,
    is_ending: Cell<bool>,
}

impl Sealed {
    pub(super) fn new(stream: TcpStream, mut session: ServerConnection) -> Self {
        session.set_buffer_limit(Some(AHEAD_BYTES));
        let (has_opened, unsent_bytes, is_ending) = (Cell::new(true), Cell::new(0), Cell::new(false));
        Self { stream, session: RefCell::new(session), has_opened, unsent_bytes, is_ending }
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn has_opened(&self) -> bool {
        self.has_opened.get()
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent_bytes.get()
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        loop {
            match session.reader().read(buffer) {
                Ok(length) => {
                    self.has_opened.set(length > 0);
                    return Ok(length);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.has_opened.set(false),
                // Its end came without a close_notify. Frames tell by themselves whether they are whole.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
            session.read_tls(&mut Kernel(&self.stream))?;
            let processed = session.process_new_packets();
            // An alert, or the answer to an update of keys. If the kernel is full, it leaves before what is written next.
            let sent = self.send(&mut session);
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            sent?;
        }
    }

    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        if !self.send(&mut session)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = session.writer().write_vectored(slices)?;
        self.unsent_bytes.set(taken);
        self.send(&mut session)?;
        Ok(taken)
    }

    pub(super) fn try_flush(&self) -> io::Result<bool> {
        self.send(&mut self.session.borrow_mut())
    }

    /// Says the end within TLS; true once that has left.
    pub(super) fn try_end(&self) -> io::Result<bool> {
        let mut session = self.session.borrow_mut();
        if !self.is_ending.replace(true) {
            session.send_close_notify();
        }
        self.send(&mut session)
    }

    /// Gives the kernel what waits; false if it does not take all of it.
    fn send(&self, session: &mut ServerConnection) -> io::Result<bool> {
        while session.wants_write() {
            match session.write_tls(&mut Kernel(&self.stream)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.unsent_bytes.set(0);
        Ok(true)
    }
}

/// What rustls reads from and writes to.
struct Kernel<'a>(&'a TcpStream);

impl Read for Kernel<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Kernel<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
