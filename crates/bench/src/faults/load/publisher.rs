//! A publisher: sends stamps at a steady pace over one connection at a time, and writes down what it is answered.

use super::wire::{Answer, Wire};
use crate::faults::ledger::{Attempt, Cargo, ChannelId, Outcome, Stamp};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

/// How long to leave a node alone that could not be connected to.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

/// More unanswered publications than this are a gateway that answers no more; sending pauses.
const IN_FLIGHT_MAX: usize = 500;

/// How often a keyed publication is repeated whose fate is not known.
const REPEAT_PAUSE: Duration = Duration::from_millis(200);

/// How long unanswered publications are waited for at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// What a publisher does.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    /// Its number.
    pub(crate) number: u32,
    /// Where it publishes.
    pub(crate) channel: ChannelId,
    /// All nodes.
    pub(crate) urls: Vec<String>,
    /// The node it begins with.
    pub(crate) node: usize,
    /// Whether it goes on to the next node when a connection is over.
    pub(crate) roams: bool,
    /// How far its publications are apart.
    pub(crate) every: Duration,
    /// Bytes of each, beside what the harness needs.
    pub(crate) ballast_bytes: usize,
    /// What times are counted from.
    pub(crate) began_at: Instant,
    /// Whether publications have a key, and are repeated until their fate is known.
    pub(crate) is_keyed: bool,
}

/// A publisher at work.
struct Run {
    publisher: Publisher,
    stop: watch::Receiver<bool>,
    done: Vec<Attempt>,
    /// Sent, or to be repeated, by sequence.
    open: BTreeMap<u64, Open>,
    sequence: u64,
    connection: u32,
}

struct Open {
    first_sent_at: Instant,
    connection: u32,
    is_repeated: bool,
    /// When a repeat is due; `None` while an answer is waited for.
    repeat_at: Option<Instant>,
}

impl Publisher {
    /// Publishes until it is told to stop, then waits for what is unanswered. Returns every attempt.
    pub(crate) async fn run(self, stop: watch::Receiver<bool>) -> Vec<Attempt> {
        let mut run =
            Run { publisher: self, stop, done: Vec::new(), open: BTreeMap::new(), sequence: 0, connection: 0 };
        let mut give_up = None;
        loop {
            if *run.stop.borrow() {
                let until = *give_up.get_or_insert_with(|| Instant::now() + LAST_ANSWERS);
                if run.open.is_empty() || Instant::now() >= until {
                    break;
                }
            }
            let url = &run.publisher.urls[run.publisher.node];
            match Wire::open(url).await {
                Some(wire) => {
                    run.connection += 1;
                    run.converse(wire, &mut give_up).await;
                    run.connection_is_over();
                }
                None => sleep(CONNECT_PAUSE).await,
            }
            if run.publisher.roams {
                run.publisher.node = (run.publisher.node + 1) % run.publisher.urls.len();
            }
        }
        run.give_up();
        run.done
    }
}

impl Run {
    /// One connection, until it is over or everything is done.
    async fn converse(&mut self, mut wire: Wire, give_up: &mut Option<Instant>) {
        let mut pace = interval(self.publisher.every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        loop {
            let is_stopping = *stop.borrow_and_update();
            if is_stopping && self.open.is_empty() {
                return;
            }
            let end = if is_stopping { *give_up.get_or_insert_with(|| Instant::now() + LAST_ANSWERS) } else { far() };
            tokio::select! {
                answer = timeout_at(end, wire.answer()) => match answer {
                    Ok(Some((sequence, answer))) => self.take(sequence, answer),
                    Ok(None) | Err(_) => return,
                },
                _ = pace.tick() => if !self.send_due(&mut wire, is_stopping).await { return },
                _ = stop.changed() => {}
            }
        }
    }

    /// Sends what is due; false when the connection is over.
    async fn send_due(&mut self, wire: &mut Wire, is_stopping: bool) -> bool {
        let now = Instant::now();
        let due = |open: &Open| open.repeat_at.is_some_and(|at| at <= now);
        let mut sequences: Vec<u64> = self.open.iter().filter(|(_, open)| due(open)).map(|(n, _)| *n).collect();
        if !is_stopping && self.open.len() < IN_FLIGHT_MAX {
            self.sequence += 1;
            sequences.push(self.sequence);
        }
        for sequence in sequences {
            let connection = self.connection;
            let known = self.open.get(&sequence);
            let open = Open {
                first_sent_at: known.map_or(now, |open| open.first_sent_at),
                connection,
                is_repeated: known.is_some(),
                repeat_at: None,
            };
            self.open.insert(sequence, open);
            let stamp = Stamp { publisher: self.publisher.number, sequence };
            let key = self.publisher.is_keyed.then(|| format!("{}-{sequence}", stamp.publisher));
            let sent_us = u64::try_from(self.publisher.began_at.elapsed().as_micros()).unwrap_or(u64::MAX);
            let cargo = Cargo { stamp, sent_us, ballast: "x".repeat(self.publisher.ballast_bytes) };
            if wire.publish(self.publisher.channel, &cargo, key).await.is_err() {
                return false;
            }
        }
        true
    }

    fn take(&mut self, sequence: u64, answer: Answer) {
        let outcome = match answer {
            Answer::Published(position) => Outcome::Acknowledged(position),
            Answer::Refused(code) if code == "unknown_outcome" => Outcome::Unknown,
            Answer::Refused(code) => Outcome::Refused(code),
        };
        let Some(open) = self.open.get_mut(&sequence) else { return };
        // A refused repeat says nothing of what went before it.
        let is_in_doubt = match &outcome {
            Outcome::Acknowledged(_) => false,
            Outcome::Refused(_) => open.is_repeated,
            Outcome::Unknown => self.publisher.is_keyed,
        };
        if is_in_doubt {
            open.repeat_at = Some(Instant::now() + REPEAT_PAUSE);
        } else {
            self.finish(sequence, outcome);
        }
    }

    fn connection_is_over(&mut self) {
        let now = Instant::now();
        if self.publisher.is_keyed {
            self.open.values_mut().for_each(|open| open.repeat_at = Some(now));
        } else {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        for sequence in self.open.keys().copied().collect::<Vec<_>>() {
            self.finish(sequence, Outcome::Unknown);
        }
    }

    fn finish(&mut self, sequence: u64, outcome: Outcome) {
        let Some(open) = self.open.remove(&sequence) else { return };
        self.done.push(Attempt {
            stamp: Stamp { publisher: self.publisher.number, sequence },
            channel: self.publisher.channel,
            node: self.publisher.node,
            connection: open.connection,
            is_keyed: self.publisher.is_keyed,
            sent_at: open.first_sent_at,
            known_at: Instant::now(),
            outcome,
        });
    }
}

/// A time that does not come within a run.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
