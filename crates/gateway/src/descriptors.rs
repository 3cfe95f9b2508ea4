//! File descriptors: how many this process may have open, and how they are shared out, so that connections never take
//! those that Redis, the admin port and refusals in words need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors of the process itself: standard streams, listeners, the runtime's, Redis, and the admin port's connections.
const OWN: u64 = 40;

/// Further ones of each worker: its runtime's and its listener.
const OWN_OF_WORKER: u64 = 6;

/// The most streams that are being refused in words at the same time.
const REFUSALS_MAX: u64 = 256;

/// How descriptors are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// For connections.
    pub connections: usize,
    /// For streams that found no place and are told so.
    pub refusals: usize,
}

/// Raises the limit as far as the process may by itself: the low one that shells and service managers give at first is for
/// programs that use `select`.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_none() || limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, limit = ?limit.current, "the limit of open files cannot be raised");
    }
}

/// The shares of a process with so many workers, by the limit that holds now.
pub fn shares(workers: usize) -> Shares {
    shares_of(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), workers)
}

fn shares_of(limit: u64, workers: usize) -> Shares {
    let free = limit.saturating_sub(OWN + OWN_OF_WORKER * workers as u64);
    let refusals = (free / 4).clamp(1, REFUSALS_MAX);
    let connections = free.saturating_sub(refusals).max(1);
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Shares { connections: size(connections), refusals: size(refusals) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_enough_for_everything_else() {
        let shares = |limit, workers| shares_of(limit, workers);
        assert_eq!(shares(1024, 2), Shares { connections: 729, refusals: 243 });
        assert_eq!(shares(16_384, 8), Shares { connections: 16_040, refusals: 256 });
        assert_eq!(shares(80, 2), Shares { connections: 21, refusals: 7 });
        assert_eq!(shares(u64::MAX, 64).refusals, 256);
        assert_eq!(shares(10, 4), Shares { connections: 1, refusals: 1 }, "too few for anything, and one tries");
    }
}
