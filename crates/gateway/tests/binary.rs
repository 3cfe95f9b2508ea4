//! The program as its operator meets it: exit codes, signals, and what it says when something is wrong.

mod process;

use process::{Gateway, Socket, command};
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn sigterm_says_goodbye_and_ends_with_0() {
    let gateway = Gateway::start(&[("GW_DRAIN__WINDOW", "300ms"), ("GW_PRESENCE__GRACE", "100ms")]);
    let mut socket = Socket::open(gateway.public, "");
    gateway.signal("TERM");
    assert!(socket.text().contains("reconnect"));
    assert_eq!(socket.close_code(), 4200);
    drop(socket);
    let (code, said) = gateway.end();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn sigint_does_the_same() {
    let gateway = Gateway::start(&[("GW_DRAIN__WINDOW", "300ms"), ("GW_PRESENCE__GRACE", "100ms")]);
    gateway.signal("INT");
    assert_eq!(gateway.end().0, Some(0));
}

#[test]
fn a_second_signal_cuts_the_goodbyes_short() {
    let gateway = Gateway::start(&[("GW_DRAIN__WINDOW", "10m"), ("GW_PRESENCE__GRACE", "100ms")]);
    let mut sockets = [Socket::open(gateway.public, ""), Socket::open(gateway.public, "")];
    let began = Instant::now();
    gateway.signal("TERM");
    for socket in &mut sockets {
        assert!(socket.text().contains("reconnect"));
    }
    gateway.signal("TERM");
    for mut socket in sockets {
        assert!([1001, 4200].contains(&socket.close_code()));
    }
    assert_eq!(gateway.end().0, Some(0));
    assert!(began.elapsed() < Duration::from_secs(2), "those who answer are not waited for: {:?}", began.elapsed());
}

#[test]
fn every_fault_of_the_configuration_is_told_at_once_and_ends_it_with_64() {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
    file.write_all(b"[outbox]\nbytes = \"much\"\n[[namespace]]\npattern = \"*\"\npublish = \"everybody\"\n")
        .expect("written");
    let faulty = [
        ("GW_LISTEN", "here"),
        ("GW_PING__INTERVAL", "soon"),
        ("GW_REDIS_URL", "redis://x"),
        ("GW_REDIS__URL", "http://x"),
    ];
    for subcommand in ["serve", "check-config"] {
        let output = command(&faulty)
            .args([subcommand, "--set", "limits.messages=fast", "--config"])
            .arg(file.path())
            .output()
            .expect("ran");
        assert_eq!(output.status.code(), Some(64));
        let said = String::from_utf8(output.stderr).expect("text");
        for fault in [
            "listen (GW_LISTEN): `here`",
            "ping.interval (GW_PING__INTERVAL): `soon`",
            "redis_url (GW_REDIS_URL) is not a setting; did you mean redis.url (GW_REDIS__URL)?",
            "redis.url (GW_REDIS__URL): ",
            "limits.messages (GW_LIMITS__MESSAGES): `fast`",
            "outbox.bytes (GW_OUTBOX__BYTES): `much`",
            "namespace 1: publish: `everybody`",
        ] {
            assert!(said.contains(fault), "{fault:?} is not in:\n{said}");
        }
        assert!(output.stdout.is_empty(), "nothing has been started");
    }
}

#[test]
fn a_file_that_is_not_there_or_not_toml_ends_it_with_64() {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
    file.write_all(b"listen = \n").expect("written");
    for path in [file.path(), "/nowhere/gateway.toml".as_ref()] {
        let output = command(&[]).arg("--config").arg(path).output().expect("ran");
        assert_eq!(output.status.code(), Some(64), "{path:?}");
        assert!(!output.stderr.is_empty(), "{path:?}");
    }
}

#[test]
fn a_good_configuration_is_said_to_hold_and_what_is_open_in_it_is_named() {
    let output = command(&[]).arg("check-config").output().expect("ran");
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said.contains("ANYONE may connect"), "{said}");
    let mut guarded = command(&[("GW_AUTH__HMAC_SECRET", "a secret of at least thirty-two bytes")]);
    let output = guarded.arg("check-config").output().expect("ran");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(!said.contains("ANYONE"), "{said}");
}

#[test]
fn a_port_that_is_taken_ends_it_with_1_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    for (variable, other, key) in
        [("GW_LISTEN", "GW_ADMIN__LISTEN", "(listen)"), ("GW_ADMIN__LISTEN", "GW_LISTEN", "(admin.listen)")]
    {
        let output = command(&[(variable, &address), (other, "127.0.0.1:0")]).output().expect("ran");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(key) && said.contains(&address), "{said}");
    }
}

