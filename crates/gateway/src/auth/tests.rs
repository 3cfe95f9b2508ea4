//! Tokens as attackers and clumsy issuers send them. What they claim is tested beside the claims.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

const SECRET: &str = "a secret of at least thirty-two bytes";

macro_rules! key {
    ($name:literal) => {
        include_str!(concat!("../../tests/keys/", $name, ".pem"))
    };
}

fn config() -> AuthConfig {
    AuthConfig {
        anonymous: false,
        hmac_secret: Some(SECRET.into()),
        previous_hmac_secret: None,
        public_keys: Vec::new(),
        published: None,
        audience: None,
        issuer: None,
        requires_expiry: true,
        timeout: Duration::from_secs(10),
        query: false,
        cookie: None,
    }
}

/// What checks tokens by this configuration.
fn auth(config: &AuthConfig) -> Auth {
    Auth::new(config, &Metrics::new(&prometheus::Registry::new()).unwrap())
}

fn with_public_keys(pem: &str) -> Auth {
    auth(&AuthConfig { hmac_secret: None, public_keys: Key::from_pem(pem).unwrap(), ..config() })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn good() -> Value {
    json!({"sub": "ann", "exp": now() + 60})
}

fn sign(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn private(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(key!("p256").as_bytes()),
        Algorithm::ES384 => EncodingKey::from_ec_pem(key!("p384").as_bytes()),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(key!("ed25519").as_bytes()),
        _ => EncodingKey::from_rsa_pem(key!("rsa").as_bytes()),
    }
    .unwrap()
}

fn signed(algorithm: Algorithm) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), &good(), &private(algorithm)).unwrap()
}

/// A token with this header, signed with the secret.
fn with_header(header: &Value, claims: &str) -> String {
    let message = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn verify(token: &str) -> Result<String, String> {
    auth(&config()).identify(token).map(|i| i.user.to_string()).map_err(|e| e.to_string())
}

fn refused(why: &str) -> Result<String, String> {
    Err(why.to_owned())
}

#[test]
fn a_minted_token_says_who_its_bearer_is_and_what_it_grants() {
    let wish = Wish {
        user: "ann".into(),
        info: Some("{\"name\": \"Ann\"}".into()),
        roles: vec!["staff".into()],
        caps: vec!["chat:*=publish, history".into()],
        channels: vec!["news".into()],
        lifetime: Duration::from_secs(60),
        ..Wish::default()
    };
    let identity = auth(&config()).identify(&mint(SECRET, wish).unwrap()).unwrap();
    assert_eq!((&*identity.user, identity.info.as_deref()), ("ann", Some("{\"name\":\"Ann\"}")));
    assert_eq!(*identity.roles, [Text::from("staff")]);
    assert!(identity.is_granted(Action::Publish, "chat:a") && identity.is_granted(Action::Subscribe, "news"));
    let left = identity.expires_in(SystemTime::now()).unwrap().as_secs();
    assert!((60..=65).contains(&left), "{left}");
    for wrong in ["chat:*", "chat:*=fly", "c*t=publish", "=publish"] {
        assert!(mint(SECRET, Wish { caps: vec![wrong.into()], ..Wish::default() }).is_err(), "{wrong}");
    }
    assert!(mint(SECRET, Wish { subscription: Some("@x".into()), ..Wish::default() }).is_err());
}

#[test]
fn all_hmac_algorithms_and_the_previous_secret_are_taken() {
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        assert_eq!(verify(&sign(algorithm, SECRET, &good())), Ok("ann".into()));
    }
    let rotated = AuthConfig {
        hmac_secret: Some("the new secret, thirty-two bytes long".into()),
        previous_hmac_secret: Some(SECRET.into()),
        ..config()
    };
    assert!(auth(&rotated).identify(&sign(Algorithm::HS256, SECRET, &good())).is_ok());
}

#[test]
fn a_public_key_takes_what_its_owner_has_signed_by_its_own_algorithms() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let keys = [
        (key!("rsa.pub"), &[RS256, RS384, RS512, PS256, PS384, PS512][..]),
        (key!("p256.pub"), &[ES256]),
        (key!("p384.pub"), &[ES384]),
        (key!("ed25519.pub"), &[EdDSA]),
    ];
    for (pem, algorithms) in keys {
        for algorithm in [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA] {
            let is_taken = with_public_keys(pem).identify(&signed(algorithm)).is_ok();
            assert_eq!(is_taken, algorithms.contains(&algorithm), "{algorithm:?} by\n{pem}");
        }
    }
    let other = with_public_keys(key!("rsa-next.pub")).identify(&signed(RS256));
    assert_eq!(other, Err(AuthError::Refused("the token's signature does not hold")));
}

