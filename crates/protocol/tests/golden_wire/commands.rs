//! Every command, read from its golden bytes.

use crate::files::{self, golden_files};
use crate::transport::read;
use protocol::dialect::json::DEFAULT_HISTORY_LIMIT;
use protocol::{Channel, Command, History, Payload, Position, Publish, Request, Send, Since, Subscribe};

golden_files! { Command:
    Command::Auth { .. } => "command-auth.jsonl",
    Command::Subscribe(_) => "command-subscribe.jsonl",
    Command::Unsubscribe { .. } => "command-unsubscribe.jsonl",
    Command::Publish(_) => "command-publish.jsonl",
    Command::Send(_) => "command-send.jsonl",
    Command::Presence { .. } => "command-presence.jsonl",
    Command::History(_) => "command-history.jsonl",
    Command::Ping => "command-ping.jsonl",
}

/// Several commands in one message.
pub(crate) const ARRAY: &str = "commands-in-an-array.jsonl";

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn subscribe(name: &str) -> Subscribe {
    Subscribe { channel: channel(name), recover: None, members: false, state: true, token: None }
}

fn publish(name: &str, data: &'static str) -> Publish {
    let data = Payload::json(data);
    Publish { channel: channel(name), data, event: None, key: None, retain: None, volatile: false, echo: true }
}

fn history(name: &str) -> History {
    History { channel: channel(name), limit: DEFAULT_HISTORY_LIMIT, since: None, reverse: false }
}

pub(crate) fn samples() -> Vec<Request> {
    let mut samples = Vec::new();
    let mut add = |id: Option<u64>, command| samples.push(Request { id, command });
    let token = || "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl".to_owned();
    let place = || Position { epoch: "k3Zq".into(), offset: 41 };

    add(Some(1), Command::Auth { token: token() });
    add(None, Command::Auth { token: token() });

    add(Some(1), Command::Subscribe(subscribe("chat")));
    add(None, Command::Subscribe(subscribe("chat")));
    add(Some(2), Command::Subscribe(Subscribe { recover: Some(place()), ..subscribe("chat") }));
    add(Some(3), Command::Subscribe(Subscribe { members: true, ..subscribe("chat") }));
    add(
        Some(4),
        Command::Subscribe(Subscribe { recover: Some(place()), members: true, ..subscribe("räksmörgås/\"42\"") }),
    );
    add(Some(6), Command::Subscribe(Subscribe { state: false, ..subscribe("chat") }));
    add(None, Command::Subscribe(Subscribe { members: true, state: false, ..subscribe("chat") }));
    add(Some(21), Command::Subscribe(Subscribe { token: Some(token()), ..subscribe("chat") }));

    add(Some(5), Command::Unsubscribe { channel: channel("chat") });
    add(None, Command::Unsubscribe { channel: channel("chat") });

    add(Some(2), Command::Publish(publish("chat", "\"hello\"")));
    add(None, Command::Publish(publish("chat", "{\"text\":\"hello\",\"at\":[1,2.5,-3e2,true,false,null]}")));
    add(Some(6), Command::Publish(publish("chat", "null")));
    add(Some(7), Command::Publish(publish("chat", "{ \"kept\" :\t\"as it was written\" }")));
    let named = |p: Publish| Publish { event: Some("message".into()), key: Some("8c1f2b60".into()), ..p };
    add(Some(8), Command::Publish(named(publish("chat", "{\"text\":\"hello\"}"))));
    add(Some(9), Command::Publish(Publish { volatile: true, echo: false, ..publish("cursors", "{\"x\":3,\"y\":4}") }));
    add(None, Command::Publish(Publish { volatile: true, echo: false, ..named(publish("cursors", "0")) }));

    let retained = |p: Publish| Publish { retain: Some("read:ann".into()), ..p };
    add(Some(19), Command::Publish(retained(publish("chat", "{\"upto\":38}"))));
    add(Some(20), Command::Publish(retained(publish("chat", "null"))));
    add(None, Command::Publish(Publish { echo: false, ..named(retained(publish("chat", "1"))) }));

    let send = |data, event| Send { to: "n1.a.7".into(), data: Payload::json(data), event };
    add(Some(10), Command::Send(send("{\"text\":\"just you\"}", None)));
    add(None, Command::Send(send("[]", Some("whisper".into()))));

    add(Some(11), Command::Presence { channel: channel("chat"), count_only: false });
    add(Some(12), Command::Presence { channel: channel("chat"), count_only: true });
    add(None, Command::Presence { channel: channel("chat"), count_only: false });

    add(Some(13), Command::History(history("chat")));
    let since = |epoch: Option<&str>| Some(Since { epoch: epoch.map(Into::into), offset: 41 });
    add(Some(14), Command::History(History { limit: 10, since: since(None), ..history("chat") }));
    add(Some(15), Command::History(History { limit: 10, since: since(Some("k3Zq")), ..history("chat") }));
    add(None, Command::History(History { limit: 1, reverse: true, ..history("chat") }));

    add(Some(16), Command::Ping);
    add(None, Command::Ping);
    add(Some(u64::MAX), Command::Ping);
    samples
}

#[test]
fn every_command_is_read_from_its_golden_bytes() {
    files::compare(
        FILES,
        files::messages,
        &samples(),
        |sample| file_of(&sample.command),
        |sample, message| match read(message).as_slice() {
            [Ok(request)] if request == sample => Ok(()),
            other => Err(format!("{message}\n  is read as {other:?}\n  and not as {sample:?}")),
        },
    );
}

#[test]
fn a_golden_file_of_commands_holds_the_type_it_is_named_after() {
    for sample in samples() {
        assert_eq!(file_of(&sample.command), format!("command-{}.jsonl", sample.command.name()));
    }
}

#[test]
fn the_commands_of_an_array_are_read_in_order() {
    let expected = [
        Request { id: Some(1), command: Command::Subscribe(subscribe("chat")) },
        Request { id: Some(2), command: Command::Publish(publish("chat", "\"hello\"")) },
        Request { id: None, command: Command::Ping },
    ];
    let messages = files::messages(ARRAY);
    assert_eq!(messages.len(), 1);
    let requests: Vec<Request> = read(&messages[0]).into_iter().map(Result::unwrap).collect();
    assert_eq!(requests, expected);
}
