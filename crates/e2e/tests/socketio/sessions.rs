//! A session is served by whichever node is asked, and survives what networks do to its requests.

use super::wire::{OPEN, Session, Stream, begin, send};
use e2e::{Backend, Cluster, on_both};
use serde_json::json;

on_both! {
    any_node_takes_any_request,
    a_session_goes_on_as_a_websocket_on_another_node,
    a_poll_whose_client_has_gone_ends_its_session_whichever_node_had_it,
    streams_that_break_anywhere_harm_nobody,
    clients_of_all_dialects_are_in_one_room,
}

async fn any_node_takes_any_request(backend: Backend) {
    let cluster = Cluster::start(3, backend).await;
    let session = Session::open(&cluster, 0, "").await;
    assert_eq!(session.post(&cluster, 1, "40").await.body, "ok");
    session.polls_until(&cluster, 2, "40{\"sid\":").await;
    let join = session.post(&cluster, 2, "421[\"join-room\",\"lobby\"]").await;
    assert_eq!(join.status, 200);
    session.polls_until(&cluster, 1, "431[{\"status\":\"ok\"").await;
    let polled = async { session.polls_until(&cluster, 2, "42[\"room-message\"").await };
    let said = async {
        let body = "42[\"room-message\",{\"room\":\"lobby\",\"message\":\"hi\"}]";
        assert_eq!(session.post(&cluster, 1, body).await.status, 200);
    };
    let (packet, ()) = tokio::join!(polled, said);
    assert!(packet.contains("\"message\":\"hi\",\"room\":\"lobby\""), "{packet}");
    assert_eq!(session.post(&cluster, 1, "1").await.status, 200);
    // One that was sent beside the end, and came after it.
    let beside = session.poll(&cluster, 2).await;
    assert_eq!((beside.status, beside.body.as_str()), (200, "6"));
    assert_eq!(session.poll(&cluster, 2).await.status, 400);
}

async fn a_session_goes_on_as_a_websocket_on_another_node(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    for node in [0, 1] {
        let session = Session::entered(&cluster, 0, "").await;
        let mut stream = Stream::open(&cluster, node, &format!("&sid={}", session.sid)).await;
        stream.send("2probe").await;
        stream.until("3probe").await;
        session.post(&cluster, 1, "421[\"join-room\",\"lobby\"]").await;
        stream.send("5").await;
        stream.send("422[\"room-message\",{\"room\":\"lobby\",\"message\":1}]").await;
        // What waited comes first, then what was asked for behind the upgrade.
        stream.until("431[").await;
        stream.until("42[\"room-message\"").await;
        assert_eq!(session.poll(&cluster, 0).await.status, 400, "it polls no more");
        assert_eq!(session.post(&cluster, 1, "42[\"ping\"]").await.status, 400);
        let mut second = Stream::open(&cluster, 1 - node, &format!("&sid={}", session.sid)).await;
        assert_eq!(second.next().await, None, "nor does it go on as another stream");
        stream.send("423[\"ping\"]").await;
        stream.until("433[{\"status\":\"ok\",\"type\":\"pong\"}]").await;
    }
}

async fn a_poll_whose_client_has_gone_ends_its_session_whichever_node_had_it(backend: Backend) {
    // In no room there is nothing that a poll could be answered with.
    let cluster = Cluster::of(2, backend).settings(&["socketio.default_room="]).start().await;
    for node in [0, 1] {
        let session = Session::entered(&cluster, 0, "").await;
        let waiting = send(cluster.address(node), &session.head("GET"), "", "").await;
        cluster.metric_becomes(0, "gateway_polls_waiting", 1.0).await;
        drop(waiting);
        cluster.metric_becomes(0, "gateway_connections{dialect=\"socketio\"}", 0.0).await;
        cluster.metric_becomes(0, "gateway_polls_waiting", 0.0).await;
        assert_eq!(session.poll(&cluster, 1).await.status, 400);
    }
}

/// A reset in the middle of a handshake ended a server's whole process elsewhere (CVE-2022-41940).
async fn streams_that_break_anywhere_harm_nobody(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let bystander = Session::entered(&cluster, 0, "").await;
    let session = Session::entered(&cluster, 0, "").await;
    for node in [0, 1] {
        drop(send(cluster.address(node), OPEN, "", "").await);
        // Half a body, half a payload, and an upgrade that is never finished.
        drop(begin(cluster.address(node), &session.head("POST"), "content-length: 100\r\n\r\n4").await);
        drop(Stream::open(&cluster, node, &format!("&sid={}", session.sid)).await);
        let mut stream = Stream::open(&cluster, node, "").await;
        stream.send("451-[\"room-message\",{\"_placeholder\":true,\"num\":0}]").await;
        drop(stream);
    }
    assert_eq!(bystander.post(&cluster, 1, "427[\"ping\"]").await.status, 200);
    bystander.polls_until(&cluster, 1, "437[{\"status\":\"ok\"").await;
}

async fn clients_of_all_dialects_are_in_one_room(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let session = Session::entered(&cluster, 0, "").await;
    session.post(&cluster, 0, "421[\"join-room\",\"General Chat\"]").await;
    session.polls_until(&cluster, 0, "431[").await;
    let mut native = cluster.client(1).await;
    native.subscribe("General%20Chat").await;
    native.publish("General%20Chat", json!({"a": 1})).await;
    let packet = session.polls_until(&cluster, 1, "42[\"room-message\"").await;
    assert!(packet.contains("\"message\":{\"a\":1},\"room\":\"General Chat\""), "{packet}");
}
