//! deploy/publishing/publish.lua, by which backends publish without a gateway, does what the gateways do.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

mod support;

use broker::{Delivery, Range};
use link::testing::RedisServer;
use protocol::{Payload, Publication};
use redis::{RedisResult, Script};
use std::time::Duration;
use support::{Node, channel, kept, keyed, passing, redis_node, until};

const SCRIPT: &str = include_str!("../../../deploy/publishing/publish.lua");
const OF_THE_NODES: &str = include_str!("../src/redis/publish.lua");

/// Publishes as a backend does.
fn publish(server: &RedisServer, topic: &str, arguments: &[&str]) -> RedisResult<(String, u64)> {
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let script = Script::new(SCRIPT);
    let mut call = script.key(topic);
    arguments.iter().for_each(|argument| _ = call.arg(*argument));
    call.invoke(&mut connection)
}

/// What a command answers that answers a number.
fn number(server: &RedisServer, words: &[&str]) -> i64 {
    let answer = server.command(words);
    answer.strip_prefix(':').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{words:?}: {answer}"))
}

/// The next publication that a node is delivered.
async fn next(node: &Node) -> Publication {
    match node.inbox.next().await {
        Delivery::Publications { mut publications, .. } if publications.len() == 1 => publications.remove(0),
        other => panic!("one publication should have been delivered, but: {other:?}"),
    }
}

#[test]
fn it_holds_the_script_of_the_nodes_letter_for_letter() {
    let begins = "local function nodes_script(KEYS, ARGV)\n";
    let rest = SCRIPT.split_once(begins).expect("the nodes' script has a beginning").1;
    assert!(
        rest.starts_with(&format!("{OF_THE_NODES}end\n")),
        "copy broker/src/redis/publish.lua into deploy/publishing/publish.lua"
    );
}

#[tokio::test]
async fn what_it_publishes_is_what_a_node_publishes() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let lobby = channel("chat:lobby");
    let before = node.open(&lobby).await.unwrap();
    assert_eq!(node.say(&lobby, "by a node").await, 1);
    next(&node).await;
    let (epoch, offset) =
        publish(&server, "gw:{chat:lobby}", &[" {\"text\": \"höllo\"} ", "event", "greeting", "retain", "last"])
            .unwrap();
    assert_eq!((epoch.as_str(), offset), (before.epoch.as_str(), 2));
    let delivered = next(&node).await;
    let Publication { offset, data, event, retain, from, time_ms, echo, stamp } = delivered.clone();
    assert_eq!((offset, from, echo), (Some(2), None, true));
    assert_eq!(data, Payload::json("{\"text\": \"höllo\"}"));
    assert_eq!((event.as_deref(), retain.as_deref()), (Some("greeting"), Some("last")));
    assert!(time_ms > 1_700_000_000_000 && stamp != 0);
    assert_eq!(node.say(&lobby, "by a node again").await, 3);
    let range = Range { since: Some(1), limit: 1, reverse: false };
    assert_eq!(node.broker.history(&lobby, range).await.unwrap().publications, std::slice::from_ref(&delivered));
    assert_eq!(node.broker.state(&lobby).await.unwrap().publications, [delivered]);
    publish(&server, "gw:{chat:lobby}", &["null", "retain", "last"]).unwrap();
    assert_eq!(node.broker.state(&lobby).await.unwrap().publications, []);
}

#[tokio::test]
async fn a_channel_may_begin_with_it_and_two_of_its_publications_are_told_apart() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let fresh = channel("fresh");
    let (epoch, offset) = publish(&server, "gw:{fresh}", &["1"]).unwrap();
    assert_eq!((epoch.len(), offset), (12, 1));
    let again = publish(&server, "gw:{fresh}", &["1"]).unwrap();
    assert_eq!(again, (epoch.clone(), 2));
    assert_eq!(node.open(&fresh).await.unwrap().epoch, epoch.as_str().into());
    let page = node.broker.history(&fresh, Range { since: None, limit: 10, reverse: false }).await.unwrap();
    assert_ne!(page.publications[0].stamp, page.publications[1].stamp);
    assert_eq!(node.say(&fresh, "goes on").await, 3);
    for key in ["gw:{fresh}:meta", "gw:{fresh}:log"] {
        assert!(number(&server, &["PTTL", key]) > 0, "{key} ends by itself");
    }
}

#[tokio::test]
async fn a_repeat_is_one_publication_whoever_was_first() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let orders = channel("orders");
    let first = publish(&server, "gw:{orders}", &["\"pizza\"", "key", "order-1"]).unwrap();
    let by_node = node.publish(keyed(&orders, "pizza", "order-1")).await.unwrap().unwrap();
    assert_eq!((by_node.epoch.as_str(), by_node.offset), (first.0.as_str(), first.1));
    assert_eq!(publish(&server, "gw:{orders}", &["\"pizza\"", "key", "order-1"]).unwrap(), first);
    let salad = node.publish(keyed(&orders, "salad", "order-2")).await.unwrap().unwrap();
    assert_eq!(salad.offset, 2);
    let repeat = publish(&server, "gw:{orders}", &["\"salad\"", "key", "order-2"]).unwrap();
    assert_eq!(repeat, (salad.epoch.to_string(), 2));
}

