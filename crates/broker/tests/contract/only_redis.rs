//! What the Redis broker has beyond the contract.

use crate::support::{
    STATE, channel, kept, offset, passing, redis_node, removed, retained, start_node, text_of, until,
};
use broker::redis::BrokerConfig;
use broker::{Delivery, META_TTL, PublishError, Range};
use bytes::Bytes;
use link::testing::RedisServer;
use protocol::envelope::{Membership, encode_membership};
use protocol::{Cause, Member};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn clusters_under_different_prefixes_share_a_redis_and_nothing_else() {
    let server = RedisServer::start();
    let channel = channel("c");
    let nodes = ["one:", "two:"].map(|prefix| start_node(&server.url(), prefix, "n1.a", &BrokerConfig::default()));
    for node in &nodes {
        node.until_ready(true).await;
        node.open(&channel).await;
    }
    for (node, text) in nodes.iter().zip(["one", "two"]) {
        assert_eq!(node.say(&channel, text).await, 1);
        node.broker.control(Bytes::from(text)).await.expect("sent");
        assert_eq!(node.broker.direct("n1.a", Bytes::from(text)).await, Ok(true));
    }
    for (node, text) in nodes.iter().zip(["one", "two"]) {
        assert_eq!(node.inbox.texts(1).await, [(Some(1), text.to_owned())]);
        assert_eq!(node.inbox.next().await, Delivery::Control(Bytes::from(text)));
        assert_eq!(node.inbox.next().await, Delivery::Direct(Bytes::from(text)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn membership_changes_travel_on_the_topic() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    node.open(&channel).await;
    let member = Member { user: "ann".into(), clients: 0, info: Some("{}".into()) };
    let change = Membership { member, client: "n2.a.1".into(), left: Some(Cause::NodeLost) };
    let client = redis::Client::open(server.url()).expect("a client");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let envelope = &encode_membership(&change)[..];
    let receivers: u64 =
        redis::cmd("PUBLISH").arg("gw:{c}").arg(envelope).query_async(&mut connection).await.expect("published");
    assert_eq!(receivers, 1);
    assert_eq!(node.inbox.next().await, Delivery::Membership { channel, change });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_redis_refuses_does_not_take_others_with_it() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    server.command(&["SET", "gw:{log}:log", "not a stream"]);
    server.command(&["SET", "gw:{meta}:meta", "not a hash"]);
    server.command(&["RPUSH", "gw:{key}:keys:k", "not a string"]);
    let (log, meta, key, well) = (channel("log"), channel("meta"), channel("key"), channel("well"));
    let keyed = crate::support::keyed(&key, "3", "k");
    node.publish(kept(&well, "0")).await.expect("published");
    server.command(&["HSET", "gw:{log}:meta", "e", "epoch", "o", "7"]);
    let batch = vec![kept(&log, "1"), kept(&meta, "2"), keyed, kept(&well, "4"), passing(&log, "5")];
    let outcomes = node.broker.publish(batch).await;
    assert_eq!(outcomes[..3], [const { Err(PublishError::Unavailable) }; 3]);
    assert_eq!((offset(&outcomes[3]), &outcomes[4]), (2, &Ok(None)));
    assert_eq!(server.command(&["HGET", "gw:{log}:meta", "o"]), "$1", "nothing was half done");
    server.command(&["DEL", "gw:{log}:log"]);
    assert_eq!(node.say(&log, "1").await, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_meta_was_lost_begins_anew() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let (published_first, read_first) = (channel("published"), channel("read"));
    for channel in [&published_first, &read_first] {
        for text in ["1", "2", "3"] {
            node.say(channel, text).await;
        }
        server.command(&["DEL", &format!("gw:{{{channel}}}:meta")]);
    }
    let all = Range { since: None, limit: 100, reverse: false };
    let page = node.broker.history(&read_first, all).await.expect("a page");
    assert_eq!((page.publications.len(), page.top.offset), (0, 0));
    for channel in [&published_first, &read_first] {
        assert_eq!(node.say(channel, "new").await, 1);
        let page = node.broker.history(channel, all).await.expect("a page");
        assert_eq!(page.publications.iter().map(text_of).collect::<Vec<_>>(), ["new"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_the_queue_is_refused_at_once() {
    let server = RedisServer::start();
    let config = BrokerConfig { queue_publications: 3, ..BrokerConfig::default() };
    let node = start_node(&server.url(), "gw:", "n1.a", &config);
    node.until_ready(true).await;
    let channel = channel("c");
    node.open(&channel).await;
    let outcomes = node.broker.publish((0..5).map(|i| kept(&channel, &i.to_string())).collect()).await;
    assert_eq!(outcomes[..3].iter().map(offset).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(outcomes[3..], [const { Err(PublishError::Unavailable) }; 2]);
    assert_eq!(node.metric("broker_queue_full_total"), 2);
    assert_eq!(node.say(&channel, "5").await, 4);
    assert_eq!(node.inbox.texts(4).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_channels_are_opened() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channels: Vec<_> = (0..3000).map(|i| channel(&format!("c{i}"))).collect();
    channels.iter().for_each(|channel| node.broker.subscribe(channel, true));
    let mut opened = std::collections::HashSet::new();
    while opened.len() < channels.len() {
        match node.inbox.next().await {
            Delivery::Opened { channel, position, .. } => {
                assert_eq!(position.expect("a position").offset, 0);
                assert!(opened.insert(channel), "each is opened once");
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(node.metric("broker_subscriptions"), 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_dropped_leaves_no_connection() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    node.open(&channel("c")).await;
    assert_eq!(server.command(&["PUBSUB", "NUMPAT"]), ":0");
    assert_eq!(server.command(&["PUBLISH", "gw:{c}", "x"]), ":1");
    drop(node.broker);
    until(|| server.command(&["PUBLISH", "gw:{c}", "x"]) == ":0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_whose_meta_was_lost_begins_anew() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let (published_first, read_first) = (channel("published"), channel("read"));
    for channel in [&published_first, &read_first] {
        node.publish(retained(channel, "old", "1")).await.expect("published");
        server.command(&["DEL", &format!("gw:{{{channel}}}:meta")]);
    }
    assert_eq!(node.broker.state(&read_first).await.expect("a state").publications, []);
    for channel in [&published_first, &read_first] {
        assert_eq!(offset(&node.publish(retained(channel, "new", "2")).await), 1);
        let page = node.broker.state(channel).await.expect("a state");
        assert_eq!(page.publications.iter().map(text_of).collect::<Vec<_>>(), ["2"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_takes_a_key_of_its_own_that_ends_by_itself_and_is_gone_with_its_last_entry() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    let (state, meta) = ("gw:{c}:state", "gw:{c}:meta");
    let ttl = |key| server.command(&["PTTL", key]).trim_start_matches(':').parse::<u128>().expect("a time to live");
    node.say(&channel, "1").await;
    assert_eq!(server.command(&["EXISTS", state]), ":0", "what retains nothing costs nothing");
    node.publish(retained(&channel, "a", "2")).await.expect("published");
    let whole = STATE.ttl.as_millis();
    assert!((whole - 10_000..=whole).contains(&ttl(state)));
    assert!(ttl(meta) > ttl(state), "offsets outlive what they count");
    server.command(&["PEXPIRE", state, "20000"]);
    node.say(&channel, "3").await;
    assert!(ttl(state) <= 20_000, "only retaining refreshes it");
    node.publish(retained(&channel, "a", "4")).await.expect("published");
    assert!((whole - 10_000..=whole).contains(&ttl(state)));
    node.publish(removed(&channel, "a")).await.expect("published");
    assert_eq!(server.command(&["EXISTS", state]), ":0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_state_is_looked_through_at_most_once_a_second_however_often_it_is_asked() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    for n in 0..STATE.keys {
        node.publish(retained(&channel, &n.to_string(), "x")).await.expect("published");
    }
    // Something may have ended: nothing has.
    let forget = "redis.call('HSET', KEYS[1], 'm', string.match(redis.call('HGET', KEYS[1], 'm'), '^%d+ %d+') .. ' 0')";
    server.command(&["EVAL", forget, "1", "gw:{c}:state"]);
    server.command(&["CONFIG", "RESETSTAT"]);
    let too_many: Vec<_> = (0..50).map(|n| retained(&channel, &format!("more {n}"), "x")).collect();
    for publish in too_many {
        assert_eq!(node.publish(publish).await, Err(PublishError::StateFull));
    }
    let client = redis::Client::open(server.url()).expect("a client");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.expect("counts");
    let looks = stats.lines().find(|line| line.starts_with("cmdstat_hgetall:calls="));
    assert!(looks.is_some_and(|looks| looks.starts_with("cmdstat_hgetall:calls=1,")), "{looks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_the_wrong_kind_refuses_only_what_is_retained() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let channel = channel("c");
    node.say(&channel, "1").await;
    server.command(&["SET", "gw:{c}:state", "not a hash"]);
    let outcomes = node.broker.publish(vec![retained(&channel, "a", "2")]).await;
    assert_eq!(outcomes, [Err(PublishError::Unavailable)]);
    assert!(node.broker.state(&channel).await.is_err());
    assert_eq!(node.say(&channel, "3").await, 2, "nothing was half done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_nobody_publishes_to_is_kept_while_a_node_is_subscribed_and_gone_soon_after() {
    let server = RedisServer::start();
    let config = BrokerConfig { unused_ttl: Duration::from_secs(2), ..BrokerConfig::default() };
    let node = start_node(&server.url(), "gw:", "n1.a", &config);
    node.until_ready(true).await;
    let (quiet, read) = (channel("quiet"), channel("read"));
    let begun = node.open(&quiet).await.expect("a position");
    let all = Range { since: None, limit: 1, reverse: false };
    node.broker.history(&read, all).await.expect("a page");
    assert_eq!(server.command(&["EXISTS", "gw:{quiet}:meta", "gw:{read}:meta"]), ":2");
    until(|| server.command(&["EXISTS", "gw:{read}:meta"]) == ":0").await;
    // What was only read has ended, and what is subscribed to goes on for several times as long.
    let began = std::time::Instant::now();
    until(|| {
        assert_eq!(server.command(&["EXISTS", "gw:{quiet}:meta"]), ":1");
        began.elapsed() > 2 * config.unused_ttl
    })
    .await;
    assert_eq!(node.say(&quiet, "1").await, 1);
    let page = node.broker.history(&quiet, all).await.expect("a page");
    assert_eq!((page.top.epoch, page.top.offset), (begun.epoch, 1));
    let ttl_ms = server.command(&["PTTL", "gw:{quiet}:meta"]);
    let ttl_ms: u128 = ttl_ms.trim_start_matches(':').parse().expect("a time to live");
    assert!(ttl_ms > META_TTL.as_millis() - 60_000, "once it is used it is remembered: {ttl_ms} ms");
    assert_eq!(node.inbox.texts(1).await, [(Some(1), "1".to_owned())]);
    let never = channel("never");
    node.open(&never).await;
    node.broker.unsubscribe(&never);
    until(|| server.command(&["EXISTS", "gw:{never}:meta"]) == ":0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gathers_while_a_flight_is_out_leaves_in_one_with_a_call_a_channel_and_comes_as_one_envelope() {
    let server = RedisServer::start();
    let node = redis_node(&server, "n1.a").await;
    let (many, few, volatile) = (channel("many"), channel("few"), channel("volatile"));
    for channel in [&many, &few] {
        node.open(channel).await;
    }
    node.broker.subscribe(&volatile, false);
    node.inbox.opened(&volatile).await;
    // Redis takes writes, and answers them when it goes on.
    server.command(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let mut publishing = vec![node.broker.publish(vec![kept(&many, "0")])];
    node.flight_begins(1).await;
    for number in 1..=40 {
        let text = format!("{number:02}");
        let channel = if number % 4 == 0 { &few } else { &many };
        publishing.push(node.broker.publish(vec![kept(channel, &text), passing(&volatile, &text)]));
    }
    server.command(&["CLIENT", "UNPAUSE"]);
    let outcomes = futures_util::future::join_all(publishing).await;
    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(node.counted("broker_flight_publications"), (2, 81));
    assert_eq!(node.counted("broker_call_publications"), (4, 81), "one alone, then one for each channel");
    let mut runs = Vec::new();
    for _ in 0..4 {
        let Delivery::Publications { publications, .. } = node.inbox.next().await else { panic!("no publications") };
        runs.push(publications.len());
        // What came from Redis is not copied: the payloads lie as far apart as the records of their envelope.
        let places: Vec<_> = publications.iter().map(|p| p.data.bytes.as_ptr() as usize).collect();
        assert!(places.windows(2).all(|two| two[1] - two[0] == RECORD_BYTES), "{places:?}");
    }
    runs.sort_unstable();
    assert_eq!(runs, [1, 10, 30, 40]);
}

/// A publication of two bytes that says nothing else: see the envelope.
const RECORD_BYTES: usize = 4 + 1 + 1 + 8 + 8 + 2;
