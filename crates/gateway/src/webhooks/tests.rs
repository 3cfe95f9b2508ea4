//! HOOKS.md beside the code: its batch is what is sent.

use super::queue::{Batch, Waiting};
use super::*;
use protocol::Cause;
use serde_json::Value;
use tokio::time::Instant;

const DOCUMENT: &str = include_str!("../../HOOKS.md");

#[tokio::test]
async fn a_batch_is_as_documented() {
    let blocks = DOCUMENT.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let example = blocks.map(|block| serde_json::from_str::<Value>(block).unwrap()).find(|e| e.get("events").is_some());
    let example = example.unwrap();
    let lobby = Channel::new("chat:lobby").unwrap();
    let info = Some(r#"{"name":"Ann"}"#.into());
    let ann = Origin { client: "n1.c0ffee01.00a1b2c300000000".into(), user: Some("ann".into()), info };
    let change = |left| Change {
        channel: lobby.clone(),
        client: ann.client.clone(),
        user: "ann".into(),
        info: ann.info.clone(),
        left,
        is_edge: true,
    };
    let (came, went) = (change(None), change(Some(Cause::NodeLost)));
    let position = Position { epoch: "XiPiBdCo7shI".into(), offset: 12 };
    let data = Payload::json(r#"{"text":"hello"}"#);
    let events = [
        (Kind::Occupied, Event::of_channel(&lobby)),
        (Kind::Joined, Event::of_member(&came)),
        (Kind::ClientEvent, Event::of_publication(&lobby, Some(&position), &ann, "message", &data)),
        (Kind::Left, Event::of_member(&went)),
        (Kind::Vacated, Event::of_channel(&lobby)),
        (Kind::Connected, Event::of_connection(&ann, Some("json"), None)),
        (Kind::Disconnected, Event::of_connection(&ann, Some("json"), Some("lost"))),
    ];
    assert_eq!(events.len(), Kind::ALL.len());
    let json = events.into_iter().zip(7..).map(|((kind, event), number)| {
        let (id, time_ms) = (format!("n1.c0ffee01-{number}"), 1_700_000_000_123);
        let event = Event { r#type: kind.as_str(), id, time_ms, ..event };
        Waiting { since: Instant::now(), json: serde_json::to_string(&event).unwrap().into() }
    });
    let batch = Batch { events: json.collect(), missed: 0 };
    let body = sender::body("n1.c0ffee01-b42", 1_700_000_000_400, "n1.c0ffee01", &batch);
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), example);
    for cause in ["left", "lost", "node_lost", "sent_away"] {
        assert!(DOCUMENT.contains(&format!("`{cause}`")), "{cause}");
    }
}
