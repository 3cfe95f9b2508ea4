//! A publication repeated with its key is one publication, whichever node takes the repeat.

use e2e::{Backend, Cluster, on_both};
use serde_json::{Value, json};

fn keyed(channel: &str, key: &str, data: &str) -> Value {
    json!({"type": "publish", "channel": channel, "key": key, "data": data})
}

async fn a_repeat_on_another_node_is_answered_like_the_first_and_not_delivered(backend: Backend) {
    let cluster = Cluster::start(3, backend).await;
    let mut reader = cluster.client(2).await;
    reader.subscribe("orders").await;
    let mut first = cluster.client(0).await;
    let mut second = cluster.client(1).await;
    let published = first.granted(keyed("orders", "order-1", "pizza"), "published").await;
    let repeated = second.granted(keyed("orders", "order-1", "pizza"), "published").await;
    assert_eq!((&repeated["epoch"], &repeated["offset"]), (&published["epoch"], &published["offset"]));
    let next = second.granted(keyed("orders", "order-2", "salad"), "published").await;
    assert_eq!(next["offset"], 2, "the repeat has taken no offset");
    let late = first.granted(keyed("orders", "order-1", "pizza"), "published").await;
    assert_eq!(late["offset"], 1, "also when others came in between");
    first.publish("orders", json!("the end")).await;
    assert_eq!(reader.next_data(3).await, ["pizza", "salad", "the end"]);
    reader.hears_nothing().await;
}

async fn of_many_repeats_at_once_one_is_delivered(backend: Backend) {
    let cluster = Cluster::start(3, backend).await;
    let mut reader = cluster.client(0).await;
    reader.subscribe("orders").await;
    let mut tasks = Vec::new();
    for number in 0..12 {
        let mut client = cluster.client(number % 3).await;
        tasks.push(tokio::spawn(async move {
            client.granted(keyed("orders", "order-1", &format!("by {number}")), "published").await
        }));
    }
    for task in tasks {
        let published = task.await.expect("an answer");
        assert_eq!(published["offset"], 1, "{published}");
    }
    reader.publish("orders", json!("the end")).await;
    let delivered = reader.next_data(2).await;
    assert!(delivered[0].as_str().is_some_and(|data| data.starts_with("by ")), "{delivered:?}");
    assert_eq!(delivered[1], "the end");
}

async fn a_repeat_in_the_same_array_is_one(backend: Backend) {
    let cluster = Cluster::start(1, backend).await;
    let mut client = cluster.client(0).await;
    client.subscribe("orders").await;
    let mut twice = json!([keyed("orders", "k", "once"), keyed("orders", "k", "twice")]);
    (twice[0]["id"], twice[1]["id"]) = (json!(1), json!(2));
    client.send(&twice).await;
    let first = client.reply_to(&json!(1)).await;
    let second = client.reply_to(&json!(2)).await;
    assert_eq!((&first["offset"], &second["offset"]), (&json!(1), &json!(1)));
    assert_eq!(client.next_publication().await["data"], "once");
    client.hears_nothing().await;
}

async fn a_key_belongs_to_its_channel(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let mut reader = cluster.client(1).await;
    reader.subscribe("a").await;
    reader.subscribe("b").await;
    let mut writer = cluster.client(0).await;
    writer.granted(keyed("a", "k", "in a"), "published").await;
    writer.granted(keyed("b", "k", "in b"), "published").await;
    // Between channels there is no order: what comes in one turn is sorted by them.
    let mut delivered = reader.next_data(2).await;
    delivered.sort_by_key(Value::to_string);
    assert_eq!(delivered, ["in a", "in b"]);
}

on_both!(
    a_repeat_on_another_node_is_answered_like_the_first_and_not_delivered,
    of_many_repeats_at_once_one_is_delivered,
    a_repeat_in_the_same_array_is_one,
    a_key_belongs_to_its_channel,
);
