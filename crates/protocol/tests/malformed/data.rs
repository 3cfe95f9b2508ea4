//! Payloads: any JSON that other clients can read, and nothing that would spoil their messages.

use crate::{published, refused};
use protocol::Payload;
use protocol::dialect::json::MAX_DATA_DEPTH;

fn publish(data: &str) -> String {
    format!("{{\"type\":\"publish\",\"channel\":\"a\",\"id\":7,\"data\":{data}}}")
}

fn nested(open: &str, depth: usize, close: &str) -> String {
    open.repeat(depth) + "1" + &close.repeat(depth)
}

#[test]
fn null_is_a_payload_and_absence_is_none() {
    assert_eq!(published(&publish("null")), Payload::json("null"));
    assert_eq!(
        refused("{\"type\":\"publish\",\"channel\":\"a\",\"id\":7}"),
        (Some(7), "`publish` needs `data`".into())
    );
}

#[test]
fn every_json_value_travels_as_it_was_written() {
    for data in [
        "\"\"",
        "0",
        "-0",
        "1.50",
        "1e-7",
        "1E+2",
        "false",
        "[ ]",
        "{ }",
        "{\"a\":1,\"a\":2}",
        "[1 ,\n2\t]",
        "\"\\u0041\\/\\n\\u2028é🦀\"",
        "\"\\ud83e\\udd80\"",
        "123456789012345678901234567890",
        "0.1000000000000000055511151231257827021181583404541015625",
    ] {
        assert_eq!(published(&publish(data)), Payload::json(data.as_bytes().to_vec()));
    }
}

#[test]
fn white_space_around_a_payload_is_not_part_of_it() {
    assert_eq!(published(&publish(" \r\n\t[1] \n")), Payload::json("[1]"));
}

#[test]
fn a_payload_may_be_nested_100_levels_deep_and_not_101() {
    assert_eq!(MAX_DATA_DEPTH, 100);
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[ ", " ]")] {
        let fits = nested(open, 100, close);
        assert_eq!(published(&publish(&fits)), Payload::json(fits));
        let words = "`data` is nested deeper than 100 levels".to_owned();
        assert_eq!(refused(&publish(&nested(open, 101, close))), (Some(7), words.clone()));
        assert_eq!(refused(&publish(&nested(open, 100_000, close))), (Some(7), words));
    }
}

#[test]
fn brackets_beside_one_another_or_in_strings_are_not_nested() {
    let beside = format!("[{}]", vec!["[{}]"; 1_000].join(","));
    let in_string = format!("\"{}\"", "[{\\\"".repeat(1_000));
    let in_name = format!("{{\"{}\\\\\":1}}", "[".repeat(1_000));
    for data in [beside, in_string, in_name] {
        assert_eq!(published(&publish(&data)), Payload::json(data));
    }
    let after_a_string = format!("[\"\\\\\",{}]", nested("[", 100, "]"));
    assert_eq!(refused(&publish(&after_a_string)).0, Some(7));
}

#[test]
fn half_a_character_is_refused_because_many_parsers_would_refuse_the_message_it_travels_in() {
    for data in [
        "\"\\ud800\"",
        "\"\\uDC00\"",
        "\"\\ud800\\ud800\"",
        "\"\\ud83ex\\udd80\"",
        "{\"deep\":[{\"x\":\"ok \\udfff\"}]}",
        "{\"\\ud800\":1}",
        "[\"\\ud83e\\udd80\",\"\\ud83e\"]",
    ] {
        let (id, words) = refused(&publish(data));
        assert_eq!(id, Some(7), "{data}");
        assert!(words.starts_with("`data` cannot be read by every JSON parser: "), "{words}");
    }
}

#[test]
fn what_only_looks_like_half_a_character_is_taken() {
    for data in ["\"\\\\ud800\"", "\"ud800\"", "{\"u\":\"\\u00d8\"}"] {
        assert_eq!(published(&publish(data)), Payload::json(data.as_bytes().to_vec()));
    }
}

#[test]
fn a_number_that_no_double_can_hold_is_refused() {
    let long = format!("[{}]", "9".repeat(310));
    for data in ["1e309", "-1E+400", "[1.5e400]", "{\"a\":0.1e999999999999}", &long] {
        let (id, words) = refused(&publish(data));
        assert_eq!(id, Some(7), "{data}");
        assert!(words.contains("number out of range"), "{words}");
    }
    let many_digits = format!("0.{}", "3".repeat(1_000));
    for data in ["1.7976931348623157e308", "1e-999", "\"1e999\"", "{\"1e999\":true}", &"9".repeat(308), &many_digits] {
        assert_eq!(published(&publish(data)), Payload::json(data.as_bytes().to_vec()));
    }
}

#[test]
fn a_payload_that_is_not_json_is_refused_with_its_message() {
    for data in ["undefined", "NaN", "'a'", "[1,]", "{\"a\"}", "01", ".5", "\"\t\"", "\"\\x\"", "\"\\u12\"", ""] {
        assert_eq!(refused(&publish(data)).0, None, "{data}");
    }
}
