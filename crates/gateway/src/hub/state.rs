//! A channel's state as its subscribers on this worker share it: read once for all who come at about the same time, and
//! kept up to date by the live deliveries meanwhile. A channel that has none costs no reading.

use super::Hub;
use super::past::{Errand, Held};
use super::replay::weight;
use broker::{Delivery, Page};
use protocol::{Channel, Position, Publication, Text};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long one reading serves. Keys end with time, which no delivery tells.
pub const STATE_TTL: Duration = Duration::from_secs(5);

/// What is known of a channel's state.
#[derive(Debug)]
pub(super) enum Standing {
    /// There is none until something is retained.
    None,
    /// There may be one.
    Unknown,
    /// Somebody reads it.
    Reading(Reading),
    /// Here it is.
    Known(Replica),
}

/// A reading under way.
#[derive(Debug)]
pub(super) struct Reading {
    errand: Errand,
    held: Held,
    /// Where the live deliveries were: what is read cannot be older.
    since: Option<Position>,
    done: Rc<Notify>,
}

/// How a subscriber comes by the state.
#[derive(Debug)]
pub enum StateAt {
    /// There is none.
    None,
    /// Here it is.
    Here(Rc<Snapshot>),
    /// Somebody is reading it: wait for this, then ask again.
    Wait(Rc<Notify>),
    /// Nobody has: [`Hub::begin_state`].
    Unread,
    /// The channel is not open.
    Closed,
}

/// A state as of its page's `top`, which is not before the channel's position.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The newest publication of each key, by offset.
    pub page: Page,
    /// About how large it is when it is encoded.
    pub bytes: usize,
}

impl Standing {
    /// At the opening of a channel.
    pub(super) fn new(has_state: bool) -> Self {
        if has_state { Self::Unknown } else { Self::None }
    }

    /// Goes on with a live delivery.
    pub(super) fn pass(&mut self, delivery: &Arc<Delivery>) {
        match self {
            Self::Unknown => {}
            Self::None if delivery.may_change_state() => *self = Self::Unknown,
            Self::None => {}
            Self::Reading(reading) => reading.held.hold(delivery),
            Self::Known(replica) => {
                if !replica.append(delivery) {
                    *self = Self::Unknown;
                }
            }
        }
    }

    /// Lets go of what has served its time; false if nothing is held any more.
    pub(super) fn keep_fresh(&mut self, now: Instant) -> bool {
        if matches!(self, Self::Known(replica) if replica.is_stale(now)) {
            *self = Self::Unknown;
        }
        matches!(self, Self::Known(_))
    }
}

/// The state as of one position, and the live deliveries after it.
#[derive(Debug)]
pub(super) struct Replica {
    entries: HashMap<Text, Publication>,
    position: Position,
    read_at: Instant,
    /// Shared by all who come until the next delivery.
    snapshot: Option<Rc<Snapshot>>,
}

impl Replica {
    fn new(page: Page) -> Self {
        let entry = |publication: Publication| Some((publication.retain.clone()?, publication));
        let entries = page.publications.into_iter().filter_map(entry).collect();
        Self { entries, position: page.top, read_at: Instant::now(), snapshot: None }
    }

    fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.read_at) >= STATE_TTL
    }

    /// False when it is of no more use.
    fn append(&mut self, delivery: &Delivery) -> bool {
        let Delivery::Publications { epoch: Some(epoch), publications, .. } = delivery else {
            return !matches!(delivery, Delivery::Gap { .. });
        };
        if *epoch != self.position.epoch {
            return false;
        }
        for publication in publications {
            // What was read may be ahead of what is live.
            let Some(offset) = publication.offset.filter(|offset| *offset > self.position.offset) else { continue };
            self.position.offset = offset;
            self.snapshot = None;
            let Some(key) = &publication.retain else { continue };
            if publication.removes_its_key() {
                self.entries.remove(key);
            } else {
                self.entries.insert(key.clone(), publication.clone());
            }
        }
        true
    }

    fn snapshot(&mut self) -> Rc<Snapshot> {
        let (entries, position) = (&self.entries, &self.position);
        let snapshot = self.snapshot.get_or_insert_with(|| {
            let mut publications: Vec<_> = entries.values().cloned().collect();
            publications.sort_unstable_by_key(|publication| publication.offset);
            let bytes = publications.iter().map(weight).sum();
            Rc::new(Snapshot { page: Page { publications, top: position.clone() }, bytes })
        });
        snapshot.clone()
    }
}

impl<S: Clone> Hub<S> {
    /// A channel's state, or how to come by it.
    pub fn state(&mut self, channel: &Channel) -> StateAt {
        let Some(entry) = self.entry(channel) else { return StateAt::Closed };
        entry.state.keep_fresh(Instant::now());
        match &mut entry.state {
            Standing::None => StateAt::None,
            Standing::Known(replica) if replica.entries.is_empty() => StateAt::None,
            Standing::Known(replica) => StateAt::Here(replica.snapshot()),
            Standing::Reading(reading) => StateAt::Wait(reading.done.clone()),
            Standing::Unknown => StateAt::Unread,
        }
    }

    /// Begins a reading; whoever gets the errand ends it with [`Hub::install_state`], whatever happens.
    pub fn begin_state(&mut self, channel: &Channel) -> Option<Errand> {
        let errand = self.next_ticket();
        let entry = self.entry(channel)?;
        let (held, since) = (Held::nothing(), entry.position.clone());
        entry.state = Standing::Reading(Reading { errand, held, since, done: Rc::default() });
        Some(errand)
    }

    /// Ends a reading: with what was read, or with nothing if it failed.
    pub fn install_state(&mut self, channel: &Channel, errand: Errand, page: Option<Page>) {
        let Some(entry) = self.entry(channel) else { return };
        let is_awaited = matches!(&entry.state, Standing::Reading(reading) if reading.errand == errand);
        if !is_awaited {
            return;
        }
        let Standing::Reading(reading) = std::mem::replace(&mut entry.state, Standing::Unknown) else { return };
        reading.done.notify_waiters();
        let (Some(page), Some(held)) = (page, reading.held.deliveries) else { return };
        if reading.since.is_some_and(|since| since.epoch != page.top.epoch || since.offset > page.top.offset) {
            // A dataset that went back, or a new epoch: the live deliveries are about to tell.
            return;
        }
        let is_none = page.publications.is_empty() && !held.iter().any(|delivery| delivery.may_change_state());
        let mut replica = Replica::new(page);
        if is_none {
            entry.state = Standing::None;
        } else if held.iter().all(|delivery| replica.append(delivery)) {
            entry.state = Standing::Known(replica);
            self.kept.push(channel.clone());
        }
    }

    /// What is known of a channel's state is not what is needed: the next one who asks reads it anew.
    pub fn forget_state(&mut self, channel: &Channel) {
        if let Some(entry) = self.entry(channel)
            && let Standing::Known(_) = entry.state
        {
            entry.state = Standing::Unknown;
        }
    }
}
