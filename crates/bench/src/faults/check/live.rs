//! What one subscriber missed of a channel without history: what was acknowledged is seen, or it was told in its place, by
//! a gap or by a subscription that begins anew.

use super::{Counts, Index};
use crate::faults::is_acknowledged;
use crate::faults::ledger::{Seen, Witness};
use std::collections::{BTreeMap, HashMap};

pub(super) fn check(witness: &Witness, index: &Index<'_>, counts: &mut Counts) {
    let Some(began_at) = witness.observations.first().map(|first| first.at) else {
        counts.lost += 1;
        counts.note(|| format!("lost: subscriber {} never came into {}", witness.subscriber, witness.channel.name()));
        return;
    };
    let places = places(witness, index);
    let told: Vec<usize> =
        indices(witness, |seen| matches!(seen, Seen::Gap { .. } | Seen::Subscribed { .. })).collect();
    for attempt in index.of(witness.channel) {
        let is_expected = is_acknowledged(attempt) && attempt.sent_at > began_at;
        let of_publisher = places.get(&attempt.stamp.publisher);
        if !is_expected || of_publisher.is_some_and(|seen| seen.contains_key(&attempt.stamp.sequence)) {
            continue;
        }
        let before = of_publisher.and_then(|seen| seen.range(..attempt.stamp.sequence).next_back());
        let after = of_publisher.and_then(|seen| seen.range(attempt.stamp.sequence..).next());
        let (from, to) = (before.map_or(0, |(_, place)| *place), after.map_or(usize::MAX, |(_, place)| *place));
        if !told.iter().any(|told| (from.max(1)..to).contains(told)) {
            counts.lost += 1;
            counts.note(|| {
                let name = witness.channel.name();
                format!(
                    "lost: subscriber {} in {name} never saw {:?} and no gap tells",
                    witness.subscriber, attempt.stamp
                )
            });
        }
    }
    order(witness, index, counts);
}

/// Where the acknowledged publications of each publisher stand among what was seen. One that was in doubt may have come
/// late, when its publisher was already at another node.
fn places(witness: &Witness, index: &Index<'_>) -> HashMap<u32, BTreeMap<u64, usize>> {
    let mut places: HashMap<u32, BTreeMap<u64, usize>> = HashMap::new();
    for (place, observation) in witness.observations.iter().enumerate() {
        let Seen::Publication { stamp, .. } = observation.seen else { continue };
        if index.attempts.get(&stamp).is_some_and(|attempt| is_acknowledged(attempt)) {
            places.entry(stamp.publisher).or_default().entry(stamp.sequence).or_insert(place);
        }
    }
    places
}

fn indices(witness: &Witness, wanted: impl Fn(&Seen) -> bool) -> impl Iterator<Item = usize> {
    let all = witness.observations.iter().enumerate();
    all.filter(move |(_, observation)| wanted(&observation.seen)).map(|(index, _)| index)
}

/// What one connection sent first is seen first.
fn order(witness: &Witness, index: &Index<'_>, counts: &mut Counts) {
    let mut last: HashMap<(u32, u32), u64> = HashMap::new();
    for observation in &witness.observations {
        let Seen::Publication { stamp, .. } = observation.seen else { continue };
        let Some(attempt) = index.attempts.get(&stamp) else { continue };
        let before = last.insert((stamp.publisher, attempt.connection), stamp.sequence);
        if before.is_some_and(|before| before > stamp.sequence) {
            counts.disordered += 1;
            counts.note(|| format!("out of order: subscriber {} saw {stamp:?} after {before:?}", witness.subscriber));
        }
    }
}