#[tokio::test]
async fn limits_are_as_they_are_given() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let brief = ["history.size", "1", "history.ttl_ms", "60000", "state.keys", "1", "state.ttl_ms", "50"];
    let say = |data: &str, more: &[&str]| publish(&server, "gw:{brief}", &[&[data], more, &brief].concat());
    say("1", &["retain", "a"]).unwrap();
    assert!(number(&server, &["PTTL", "gw:{brief}:log"]) <= 60_000);
    let full = say("2", &["retain", "b"]);
    // Unless the first one has ended already.
    assert!(
        full.as_ref().is_err_and(|e| e.to_string().contains("no room")) || full.is_ok_and(|(_, offset)| offset == 2)
    );
    until(|| number(&server, &["EXISTS", "gw:{brief}:state"]) == 0).await;
    let passing_channel = channel("passing");
    node.broker.subscribe(&passing_channel, false);
    assert_eq!(node.inbox.opened(&passing_channel).await, None);
    assert_eq!(publish(&server, "gw:{passing}", &["1", "history.size", "0"]).unwrap(), (String::new(), 0));
    let delivered = next(&node).await;
    assert_eq!((delivered.offset, delivered.data), (None, Payload::json("1")));
    assert_eq!(node.publish(passing(&passing_channel, "2")).await, Ok(None));
    assert_eq!(number(&server, &["EXISTS", "gw:{passing}:meta", "gw:{passing}:log", "gw:{passing}:state"]), 0);
}

#[test]
fn what_clients_could_not_read_is_refused_and_nothing_is_done() {
    let server = RedisServer::start();
    let deep = format!("{}1{}", "[".repeat(101), "]".repeat(101));
    for data in [
        "",
        " ",
        "hello",
        "{",
        "[1",
        "1,2",
        "{} {}",
        "NaN",
        "[Infinity]",
        "-inf",
        "0x10",
        "[01]",
        "-01",
        "1.",
        "[.5]",
        "+1",
        "\"\n\"",
        "\"\u{1}\"",
        "\"\\x\"",
        "\"\\ud800\"",
        "nil",
        "undefined",
        "'a'",
        "[1,]",
        "{\"a\":}",
        "// 1",
        &deep,
    ] {
        let refused = publish(&server, "gw:{a}", &[data]);
        assert!(
            refused.as_ref().is_err_and(|error| error.to_string().contains("publish.lua")),
            "{data:?}: {refused:?}"
        );
    }
    for arguments in [
        &["1", "event"][..],
        &["1", "event", ""],
        &["1", "event", &"x".repeat(256)],
        &["1", "colour", "red"],
        &["1", "history.size", "-1"],
        &["1", "history.size", "1e3"],
        &["1", "history.ttl_ms", "0"],
        &["1", "history.size", "0", "key", "k"],
        &["1", "history.size", "0", "retain", "k"],
    ] {
        assert!(publish(&server, "gw:{a}", arguments).is_err(), "{arguments:?}");
    }
    for topic in ["", "gw:a", "gw:{}", "{a}", "gw:{a b}", "gw:{a}:log", "gw:{@a}", "gw:{a*}", "gw:{a,b}", "gw:{{a}}"] {
        assert!(publish(&server, topic, &["1"]).is_err(), "{topic:?}");
    }
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    for bytes in [&b"\"\xff\""[..], b"\"\xc0\xaf\"", b"\"\xed\xa0\x80\"", b"\"\xe2\xc3\xa9\x82\xac\""] {
        let refused: RedisResult<(String, u64)> = Script::new(SCRIPT).key("gw:{a}").arg(bytes).invoke(&mut connection);
        assert!(refused.is_err(), "{bytes:?}");
    }
    assert_eq!(number(&server, &["DBSIZE"]), 0);
    for data in [
        "null",
        "true",
        "-0.5e-07",
        "1E+02",
        "0",
        "\"\\\"[{0x1 NaN \\u00e9\"",
        "{\"a\\\"b\":[1.0,{}]}",
        "\"räksmörgås €𝄞\"",
    ] {
        publish(&server, "gw:{a}", &[data]).unwrap_or_else(|error| panic!("{data}: {error}"));
    }
}

#[tokio::test]
async fn a_refusal_of_redis_is_told() {
    let server = RedisServer::start();
    server.command(&["SET", "gw:{odd}:meta", "not a hash"]);
    assert!(publish(&server, "gw:{odd}", &["1"]).unwrap_err().to_string().contains("WRONGTYPE"));
    let node = redis_node(&server, "n1.a").await;
    let outcome = tokio::time::timeout(Duration::from_secs(20), node.publish(kept(&channel("odd"), "1"))).await;
    assert!(outcome.unwrap().is_err(), "as a node is");
}
