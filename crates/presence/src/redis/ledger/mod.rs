//! What this node's connections state, and what of it Redis is known to hold.
//!
//! Statements change the ledger at once and draw a turn for their entry; the keeper takes the entries in that order,
//! writes them, and comes back with what became of them. The ledger holds what the node's own connections hold, and
//! nothing else: an entry that left stays only while Redis may still hold it.

#[cfg(test)]
mod tests;
mod writing;

use super::turns::{Place, Turn, Turns, Urgency};
use super::waiting::{Answer, Until, Waiting};
use crate::Entry;
use crate::grace::{Grace, Ticket};
use protocol::{Cause, Channel, Text};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub(super) struct Ledger {
    clients: HashMap<Text, Vec<Here>>,
    rooms: HashMap<Channel, Room>,
    /// Indexed rooms without entries: to be taken off the node's index.
    emptied: HashSet<Channel>,
    turns: Turns,
    grace: Grace<Place>,
    waiting: Waiting,
    entries: usize,
    is_flying: bool,
    is_stopping: bool,
}

/// A connection's place in one channel.
struct Here {
    channel: Channel,
    entry: Arc<Entry>,
    /// Its turn to be written, if it is to be.
    turn: Option<Turn>,
    /// Its connection broke: until the grace ends.
    parting: Option<Ticket>,
    /// Whether it is to be in Redis, or else not to be.
    is_wanted: bool,
    /// Redis may hold it: it was sent.
    is_sent: bool,
    /// Redis did hold it: it was confirmed.
    is_confirmed: bool,
    /// Redis may have lost it together with the memory that its user was told of: not to be told again.
    is_quiet: bool,
    /// It was sent, and not answered.
    is_in_doubt: bool,
    /// Why it is not wanted.
    cause: Cause,
}

/// A channel in which the node has entries.
#[derive(Default)]
struct Room {
    entries: u32,
    is_indexed: bool,
}

