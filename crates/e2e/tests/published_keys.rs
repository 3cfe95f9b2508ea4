//! Keys that an issuer publishes: taken, rotated, and kept when they cannot be fetched.

use e2e::{Backend, Client, Cluster, Issuer, Manner, Signer, tokens};
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

use Signer::{Ed25519, P256, Rsa, RsaNext};

async fn cluster(issuer: &Issuer, settings: &[&str]) -> Cluster {
    Cluster::of(1, Backend::Memory).settings(&[&issuer.setting()]).settings(settings).start().await
}

fn auth(token: &str) -> Value {
    json!({"type": "auth", "token": token})
}

async fn status(cluster: &Cluster, token: &str) -> u16 {
    match cluster.connect(0).token(token).try_open().await {
        Ok(_) => 101,
        Err(refused) => refused.status,
    }
}

async fn known(cluster: &Cluster, signer: Signer, key_id: &str) -> Client {
    cluster.connect(0).token(&signer.token(key_id, "ann")).open().await
}

#[tokio::test]
async fn tokens_of_every_published_key_are_taken_and_no_others() {
    let issuer = Issuer::start(&[(Rsa, "r"), (P256, "p"), (Ed25519, "e")]).await;
    let cluster = cluster(&issuer, &["auth.hmac_secret=a secret beside the keys, of some length"]).await;
    for (signer, id) in [(Rsa, "r"), (P256, "p"), (Ed25519, "e")] {
        known(&cluster, signer, id).await;
    }
    let claims = json!({"sub": "ann", "exp": tokens::in_seconds(60)});
    let nameless = Rsa.sign_as(&Header::new(Algorithm::RS256), &claims);
    assert_eq!(status(&cluster, &nameless).await, 101, "one that names no key is tried with all");
    let secret = tokens::signed_with("a secret beside the keys, of some length", &claims);
    assert_eq!(status(&cluster, &secret).await, 101);
    for forged in [
        RsaNext.token("r", "ann"),
        Rsa.token("p", "ann"),
        Rsa.sign("r", &json!({"sub": "ann", "exp": tokens::in_seconds(-60)})),
        tokens::signed_with(&Rsa.public("r").to_string(), &claims),
    ] {
        assert_eq!(status(&cluster, &forged).await, 401);
    }
    assert_eq!(issuer.asked(), 1, "nobody named a key that is not there");
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it_and_a_wrong_one_only_once() {
    let issuer = Issuer::start(&[(Rsa, "1")]).await;
    let cluster = cluster(&issuer, &[]).await;
    known(&cluster, Rsa, "1").await;
    issuer.publish(&[(RsaNext, "2")]);
    known(&cluster, RsaNext, "2").await;
    assert_eq!(issuer.asked(), 2);
    for id in ["1", "3", "2\n", "../keys", "http://127.0.0.1:1/"] {
        assert_eq!(status(&cluster, &Rsa.token(id, "ann")).await, 401, "{id:?}");
    }
    assert_eq!(issuer.asked(), 2, "once in 30 s");
    assert_eq!(cluster.metric(0, "gateway_published_keys").await, 1.0);
}

#[tokio::test]
async fn many_who_come_with_a_new_key_have_it_fetched_once() {
    let issuer = Issuer::start(&[(Rsa, "1")]).await;
    let cluster = cluster(&issuer, &[]).await;
    issuer.publish(&[(Rsa, "1"), (RsaNext, "2")]);
    join_all((0..30).map(|_| known(&cluster, RsaNext, "2"))).await;
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn keys_stay_in_use_while_the_issuer_fails() {
    let issuer = Issuer::start(&[(Rsa, "1")]).await;
    let cluster = cluster(&issuer, &["auth.jwks_cooldown=10ms", "auth.timeout=60s"]).await;
    let set = json!({"keys": [RsaNext.public("2")]}).to_string();
    let manners = [
        Manner::Not,
        Manner::With("500 Oh", set.clone()),
        Manner::With("302 Found\r\nlocation: /elsewhere", set.clone()),
        Manner::With("200 OK", format!("{set}{}", " ".repeat(300_000))),
        Manner::With("200 OK", "<html>sorry</html>".to_owned()),
        Manner::With("200 OK", "{\"keys\":[]}".to_owned()),
    ];
    let mut failed = 0.0;
    for manner in manners {
        issuer.answers(manner.clone());
        assert_eq!(status(&cluster, &RsaNext.token("2", "ann")).await, 503, "it may be good: {manner:?}");
        failed += 1.0;
        let counted = cluster.metric(0, "gateway_key_fetches_total{outcome=\"failed\"}").await;
        assert!(counted >= failed, "{counted} of {failed}");
        known(&cluster, Rsa, "1").await;
        sleep(Duration::from_millis(20)).await;
    }
    let mut later = cluster.client(0).await;
    let refused = later.refused(auth(&RsaNext.token("2", "ann")), "unavailable").await;
    assert_eq!(refused["temporary"], true);
    issuer.answers(Manner::Well);
    issuer.publish(&[(RsaNext, "2")]);
    sleep(Duration::from_millis(20)).await;
    later.granted(auth(&RsaNext.token("2", "ann")), "authed").await;
    assert_eq!(status(&cluster, &Rsa.token("1", "ann")).await, 401, "a key that was taken back is not known any more");
}

#[tokio::test]
async fn a_silent_issuer_delays_only_who_needs_it_and_not_for_long() {
    let issuer = Issuer::start(&[(Rsa, "1")]).await;
    let cluster = cluster(&issuer, &[]).await;
    issuer.answers(Manner::Never);
    let mut waiting = cluster.client(0).await;
    waiting.send(&auth(&RsaNext.token("2", "ann"))).await;
    waiting.send(&json!({"type": "ping", "id": 9})).await;
    known(&cluster, Rsa, "1").await;
    assert_eq!(waiting.next().await["code"], "unavailable");
    assert_eq!(waiting.next().await["id"], 9, "what follows waits for it");
    assert_eq!(status(&cluster, &RsaNext.token("2", "ann")).await, 503, "and nobody waits again");
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn a_browser_whose_key_cannot_be_fetched_is_told_to_come_back() {
    let issuer = Issuer::start(&[(Rsa, "1")]).await;
    let cluster = cluster(&issuer, &[]).await;
    issuer.answers(Manner::Not);
    let bearer = format!("gateway.bearer.{}", RsaNext.token("2", "ann"));
    let mut page = cluster.connect(0).as_page().subprotocols(&["gateway.v1.json", &bearer]).open().await;
    assert_eq!(page.expect_close().await, 4100);
}

#[tokio::test]
async fn a_node_without_the_keys_it_needs_is_not_ready() {
    let issuer = Issuer::start(&[(Rsa, "1")]).await;
    issuer.answers(Manner::Not);
    let mended = async {
        while issuer.asked() < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        issuer.answers(Manner::Well);
    };
    // Starting waits until it is ready.
    let (cluster, ()) = tokio::join!(cluster(&issuer, &[]), mended);
    assert!(issuer.asked() > 2);
    known(&cluster, Rsa, "1").await;
}

#[tokio::test]
async fn a_token_cannot_say_where_its_key_is() {
    let issuer = Issuer::start(&[(Rsa, "1")]).await;
    let attacker = Issuer::start(&[(RsaNext, "2")]).await;
    let cluster = cluster(&issuer, &["auth.jwks_cooldown=1ms"]).await;
    let claims = json!({"sub": "ann", "exp": tokens::in_seconds(60), "iss": attacker.url(), "jku": attacker.url()});
    for id in ["1", "2"] {
        let mut header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::RS256) };
        header.jku = Some(attacker.url());
        header.x5u = Some(attacker.url());
        header.jwk = serde_json::from_value(RsaNext.public("2")).ok();
        assert!(header.jwk.is_some());
        assert_eq!(status(&cluster, &RsaNext.sign_as(&header, &claims)).await, 401, "{id}");
    }
    assert_eq!(attacker.asked(), 0);
}

#[tokio::test]
async fn a_subscription_s_token_may_be_of_a_new_key_too() {
    let issuer = Issuer::start(&[(Rsa, "1")]).await;
    let cluster = cluster(&issuer, &["auth.jwks_cooldown=10ms"]).await;
    let mut ann = known(&cluster, Rsa, "1").await;
    issuer.publish(&[(Rsa, "1"), (P256, "2")]);
    let claims = json!({"sub": "ann", "channel": "chat", "exp": tokens::in_seconds(60)});
    let subscribe = json!({"type": "subscribe", "id": 1, "channel": "chat", "token": P256.sign("2", &claims)});
    ann.send(&json!([subscribe, {"type": "publish", "id": 2, "channel": "chat", "data": "mine"}])).await;
    assert_eq!(ann.reply_to(&json!(1)).await["type"], "subscribed");
    assert_eq!(ann.reply_to(&json!(2)).await["type"], "published");
    assert_eq!(ann.next_publication().await["data"], "mine");
    sleep(Duration::from_millis(20)).await;
    let unknown = json!({"type": "subscribe", "channel": "other", "token": P256.sign("3", &claims)});
    ann.refused(unknown, "unauthenticated").await;
}

#[tokio::test]
async fn what_follows_a_token_of_a_new_key_waits_for_it() {
    let issuer = Issuer::start(&[(Rsa, "1")]).await;
    let cluster = cluster(&issuer, &[]).await;
    issuer.publish(&[(RsaNext, "2")]);
    let mut ann = cluster.client(0).await;
    let mut array = json!([auth(&RsaNext.token("2", "ann")), {"type": "subscribe", "id": 2, "channel": "chat"}]);
    array[0]["id"] = json!(1);
    ann.send(&array).await;
    assert_eq!(ann.reply_to(&json!(1)).await["type"], "authed");
    assert_eq!(ann.reply_to(&json!(2)).await["type"], "subscribed");
}
