//! On which cores processes run: servers and the generator do not take turns on one, so that a second of processor is one.

use crate::Fault;

/// Who runs where.
#[derive(Debug, Clone)]
pub(crate) struct Cores {
    /// All servers that are compared, and their Redis.
    pub(crate) server: Vec<usize>,
    /// The generator.
    pub(crate) load: usize,
}

impl Cores {
    /// The first core that this process may use for servers, the last for the generator.
    pub(crate) fn usual() -> Result<Self, Fault> {
        let allowed = allowed()?;
        let (Some(first), Some(last)) = (allowed.first(), allowed.last()) else {
            return Err("this process may run on no core".into());
        };
        Ok(Self { server: vec![*first], load: *last })
    }

    /// The same with so many cores for servers, as far as there are; where there are too few the generator's is among them.
    pub(crate) fn with_servers(&self, count: usize) -> Result<Self, Fault> {
        let allowed = allowed()?;
        let others = allowed.into_iter().filter(|core| !self.server.contains(core) && *core != self.load);
        let server = self.server.iter().copied().chain(others).chain([self.load]).take(count).collect();
        Ok(Self { server, load: self.load })
    }

    /// Whether there are so many cores for servers beside the generator's.
    pub(crate) fn spare(&self, count: usize) -> Result<bool, Fault> {
        Ok(!self.with_servers(count)?.server.contains(&self.load))
    }
}

/// Does something, such as starting a process, which then stays on these cores: a child inherits them from the thread
/// that starts it.
pub(crate) fn on<T>(cores: &[usize], start: impl FnOnce() -> T) -> Result<T, Fault> {
    let before = allowed()?;
    thread::restrict_to(cores).map_err(|fault| format!("cores {cores:?} cannot be used: {fault}"))?;
    let started = start();
    thread::restrict_to(&before)?;
    Ok(started)
}

/// The cores that this thread may use.
fn allowed() -> Result<Vec<usize>, Fault> {
    thread::allowed()
}

#[cfg(target_os = "linux")]
mod thread {
    use crate::Fault;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    pub(super) fn allowed() -> Result<Vec<usize>, Fault> {
        let set = sched_getaffinity(None)?;
        Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
    }

    pub(super) fn restrict_to(cores: &[usize]) -> Result<(), Fault> {
        let mut set = CpuSet::new();
        for core in cores {
            if *core >= CpuSet::MAX_CPU {
                return Err("there are not so many".into());
            }
            set.set(*core);
        }
        Ok(sched_setaffinity(None, &set)?)
    }
}

/// Elsewhere it compiles, and cannot measure.
#[cfg(not(target_os = "linux"))]
mod thread {
    use crate::Fault;

    pub(super) fn allowed() -> Result<Vec<usize>, Fault> {
        Err("speed is measured on Linux: processes are kept on cores, and /proc tells what they use".into())
    }

    pub(super) fn restrict_to(_cores: &[usize]) -> Result<(), Fault> {
        allowed().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_started_on_a_core_stays_there() {
        let before = allowed().unwrap();
        let core = before[before.len() - 1];
        assert!(on(&[1_000_000], || ()).is_err());
        let nproc = on(&[core], || std::process::Command::new("nproc").output()).unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&nproc.stdout).trim(), "1");
        assert_eq!(allowed().unwrap(), before);
    }
}
