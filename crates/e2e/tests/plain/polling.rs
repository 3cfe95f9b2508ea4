//! `GET /channels/{channel}/messages`: whoever goes on from each answer has everything, or is told what is missing.

use super::*;
use e2e::{Backend, Cluster, PATIENCE, on_both};
use std::time::Duration;
use tokio::time::{Instant, sleep};

on_both!(
    whoever_polls_has_everything_once_and_in_order_from_any_node_and_after_its_node_has_died,
    what_is_lost_is_told_and_so_is_another_epoch,
    without_a_position_the_newest_come,
    reading_asks_for_the_right_to_read,
    polling_the_same_channel_again_and_again_opens_it_once,
);

async fn whoever_polls_has_everything_once_and_in_order_from_any_node_and_after_its_node_has_died(backend: Backend) {
    const COUNT: u64 = 300;
    let namespaces = "[[namespace]]\npattern = \"*\"\nhistory.size = 1000\n";
    let settings = ["limits.messages=100000/s"];
    let mut cluster = Cluster::of(3, backend).namespaces(namespaces).settings(&settings).start().await;
    let mut at = place(&answered(&read(&cluster, 0, "", "chat").await));
    let address = cluster.address(2);
    let publishing = tokio::spawn(async move {
        for n in 0..COUNT {
            let body = json!({"channel": "chat", "data": n}).to_string();
            assert_eq!(request(address, "POST", "/publish", "", &body).await.status, 200);
        }
    });
    let (mut seen, mut polls) = (Vec::new(), 0);
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < COUNT as usize {
        assert!(Instant::now() < deadline, "after {} of {COUNT}", seen.len());
        if polls == 10 {
            cluster.kill_node(0).await;
        }
        let node = if polls < 10 { polls % 2 } else { 1 };
        let messages = answered(&read(&cluster, node, "", &format!("chat?limit=7&since={at}")).await);
        assert_eq!((&messages["recovered"], messages.get("gap")), (&json!(true), None), "{messages}");
        seen.extend(data(&messages));
        assert_eq!(messages["offset"], seen.len());
        at = place(&messages);
        polls += 1;
        if messages["more"] == json!(false) {
            sleep(Duration::from_millis(2)).await;
        }
    }
    publishing.await.expect("what was asked for");
    assert_eq!(seen, (0..COUNT).map(Value::from).collect::<Vec<_>>());
    assert!(polls > 10);
}

async fn what_is_lost_is_told_and_so_is_another_epoch(backend: Backend) {
    let namespaces = "[[namespace]]\npattern = \"*\"\nhistory.size = 5\n";
    let settings = ["limits.messages=100000/s"];
    let cluster = Cluster::of(2, backend).namespaces(namespaces).settings(&settings).start().await;
    let body = json!({"channel": "chat", "data": 1}).to_string();
    let epoch = answered(&post(&cluster, 0, "", &body).await)["epoch"].as_str().expect("what was asked for").to_owned();
    let many: Vec<_> = (2..=250).map(|n| json!({"channel": "chat", "data": n})).collect();
    answered(&post(&cluster, 0, "", &json!(many).to_string()).await);
    let messages = answered(&read(&cluster, 1, "", &format!("chat?since={epoch}:1")).await);
    let first = messages["publications"][0]["offset"].as_u64().expect("what was asked for");
    assert!(first > 2, "{messages}");
    assert_eq!(messages["gap"], json!({"from": 2, "to": first - 1}));
    assert_eq!(
        (&messages["recovered"], &messages["offset"], &messages["more"]),
        (&json!(false), &json!(250), &json!(false))
    );
    for other in ["chat?since=another:3", "chat?since=999"] {
        let messages = answered(&read(&cluster, 1, "", other).await);
        assert_eq!((&messages["recovered"], &messages["epoch"]), (&json!(false), &json!(epoch)), "{other}");
        assert_eq!(messages["publications"][0]["offset"], first, "{other}: what is kept, from its first");
    }
    let messages = answered(&read(&cluster, 1, "", &format!("chat?since={epoch}:999")).await);
    assert_eq!((&messages["recovered"], &messages["offset"], data(&messages).len()), (&json!(false), &json!(250), 0));
}

async fn without_a_position_the_newest_come(backend: Backend) {
    let cluster = Cluster::start(1, backend).await;
    let empty = answered(&read(&cluster, 0, "", "chat").await);
    assert_eq!((&empty["offset"], &empty["publications"], empty.get("recovered")), (&json!(0), &json!([]), None));
    let many: Vec<_> = (1..=9).map(|n| json!({"channel": "chat", "data": n})).collect();
    answered(&post(&cluster, 0, "", &json!(many).to_string()).await);
    let newest = answered(&read(&cluster, 0, "", "chat?limit=3").await);
    assert_eq!(data(&newest), [json!(7), json!(8), json!(9)]);
    assert_eq!((&newest["type"], &newest["offset"], &newest["more"]), (&json!("messages"), &json!(9), &json!(false)));
    assert_eq!(newest["publications"][0]["offset"], 7);
}

async fn reading_asks_for_the_right_to_read(backend: Backend) {
    let namespaces = "[[namespace]]\npattern = \"shut\"\nread_history = \"nobody\"\n\
                      [[namespace]]\npattern = \"own:{user}\"\n\
                      [[namespace]]\npattern = \"short\"\nhistory.size = 0\n";
    let cluster = Cluster::of(1, backend).with_tokens().namespaces(namespaces).start().await;
    let ann = bearer(&tokens::of("ann"));
    refused(&read(&cluster, 0, &ann, "shut").await, 403, "permission_denied");
    refused(&read(&cluster, 0, &ann, "own:bob").await, 403, "permission_denied");
    refused(&read(&cluster, 0, &ann, "none").await, 404, "unknown_channel");
    refused(&read(&cluster, 0, &ann, "short").await, 400, "bad_request");
    answered(&read(&cluster, 0, &ann, "own%3Aann").await);
    for wrong in ["own:ann?since=x", "own:ann?limit=0", "%ff"] {
        refused(&read(&cluster, 0, &ann, wrong).await, 400, "bad_request");
    }
}

async fn polling_the_same_channel_again_and_again_opens_it_once(backend: Backend) {
    let cluster = Cluster::of(1, backend).settings(&["limits.new_channels=1/m burst 2"]).start().await;
    for _ in 0..5 {
        answered(&read(&cluster, 0, "", "a").await);
        answered(&read(&cluster, 0, "", "b").await);
    }
    refused(&read(&cluster, 0, "", "c").await, 429, "rate_limited");
}
