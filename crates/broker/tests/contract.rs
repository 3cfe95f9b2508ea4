//! The contract of a broker, kept by memory and by Redis.

#[path = "contract/history.rs"]
mod history;
#[path = "contract/only_memory.rs"]
mod only_memory;
#[path = "contract/only_redis.rs"]
mod only_redis;
#[path = "contract/orders.rs"]
mod orders;
#[path = "contract/publishing.rs"]
mod publishing;
#[path = "contract/state.rs"]
mod state;
#[path = "contract/subscribing.rs"]
mod subscribing;
mod support;

use broker::memory::{MemoryBroker, MemoryStore};
use broker::metrics::BrokerMetrics;
use broker::{KEY_TTL, META_TTL, UNUSED_TTL};
use link::testing::RedisServer;
use prometheus::Registry;
use protocol::Channel;
use std::sync::Arc;
use std::time::Duration;
use support::{Inbox, Node, RETENTION};

/// A place where nodes share channels.
pub(crate) trait Fixture {
    /// Another node, ready.
    async fn node(&self, name: &str) -> Node;

    /// Lets the time of an idempotency key run out; it must have been as long as it should.
    async fn expire_key(&self, channel: &Channel, key: &str);

    /// Lets the time of a log run out; it must have been as long as it should.
    async fn expire_log(&self, channel: &Channel);

    /// Lets the time of a channel run out that nobody has published to; it must have been as long as it should. Those who
    /// are subscribed to it have been able to keep it.
    async fn expire_unused(&self, channel: &Channel);

    /// Lets time pass for a channel's state.
    async fn age_state(&self, channel: &Channel, time: Duration);
}

pub(crate) struct Memory(MemoryStore);

impl Memory {
    fn new() -> Self {
        Self(MemoryStore::new())
    }
}

impl Fixture for Memory {
    async fn node(&self, name: &str) -> Node {
        let inbox = Arc::new(Inbox::default());
        let registry = Registry::new();
        BrokerMetrics::new(&registry).expect("metrics");
        let broker = MemoryBroker::attach(&self.0, name, inbox.clone());
        Node { broker: Arc::new(broker), inbox, registry }
    }

    async fn expire_key(&self, _: &Channel, _: &str) {
        tokio::time::advance(KEY_TTL).await;
    }

    async fn expire_log(&self, _: &Channel) {
        tokio::time::advance(RETENTION.ttl).await;
    }

    async fn expire_unused(&self, _: &Channel) {
        for _ in 0..4 {
            tokio::time::advance(UNUSED_TTL / 4).await;
            tokio::task::yield_now().await;
        }
    }

    async fn age_state(&self, _: &Channel, time: Duration) {
        tokio::time::advance(time).await;
    }
}

pub(crate) struct Redis(RedisServer);

impl Redis {
    fn new() -> Self {
        Self(RedisServer::start())
    }

    /// Minutes cannot be waited for: the time left is looked at, and then made to be over.
    fn expire(&self, key: &str, ttl: Duration) {
        let left = self.0.command(&["PTTL", key]);
        let left: u64 = left.trim_start_matches(':').parse().expect("a time to live");
        let ttl = ttl.as_millis() as u64;
        assert!((ttl - 10_000..=ttl).contains(&left), "{key} lives {left} ms and not {ttl} ms");
        assert_eq!(self.0.command(&["PEXPIRE", key, "0"]), ":1");
    }
}

impl Fixture for Redis {
    async fn node(&self, name: &str) -> Node {
        support::redis_node(&self.0, name).await
    }

    async fn expire_key(&self, channel: &Channel, key: &str) {
        self.expire(&format!("gw:{{{channel}}}:keys:{key}"), KEY_TTL);
    }

    async fn expire_log(&self, channel: &Channel) {
        let left = self.0.command(&["PTTL", &format!("gw:{{{channel}}}:meta")]);
        let left: u64 = left.trim_start_matches(':').parse().expect("a time to live");
        assert!(left > META_TTL.as_millis() as u64 - 10_000);
        self.expire(&format!("gw:{{{channel}}}:log"), RETENTION.ttl);
    }

