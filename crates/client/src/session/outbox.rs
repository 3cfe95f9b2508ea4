//! Publications that wait for the gateway's answer: bounded, in order, and repeated only where that is harmless.

use super::Link;
use crate::backoff::{Backoff, after};
use crate::{Closed, PublishError, Published, Refusal};
use protocol::{Channel, ErrorCode, Position};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Unanswered publications on one connection; the others wait here rather than in the socket.
const WINDOW: usize = 64;

/// Gateways know a key for five minutes: after four no repeat is made.
const KEY_HOLDS: Duration = Duration::from_secs(240);

/// Silent publications of unknown outcome that are kept in mind; beyond that a hole they leave is told as a gap.
const UNSETTLED_MAX: usize = 1000;

/// A publication that an application asks for.
#[derive(Debug)]
pub(crate) struct Outbound {
    /// The id of the command, which is also its place in the order.
    pub(crate) id: u64,
    pub(crate) channel: Channel,
    /// The command.
    pub(crate) text: String,
    /// A repeat is harmless.
    pub(crate) has_key: bool,
    /// It never waits for a connection and is never repeated.
    pub(crate) is_volatile: bool,
    /// It has an offset and does not come back to this client.
    pub(crate) is_silent: bool,
    pub(crate) deadline: Instant,
    pub(crate) answer: oneshot::Sender<Result<Published, PublishError>>,
}

#[derive(Debug)]
struct Entry {
    outbound: Outbound,
    is_sent: bool,
    first_sent_at: Option<Instant>,
    /// An earlier attempt may have been taken.
    is_uncertain: bool,
    backoff: Backoff,
}

/// How many publications may be unanswered, and how many bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Outbox {
    limits: Limits,
    entries: BTreeMap<u64, Entry>,
    waiting: BTreeSet<u64>,
    /// Volatile ones that are to be sent now, whatever else waits.
    at_once: Vec<u64>,
    expiries: BTreeSet<(Instant, u64)>,
    bytes: usize,
    /// Sent and unanswered, but for volatile ones.
    in_flight: usize,
    /// Until then nothing is sent: the gateway has refused one for now.
    pause_until: Option<Instant>,
    /// The channels of silent publications whose outcome this connection will not tell.
    unsettled: Vec<Channel>,
    /// How many of `entries` are silent.
    silent: usize,
    random: fastrand::Rng,
}

/// What the answer to a silent publication says of its channel: its position, or that it was not taken.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) channel: Channel,
    pub(super) position: Option<Position>,
}

