//! A Redis that is reached by TLS, as a user who may do what a gateway needs and nothing else.

use e2e::tls::file;
use e2e::{Backend, Cluster};
use gateway::tls::develop::Developed;
use link::testing::RedisServer;
use serde_json::json;
use std::net::TcpListener;
use std::path::Path;

const PASSWORD: &str = "p@ss:w/rd%";

/// A server with TLS, and its port. With `asks`, it serves only those who show a certificate of its authority.
fn server(asks: bool) -> (RedisServer, u16) {
    serve(&file("ca.pem"), asks)
}

fn serve(authorities: &Path, asks: bool) -> (RedisServer, u16) {
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr()).expect("a free port").port();
    let [cert, key] = ["tls.pem", "tls.key.pem"].map(|name| file(name).display().to_string());
    let ca = authorities.display().to_string();
    let port_text = port.to_string();
    let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let rest = ["--tls-port", &port_text, "--tls-auth-clients", if asks { "yes" } else { "no" }, "--save", ""];
    (RedisServer::start_with(&[&files[..], &rest].concat()), port)
}

/// The line of deploy/redis.conf, with this test's password.
fn acl() -> Vec<String> {
    let conf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/redis.conf");
    let conf = std::fs::read_to_string(conf).expect("deploy/redis.conf");
    let line = conf.lines().find_map(|line| line.strip_prefix("#user ")).expect("the line of the user");
    line.split(' ').map(|word| if word == ">SECRET" { format!(">{PASSWORD}") } else { word.to_owned() }).collect()
}

async fn everything_works(settings: &[&str], redis: &RedisServer) {
    let mut cluster = Cluster::of(2, Backend::OfSettings).settings(settings).start().await;
    let mut ann = cluster.client(0).await;
    let mut bob = cluster.client(1).await;
    let subscribed = ann.subscribe("chat").await;
    bob.granted(json!({"type": "subscribe", "channel": "chat", "members": true}), "subscribed").await;
    let command = json!({"type": "publish", "channel": "chat", "data": 1, "key": "once"});
    let first = bob.granted(command.clone(), "published").await;
    let again = bob.granted(command, "published").await;
    assert_eq!(first["offset"], again["offset"]);
    bob.granted(json!({"type": "publish", "channel": "chat", "data": 2, "retain": "k"}), "published").await;
    bob.granted(json!({"type": "history", "channel": "chat"}), "history").await;
    bob.granted(json!({"type": "presence", "channel": "chat"}), "presence").await;
    bob.granted(json!({"type": "send", "to": ann.id(), "data": 3}), "sent").await;
    let mut late = cluster.client(0).await;
    late.recover("chat", &subscribed["epoch"], 0).await;
    late.granted(json!({"type": "subscribe", "channel": "news", "state": true}), "subscribed").await;
    late.granted(json!({"type": "unsubscribe", "channel": "chat"}), "unsubscribed").await;
    cluster.stop_node(0).await;
    cluster.start_again(0).await;
    assert_eq!(redis.lines(&["ACL", "LOG"]), Vec::<String>::new(), "what was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_needs_tls_and_the_documented_permissions_and_no_more() {
    let (redis, port) = server(false);
    let acl = acl();
    let words: Vec<_> = ["ACL", "SETUSER"].into_iter().chain(acl.iter().map(String::as_str)).collect();
    assert_eq!(redis.command(&words), "+OK", "{words:?}");
    let url = format!("redis.url=rediss://gateway:p%40ss%3Aw%2Frd%25@127.0.0.1:{port}");
    let ca = format!("redis.tls.ca_file={}", file("ca.pem").display());
    everything_works(&[&url, &ca], &redis).await;
    let dump = redis.command(&["ACL", "DRYRUN", "gateway", "FLUSHALL"]);
    assert_ne!(dump, "+OK", "a gateway has no use for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_asks_for_a_certificate_is_shown_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let own = Developed::new(&["gateway".to_owned()]).expect("a certificate");
    let (cert, key) = own.write(directory.path()).expect("the files written");
    let (redis, port) = serve(&cert, true);
    let url = format!("redis.url=rediss://127.0.0.1:{port}");
    let ca = format!("redis.tls.ca_file={}", file("ca.pem").display());
    let [cert, key] =
        [("cert", cert), ("key", key)].map(|(it, path)| format!("redis.tls.{it}_file={}", path.display()));
    everything_works(&[&url, &ca, &cert, &key], &redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_whose_certificate_is_not_trusted_is_not_spoken_to() {
    let (_redis, port) = server(false);
    // The public authorities know nothing of it.
    let config = link::LinkConfig {
        url: format!("rediss://:s3cret@127.0.0.1:{port}"),
        prefix: "gw:".to_owned(),
        sentinel: None,
        tls: link::LinkTls::default(),
    };
    let metrics = link::LinkMetrics::new(&Default::default()).expect("metrics");
    let link = link::Link::new(&config, metrics).expect("a link");
    let refused = link.connect(|_| Ok::<(), std::io::Error>(())).await.err().expect("a refusal").to_string();
    assert!(refused.contains("certificate") && !refused.contains("s3cret"), "{refused}");
}

/// The files below a folder, but for those of tests.
fn sources(folder: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let is_for_tests = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "testing");
        if is_for_tests {
            continue;
        }
        if path.is_dir() {
            sources(&path, into);
        } else {
            into.push(std::fs::read_to_string(&path).expect("a source"));
        }
    }
}

#[test]
fn the_documented_permissions_hold_every_command_that_the_sources_name() {
    let acl = acl();
    let mut texts = Vec::new();
    for name in ["link", "broker", "presence", "users"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src"), &mut texts);
    }
    let mut named = 0;
    for (before, after) in [("cmd(\"", '"'), ("redis.call('", '\'')] {
        for name in texts.iter().flat_map(|text| text.split(before).skip(1)).filter_map(|rest| rest.split_once(after)) {
            let name = name.0.to_lowercase();
            // Asked of sentinels, which have users of their own.
            let is_granted =
                acl.iter().any(|word| *word == format!("+{name}") || word.starts_with(&format!("+{name}|")));
            assert!(is_granted || name == "sentinel", "deploy/redis.conf does not grant {name}");
            named += 1;
        }
    }
    assert!(named > 50, "{named} commands were found, which cannot be all");
}
