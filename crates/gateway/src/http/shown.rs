//! What a request shows beside its path: its token, in one of four places, and what its query says.

use super::refusal::Refused;
use crate::auth::AuthConfig;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use protocol::CloseCode;

/// The subprotocol that carries a token instead of naming a dialect.
const BEARER_SUBPROTOCOL: &str = "gateway.bearer.";

/// The token of the first place that has one: header, subprotocol, cookie, query; the latter two only where they are
/// switched on.
pub(super) fn token(auth: &AuthConfig, headers: &HeaderMap, uri: &Uri) -> Result<Option<String>, Refused> {
    if let Some(token) = only_one(headers.get_all(header::AUTHORIZATION).iter().filter_map(bearer))? {
        return Ok(Some(token));
    }
    if let Some(token) = only_one(offered(headers).filter_map(|name| name.strip_prefix(BEARER_SUBPROTOCOL)))? {
        return Ok(Some(token));
    }
    // Browsers send several cookies of one name, the one of the closest path first.
    let from_cookie = auth.cookie.as_deref().and_then(|name| cookie(headers, name));
    if let Some(token) = from_cookie.filter(|token| !token.is_empty()) {
        return Ok(Some(token));
    }
    if !auth.query {
        return Ok(None);
    }
    only_one(queries(uri, "token").map(|token| token.unwrap_or_else(|| "?".to_owned())))
}

/// Two different tokens in one place: which of them counts would be a matter of chance, and of who looks at it.
fn only_one<T: AsRef<str>>(tokens: impl Iterator<Item = T>) -> Result<Option<String>, Refused> {
    let mut tokens = tokens.filter(|token| !token.as_ref().is_empty());
    let Some(first) = tokens.next() else { return Ok(None) };
    // One after another: a head holds thousands of short ones.
    if tokens.any(|token| token.as_ref() != first.as_ref()) {
        let text = "there are several tokens where one should be\n";
        return Err(Refused { status: StatusCode::UNAUTHORIZED, text, close: CloseCode::Unauthenticated });
    }
    Ok(Some(first.as_ref().to_owned()))
}

/// The token of an `Authorization`; one that cannot be read is none that could be good.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let Ok(value) = value.to_str() else { return Some("?") };
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The subprotocols that are offered.
pub(super) fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// The extensions that are offered, a header at a time.
pub(super) fn extensions(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|value| value.to_str().ok())
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"').to_owned())
}

pub(super) fn query(uri: &Uri, name: &str) -> Option<String> {
    queries(uri, name).next().flatten()
}

/// The values of a name in the query; `None` for one that is not an encoding.
pub(super) fn queries<'a>(uri: &'a Uri, name: &'a str) -> impl Iterator<Item = Option<String>> + 'a {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(move |(key, _)| *key == name).map(|(_, value)| percent_decoded(value))
}

/// Percent-decoding (RFC 3986 section 2.1); `None` for what is not UTF-8 or not an encoding.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok())?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths_are_percent_decoded() {
        assert_eq!(percent_decoded("chat%3Alobby").as_deref(), Some("chat:lobby"));
        assert_eq!(percent_decoded("r%C3%A4ksm%C3%B6rg%C3%A5s").as_deref(), Some("räksmörgås"));
        for wrong in ["%", "%1", "%zz", "%ff", "%+1"] {
            assert_eq!(percent_decoded(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tokens_are_found_in_cookies_and_subprotocols() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=1; session=\"t0k\"; sessionx=2"));
        assert_eq!(cookie(&headers, "session").as_deref(), Some("t0k"));
        assert_eq!(cookie(&headers, "sess"), None);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("gateway.v1.json, gateway.bearer.abc"));
        assert_eq!(offered(&headers).collect::<Vec<_>>(), ["gateway.v1.json", "gateway.bearer.abc"]);
    }
}