#[test]
fn a_token_it_mints_is_one_it_takes() {
    let secret = [("GW_AUTH__HMAC_SECRET", "a secret of at least thirty-two bytes")];
    let output = command(&secret).args(["token", "--user", "ann", "--ttl", "1m"]).output().expect("ran");
    assert!(output.status.success());
    let token = String::from_utf8(output.stdout).expect("text");
    let gateway = Gateway::start(&secret);
    let mut socket = Socket::open(gateway.public, &format!("authorization: Bearer {}\r\n", token.trim()));
    socket.send(r#"{"type":"subscribe","id":1,"channel":"chat"}"#);
    assert!(socket.text().contains("subscribed"));
    let without_secret = command(&[]).args(["token", "--user", "ann"]).output().expect("ran");
    assert_eq!(without_secret.status.code(), Some(64));
}

#[test]
fn its_health_can_be_asked_from_outside() {
    let gateway = Gateway::start(&[]);
    let healthcheck = |address: &str| command(&[]).args(["healthcheck", "--address", address]).output().expect("ran");
    assert_eq!(healthcheck(&gateway.admin.to_string()).status.code(), Some(0));
    assert!(Gateway::get(gateway.admin, "/healthz", "").starts_with("HTTP/1.1 200"));
    let metrics = Gateway::get(gateway.admin, "/metrics", "");
    assert!(metrics.contains("gateway_connections_opened_total") || metrics.contains("gateway_bytes_in_total"));
    assert!(metrics.contains("process_resident_memory_bytes"), "{metrics}");
    let admin = gateway.admin.to_string();
    drop(gateway);
    assert_eq!(healthcheck(&admin).status.code(), Some(1));
}

#[test]
fn without_its_redis_it_runs_and_takes_nobody() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", nobody.local_addr().expect("its address"));
    drop(nobody);
    let gateway = Gateway::start(&[("GW_REDIS__URL", &url)]);
    assert!(Gateway::get(gateway.admin, "/healthz", "").starts_with("HTTP/1.1 200"));
    assert!(Gateway::get(gateway.admin, "/readyz", "").starts_with("HTTP/1.1 503"));
    let upgrade = "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = Gateway::get(gateway.public, "/ws", &format!("connection: Upgrade, close\r\n{upgrade}"));
    assert!(answer.starts_with("HTTP/1.1 503") && answer.to_lowercase().contains("retry-after"), "{answer}");
    let refused = command(&[]).args(["healthcheck", "--address", &gateway.admin.to_string()]).output().expect("ran");
    assert_eq!(refused.status.code(), Some(1));
    gateway.signal("TERM");
    assert_eq!(gateway.end().0, Some(0), "and it still ends in order");
}

#[test]
fn a_signal_that_comes_at_once_is_heard_as_well() {
    for _ in 0..30 {
        let gateway = Gateway::start(&[]);
        gateway.signal("TERM");
        assert_eq!(gateway.end().0, Some(0));
    }
}

