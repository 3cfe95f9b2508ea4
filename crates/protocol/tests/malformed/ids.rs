//! The client's own number: what it may be, and that it comes back with every refusal it can be read from.

use crate::{accepted, refused};

#[test]
fn an_id_is_a_whole_number_of_64_bits() {
    for (written, id) in [("0", 0), ("9007199254740993", 9_007_199_254_740_993), ("18446744073709551615", u64::MAX)] {
        assert_eq!(accepted(&format!("{{\"type\":\"ping\",\"id\":{written}}}")).id, Some(id));
    }
}

#[test]
fn any_other_id_refuses_its_command_without_an_id() {
    let huge = "9".repeat(10_000);
    for id in [
        "-1",
        "-0",
        "1.0",
        "0.5",
        "1e3",
        "\"7\"",
        "\"\"",
        "true",
        "[7]",
        "{\"id\":7}",
        "18446744073709551616",
        "1e400",
        &huge,
    ] {
        let (answered, words) = refused(&format!("{{\"type\":\"ping\",\"id\":{id}}}"));
        assert_eq!(answered, None, "{id}");
        assert_eq!(words, "`id` is a whole number from 0 to 18446744073709551615");
    }
}

#[test]
fn an_id_of_null_is_no_id() {
    assert_eq!(accepted("{\"type\":\"ping\",\"id\":null}").id, None);
}

#[test]
fn the_id_comes_back_wherever_it_stands_and_whatever_else_is_wrong() {
    for wrong in [
        "\"type\":5",
        "\"type\":\"nonsense\"",
        "\"type\":\"publish\"",
        "\"type\":\"publish\",\"channel\":[[[[]]]],\"data\":1",
        "\"type\":\"publish\",\"channel\":\"\\ud800\",\"data\":1",
        "\"type\":\"publish\",\"channel\":\"a\",\"data\":1,\"echo\":\"no\"",
        "\"type\":\"publish\",\"channel\":\"a\",\"data\":1,\"retain\":[\"key\"]",
        "\"type\":\"subscribe\",\"channel\":\"a\",\"state\":{}",
        "\"type\":\"subscribe\",\"channel\":\"a\",\"recover\":7",
        "\"type\":\"subscribe\",\"channel\":\"a\",\"channel\":\"a\"",
    ] {
        assert_eq!(refused(&format!("{{\"id\":7,{wrong}}}")).0, Some(7), "{wrong}");
        assert_eq!(refused(&format!("{{{wrong},\"id\":7}}")).0, Some(7), "{wrong}");
        assert_eq!(refused(&format!("[{{{wrong},\"id\":7}}]")).0, Some(7), "{wrong}");
        assert_eq!(refused(&format!("{{{wrong}}}")).0, None, "{wrong}");
    }
}
