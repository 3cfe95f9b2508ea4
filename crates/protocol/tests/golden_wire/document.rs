//! PROTOCOL.md says what the code does: its examples are golden bytes, and its tables are those of the code.

use crate::samples::{chat, hello, place};
use crate::transport::{Recorder, Written};
use crate::transport::{json, read};
use crate::{commands, files, outgoing};
use protocol::channel::MAX_CHANNEL_BYTES;
use protocol::dialect::Encoding;
use protocol::dialect::events::{Id, MAX_CHANNELS, MAX_ID_BYTES, Stream, read_id};
use protocol::dialect::json::{DEFAULT_HISTORY_LIMIT, MAX_BATCH, MAX_DATA_DEPTH, MAX_NAME_BYTES};
use protocol::dialect::json::{encode_answer, encode_close, encode_opened};
use protocol::{CloseCode, ErrorCode, Outgoing, Reconnect, Refusal, Reply, WIRE_VERSION};
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../../PROTOCOL.md");

/// The lines of all fenced blocks of a language.
fn fenced(language: &str) -> Vec<&'static str> {
    let mut lines = Vec::new();
    let mut within: Option<&str> = None;
    for line in DOCUMENT.lines() {
        match (line.strip_prefix("```"), within) {
            (Some(opened), None) => within = Some(opened),
            (Some(_), Some(_)) => within = None,
            (None, Some(opened)) if opened == language => lines.push(line),
            _ => {}
        }
    }
    lines
}

/// What people type and get: the session's lines without their marks.
fn session() -> Vec<&'static str> {
    fenced("text").iter().filter_map(|line| line.strip_prefix("> ").or_else(|| line.strip_prefix("< "))).collect()
}

/// The cells of the first table under a heading, without its head and without marks of code.
fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, below) = DOCUMENT.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    let section = below.split("\n## ").next().unwrap();
    let lines = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    lines.skip(2).map(cells).collect()
}

fn cells(row: &str) -> Vec<String> {
    row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
}

fn first_cells(heading: &str) -> BTreeSet<String> {
    table(heading).into_iter().map(|row| row[0].clone()).collect()
}

fn all_goldens() -> BTreeSet<String> {
    let of_kind = [commands::FILES, outgoing::FILES, &[commands::ARRAY, outgoing::ARRAY]].concat();
    of_kind.iter().flat_map(|file| files::messages(file)).collect()
}

#[test]
fn every_example_is_golden() {
    let mut goldens = all_goldens();
    goldens.extend(of_requests());
    let examples = fenced("json");
    assert!(!examples.is_empty());
    for example in examples {
        assert!(goldens.contains(example), "{example}");
    }
}

/// What only requests are answered: the end of each kind, and that there is no such session.
fn of_requests() -> Vec<String> {
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut buffer = Vec::new();
        write(&mut buffer);
        String::from_utf8(buffer).unwrap()
    };
    let mut answers = vec![written(&|buffer| encode_answer(buffer, &Err(Refusal::unknown_session())))];
    answers.extend(CloseCode::ALL.iter().map(|code| written(&|buffer| encode_close(buffer, code.code()))));
    answers
}

#[test]
fn the_session_of_a_poll_begins_as_it_says() {
    let mut opened = Vec::new();
    encode_opened(&mut opened, "n1.a.7.c0ffee…", 25_000);
    let expected = format!("\n[{},{{\"type\":\"welcome\",…}}]\n", String::from_utf8(opened).unwrap());
    assert!(DOCUMENT.contains(&expected), "{expected}");
}

#[test]
fn the_stream_of_events_is_as_it_says() {
    let Some(Id::Places(known)) = read_id("EEcQxS.0.k3Zq") else { panic!("an id") };
    let mut stream = Stream::new(&[chat()], &known);
    let missed = Reply::Subscribed {
        channel: chat(),
        position: Some(place(1)),
        recovered: true,
        publications: vec![hello()],
        state: vec![],
        members: None,
    };
    let mut recorder = Recorder::default();
    Encoding::Events.encode(&Outgoing::Reply { id: 0, reply: missed }, &mut recorder);
    let mut out = Vec::new();
    for written in recorder.0 {
        let Written::Text(text) = written else { panic!("{written:?}") };
        stream.write(text.as_bytes(), &mut out);
    }
    let text = String::from_utf8(out).unwrap();
    assert!(DOCUMENT.contains(&format!("\n\n{text}```")), "{text}");
    assert!(DOCUMENT.contains(&format!("at most {MAX_CHANNELS} and")));
    assert!(DOCUMENT.contains(&format!("at most {MAX_ID_BYTES} bytes")));
}

