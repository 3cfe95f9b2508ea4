//! Whoever enters a namespace waits until it is known who that is, and whether the user may be here once more.

use super::wire::{Session, Stream, read_answer, send};
use e2e::{Application, Backend, Cluster, PATIENCE, Plan, Say, get, tokens};
use serde_json::json;
use tokio::time::{Duration, timeout};

/// What a client of two namespaces says at once, of which one shows a token; and a ping, which is answered whatever waits.
async fn enter_both(stream: &mut Stream) {
    stream.until("0{").await;
    let first = format!("40{{\"token\":\"{}\"}}", tokens::of("ann"));
    stream.send_at_once([&*first, "40/admin,", "2still here"]).await;
    assert_eq!(stream.next().await.as_deref(), Some("3still here"), "nobody has entered yet");
}

fn plan(backend: Backend, settings: &[&str]) -> Plan {
    let both = ["auth.anonymous=true", "socketio.namespaces=/admin", "workers=1"];
    Cluster::of(1, backend).with_tokens().settings(&both).settings(settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_enters_while_the_user_s_place_is_being_claimed() {
    let cluster = plan(Backend::Redis, &["sessions=newest"]).by_road(0).start().await;
    let mut stream = Stream::open(&cluster, 0, "").await;
    cluster.road().hold();
    enter_both(&mut stream).await;
    cluster.road().open();
    stream.until("40{\"sid\":").await;
    stream.until("40/admin,{\"sid\":").await;
    stream.send("421[\"join-room\",\"lobby\"]").await;
    stream.send("42[\"room-message\",{\"room\":\"lobby\",\"message\":1}]").await;
    let said = stream.until("42[\"room-message\"").await;
    assert!(said.contains("\"user\":\"ann\""), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_place_does_not_enter_and_is_to_come_back() {
    let cluster = plan(Backend::Redis, &["sessions=limit 1"]).by_road(0).start().await;
    let _first = cluster.user(0, "ann").await;
    let mut stream = Stream::open(&cluster, 0, "").await;
    cluster.road().hold();
    enter_both(&mut stream).await;
    cluster.road().open();
    // Neither `40` nor `44` nor `41`, after which clients would stay away.
    assert_eq!(stream.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_enters_while_the_application_is_asked_and_whoever_it_turns_away_is_told() {
    for (answer, says) in [(json!({"allow": true}), "40{\"sid\":"), (json!({"allow": false}), "44{\"message\":")] {
        let application = Application::start().await;
        let url = format!("hooks.connect.url={}", application.url("/connect"));
        let cluster = plan(Backend::Memory, &[&url, "hooks.deadline=10s"]).start().await;
        let mut stream = Stream::open(&cluster, 0, "").await;
        application.says("/connect", Say::Held(answer));
        enter_both(&mut stream).await;
        application.until_asked("/connect", 2).await;
        application.release();
        let first = stream.next().await.unwrap_or_default();
        assert!(first.starts_with(says), "{first} in place of {says}");
        stream.until("40/admin,{\"sid\":").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_while_a_place_is_claimed_is_taken_as_soon_as_it_is_there() {
    let cluster = plan(Backend::Redis, &["sessions=newest"]).by_road(0).start().await;
    cluster.road().hold();
    let bearer = format!("authorization: Bearer {}\r\n", tokens::of("ann"));
    let session = Session::open(&cluster, 0, &bearer).await;
    let posted = send(cluster.address(0), &session.head("POST"), &session.headers, "40").await;
    // It has come before this has.
    get(cluster.address(0), "/healthz").await;
    cluster.road().open();
    // Sooner than what is posted would have waited in vain.
    let answer = timeout(Duration::from_secs(8).min(PATIENCE), read_answer(posted)).await.expect("an answer in time");
    assert_eq!((answer.status, &*answer.body), (200, "ok"));
    session.polls_until(&cluster, 0, "40{\"sid\":").await;
}