    async fn expire_unused(&self, channel: &Channel) {
        self.expire(&format!("gw:{{{channel}}}:meta"), UNUSED_TTL);
    }

    async fn age_state(&self, channel: &Channel, time: Duration) {
        let aged = self.0.command(&[
            "EVAL",
            AGE_STATE,
            "1",
            &format!("gw:{{{channel}}}:state"),
            &time.as_millis().to_string(),
        ]);
        assert_ne!(aged, ":0", "there is a state");
    }
}

/// Moves all that is said of time in a state (see publish.lua) into the past.
const AGE_STATE: &str = "
    local fields = redis.call('HGETALL', KEYS[1])
    for at = 1, #fields, 2 do
      local field, value = fields[at], fields[at + 1]
      if field == 'm' then
        local known, sweep_at = string.match(value, '^(%d+ %d+) (%d+)$')
        value = string.format('%s %.0f', known, sweep_at - ARGV[1])
      else
        local ends = struct.unpack('>I8', value, 9)
        value = string.sub(value, 1, 8) .. struct.pack('>I8', ends - ARGV[1]) .. string.sub(value, 17)
      end
      redis.call('HSET', KEYS[1], field, value)
    end
    return #fields";

macro_rules! kept_by_both {
    ($($module:ident::$name:ident,)*) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                crate::$module::$name(&crate::Memory::new()).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::$module::$name(&crate::Redis::new()).await;
            })*
        }
    };
}

kept_by_both! {
    publishing::all_nodes_are_delivered_one_order_whoever_publishes,
    publishing::outcomes_come_in_the_order_of_the_batch,
    publishing::successive_calls_keep_their_order_whichever_is_awaited_first,
    publishing::a_publication_arrives_as_it_was_published,
    publishing::what_is_not_kept_is_delivered_without_a_position,
    publishing::what_is_not_kept_passes_through_a_channel_with_positions,
    publishing::a_key_counts_once_on_whichever_node_and_gives_the_first_position,
    publishing::a_key_counts_once_within_one_batch,
    publishing::a_key_counts_anew_after_its_time,
    publishing::a_key_belongs_to_its_channel,
    publishing::what_comes_too_late_is_refused_and_never_delivered,
    publishing::an_empty_batch_has_no_outcomes,
    subscribing::the_opening_comes_first_and_tells_where_the_subscription_begins,
    subscribing::a_channel_without_positions_opens_without_one,
    subscribing::channels_do_not_mix,
    subscribing::after_unsubscribing_nothing_comes_and_subscribing_anew_begins_at_the_top,
    subscribing::changing_ones_mind_quickly_ends_as_wanted,
    subscribing::where_no_positions_are_wanted_none_are_shown,
    history::a_page_is_read_in_both_directions_from_anywhere,
    history::a_channel_nobody_published_to_has_one_epoch_for_all,
    history::a_channel_that_was_only_read_is_soon_forgotten,
    history::at_least_as_many_are_kept_as_asked_for_and_not_many_more,
    history::a_log_ends_with_its_time_and_the_offsets_go_on,
    state::the_newest_publication_of_each_key_is_kept_as_it_was_published,
    state::a_retained_publication_is_delivered_and_in_the_log_like_any_other,
    state::null_takes_a_key_out,
    state::one_batch_changes_the_state_in_its_order,
    state::one_key_too_many_is_refused_and_never_delivered,
    state::bytes_too_many_are_refused_and_room_that_is_made_can_be_used,
    state::a_key_ends_with_its_time_and_makes_room_and_publishing_it_begins_its_time_anew,
    state::the_state_outlives_the_log,
    state::what_is_not_published_changes_no_state,
    state::the_opening_tells_whether_there_is_a_state,
    orders::an_order_to_a_node_reaches_it_alone,
    orders::an_order_to_nobody_is_told,
    orders::an_order_to_all_reaches_all,
    orders::a_note_is_found_by_every_node_while_it_stands,
    orders::the_first_note_stands,
}