impl Ledger {
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            clients: HashMap::new(),
            rooms: HashMap::new(),
            emptied: HashSet::new(),
            turns: Turns::default(),
            grace: Grace::new(grace),
            waiting: Waiting::default(),
            entries: 0,
            is_flying: false,
            is_stopping: false,
        }
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn dirty(&self) -> usize {
        self.turns.len()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    pub(super) fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.rooms.keys()
    }

    /// States that a connection is in a channel; returns what to wait for until all nodes can see it.
    pub(super) fn join(&mut self, channel: &Channel, entry: Entry) -> Option<Until> {
        let heres = self.clients.entry(entry.client.clone()).or_default();
        let Some(at) = heres.iter().position(|here| here.channel == *channel) else {
            return Some(self.join_anew(channel, entry));
        };
        let here = &mut heres[at];
        if let Some(ticket) = here.parting.take() {
            self.grace.take_back(ticket);
        }
        if *here.entry != entry {
            here.entry = Arc::new(entry);
        } else if here.is_wanted && here.is_confirmed && here.turn.is_none() {
            return None;
        }
        here.is_wanted = true;
        Some(Until::Written(here.draw_turn(&mut self.turns)))
    }

    fn join_anew(&mut self, channel: &Channel, entry: Entry) -> Until {
        if !self.rooms.contains_key(channel) {
            self.rooms.insert(channel.clone(), Room::default());
        }
        // The room's own name: one allocation for all who are in it.
        let channel = self.rooms.get_key_value(channel).map_or_else(|| channel.clone(), |(name, _)| name.clone());
        if let Some(room) = self.rooms.get_mut(&channel) {
            room.entries += 1;
        }
        self.entries += 1;
        let heres = self.clients.entry(entry.client.clone()).or_default();
        // Most connections state the same in all their channels: one allocation for all of them.
        let same = heres.iter().find(|here| *here.entry == entry).map(|here| here.entry.clone());
        let mut here = Here {
            channel,
            entry: same.unwrap_or_else(|| Arc::new(entry)),
            turn: None,
            parting: None,
            is_wanted: true,
            is_sent: false,
            is_confirmed: false,
            is_quiet: false,
            is_in_doubt: false,
            cause: Cause::Left,
        };
        let turn = here.draw_turn(&mut self.turns);
        if heres.len() < 4 {
            // Most connections are in few channels: a Vec's first step would be for four.
            heres.reserve_exact(1);
        }
        heres.push(here);
        Until::Written(turn)
    }

    /// States that a connection is no longer in a channel, or that it broke.
    pub(super) fn leave(&mut self, channel: &Channel, client: &Text, cause: Cause) {
        match cause {
            Cause::Lost => self.part(channel, client, Duration::ZERO),
            cause if find(&mut self.clients, channel, client).is_some_and(|here| here.is_wanted) => {
                self.depart(channel, client, cause);
            }
            _ => {}
        }
    }

    /// States that a connection is shown for the grace only, which begins after so long.
    pub(super) fn part(&mut self, channel: &Channel, client: &Text, after: Duration) {
        let Some(here) = find(&mut self.clients, channel, client) else { return };
        if here.is_wanted && here.parting.is_none() {
            let place = Place { channel: here.channel.clone(), client: client.clone() };
            here.parting = Some(self.grace.add(place, after));
        }
    }

    pub(super) fn next_parting_end(&self) -> Option<Instant> {
        self.grace.next_end()
    }

    pub(super) fn last_parting_end(&self) -> Option<Instant> {
        self.grace.last_end()
    }

    pub(super) fn end_due_partings(&mut self, now: Instant) {
        while let Some((_, place)) = self.grace.pop_ended(now) {
            self.depart(&place.channel, &place.client, Cause::Lost);
        }
    }

    /// All leave but those who are parting, and nobody joins any more. Returns when the last one has parted.
    pub(super) fn stop(&mut self) -> Instant {
        self.is_stopping = true;
        let all = self.clients.iter().flat_map(|(client, heres)| heres.iter().map(|here| (here, client.clone())));
        let all = all.filter(|(here, _)| here.is_wanted && here.parting.is_none());
        let all = all.map(|(here, client)| (here.channel.clone(), client));
        for (channel, client) in all.collect::<Vec<_>>() {
            self.depart(&channel, &client, Cause::Left);
        }
        self.last_parting_end().unwrap_or_else(Instant::now)
    }

    /// Nothing is outstanding of what was to be written again.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_flying && self.turns.first(Urgency::Again).or(self.turns.first(Urgency::Later)).is_none()
    }

    fn depart(&mut self, channel: &Channel, client: &Text, cause: Cause) {
        let Some(here) = find(&mut self.clients, channel, client) else { return };
        if let Some(ticket) = here.parting.take() {
            self.grace.take_back(ticket);
        }
        here.is_wanted = false;
        here.cause = cause;
        if here.is_sent {
            here.draw_turn(&mut self.turns);
        } else {
            self.remove(channel, client);
        }
    }

    fn remove(&mut self, channel: &Channel, client: &Text) {
        let Some(heres) = self.clients.get_mut(client) else { return };
        let Some(at) = heres.iter().position(|here| here.channel == *channel) else { return };
        let here = heres.swap_remove(at);
        if heres.is_empty() {
            self.clients.remove(client);
        }
        if let Some(turn) = here.turn {
            self.turns.remove(turn);
        }
        self.entries -= 1;
        let Some(room) = self.rooms.get_mut(channel) else { return };
        room.entries -= 1;
        if room.entries > 0 {
            return;
        }
        if room.is_indexed {
            self.emptied.insert(here.channel);
        } else {
            self.rooms.remove(channel);
        }
    }

    pub(super) fn wait_until(&mut self, until: Until) -> Answer {
        self.waiting.add(until)
    }

    /// What to wait for until everything stated so far is written; `in_doubt` if it may not be though it once was.
    pub(super) fn all_so_far(&self, in_doubt: bool) -> Option<Until> {
        let has_turns = self.turns.first(Urgency::Now).or(self.turns.first(Urgency::Again)).is_some();
        (self.is_flying || has_turns || in_doubt).then_some(Until::AllWritten(self.turns.last()))
    }

    /// Answers those whose entries have been written. Not during a flight.
    pub(super) fn answer_written(&mut self) {
        self.waiting.answer_written(&self.turns);
    }

    /// Nothing can be written now: tells all who wait.
    pub(super) fn refuse_waiting(&mut self) {
        self.waiting.refuse_all();
    }
}

impl Here {
    fn place(&self) -> Place {
        Place { channel: self.channel.clone(), client: self.entry.client.clone() }
    }

    /// Something new is stated: the entry keeps its turn if that is as urgent.
    fn draw_turn(&mut self, turns: &mut Turns) -> u64 {
        if let Some(turn) = self.turn {
            if turn.urgency == Urgency::Now {
                return turn.number;
            }
            turns.remove(turn);
        }
        let turn = turns.draw(Urgency::Now, self.place());
        self.turn = Some(turn);
        turn.number
    }
}

fn find<'a>(clients: &'a mut HashMap<Text, Vec<Here>>, channel: &Channel, client: &Text) -> Option<&'a mut Here> {
    clients.get_mut(client)?.iter_mut().find(|here| here.channel == *channel)
}
