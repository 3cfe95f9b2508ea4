//! Which connections have something to say: those of the first group before those of the next.
//!
//! Where a small group is measured beside a large one, its deliveries must not wait here behind 10,000 others, or what is
//! measured is the generator.

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// What is taken at once where there is one group.
const EVENTS: usize = 1024;

/// The same where there are several: in between the first ones are looked at again, about every 0.2 ms.
const EVENTS_OF_SEVERAL: usize = 64;

/// Connections, and whether each can be read.
type News = Vec<(usize, bool)>;

/// Everything that is watched.
pub(super) struct Watch {
    groups: Vec<Poll>,
    /// Watches the groups themselves.
    all: Poll,
    events: Events,
    news: News,
}

impl Watch {
    pub(super) fn new(groups: usize) -> io::Result<Self> {
        let all = Poll::new()?;
        let groups = (0..groups.max(1)).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
        for (number, group) in groups.iter().enumerate() {
            all.registry().register(&mut SourceFd(&group.as_raw_fd()), Token(number), Interest::READABLE)?;
        }
        let events = if groups.len() == 1 { EVENTS } else { EVENTS_OF_SEVERAL };
        Ok(Self { groups, all, events: Events::with_capacity(events), news: News::new() })
    }

    /// Where a group's connections are registered.
    pub(super) fn registry(&self, group: usize) -> &Registry {
        self.groups[group].registry()
    }

    /// Some of what has happened in the first group where something has; waits for it if there is nothing at all.
    pub(super) fn take(&mut self, wait: Duration) -> io::Result<News> {
        if self.groups.len() == 1 {
            self.look(0, wait)?;
        } else if !self.look_at_all()? && !wait.is_zero() {
            // Nothing has happened up to here, so that whatever does is told.
            poll(&mut self.all, &mut self.events, wait)?;
            self.look_at_all()?;
        }
        Ok(std::mem::take(&mut self.news))
    }

    /// Takes a list back, which need not be made again.
    pub(super) fn give_back(&mut self, news: News) {
        self.news = news;
    }

    fn look_at_all(&mut self) -> io::Result<bool> {
        for group in 0..self.groups.len() {
            if self.look(group, Duration::ZERO)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn look(&mut self, group: usize, wait: Duration) -> io::Result<bool> {
        poll(&mut self.groups[group], &mut self.events, wait)?;
        self.news.extend(self.events.iter().map(|event| (event.token().0, event.is_readable())));
        Ok(!self.news.is_empty())
    }
}

fn poll(poll: &mut Poll, events: &mut Events, wait: Duration) -> io::Result<()> {
    match poll.poll(events, Some(wait)) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            events.clear();
            Ok(())
        }
        polled => polled,
    }
}
