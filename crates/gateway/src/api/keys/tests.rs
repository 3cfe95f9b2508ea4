//! Keys as their holders show them.

use super::*;
use http::{HeaderName, HeaderValue};

const ALL: &str = "all-powerful-key";
const READER: &str = "a-key-that-only-reads";

fn keys() -> Keys {
    let reader = ApiKey::new("reader", READER, [Scope::Read].into_iter().collect(), None).unwrap();
    Keys::new(&[ApiKey::new("all", ALL, Scopes::ALL, None).unwrap(), reader])
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn status(keys: &Keys, pairs: &[(&'static str, &str)], scope: Scope) -> u16 {
    keys.check(&headers(pairs), scope).map_or_else(|problem| problem.code.status(), |()| 200)
}

#[test]
fn a_key_counts_by_its_bytes_and_its_scopes() {
    let keys = keys();
    let all = format!("Bearer {ALL}");
    let reader = format!("bearer {READER}");
    for scope in Scope::ALL {
        assert_eq!(status(&keys, &[("authorization", &all)], scope), 200);
        assert_eq!(status(&keys, &[("x-api-key", ALL)], scope), 200);
        let expected = if scope == Scope::Read { 200 } else { 403 };
        assert_eq!(status(&keys, &[("authorization", &reader)], scope), expected);
    }
    for wrong in
        ["", "Bearer", "Bearer ", "Basic all-powerful-key", ALL, "Bearer all-powerful-ke", "Bearer all-powerful-keyy"]
    {
        assert_eq!(status(&keys, &[("authorization", wrong)], Scope::Read), 401, "{wrong}");
    }
    assert_eq!(status(&keys, &[], Scope::Read), 401);
}

#[test]
fn two_different_keys_are_none() {
    let keys = keys();
    let (all, reader) = (format!("Bearer {ALL}"), format!("Bearer {READER}"));
    assert_eq!(status(&keys, &[("authorization", &all), ("authorization", &reader)], Scope::Read), 401);
    assert_eq!(status(&keys, &[("authorization", &all), ("x-api-key", READER)], Scope::Read), 401);
    assert_eq!(status(&keys, &[("authorization", &all), ("x-api-key", ALL)], Scope::Read), 200);
}

#[test]
fn what_cannot_be_a_key_is_refused_in_words_that_do_not_hold_it() {
    for wrong in ["", "fifteen-bytes-x", "sixteen bytes and spaces", "sixteen-bytes-ÄÖÜ"] {
        let fault = ApiKey::new("k", wrong, Scopes::ALL, None).unwrap_err();
        assert!(wrong.is_empty() || !fault.contains(wrong), "{fault}");
    }
    let key = ApiKey::new("k", ALL, Scopes::ALL, None).unwrap();
    assert!(!format!("{key:?}").contains(ALL));
}

#[tokio::test(start_paused = true)]
async fn a_key_may_ask_as_fast_as_its_rate() {
    let rate = "10/s burst 2".parse().unwrap();
    let keys = Keys::new(&[ApiKey::new("slow", ALL, Scopes::ALL, Some(rate)).unwrap()]);
    let ask = || keys.check(&headers(&[("x-api-key", ALL)]), Scope::Read);
    assert!(ask().is_ok() && ask().is_ok());
    let problem = ask().unwrap_err();
    let wait_ms = problem.retry_after.map(|wait| wait.as_millis());
    assert_eq!((problem.code.status(), wait_ms), (429, Some(100)));
    tokio::time::advance(std::time::Duration::from_millis(100)).await;
    assert!(ask().is_ok());
}

#[test]
fn a_key_that_can_be_guessed_is_known_for_it_and_a_random_one_is_not() {
    use Weakness::{Patterned, Short};
    for (key, expected) in [
        ("d2c1d9a6f0b7e4835a1f66c0972b3ed8", None),
        ("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", None),
        ("V1hj0tVbq6mUo2Jr0d9kq0bXyZ3cTg8wQp4sLnAe5fM=", None),
        ("d2c1d9a6f0b7e4835a1f66c0972b3ed", Some(Short)),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Some(Patterned)),
        ("abababcababacbabcabcacbabcabcabcabcabcab", Some(Patterned)),
        ("changeme8changeme8changeme8changeme8", Some(Patterned)),
        ("0123456789abcdef0123456789abcdef", Some(Patterned)),
        ("abcdefghijklmnopqrstuvwxyz0123456789", Some(Patterned)),
        ("1234567890123456", Some(Patterned)),
    ] {
        assert_eq!(ApiKey::new("a", key, Scopes::ALL, None).unwrap().weakness(), expected, "{key}");
    }
}

#[test]
fn random_keys_are_hardly_ever_taken_for_patterns() {
    for _ in 0..2000 {
        let key: String = (0..32).map(|_| char::from_digit(fastrand::u32(0..16), 16).unwrap()).collect();
        assert_eq!(Weakness::of(key.as_bytes()), None, "{key}");
    }
}
