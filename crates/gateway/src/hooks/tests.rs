//! HOOKS.md beside the code: every question and every answer in it is one.

use super::answer::Answer;
use super::*;
use crate::auth::Amendment;
use prometheus::Registry;
use protocol::Text;
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("../../HOOKS.md");

/// The JSON of the document, in its order.
fn examples() -> Vec<Value> {
    let blocks = DOCUMENT.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(|block| serde_json::from_str(block).expect(block)).collect()
}

fn hooks() -> Hooks {
    let config = crate::config::Config::from_overrides(&[
        "hooks.connect.headers=user-agent",
        "hooks.connect.cookies=session",
        "hooks.connect.url=http://127.0.0.1:1/",
    ])
    .unwrap();
    let metrics = Arc::new(Metrics::new(&Registry::new()).unwrap());
    Hooks::new(&config.hooks, "n1.c0ffee01", &metrics, Some(&Handle::current()))
}

fn ann() -> Identity {
    let said = json!({"allow": true, "user": "ann", "info": {"name": "Ann"}, "roles": ["staff"]}).to_string();
    let amendment = Answer::read(said.as_bytes()).unwrap().amendment();
    amendment.apply(None, UNIX_EPOCH).unwrap().unwrap()
}

/// Beside the document's example of this type: chance and time are the document's own.
fn check(question: &Question<'_>) {
    let mut asked = serde_json::to_value(question).unwrap();
    let example = examples().into_iter().find(|example| example["type"] == asked["type"]).unwrap();
    for (field, length) in [("id", 32), ("time_ms", 13)] {
        assert_eq!(asked[field].to_string().trim_matches('"').len(), length, "{field}");
        asked[field] = example[field].clone();
    }
    assert_eq!(asked, example);
}

#[tokio::test]
async fn questions_are_as_documented() {
    let (hooks, ann) = (hooks(), ann());
    let channel = Channel::new("chat:lobby").unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("origin", "https://app.example"),
        ("user-agent", "Mozilla/5.0"),
        ("authorization", "Bearer s3cret"),
        ("cookie", "other=1; session=t0k; sessions=2"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let from = || Visitor::new("json", None, "203.0.113.7".parse().unwrap(), &headers);
    let visitor = hooks.visitor(&headers, from).unwrap().unwrap();
    check(&hooks.about_connection(&visitor, Some(&ann), false));
    let asker = Asker { client: "n1.c0ffee01.00a1b2c300000000", identity: Some(&ann) };
    check(&hooks.about_subscription(asker, &channel));
    let (event, retain) = (Some("message".to_owned()), Some("ann".to_owned()));
    let data = Payload::json(r#"{"text":"hello"}"#);
    let publish = Publish { channel, data, event, retain, key: None, volatile: false, echo: true };
    check(&hooks.about_publication(asker, &publish));
}

#[tokio::test]
async fn an_anonymous_one_is_shown_without_a_name_and_bytes_as_base64() {
    let hooks = hooks();
    let channel = Channel::new("c").unwrap();
    let (event, key, retain) = (None, None, None);
    let publish =
        Publish { channel, data: Payload::binary(vec![0, 255]), event, key, retain, volatile: false, echo: true };
    let asker = Asker { client: "c1", identity: None };
    let asked = serde_json::to_value(hooks.about_publication(asker, &publish)).unwrap();
    assert_eq!((&asked["base64"], asked.get("user"), asked.get("data")), (&json!("AP8="), None, None));
    let publish = Publish { data: Payload::text("hi"), ..publish };
    assert_eq!(serde_json::to_value(hooks.about_publication(asker, &publish)).unwrap()["text"], "hi");
    let publish = Publish { data: Payload::json("null"), ..publish };
    let asked = serde_json::to_value(hooks.about_publication(asker, &publish)).unwrap();
    assert_eq!(asked.get("data"), Some(&Value::Null));
}

#[test]
fn answers_of_the_document_are_understood() {
    let examples: Vec<Value> = examples().into_iter().filter(|example| example.get("allow").is_some()).collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        let read = || Answer::read(example.to_string().as_bytes()).unwrap();
        let denial = read().denial().unwrap();
        assert_eq!(denial.is_none(), example["allow"] == true, "{example}");
        assert_eq!(denial.map(|denial| denial.reason), example["reason"].as_str().map(str::to_owned));
        let who = read().amendment().apply(None, UNIX_EPOCH).unwrap();
        assert_eq!(who.map(|who| who.user), example["user"].as_str().map(Text::from), "{example}");
        let replacement = read().replacement(100).unwrap();
        assert_eq!(replacement.is_some(), example.get("data").is_some(), "{example}");
    }
}

#[test]
fn every_outcome_and_code_is_in_the_document() {
    for word in OUTCOMES.iter().chain(&["forbidden", "unauthenticated", "unavailable"]) {
        assert!(DOCUMENT.contains(&format!("`{word}`")), "{word}");
    }
    for header in [crate::outbound::TIMESTAMP, crate::outbound::SIGNATURE] {
        assert!(DOCUMENT.contains(&format!("{header}: ")), "{header}");
    }
    let signed = crate::outbound::Secret::new("s3cret").sign(1_700_000_000, br#"{"a":1}"#);
    assert!(DOCUMENT.contains(&signed), "{signed}");
    assert_eq!(Amendment::default().apply(None, UNIX_EPOCH), Ok(None));
}
