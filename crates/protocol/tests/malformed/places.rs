//! Where commands go: channel names, and positions in a channel.

use crate::{accepted, refused};
use protocol::{Command, History, Subscribe};

#[test]
fn a_channel_name_is_checked_in_every_command_that_has_one() {
    let long = "x".repeat(4096);
    let words = "a channel name has no control characters, white space, commas, braces or `*`";
    for (name, expected) in [
        ("", "a channel name is at least 1 byte long"),
        (&*long, "a channel name is at most 255 bytes long"),
        ("@control", "channel names beginning with `@` or `$` are reserved"),
        ("$node", "channel names beginning with `@` or `$` are reserved"),
        ("\\u0040control", "channel names beginning with `@` or `$` are reserved"),
        ("a\\r\\nb", words),
        ("a\\u0000b", words),
        ("a\\u0085b", words),
        ("a\u{2028}b", words),
        ("a b", words),
        ("a,b", words),
        ("{a}", words),
        ("*", words),
        ("news:*", words),
    ] {
        for kind in ["subscribe", "unsubscribe", "publish", "presence", "history"] {
            let message = format!("{{\"type\":\"{kind}\",\"channel\":\"{name}\",\"data\":1,\"id\":7}}");
            assert_eq!(refused(&message), (Some(7), expected.into()), "{name}");
        }
    }
}

#[test]
fn a_channel_name_is_the_same_however_it_is_escaped() {
    let plain = accepted("{\"type\":\"unsubscribe\",\"channel\":\"caf\u{e9}/1\"}");
    assert_eq!(accepted("{\"type\":\"unsubscribe\",\"channel\":\"\\u0063af\\u00e9\\/1\"}"), plain);
}

#[test]
fn half_a_character_is_not_a_channel_name() {
    let (id, words) = refused("{\"type\":\"subscribe\",\"channel\":\"a\\ud800\",\"id\":7}");
    assert_eq!(id, Some(7));
    assert!(words.starts_with("`channel` is not a well-formed string: "), "{words}");
}

const RECOVER: &str = "`recover` is an object with `epoch`, a string, and `offset`, a whole number";

#[test]
fn a_place_to_recover_from_is_an_epoch_and_an_offset() {
    for wrong in [
        "7",
        "\"e\"",
        "true",
        "[]",
        "[\"e\",7]",
        "{}",
        "{\"epoch\":\"e\"}",
        "{\"offset\":7}",
        "{\"epoch\":null,\"offset\":7}",
        "{\"epoch\":\"e\",\"offset\":null}",
        "{\"epoch\":\"e\",\"offset\":7,\"offset\":8}",
    ] {
        let message = format!("{{\"type\":\"subscribe\",\"channel\":\"a\",\"recover\":{wrong},\"id\":7}}");
        assert_eq!(refused(&message), (Some(7), RECOVER.into()), "{wrong}");
    }
    for (wrong, words) in [
        ("{\"epoch\":1,\"offset\":7}", "`epoch` is a string"),
        ("{\"epoch\":\"e\",\"offset\":-1}", "`offset` is a whole number from 0 to 18446744073709551615"),
        ("{\"epoch\":\"e\",\"offset\":\"7\"}", "`offset` is a whole number from 0 to 18446744073709551615"),
        ("{\"epoch\":\"e\",\"offset\":1.5}", "`offset` is a whole number from 0 to 18446744073709551615"),
    ] {
        let message = format!("{{\"type\":\"subscribe\",\"channel\":\"a\",\"recover\":{wrong},\"id\":7}}");
        assert_eq!(refused(&message), (Some(7), words.into()), "{wrong}");
    }
}

#[test]
fn recovering_from_null_is_a_fresh_subscription() {
    let Command::Subscribe(Subscribe { recover, .. }) =
        accepted("{\"type\":\"subscribe\",\"channel\":\"a\",\"recover\":null}").command
    else {
        panic!()
    };
    assert_eq!(recover, None);
}

#[test]
fn nothing_is_recovered_without_an_id_because_the_answer_brings_what_was_missed() {
    let message = "{\"type\":\"subscribe\",\"channel\":\"a\",\"recover\":{\"epoch\":\"e\",\"offset\":7}}";
    assert_eq!(refused(message), (None, "`recover` needs an `id`: what was missed comes in the answer".into()));
}

#[test]
fn history_begins_at_an_offset_or_at_a_place() {
    for wrong in ["-1", "1.5", "\"7\"", "true", "[\"e\",7]", "[7]"] {
        let message = format!("{{\"type\":\"history\",\"channel\":\"a\",\"since\":{wrong},\"id\":7}}");
        let (id, words) = refused(&message);
        assert_eq!(id, Some(7));
        assert!(words.starts_with("`since` is a whole number") && words.contains("or an object"), "{words}");
    }
    for wrong in ["{}", "{\"offset\":7}", "{\"epoch\":\"e\"}"] {
        let message = format!("{{\"type\":\"history\",\"channel\":\"a\",\"since\":{wrong},\"id\":7}}");
        assert_eq!(refused(&message), (Some(7), RECOVER.replace("recover", "since")));
    }
    let since = |written: &str| {
        let message = format!("{{\"type\":\"history\",\"channel\":\"a\",\"since\":{written}}}");
        let Command::History(History { since, .. }) = accepted(&message).command else { panic!() };
        since.map(|since| (since.epoch.map(|epoch| epoch.to_string()), since.offset))
    };
    assert_eq!(since("0"), Some((None, 0)));
    assert_eq!(since("{\"offset\":7,\"later\":[],\"epoch\":\"\\u0065\"}"), Some((Some("e".into()), 7)));
    assert_eq!(since("null"), None);
}
