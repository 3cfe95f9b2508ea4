//! What Redis counts: commands by name, and bytes that came and went.

use crate::Fault;
use std::collections::BTreeMap;

/// What asking for the statistics costs itself.
const ASKING: &[&str] = &["info", "hello", "client|setinfo"];

/// A look at a Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RedisStats {
    /// Calls by command, those within scripts included; without those of this harness.
    pub(crate) calls: BTreeMap<String, u64>,
    /// Bytes that it has read.
    pub(crate) bytes_in: u64,
    /// Bytes that it has written.
    pub(crate) bytes_out: u64,
}

impl RedisStats {
    /// Since the Redis there began.
    pub(crate) async fn of(url: &str) -> Result<Self, Fault> {
        let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        let mut text = String::new();
        for section in ["commandstats", "stats"] {
            let said: String = redis::cmd("INFO").arg(section).query_async(&mut connection).await?;
            text.push_str(&said);
        }
        Ok(Self::read(&text))
    }

    fn read(text: &str) -> Self {
        let mut stats = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.trim().split_once(':')) {
            match name {
                "total_net_input_bytes" => stats.bytes_in = value.parse().unwrap_or(0),
                "total_net_output_bytes" => stats.bytes_out = value.parse().unwrap_or(0),
                _ => {
                    let calls = value.strip_prefix("calls=").and_then(|rest| rest.split(',').next()?.parse().ok());
                    let command = name.strip_prefix("cmdstat_").filter(|command| !ASKING.contains(command));
                    stats.calls.extend(command.zip(calls).map(|(command, calls)| (command.to_owned(), calls)));
                }
            }
        }
        stats
    }

    /// What has been counted since an earlier look.
    #[must_use]
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let calls = self.calls.iter().map(|(name, calls)| (name.clone(), calls - earlier.calls_of(name)));
        Self {
            calls: calls.filter(|(_, calls)| *calls > 0).collect(),
            bytes_in: self.bytes_in - earlier.bytes_in,
            bytes_out: self.bytes_out - earlier.bytes_out,
        }
    }

    /// Calls of one command.
    pub(crate) fn calls_of(&self, name: &str) -> u64 {
        self.calls.get(name).copied().unwrap_or(0)
    }

    /// Calls of all commands.
    pub(crate) fn all_calls(&self) -> u64 {
        self.calls.values().sum()
    }

    /// The commands by how often they are called, for people.
    pub(crate) fn rates(&self, seconds: f64) -> String {
        let mut calls: Vec<_> = self.calls.iter().collect();
        calls.sort_by_key(|(_, calls)| std::cmp::Reverse(**calls));
        let told: Vec<_> =
            calls.iter().map(|(name, calls)| format!("{name} {:.1}", **calls as f64 / seconds)).collect();
        told.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# Commandstats\r\ncmdstat_get:calls=5,usec=9\r\ncmdstat_info:calls=7,usec=1\r\n\
                          # Stats\r\ntotal_net_input_bytes:100\r\ntotal_net_output_bytes:10\r\n";
    const AFTER: &str = "cmdstat_get:calls=5,usec=9\r\ncmdstat_evalsha:calls=4,usec=1\r\ncmdstat_info:calls=9,usec=1\r\n\
                         total_net_input_bytes:160\r\ntotal_net_output_bytes:15\r\n";

    #[test]
    fn what_was_called_between_two_looks_is_told_without_the_looks() {
        let between = RedisStats::read(AFTER).since(&RedisStats::read(BEFORE));
        assert_eq!((between.all_calls(), between.calls_of("evalsha"), between.calls_of("get")), (4, 4, 0));
        assert_eq!((between.bytes_in, between.bytes_out), (60, 5));
        assert_eq!(between.rates(2.0), "evalsha 2.0");
    }
}