#[test]
fn the_session_is_golden_but_for_what_is_no_command_and_that_is_refused_as_it_says() {
    let goldens = all_goldens();
    let (golden, other): (Vec<&str>, Vec<&str>) = session().iter().partition(|line| goldens.contains(**line));
    assert_eq!((golden.len() > 7, other), (true, vec!["hello"]));
    let refused = read("hello").remove(0).unwrap_err();
    let answer = json(&Outgoing::Refused { id: refused.id, refusal: refused.refusal });
    assert_eq!(session().last(), Some(&answer.as_str()));
}

#[test]
fn every_kind_of_message_has_its_example() {
    let examples: BTreeSet<&str> = fenced("json").into_iter().collect();
    for file in commands::FILES.iter().chain(outgoing::FILES) {
        assert!(files::messages(file).iter().any(|message| examples.contains(message.as_str())), "{file}");
    }
}

#[test]
fn the_tables_of_messages_list_exactly_the_types_there_are() {
    let types = |files: &[&'static str], prefix: &str| -> BTreeSet<String> {
        let type_of = |file: &&'static str| Some(file.strip_prefix(prefix)?.strip_suffix(".jsonl")?.to_owned());
        files.iter().filter_map(type_of).collect()
    };
    assert_eq!(first_cells("Commands"), types(commands::FILES, "command-"));
    let mut replies = types(outgoing::FILES, "reply-");
    replies.insert("error".into());
    assert_eq!(first_cells("Replies"), replies);
    assert_eq!(first_cells("Pushes"), types(outgoing::FILES, "push-"));
}

#[test]
fn every_field_of_a_golden_message_is_in_its_row() {
    for (heading, prefix, files) in [
        ("Commands", "command-", commands::FILES),
        ("Replies", "reply-", outgoing::FILES),
        ("Replies", "", &["error.jsonl"]),
        ("Pushes", "push-", outgoing::FILES),
    ] {
        for row in table(heading) {
            let file = format!("{prefix}{}.jsonl", row[0]);
            if !files.contains(&file.as_str()) {
                continue;
            }
            let named: BTreeSet<&str> =
                row[1].split([',', ' ', ':']).map(|word| word.trim_end_matches(['?', '.'])).collect();
            for message in crate::files::messages(&file) {
                let message: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&message).unwrap();
                for field in message.keys().filter(|field| *field != "type") {
                    assert!(
                        named.contains(field.as_str()) || (heading == "Commands" && field == "id"),
                        "{file}: {field}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_table_of_errors_is_that_of_the_code() {
    let documented: Vec<(String, String)> =
        table("Errors").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let temporary = |code: &ErrorCode| if code.temporary() { "yes" } else { "no" };
    let codes: Vec<(String, String)> =
        ErrorCode::ALL.iter().map(|code| (code.as_str().into(), temporary(code).into())).collect();
    assert_eq!(documented, codes);
}

#[test]
fn the_table_of_closes_is_that_of_the_code() {
    let documented: Vec<Vec<String>> = table("Closes").into_iter().map(|row| row[..3].to_vec()).collect();
    let advice = |code: &CloseCode| match code.reconnect() {
        Reconnect::Never => "never",
        Reconnect::Backoff => "backoff",
        Reconnect::WhenTold => "when told",
    };
    let codes: Vec<Vec<String>> = CloseCode::ALL
        .iter()
        .map(|code| vec![code.code().to_string(), code.reason().into(), advice(code).into()])
        .collect();
    assert_eq!(documented, codes);
}

#[test]
fn the_closes_of_the_raw_relay_are_those_of_the_code() {
    let documented = table("The raw relay");
    let row_of = |word: &str| documented.iter().find(|row| row[0].split(", ").any(|listed| listed == word));
    for code in ErrorCode::ALL {
        let row = row_of(code.as_str()).or_else(|| row_of("any other error")).unwrap();
        assert_eq!(row[1], crate::raw::close_of(*code).code().to_string(), "{code:?}");
    }
    assert_eq!(row_of("gap").unwrap()[1], CloseCode::Gap.code().to_string());
}

#[test]
fn the_limits_are_those_of_the_code() {
    let at_most: Vec<String> = table("Limits").into_iter().map(|row| row[1].clone()).collect();
    let limits = [MAX_BATCH, MAX_DATA_DEPTH, MAX_CHANNEL_BYTES, MAX_NAME_BYTES, DEFAULT_HISTORY_LIMIT as usize];
    let limits: Vec<String> = limits.iter().map(usize::to_string).collect();
    assert_eq!(at_most[..limits.len()], limits);
    assert!(DOCUMENT.starts_with(&format!("# The native wire, version {WIRE_VERSION}\n")));
}
