//! A socket without a wire: what is written waits for readers that come and go, such as polls. Whoever reads gets whole
//! frames, as they would have gone to a WebSocket; [`messages`] takes them apart.
//!
//! Nothing is kept here: without a reader nothing is taken, so what waits stays in the outbox, within its bounds. A pipe
//! may be succeeded by a stream, which gets everything from then on.

use crate::socket::Socket;
use crate::websocket::{ServerMessage, server_messages};
use std::cell::{Cell, OnceCell, RefCell};
use std::io::{self, IoSlice};
use tokio::sync::Notify;

/// About how much one reader is given that says nothing else; every slice that is offered is taken whole, or frames would be
/// cut.
const READ_BYTES: usize = 256 * 1024;

/// A pipe's inside.
#[derive(Debug, Default)]
pub struct Pipe {
    taken: RefCell<Vec<u8>>,
    /// The reader that waits.
    reader: Cell<Option<u64>>,
    /// About how much a reader is given; 0: as by default.
    read_bytes: Cell<usize>,
    release: Cell<Option<Release>>,
    has_ended: Cell<bool>,
    successor: OnceCell<Socket>,
    /// Told to a reader.
    news: Notify,
    /// Told to whoever waits for room or an end.
    changed: Notify,
}

/// Why a reader goes without having got anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// There is nothing for it.
    Nothing,
    /// Its place is another reader's, or a stream's.
    Replaced,
}

/// What a reader has got.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// Whole frames.
    Frames(Vec<u8>),
    /// Nothing, and why.
    Released(Release),
    /// There will be nothing any more.
    Ended,
}

impl Pipe {
    /// The reader that waits.
    pub fn reader(&self) -> Option<u64> {
        self.reader.get()
    }

    /// A reader has come: it is given what is written from now on. One that waited before goes.
    pub fn begin(&self, reader: u64) {
        if self.reader.replace(Some(reader)).is_some() {
            self.news.notify_waiters();
        }
        self.release.set(None);
        self.changed.notify_waiters();
    }

    /// Its readers are given about so much at a time: what one of them has and has not passed on is in nobody's bound.
    pub fn limit(&self, read_bytes: usize) {
        self.read_bytes.set(read_bytes);
    }

    /// The reader has gone.
    pub fn end(&self, reader: u64) {
        if self.reader.get() == Some(reader) {
            self.reader.set(None);
        }
    }

    /// Has the reader go, if one waits.
    pub fn release(&self, why: Release) {
        if self.reader.get().is_some() {
            self.release.set(Some(why));
            self.news.notify_waiters();
        }
    }

    /// Waits for something to read.
    pub async fn read(&self, reader: u64) -> Got {
        loop {
            let news = self.news.notified();
            let mut news = std::pin::pin!(news);
            news.as_mut().enable();
            if self.reader.get() != Some(reader) {
                return Got::Released(Release::Replaced);
            }
            // First: what has been taken is nowhere else.
            if !self.taken.borrow().is_empty() {
                // There is room again, should it go on to read.
                self.changed.notify_waiters();
                return Got::Frames(self.taken.take());
            }
            if let Some(release) = self.release.take() {
                return Got::Released(release);
            }
            if self.has_ended.get() {
                return Got::Ended;
            }
            news.await;
        }
    }

    /// Waits for the end of all that is to be read.
    pub async fn ended(&self) {
        // It cannot fail; a stream that goes on in its place has an end of its own.
        let _ = self.wait(|| self.has_ended.get()).await;
    }

    /// The stream that goes on in its place.
    pub fn successor(&self) -> Option<&Socket> {
        self.successor.get()
    }

