//! A process that may have few files open: whoever finds no place is told so, those who are there notice nothing, and
//! waiting costs nothing.

mod process;

use process::{Gateway, Socket};
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const QUICK: [(&str, &str); 3] = [("GW_DRAIN__WINDOW", "1ms"), ("GW_PRESENCE__GRACE", "1ms"), ("GW_WORKERS", "2")];

/// How long the processor is watched, and the most it may work meanwhile: a loop that spins takes all of it.
const WATCHED: Duration = Duration::from_secs(2);
const WORK_MAX: Duration = Duration::from_millis(400);

fn ping(socket: &mut Socket) {
    socket.send(r#"{"type":"ping","id":1}"#);
    assert!(socket.text().contains("pong"));
}

/// How long a process has kept processors busy, as the kernel counts it: in hundredths of a second.
fn work(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("its state");
    // The name, in parentheses, may hold spaces.
    let fields: Vec<_> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks = |field: usize| fields[field - 3].parse::<u64>().expect("a number");
    Duration::from_millis((ticks(14) + ticks(15)) * 10)
}

fn is_at_rest(gateway: &Gateway) {
    let before = work(gateway.child.id());
    std::thread::sleep(WATCHED);
    let worked = work(gateway.child.id()) - before;
    assert!(worked < WORK_MAX, "{worked:?} of work in {WATCHED:?}");
}

/// A node that may have so many files open, whatever it does.
fn with_files(files: usize) -> Gateway {
    let mut command = Command::new("prlimit");
    let limit = format!("--nofile={files}:{files}");
    Gateway::run(command.arg(limit).arg(env!("CARGO_BIN_EXE_gateway")).env_clear().envs(QUICK))
}

/// Sets how many files a process may have open from now on.
fn limit(process: u32, files: usize) {
    let limit = format!("--nofile={files}:");
    let set = Command::new("prlimit").args(["--pid", &process.to_string(), &limit]).status();
    assert!(set.expect("prlimit").success());
}

/// The lowest descriptor that a process does not use.
fn lowest_free(process: u32) -> usize {
    let entries = std::fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("one").file_name().into_string().expect("text");
    let used: BTreeSet<usize> = entries.map(|entry| name(entry).parse().expect("a number")).collect();
    (0..).find(|number| !used.contains(number)).expect("one")
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let metrics = Gateway::get(gateway.admin, "/metrics", "");
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
    value.trim().parse().expect("a number")
}

#[test]
fn with_few_files_the_node_is_full_before_they_are_and_says_so() {
    let gateway = with_files(80);
    let places = metric(&gateway, "gateway_connections_max ");
    assert_eq!(places, 21, "the rest is for Redis, the admin port and refusals");
    let mut sockets: Vec<_> = (0..places).map(|_| Socket::open(gateway.public, "")).collect();
    let (_, refused) = Socket::ask(gateway.public, "");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: "), "{refused}");
    // Far more than it may have open; they say nothing and wait.
    let idle: Vec<_> = (0..200).map(|_| TcpStream::connect(gateway.public).expect("a stream")).collect();
    is_at_rest(&gateway);
    assert!(Gateway::get(gateway.admin, "/readyz", "").starts_with("HTTP/1.1 200"), "its admin port answers");
    assert!(metric(&gateway, "gateway_streams_dropped_total ") > 100, "more than it can answer are let go");
    assert_eq!(metric(&gateway, "gateway_accept_failures_total "), 0, "and it never was at the end of its files");
    sockets.iter_mut().for_each(ping);
    drop(idle);
    sockets.truncate(5);
    let began = Instant::now();
    let mut again = loop {
        match Socket::ask(gateway.public, "") {
            (socket, head) if head.starts_with("HTTP/1.1 101") => break socket,
            (_, head) => assert!(head.starts_with("HTTP/1.1 503") && began.elapsed() < WATCHED * 5, "{head}"),
        }
    };
    assert!(again.text().contains("welcome"), "there is room again");
    ping(&mut again);
}

#[test]
fn without_a_descriptor_whoever_comes_waits_and_nothing_spins() {
    let gateway = Gateway::start(&QUICK);
    let process = gateway.child.id();
    let mut sockets: Vec<_> = (0..20).map(|_| Socket::open(gateway.public, "")).collect();
    limit(process, lowest_free(process));
    let public = gateway.public;
    let waiting: Vec<_> = (0..6).map(|_| std::thread::spawn(move || Socket::open(public, ""))).collect();
    is_at_rest(&gateway);
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "there is no descriptor for them");
    sockets.iter_mut().for_each(ping);
    // Those who leave make room for those who wait.
    sockets.truncate(10);
    for waiting in waiting {
        ping(&mut waiting.join().expect("a connection"));
    }
    sockets.iter_mut().for_each(ping);
    limit(process, 1000);
    let failures = metric(&gateway, "gateway_accept_failures_total ");
    assert!((1..200).contains(&failures), "two listeners, each ten times a second: {failures}");
    gateway.signal("TERM");
    for mut socket in sockets {
        assert_eq!(socket.close_code(), 4200);
    }
    let (code, log) = gateway.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.matches("no connection can be accepted").count() <= 4, "said once, not every time: {log}");
}
