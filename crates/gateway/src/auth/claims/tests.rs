//! Claims as clumsy issuers write them, at a moment of the test's choice.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: u64 = 1_800_000_000;

fn rules() -> Rules {
    Rules { audience: None, issuer: None, requires_expiry: true }
}

fn check_text(text: &str, rules: &Rules) -> Result<Said, String> {
    let claims: Claims = serde_json::from_str(text).map_err(|error| error.to_string())?;
    claims.check(rules, NOW).map_err(|error| error.to_string())
}

fn check(claims: &Value) -> Result<Said, String> {
    check_text(&claims.to_string(), &rules())
}

fn with(claims: &Value) -> Value {
    let mut all = json!({"sub": "ann", "exp": NOW + 60});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    all
}

#[test]
fn times_count_to_the_second_with_five_of_leeway() {
    for (claims, holds) in [
        (json!({"exp": NOW - 4}), true),
        (json!({"exp": NOW - 5}), false),
        (json!({"exp": NOW as f64 - 4.5}), false),
        (json!({"exp": u64::MAX}), true),
        (json!({"exp": 1e300}), true),
        (json!({"exp": 0}), false),
        (json!({"exp": -1}), false),
        (json!({"exp": -1.5}), false),
        (json!({"exp": "2100-01-01"}), false),
        (json!({"exp": NOW.to_string()}), false),
        (json!({"exp": [NOW + 60]}), false),
        (json!({"exp": null}), false),
        (json!({"nbf": NOW + 5}), true),
        (json!({"nbf": NOW + 6}), false),
        (json!({"nbf": "now"}), false),
        (json!({"iat": "whenever"}), true),
    ] {
        assert_eq!(check(&with(&claims)).is_ok(), holds, "{claims}");
    }
    assert_eq!(check(&with(&json!({}))).unwrap().identity.expires_at, Some(NOW + 65));
}

#[test]
fn a_token_without_an_end_is_taken_only_where_that_is_allowed() {
    let forever = json!({"sub": "ann"}).to_string();
    assert!(check_text(&forever, &rules()).is_err());
    let lax = Rules { requires_expiry: false, ..rules() };
    assert_eq!(check_text(&forever, &lax).unwrap().identity.expires_at, None);
    let over = json!({"sub": "ann", "exp": NOW - 60}).to_string();
    assert!(check_text(&over, &lax).is_err(), "one that says it is held to it");
}

#[test]
fn audience_and_issuer_are_held_to_what_is_set() {
    let strict = Rules { audience: Some("chat".into()), issuer: Some("login".into()), ..rules() };
    for (claims, holds) in [
        (json!({"aud": "chat", "iss": "login"}), true),
        (json!({"aud": ["mail", "chat"], "iss": "login"}), true),
        (json!({"aud": ["mail"], "iss": "login"}), false),
        (json!({"aud": [], "iss": "login"}), false),
        (json!({"aud": "chatter", "iss": "login"}), false),
        (json!({"aud": {"chat": true}, "iss": "login"}), false),
        (json!({"aud": "chat", "iss": "evil"}), false),
        (json!({"aud": "chat", "iss": ["login"]}), false),
        (json!({"aud": "chat"}), false),
        (json!({"iss": "login"}), false),
    ] {
        assert_eq!(check_text(&with(&claims).to_string(), &strict).is_ok(), holds, "{claims}");
    }
    assert!(check(&with(&json!({"aud": "any", "iss": "any"}))).is_ok(), "unset is not asked");
}

#[test]
fn each_claim_has_its_shape_and_its_size() {
    let long = "x".repeat(256);
    for wrong in [
        json!({"sub": ""}),
        json!({"sub": long}),
        json!({"sub": 7}),
        json!({"sub": null}),
        json!({"info": "a".repeat(5000)}),
        json!({"roles": "staff"}),
        json!({"roles": [""]}),
        json!({"roles": ["x".repeat(65)]}),
        json!({"roles": vec!["x"; 65]}),
        json!({"caps": ["chat:*"]}),
        json!({"caps": {"chat:*": "publish"}}),
        json!({"caps": {"chat:*": ["fly"]}}),
        json!({"caps": {"c*t": ["publish"]}}),
        json!({"caps": {"@x": ["publish"]}}),
        json!({"channels": "chat"}),
        json!({"channels": ["chat:*"]}),
        json!({"channels": ["$node"]}),
        json!({"channels": vec!["a"; 65]}),
        json!({"channel": "*"}),
        json!({"channel": ["a"]}),
    ] {
        assert!(check(&with(&wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn a_claim_given_twice_is_refused() {
    for twice in [
        format!(r#"{{"sub":"ann","sub":"root","exp":{}}}"#, NOW + 60),
        format!(r#"{{"sub":"ann","exp":{},"exp":{}}}"#, NOW - 60, NOW + 60),
    ] {
        assert!(check_text(&twice, &rules()).unwrap_err().contains("duplicate"), "{twice}");
    }
}

#[test]
fn what_a_token_grants_is_read() {
    let said = check(&with(&json!({
        "roles": ["staff"], "caps": {"chat:*": ["publish", "history"]}, "channels": ["news"], "channel": "a",
    })))
    .unwrap();
    let ann = said.identity;
    use crate::grant::Action;
    assert_eq!(*ann.roles, [Text::from("staff")]);
    assert!(ann.is_granted(Action::Publish, "chat:a") && !ann.is_granted(Action::Subscribe, "chat:a"));
    assert!(ann.is_granted(Action::Subscribe, "news") && ann.is_granted(Action::Presence, "news"));
    assert!(!ann.is_granted(Action::Publish, "news") && !ann.is_granted(Action::Subscribe, "news2"));
    assert_eq!(said.channel.as_deref(), Some("a"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z:*{}]{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_claim_holds_it_is_taken_whole_or_refused(
        name in prop::sample::select(
            vec!["sub", "exp", "nbf", "aud", "iss", "info", "roles", "caps", "channels", "channel"],
        ),
        value in any_json(),
    ) {
        if let Ok(said) = check(&with(&json!({name: value}))) {
            prop_assert!(!said.identity.user.is_empty() && said.identity.user.len() <= 255);
            prop_assert!(said.identity.expires_at.is_some_and(|end| end > NOW));
        }
    }

    #[test]
    fn a_token_holds_exactly_while_both_times_allow(exp in NOW - 20..NOW + 20, nbf in NOW - 20..NOW + 20) {
        let holds = exp + LEEWAY_S > NOW && nbf <= NOW + LEEWAY_S;
        prop_assert_eq!(check(&with(&json!({"exp": exp, "nbf": nbf}))).is_ok(), holds);
    }
}