    /// Goes on as a stream, which gets everything that has not been read.
    pub fn succeed(&self, stream: Socket) {
        let _ = self.successor.set(stream);
        self.release(Release::Replaced);
        self.changed.notify_waiters();
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.wait(|| self.has_ended.get()).await?;
        match self.successor.get() {
            Some(stream) => Box::pin(stream.readable()).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.wait(|| self.has_ended.get() || self.has_room()).await?;
        match self.successor.get() {
            Some(stream) => Box::pin(stream.writable()).await,
            None => Ok(()),
        }
    }

    async fn wait(&self, is_so: impl Fn() -> bool) -> io::Result<()> {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.successor.get().is_some() || is_so() {
                return Ok(());
            }
            changed.await;
        }
    }

    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.successor.get() {
            Some(stream) => stream.try_read(buffer),
            None if self.has_ended.get() => Ok(0),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn bound(&self) -> usize {
        if self.read_bytes.get() == 0 { READ_BYTES } else { self.read_bytes.get() }
    }

    fn has_room(&self) -> bool {
        self.reader.get().is_some() && self.release.get().is_none() && self.taken.borrow().len() < self.bound()
    }

    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(stream) = self.successor.get() {
            return stream.try_write(slices);
        }
        if self.has_ended.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !self.has_room() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = self.taken.borrow_mut();
        let before = taken.len();
        for slice in slices {
            if taken.len() >= self.bound() {
                break;
            }
            taken.extend_from_slice(slice);
        }
        self.news.notify_waiters();
        Ok(taken.len() - before)
    }

    pub(crate) fn finish(&self) {
        self.has_ended.set(true);
        self.news.notify_waiters();
        self.changed.notify_waiters();
    }
}

/// The messages of whole frames.
pub fn messages(frames: &[u8]) -> impl Iterator<Item = ServerMessage<'_>> {
    server_messages(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(pipe: &Pipe, bytes: &[u8]) -> io::Result<usize> {
        pipe.try_write(&[IoSlice::new(bytes)])
    }

    #[tokio::test]
    async fn nothing_is_taken_without_a_reader_and_what_is_taken_is_whole() {
        let pipe = Pipe::default();
        assert_eq!(write(&pipe, b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        pipe.begin(1);
        assert_eq!(write(&pipe, &[7; 2 * READ_BYTES]).unwrap(), 2 * READ_BYTES);
        assert_eq!(write(&pipe, b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock, "that is enough for one");
        assert_eq!(pipe.read(1).await, Got::Frames(vec![7; 2 * READ_BYTES]));
    }

    #[tokio::test]
    async fn whoever_reads_a_little_at_a_time_gets_whole_slices_and_makes_room() {
        let pipe = Pipe::default();
        pipe.limit(10);
        pipe.begin(1);
        let slices = [[1; 6], [2; 6], [3; 6]];
        assert_eq!(pipe.try_write(&slices.each_ref().map(|slice| IoSlice::new(slice))).unwrap(), 12);
        assert_eq!(write(&pipe, b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let (got, room) = tokio::join!(pipe.read(1), pipe.writable());
        assert_eq!((got, room.is_ok()), (Got::Frames([[1; 6], [2; 6]].concat()), true));
        assert_eq!(write(&pipe, b"x").unwrap(), 1);
    }

    #[tokio::test]
    async fn a_reader_is_woken_by_what_comes_by_its_release_and_by_the_end() {
        let pipe = Pipe::default();
        pipe.begin(1);
        let ((), got) = tokio::join!(async { drop(write(&pipe, b"x")) }, pipe.read(1));
        assert_eq!(got, Got::Frames(b"x".to_vec()));
        let ((), got) = tokio::join!(async { pipe.release(Release::Nothing) }, pipe.read(1));
        assert_eq!(got, Got::Released(Release::Nothing));
        let ((), got) = tokio::join!(async { pipe.begin(2) }, pipe.read(1));
        assert_eq!(got, Got::Released(Release::Replaced));
        let ((), got) = tokio::join!(async { pipe.finish() }, pipe.read(2));
        assert_eq!(got, Got::Ended);
        assert_eq!(pipe.try_read(&mut [0]).unwrap(), 0);
    }
}
