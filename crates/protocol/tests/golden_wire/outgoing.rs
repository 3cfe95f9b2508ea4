//! Every reply, refusal and push, written as its golden bytes.

use crate::files::{self, golden_files};
use crate::samples::{ann, anonymous, bare, binary, chat, counted, full, hello, listed, member, place, retained, text};
use crate::transport::{Recorder, Written, json, read};
use protocol::dialect::{Array, Encoding};
use protocol::{
    Cause, Channel, CloseCode, ErrorCode, Member, Members, Origin, Outgoing, Payload, Publication, Push, Refusal,
    Reply, Welcome,
};

golden_files! { Outgoing:
    Outgoing::Reply { reply: Reply::Authed { .. }, .. } => "reply-authed.jsonl",
    Outgoing::Reply { reply: Reply::Subscribed { .. }, .. } => "reply-subscribed.jsonl",
    Outgoing::Reply { reply: Reply::Unsubscribed { .. }, .. } => "reply-unsubscribed.jsonl",
    Outgoing::Reply { reply: Reply::Published { .. }, .. } => "reply-published.jsonl",
    Outgoing::Reply { reply: Reply::Sent, .. } => "reply-sent.jsonl",
    Outgoing::Reply { reply: Reply::Presence { .. }, .. } => "reply-presence.jsonl",
    Outgoing::Reply { reply: Reply::History { .. }, .. } => "reply-history.jsonl",
    Outgoing::Reply { reply: Reply::Pong, .. } => "reply-pong.jsonl",
    Outgoing::Refused { .. } => "error.jsonl",
    Outgoing::Push(Push::Welcome(_)) => "push-welcome.jsonl",
    Outgoing::Push(Push::Publication { .. }) => "push-publication.jsonl",
    Outgoing::Push(Push::Join { .. }) => "push-join.jsonl",
    Outgoing::Push(Push::Leave { .. }) => "push-leave.jsonl",
    Outgoing::Push(Push::Gap { .. }) => "push-gap.jsonl",
    Outgoing::Push(Push::Message { .. }) => "push-message.jsonl",
    Outgoing::Push(Push::Unsubscribed { .. }) => "push-unsubscribed.jsonl",
    Outgoing::Push(Push::Expiring { .. }) => "push-expiring.jsonl",
    Outgoing::Push(Push::Reconnect { .. }) => "push-reconnect.jsonl",
}

/// Several messages as one.
pub(crate) const ARRAY: &str = "messages-in-an-array.jsonl";

/// The golden messages that it holds.
pub(crate) const IN_ARRAY: [&[&str]; 2] =
    [&["push-welcome.jsonl"], &["push-publication.jsonl", "reply-published.jsonl"]];

pub(crate) fn samples() -> Vec<Outgoing> {
    [replies(), refusals(), pushes()].concat()
}

fn subscribed(id: u64, publications: Vec<Publication>, members: Option<Members>) -> Outgoing {
    let recovered = !publications.is_empty();
    let position = Some(place(if recovered { 43 } else { 0 }));
    let state = vec![];
    let reply = Reply::Subscribed { channel: chat(), position, recovered, publications, state, members };
    Outgoing::Reply { id, reply }
}

fn subscribed_with_state(id: u64, publications: Vec<Publication>, members: Option<Members>) -> Outgoing {
    let read = Publication { event: Some("read".into()), ..retained(40, "read:ann", "{\"upto\":38}") };
    let state = vec![read, Publication { offset: Some(43), retain: Some("picture".into()), ..bare(binary()) }];
    let (position, recovered) = (Some(place(43)), !publications.is_empty());
    let reply = Reply::Subscribed { channel: chat(), position, recovered, publications, state, members };
    Outgoing::Reply { id, reply }
}

