//! Processes that are killed or stopped without a word, and what the clients of the others are told.

mod process;

use link::testing::RedisServer;
use process::{Gateway, Socket, command};
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};

const SECRET: (&str, &str) = ("GW_AUTH__HMAC_SECRET", "a secret of at least thirty-two bytes");
const LEASE: Duration = Duration::from_secs(3);

/// Longer than the lease, and than what a node takes for a standstill.
const STOPPED: Duration = Duration::from_secs(8);

const NAMESPACES: &str = r#"
[[namespace]]
pattern = "live:*"
history.size = 0

[[namespace]]
pattern = "*"
"#;

/// A cluster of processes.
struct Nodes {
    redis: RedisServer,
    file: tempfile::NamedTempFile,
}

/// A user's connection.
struct User {
    socket: Socket,
    id: String,
}

impl Nodes {
    fn new() -> Self {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
        file.write_all(NAMESPACES.as_bytes()).expect("written");
        Self { redis: RedisServer::start(), file }
    }

    fn start(&self) -> Gateway {
        let url = self.redis.url();
        let environment = [SECRET, ("GW_REDIS__URL", &url), ("GW_PRESENCE__LEASE", "3s"), ("GW_WORKERS", "1")];
        let gateway = Gateway::run(command(&environment).arg("--config").arg(self.file.path()));
        let began = Instant::now();
        while !Gateway::get(gateway.admin, "/readyz", "").starts_with("HTTP/1.1 200") {
            assert!(began.elapsed() < Duration::from_secs(20), "it does not become ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        gateway
    }

    /// Waits until a node that is killed is noticed: from then on each one is.
    fn until_deaths_are_noticed(&self, watched_on: &Gateway) {
        let mut watcher = User::on(watched_on, "watcher");
        watcher.subscribe("canaries");
        let canary = self.start();
        User::on(&canary, "canary").subscribe("canaries");
        canary.signal("KILL");
        watcher.until(|push| is_leave(push, "canary", "node_lost"));
    }
}

impl User {
    fn on(gateway: &Gateway, name: &str) -> Self {
        let output = command(&[SECRET]).args(["token", "--user", name]).output().expect("ran");
        let token = String::from_utf8(output.stdout).expect("text");
        let (mut socket, head) = Socket::ask(gateway.public, &format!("authorization: Bearer {}\r\n", token.trim()));
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let welcome: Value = serde_json::from_str(&socket.text()).expect("JSON");
        Self { socket, id: welcome["client"].as_str().expect("an id").to_owned() }
    }

    fn subscribe(&mut self, channel: &str) {
        self.socket.send(&json!({"type": "subscribe", "id": 1, "channel": channel}).to_string());
        self.until(|reply| reply["type"] == "subscribed");
    }

    fn publish(&mut self, channel: &str, data: &str) {
        self.socket.send(&json!({"type": "publish", "id": 2, "channel": channel, "data": data}).to_string());
        self.until(|reply| reply["type"] == "published");
    }

    /// Everything that comes, up to this.
    fn until(&mut self, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        while !all.last().is_some_and(&is_last) {
            all.push(serde_json::from_str(&self.socket.text()).expect("JSON"));
        }
        all
    }
}

fn is_leave(push: &Value, user: &str, cause: &str) -> bool {
    push["type"] == "leave" && push["member"]["user"] == user && push["cause"] == cause
}

fn data_of<'a>(pushes: &'a [Value], channel: &str) -> Vec<&'a str> {
    let publications = pushes.iter().filter(|push| push["type"] == "publication" && push["channel"] == channel);
    publications.map(|push| push["data"].as_str().expect("a text")).collect()
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let metrics = Gateway::get(gateway.admin, "/metrics", "");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).trim().parse().expect("a number")
}

