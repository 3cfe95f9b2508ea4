//! The generator's loop, and its phases: probe, warm up, measure, wait for what is owed.

use super::{Heard, Load};
use crate::Fault;
use crate::speed::plan::Outcome;
use crate::speed::usage::Usage;
use std::time::Duration;

/// How long a subscription may take to become effective.
const PROBE_TIMEOUT_NS: u64 = 60_000_000_000;

/// How often a probe is sent until it has come to everybody.
const PROBE_INTERVAL_NS: u64 = 300_000_000;

/// When nothing has come for so long after the probes, none is under way.
const QUIET_NS: u64 = 500_000_000;

/// The longest wait for something to happen.
const TURN: Duration = Duration::from_millis(100);

/// epoll waits in whole milliseconds: what is due sooner is waited for awake, or it would be late.
const AWAKE_NS: u64 = 2_000_000;

impl Load<'_> {
    /// Loads the servers, and counts.
    pub(super) fn run(mut self) -> Result<Outcome, Fault> {
        // What came while connections opened has had its event, or will have none.
        (0..self.connections.len()).for_each(|number| self.read(number));
        self.until_probed()?;
        self.heard.tick();
        let began_ns = self.heard.now_ns;
        self.heard.crowds.iter_mut().for_each(|crowd| crowd.begin(began_ns));
        let measure_ns = began_ns + nanoseconds(self.plan.warmup_s);
        self.load_until(measure_ns)?;

        let before = self.usage()?;
        let from_ns = self.heard.now_ns;
        self.heard.crowds.iter_mut().for_each(super::Crowd::count);
        self.load_until(measure_ns + nanoseconds(self.plan.measure_s))?;
        let after = self.usage()?;
        let seconds = (self.heard.now_ns - from_ns) as f64 / 1e9;
        let groups = self.heard.crowds.iter_mut().map(super::Crowd::outcome).collect();

        self.until_nothing_is_owed()?;
        let mut usage: Vec<Usage> = after.iter().zip(&before).map(|(after, before)| after.since(before)).collect();
        let load_cpu_s = usage.pop().unwrap_or_default().cpu_s();
        Ok(Outcome { seconds, groups, usage, load_cpu_s, damage: self.damage() })
    }

    /// Of the watched processes, and last of the generator itself.
    fn usage(&self) -> Result<Vec<Usage>, Fault> {
        let watched = self.plan.watched.iter().map(crate::speed::usage::Watched::usage);
        watched.chain([Usage::of_self()]).collect()
    }

    fn damage(&mut self) -> crate::speed::plan::Damage {
        let mut damage = std::mem::take(&mut self.heard.damage);
        for (channel, ledger) in self.channels.iter().zip(&self.heard.ledgers) {
            damage.add(&ledger.damage(channel.published));
        }
        damage.overloaded = self.heard.crowds.iter().any(|crowd| crowd.overloaded);
        damage
    }

    fn until_probed(&mut self) -> Result<(), Fault> {
        self.heard.tick();
        let deadline_ns = self.heard.now_ns + PROBE_TIMEOUT_NS;
        loop {
            self.heard.tick();
            if self.heard.now_ns > deadline_ns || self.heard.damage.closed > 0 {
                let said = self.heard.damage.said.join("; ");
                let what = "what is published does not come to all subscribers (its sender too, if it has subscribed)";
                return Err(format!("{what}. {said}").into());
            }
            if self.probe() {
                break;
            }
            let until_ns = self.heard.now_ns + PROBE_INTERVAL_NS;
            while self.heard.now_ns < until_ns {
                self.turn(TURN)?;
            }
        }
        while self.heard.now_ns < self.heard.last_ns + QUIET_NS {
            self.turn(TURN)?;
        }
        Ok(())
    }

    fn load_until(&mut self, end_ns: u64) -> Result<(), Fault> {
        let mut checked_ns = self.heard.now_ns;
        while self.heard.now_ns < end_ns {
            self.publish();
            let wait = self.wait(end_ns);
            self.turn(wait)?;
            if self.heard.now_ns > checked_ns + nanoseconds(1.0) {
                checked_ns = self.heard.now_ns;
                let patience_ns = nanoseconds(self.plan.patience_s);
                self.heard.crowds.iter_mut().for_each(|crowd| crowd.give_up(checked_ns, patience_ns));
            }
        }
        Ok(())
    }

    fn until_nothing_is_owed(&mut self) -> Result<(), Fault> {
        let stopped_ns = self.heard.now_ns;
        while self.heard.crowds.iter().any(|crowd| crowd.owed() > 0)
            && self.heard.now_ns < self.heard.last_ns.max(stopped_ns) + nanoseconds(self.plan.patience_s)
        {
            self.turn(TURN)?;
        }
        Ok(())
    }

    /// How long nothing has to be sent.
    fn wait(&self, end_ns: u64) -> Duration {
        let next_ns = self.heard.crowds.iter().filter_map(super::Crowd::next_ns).min().unwrap_or(end_ns).min(end_ns);
        let wait_ns = next_ns.saturating_sub(self.heard.now_ns).saturating_sub(AWAKE_NS);
        Duration::from_nanos(wait_ns).min(TURN)
    }

    /// Sends what is to be sent, waits for something to happen, and takes what has come.
    fn turn(&mut self, wait: Duration) -> Result<(), Fault> {
        for number in std::mem::take(&mut self.dirty) {
            self.flush(number);
        }
        let mut news = self.watch.take(wait)?;
        for (number, is_readable) in news.drain(..) {
            if is_readable {
                self.read(number);
            }
            if self.connections[number].wants_flush() {
                self.flush(number);
            }
        }
        self.watch.give_back(news);
        self.heard.tick();
        Ok(())
    }

    fn read(&mut self, number: usize) {
        let Self { connections, heard, scratch, .. } = self;
        let connection = &mut connections[number];
        if !connection.is_open {
            return;
        }
        heard.tick();
        let (channel, subscriber) = (connection.channel, connection.subscriber);
        let read = connection.read(scratch, |message| heard.hear(message, channel, subscriber));
        self.ends_if(number, read);
    }

    fn flush(&mut self, number: usize) {
        if self.connections[number].is_open {
            let flushed = self.connections[number].flush();
            self.ends_if(number, flushed);
        }
    }

    fn ends_if(&mut self, number: usize, result: Result<(), String>) {
        if let Err(why) = result {
            self.connections[number].is_open = false;
            self.heard.damage.closed += 1;
            Heard::note(&mut self.heard, &why);
        }
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