fn replies() -> Vec<Outgoing> {
    let reply = |id, reply| Outgoing::Reply { id, reply };
    let history = |id, publications, position| reply(id, Reply::History { channel: chat(), publications, position });
    let last = || Publication { offset: Some(43), ..bare(binary()) };
    let unpositioned = Reply::Subscribed {
        channel: Channel::new("cursors").unwrap(),
        position: None,
        recovered: false,
        publications: vec![],
        state: vec![],
        members: None,
    };
    vec![
        reply(1, Reply::Authed { user: "ann".into(), expires_in: Some(3600) }),
        reply(2, Reply::Authed { user: "ann".into(), expires_in: None }),
        subscribed(1, vec![], None),
        subscribed(2, vec![full(), last()], None),
        subscribed(3, vec![], Some(listed())),
        subscribed(4, vec![full()], Some(counted())),
        subscribed_with_state(6, vec![], None),
        subscribed_with_state(7, vec![full()], Some(counted())),
        reply(5, unpositioned),
        reply(5, Reply::Unsubscribed { channel: chat() }),
        reply(2, Reply::Published { channel: chat(), position: Some(place(1)) }),
        reply(9, Reply::Published { channel: Channel::new("cursors").unwrap(), position: None }),
        reply(10, Reply::Sent),
        reply(11, Reply::Presence { channel: chat(), members: listed() }),
        reply(12, Reply::Presence { channel: chat(), members: counted() }),
        reply(17, Reply::Presence { channel: chat(), members: Members { list: Some(vec![]), clients: 0, users: 0 } }),
        history(14, vec![full(), last()], Some(place(43))),
        history(13, vec![], Some(place(0))),
        history(18, vec![], None),
        reply(16, Reply::Pong),
        reply(u64::MAX, Reply::Pong),
    ]
}

/// A sentence for each code, as a client may see it.
fn sentence(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::BadRequest => "`publish` needs `data`",
        ErrorCode::Unauthenticated => "say who you are first: send `auth` with a token",
        ErrorCode::PermissionDenied => "you may not publish to this channel",
        ErrorCode::UnknownChannel => "no namespace takes this channel",
        ErrorCode::UnknownClient => "no such connection",
        ErrorCode::AlreadySubscribed => "you are subscribed to this channel",
        ErrorCode::NotSubscribed => "you are not subscribed to this channel",
        ErrorCode::TooLarge => "the payload is over the limit of this channel",
        ErrorCode::RateLimited => "too many commands",
        ErrorCode::LimitExceeded => "a connection has at most 128 subscriptions",
        ErrorCode::Unavailable => "the broker cannot be reached; nothing was done",
        ErrorCode::UnknownOutcome => "the broker did not answer in time; repeat with the same key",
        ErrorCode::Internal => "a fault of the gateway",
        ErrorCode::UnknownSession => "no such session",
    }
}

fn refusals() -> Vec<Outgoing> {
    let mut samples: Vec<Outgoing> = (20..)
        .zip(ErrorCode::ALL)
        .map(|(id, code)| Outgoing::Refused { id: Some(id), refusal: Refusal::new(*code, sentence(*code)) })
        .collect();
    let mut limited = Refusal::new(ErrorCode::RateLimited, sentence(ErrorCode::RateLimited));
    limited.retry_after_ms = Some(250);
    samples.push(Outgoing::Refused { id: Some(8), refusal: limited.clone() });
    samples.push(Outgoing::Refused { id: None, refusal: limited });
    let not_a_command = read("hello").remove(0).unwrap_err();
    samples.push(Outgoing::Refused { id: not_a_command.id, refusal: not_a_command.refusal });
    samples
}

fn pushes() -> Vec<Outgoing> {
    let welcome = Welcome {
        client: "n1.a.7".into(),
        node: "n1.a".into(),
        session: "f3b09c2e".into(),
        ping_interval_ms: 25_000,
        max_message_bytes: 65_536,
    };
    let mut samples = vec![Push::Welcome(welcome)];
    samples.extend(publications().into_iter().map(|publication| Push::Publication { channel: chat(), publication }));
    let join = |member: Member| Push::Join { channel: chat(), member };
    let leave = |member: Member, cause| Push::Leave { channel: chat(), member, cause };
    let gap = |range: Option<(u64, u64)>, to, epoch: Option<&str>| {
        let from = range.map(|(from, _)| from);
        Push::Gap { channel: chat(), from, to: range.map(|(_, to)| to).or(to), epoch: epoch.map(Into::into) }
    };
    let message = |from: Origin, data, event: Option<&str>| Push::Message {
        from,
        data,
        event: event.map(Into::into),
        time_ms: 7,
    };
    samples.extend([
        join(member("ann", 1, Some("{\"name\":\"Ann\"}"))),
        join(member("n1.a.7", 1, None)),
        leave(member("ann", 0, Some("{\"name\":\"Ann\"}")), Cause::Left),
        leave(member("n1.a.7", 0, None), Cause::Lost),
        leave(member("bob", 0, None), Cause::NodeLost),
        gap(Some((42, 57)), None, Some("k3Zq")),
        gap(None, Some(57), Some("t8Wd")),
        gap(None, None, Some("t8Wd")),
        gap(Some((42, 57)), None, None),
        gap(None, None, None),
        message(ann(), Payload::json("{\"text\":\"just you\"}"), Some("whisper")),
        message(anonymous(), text(), None),
        message(anonymous(), binary(), None),
        Push::Unsubscribed {
            channel: chat(),
            code: ErrorCode::PermissionDenied,
            reason: "your grant was taken back".into(),
        },
        Push::Expiring { in_ms: 60_000 },
        Push::Reconnect { after_ms: 1_830, reason: CloseCode::Draining },
        Push::Reconnect { after_ms: 0, reason: CloseCode::Rebalance },
    ]);
    samples.into_iter().map(Outgoing::Push).collect()
}

