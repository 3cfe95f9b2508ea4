//! What a backend may see: members, histories, channels, nodes.

use super::{body, cluster, get, post};
use e2e::{Backend, Cluster, PATIENCE, on_both};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};

async fn members_of_all_nodes_are_told(backend: Backend) {
    let cluster = cluster(2, backend).await;
    let mut clients = [cluster.client(0).await, cluster.client(1).await];
    for client in &mut clients {
        client.subscribe("room:1").await;
    }
    let presence = body(&get(&cluster, 0, "presence?channel=room%3A1").await);
    assert_eq!((&presence["clients"], &presence["users"]), (&json!(2), &json!(2)));
    assert_eq!(presence["members"].as_array().map(Vec::len), Some(2), "{presence}");
    let counts = body(&get(&cluster, 1, "presence?channel=room:1&count_only=true").await);
    assert_eq!(counts, json!({"channel": "room:1", "clients": 2, "users": 2}));
    let nobody = body(&get(&cluster, 1, "presence?channel=room:2").await);
    assert_eq!(nobody, json!({"channel": "room:2", "members": [], "clients": 0, "users": 0}));
}

async fn history_is_read_in_parts_both_ways(backend: Backend) {
    let cluster = cluster(2, backend).await;
    let publications: Vec<Value> = (1..=10).map(|n| json!({"channel": "room:1", "data": n})).collect();
    post(&cluster, 0, "batch", &json!({"publications": publications})).await;
    for (reverse, expected) in [(false, (1..=10).collect::<Vec<u64>>()), (true, (1..=10).rev().collect())] {
        let (mut read, mut since) = (Vec::new(), String::new());
        loop {
            let query = format!("history?channel=room:1&limit=4&reverse={reverse}{since}");
            let part = body(&get(&cluster, 1, &query).await);
            assert_eq!(part["offset"], 10);
            read.extend(part["publications"].as_array().unwrap().iter().map(|p| p["data"].as_u64().unwrap()));
            let Some(next) = part["next"].as_u64() else { break };
            since = format!("&since={next}&epoch={}", part["epoch"].as_str().unwrap());
        }
        assert_eq!(read, expected);
    }
    let before_all = body(&get(&cluster, 0, "history?channel=room:1&since=0&reverse=true").await);
    assert_eq!(before_all["publications"], json!([]));
    let stale = body(&get(&cluster, 0, "history?channel=room:1&since=9&epoch=another").await);
    assert_eq!(stale["publications"].as_array().map(Vec::len), Some(10), "an offset of another life says nothing");
}

async fn channels_are_told_by_how_their_names_begin_and_a_star_is_no_pattern(backend: Backend) {
    let cluster = cluster(2, backend).await;
    let mut one = cluster.client(0).await;
    let mut two = cluster.client(1).await;
    for name in ["room:a", "room:b", "room:[ab]"] {
        one.subscribe(name).await;
    }
    two.subscribe("room:a").await;
    let of = async |query: &str| {
        let answer = body(&get(&cluster, 1, &format!("channels?{query}")).await);
        assert_eq!(answer.get("next"), None, "{answer}");
        let mut channels = answer["channels"].as_array().unwrap().clone();
        channels.sort_by_key(|channel| channel["channel"].to_string());
        channels
    };
    let a = json!({"channel": "room:a", "clients": 2, "users": 2});
    let b = json!({"channel": "room:b", "clients": 1, "users": 1});
    let odd = json!({"channel": "room:[ab]", "clients": 1, "users": 1});
    assert_eq!(of("prefix=room:").await, [odd.clone(), a.clone(), b]);
    assert_eq!(of("prefix=room:%5Bab%5D").await, [odd]);
    assert_eq!(of("prefix=room:a").await, [a]);
    for nothing in ["prefix=*", "prefix=room:*", "prefix=room:%3F", "prefix=news:"] {
        assert_eq!(of(nothing).await, [] as [Value; 0], "{nothing}");
    }
    assert_eq!(of("").await.len(), 3);
}

async fn nodes_tell_of_themselves_to_whoever_asks_any_of_them(backend: Backend) {
    let cluster = cluster(2, backend).await;
    let mut clients = [cluster.client(0).await, cluster.client(1).await, cluster.client(1).await];
    for client in &mut clients {
        client.subscribe("room:1").await;
    }
    let expected = json!({"nodes": 2, "draining": 0, "connections": 3, "subscriptions": 3});
    for node in 0..2 {
        until(&cluster, node, "counts", |counts| *counts == expected).await;
        let nodes = body(&get(&cluster, node, "nodes").await);
        let told = nodes["nodes"].as_array().unwrap();
        assert_eq!(told.iter().map(|node| node["id"].as_str().unwrap()).collect::<Vec<_>>(), ["n0", "n1"]);
        assert_eq!(told[1]["about"]["connections"], 2, "{nodes}");
        assert_eq!(told[0]["node"], format!("n0.{}", told[0]["incarnation"].as_str().unwrap()));
    }
    assert_eq!(cluster.order(1, "/drain?window=1s&exit=false").await.status, 202);
    until(&cluster, 0, "nodes", |nodes| nodes["nodes"][1]["about"]["draining"] == true).await;
}

/// Asks until the answer is as it should be: nodes describe themselves once in a while.
async fn until(cluster: &Cluster, node: usize, path: &str, is_so: impl Fn(&Value) -> bool) {
    let mut last = Value::Null;
    let asking = async {
        while !is_so(&last) {
            sleep(Duration::from_millis(20)).await;
            last = body(&get(cluster, node, path).await);
        }
    };
    assert!(timeout(PATIENCE, asking).await.is_ok(), "{path} stays at {last}");
}

on_both! {
    members_of_all_nodes_are_told,
    history_is_read_in_parts_both_ways,
    channels_are_told_by_how_their_names_begin_and_a_star_is_no_pattern,
    nodes_tell_of_themselves_to_whoever_asks_any_of_them
}
