//! Arrays of commands, some of them not commands.

use crate::refused;
use crate::transport::read;
use protocol::dialect::json::MAX_BATCH;

/// The ids of an array's commands in order, and whether each is one.
fn ids(message: &str) -> Vec<(Option<u64>, bool)> {
    let id = |result| match result {
        Ok(protocol::Request { id, .. }) => (id, true),
        Err(protocol::dialect::Malformed { id, .. }) => (id, false),
    };
    read(message).into_iter().map(id).collect()
}

fn pings(count: usize) -> String {
    let pings: Vec<String> = (0..count).map(|id| format!("{{\"type\":\"ping\",\"id\":{id}}}")).collect();
    format!("[{}]", pings.join(","))
}

#[test]
fn good_commands_come_through_in_order_between_bad_ones() {
    let message = " [ {\"type\":\"ping\",\"id\":1}, 5, {\"type\":\"nonsense\",\"id\":2}, {\"type\":\"ping\",\"id\":3},
        [{\"type\":\"ping\",\"id\":4}], null, {\"type\":\"publish\",\"channel\":\"a b\",\"id\":5,\"data\":1},
        {\"type\":\"ping\",\"id\":6,\"id\":6}, \"{}\", {\"type\":\"ping\"} ] ";
    let expected = [
        (Some(1), true),
        (None, false),
        (Some(2), false),
        (Some(3), true),
        (None, false),
        (None, false),
        (Some(5), false),
        (None, false),
        (None, false),
        (None, true),
    ];
    assert_eq!(ids(message), expected);
}

#[test]
fn an_empty_array_is_not_passed_over_in_silence() {
    for message in ["[]", " [ ] "] {
        assert_eq!(refused(message), (None, "an array of commands holds at least one".into()));
    }
}

#[test]
fn an_array_holds_up_to_256_commands_and_with_one_more_none_of_them_is_obeyed() {
    assert_eq!(MAX_BATCH, 256);
    let all: Vec<_> = (0..256).map(|id| (Some(id), true)).collect();
    assert_eq!(ids(&pings(256)), all);
    let (id, words) = refused(&pings(257));
    assert_eq!(id, None);
    assert!(words.contains("more than 256 commands"), "{words}");
}

#[test]
fn an_array_that_is_not_json_to_its_end_is_refused_as_a_whole() {
    let good = pings(3);
    let inner = good.trim_end_matches(']');
    for message in
        [inner.to_owned(), format!("{inner},]"), format!("{inner},{{]"), format!("{good}x"), format!("{good},{good}")]
    {
        let (id, words) = refused(&message);
        assert_eq!(id, None);
        assert!(words.starts_with("not an array of commands: "), "{words}");
    }
}

#[test]
fn junk_in_an_array_earns_short_answers() {
    let long = format!("{{\"type\":\"{}\"}}", "x".repeat(1_000));
    for junk in ["0", "[]", "{}", &long] {
        let message = format!("[{}]", vec![junk; MAX_BATCH].join(","));
        let results = read(&message);
        assert_eq!(results.len(), MAX_BATCH);
        for result in results {
            let words = result.unwrap_err().refusal.message;
            assert!(words.len() < 300, "{} bytes: {words}", words.len());
        }
    }
}