#[test]
fn a_file_may_hold_several_public_keys_and_nothing_else() {
    let both = [key!("rsa-next.pub"), "# and the one before\n", key!("rsa.pub"), key!("p256.pub")].concat();
    let checks = with_public_keys(&both);
    assert!(checks.identify(&signed(Algorithm::RS256)).is_ok() && checks.identify(&signed(Algorithm::ES256)).is_ok());
    for (wrong, why) in [
        (key!("rsa"), "holds a PRIVATE KEY"),
        (key!("rsa-weak.pub"), "less than 2048 bits"),
        (key!("p521.pub"), "neither P-256 nor P-384"),
        ("", "holds no PUBLIC KEY"),
        (SECRET, "holds no PUBLIC KEY"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n", "without its end"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "holds a key that is neither"),
        ("-----BEGIN PUBLIC KEY-----\nß\n-----END PUBLIC KEY-----", "holds a key that is neither"),
    ] {
        let fault = Key::from_pem(wrong).unwrap_err();
        assert!(fault.contains(why), "{fault}");
    }
    assert!(Key::from_pem(&key!("p256.pub").repeat(33)).unwrap_err().contains("more than 32"));
}

#[test]
fn a_public_key_is_no_secret() {
    for pem in [key!("rsa.pub"), key!("p256.pub"), key!("ed25519.pub")] {
        let checks = with_public_keys(pem);
        for secret in [pem, pem.trim_end(), &pem.replace('\n', "\r\n")] {
            let forged = sign(Algorithm::HS256, secret, &good());
            assert_eq!(checks.identify(&forged), Err(WRONG_ALGORITHM));
        }
    }
}

#[test]
fn a_secret_and_a_public_key_do_not_stand_in_for_one_another() {
    let checks = auth(&AuthConfig { public_keys: Key::from_pem(key!("rsa.pub")).unwrap(), ..config() });
    assert!(checks.identify(&sign(Algorithm::HS256, SECRET, &good())).is_ok());
    assert!(checks.identify(&signed(Algorithm::RS256)).is_ok());
    assert!(checks.identify(&sign(Algorithm::HS256, key!("rsa.pub"), &good())).is_err());
}

#[test]
fn what_does_not_hold_is_refused_in_words_that_help() {
    let other = sign(Algorithm::HS256, "another secret of thirty-two bytes!", &good());
    assert_eq!(verify(&other), refused("the token's signature does not hold"));
    assert_eq!(verify("not.a.token"), refused("this is not a valid token"));
    assert_eq!(verify(&"x".repeat(20_000)), refused("the token is longer than 16 KiB"));
    assert_eq!(verify(&signed(Algorithm::RS256)), refused("the token's algorithm is not that of the key"));
    let over = sign(Algorithm::HS256, SECRET, &json!({"sub": "ann", "exp": now() - 60}));
    assert_eq!(verify(&over), refused("the token has expired"));
    let none = auth(&AuthConfig { hmac_secret: None, ..config() });
    assert_eq!(none.identify(&sign(Algorithm::HS256, SECRET, &good())), Err(NO_KEY));
}

#[test]
fn the_header_cannot_choose_no_signature() {
    let claims = json!({"sub": "root", "exp": now() + 60});
    for algorithm in ["none", "None", "NONE", "", "RS256", "ES512"] {
        let header = BASE64URL.encode(json!({"alg": algorithm, "typ": "JWT"}).to_string());
        let body = BASE64URL.encode(claims.to_string());
        assert!(verify(&format!("{header}.{body}.")).is_err(), "{algorithm}");
        assert!(verify(&format!("{header}.{body}.c2ln")).is_err(), "{algorithm}");
    }
}

#[test]
fn the_header_brings_no_key_and_asks_for_nothing_more() {
    let attacker = EncodingKey::from_rsa_pem(key!("rsa-next").as_bytes()).unwrap();
    let mut header = Header::new(Algorithm::RS256);
    header.jwk = Some(Jwk::from_encoding_key(&attacker, Algorithm::RS256).unwrap());
    header.jku = Some("http://127.0.0.1:1/keys".into());
    header.x5u = Some("http://127.0.0.1:1/chain".into());
    let forged = jsonwebtoken::encode(&header, &good(), &attacker).unwrap();
    assert!(with_public_keys(key!("rsa.pub")).identify(&forged).is_err());
    let claims = good().to_string();
    assert!(verify(&with_header(&json!({"alg": "HS256", "jku": "http://127.0.0.1:1/"}), &claims)).is_ok(), "unread");
    for header in [
        json!({"alg": "HS256", "crit": ["exp"], "exp": 1}),
        json!({"alg": "HS256", "crit": []}),
        json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
        json!({"alg": "HS256", "zip": "DEF"}),
        json!({"alg": "HS256", "enc": "A256GCM"}),
        json!({"alg": "HS256", "kid": "k".repeat(256)}),
        json!({"alg": "HS256", "kid": 7}),
        json!({"alg": ["HS256"]}),
        json!({"typ": "JWT"}),
        json!([]),
    ] {
        assert!(verify(&with_header(&header, &claims)).is_err(), "{header}");
    }
}

#[test]
fn a_token_has_three_parts_and_each_is_what_it_should_be() {
    let token = sign(Algorithm::HS256, SECRET, &good());
    let parts: Vec<&str> = token.split('.').collect();
    for wrong in [
        parts[..2].join("."),
        format!("{token}."),
        format!("{token}.{}", parts[2]),
        format!(" {token}"),
        format!("{token}="),
        format!("{}.{}.", parts[0], parts[1]),
        format!(".{}.{}", parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], parts[2].to_uppercase()),
        String::new(),
        "...".to_owned(),
        "\u{0}".to_owned(),
        "Bearer".to_owned(),
    ] {
        assert!(verify(&wrong).is_err(), "{wrong:?}");
    }
    for claims in ["", "null", "[]", "7", "{", "\u{feff}{}", "{\"sub\":\"ann\"} {}"] {
        assert!(verify(&with_header(&json!({"alg": "HS256"}), claims)).is_err(), "{claims:?}");
    }
}