impl Outbox {
    pub(super) fn new(limits: Limits, random: fastrand::Rng) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            waiting: BTreeSet::new(),
            at_once: Vec::new(),
            expiries: BTreeSet::new(),
            bytes: 0,
            in_flight: 0,
            pause_until: None,
            unsettled: Vec::new(),
            silent: 0,
            random,
        }
    }

    /// Takes a publication; it is sent by the next [`Outbox::flush`].
    pub(super) fn add(&mut self, outbound: Outbound, link: Option<&Link>) {
        if let Some(error) = self.refusal(&outbound, link) {
            return answer(outbound, Err(error));
        }
        self.bytes += outbound.text.len();
        self.expiries.insert((outbound.deadline, outbound.id));
        if outbound.is_volatile {
            self.at_once.push(outbound.id);
        } else {
            self.waiting.insert(outbound.id);
        }
        self.silent += usize::from(outbound.is_silent);
        let backoff = Backoff::of_commands(self.random.fork());
        let entry = Entry { outbound, is_sent: false, first_sent_at: None, is_uncertain: false, backoff };
        self.entries.insert(entry.outbound.id, entry);
    }

    fn refusal(&self, outbound: &Outbound, link: Option<&Link>) -> Option<PublishError> {
        let bytes = outbound.text.len();
        match link {
            None if outbound.is_volatile => return Some(PublishError::Offline),
            Some(link) if bytes > link.max_message_bytes => return Some(too_large(bytes, link)),
            _ => {}
        }
        let is_full = self.entries.len() >= self.limits.messages || self.bytes + bytes > self.limits.bytes;
        is_full.then_some(PublishError::QueueFull)
    }

    /// Sends with `say` what may be sent now.
    pub(super) fn flush(&mut self, link: &Link, now: Instant, mut say: impl FnMut(String)) {
        for id in std::mem::take(&mut self.at_once) {
            self.send(id, link, now, &mut say);
        }
        while self.in_flight < WINDOW && self.pause_until.is_none() {
            let Some(id) = self.waiting.pop_first() else { return };
            self.send(id, link, now, &mut say);
        }
    }

    fn send(&mut self, id: u64, link: &Link, now: Instant, say: &mut impl FnMut(String)) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(error) = entry.hindrance(link, now) {
            self.finish(id, Err(error));
        } else if entry.outbound.answer.is_closed() && !entry.is_uncertain {
            // Whoever asked has thought better of it.
            self.forget(id);
        } else {
            entry.first_sent_at.get_or_insert(now);
            entry.is_sent = true;
            self.in_flight += usize::from(!entry.outbound.is_volatile);
            say(entry.outbound.text.clone());
        }
    }

    /// Whether this is the answer to one of them.
    pub(super) fn has_sent(&self, id: u64) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.is_sent)
    }

    /// The gateway has taken one.
    pub(super) fn take(&mut self, id: u64, position: Option<Position>) -> Option<Settled> {
        let settled = self.settled(id, position.clone());
        self.finish(id, Ok(Published { position }));
        settled
    }

    /// The gateway has refused one, perhaps only for now.
    pub(super) fn refuse(&mut self, id: u64, refusal: Refusal, now: Instant) -> Option<Settled> {
        let is_unknown = refusal.code == Some(ErrorCode::UnknownOutcome);
        let settled = if is_unknown { None } else { self.settled(id, None) };
        let entry = self.entries.get_mut(&id)?;
        entry.is_uncertain |= is_unknown;
        let may_repeat = if is_unknown { entry.outbound.has_key } else { refusal.temporary };
        if may_repeat && !entry.outbound.is_volatile {
            let wait = refusal.retry_after.unwrap_or_else(|| entry.backoff.next());
            self.pause_until.get_or_insert(after(now, wait));
            self.put_back(id);
        } else if entry.is_uncertain {
            if is_unknown && entry.outbound.is_silent {
                note(&mut self.unsettled, &entry.outbound.channel);
            }
            let why = if is_unknown { refusal.to_string() } else { format!("its repeat was refused: {refusal}") };
            self.finish(id, Err(PublishError::UnknownOutcome(why)));
        } else {
            self.finish(id, Err(PublishError::Refused(refusal)));
        }
        settled
    }

    /// Whether nothing that was sent is without an answer.
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight == 0
    }

    /// The connection is lost: what was on its way is repeated if it has a key.
    pub(super) fn disconnect(&mut self) {
        self.pause_until = None;
        self.unsettled.clear();
        let sent: Vec<u64> = self.entries.iter().filter(|(_, entry)| entry.is_sent).map(|(id, _)| *id).collect();
        for id in sent {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.is_uncertain = true;
            if entry.outbound.has_key && !entry.outbound.is_volatile {
                self.put_back(id);
            } else {
                let why = "the connection broke before the answer; with a key it would be repeated";
                self.finish(id, Err(PublishError::UnknownOutcome(why.to_owned())));
            }
        }
    }

    /// Gives all of it up.
    pub(super) fn close(&mut self) {
        let all: Vec<u64> = self.entries.keys().copied().collect();
        for id in all {
            let is_uncertain = self.entries.get(&id).is_some_and(Entry::is_uncertain);
            let why = || PublishError::UnknownOutcome("this client was closed before the answer".to_owned());
            self.finish(id, Err(if is_uncertain { why() } else { Closed.into() }));
        }
    }

    /// What has run out of time by now.
    pub(super) fn on_time(&mut self, now: Instant) {
        if self.pause_until.is_some_and(|until| until <= now) {
            self.pause_until = None;
        }
        while let Some((deadline, id)) = self.expiries.first().copied().filter(|(deadline, _)| *deadline <= now) {
            self.expiries.remove(&(deadline, id));
            let Some(entry) = self.entries.get(&id) else { continue };
            let is_uncertain = entry.is_uncertain();
            if is_uncertain && entry.outbound.is_silent {
                note(&mut self.unsettled, &entry.outbound.channel);
            }
            let why = || PublishError::UnknownOutcome("not answered in time".to_owned());
            self.finish(id, Err(if is_uncertain { why() } else { PublishError::TimedOut }));
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let expiry = self.expiries.first().map(|(deadline, _)| *deadline);
        [expiry, self.pause_until].into_iter().flatten().min()
    }

    /// How many silent publications to a channel this connection has not settled: each may be a hole in its offsets.
    pub(super) fn silent(&self, channel: &str) -> usize {
        if self.silent == 0 && self.unsettled.is_empty() {
            return 0;
        }
        let is_of = |entry: &Entry| entry.outbound.is_silent && entry.outbound.channel.as_str() == channel;
        let unanswered = self.entries.values().filter(|entry| entry.is_uncertain() && is_of(entry)).count();
        unanswered + self.unsettled.iter().filter(|unsettled| unsettled.as_str() == channel).count()
    }

    fn settled(&self, id: u64, position: Option<Position>) -> Option<Settled> {
        let outbound = &self.entries.get(&id).filter(|entry| entry.outbound.is_silent)?.outbound;
        Some(Settled { channel: outbound.channel.clone(), position })
    }

    /// Back to its place in the order.
    fn put_back(&mut self, id: u64) {
        self.unsend(id);
        self.waiting.insert(id);
    }

    fn unsend(&mut self, id: u64) {
        if let Some(entry) = self.entries.get_mut(&id)
            && std::mem::take(&mut entry.is_sent)
            && !entry.outbound.is_volatile
        {
            self.in_flight -= 1;
        }
    }

    fn finish(&mut self, id: u64, result: Result<Published, PublishError>) {
        if let Some(outbound) = self.forget(id) {
            answer(outbound, result);
        }
    }

    fn forget(&mut self, id: u64) -> Option<Outbound> {
        self.unsend(id);
        self.waiting.remove(&id);
        let Entry { outbound, .. } = self.entries.remove(&id)?;
        self.expiries.remove(&(outbound.deadline, id));
        self.bytes -= outbound.text.len();
        self.silent -= usize::from(outbound.is_silent);
        Some(outbound)
    }
}

impl Entry {
    /// Whether it may have been taken.
    fn is_uncertain(&self) -> bool {
        self.is_sent || self.is_uncertain
    }

    /// Why it must not be sent any more.
    fn hindrance(&self, link: &Link, now: Instant) -> Option<PublishError> {
        let bytes = self.outbound.text.len();
        if bytes > link.max_message_bytes {
            return Some(too_large(bytes, link));
        }
        let is_forgotten = self.first_sent_at.is_some_and(|first| now.duration_since(first) > KEY_HOLDS);
        let why = || PublishError::UnknownOutcome("its key may have been forgotten by now".to_owned());
        (is_forgotten && self.is_uncertain).then(why)
    }
}

fn note(unsettled: &mut Vec<Channel>, channel: &Channel) {
    if unsettled.len() < UNSETTLED_MAX {
        unsettled.push(channel.clone());
    }
}

fn too_large(bytes: usize, link: &Link) -> PublishError {
    PublishError::TooLarge { bytes, max: link.max_message_bytes }
}

fn answer(outbound: Outbound, result: Result<Published, PublishError>) {
    // Whoever asked may have gone.
    let _ = outbound.answer.send(result);
}
