//! Which keys of a set are taken, and what is said of a token whose key is not there.

use super::*;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use prometheus::Registry;
use serde_json::json;

fn rsa(more: &Value) -> Value {
    let key = EncodingKey::from_rsa_pem(include_bytes!("../../../tests/keys/rsa.pem")).unwrap();
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap()).unwrap();
    let map = jwk.as_object_mut().unwrap();
    map.remove("alg");
    map.extend(more.as_object().unwrap().clone());
    jwk
}

fn read(set: &Value) -> Result<Vec<Key>, String> {
    parse(&Bytes::from(set.to_string()))
}

fn one(key: &Value) -> Option<Key> {
    read(&json!({"keys": [key]})).ok().and_then(|mut keys| keys.pop())
}

#[test]
fn a_key_is_held_to_the_algorithm_that_it_names() {
    assert_eq!(one(&rsa(&json!({"kid": "a"}))).unwrap().algorithms.len(), 6);
    let only = one(&rsa(&json!({"kid": "a", "alg": "PS256", "use": "sig", "key_ops": ["verify"]}))).unwrap();
    assert_eq!((only.algorithms, only.id.as_deref()), (&[Algorithm::PS256][..], Some("a")));
}

#[test]
fn what_is_not_for_signatures_or_is_no_public_key_is_passed_over() {
    let weak = "AQAB".repeat(40);
    for wrong in [
        rsa(&json!({"use": "enc"})),
        rsa(&json!({"key_ops": ["encrypt"]})),
        rsa(&json!({"alg": "HS256"})),
        rsa(&json!({"alg": "ES256"})),
        rsa(&json!({"alg": "RSA-OAEP"})),
        rsa(&json!({"alg": 7})),
        rsa(&json!({"n": weak})),
        rsa(&json!({"n": "?"})),
        json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}),
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
        json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "quantum"}),
        json!("key"),
        json!(null),
    ] {
        assert!(one(&wrong).is_none(), "{wrong}");
        let beside = read(&json!({"keys": [wrong, rsa(&json!({"kid": "good"}))]})).unwrap();
        assert_eq!(beside.len(), 1, "and spoils no other");
    }
}

#[test]
fn what_is_no_set_of_usable_keys_is_a_failure() {
    for wrong in
        [json!({}), json!({"keys": {}}), json!([]), json!({"keys": []}), json!({"keys": vec![rsa(&json!({})); 33]})]
    {
        assert!(read(&wrong).is_err(), "{wrong}");
    }
    assert!(parse(&Bytes::from_static(b"<html>")).is_err());
    assert!(parse(&Bytes::from("[".repeat(100_000))).is_err());
}

fn published() -> Published {
    let source = Source::new("http://127.0.0.1:1/", None, false).unwrap();
    let (refresh, cooldown) = (Duration::from_secs(600), Duration::from_secs(30));
    Published::new(PublishedConfig { source, refresh, cooldown }, &Metrics::new(&Registry::new()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_asked_for_once_in_the_cooldown() {
    let published = published();
    assert_eq!(published.verdict(), AuthError::UnknownKey, "the first fetch is awaited");
    published.finish(Ok(vec![Key::secret("a")]));
    for _ in 0..2 {
        assert_eq!(published.verdict(), AuthError::UnknownKey);
        let (_, ()) = tokio::join!(published.ask(), async {
            published.asked.notified().await;
            published.finish(Ok(vec![Key::secret("b")]));
        });
        assert!(matches!(published.verdict(), AuthError::Refused(_)));
        published.ask().await;
        tokio::time::advance(Duration::from_secs(29)).await;
        assert!(matches!(published.verdict(), AuthError::Refused(_)));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn keys_stay_when_they_cannot_be_fetched_and_nobody_is_told_that_his_is_wrong() {
    let published = published();
    published.finish(Ok(vec![Key::secret("a")]));
    let (_, ()) = tokio::join!(published.ask(), async {
        published.asked.notified().await;
        published.finish(Err("gone".into()));
    });
    assert_eq!((published.keys().len(), published.verdict()), (1, AuthError::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_waits_no_longer_than_a_fetch_may_take() {
    let published = published();
    let began = Instant::now();
    published.ask().await;
    assert_eq!(began.elapsed(), FETCH_TIMEOUT + RETRY_FIRST);
}