#[test]
fn a_subscription_s_token_is_for_one_channel_and_one_user_and_is_no_way_in() {
    let checks = auth(&config());
    let channel = |name| Channel::new(name).unwrap();
    let wish =
        |subscription| Wish { user: "ann".into(), subscription, lifetime: Duration::from_secs(60), ..Wish::default() };
    let ticket = mint(SECRET, wish(Some("chat:a".into()))).unwrap();
    let left = checks.admit(&ticket, &channel("chat:a"), Some("ann")).unwrap().expires_in(SystemTime::now()).unwrap();
    assert!((59..=65).contains(&left.as_secs()), "{left:?}");
    assert!(checks.admit(&ticket, &channel("chat:b"), Some("ann")).is_err());
    assert!(checks.admit(&ticket, &channel("chat:a"), Some("bob")).is_err());
    assert!(checks.admit(&ticket, &channel("chat:a"), None).is_err());
    assert!(checks.identify(&ticket).is_err(), "it does not connect");
    let session = mint(SECRET, wish(None)).unwrap();
    assert!(checks.admit(&session, &channel("chat:a"), Some("ann")).is_err(), "and a session's token is no ticket");
}

#[test]
fn a_revoked_token_is_refused_whatever_it_is_for_and_counted() {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let revocations = Arc::new(users::MemoryRevocations::attach(
        &users::MemoryUsers::default(),
        users::Revoking { max: 10, on_news: Arc::new(|| {}) },
        users::UsersMetrics::new(&prometheus::Registry::new()).unwrap(),
    ));
    let checks = Auth::new(&config(), &metrics).with_revocations(revocations.clone());
    let token = |more: &Value| {
        let mut claims = good();
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        sign(Algorithm::HS256, SECRET, &claims)
    };
    let revoke = |target| {
        let until_ms = (now() + 60) * 1000;
        futures_util::FutureExt::now_or_never(revocations.revoke(users::Revocation { target, until_ms }))
            .unwrap()
            .unwrap();
    };
    let (one, other) = (token(&json!({"jti": "t1", "iat": 100})), token(&json!({"jti": "t2", "iat": 200})));
    let ticket = token(&json!({"jti": "t3", "iat": 200.5, "channel": "chat"}));
    let of = |token: &str| checks.identify(token).map(|i| (i.token_id.unwrap().to_string(), i.issued_at.unwrap()));
    assert_eq!((of(&one), of(&other)), (Ok(("t1".to_owned(), 100)), Ok(("t2".to_owned(), 200))));
    revoke(users::Target::Token("t1".into()));
    assert_eq!((of(&one), of(&other).is_ok()), (Err(REVOKED), true));
    let admit = |token: &str| checks.admit(token, &Channel::new("chat").unwrap(), Some("ann"));
    assert!(admit(&ticket).is_ok());
    revoke(users::Target::UserBefore { user: "ann".into(), issued_before: 201 });
    assert_eq!((of(&other), admit(&ticket)), (Err(REVOKED), Err(REVOKED)));
    assert_eq!(checks.identify(&token(&json!({}))), Err(REVOKED), "one that does not say when it was issued");
    assert!(checks.identify(&token(&json!({"iat": 201}))).is_ok());
    assert_eq!(metrics.tokens.with_label_values(&["revoked"]).get(), 4);
}

#[test]
fn a_token_whose_id_could_not_be_kept_in_a_list_is_refused() {
    let with = |id: Value| {
        let mut claims = good();
        claims["jti"] = id;
        auth(&config()).identify(&sign(Algorithm::HS256, SECRET, &claims))
    };
    assert!(with(json!("x".repeat(255))).is_ok() && with(json!("")).is_ok_and(|i| i.token_id.is_none()));
    assert!(with(json!("x".repeat(256))).is_err() && with(json!(7)).is_err());
}
