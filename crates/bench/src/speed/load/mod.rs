//! The load generator: one thread that keeps thousands of connections, and looks at every delivery for 50 ns.
//!
//! It is a process of its own, on a core of its own, so that what it costs is not what the server costs.

mod audience;
mod connection;
mod crowd;
mod dialect;
mod frame;
mod latency;
mod ledger;
mod open;
mod run;
mod stamp;
mod storm;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use audience::Audience;
pub(crate) use dialect::Dialect;
pub(crate) use storm::{Storm, Weather};

use super::plan::{Damage, From, Group, Outcome, Pace, Plan};
use crate::Fault;
use connection::Connection;
use crowd::Crowd;
use ledger::Ledger;
use mio::{Interest, Token};
use open::{Wanted, open_all};
use stamp::Stamp;
use std::io::Read;
use std::time::Instant;
use watch::Watch;

/// The first of what servers refuse is kept, so much of it.
const SAID_MAX: usize = 3;

/// Reads a plan from the standard input, does it, and writes what came of it to the standard output.
pub(crate) fn main() -> Result<(), Fault> {
    let mut plan = String::new();
    std::io::stdin().read_to_string(&mut plan)?;
    let plan: Plan = serde_json::from_str(&plan)?;
    let outcome: Outcome = Load::open(&plan)?.run()?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// A load that runs.
struct Load<'a> {
    plan: &'a Plan,
    watch: Watch,
    connections: Vec<Connection>,
    heard: Heard,
    channels: Vec<Channel>,
    /// Connections that have something to send.
    dirty: Vec<usize>,
    scratch: Vec<u8>,
}

/// What is known of deliveries.
struct Heard {
    dialect: Dialect,
    began: Instant,
    now_ns: u64,
    last_ns: u64,
    /// How far from its end a message's stamp begins.
    tail: usize,
    ledgers: Vec<Ledger>,
    /// The group of each channel.
    crowd_of: Vec<usize>,
    crowds: Vec<Crowd>,
    damage: Damage,
}

/// Who publishes in a channel, and how much they have.
struct Channel {
    name: String,
    /// Connections, and the sequence that comes next.
    publishers: Vec<(usize, u32)>,
    published: u64,
}

impl<'a> Load<'a> {
    /// Opens all connections.
    fn open(plan: &'a Plan) -> Result<Self, Fault> {
        let mut load = Self {
            plan,
            watch: Watch::new(plan.groups.len())?,
            connections: Vec::new(),
            heard: Heard::new(plan.dialect),
            channels: Vec::new(),
            dirty: Vec::new(),
            scratch: vec![0; 256 * 1024],
        };
        for group in &plan.groups {
            load.add_group(group)?;
        }
        load.connect()?;
        Ok(load)
    }

    fn add_group(&mut self, group: &Group) -> Result<(), Fault> {
        let first = self.channels.len();
        let channels = first..first + group.channels;
        let publishers = match group.from {
            From::Outside => 1,
            From::Subscribers => group.subscribers,
        };
        if publishers == 0 || group.channels == 0 || u16::try_from(channels.end.max(publishers)).is_err() {
            return Err("a group needs channels and publishers, and no more than 65,535 of either".into());
        }
        for number in channels.clone() {
            self.heard.crowd_of.push(self.heard.crowds.len());
            self.heard.ledgers.push(Ledger::new(group.subscribers, publishers));
            self.channels.push(Channel { name: format!("bench-{number}"), publishers: Vec::new(), published: 0 });
        }
        let subscribers = u32::try_from(group.subscribers)?;
        self.heard.crowds.push(Crowd::new(group.pace, channels, subscribers, publishers));
        Ok(())
    }

