//! Many clients at once: those who come back share the readings of the log, and a worker that falls behind reads what it
//! lost before anybody is told of a gap.

use e2e::{Backend, Client, Cluster, on_both};
use serde_json::{Value, json};

async fn a_storm_of_clients_reads_each_channel_s_log_once_a_worker(backend: Backend) {
    const CLIENTS: usize = 60;
    let cluster = Cluster::of(1, backend).settings(&["workers=2"]).start().await;
    let mut publisher = cluster.client(0).await;
    let epoch = publisher.publish("news", json!(1)).await["epoch"].clone();
    for number in 2..=20 {
        publisher.publish("news", json!(number)).await;
    }
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(cluster.client(0).await);
    }
    for client in &mut clients {
        let from = json!({"epoch": epoch, "offset": 5});
        client.send(&json!({"type": "subscribe", "id": 1, "channel": "news", "recover": from})).await;
    }
    for client in &mut clients {
        let subscribed = client.reply_to(&json!(1)).await;
        assert_eq!(subscribed["recovered"], true, "{subscribed}");
        let missed: Vec<_> =
            subscribed["publications"].as_array().expect("a list").iter().map(|p| &p["data"]).collect();
        assert_eq!(missed, (6..=20).map(Value::from).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }
    let reads = cluster.metric(0, "gateway_recovery_reads_total").await;
    assert!(reads <= 2.0, "{CLIENTS} clients on two workers made {reads} readings of one channel's log");
    let recovered = cluster.metric(0, "gateway_recoveries_total{outcome=\"recovered\"}").await;
    assert_eq!(recovered as usize, CLIENTS);
}

async fn a_past_larger_than_the_outbox_comes_in_parts_and_goes_on_live(backend: Backend) {
    let cluster = Cluster::of(2, backend).settings(&["outbox.bytes=64KiB", "limits.messages=1000000/s"]).start().await;
    let mut publisher = cluster.client(0).await;
    let filler = "x".repeat(8000);
    let mut epoch = Value::Null;
    for number in 1..=60 {
        epoch = publisher.publish("news", json!([number, filler])).await["epoch"].clone();
    }
    let mut reader = cluster.client(1).await;
    let subscribed = reader.recover("news", &epoch, 0).await;
    assert_eq!(subscribed["recovered"], true);
    let first = subscribed["publications"].as_array().expect("a list").len();
    assert!((1..60).contains(&first), "{first} of 60 came with the answer");
    assert_eq!(subscribed["offset"], first, "the answer says how far it goes");
    publisher.publish("news", json!([61, "live"])).await;
    for expected in first + 1..=61 {
        let publication = reader.next_publication().await;
        assert_eq!((&publication["offset"], &publication["data"][0]), (&json!(expected), &json!(expected)));
    }
}

async fn a_worker_that_falls_behind_loses_nothing(backend: Backend) {
    let cluster = Cluster::of(2, backend)
        .settings(&["inbox.deliveries=1", "workers=1", "limits.messages=1000000/s"])
        .namespaces("[[namespace]]\npattern = \"*\"\nhistory.size = 1000\n")
        .start()
        .await;
    let mut reader = cluster.client(1).await;
    reader.subscribe("a").await;
    reader.subscribe("b").await;
    let mut publisher = cluster.client(0).await;
    let (mut sent, mut next) = (0, [0, 0]);
    // Whether a worker falls behind is a race that it loses sooner or later.
    while cluster.metric(1, "gateway_inbox_overflows_total").await == 0.0 || sent < 200 {
        assert!(sent < 20_000, "it never fell behind");
        let one = |channel: &str, n: usize| json!({"type": "publish", "channel": channel, "data": n});
        let batch: Vec<_> = (sent..sent + 50).flat_map(|n| [one("a", n), one("b", n)]).collect();
        publisher.send(&json!(batch)).await;
        sent += 50;
        while next != [sent, sent] {
            let publication = reader.next_publication().await;
            let of = usize::from(publication["channel"] == "b");
            assert_eq!(publication["data"], next[of], "{publication}");
            next[of] += 1;
        }
    }
    assert_eq!(cluster.metric(1, "gateway_gaps_total").await, 0.0);
}

on_both!(
    a_storm_of_clients_reads_each_channel_s_log_once_a_worker,
    a_past_larger_than_the_outbox_comes_in_parts_and_goes_on_live,
    a_worker_that_falls_behind_loses_nothing
);
