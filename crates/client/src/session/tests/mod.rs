//! A session between an application and a gateway that are both played by the test.

mod channels;
mod faults;
mod publications;
mod refusals;

use super::{Answer, Ids, Limits, Link, Notice, Outbound, Question, Session, Wanted};
use crate::event::Event;
use crate::stats::{Counters, Stats};
use crate::wire::{Reply, decode};
use crate::{PublishError, Published, RequestError};
use futures_util::FutureExt;
use protocol::{Channel, Position};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

type Outcome = oneshot::Receiver<Result<Published, PublishError>>;

/// How long commands may take here.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The session, its clock, and what it has counted.
struct Bench {
    session: Session,
    now: Instant,
    ids: Ids,
    counters: Arc<Counters>,
}

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn position(epoch: &str, offset: u64) -> Position {
    Position { epoch: epoch.into(), offset }
}

impl Bench {
    /// Not connected.
    fn offline() -> Self {
        let (ids, counters) = (Ids::default(), Arc::<Counters>::default());
        let limits = Limits { messages: 100, bytes: 10_000 };
        let random = fastrand::Rng::with_seed(1);
        let session = Session::new(ids.clone(), limits, TIMEOUT, counters.clone(), random);
        Self { session, now: Instant::now(), ids, counters }
    }

    /// Connected.
    fn online() -> Self {
        let mut bench = Self::offline();
        bench.connect();
        bench
    }

    fn connect(&mut self) {
        self.session.connect(Link { max_message_bytes: 1000 }, self.now);
    }

    fn reconnect(&mut self) {
        self.session.disconnect();
        self.connect();
    }

    fn pass(&mut self, time: Duration) -> Result<(), &'static str> {
        self.now += time;
        self.session.on_time(self.now)
    }

    /// Lets time pass until the session wants to be woken, and wakes it.
    fn pass_to_deadline(&mut self) -> Result<(), &'static str> {
        let deadline = self.session.deadline().expect("something to wait for");
        self.pass(deadline.duration_since(self.now))
    }

    /// Subscribes with room for so many events.
    fn subscribe_with(&mut self, name: &str, recover: Option<Position>, room: usize) -> (u64, mpsc::Receiver<Event>) {
        let (stream, events) = mpsc::channel(room);
        let serial = self.ids.next();
        let wanted =
            Wanted { serial, channel: channel(name), members: false, state: false, recover, token: None, stream };
        self.session.subscribe(wanted, self.now).unwrap();
        (serial, events)
    }

    fn subscribe(&mut self, name: &str) -> mpsc::Receiver<Event> {
        self.subscribe_with(name, None, 100).1
    }

    /// Subscribed to `chat`, at this offset of epoch `e1`.
    fn subscribed_at(&mut self, offset: u64) -> mpsc::Receiver<Event> {
        let mut events = self.subscribe("chat");
        self.answer_subscribe(&json!({"epoch": "e1", "offset": offset}));
        assert!(matches!(events.try_recv(), Ok(Event::Subscribed { recovered: false, .. })));
        events
    }

    /// Answers the one subscription that was asked for, and returns how it was asked.
    fn answer_subscribe(&mut self, fields: &Value) -> Value {
        let asked = self.one_frame();
        assert_eq!(asked["type"], "subscribe", "{asked}");
        let mut reply = json!({"type": "subscribed", "id": asked["id"], "channel": asked["channel"]});
        reply.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.hear(&reply);
        asked
    }

    /// The application has read something: there is room.
    fn deliver(&mut self) {
        let room = self.session.blocked().expect("something waits").room().now_or_never().expect("room");
        self.session.deliver(room, self.now);
    }

    fn hear(&mut self, message: &Value) -> Option<Notice> {
        let incoming = decode(&message.to_string()).unwrap().expect("a known type");
        self.session.take(incoming, self.now)
    }

    fn hear_publication(&mut self, offset: u64) {
        self.hear(&json!({"type": "publication", "channel": "chat", "offset": offset, "time": 1, "data": offset}));
    }

    fn frames(&mut self) -> Vec<Value> {
        self.session.take_frames().iter().map(|frame| serde_json::from_str(frame).unwrap()).collect()
    }

    fn one_frame(&mut self) -> Value {
        let mut frames = self.frames();
        assert_eq!(frames.len(), 1, "{frames:?}");
        frames.remove(0)
    }

    /// Publishes; `change` makes it another one than the plainest.
    fn publish_as(&mut self, change: impl FnOnce(Outbound) -> Outbound) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let id = self.ids.next();
        let outbound = Outbound {
            id,
            channel: channel("chat"),
            text: json!({"type": "publish", "id": id, "channel": "chat", "data": id}).to_string(),
            has_key: false,
            is_volatile: false,
            is_silent: false,
            deadline: self.now + Duration::from_secs(30),
            answer,
        };
        self.session.publish(change(outbound), self.now);
        outcome
    }

    fn publish(&mut self) -> Outcome {
        self.publish_as(|outbound| outbound)
    }

    fn publish_with_key(&mut self) -> Outcome {
        self.publish_as(|outbound| Outbound { has_key: true, ..outbound })
    }

    /// With `echo: false`.
    fn publish_silently(&mut self) -> Outcome {
        self.publish_as(|outbound| Outbound { is_silent: true, ..outbound })
    }

    fn ask(&mut self) -> oneshot::Receiver<Result<Reply, RequestError>> {
        let (answer, outcome) = oneshot::channel();
        let id = self.ids.next();
        let text = json!({"type": "ping", "id": id}).to_string();
        self.session.ask(Question { id, text, deadline: self.now + TIMEOUT, answer: Answer::To(answer) });
        outcome
    }

    fn hear_published(&mut self, id: &Value, offset: u64) {
        self.hear(&json!({"type": "published", "id": id, "channel": "chat", "epoch": "e1", "offset": offset}));
    }

    fn hear_refusal(&mut self, id: &Value, code: &str, temporary: bool) {
        self.hear(&json!({"type": "error", "id": id, "code": code, "message": "no", "temporary": temporary}));
    }

    fn stats(&self) -> Stats {
        self.counters.snapshot()
    }
}

/// Everything that can be read now.
fn all(events: &mut mpsc::Receiver<Event>) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

/// The same in short: offsets of publications, and words for the rest.
fn short(events: &mut mpsc::Receiver<Event>) -> Vec<String> {
    let word = |event: &Event| match event {
        Event::Publication(publication) => publication.offset.map_or("live".into(), |offset| offset.to_string()),
        Event::Subscribed { recovered: true, .. } => "recovered".to_owned(),
        Event::Subscribed { recovered: false, .. } => "subscribed".to_owned(),
        Event::Gap(gap) => {
            let range = gap.range.map_or("?".to_owned(), |(from, to)| format!("{from}-{to}"));
            format!("gap {range} {:?}", gap.cause)
        }
        Event::Join { .. } => "join".to_owned(),
        Event::Leave { .. } => "leave".to_owned(),
        Event::Unsubscribed(refusal) => format!("unsubscribed {}", refusal.name),
    };
    all(events).iter().map(word).collect()
}