#[test]
fn users_of_a_killed_process_leave_once_and_in_time_unless_they_are_elsewhere() {
    let nodes = Nodes::new();
    let (node, dying) = (nodes.start(), nodes.start());
    nodes.until_deaths_are_noticed(&node);
    let mut watcher = User::on(&node, "watcher");
    watcher.subscribe("chat");
    let mut users = ["ann", "ann", "bob"].map(|name| User::on(&dying, name));
    users.iter_mut().for_each(|user| user.subscribe("chat"));
    let mut also_bob = User::on(&node, "bob");
    also_bob.subscribe("chat");
    dying.signal("KILL");
    let died = Instant::now();
    let told = watcher.until(|push| is_leave(push, "ann", "node_lost"));
    assert!(died.elapsed() < LEASE + Duration::from_secs(2), "after {:?}", died.elapsed());
    assert_eq!(told.iter().filter(|push| push["type"] == "leave").count(), 1, "{told:?}");
    // Whatever else would be told comes before this.
    let mut last = User::on(&node, "last");
    last.subscribe("chat");
    let told = watcher.until(|push| push["type"] == "join" && push["member"]["user"] == "last");
    assert_eq!(told.len(), 1, "{told:?}");
    last.socket.send(&json!({"type": "presence", "id": 3, "channel": "chat"}).to_string());
    let presence = last.until(|reply| reply["type"] == "presence").pop().expect("an answer");
    assert_eq!((&presence["clients"], &presence["users"]), (&json!(3), &json!(3)), "{presence}");
}

#[test]
fn a_process_that_was_stopped_is_as_it_was_when_it_goes_on_and_presents_nothing_old_as_new() {
    let nodes = Nodes::new();
    let (node, stopped) = (nodes.start(), nodes.start());
    let mut watcher = User::on(&node, "watcher");
    watcher.subscribe("chat");
    let mut writer = User::on(&node, "writer");
    let mut ann = User::on(&stopped, "ann");
    ann.subscribe("chat");
    ann.subscribe("live:x");
    nodes.until_deaths_are_noticed(&node);

    stopped.signal("STOP");
    let began = Instant::now();
    for data in ["1", "2", "3"] {
        writer.publish("chat", data);
        writer.publish("live:x", "stale");
    }
    writer.socket.send(&json!({"type": "send", "id": 4, "to": ann.id, "data": "stale"}).to_string());
    let answer = writer.until(|reply| reply["id"] == 4).pop().expect("an answer");
    assert_eq!(answer["code"], "unknown_outcome", "{answer}");
    watcher.until(|push| is_leave(push, "ann", "node_lost"));
    std::thread::sleep(STOPPED.saturating_sub(began.elapsed()));
    stopped.signal("CONT");

    // She is there again, and has been told what she missed where that can be known.
    watcher.until(|push| push["type"] == "join" && push["member"]["user"] == "ann");
    let mut told = ann.until(|push| push["type"] == "gap");
    assert_eq!((&told[told.len() - 1]["channel"], &told[told.len() - 1]["from"]), (&json!("live:x"), &Value::Null));
    writer.publish("chat", "4");
    writer.publish("live:x", "fresh");
    writer.socket.send(&json!({"type": "send", "id": 5, "to": ann.id, "data": "fresh"}).to_string());
    told.extend(ann.until(|push| push["type"] == "message"));
    assert_eq!(told[told.len() - 1]["data"], "fresh");
    if data_of(&told, "live:x").is_empty() {
        told.extend(ann.until(|push| push["data"] == "fresh"));
    }
    assert_eq!(data_of(&told, "chat"), ["1", "2", "3", "4"]);
    assert_eq!(data_of(&told, "live:x"), ["fresh"]);
    assert_eq!(told.iter().filter(|push| push["type"] == "message").count(), 1, "{told:?}");

    assert_eq!(metric(&stopped, "gateway_presence_leases_lost_total"), 1);
    assert_eq!(metric(&stopped, "gateway_broker_standstills_total"), 1);
    assert_eq!(metric(&node, "gateway_presence_leases_lost_total"), 0);
    // Counted a moment after it is told, by whichever node did it.
    let deadline = Instant::now() + Duration::from_secs(20);
    let reaped =
        || [&node, &stopped].map(|node| metric(node, "gateway_presence_reaped_nodes_total")).iter().sum::<u64>();
    while reaped() < 2 {
        assert!(Instant::now() < deadline, "what was reaped is not counted");
        std::thread::sleep(Duration::from_millis(20));
    }
    stopped.signal("TERM");
    drop(ann);
    let (code, said) = stopped.end();
    assert_eq!(code, Some(0));
    assert!(said.contains("this node's lease has ended") && said.contains("this node stood still"), "{said}");
}