pub(crate) fn publications() -> Vec<Publication> {
    let of_user = Origin { info: None, ..ann() };
    vec![
        hello(),
        full(),
        Publication { from: Some(of_user), ..bare(Payload::json("{\"x\":3,\"y\":4}")) },
        Publication { event: Some("deployed".into()), ..bare(Payload::json("null")) },
        Publication { offset: Some(44), ..bare(Payload::json("{ \"kept\" :\t\"as it was written\" }")) },
        Publication { offset: Some(45), ..bare(text()) },
        Publication { offset: Some(46), ..bare(binary()) },
        Publication { offset: Some(47), ..bare(Payload::text("")) },
        Publication { offset: Some(48), ..bare(Payload::binary("")) },
        retained(49, "read:ann", "{\"upto\":38}"),
        retained(50, "read:ann", "null"),
        Publication { offset: Some(51), retain: Some("\"a key\"".into()), ..full() },
    ]
}

#[test]
fn every_reply_refusal_and_push_is_written_as_its_golden_bytes() {
    files::compare(FILES, files::messages, &samples(), file_of, |sample, message| match json(sample) {
        text if text == *message => Ok(()),
        text => Err(format!("the golden bytes are\n{message}\nand these were written:\n{text}")),
    });
}

#[test]
fn the_samples_hold_every_error_code_and_every_cause() {
    let samples = samples();
    for code in ErrorCode::ALL {
        let has = |it: &Outgoing| matches!(it, Outgoing::Refused { refusal, .. } if refusal.code == *code);
        assert!(samples.iter().any(has), "{code:?}");
    }
    for byte in 0..=u8::MAX {
        let Some(wanted) = Cause::from_byte(byte) else { continue };
        let has = |it: &Outgoing| matches!(it, Outgoing::Push(Push::Leave { cause, .. }) if *cause == wanted);
        assert!(samples.iter().any(has), "{wanted:?}");
    }
}

#[test]
fn a_live_publication_is_written_like_any_other() {
    for publication in publications() {
        let mut live = Recorder::default();
        Encoding::Json.encode_publication(&chat(), None, &publication, &mut live);
        let push = Outgoing::Push(Push::Publication { channel: chat(), publication });
        assert_eq!(live.0, [Written::Text(json(&push))]);
    }
}

#[test]
fn whether_a_publisher_wants_its_echo_and_the_stamp_stay_between_nodes() {
    let silent = Publication { echo: false, stamp: u64::MAX, ..full() };
    let text = |publication| json(&Outgoing::Push(Push::Publication { channel: chat(), publication }));
    assert_eq!(text(silent), text(full()));
}

#[test]
fn messages_become_an_array_of_the_same_bytes() {
    let golden = files::messages(ARRAY);
    assert_eq!(golden.len(), IN_ARRAY.len());
    for (files, golden) in IN_ARRAY.iter().zip(golden) {
        let objects: Vec<String> = files.iter().map(|file| files::messages(file).remove(0)).collect();
        let mut recorder = Recorder::default();
        Array::Json.write(&objects.iter().map(String::as_bytes).collect::<Vec<_>>(), &mut recorder);
        assert_eq!(recorder.0, [Written::Text(golden)]);
    }
}
