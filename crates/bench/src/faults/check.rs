//! The checker: from the records of a run to what was lost in silence, doubled, out of order, phantom, or acknowledged and
//! lost.

mod kept;
mod live;
#[cfg(test)]
mod tests;

use crate::faults::ledger::{Attempt, ChannelId, Log, Outcome, Seen, Stamp, Witness};
use protocol::{Epoch, Position};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What must be zero, and examples of what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Published, and neither seen nor told as lost; each subscriber counts.
    pub(crate) lost: u64,
    /// Seen again.
    pub(crate) doubled: u64,
    /// Seen, or published, in another order than it should have been.
    pub(crate) disordered: u64,
    /// Seen though never published, or though its publisher was told that it would not be.
    pub(crate) phantom: u64,
    /// Acknowledged, and not in the channel's log at the end.
    pub(crate) unkept: u64,
    /// The first few findings, for people.
    pub(crate) examples: Vec<String>,
}

/// How many findings are shown.
const EXAMPLES_MAX: usize = 8;

impl Counts {
    /// Whether nothing was found.
    pub(crate) fn are_zero(&self) -> bool {
        self.lost + self.doubled + self.disordered + self.phantom + self.unkept == 0
    }

    fn note(&mut self, example: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }
}

/// Everything that was recorded.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// What was published.
    pub(crate) attempts: Vec<Attempt>,
    /// What was seen.
    pub(crate) witnesses: Vec<Witness>,
    /// What is in the logs of the channels with history at the end.
    pub(crate) logs: BTreeMap<ChannelId, Log>,
}

/// Compares the records. `keeps_data` says that Redis has lost nothing, so that every acknowledged publication must be
/// in its channel's log.
pub(crate) fn check(records: &Records, keeps_data: bool) -> Counts {
    let mut counts = Counts::default();
    let index = Index::new(records);
    one_order(records, keeps_data, &mut counts);
    for witness in &records.witnesses {
        phantoms_and_doubles(witness, &index, &mut counts);
        if witness.channel.is_kept {
            kept::check(witness, &index, &mut counts);
        } else {
            live::check(witness, &index, &mut counts);
        }
    }
    if keeps_data {
        publishing_order(records, &mut counts);
        unkept(records, &mut counts);
    }
    counts
}

/// The records by what they are asked for.
struct Index<'a> {
    attempts: HashMap<Stamp, &'a Attempt>,
    by_channel: HashMap<ChannelId, Vec<&'a Attempt>>,
}

impl<'a> Index<'a> {
    fn new(records: &'a Records) -> Self {
        let mut attempts = HashMap::new();
        let mut by_channel: HashMap<_, Vec<_>> = HashMap::new();
        for attempt in &records.attempts {
            attempts.insert(attempt.stamp, attempt);
            by_channel.entry(attempt.channel).or_default().push(attempt);
        }
        Self { attempts, by_channel }
    }

    fn of(&self, channel: ChannelId) -> &[&'a Attempt] {
        self.by_channel.get(&channel).map_or(&[], Vec::as_slice)
    }
}

fn phantoms_and_doubles(witness: &Witness, index: &Index<'_>, counts: &mut Counts) {
    let mut seen = HashSet::new();
    for observation in &witness.observations {
        let Seen::Publication { stamp, .. } = observation.seen else { continue };
        let attempt = index.attempts.get(&stamp);
        let is_phantom = match attempt {
            None => true,
            Some(attempt) => attempt.channel != witness.channel || matches!(attempt.outcome, Outcome::Refused(_)),
        };
        let who = || format!("subscriber {} in {}", witness.subscriber, witness.channel.name());
        if is_phantom {
            counts.phantom += 1;
            counts.note(|| format!("phantom: {} saw {stamp:?}, which is {attempt:?}", who()));
        }
        if !seen.insert(stamp) {
            counts.doubled += 1;
            counts.note(|| format!("doubled: {} saw {stamp:?} again", who()));
        }
    }
}

/// One order for all: a position is one publication, whoever tells of it. Where Redis has gone back in time, publishers
/// may be answered with a position that was used before, until the epoch has changed; subscribers never.
fn one_order(records: &Records, keeps_data: bool, counts: &mut Counts) {
    let acknowledged = records.attempts.iter().filter(|_| keeps_data).filter_map(|attempt| match &attempt.outcome {
        Outcome::Acknowledged(Some(position)) => Some((attempt.channel, position, attempt.stamp)),
        _ => None,
    });
    let seen = records.witnesses.iter().flat_map(|witness| {
        witness.observations.iter().filter_map(|observation| match &observation.seen {
            Seen::Publication { stamp, position: Some(position) } => Some((witness.channel, position, *stamp)),
            _ => None,
        })
    });
    let mut places: HashMap<(ChannelId, &Epoch, u64), Stamp> = HashMap::new();
    for (channel, position, stamp) in acknowledged.chain(seen) {
        let known = *places.entry((channel, &position.epoch, position.offset)).or_insert(stamp);
        if known != stamp {
            counts.disordered += 1;
            counts.note(|| format!("out of order: {} {position:?} is {known:?} and {stamp:?}", channel.name()));
        }
    }
}

/// What one connection sent first has the lower position.
fn publishing_order(records: &Records, counts: &mut Counts) {
    let mut last: HashMap<(u32, u32, ChannelId), (u64, &Position)> = HashMap::new();
    for attempt in records.attempts.iter().filter(|attempt| !attempt.is_keyed) {
        let Outcome::Acknowledged(Some(position)) = &attempt.outcome else { continue };
        let key = (attempt.stamp.publisher, attempt.connection, attempt.channel);
        let before = last.insert(key, (attempt.stamp.sequence, position));
        if let Some((sequence, before)) = before
            && before.epoch == position.epoch
            && (sequence < attempt.stamp.sequence) != (before.offset < position.offset)
        {
            counts.disordered += 1;
            counts.note(|| format!("out of order: {:?} is at {position:?} after {before:?}", attempt.stamp));
        }
    }
}

fn unkept(records: &Records, counts: &mut Counts) {
    let empty = Log::default();
    let mut kept: HashMap<ChannelId, HashSet<(u64, Stamp)>> = HashMap::new();
    for attempt in &records.attempts {
        let Outcome::Acknowledged(Some(position)) = &attempt.outcome else { continue };
        let log = records.logs.get(&attempt.channel).unwrap_or(&empty);
        let entries = kept.entry(attempt.channel).or_insert_with(|| log.entries.iter().copied().collect());
        if log.epoch.as_ref() != Some(&position.epoch) || !entries.contains(&(position.offset, attempt.stamp)) {
            counts.unkept += 1;
            counts.note(|| {
                let place = (&attempt.channel.name(), position);
                format!("acknowledged and lost: {:?} at {place:?}, and the log is {:?}", attempt.stamp, log.epoch)
            });
        }
    }
}