    fn connect(&mut self) -> Result<(), Fault> {
        // Channel, and which subscriber.
        let mut places = Vec::new();
        for (number, crowd) in self.heard.crowd_of.iter().enumerate() {
            let group = &self.plan.groups[*crowd];
            places.extend((group.from == From::Outside).then_some((number, None)));
            places.extend((0..group.subscribers).map(|subscriber| (number, Some(subscriber))));
        }
        let urls = self.plan.urls.iter().cycle();
        let wanted = places.iter().zip(urls).map(|((channel, subscriber), url)| {
            let name = self.channels[*channel].name.clone();
            Wanted { url: url.replace("{channel}", &name), channel: subscriber.map(|_| name), token: None }
        });
        let opened = open_all(&wanted.collect::<Vec<_>>(), self.plan.dialect)?;
        for ((channel, subscriber), opened) in places.into_iter().zip(opened) {
            let number = self.connections.len();
            let outside = self.plan.groups[self.heard.crowd_of[channel]].from == From::Outside;
            if outside != subscriber.is_some() {
                self.channels[channel].publishers.push((number, 0));
            }
            let mut connection = Connection::new(opened, channel, subscriber)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registry = self.watch.registry(self.heard.crowd_of[channel]);
            registry.register(&mut connection.stream, Token(number), interest)?;
            self.connections.push(connection);
        }
        Ok(())
    }

    /// Sends a probe in each channel where somebody has not had one; true if there is none.
    fn probe(&mut self) -> bool {
        let mut all = true;
        for number in 0..self.channels.len() {
            let is_silent = self.plan.groups[self.heard.crowd_of[number]].pace == Pace::Silent;
            if !is_silent && !self.heard.ledgers[number].all_probed() {
                all = false;
                let stamp = Stamp { sequence: stamp::PROBE, channel: number as u16, publisher: 0, slot: 0, due_ns: 0 };
                self.send(number, 0, &stamp);
            }
        }
        all
    }

    /// Publishes what is due.
    fn publish(&mut self) {
        for number in 0..self.heard.crowds.len() {
            while let Some(due) = self.heard.crowds[number].due(self.heard.now_ns) {
                let channel = &mut self.channels[due.channel];
                channel.published += 1;
                let (_, next) = &mut channel.publishers[due.publisher];
                let sequence = *next;
                *next += 1;
                let (at, by) = (due.channel as u16, due.publisher as u16);
                let stamp = Stamp { sequence, channel: at, publisher: by, slot: due.slot, due_ns: due.due_ns };
                self.send(due.channel, due.publisher, &stamp);
            }
        }
    }

    fn send(&mut self, channel: usize, publisher: usize, stamp: &Stamp) {
        let channel = &self.channels[channel];
        let (connection, _) = channel.publishers[publisher];
        let words = self.plan.dialect.publish(&channel.name, &stamp.payload(self.plan.payload_bytes));
        if !self.connections[connection].say(&words) {
            self.dirty.push(connection);
        }
    }
}

impl Heard {
    fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            began: Instant::now(),
            now_ns: 0,
            last_ns: 0,
            tail: 0,
            ledgers: Vec::new(),
            crowd_of: Vec::new(),
            crowds: Vec::new(),
            damage: Damage::default(),
        }
    }

    /// Looks at the clock.
    fn tick(&mut self) {
        self.now_ns = self.began.elapsed().as_nanos() as u64;
    }

    /// A message has come; returns what it is answered.
    fn hear(&mut self, message: &[u8], channel: usize, subscriber: Option<usize>) -> Option<&'static str> {
        let Some(stamp) = Stamp::find(message, &mut self.tail) else {
            if self.dialect.is_refusal(message) {
                self.damage.refused += 1;
                self.note(&String::from_utf8_lossy(message));
            }
            return self.dialect.answer(message);
        };
        self.last_ns = self.now_ns;
        // Relays send to whoever is connected, publishers included.
        let subscriber = subscriber?;
        if usize::from(stamp.channel) != channel {
            self.damage.strange += 1;
        } else if stamp.sequence == stamp::PROBE {
            self.ledgers[channel].probe(subscriber);
        } else if self.ledgers[channel].receive(subscriber, &stamp) {
            self.crowds[self.crowd_of[channel]].deliver(&stamp, self.now_ns);
        } else {
            self.damage.strange += 1;
        }
        None
    }

    /// Remembers what was said, if it is one of the first.
    fn note(&mut self, said: &str) {
        if self.damage.said.len() < SAID_MAX {
            self.damage.said.push(said.chars().take(200).collect());
        }
    }
}
