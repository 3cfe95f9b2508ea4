//! Thousands of connections of users that subscribe, listen and answer pings, and otherwise say nothing unless they are told
//! to. In the harness itself: what it costs is told of no server.

use super::connection::Connection;
use super::dialect::Dialect;
use super::open::{Wanted, open_all};
use crate::Fault;
use crate::speed::pin;
use crate::speed::tokens;
use mio::{Events, Interest, Poll, Token};
use std::time::{Duration, Instant};

/// How long something that is waited for may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest wait for something to happen.
const TURN: Duration = Duration::from_millis(50);

/// How many come together.
const TOGETHER: usize = 256;

/// Descriptors that the harness needs beside those of the connections.
const FILES_SPARE: u64 = 200;

/// Connections that are kept.
pub(crate) struct Audience {
    core: usize,
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    connections: Vec<Connection>,
    heard: Heard,
}

/// What they have heard, all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Subscriptions that were confirmed.
    pub(crate) subscribed: u64,
    /// Publications.
    pub(crate) publications: u64,
    /// Pings, each of which was answered.
    pub(crate) pings: u64,
    /// What was refused or missed.
    pub(crate) refused: u64,
    /// Connections that have ended.
    pub(crate) closed: u64,
}

impl Audience {
    /// Nobody, on this core.
    pub(crate) fn on(core: usize, room: usize) -> Result<Self, Fault> {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        if files < room as u64 + FILES_SPARE {
            return Err(format!("{room} connections need more open files than {files} (ulimit -n)").into());
        }
        let (poll, events) = (Poll::new()?, Events::with_capacity(1024));
        Ok(Self { core, poll, events, scratch: vec![0; 256 * 1024], connections: Vec::new(), heard: Heard::default() })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// What they have heard up to now.
    pub(crate) fn heard(&self) -> Heard {
        let pings = self.connections.iter().map(|connection| u64::from(connection.pings)).sum();
        Heard { pings, ..self.heard }
    }

    /// So many more come, each a user with a token of its own, and subscribe to the channels of their number.
    pub(crate) fn come(
        &mut self,
        url: &str,
        more: usize,
        channels: impl Fn(usize) -> Vec<String>,
    ) -> Result<(), Fault> {
        let last = self.len() + more;
        while self.len() < last {
            let numbers = self.len()..(self.len() + TOGETHER).min(last);
            self.come_together(url, numbers, &channels)?;
        }
        Ok(())
    }

    fn come_together(
        &mut self,
        url: &str,
        numbers: std::ops::Range<usize>,
        channels: &impl Fn(usize) -> Vec<String>,
    ) -> Result<(), Fault> {
        let wanted = numbers.clone().map(|number| {
            let token = Some(tokens::of(&format!("user-{number}"))?);
            Ok(Wanted { url: url.to_owned(), channel: None, token })
        });
        let wanted: Vec<Wanted> = wanted.collect::<Result<_, Fault>>()?;
        let opened = pin::on(&[self.core], || open_all(&wanted, Dialect::Native))??;
        let mut due = self.heard.subscribed;
        for (number, opened) in numbers.zip(opened) {
            let mut connection = Connection::new(opened, 0, None)?;
            for (id, channel) in (1..).zip(channels(number)) {
                connection.say(&format!(r#"{{"type":"subscribe","id":{id},"channel":"{channel}"}}"#));
                due += 1;
            }
            connection.flush()?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut connection.stream, Token(number), interest)?;
            self.connections.push(connection);
            self.read(number);
        }
        self.until("subscriptions", |heard| heard.subscribed >= due)
    }

    /// One of them publishes a payload that needs no escaping.
    pub(crate) fn publish(&mut self, number: usize, channel: &str, payload: &str) -> Result<(), Fault> {
        self.connections[number].say(&Dialect::Native.publish(channel, payload));
        Ok(self.connections[number].flush()?)
    }

    /// Listens for so long.
    pub(crate) fn listen(&mut self, time: Duration) -> Result<(), Fault> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.turn(left.min(TURN))?;
        }
        Ok(())
    }

    /// Listens until they have heard it.
    pub(crate) fn until(&mut self, what: &str, is_heard: impl Fn(&Heard) -> bool) -> Result<(), Fault> {
        let mut end = Instant::now() + PATIENCE;
        let mut before = self.heard;
        while !is_heard(&self.heard) {
            self.turn(TURN)?;
            if self.heard.closed > 0 {
                return Err(format!("connections have ended while {what} were waited for: {:?}", self.heard).into());
            }
            if self.heard != before {
                (before, end) = (self.heard, Instant::now() + PATIENCE);
            }
            if Instant::now() > end {
                return Err(format!("{what} do not come: {:?}", self.heard).into());
            }
        }
        Ok(())
    }

    fn turn(&mut self, wait: Duration) -> Result<(), Fault> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let numbers: Vec<_> = self.events.iter().map(|event| event.token().0).collect();
        for number in numbers {
            self.read(number);
        }
        Ok(())
    }

    fn read(&mut self, number: usize) {
        let Self { connections, heard, scratch, .. } = self;
        let connection = &mut connections[number];
        if !connection.is_open {
            return;
        }
        let done = connection.read(scratch, |message| {
            heard.hear(message);
            None
        });
        if done.and_then(|()| connection.flush()).is_err() {
            connection.is_open = false;
            heard.closed += 1;
        }
    }
}

impl Heard {
    /// What a message is stands at its beginning, so that a burst is taken as fast as it comes.
    fn hear(&mut self, message: &[u8]) {
        if message.starts_with(br#"{"type":"publication""#) {
            self.publications += 1;
        } else if message.starts_with(br#"{"type":"subscribed""#) {
            self.subscribed += 1;
        } else if Dialect::Native.is_refusal(message) {
            self.refused += 1;
        }
    }
}
