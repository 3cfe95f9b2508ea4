//! Whole messages that are not commands.

use crate::transport::read;
use crate::{accepted, refused};
use protocol::dialect::{Dialect, Incoming};
use protocol::{Command, Request};

const PING: Request = Request { id: Some(7), command: Command::Ping };

#[test]
fn what_is_not_json_earns_a_bad_request() {
    for message in [
        "",
        " \r\n\t",
        "hello",
        "NaN",
        "{",
        "}",
        "[",
        "{\"type\":\"ping\",\"id\":7",
        "{\"type\":\"ping\",\"id\":7,}",
        "{'type':'ping','id':7}",
        "{type:\"ping\",id:7}",
        "{\"type\":\"ping\",\"id\":7} and more",
        "{\"type\":\"ping\",\"id\":7}{\"type\":\"ping\",\"id\":8}",
        "{\"type\":\"ping\",\"id\":7}\0",
        "{\"type\":\"pi\nng\",\"id\":7}",
        "{\"type\":\"pi\\xng\",\"id\":7}",
        "{\"type\":\"ping\",\"id\":007}",
        "{\"type\":\"ping\",\"id\":+7}",
        "{\"type\":\"ping\",\"id\":7,\"x\":tru}",
        "\u{feff}{\"type\":\"ping\",\"id\":7}",
        "\u{a0}{\"type\":\"ping\",\"id\":7}",
        "{\"\\ud800\":1,\"type\":\"ping\",\"id\":7}",
    ] {
        assert_eq!(refused(message).0, None, "{message:?}");
    }
    assert!(refused("{\"type\":\"ping\"").1.starts_with("not JSON: "));
}

#[test]
fn json_that_is_no_object_is_told_what_a_command_looks_like() {
    for message in ["5", "\"ping\"", "null", "true", "-0.5e9"] {
        assert_eq!(refused(message), (None, "a command is a JSON object such as {\"type\":\"ping\"}".into()));
    }
}

#[test]
fn the_values_of_a_command_without_their_names_are_not_a_command() {
    let values = "[\"ping\",7,null,null,null,null,null,null,null,null,null,null,null,null,null,null,null]";
    for message in [format!("[{values}]"), "[[\"ping\",7]]".into(), "[[7]]".into()] {
        assert_eq!(refused(&message).0, None);
    }
}

#[test]
fn a_binary_message_earns_a_bad_request_even_if_it_holds_json() {
    for message in [b"".as_slice(), b"{\"type\":\"ping\",\"id\":7}", &[0xff, 0x00]] {
        let mut results = Vec::new();
        Dialect::Json.decode(Incoming::Binary(message), &mut |result| results.push(result));
        let [Err(malformed)] = results.as_slice() else { panic!("{results:?}") };
        assert_eq!(malformed.id, None);
        assert!(malformed.refusal.message.contains("text messages"), "{}", malformed.refusal.message);
    }
}

#[test]
fn a_hundred_thousand_brackets_earn_one_bad_request() {
    let deep = |open: &str, middle: &str, close: &str| open.repeat(100_000) + middle + &close.repeat(100_000);
    for message in [
        deep("[", "", ""),
        deep("[", "", "]"),
        deep("[", "1", "]"),
        deep("{", "", ""),
        deep("{\"a\":", "1", "}"),
        deep("[{\"a\":", "1", "}]"),
        deep("", "", "]"),
    ] {
        assert_eq!(refused(&message).0, None);
    }
}

#[test]
fn a_hundred_thousand_brackets_in_a_field_that_nobody_reads_are_passed_over() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert_eq!(accepted(&format!("{{\"type\":\"ping\",\"id\":7,\"later\":{deep}}}")), PING);
}

#[test]
fn white_space_and_escapes_change_nothing() {
    assert_eq!(accepted(" \r\n\t{ \"type\" :\n\"ping\" , \"id\" : 7 } \r\n"), PING);
    assert_eq!(accepted("{\"\\u0074ype\":\"\\u0070ing\",\"\\u0069d\":7}"), PING);
}

#[test]
fn a_command_without_a_type_is_told_the_types() {
    for message in ["{\"id\":7}", "{\"id\":7,\"type\":null}", "{\"Type\":\"ping\",\"id\":7}"] {
        let (id, words) = refused(message);
        assert_eq!(id, Some(7));
        assert!(words.contains("has a `type`") && words.contains("presence, history, ping"), "{words}");
    }
    assert_eq!(refused("{}").0, None);
}

#[test]
fn a_type_that_is_no_string_is_refused() {
    for kind in ["1", "true", "[\"ping\"]", "{\"ping\":1}"] {
        assert_eq!(refused(&format!("{{\"type\":{kind},\"id\":7}}")), (Some(7), "`type` is a string".into()));
    }
}

#[test]
fn an_unknown_type_is_repeated_as_far_as_it_is_short() {
    for kind in ["", "Ping", "ping ", "subscribed", "welcome", "räksmörgås"] {
        let (id, words) = refused(&format!("{{\"type\":\"{kind}\",\"id\":7}}"));
        assert_eq!(id, Some(7));
        assert!(words.starts_with(&format!("unknown type `{kind}`: one of auth, ")), "{words}");
    }
    let (_, words) = refused(&format!("{{\"type\":\"{}\"}}", "ö".repeat(10_000)));
    assert!(words.contains(&format!("`{}`", "ö".repeat(100))), "{words}");
}

#[test]
fn a_field_given_twice_is_refused_whatever_it_says() {
    for (message, id) in [
        ("{\"type\":\"ping\",\"type\":\"ping\",\"id\":7}", Some(7)),
        ("{\"id\":7,\"type\":\"publish\",\"channel\":\"a\",\"data\":1,\"data\":1}", Some(7)),
        ("{\"id\":7,\"type\":\"ping\",\"echo\":null,\"echo\":null}", Some(7)),
        ("{\"type\":\"ping\",\"id\":7,\"id\":7}", None),
        ("{\"type\":\"ping\",\"id\":7,\"\\u0069d\":8}", None),
    ] {
        let (answered, words) = refused(message);
        assert_eq!(answered, id, "{message}");
        assert!(words.starts_with("duplicate field `"), "{words}");
    }
}

#[test]
fn fields_that_the_command_does_not_have_are_passed_over() {
    let message =
        "{\"type\":\"ping\",\"id\":7,\"channel\":5,\"limit\":\"x\",\"data\":[],\"retain\":\"k\",\"new\":1,\"new\":2}";
    assert_eq!(read(message), [Ok(PING)]);
}
