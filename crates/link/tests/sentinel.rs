//! Which Redis is primary, as sentinels tell it, and that every connection follows.

use link::testing::{Failover, FakeSentinel, RedisServer, Says};
use link::{ConnectError, Lane, Link, LinkConfig, LinkMetrics, NoPrimary, SentinelConfig};
use prometheus::Registry;
use redis::aio::SendError;
use redis::{Pipeline, PushInfo, Value};
use std::net::TcpListener;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Within this of another primary being known, it is used.
const PROMPT: Duration = Duration::from_secs(2);

fn config(url: &str) -> LinkConfig {
    let sentinel = SentinelConfig { master: "mymaster".into(), username: None, password: None };
    LinkConfig { url: url.into(), prefix: "gw:".into(), sentinel: Some(sentinel), tls: Default::default() }
}

fn link_of(config: &LinkConfig) -> Link {
    Link::new(config, LinkMetrics::new(&Registry::new()).expect("metrics")).expect("a link")
}

fn link_to(sentinels: &[&FakeSentinel]) -> Link {
    let addresses: Vec<_> = sentinels.iter().map(|sentinel| sentinel.address()).collect();
    link_of(&config(&addresses.join(",")))
}

fn ignore(_: PushInfo) -> Result<(), SendError> {
    Ok(())
}

fn command(words: &[&str]) -> Pipeline {
    let mut pipe = redis::pipe();
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    pipe.add_command(command);
    pipe
}

