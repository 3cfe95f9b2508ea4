//! What one subscriber missed of a channel with history: offsets follow one another, and where they do not, it was told.

use super::{Counts, Index};
use crate::faults::ledger::{Outcome, Seen, Witness};
use protocol::Position;

/// Where a subscriber stands, and what it was told since its last publication.
#[derive(Default)]
struct Reader {
    at: Option<Position>,
    told: Vec<(u64, u64)>,
    told_unknown: bool,
}

impl Reader {
    fn hears(&mut self, range: Option<(u64, u64)>) {
        match range {
            Some(range) => self.told.push(range),
            None => self.told_unknown = true,
        }
    }

    fn is_told(&self, offset: u64) -> bool {
        self.told_unknown || self.told.iter().any(|(from, to)| (*from..=*to).contains(&offset))
    }

    fn goes_to(&mut self, position: &Position) {
        *self = Self { at: Some(position.clone()), ..Self::default() };
    }
}

pub(super) fn check(witness: &Witness, index: &Index<'_>, counts: &mut Counts) {
    let mut reader = Reader::default();
    for observation in &witness.observations {
        match &observation.seen {
            // Where it begins. After a reconnect it goes on from where it was, or is told otherwise by a gap.
            Seen::Subscribed { position: Some(position) } if reader.at.is_none() => reader.goes_to(position),
            Seen::Gap { range } => reader.hears(*range),
            Seen::Publication { position: Some(position), .. } => {
                follow(&mut reader, position, observation.node.as_deref(), witness, counts);
            }
            Seen::Publication { position: None, .. } => {
                counts.disordered += 1;
                counts.note(|| format!("{} has history, and a publication has no position", witness.channel.name()));
            }
            Seen::Subscribed { .. } | Seen::Ended => {}
        }
    }
    tail(&reader, witness, index, counts);
}

fn follow(reader: &mut Reader, position: &Position, node: Option<&str>, witness: &Witness, counts: &mut Counts) {
    let by = node.unwrap_or("a connection that has ended");
    let who = || format!("subscriber {} in {}, by {by},", witness.subscriber, witness.channel.name());
    match &reader.at {
        Some(at) if at.epoch == position.epoch => {
            if position.offset <= at.offset {
                counts.disordered += 1;
                counts.note(|| format!("out of order: {} saw {position:?} after {at:?}", who()));
                return;
            }
            let missing = (at.offset + 1..position.offset).filter(|offset| !reader.is_told(*offset)).count() as u64;
            if missing > 0 {
                counts.lost += missing;
                counts.note(|| format!("lost: {} went from {at:?} to {position:?}, told {:?}", who(), reader.told));
            }
        }
        Some(at) if !reader.told_unknown && reader.told.is_empty() => {
            counts.lost += 1;
            counts.note(|| format!("lost: {} went from {at:?} to {position:?} and was told nothing", who()));
        }
        _ => {}
    }
    reader.goes_to(position);
}

/// What was acknowledged after the last that was seen.
fn tail(reader: &Reader, witness: &Witness, index: &Index<'_>, counts: &mut Counts) {
    let Some(at) = &reader.at else {
        counts.lost += 1;
        counts.note(|| format!("lost: subscriber {} never came into {}", witness.subscriber, witness.channel.name()));
        return;
    };
    for attempt in index.of(witness.channel) {
        let Outcome::Acknowledged(Some(position)) = &attempt.outcome else { continue };
        let is_after = position.epoch == at.epoch && position.offset > at.offset;
        if is_after && !reader.is_told(position.offset) {
            counts.lost += 1;
            counts.note(|| {
                let name = witness.channel.name();
                format!(
                    "lost: subscriber {} in {name} never saw {:?} at {position:?}",
                    witness.subscriber, attempt.stamp
                )
            });
        }
    }
}
