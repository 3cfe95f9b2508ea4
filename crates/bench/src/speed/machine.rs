//! What the numbers were made on.

use std::fs::read_to_string;
use std::process::Command;

/// Machine, kernel and commit, as a list in Markdown.
pub(super) fn description() -> String {
    let processor = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    let gib = kib.map_or(0, |kib: u64| kib / 1024 / 1024);
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let redis = said("redis-server", &["--version"]);
    let redis = redis.split_whitespace().find(|word| word.starts_with("v=")).unwrap_or("none");
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
    format!(
        "- machine: {model}, {cores} cores, {gib} GiB\n- kernel: {}\n- Redis: {redis}\n- commit: {}\n- time: {now}\n",
        kernel.trim(),
        commit()
    )
}

/// The commit, and whether there is more than it.
fn commit() -> String {
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed = !said("git", &["status", "--porcelain", "--untracked-files=no"]).trim().is_empty();
    match (commit.trim(), changed) {
        ("", _) => "unknown".to_owned(),
        (commit, true) => format!("{commit}, with changes"),
        (commit, false) => commit.to_owned(),
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
