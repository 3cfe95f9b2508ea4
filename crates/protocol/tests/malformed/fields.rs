//! Fields that are missing, of the wrong shape, or out of bounds.

use crate::{accepted, refused};
use protocol::dialect::json::MAX_NAME_BYTES;
use protocol::{Command, Send};

#[test]
fn a_command_names_the_field_it_needs() {
    for (command, missing) in [
        ("\"type\":\"auth\"", "`auth` needs `token`"),
        ("\"type\":\"subscribe\"", "`subscribe` needs `channel`"),
        ("\"type\":\"unsubscribe\"", "`unsubscribe` needs `channel`"),
        ("\"type\":\"publish\",\"data\":1", "`publish` needs `channel`"),
        ("\"type\":\"publish\",\"channel\":\"a\"", "`publish` needs `data`"),
        ("\"type\":\"send\",\"data\":1", "`send` needs `to`"),
        ("\"type\":\"send\",\"to\":\"n1.a.7\"", "`send` needs `data`"),
        ("\"type\":\"presence\"", "`presence` needs `channel`"),
        ("\"type\":\"history\"", "`history` needs `channel`"),
        ("\"type\":\"history\",\"channel\":null", "`history` needs `channel`"),
    ] {
        assert_eq!(refused(&format!("{{\"id\":7,{command}}}")), (Some(7), missing.into()));
    }
}

#[test]
fn a_string_is_nothing_but_a_string() {
    for (kind, field) in [
        ("\"auth\"", "token"),
        ("\"subscribe\"", "channel"),
        ("\"publish\",\"channel\":\"a\",\"data\":1", "event"),
        ("\"publish\",\"channel\":\"a\",\"data\":1", "key"),
        ("\"publish\",\"channel\":\"a\",\"data\":1", "retain"),
        ("\"send\",\"data\":1", "to"),
        ("\"send\",\"to\":\"x\",\"data\":1", "event"),
    ] {
        for wrong in ["5", "true", "[\"a\"]", "{\"a\":\"a\"}"] {
            let message = format!("{{\"type\":{kind},\"{field}\":{wrong},\"id\":7}}");
            assert_eq!(refused(&message), (Some(7), format!("`{field}` is a string")));
        }
    }
}

#[test]
fn a_flag_is_true_or_false_and_null_is_as_if_it_were_absent() {
    for (kind, flags) in [
        ("subscribe", ["members", "state"].as_slice()),
        ("publish", &["volatile", "echo"]),
        ("presence", &["count_only"]),
        ("history", &["reverse"]),
    ] {
        let message = |flag: &str| format!("{{\"type\":\"{kind}\",\"channel\":\"a\",\"data\":1,\"id\":7{flag}}}");
        for flag in flags {
            for wrong in ["0", "1", "\"true\"", "[]", "{}"] {
                let wrong = message(&format!(",\"{flag}\":{wrong}"));
                assert_eq!(refused(&wrong), (Some(7), format!("`{flag}` is true or false")));
            }
            assert_eq!(accepted(&message(&format!(",\"{flag}\":null"))), accepted(&message("")));
            let given = ["true", "false"].map(|value| accepted(&message(&format!(",\"{flag}\":{value}"))));
            assert_ne!(given[0], given[1]);
        }
    }
}

#[test]
fn a_limit_is_a_whole_number_of_32_bits() {
    for wrong in ["-1", "1.5", "\"10\"", "4294967296", "true", "[]"] {
        let message = format!("{{\"type\":\"history\",\"channel\":\"a\",\"limit\":{wrong},\"id\":7}}");
        assert_eq!(refused(&message), (Some(7), "`limit` is a whole number from 0 to 4294967295".into()));
    }
}

#[test]
fn events_and_keys_are_1_to_255_bytes_long() {
    assert_eq!(MAX_NAME_BYTES, 255);
    for field in ["event", "key", "retain"] {
        let message = |value: &str| {
            format!("{{\"type\":\"publish\",\"channel\":\"a\",\"data\":1,\"id\":7,\"{field}\":\"{value}\"}}")
        };
        for wrong in [String::new(), "x".repeat(256), "é".repeat(128), "\\u00e9".repeat(128)] {
            assert_eq!(refused(&message(&wrong)), (Some(7), format!("`{field}` is 1 to 255 bytes long")));
        }
        for right in ["x".repeat(255), "\\u0078".repeat(255), "é".repeat(127), "\\u0000".into()] {
            assert_eq!(accepted(&message(&right)).id, Some(7));
        }
    }
}

#[test]
fn a_key_to_retain_under_may_be_null_and_that_is_as_if_it_were_absent() {
    let message = |retain: &str| format!("{{\"type\":\"publish\",\"channel\":\"a\",\"data\":1,\"id\":7{retain}}}");
    assert_eq!(accepted(&message(",\"retain\":null")), accepted(&message("")));
    assert_ne!(accepted(&message(",\"retain\":\"null\"")), accepted(&message("")));
}

#[test]
fn escapes_in_strings_are_read_as_the_characters_they_stand_for() {
    let Command::Send(Send { to, event, .. }) = accepted(
        "{\"type\":\"send\",\"to\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"event\":\"\\u00e9\\ud83e\\udd80\",\"data\":1}",
    )
    .command
    else {
        panic!()
    };
    assert_eq!(to, "\"\\/\u{8}\u{c}\n\r\t");
    assert_eq!(event.as_deref(), Some("é🦀"));
}

#[test]
fn half_a_character_is_not_a_string() {
    for half in ["\\ud800", "\\udc00", "\\ud800x", "\\ud800\\n", "\\ud800\\ud800", "\\udc00\\ud800"] {
        let (id, words) = refused(&format!("{{\"type\":\"auth\",\"token\":\"{half}\",\"id\":7}}"));
        assert_eq!(id, Some(7), "{half}");
        assert!(words.starts_with("`token` is not a well-formed string: "), "{words}");
    }
}
