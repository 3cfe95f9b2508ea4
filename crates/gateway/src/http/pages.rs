//! The pages, embedded in the binary.

use super::refusal::refuse;
use super::{Body, answer};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use rust_embed::{EmbeddedFile, RustEmbed};

/// Pages load nothing from elsewhere and run only scripts that are files of this origin.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                              connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "web/"]
struct Web;

/// Whether there is a page or file at a path.
pub(super) fn is_there(path: &str) -> bool {
    find(path).is_some()
}

fn find(path: &str) -> Option<(&str, EmbeddedFile)> {
    let name = match path {
        "/" => "index.html",
        other => other.trim_start_matches('/'),
    };
    let file = Web::get(name).or_else(|| Web::get(&format!("{name}.html")))?;
    Some((name, file))
}

/// The page or file at a path.
pub(super) fn page(path: &str) -> Response<Body> {
    let Some((name, file)) = find(path) else {
        return refuse(StatusCode::NOT_FOUND, "nothing is served at this path; connect to /ws, or see /\n");
    };
    let body = match file.data {
        std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
    };
    let mut response = answer(StatusCode::OK, content_type(name), body);
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("content-security-policy"), HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(HeaderName::from_static("cache-control"), HeaderValue::from_static("no-cache"));
    // No window that opened the page has a hold on it, and only pages that may read it (CORS) load a file of it.
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static("same-origin"));
    }
    response
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("ts") => "text/plain; charset=utf-8",
        _ => "text/html; charset=utf-8",
    }
}
