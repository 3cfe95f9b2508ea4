//! Which pages of other origins may read an answer: those that may connect, by the same list (`origins`).

use super::Body;
use super::origin::{AllowedOrigin, is_allowed};
use super::refusal::refuse;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

/// What pages may send beside what any form could.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type");

/// What pages may read beside what they may of any answer: when to come back.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("retry-after");

/// How long a browser need not ask again, in seconds.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");

/// What is to be told to the browser that asked; for every HTTP route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cors {
    /// Nothing: no browser, or a page that may not read the answer.
    Nothing,
    /// Every page may read it, but without cookies: they would be those of whoever looks at a stranger's page.
    All,
    /// This origin may, with cookies.
    Exact(HeaderValue),
}

impl Cors {
    /// What these headers of a request call for.
    pub(super) fn of(allowed: &[AllowedOrigin], headers: &HeaderMap, is_tls: bool) -> Self {
        match headers.get(header::ORIGIN) {
            Some(origin) if is_allowed(allowed, headers, is_tls) => {
                let is_named = |a: &AllowedOrigin| {
                    *a != AllowedOrigin::All && is_allowed(std::slice::from_ref(a), headers, is_tls)
                };
                let is_exact = allowed.is_empty() || allowed.iter().any(is_named);
                if is_exact { Self::Exact(origin.clone()) } else { Self::All }
            }
            _ => Self::Nothing,
        }
    }

    /// The answer to a browser that asks before it asks (`OPTIONS`); `methods` are the route's own. To be [`Cors::told`]
    /// like any other.
    pub(super) fn preflight(&self, methods: &'static str) -> Response<Body> {
        if *self == Self::Nothing {
            return refuse(StatusCode::FORBIDDEN, "pages of this Origin may not ask (origins)\n");
        }
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
        response
    }

    /// The answer with what the browser is to be told. A cache must not give one origin's answer to another.
    pub(super) fn told(&self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if *self != Self::Nothing {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        }
        match self {
            Self::Nothing => {}
            Self::All => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Self::Exact(origin) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(allowed: &[&str], origin: Option<&str>) -> Cors {
        let allowed: Vec<_> = allowed.iter().map(|origin| origin.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("chat.example"));
        origin.map(|origin| headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap()));
        Cors::of(&allowed, &headers, false)
    }

    #[test]
    fn the_list_that_says_who_may_connect_says_who_may_read() {
        let exact = |origin| Cors::Exact(HeaderValue::from_static(origin));
        assert_eq!(of(&["https://app.example"], Some("https://app.example")), exact("https://app.example"));
        assert_eq!(of(&["https://app.example"], Some("https://evil.example")), Cors::Nothing);
        assert_eq!(of(&["https://app.example"], Some("null")), Cors::Nothing);
        assert_eq!(of(&["https://app.example"], None), Cors::Nothing);
        assert_eq!(of(&[], Some("https://chat.example")), exact("https://chat.example"));
        assert_eq!(of(&[], Some("https://evil.example")), Cors::Nothing);
        assert_eq!(of(&["*"], Some("https://any.example")), Cors::All);
        assert_eq!(of(&["*"], Some("null")), Cors::Nothing);
        assert_eq!(of(&["*", "https://app.example"], Some("https://app.example")), exact("https://app.example"));
    }

    #[test]
    fn cookies_come_only_with_an_origin_that_is_named_and_caches_keep_origins_apart() {
        let told = |cors: Cors| cors.told(refuse(StatusCode::OK, "")).into_parts().0.headers;
        let exact = told(of(&["https://app.example"], Some("https://app.example")));
        assert_eq!(exact[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example");
        assert_eq!(exact[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        let all = told(Cors::All);
        assert_eq!(all[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!all.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        let nothing = told(Cors::Nothing);
        assert!(!nothing.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        assert!([exact, all, nothing].iter().all(|headers| headers[header::VARY] == "origin"));
    }

    #[test]
    fn a_preflight_is_answered_by_the_route_s_own_methods_or_refused() {
        let granted = of(&["*"], Some("https://any.example")).preflight("GET, POST");
        assert_eq!(granted.status(), StatusCode::NO_CONTENT);
        assert_eq!(granted.headers()[header::ACCESS_CONTROL_ALLOW_METHODS], "GET, POST");
        assert_eq!(Cors::Nothing.preflight("GET").status(), StatusCode::FORBIDDEN);
    }
}
