//! Whose pages may connect: browsers send an Origin that scripts cannot forge, and cookies with every handshake.

use http::{HeaderMap, header};
use std::str::FromStr;

/// One allowed Origin, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// `*`.
    All,
    /// `https://example.org`, exactly.
    Exact(String),
}

impl FromStr for AllowedOrigin {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::All);
        }
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        match rest {
            Some(host) if !host.is_empty() && !host.contains(['/', '*', '@', '?', '#']) => {
                Ok(Self::Exact(text.to_ascii_lowercase()))
            }
            _ => Err("an origin is scheme and host, such as https://example.org or http://localhost:3000".to_owned()),
        }
    }
}

/// Whether a request may connect. Those without an Origin are not browsers' and pass; `null` never does. `is_tls`: this
/// node's own TLS, so that the scheme of the same host is known.
pub(super) fn is_allowed(allowed: &[AllowedOrigin], headers: &HeaderMap, is_tls: bool) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    let Ok(origin) = origin.to_str().map(str::to_ascii_lowercase) else { return false };
    if origins.next().is_some() {
        return false;
    }
    if allowed.is_empty() {
        return is_same_host(&origin, headers, is_tls);
    }
    allowed.iter().any(|a| match a {
        AllowedOrigin::All => origin != "null",
        AllowedOrigin::Exact(exact) => *exact == origin,
    })
}

fn is_same_host(origin: &str, headers: &HeaderMap, is_tls: bool) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_ascii_lowercase);
    let Some(host) = host.filter(|host| !host.is_empty()) else { return false };
    // Behind a proxy that ends TLS the scheme here says nothing, so the default port of either is the same host.
    let without_port = |text: &str, port: &str| text.strip_suffix(port).unwrap_or(text).to_owned();
    if let Some(rest) = origin.strip_prefix("https://") {
        return without_port(rest, ":443") == without_port(&host, ":443");
    }
    match origin.strip_prefix("http://") {
        // Whoever is on the way may have written a page that came without TLS.
        Some(rest) if !is_tls => without_port(rest, ":80") == without_port(&host, ":80"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(origin: Option<&str>, host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        headers
    }

    #[test]
    fn by_default_only_pages_of_the_same_host_connect() {
        let allowed = |origin, host| is_allowed(&[], &headers(origin, host), false);
        assert!(allowed(None, "chat.example"), "not a browser");
        assert!(allowed(Some("https://chat.example"), "chat.example"));
        assert!(allowed(Some("http://localhost:8080"), "localhost:8080"));
        assert!(allowed(Some("https://chat.example"), "chat.example:443"));
        assert!(!allowed(Some("https://evil.example"), "chat.example"));
        assert!(!allowed(Some("https://chat.example.evil"), "chat.example"));
        assert!(!allowed(Some("http://localhost:3000"), "localhost:8080"), "another port is another origin");
        assert!(!allowed(Some("null"), "chat.example"));
        assert!(!allowed(Some("file://"), ""));
    }

    #[test]
    fn a_list_is_exact() {
        let list = ["https://app.example".parse().unwrap()];
        let allowed = |origin| is_allowed(&list, &headers(Some(origin), "chat.example"), false);
        assert!(allowed("https://app.example") && allowed("https://APP.example"));
        assert!(!allowed("https://chat.example"), "the same host is not in the list");
        assert!(!allowed("https://app.example.evil") && !allowed("null"));
        assert!("app.example".parse::<AllowedOrigin>().is_err());
        assert!("https://*.example".parse::<AllowedOrigin>().is_err());
    }

    #[test]
    fn two_origins_are_none() {
        let mut both = headers(Some("https://chat.example"), "chat.example");
        both.append(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert!(!is_allowed(&[], &both, false));
        assert!(!is_allowed(&[AllowedOrigin::All], &both, false));
    }

    #[test]
    fn over_tls_of_our_own_a_plain_page_is_another_one() {
        let allowed = |origin| is_allowed(&[], &headers(Some(origin), "chat.example"), true);
        assert!(allowed("https://chat.example") && !allowed("http://chat.example"));
    }

    #[test]
    fn all_is_every_page_that_has_an_origin() {
        let allowed = |origin| is_allowed(&[AllowedOrigin::All], &headers(Some(origin), "chat.example"), false);
        assert!(allowed("https://anywhere.example") && allowed("http://localhost:1"));
        assert!(!allowed("null"), "a sandboxed frame, a file, a data URL: whose it is cannot be told");
    }
}
