//! What a handshake shows: path, query, token, Origin, and whose address a proxy says it is. First the path, then a header a
//! line.

use crate::cost;
use gateway::auth::AuthConfig;
use gateway::config::Config;
use gateway::http::fuzzing::{client_address, is_allowed, percent_decoded, query, token};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

pub(super) const WORDS: &[&str] = &[
    "?token=", "&token=", "%2e", "%zz", "\norigin: null", "\norigin: https://app.example", "\norigin: https://evil.example",
    "\ncookie: session=", "; session=", "\nauthorization: Bearer ", "\nauthorization: Basic ", "\nx-forwarded-for: ",
    "10.0.0.2, ", "192.0.2.1", "::ffff:10.0.0.1", "\nsec-websocket-protocol: gateway.bearer.", ", gateway.v1.json", "\nhost: a",
];
pub(super) const GOLDEN: &[&str] = &[];

/// The token itself, once decoded, once told from others.
const MULTIPLE: u64 = 6;
const BASE_BYTES: u64 = 1_024;

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let settings =
        ["auth.query=true", "auth.cookie=session", "origins=https://app.example", "trusted_proxies=10.0.0.0/8"];
    Config::from_overrides(&settings).unwrap_or_else(|error| panic!("{error}"))
});

/// Reads all of it.
pub fn check(data: &[u8]) {
    encoded_and_decoded(data);
    let mut lines = data.split(|byte| *byte == b'\n');
    let Some(uri) = lines.next().and_then(|line| Uri::try_from(line).ok()) else { return };
    let headers = headers(lines);
    let size = data.len();
    cost::within(size, MULTIPLE, BASE_BYTES, || drop(query(&uri, "echo")));
    cost::within(size, MULTIPLE, BASE_BYTES, || drop(uri.path().strip_prefix("/raw/").and_then(percent_decoded)));
    shown(&CONFIG.auth, &headers, &uri, size);
    origin(&headers);
    address(&headers, size);
}

fn headers<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.take(64) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        let parsed = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii()));
        if let (Ok(name), Ok(value)) = parsed {
            headers.append(name, value);
        }
    }
    headers
}

fn encoded_and_decoded(data: &[u8]) {
    let encoded: String = data.iter().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(percent_decoded(&encoded), String::from_utf8(data.to_vec()).ok());
    if let Ok(text) = std::str::from_utf8(data) {
        let decoded = cost::within(data.len(), MULTIPLE, BASE_BYTES, || percent_decoded(text));
        assert!(decoded.is_none_or(|decoded| decoded.len() <= text.len()));
    }
}

fn shown(auth: &AuthConfig, headers: &HeaderMap, uri: &Uri, size: usize) {
    let found = cost::within(size, MULTIPLE, BASE_BYTES, || token(auth, headers, uri));
    if let Ok(Some(found)) = found {
        assert!(!found.is_empty() && found.len() <= size, "a token of {} bytes in {size}", found.len());
    }
    let closed = AuthConfig { query: false, cookie: None, ..auth.clone() };
    let bare = HeaderMap::new();
    assert_eq!(token(&closed, &bare, uri), Ok(None), "a token was taken from where none may be");
}

fn origin(headers: &HeaderMap) {
    let origins: Vec<_> = headers.get_all("origin").iter().collect();
    let is_listed = |origin: &HeaderValue| origin.as_bytes().eq_ignore_ascii_case(b"https://app.example");
    let expected = match &origins[..] {
        [] => true,
        [one] => is_listed(one),
        _ => false,
    };
    let is_null = origins.first().is_some_and(|origin| origin.as_bytes() == b"null");
    for is_tls in [false, true] {
        assert_eq!(is_allowed(&CONFIG.http.origins, headers, is_tls), expected, "{origins:?}");
        assert!(!(is_null && is_allowed(&[], headers, is_tls)), "null is nobody's host");
    }
}

/// A stranger is who its stream comes from; behind a proxy it is an address that the header holds.
fn address(headers: &HeaderMap, size: usize) {
    let trusted: &[IpNet] = &CONFIG.http.trusted_proxies;
    let (stranger, proxy) = (IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(client_address(stranger, headers, trusted), stranger);
    let found = cost::within(size, MULTIPLE, BASE_BYTES, || client_address(proxy, headers, trusted));
    let values = headers.get_all("x-forwarded-for").iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let hops: Vec<String> = values.flat_map(|value| value.split(',').map(|hop| hop.trim().to_owned()).collect::<Vec<_>>()).collect();
    let is_named = hops.iter().any(|hop| hop.parse::<IpAddr>().is_ok_and(|hop| hop.to_canonical() == found));
    assert!(found == proxy || is_named, "{found} is not in {hops:?}");
}
