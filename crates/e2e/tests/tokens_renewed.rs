//! Tokens on live connections: a session's that says less than before, and a subscription's own.

use e2e::{Backend, Client, Cluster, on_both, tokens};
use serde_json::{Value, json};

const NAMESPACES: &str = "[[namespace]]\npattern = \"room:*\"\nsubscribe = \"granted\"\npublish = \"granted\"\n\
                          [[namespace]]\npattern = \"quiet:*\"\nread_presence = \"granted\"\n\
                          [[namespace]]\npattern = \"closed\"\nsubscribe = \"nobody\"\n\
                          [[namespace]]\npattern = \"*\"\n";

async fn cluster(backend: Backend) -> Cluster {
    Cluster::of(1, backend).with_tokens().settings(&["presence.grace=0s"]).namespaces(NAMESPACES).start().await
}

fn auth(token: &str) -> Value {
    json!({"type": "auth", "token": token})
}

fn subscribe(channel: &str, token: &str) -> Value {
    json!({"type": "subscribe", "channel": channel, "token": token})
}

fn rooms(names: &[&str]) -> String {
    tokens::claiming("ann", &json!({"channels": names, "caps": {"room:*": ["publish"]}}))
}

async fn is_unsubscribed(client: &mut Client, channel: &str, code: &str) {
    let push = client.next().await;
    let said = (&push["type"], &push["channel"], &push["code"]);
    assert_eq!(said, (&json!("unsubscribed"), &json!(channel), &json!(code)), "{push}");
    assert!(push["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
}

async fn a_renewed_token_keeps_what_it_still_allows_and_drops_the_rest(backend: Backend) {
    let cluster = cluster(backend).await;
    let mut ann = cluster.connect(0).token(&rooms(&["room:1", "room:2"])).open().await;
    for channel in ["room:1", "room:2", "open"] {
        ann.subscribe(channel).await;
    }
    ann.granted(auth(&rooms(&["room:2", "room:3"])), "authed").await;
    is_unsubscribed(&mut ann, "room:1", "permission_denied").await;
    for channel in ["room:1", "room:2"] {
        ann.publish(channel, json!(channel)).await;
    }
    assert_eq!(ann.next_publication().await["data"], "room:2");
    ann.hears_nothing().await;
    ann.refused(json!({"type": "subscribe", "channel": "room:1"}), "permission_denied").await;
    ann.subscribe("room:3").await;
    let mut other = cluster.connect(0).token(&rooms(&["room:1"])).open().await;
    assert_eq!(other.presence("room:1").await["clients"], 0, "and its member is gone");
}

async fn a_renewed_token_that_is_refused_takes_nothing_away(backend: Backend) {
    let cluster = cluster(backend).await;
    let mut ann = cluster.connect(0).token(&rooms(&["room:1"])).open().await;
    ann.subscribe("room:1").await;
    ann.refused(auth(&tokens::of("bob")), "permission_denied").await;
    ann.refused(auth(&tokens::ending_in("ann", -1)), "unauthenticated").await;
    ann.refused(auth(&tokens::ticket("ann", "room:1", 60)), "unauthenticated").await;
    ann.publish("room:1", json!(1)).await;
    assert_eq!(ann.next_publication().await["data"], 1);
    ann.hears_nothing().await;
}

async fn members_are_hidden_as_soon_as_a_renewed_token_says_so(backend: Backend) {
    let cluster = cluster(backend).await;
    let sees = tokens::claiming("ann", &json!({"caps": {"quiet:*": ["presence"]}}));
    let mut ann = cluster.connect(0).token(&sees).open().await;
    ann.subscribe("quiet:1").await;
    cluster.user(0, "bob").await.subscribe("quiet:1").await;
    assert_eq!(ann.next().await["type"], "join");
    assert_eq!(ann.next().await["type"], "leave");
    ann.granted(auth(&tokens::of("ann")), "authed").await;
    let mut carl = cluster.user(0, "carl").await;
    carl.subscribe("quiet:1").await;
    carl.publish("quiet:1", json!("after")).await;
    assert_eq!(ann.next().await["data"], "after");
}

async fn a_subscription_s_token_opens_its_channel_to_its_user(backend: Backend) {
    let cluster = cluster(backend).await;
    let mut ann = cluster.user(0, "ann").await;
    let ticket = tokens::ticket("ann", "room:1", 60);
    for (channel, token) in [
        ("room:2", ticket.clone()),
        ("room:1", tokens::ticket("bob", "room:1", 60)),
        ("room:1", tokens::ticket("ann", "room:1", -1)),
        ("room:1", tokens::signed_with("another secret", &json!({"sub": "ann", "channel": "room:1", "exp": 9e9}))),
        ("room:1", tokens::of("ann")),
        ("room:1", "nonsense".to_owned()),
        ("room:1", "x".repeat(20_000)),
        ("room:1", String::new()),
    ] {
        ann.refused(subscribe(channel, &token), "unauthenticated").await;
    }
    ann.refused(json!({"type": "subscribe", "channel": "room:1"}), "permission_denied").await;
    ann.granted(subscribe("room:1", &ticket), "subscribed").await;
    ann.granted(json!({"type": "presence", "channel": "room:1"}), "presence").await;
    ann.granted(json!({"type": "history", "channel": "room:1"}), "history").await;
    ann.refused(json!({"type": "publish", "channel": "room:1", "data": 1}), "permission_denied").await;
    ann.granted(json!({"type": "unsubscribe", "channel": "room:1"}), "unsubscribed").await;
    ann.refused(json!({"type": "history", "channel": "room:1"}), "permission_denied").await;
    ann.refused(subscribe("closed", &tokens::ticket("ann", "closed", 60)), "permission_denied").await;
}

async fn a_subscription_s_token_is_no_way_in(backend: Backend) {
    let cluster = cluster(backend).await;
    let ticket = tokens::ticket("ann", "room:1", 60);
    assert_eq!(cluster.connect(0).token(&ticket).refused().await.status, 401);
    let mut stranger = cluster.client(0).await;
    stranger.refused(subscribe("room:1", &ticket), "unauthenticated").await;
}

async fn a_subscription_ends_with_its_own_token_and_not_the_session(backend: Backend) {
    let cluster = cluster(backend).await;
    let mut ann = cluster.user(0, "ann").await;
    ann.granted(subscribe("room:1", &tokens::ticket("ann", "room:1", 2)), "subscribed").await;
    ann.granted(subscribe("room:2", &tokens::ticket("ann", "room:2", 60)), "subscribed").await;
    // Its own token counts, whatever the session's says.
    ann.granted(auth(&tokens::of("ann")), "authed").await;
    is_unsubscribed(&mut ann, "room:1", "unauthenticated").await;
    let mut writer = cluster.connect(0).token(&rooms(&[])).open().await;
    let lost = writer.publish("room:1", json!("meanwhile")).await;
    writer.publish("room:2", json!("still here")).await;
    assert_eq!(ann.next_publication().await["data"], "still here");
    let again = json!({
        "type": "subscribe", "channel": "room:1", "token": tokens::ticket("ann", "room:1", 60),
        "recover": {"epoch": lost["epoch"], "offset": 0},
    });
    let back = ann.granted(again, "subscribed").await;
    assert_eq!((&back["recovered"], &back["publications"][0]["data"]), (&json!(true), &json!("meanwhile")));
}

on_both!(
    a_renewed_token_keeps_what_it_still_allows_and_drops_the_rest,
    a_renewed_token_that_is_refused_takes_nothing_away,
    members_are_hidden_as_soon_as_a_renewed_token_says_so,
    a_subscription_s_token_opens_its_channel_to_its_user,
    a_subscription_s_token_is_no_way_in,
    a_subscription_ends_with_its_own_token_and_not_the_session,
);
