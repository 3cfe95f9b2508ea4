//! How much memory this process may use: that of the machine, or of its control group where that allows less.

use super::settings::parse_size;
use std::fs;
use std::path::{Path, PathBuf};

/// The least that clients may make a node hold, and what they may where nobody says how much memory there is.
const BUDGET_LEAST: usize = 64 << 20;
const BUDGET_UNKNOWN: usize = 512 << 20;

/// The part of the memory that clients may make a node hold.
const BUDGET_PART: usize = 4;

/// A size, or `auto`.
pub(super) fn parse_budget(text: &str) -> Result<usize, String> {
    match text {
        "auto" => Ok(budget(available_bytes(Path::new("/")))),
        text => match parse_size(text).map_err(|fault| format!("{fault}, or auto"))? {
            0 => Err(format!("`{text}`: more than nothing, or auto")),
            size => Ok(size),
        },
    }
}

fn budget(available: Option<usize>) -> usize {
    available.map_or(BUDGET_UNKNOWN, |bytes| (bytes / BUDGET_PART).max(BUDGET_LEAST))
}

/// The least of all that limits this process.
fn available_bytes(root: &Path) -> Option<usize> {
    let limits = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let of_groups = limits.lines().flat_map(|line| limit_files(root, line)).filter_map(|file| read_bytes(&file));
    of_groups.chain(machine_bytes(root)).min()
}

/// Where a line of `/proc/self/cgroup` says that limits stand: of its group and all above it, in both versions. Within a
/// container the group's own path may not be visible; then that of the root is its own.
fn limit_files(root: &Path, line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (mount, name) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        controllers if controllers.split(',').any(|it| it == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let mount = root.join(mount);
    let group = mount.join(group.trim_start_matches('/'));
    group.ancestors().take_while(|group| group.starts_with(&mount)).map(|group| group.join(name)).collect()
}

/// A number, or `max` for none.
fn read_bytes(file: &Path) -> Option<usize> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn machine_bytes(root: &Path) -> Option<usize> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, text).expect("written");
        }
        root
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemFree: 1 kB\nMemTotal:       8388608 kB\n");

    #[test]
    fn the_memory_is_the_machine_s_or_less_if_a_group_allows_less() {
        let bytes = |files: &[(&str, &str)]| available_bytes(root(files).path());
        let v2 = ("proc/self/cgroup", "0::/pods/one\n");
        let v1 = ("proc/self/cgroup", "5:cpu:/a\n4:foo,memory:/docker/x\n");
        assert_eq!(bytes(&[]), None);
        assert_eq!(bytes(&[MACHINE]), Some(8 << 30));
        let own = ("sys/fs/cgroup/pods/one/memory.max", "max\n");
        assert_eq!(bytes(&[MACHINE, v2, own]), Some(8 << 30));
        assert_eq!(bytes(&[MACHINE, v2, own, ("sys/fs/cgroup/pods/memory.max", "1048576\n")]), Some(1 << 20));
        assert_eq!(bytes(&[MACHINE, v2, ("sys/fs/cgroup/memory.max", "2097152\n")]), Some(2 << 20), "a container");
        let limit = ("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "4096\n");
        assert_eq!(bytes(&[MACHINE, v1, limit]), Some(4096));
        assert_eq!(bytes(&[MACHINE, v1, ("sys/fs/cgroup/cpu/a/memory.max", "1\n")]), Some(8 << 30));
    }

    #[test]
    fn a_budget_is_a_size_or_a_quarter_of_the_memory() {
        assert_eq!(parse_budget("10MiB"), Ok(10 << 20));
        assert!(parse_budget("auto").is_ok_and(|bytes| bytes >= BUDGET_LEAST));
        assert!(parse_budget("0").is_err() && parse_budget("much").is_err_and(|fault| fault.contains("auto")));
        assert_eq!([Some(8 << 30), Some(1 << 20), None].map(budget), [2 << 30, 64 << 20, 512 << 20]);
    }
}
