//! What an idle connection costs: private memory of the real binary, with its broker and presence embedded.

mod process;

use gateway::auth::{Wish, mint};
use process::{Gateway, Socket};
use std::process::Command;
use std::time::Duration;

const CONNECTIONS: usize = 5000;
/// Opened before the first measurement: threads, tables and the first pages of everything are there by then.
const WARM_UP: usize = 500;
const CHANNELS: usize = 100;
/// Descriptors of either process that are no connections.
const OTHER_DESCRIPTORS: usize = 200;

const SECRET: &str = "a secret of at least thirty-two bytes";

/// Code that is not optimized also keeps more in its tasks; what users run is the other one.
const BYTES_MAX: u64 = if cfg!(debug_assertions) { 16 * 1024 } else { 4 * 1024 };

#[test]
fn an_idle_connection_costs_less_than_4_kib() {
    let connections = CONNECTIONS.min(descriptors().saturating_sub(WARM_UP + OTHER_DESCRIPTORS));
    assert!(connections >= 500, "with so few descriptors nothing can be measured: raise `ulimit -n`");
    let quick = [("GW_DRAIN__WINDOW", "1ms"), ("GW_PRESENCE__GRACE", "1ms"), ("GW_ADMISSION__RATE", "100000/s")];
    // They answer none, and on a busy machine it takes a while until all are open.
    let patient = [("GW_PING__INTERVAL", "10m")];
    let gateway = Gateway::start(&[&quick[..], &patient, &[("GW_AUTH__HMAC_SECRET", SECRET)]].concat());
    let mut sockets: Vec<_> = (0..WARM_UP).map(|number| idle(&gateway, number)).collect();
    let before = private_bytes(gateway.child.id());
    sockets.extend((WARM_UP..WARM_UP + connections).map(|number| idle(&gateway, number)));
    let after = private_bytes(gateway.child.id());
    let metrics = Gateway::get(gateway.admin, "/metrics", "");
    let open = format!("gateway_connections{{dialect=\"json\"}} {}", WARM_UP + connections);
    assert!(metrics.contains(&open), "all of them are open");
    let each = after.saturating_sub(before) / connections as u64;
    println!("{each} bytes of private memory for each of {connections} idle connections");
    assert!(each < BYTES_MAX, "{each} bytes for each of {connections} connections");
    gateway.signal("TERM");
    for mut socket in sockets {
        assert_eq!(socket.close_code(), 4200);
    }
    assert_eq!(gateway.end().0, Some(0));
}

/// A user that subscribes to two channels and then says nothing.
fn idle(gateway: &Gateway, number: usize) -> Socket {
    let user = format!("user{number}");
    let token = mint(SECRET, Wish { user, lifetime: Duration::from_secs(3600), ..Wish::default() }).expect("a token");
    let mut socket = Socket::open(gateway.public, &format!("authorization: Bearer {token}\r\n"));
    for channel in [number % CHANNELS, (number / CHANNELS + 1 + number) % CHANNELS] {
        socket.send(&format!(r#"{{"type":"subscribe","id":1,"channel":"room{channel}"}}"#));
        while !socket.text().contains("subscribed") {}
    }
    socket
}

/// A process' private memory, as the kernel counts it.
fn private_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a kernel that counts it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// How many descriptors this process and its children may have, after asking for as many as there may be.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("the limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let mut words = line.split_whitespace().skip(3);
    let mut next = || words.next().expect("a number").parse().unwrap_or(usize::MAX);
    let (soft, hard) = (next(), next().min(1 << 20));
    let (own, wanted) = (std::process::id().to_string(), format!("--nofile={hard}:{hard}"));
    let raised = Command::new("prlimit").args(["--pid", &own, &wanted]).status();
    if raised.is_ok_and(|status| status.success()) { hard } else { soft }
}
