//! What a process has used: seconds of processor, and memory, as /proc tells it.

use crate::Fault;
use serde::{Deserialize, Serialize};
use std::fs::read_to_string;

/// What a process is in a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// One of what is compared.
    Server,
    /// Its Redis.
    Redis,
}

/// A process that is measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Watched {
    /// What it is called.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) role: Role,
    /// Its id.
    pub(crate) pid: u32,
}

/// What a process has used since it began; or, of a measurement, within it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Seconds of processor in user mode, of all threads. In steps of 10 ms.
    pub(crate) user_s: f64,
    /// In the kernel.
    pub(crate) system_s: f64,
    /// Memory that is its own now and no file's, in KiB.
    pub(crate) anonymous_kib: u64,
    /// All memory of it that is resident now, in KiB.
    pub(crate) resident_kib: u64,
}

impl Watched {
    /// What it has used up to now.
    pub(crate) fn usage(&self) -> Result<Usage, Fault> {
        usage(&self.pid.to_string()).map_err(|fault| format!("{}: {fault}", self.name).into())
    }
}

impl Usage {
    /// What this program has used up to now.
    pub(crate) fn of_self() -> Result<Self, Fault> {
        usage("self")
    }

    /// Seconds of processor.
    pub(crate) fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }

    /// What was used since an earlier look; memory is as it is now.
    #[must_use]
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self { user_s: self.user_s - earlier.user_s, system_s: self.system_s - earlier.system_s, ..*self }
    }
}

fn usage(pid: &str) -> Result<Usage, Fault> {
    let stat = read_to_string(format!("/proc/{pid}/stat"))?;
    let (user_s, system_s) = processor_seconds(&stat).ok_or("/proc/…/stat cannot be read")?;
    let status = read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok()).unwrap_or(0)
    };
    Ok(Usage { user_s, system_s, anonymous_kib: kib("RssAnon:"), resident_kib: kib("VmRSS:") })
}

/// proc(5): utime and stime are fields 14 and 15, in ticks of 10 ms; the name in field 2 may hold spaces.
fn processor_seconds(stat: &str) -> Option<(f64, f64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut seconds = || fields.next()?.parse().ok().map(|ticks: u32| f64::from(ticks) / 100.0);
    Some((seconds()?, seconds()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_past_a_name_with_spaces() {
        let stat = "12 (a (b) c) S 1 12 12 0 -1 4194560 1 2 3 4 250 75 0 0 20 0 1 0 5";
        assert_eq!(processor_seconds(stat), Some((2.5, 0.75)));
        assert_eq!(processor_seconds("12 (a) S 1"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::of_self().unwrap();
        assert!(usage.resident_kib >= usage.anonymous_kib && usage.anonymous_kib > 0, "{usage:?}");
    }
}
