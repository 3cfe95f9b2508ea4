//! The golden messages in MessagePack, as another encoder has written them: the same messages as in JSON.

use crate::samples::chat;
use crate::transport::{Recorder, Written, msgpack, read_msgpack};
use crate::{commands, files, outgoing};
use protocol::dialect::{Array, Dialect, Encoding, Incoming};
use protocol::{Command, Content, ErrorCode, Outgoing, Payload, Push, Request};
use serde_json::Value;

#[test]
fn every_reply_refusal_and_push_is_written_as_its_golden_bytes() {
    files::compare(
        outgoing::FILES,
        files::msgpack_messages,
        &outgoing::samples(),
        outgoing::file_of,
        |sample, golden| {
            let written = msgpack(sample);
            if written == *golden {
                Ok(())
            } else {
                Err(format!("{golden:x?}\n  and these were written:\n{written:x?}"))
            }
        },
    );
}

#[test]
fn every_command_is_read_from_its_golden_bytes() {
    files::compare(
        commands::FILES,
        files::msgpack_messages,
        &commands::samples(),
        |sample| commands::file_of(&sample.command),
        |sample, golden| match read_msgpack(golden).remove(0) {
            Ok(request) if plain(request.clone()) == plain(sample.clone()) => Ok(()),
            other => Err(format!("it is read as {other:?}\n  and not as {sample:?}")),
        },
    );
}

/// As JSON is usually written: MessagePack does not know of spaces, nor of `3e2` beside `300.0`.
fn plain(mut request: Request) -> Request {
    if let Command::Publish(protocol::Publish { data, .. }) | Command::Send(protocol::Send { data, .. }) =
        &mut request.command
    {
        assert_eq!(data.content, Content::Json);
        let value: Value = serde_json::from_slice(&data.bytes).unwrap();
        *data = Payload::json(value.to_string());
    }
    request
}

#[test]
fn the_commands_of_an_array_are_read_in_order() {
    let in_json: Vec<Request> = crate::transport::read(&files::messages(commands::ARRAY)[0])
        .into_iter()
        .map(|request| plain(request.unwrap()))
        .collect();
    let golden = files::msgpack_messages(commands::ARRAY);
    let read: Vec<Request> = read_msgpack(&golden[0]).into_iter().map(|request| plain(request.unwrap())).collect();
    assert_eq!(read, in_json);
}

#[test]
fn messages_become_an_array_of_the_same_bytes() {
    let golden = files::msgpack_messages(outgoing::ARRAY);
    assert_eq!(golden.len(), outgoing::IN_ARRAY.len());
    for (files, golden) in outgoing::IN_ARRAY.iter().zip(golden) {
        let objects: Vec<_> = files.iter().map(|file| files::msgpack_messages(file).remove(0)).collect();
        let mut recorder = Recorder::default();
        Array::Msgpack.write(&objects.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut recorder);
        assert_eq!(recorder.0, [Written::Binary(golden)]);
    }
}

#[test]
fn a_live_publication_is_written_like_any_other() {
    for publication in outgoing::publications() {
        let mut live = Recorder::default();
        Encoding::Msgpack.encode_publication(&chat(), None, &publication, &mut live);
        let push = Outgoing::Push(Push::Publication { channel: chat(), publication });
        assert_eq!(live.0, [Written::Binary(msgpack(&push))]);
    }
}

#[test]
fn each_dialect_of_the_native_words_refuses_the_messages_of_the_other() {
    let refused = |dialect: Dialect, message| {
        let mut results = Vec::new();
        dialect.decode(message, &mut |result| results.push(result.unwrap_err()));
        assert_eq!((results.len(), results[0].id, results[0].refusal.code), (1, None, ErrorCode::BadRequest));
        results.remove(0).refusal.message
    };
    let to_json = refused(Dialect::Json, Incoming::Binary(b"{\"type\":\"ping\",\"id\":7}"));
    assert_eq!(to_json, "this dialect speaks JSON in text messages, not binary ones");
    let to_msgpack = refused(Dialect::Msgpack, Incoming::Text("{\"type\":\"ping\",\"id\":7}"));
    assert_eq!(to_msgpack, "this dialect speaks MessagePack in binary messages, not text ones");
}

#[test]
fn a_subprotocol_names_its_dialect_and_a_raw_relay_is_none_of_the_native_ones() {
    let named = |name| Dialect::native(name).map(|dialect| dialect.name());
    assert_eq!(named("gateway.v1.json"), Some("json"));
    assert_eq!(named("gateway.v1.msgpack"), Some("msgpack"));
    assert_eq!((named("gateway.v1.raw"), named("gateway.v2.json")), (None, None));
}