#[test]
fn tokens_and_secrets_are_in_no_log_no_metric_and_no_answer() {
    const SECRET: &str = "a secret that nobody else shall see";
    let environment = [
        ("GW_AUTH__HMAC_SECRET", SECRET),
        ("GW_AUTH__QUERY", "true"),
        ("GW_AUTH__COOKIE", "session"),
        ("GW_LOG__LEVEL", "trace"),
        ("GW_DRAIN__WINDOW", "0s"),
        ("GW_PRESENCE__GRACE", "0s"),
    ];
    let log = tempfile::NamedTempFile::new().expect("a file");
    // As much as is said at that level would not fit a pipe that nobody reads.
    let mut to_file = std::process::Command::new("/bin/sh");
    to_file.args(["-c", "exec \"$0\" 2> \"$1\"", env!("CARGO_BIN_EXE_gateway")]).arg(log.path()).env_clear();
    let gateway = Gateway::run(to_file.envs(environment));
    let minted = |more: &[&str]| {
        let output = command(&environment).args(["token", "--user", "ann"]).args(more).output().expect("ran");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let good = minted(&["--role", "staff", "--cap", "room:*=subscribe,publish", "--channel", "news"]);
    let ticket = minted(&["--subscribe", "room:1"]);
    // Read whole, and refused.
    let bad = format!("{}x", &good[..good.len() - 1]);
    let mut said = String::new();
    for token in [&good, &bad, &ticket] {
        for headers in [
            format!("authorization: Bearer {token}\r\n"),
            format!("sec-websocket-protocol: gateway.bearer.{token}\r\n"),
            format!("cookie: session={token}\r\n"),
            format!("origin: http://{}\r\nauthorization: Bearer {token}\r\n", gateway.public),
        ] {
            said += &Socket::ask(gateway.public, &headers).1;
        }
        said += &Gateway::get(gateway.public, &format!("/ws?token={token}"), "");
        let mut socket = Socket::open(gateway.public, "");
        socket.send(&format!("{{\"type\":\"auth\",\"id\":1,\"token\":\"{token}\"}}"));
        said += &socket.text();
    }
    let mut socket = Socket::open(gateway.public, &format!("authorization: Bearer {good}\r\n"));
    for token in [&ticket, &bad] {
        let subscribe = format!("{{\"type\":\"subscribe\",\"id\":2,\"channel\":\"room:1\",\"token\":\"{token}\"}}");
        socket.send(&subscribe);
        said += &socket.text();
    }
    assert!(said.contains("authed") && said.contains("subscribed") && said.contains("unauthenticated"), "{said}");
    said += &Gateway::get(gateway.admin, "/metrics", "");
    gateway.signal("TERM");
    assert_eq!(gateway.end().0, Some(0));
    let log = std::fs::read_to_string(log.path()).expect("the log");
    assert!(log.contains("a token was refused"), "the log tells that there was one: {log}");
    for (what, text) in [("an answer", &said), ("the log", &log)] {
        for token in [&good, &bad, &ticket] {
            let (_, signature) = token.rsplit_once('.').expect("a signature");
            // The last character is what makes the bad one differ.
            let signature = &signature[..signature.len() - 1];
            assert!(!text.contains(signature), "a token is in {what}");
            let claims = token.split('.').nth(1).expect("claims");
            assert!(!text.contains(claims), "claims are in {what}");
        }
        assert!(!text.contains(SECRET), "the secret is in {what}");
    }
}

#[test]
fn a_certificate_for_development_is_one_command_away_and_its_key_is_nobody_else_s() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("certificates");
    // What was there before, for everybody to read, is replaced.
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("key.pem"), "old").unwrap();
    let output = command(&[]).args(["dev-cert", "chat.example", "10.0.0.1", "--dir"]).arg(&folder).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("chat.example, 10.0.0.1") && said.contains("tls.cert="), "{said}");
    let mode = std::fs::metadata(folder.join("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name).display().to_string());
    let check = |cert: &str, key: &str| {
        let output = command(&[("GW_TLS__CERT", cert), ("GW_TLS__KEY", key)]).arg("check-config").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check(&cert, &key).0, Some(0));
    let (code, said) = check(&cert, "");
    assert!(code == Some(64) && said.contains("tls.key (GW_TLS__KEY) is set but empty"), "{said}");
    let (code, said) = check(&key, &key);
    assert!(code == Some(64) && said.contains("tls.cert (GW_TLS__CERT)") && said.contains("key.pem"), "{said}");
}

/// A pipe that nobody reads, as `head` leaves it.
fn deserted_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

#[test]
fn whoever_stops_reading_what_a_command_says_is_no_fault_of_it() {
    for (arguments, code) in
        [(&["print-config"][..], 0), (&["check-config"], 0), (&["check-config", "--production"], 1), (&["--help"], 0)]
    {
        let output = command(&[]).args(arguments).stdout(deserted_pipe()).stderr(Stdio::piped()).output().expect("ran");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(code), ""), "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_written_for_another_reason_is_told_and_ends_it_with_1() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = command(&[]).arg("print-config").stdout(full).stderr(Stdio::piped()).output().expect("ran");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write") && !said.contains("panicked"), "{said}");
}

#[test]
fn a_node_serves_on_and_stops_in_order_when_nobody_reads_what_it_says() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let settings = [("GW_LISTEN", "127.0.0.1:0"), ("GW_DRAIN__WINDOW", "100ms"), ("GW_PRESENCE__GRACE", "100ms")];
    let mut child = command(&settings)
        .env("GW_ADMIN__LISTEN", port.to_string())
        .stdin(Stdio::null())
        .stdout(deserted_pipe())
        .stderr(deserted_pipe())
        .spawn()
        .expect("the binary");
    let began = Instant::now();
    let asked = || command(&[]).args(["healthcheck", "--address", &port.to_string()]).output().expect("ran");
    while !asked().status.success() {
        assert!(child.try_wait().expect("its status").is_none(), "it has ended");
        assert!(began.elapsed() < Duration::from_secs(20), "it does not become ready");
    }
    let sent = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
    assert!(sent.expect("kill").success());
    assert_eq!(child.wait().expect("its status").code(), Some(0));
}
