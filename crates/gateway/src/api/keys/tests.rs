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
