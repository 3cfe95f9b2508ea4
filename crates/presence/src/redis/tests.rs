//! The slow sweep, with its hours made short.

use super::{Pace, RedisPresence};
use crate::{Entry, Presence, PresenceConfig, PresenceMetrics};
use link::testing::RedisServer;
use link::{Link, LinkConfig, LinkMetrics};
use prometheus::Registry;
use protocol::{Channel, Members};
use redis::AsyncCommands;
use std::time::Duration;
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn keys_in_use_live_on_and_those_that_were_evicted_come_back() {
    let server = RedisServer::start();
    let config = LinkConfig {
        url: server.url(),
        prefix: LinkConfig::DEFAULT_PREFIX.to_owned(),
        sentinel: None,
        tls: Default::default(),
    };
    let link = Link::new(&config, LinkMetrics::new(&Registry::new()).unwrap()).unwrap();
    let config = PresenceConfig { lease: Duration::from_millis(150), ..PresenceConfig::default() };
    let metrics = PresenceMetrics::new(&Registry::new()).unwrap();
    let pace = Pace { key_ttl: Duration::from_secs(2), sweep_every: Duration::from_millis(300), ..Pace::default() };
    let node = RedisPresence::start_at(link, "n1.a", config, metrics, pace);
    let (kept, evicted) = (Channel::new("kept").unwrap(), Channel::new("evicted").unwrap());
    let alice = Entry { client: "c1".into(), user: "alice".into(), info: None, announce: true };
    node.join(&kept, alice.clone()).await.unwrap();
    node.join(&evicted, alice).await.unwrap();

    let client = redis::Client::open(server.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = redis.del("gw:{evicted}:here").await.unwrap();
    let _: () = redis.del("gw:{evicted}:users").await.unwrap();
    let one = Members { list: None, clients: 1, users: 1 };
    let is_back = async {
        while node.members(&evicted, false).await != Ok(one.clone()) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), is_back).await.unwrap();
    // Longer than the keys live without the sweep.
    let began: (u64, u64) = redis::cmd("TIME").query_async(&mut redis).await.unwrap();
    let outlived = async {
        loop {
            let now: (u64, u64) = redis::cmd("TIME").query_async(&mut redis).await.unwrap();
            if now.0 > began.0 + 4 {
                return;
            }
            for channel in [&kept, &evicted] {
                assert_eq!(node.members(channel, false).await, Ok(one.clone()));
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), outlived).await.unwrap();
    // A busy machine may have missed a renewal: then the index has another name.
    for pattern in ["gw:nodes", "gw:node:n1.a*:here", "gw:{kept}:here", "gw:{kept}:users"] {
        let keys: Vec<String> = redis.keys(pattern).await.unwrap();
        assert_eq!(keys.len(), 1, "{pattern}: {keys:?}");
    }
}
