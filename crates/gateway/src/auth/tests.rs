//! Tokens as attackers and clumsy issuers send them.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::json;

const SECRET: &str = "a secret of at least thirty-two bytes";

fn config() -> AuthConfig {
    AuthConfig {
        anonymous: false,
        hmac_secret: Some(SECRET.into()),
        previous_hmac_secret: None,
        audience: None,
        issuer: None,
        timeout: Duration::from_secs(10),
        query: false,
        cookie: None,
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn sign(algorithm: Algorithm, secret: &str, claims: &serde_json::Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn verify(token: &str) -> Result<String, &'static str> {
    Auth::new(&config()).verify(token).map(|i| i.user.to_string()).map_err(|e| e.0)
}

#[test]
fn a_minted_token_says_who_its_bearer_is() {
    let token = mint(SECRET, "ann", Some("{\"name\": \"Ann\"}"), Duration::from_secs(60)).unwrap();
    let identity = Auth::new(&config()).verify(&token).unwrap();
    assert_eq!(&*identity.user, "ann");
    assert_eq!(identity.info.as_deref(), Some("{\"name\":\"Ann\"}"));
    let left = identity.expires_in(SystemTime::now()).unwrap().as_secs();
    assert!((60..=65).contains(&left), "{left}");
}

#[test]
fn all_hmac_algorithms_and_the_previous_secret_are_taken() {
    let claims = json!({"sub": "ann", "exp": now() + 60});
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        assert_eq!(verify(&sign(algorithm, SECRET, &claims)), Ok("ann".into()));
    }
    let rotated = AuthConfig {
        hmac_secret: Some("the new secret, thirty-two bytes long".into()),
        previous_hmac_secret: Some(SECRET.into()),
        ..config()
    };
    assert!(Auth::new(&rotated).verify(&sign(Algorithm::HS256, SECRET, &claims)).is_ok());
}

#[test]
fn what_does_not_hold_is_refused_in_words_that_help() {
    let token = |claims: serde_json::Value| sign(Algorithm::HS256, SECRET, &claims);
    assert_eq!(verify(&token(json!({"sub": "ann", "exp": now() - 60}))), Err("the token has expired"));
    assert_eq!(
        verify(&token(json!({"sub": "ann", "exp": now() + 60, "nbf": now() + 30}))),
        Err("the token does not hold yet (nbf)")
    );
    let lacks = Err("the token lacks a claim: exp and sub are required");
    assert_eq!(verify(&token(json!({"sub": "ann"}))), lacks);
    assert_eq!(verify(&token(json!({"exp": now() + 60}))), lacks);
    let sub = Err("the token's `sub` is 1 to 255 bytes long");
    assert_eq!(verify(&token(json!({"sub": "", "exp": now() + 60}))), sub);
    assert_eq!(verify(&token(json!({"sub": "x".repeat(256), "exp": now() + 60}))), sub);
    let other = sign(Algorithm::HS256, "another secret of thirty-two bytes!", &json!({"sub": "a", "exp": now() + 60}));
    assert_eq!(verify(&other), Err("the token's signature does not hold"));
    assert_eq!(verify("not.a.token"), Err("this is not a valid token"));
    assert_eq!(verify(&"x".repeat(20_000)), Err("the token is longer than 16 KiB"));
}

#[test]
fn the_header_cannot_choose_no_signature() {
    let claims = json!({"sub": "root", "exp": now() + 60});
    for algorithm in ["none", "None", "NONE", "RS256"] {
        let header = BASE64URL.encode(json!({"alg": algorithm, "typ": "JWT"}).to_string());
        let body = BASE64URL.encode(claims.to_string());
        assert!(verify(&format!("{header}.{body}.")).is_err(), "{algorithm}");
        assert!(verify(&format!("{header}.{body}.c2ln")).is_err(), "{algorithm}");
    }
}

#[test]
fn audience_and_issuer_are_checked_where_they_are_set() {
    let strict = AuthConfig { audience: Some("chat".into()), issuer: Some("login".into()), ..config() };
    let auth = Auth::new(&strict);
    let token = |claims: serde_json::Value| sign(Algorithm::HS256, SECRET, &claims);
    let exp = now() + 60;
    assert!(auth.verify(&token(json!({"sub": "a", "exp": exp, "aud": "chat", "iss": "login"}))).is_ok());
    assert!(auth.verify(&token(json!({"sub": "a", "exp": exp, "aud": "shop", "iss": "login"}))).is_err());
    assert!(auth.verify(&token(json!({"sub": "a", "exp": exp, "aud": "chat", "iss": "evil"}))).is_err());
    assert!(auth.verify(&token(json!({"sub": "a", "exp": exp}))).is_err(), "absent is not right");
    assert!(verify(&token(json!({"sub": "a", "exp": exp, "aud": "any"}))).is_ok(), "unset is not asked");
}
