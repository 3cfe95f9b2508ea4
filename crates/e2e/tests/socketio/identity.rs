//! Who a session is: by its handshake, by CONNECT, and never by its name alone.

use super::wire::{Session, Stream, ask};
use e2e::{Backend, Cluster, tokens};

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

async fn cluster() -> Cluster {
    Cluster::of(2, Backend::Memory).with_tokens().start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_served_only_to_whom_it_belongs() {
    let cluster = cluster().await;
    let session = Session::entered(&cluster, 0, &bearer(&tokens::of("ann"))).await;
    for (who, headers) in [("nobody", String::new()), ("bob", bearer(&tokens::of("bob"))), ("junk", bearer("x.y.z"))] {
        for node in [0, 1] {
            for (method, body) in [("GET", ""), ("POST", "421[\"ping\"]")] {
                let answer = ask(cluster.address(node), &session.head(method), &headers, body).await;
                assert_eq!(answer.status, 403, "{who} at node {node}: {answer:?}");
            }
        }
    }
    let renewed = Session { headers: bearer(&tokens::ending_in("ann", 1800)), ..session };
    assert_eq!(renewed.post(&cluster, 1, "421[\"ping\"]").await.status, 200, "the same user's newer token");
    renewed.polls_until(&cluster, 1, "431[").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_entered_with_a_token_from_connect_or_from_the_handshake() {
    let cluster = cluster().await;
    let mut stream = Stream::open(&cluster, 0, "").await;
    stream.until("0{").await;
    stream.send("40").await;
    let refused = stream.until("44").await;
    assert!(refused.contains("\"data\":{\"code\":\"unauthenticated\""), "{refused}");
    stream.send("40{\"token\":\"junk\"}").await;
    stream.until("44{").await;
    stream.send(&format!("40{{\"token\":\"{}\"}}", tokens::of("ann"))).await;
    stream.until("40{\"sid\":").await;
    stream.send("421[\"join-room\",\"lobby\"]").await;
    stream.until("431[{\"status\":\"ok\"").await;
    stream.send("42[\"room-message\",{\"room\":\"lobby\",\"message\":1}]").await;
    let said = stream.until("42[\"room-message\"").await;
    assert!(said.contains("\"user\":\"ann\""), "{said}");
    // By the handshake's token alone.
    Session::entered(&cluster, 1, &bearer(&tokens::of("bob"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fails_too_often_is_put_out_and_told_to_stay_out() {
    let cluster = Cluster::start(1, Backend::Memory).await;
    let mut stream = Stream::open(&cluster, 0, "").await;
    stream.send("40").await;
    stream.until("40{").await;
    for _ in 0..10 {
        stream.send("40/nowhere,").await;
    }
    stream.until("41").await;
    assert_eq!(stream.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_name_that_was_made_up_or_is_another_s_gives_nothing() {
    let cluster = cluster().await;
    let enter = async |user: &str, more: &str| {
        let mut stream = Stream::open(&cluster, 0, "").await;
        stream.send(&format!("40{{\"token\":\"{}\"{more}}}", tokens::of(user))).await;
        let packet = stream.until("40{").await;
        let entered: serde_json::Value = serde_json::from_str(&packet[2..]).unwrap();
        (entered["sid"].as_str().unwrap().to_owned(), entered["pid"].as_str().unwrap().to_owned())
    };
    let (sid, pid) = enter("ann", "").await;
    let with = |pid: &str, offset: &str| format!(",\"pid\":\"{pid}\",\"offset\":\"{offset}\"");
    for (user, pid) in [("bob", pid.as_str()), ("ann", "made.up.name"), ("ann", &pid[..pid.len() - 2])] {
        assert_ne!(enter(user, &with(pid, "")).await.0, sid, "{user}");
    }
    for offset in ["+", "lobby", "lobby nothing 7 8", "lobby epoch 7"] {
        let (other, _) = enter("ann", &with(&pid, offset)).await;
        assert!(other != sid || offset == "lobby", "{offset}: the log holds nothing of that");
    }
    assert_eq!(enter("ann", &with(&pid, "")).await, (sid, pid));
}
