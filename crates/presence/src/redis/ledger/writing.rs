//! The keeper's side of the ledger: what is to be written, and what became of it.

use super::{Ledger, find};
use crate::redis::flight::{Flight, Op};
use crate::redis::turns::{Place, Urgency};
use protocol::Channel;
use std::collections::HashSet;

impl Ledger {
    /// Redis may have lost what it held: all that was sent gets a turn again, in these channels or in all. `quiet` says
    /// that it lost everything, so that who is not there any more has left nowhere.
    pub(in crate::redis) fn write_again(&mut self, quiet: bool, only: Option<&HashSet<Channel>>) {
        let is_meant = |channel: &Channel| only.is_none_or(|only| only.contains(channel));
        for here in self.clients.values_mut().flatten().filter(|here| is_meant(&here.channel)) {
            here.is_quiet |= quiet && here.is_confirmed;
            if here.is_sent && here.turn.is_none() {
                here.turn = Some(self.turns.draw(Urgency::Again, here.place()));
            }
        }
        for (_, room) in self.rooms.iter_mut().filter(|(channel, _)| is_meant(channel)) {
            room.is_indexed = false;
        }
        self.waiting.include_up_to(self.turns.last());
    }

    /// What Redis refused may be tried again.
    pub(in crate::redis) fn retry_refused(&mut self) {
        for (turn, place) in self.turns.retry() {
            if let Some(here) = find(&mut self.clients, &place.channel, &place.client) {
                here.turn = Some(turn);
            }
        }
    }

    /// Takes the next entries to be written, at most so many. What becomes of them is told by [`Ledger::landed`] or
    /// [`Ledger::lost`], before anything else is taken.
    pub(in crate::redis) fn take(&mut self, most: usize) -> Flight {
        let mut flight = Flight::default();
        while flight.ops.len() < most {
            let Some((turn, place)) = self.turns.pop() else { break };
            let Some(here) = find(&mut self.clients, &place.channel, &place.client) else { continue };
            here.turn = None;
            if here.is_wanted {
                here.is_sent = true;
                if let Some(room) = self.rooms.get_mut(&place.channel).filter(|room| !room.is_indexed) {
                    room.is_indexed = true;
                    flight.index.push(place.channel.clone());
                }
            }
            let (joins, quiet, in_doubt, cause) = (here.is_wanted, here.is_quiet, here.is_in_doubt, here.cause);
            flight.ops.push(Op { turn, place, entry: here.entry.clone(), joins, quiet, in_doubt, cause });
        }
        // A node that stops deletes its whole index.
        if !self.is_stopping {
            flight.unindex = self.take_emptied(most);
        }
        self.is_flying = !flight.is_empty();
        flight
    }

    fn take_emptied(&mut self, most: usize) -> Vec<Channel> {
        let some: Vec<Channel> = self.emptied.iter().take(most).cloned().collect();
        for channel in &some {
            self.emptied.remove(channel);
        }
        let is_empty = |channel: &Channel| self.rooms.get(channel).is_some_and(|room| room.entries == 0);
        let some: Vec<Channel> = some.into_iter().filter(is_empty).collect();
        for channel in &some {
            if let Some(room) = self.rooms.get_mut(channel) {
                room.is_indexed = false;
            }
        }
        some
    }

    /// The flight was answered; `refused` tells for each op whether Redis refused it.
    pub(in crate::redis) fn landed(&mut self, flight: &Flight, refused: &[bool]) {
        for (op, refused) in flight.ops.iter().zip(refused) {
            if *refused { self.op_refused(op, flight) } else { self.op_done(op) }
        }
        // If Redis refused to take them off the index they stay on it: a reaper finds nobody there.
        for channel in &flight.unindex {
            if self.rooms.get(channel).is_some_and(|room| room.entries == 0 && !room.is_indexed) {
                self.rooms.remove(channel);
            }
        }
        self.is_flying = false;
    }

    fn op_done(&mut self, op: &Op) {
        let Place { channel, client } = &op.place;
        let Some(here) = find(&mut self.clients, channel, client) else { return };
        here.is_confirmed = op.joins;
        here.is_sent = op.joins;
        here.is_quiet = false;
        here.is_in_doubt = false;
        if !here.is_wanted && !here.is_sent {
            self.remove(channel, client);
        }
    }

    fn op_refused(&mut self, op: &Op, flight: &Flight) {
        let Place { channel, client } = &op.place;
        self.waiting.refuse(op.turn.number);
        if flight.index.contains(channel)
            && let Some(room) = self.rooms.get_mut(channel)
        {
            room.is_indexed = false;
        }
        let Some(here) = find(&mut self.clients, channel, client) else { return };
        if here.turn.is_none() {
            here.turn = Some(self.turns.draw(Urgency::Later, here.place()));
        }
    }

    /// The flight brought no answers: all of it is to be written again, in the order it had. `in_doubt` if it may have been
    /// carried out all the same.
    pub(in crate::redis) fn lost(&mut self, flight: &Flight, in_doubt: bool) {
        for Op { turn, place, .. } in &flight.ops {
            let Some(here) = find(&mut self.clients, &place.channel, &place.client) else { continue };
            here.is_in_doubt |= in_doubt;
            if here.turn.is_none() {
                here.turn = Some(*turn);
                self.turns.put_back(*turn, place.clone());
            }
        }
        for channel in &flight.index {
            if let Some(room) = self.rooms.get_mut(channel) {
                room.is_indexed = false;
            }
        }
        self.emptied.extend(flight.unindex.iter().cloned());
        self.is_flying = false;
    }
}
