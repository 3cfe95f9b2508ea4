//! One channel as its reader sees it: every publication once and in order, or word that some are lost.

use super::deliveries::{Deliveries, Reader};
use super::track::{Range, Seen, Track};
use crate::backoff::Backoff;
use crate::event::{Event, Gap, GapCause, Publication};
use crate::wire::Subscribed;
use crate::{Refusal, SubscriptionToken};
use protocol::{Epoch, Position};
use tokio::sync::mpsc::Sender;

/// A subscription, from the application's `subscribe` until it lets go or the gateway ends it.
#[derive(Debug)]
pub(super) struct Feed {
    /// Tells it from an earlier subscription to the same channel.
    pub(super) serial: u64,
    pub(super) asks: Asks,
    pub(super) stage: Stage,
    /// Between attempts that the gateway refuses for now.
    pub(super) backoff: Backoff,
    stream: Sender<Event>,
    track: Track,
}

/// What is asked for beside the publications.
#[derive(Debug)]
pub(super) struct Asks {
    /// Who is there.
    pub(super) members: bool,
    /// What is retained.
    pub(super) state: bool,
    /// What says that it may.
    pub(super) token: Option<SubscriptionToken>,
}

/// How far a feed is on the present connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not asked for.
    Waiting,
    /// Asked for. Until the answer is there pushes belong to an earlier subscription: what they bring is recovered.
    Asked,
    /// Answered.
    Subscribed,
}

impl Feed {
    pub(super) fn new(
        serial: u64,
        asks: Asks,
        recover: Option<Position>,
        stream: Sender<Event>,
        backoff: Backoff,
    ) -> Self {
        Self { serial, asks, stage: Stage::Waiting, backoff, stream, track: Track::from(recover) }
    }

    /// From where it is to go on.
    pub(super) fn position(&self) -> Option<&Position> {
        self.track.position()
    }

    /// The connection is lost: the position stays.
    pub(super) fn disconnect(&mut self) {
        self.stage = Stage::Waiting;
        self.track.disconnect();
    }

    /// The gateway's answer: what was missed, and from where it goes on. `silent` is how many publications of this
    /// client's own, with `echo: false`, have not been answered.
    pub(super) fn accept(&mut self, reply: Subscribed, silent: usize, deliveries: &mut Deliveries) {
        self.stage = Stage::Subscribed;
        self.backoff.reset();
        let Subscribed { position: newest, recovered, publications, state, members } = reply;
        let had_position = self.track.position().is_some();
        let goes_on = self.track.is_within(newest.as_ref());
        let recovered = recovered && goes_on;
        let lost = if goes_on && !recovered { self.lost(&publications, newest.as_ref()) } else { None };
        if !goes_on {
            self.track.jump(base(newest.as_ref(), &publications));
        }
        let position = self.track.position().cloned();
        self.reader(deliveries).tell(Event::Subscribed { recovered, position, state, members });
        if had_position && !recovered {
            let epoch = newest.as_ref().map(|newest| newest.epoch.clone());
            self.gap(lost, epoch, GapCause::NotRecovered, deliveries);
        }
        for publication in publications {
            if !recovered {
                // Its holes are part of what has just been told.
                self.track.loosen();
            }
            self.take(publication, silent, deliveries);
        }
        let Some(newest) = newest else { return };
        if recovered {
            let missing = self.track.reach(newest.offset, silent);
            self.jumped(missing, deliveries);
        }
        self.track.go_to(newest.offset);
    }

    /// A publication.
    pub(super) fn take(&mut self, publication: Publication, silent: usize, deliveries: &mut Deliveries) {
        let seen = publication.offset.map_or(Seen::Next, |offset| self.track.see(offset, silent));
        match seen {
            Seen::Before => return self.reader(deliveries).drop_duplicate(),
            Seen::Own(missing) => return self.jumped(missing, deliveries),
            Seen::After(missing) => self.jumped(Some(missing), deliveries),
            Seen::Next => {}
        }
        self.reader(deliveries).tell(Event::Publication(publication));
    }

    /// The gateway cannot deliver some publications, the last of which is `to`.
    pub(super) fn lose(
        &mut self,
        from: Option<u64>,
        to: Option<u64>,
        epoch: Option<Epoch>,
        silent: usize,
        deliveries: &mut Deliveries,
    ) {
        let present = self.track.position().map(|position| &position.epoch);
        if epoch.as_ref().is_some_and(|epoch| Some(epoch) != present) {
            // Where it names no offset: from the beginning of the new epoch, of which nothing has been seen.
            self.track.jump(epoch.clone().map(|epoch| Position { epoch, offset: to.unwrap_or(0) }));
            if to.is_none() {
                self.track.loosen();
            }
        } else if let Some(to) = to {
            if let Some(from) = from {
                let missing = self.track.reach(from.saturating_sub(1), silent);
                self.jumped(missing, deliveries);
            }
            self.track.go_to(to);
        } else {
            self.track.loosen();
        }
        let told = Gap { range: from.zip(to), to, epoch, cause: GapCause::Told };
        self.reader(deliveries).tell(Event::Gap(told));
    }

    /// A publication of this client with `echo: false` was answered: with its position, or without one as it was refused.
    pub(super) fn settle(&mut self, own: Option<&Position>, silent: usize, deliveries: &mut Deliveries) {
        if let Some(own) = own {
            self.track.take_own(own);
        }
        let missing = self.track.settle(silent);
        self.jumped(missing, deliveries);
    }

    /// Anything that moves no position.
    pub(super) fn tell(&mut self, event: Event, deliveries: &mut Deliveries) {
        self.reader(deliveries).tell(event);
    }

    /// The gateway has refused or ended it for good. With the feed its stream ends.
    pub(super) fn end(self, refusal: Refusal, deliveries: &mut Deliveries) {
        self.reader(deliveries).tell(Event::Unsubscribed(refusal));
    }

    fn reader<'a>(&'a self, deliveries: &'a mut Deliveries) -> Reader<'a> {
        Reader { stream: &self.stream, deliveries }
    }

    fn jumped(&mut self, missing: Option<Range>, deliveries: &mut Deliveries) {
        if let Some(range) = missing {
            let epoch = self.track.position().map(|position| position.epoch.clone());
            self.gap(Some(range), epoch, GapCause::Jump, deliveries);
        }
    }

    fn gap(&mut self, range: Option<Range>, epoch: Option<Epoch>, cause: GapCause, deliveries: &mut Deliveries) {
        self.reader(deliveries).tell(Event::Gap(Gap { range, to: range.map(|(_, to)| to), epoch, cause }));
    }

    /// The first and the last offset that are neither seen nor among these, up to the newest.
    fn lost(&self, publications: &[Publication], newest: Option<&Position>) -> Option<Range> {
        let mut next = self.track.position()?.offset.saturating_add(1);
        let mut lost: Option<Range> = None;
        let mut miss = |from, to| lost = Some((lost.map_or(from, |(first, _)| first), to));
        for offset in publications.iter().filter_map(|publication| publication.offset) {
            if offset > next {
                miss(next, offset - 1);
            }
            next = next.max(offset.saturating_add(1));
        }
        if let Some(newest) = newest.filter(|newest| newest.offset >= next) {
            miss(next, newest.offset);
        }
        lost
    }
}

/// The position before the first of these publications, or the newest if there are none.
fn base(newest: Option<&Position>, publications: &[Publication]) -> Option<Position> {
    let first = publications.iter().find_map(|publication| publication.offset);
    newest.map(|newest| Position {
        epoch: newest.epoch.clone(),
        offset: first.map_or(newest.offset, |first| first.saturating_sub(1)),
    })
}