/// Repeats a write until it is done.
async fn set(lane: &Lane, key: &str, value: &str) {
    let attempts = async {
        loop {
            let answers = lane.query(&command(&["SET", key, value]), Instant::now() + PROMPT).await;
            if answers.is_ok_and(|answers| answers == [Value::Okay]) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, attempts).await.expect("it cannot be written");
}

async fn stands(lane: &Lane, seen: u64) -> u64 {
    timeout(PATIENCE, lane.next_connection(seen)).await.expect("no connection")
}

async fn get(link: &Link, key: &str) -> Option<String> {
    let mut pooled = link.pool().get().await.expect("a connection");
    assert_eq!(pooled.primary(), link.primary());
    redis::cmd("GET").arg(key).query_async(&mut **pooled).await.expect("an answer")
}

/// Connects until that is refused.
async fn refusal(link: &Link) -> ConnectError {
    let attempts = async {
        loop {
            if let Err(error) = link.connect(ignore).await {
                return error;
            }
        }
    };
    timeout(PATIENCE, attempts).await.expect("it is never refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_follows_a_failover_within_two_seconds() {
    let failover = Failover::start();
    let link = link_of(&config(&failover.url()));
    let lane = Lane::start(&link, "test", &["return 1"]);
    set(&lane, "who", "first").await;
    assert_eq!(get(&link, "who").await.as_deref(), Some("first"));
    let next = failover.other().port();
    failover.fail_over();
    let known = Instant::now();
    timeout(PROMPT, link.moves_from(1)).await.expect("it is not noticed");
    set(&lane, "who", "second").await;
    assert!(known.elapsed() < PROMPT, "back only after {:?}", known.elapsed());
    assert_eq!(failover.primary().port(), next);
    assert_eq!(get(&link, "who").await.as_deref(), Some("second"));
    failover.until_followed();
    assert_eq!(failover.other().command(&["GET", "who"]), "$6", "the former primary has it from the present one");
    assert_eq!(link.metrics().failovers.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_given_up_though_the_former_primary_still_serves_them() {
    let servers = [RedisServer::start(), RedisServer::start()];
    let sentinel = FakeSentinel::start(Says::Primary(servers[0].port(), 1)).await;
    let link = link_to(&[&sentinel]);
    let lane = Lane::start(&link, "test", &[]);
    assert_eq!(stands(&lane, 0).await, 1);
    set(&lane, "who", "first").await;
    assert_eq!(get(&link, "who").await.as_deref(), Some("first"));
    sentinel.say(Says::Primary(servers[1].port(), 2));
    let known = Instant::now();
    assert_eq!(stands(&lane, 1).await, 2);
    assert!(known.elapsed() < PROMPT, "moved only after {:?}", known.elapsed());
    assert_eq!(get(&link, "who").await, None, "another dataset");
    let unsent = lane.query_at(1, &command(&["SET", "who", "late"]), Instant::now() + PROMPT).await;
    assert!(unsent.is_err(), "{unsent:?}");
    set(&lane, "who", "second").await;
    assert_eq!(servers[0].command(&["GET", "who"]), "$5");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_primary_that_is_still_named_is_not_used() {
    let (primary, demoted) = (RedisServer::start(), RedisServer::start());
    assert_eq!(demoted.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]), "+OK");
    let sentinel = FakeSentinel::start(Says::Primary(demoted.port(), 1)).await;
    let link = link_to(&[&sentinel]);
    assert!(matches!(refusal(&link).await, ConnectError::Demoted(_)));
    let lane = Lane::start(&link, "test", &[]);
    assert!(link.pool().get().await.is_err());
    assert!(!lane.is_up());
    sentinel.say(Says::Primary(primary.port(), 2));
    let known = Instant::now();
    stands(&lane, 0).await;
    assert!(known.elapsed() < PROMPT, "found only after {:?}", known.elapsed());
    set(&lane, "who", "primary").await;
    assert_eq!(get(&link, "who").await.as_deref(), Some("primary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_and_silent_sentinels_hold_up_nobody() {
    let server = RedisServer::start();
    let silent = FakeSentinel::start(Says::Nothing).await;
    let good = FakeSentinel::start(Says::Primary(server.port(), 1)).await;
    let closed = TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("its address");
    let link = link_of(&config(&format!("{closed},{},{}", silent.address(), good.address())));
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(link.connect(ignore).await.expect("a connection").primary, 1);
        // What one has found is shared for a moment.
        sleep(Duration::from_millis(60)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "waiting for the silent one takes 10 s: {:?}", begun.elapsed());
    good.say(Says::Nothing);
    let begun = Instant::now();
    assert!(matches!(refusal(&link).await, ConnectError::NoPrimary(NoPrimary::Unreachable(_))));
    assert!(begun.elapsed() < PROMPT, "told only after {:?}", begun.elapsed());
    assert_eq!(link.primary(), 1, "what stands is left standing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_that_is_behind_moves_nobody_back() {
    let servers = [RedisServer::start(), RedisServer::start()];
    let [former, present] = [Says::Primary(servers[0].port(), 1), Says::Primary(servers[1].port(), 2)];
    let sentinels =
        [FakeSentinel::start(present).await, FakeSentinel::start(former).await, FakeSentinel::start(present).await];
    let link = link_to(&sentinels.each_ref());
    let lane = Lane::start(&link, "test", &[]);
    // Whichever answered first: when all have been asked, the newest counts.
    timeout(PATIENCE, async {
        while servers[1].command(&["GET", "who"]) == "$-1" {
            set(&lane, "who", "anyone").await;
        }
    })
    .await
    .expect("it stays at the former one");
    let number = link.primary();
    sentinels[0].say(Says::Nothing);
    sentinels[2].say(Says::Nothing);
    assert!(matches!(refusal(&link).await, ConnectError::NoPrimary(NoPrimary::Behind)));
    assert_eq!(link.primary(), number);
    set(&lane, "who", "still").await;
    assert_eq!(servers[1].command(&["GET", "who"]), "$5");
    // Set up anew, all of them: then epochs begin anew.
    sentinels.iter().for_each(|sentinel| sentinel.say(Says::Primary(servers[0].port(), 0)));
    timeout(PROMPT, link.moves_from(number)).await.expect("it is not believed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_with_old_news_is_put_right() {
    let servers = [RedisServer::start(), RedisServer::start()];
    let behind = FakeSentinel::start(Says::Primary(servers[0].port(), 1)).await;
    let late = Says::Late(servers[1].port(), 2, Duration::from_millis(150));
    let link = link_to(&[&behind, &FakeSentinel::start(late).await]);
    assert_eq!(link.connect(ignore).await.expect("a connection").primary, 1);
    timeout(PROMPT, link.moves_from(1)).await.expect("the other one is not asked");
    let lane = Lane::start(&link, "test", &[]);
    set(&lane, "who", "anyone").await;
    assert_eq!(servers[1].command(&["GET", "who"]), "$6");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_and_primary_have_passwords_of_their_own() {
    let server = RedisServer::start_with(&["--save", "", "--requirepass", "of-primary"]);
    let watched =
        format!("sentinel monitor mymaster 127.0.0.1 {} 1\nsentinel auth-pass mymaster of-primary", server.port());
    let sentinel = RedisServer::start_sentinel(&format!("{watched}\nrequirepass of-sentinels"));
    let with = |of_primary: &str, of_sentinels: Option<&str>| {
        let mut config = config(&format!("redis://:{of_primary}@127.0.0.1:{}/3", sentinel.port()));
        config.sentinel.as_mut().expect("sentinels").password = of_sentinels.map(str::to_owned);
        link_of(&config)
    };
    let link = with("of-primary", Some("of-sentinels"));
    let lane = Lane::start(&link, "test", &[]);
    set(&lane, "who", "anyone").await;
    assert_eq!(get(&link, "who").await.as_deref(), Some("anyone"));
    let answers = lane.query(&command(&["SELECT", "0"]), Instant::now() + PROMPT).await.expect("answers");
    assert_eq!(answers, [Value::Okay]);
    let answers = lane.query(&command(&["EXISTS", "who"]), Instant::now() + PROMPT).await.expect("answers");
    assert_eq!(answers, [Value::Int(0)], "it is in the db that the address names");
    for (of_primary, of_sentinels) in
        [("of-primary", None), ("of-primary", Some("wr0ng")), ("wr0ng", Some("of-sentinels"))]
    {
        let error = refusal(&with(of_primary, of_sentinels)).await.to_string();
        assert!(!error.contains("wr0ng") && !error.contains("of-primary"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_watched_is_told_with_its_setting() {
    let sentinel = FakeSentinel::start(Says::Unwatched).await;
    let error = refusal(&link_to(&[&sentinel])).await;
    assert!(matches!(error, ConnectError::NoPrimary(NoPrimary::Unwatched)));
    assert!(error.to_string().contains("redis.sentinel.master"), "{error}");
    let server = RedisServer::start();
    // An ordinary Redis is no sentinel.
    assert!(matches!(
        refusal(&link_of(&config(&server.url()))).await,
        ConnectError::NoPrimary(NoPrimary::Unreachable(_))
    ));
}
