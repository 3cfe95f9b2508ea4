//! What an operator tells a running node: `gateway drain`, `rebalance` and `resume`.

mod process;

use process::{Gateway, Socket, command};
use std::net::{SocketAddr, TcpListener};
use std::process::Output;
use std::time::{Duration, Instant};

const QUICK: [(&str, &str); 2] = [("GW_DRAIN__WINDOW", "300ms"), ("GW_PRESENCE__GRACE", "100ms")];

/// Runs a command against a node's admin port.
fn tell(admin: SocketAddr, arguments: &[&str]) -> Output {
    command(&[]).args(arguments).args(["--address", &admin.to_string()]).output().expect("ran")
}

/// Expects that it is done; what it says.
fn done(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Expects that it is not; what it says.
fn refused(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}{}", String::from_utf8_lossy(&output.stdout));
    said
}

fn open(gateway: &Gateway, count: usize) -> Vec<Socket> {
    (0..count).map(|_| Socket::open(gateway.public, "")).collect()
}

#[test]
fn drain_does_what_sigterm_does_and_says_how_far_it_is() {
    let gateway = Gateway::start(&QUICK);
    let sockets = open(&gateway, 3);
    let closing =
        std::thread::spawn(move || sockets.into_iter().map(|mut socket| socket.close_code()).collect::<Vec<_>>());
    let said = done(&tell(gateway.admin, &["drain", "--window", "700ms", "--wait"]));
    assert!(said.contains("draining: 3 of 3 connections have yet to go, 1 s left"), "{said}");
    assert!(said.ends_with("the node has ended\n"), "{said}");
    assert_eq!(closing.join().expect("closes"), [4200; 3]);
    let (code, log) = gateway.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_node_that_is_to_stay_does_until_it_is_told_to_go_on() {
    let gateway = Gateway::start(&QUICK);
    let mut socket = Socket::open(gateway.public, "");
    let closing = std::thread::spawn(move || socket.close_code());
    let said = done(&tell(gateway.admin, &["drain", "--stay", "--wait"]));
    assert!(said.contains("drained: 0 connections"), "{said}");
    assert_eq!(closing.join().expect("a close"), 4200);
    let unwell = refused(&tell(gateway.admin, &["healthcheck"]), 1);
    assert!(unwell.contains("drained"), "{unwell}");
    assert!(done(&tell(gateway.admin, &["drain", "--stay"])).contains("drained"), "told twice is told once");
    refused(&tell(gateway.admin, &["rebalance", "--percent", "5"]), 1);
    assert_eq!(done(&tell(gateway.admin, &["resume"])), "serving\n");
    done(&tell(gateway.admin, &["healthcheck"]));
    drop(Socket::open(gateway.public, ""));
    gateway.signal("TERM");
    assert_eq!(gateway.end().0, Some(0));
}

#[test]
fn rebalance_sends_a_share_away_and_the_others_notice_nothing() {
    let gateway = Gateway::start(&QUICK);
    let sockets = open(&gateway, 10);
    let admin = gateway.admin;
    let said = done(&tell(admin, &["rebalance", "--percent", "50", "--window", "500ms", "--wait"]));
    assert!(said.contains("rebalancing: 5 of 5 connections have yet to go"), "{said}");
    assert!(said.ends_with("serving\n"), "{said}");
    let mut gone = 0;
    for mut socket in sockets {
        socket.send(r#"{"type":"ping","id":1}"#);
        if socket.text().contains("reconnect") {
            assert_eq!(socket.close_code(), 4201);
            gone += 1;
        }
    }
    assert_eq!(gone, 5);
    let metrics = Gateway::get(admin, "/metrics", "");
    assert!(metrics.contains("gateway_shed_connections_total{occasion=\"rebalance\"} 5\n"), "{metrics}");
}

#[test]
fn only_one_rebalance_goes_on_at_a_time_and_a_share_is_a_percentage() {
    let gateway = Gateway::start(&QUICK);
    let _sockets = open(&gateway, 2);
    done(&tell(gateway.admin, &["rebalance", "--percent", "100", "--window", "10m"]));
    let conflict = refused(&tell(gateway.admin, &["rebalance", "--percent", "10"]), 1);
    assert!(conflict.contains("rebalancing: 2 of 2"), "{conflict}");
    for percent in ["0", "101", "half"] {
        refused(&tell(gateway.admin, &["rebalance", "--percent", percent]), 2);
    }
    done(&tell(gateway.admin, &["healthcheck"]));
}

#[test]
fn a_signal_has_its_window_whatever_was_said_by_hand() {
    let gateway = Gateway::start(&QUICK);
    let mut sockets = open(&gateway, 2);
    done(&tell(gateway.admin, &["drain", "--window", "10m"]));
    let began = Instant::now();
    for socket in &mut sockets {
        assert!(socket.text().contains("reconnect"));
    }
    gateway.signal("TERM");
    for mut socket in sockets {
        assert_eq!(socket.close_code(), 4200);
    }
    assert_eq!(gateway.end().0, Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_user_is_disconnected_and_its_tokens_revoked_from_the_command_line() {
    let secret = [("GW_AUTH__HMAC_SECRET", "a secret for tests, of 32 bytes or more")];
    let gateway = Gateway::start(&secret);
    let token = done(&command(&secret).args(["token", "--user", "ann"]).output().expect("ran"));
    let bearer = format!("authorization: Bearer {}\r\n", token.trim());
    let mut socket = Socket::open(gateway.public, &bearer);
    let said = done(&tell(gateway.admin, &["disconnect", "--user", "ann", "--reconnect"]));
    assert!(said.contains("4110"), "{said}");
    assert_eq!(socket.close_code(), 4110);
    let mut socket = Socket::open(gateway.public, &bearer);
    let said = done(&tell(gateway.admin, &["revoke", "--user", "ann", "--issued-before", "now", "--for", "2h"]));
    assert!(said.contains("issued_before"), "{said}");
    assert_eq!(socket.close_code(), 4009);
    assert!(Socket::ask(gateway.public, &bearer).1.starts_with("HTTP/1.1 401"));
    let shown = Gateway::get(gateway.admin, "/revocations", "");
    assert!(shown.contains(r#""user":"ann""#) && shown.contains(r#""count":1"#), "{shown}");
    let unwell = refused(&tell(gateway.admin, &["disconnect", "--user", "ann", "--code", "1000"]), 1);
    assert!(unwell.contains("40xx"), "{unwell}");
    refused(&tell(gateway.admin, &["revoke", "--user", "ann", "--token-id", "t1"]), 2);
    refused(&tell(gateway.admin, &["disconnect"]), 2);
}

#[test]
fn where_no_gateway_answers_it_is_said() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("its address");
    drop(nobody);
    for arguments in [
        &["disconnect", "--user", "ann"][..],
        &["revoke", "--token-id", "t1"],
        &["drain", "--wait"],
        &["rebalance", "--percent", "10"],
        &["resume"],
        &["healthcheck"],
    ] {
        let said = refused(&tell(address, arguments), 1);
        assert!(said.contains(&address.to_string()), "{said}");
    }
}
