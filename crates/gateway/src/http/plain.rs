//! What clients may do without a WebSocket: publish, and read what came since they last asked.

use super::body;
use super::caller::{Caller, who};
use super::cors::Cors;
use super::shown::{percent_decoded, query};
use super::{Body, Visit, native};
use crate::commands::{publish_all, read_messages};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use protocol::dialect::json::{self, Publications};
use protocol::{Channel, ErrorCode, Refusal, Since};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the publications of one request may wait for the application and for the cluster's rates, all together: with
/// the broker's deadline it is less than the stream has for its last answer.
const LET_THROUGH_TIMEOUT: Duration = Duration::from_secs(10);

/// What is served here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// `POST /publish`.
    Publish,
    /// `GET /channels/{channel}/messages`.
    Messages,
}

impl Route {
    /// The route of a path.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/publish" => Some(Self::Publish),
            _ => named(path).map(|_| Self::Messages),
        }
    }

    const fn methods(self) -> (&'static str, Method) {
        match self {
            Self::Publish => ("POST", Method::POST),
            Self::Messages => ("GET", Method::GET),
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Messages => "messages",
        }
    }
}

/// The channel in a path, as it is written there.
fn named(path: &str) -> Option<&str> {
    path.strip_prefix("/channels/")?.strip_suffix("/messages")
}

/// Answers a request.
pub(super) async fn serve(visit: &Rc<Visit>, request: Request<Incoming>, route: Route) -> Response<Body> {
    let node = &visit.local.node;
    let cors = Cors::of(&node.config.http.origins, request.headers(), visit.is_tls);
    let (name, method) = route.methods();
    let response = match request.method() {
        &Method::OPTIONS => cors.preflight(name),
        asked if *asked == method => {
            let (head, body) = request.into_parts();
            match who(visit, &head).await {
                Ok(caller) => carry_out(visit, &caller, route, &head, body).await,
                Err(refusal) => native::refusal(refusal, None),
            }
        }
        _ => {
            let refusal = Refusal::bad_request(format!("this path is for {name}"));
            let mut response = native::refusal_as(StatusCode::METHOD_NOT_ALLOWED, refusal, None);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(name));
            response
        }
    };
    node.metrics.http_requests.with_label_values(&[route.label(), response.status().as_str()]).inc();
    cors.told(response)
}

async fn carry_out(visit: &Rc<Visit>, caller: &Caller, route: Route, head: &Parts, body: Incoming) -> Response<Body> {
    match route {
        Route::Publish => publish(visit, caller, head, body).await,
        Route::Messages => messages(visit, caller, &head.uri).await,
    }
}

async fn publish(visit: &Rc<Visit>, caller: &Caller, head: &Parts, body: Incoming) -> Response<Body> {
    let local = &visit.local;
    let place = || Some(caller.place.clone());
    let (body, asked) = match take(local.node.config.worker.max_message_bytes, &head.headers, body).await {
        Ok(body) => (body.len() as u64, json::decode_publications(&body)),
        Err((status, refusal)) => return native::refusal_as(status, refusal, place()),
    };
    local.node.metrics.bytes_in.inc_by(body);
    let by = Instant::now() + LET_THROUGH_TIMEOUT;
    match asked {
        Ok(Publications::One(publish)) => {
            let outcome = publish_all(local, caller, vec![Ok(publish)], by).await.pop();
            // One publication, one outcome.
            let unknown = || Err(Refusal::new(ErrorCode::Internal, "there is no outcome"));
            native::outcome(outcome.unwrap_or_else(unknown), place())
        }
        Ok(Publications::Several(several)) => native::outcomes(&publish_all(local, caller, several, by).await, place()),
        Err(refusal) => {
            local.node.metrics.bad_messages.inc();
            native::refusal(refusal, place())
        }
    }
}

/// The body, which is as large as a message may be.
async fn take(max_bytes: usize, headers: &HeaderMap, body: Incoming) -> Result<Bytes, (StatusCode, Refusal)> {
    if !is_json(headers) {
        let refusal = Refusal::bad_request("the body is JSON: say `Content-Type: application/json`");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, refusal));
    }
    body::read(body, max_bytes).await.map_err(|wrong| wrong.refusal(max_bytes))
}

/// Nothing that a form of another page could send: whoever sends JSON from there is asked for by a preflight first.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

async fn messages(visit: &Rc<Visit>, caller: &Caller, uri: &Uri) -> Response<Body> {
    let place = || Some(caller.place.clone());
    let (channel, since, limit) = match asked(uri) {
        Ok(asked) => asked,
        Err(refusal) => return native::refusal(refusal, place()),
    };
    match read_messages(&visit.local, caller, &channel, since.as_ref(), limit).await {
        Ok(messages) => {
            let mut body = Vec::new();
            json::encode_messages(&mut body, &channel, &messages);
            visit.local.node.metrics.bytes_out.inc_by(body.len() as u64);
            native::object(StatusCode::OK, body, place())
        }
        Err(refusal) => native::refusal(refusal, place()),
    }
}

/// Which channel's messages, since when and how many.
fn asked(uri: &Uri) -> Result<(Channel, Option<Since>, u32), Refusal> {
    let name = named(uri.path()).and_then(percent_decoded).unwrap_or_default();
    let channel = Channel::new(&name).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let since = query(uri, "since").map(|text| since(&text)).transpose()?;
    let limit = match query(uri, "limit") {
        None => json::DEFAULT_HISTORY_LIMIT,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| *limit > 0);
            limit.ok_or_else(|| Refusal::bad_request("`limit` is a whole number from 1 on"))?
        }
    };
    Ok((channel, since, limit))
}

/// `OFFSET` or `EPOCH:OFFSET`.
fn since(text: &str) -> Result<Since, Refusal> {
    let (epoch, offset) = match text.rsplit_once(':') {
        Some((epoch, offset)) => (Some(epoch), offset),
        None => (None, text),
    };
    let is_number = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
    match offset.parse() {
        Ok(offset) if is_number && epoch != Some("") => Ok(Since { epoch: epoch.map(Into::into), offset }),
        _ => Err(Refusal::bad_request("`since` is an offset, or an epoch and an offset: EPOCH:OFFSET")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &'static str) -> Result<(String, Option<Since>, u32), String> {
        let asked = asked(&Uri::from_static(uri)).map_err(|refusal| refusal.message.into_owned());
        asked.map(|(channel, since, limit)| (channel.as_str().to_owned(), since, limit))
    }

    #[test]
    fn a_path_names_a_channel_and_its_query_a_place_in_it() {
        let since = |epoch: Option<&str>, offset| Some(Since { epoch: epoch.map(Into::into), offset });
        assert_eq!(of("/channels/chat:lobby/messages"), Ok(("chat:lobby".to_owned(), None, 100)));
        let asked = of("/channels/a%2Fb/messages?since=k3Zq:41&limit=7");
        assert_eq!(asked, Ok(("a/b".to_owned(), since(Some("k3Zq"), 41), 7)));
        assert_eq!(of("/channels/a/messages?since=0"), Ok(("a".to_owned(), since(None, 0), 100)));
        for wrong in
            ["since=", "since=x", "since=:1", "since=e:", "since=-1", "since=%2B1", "since=99999999999999999999"]
        {
            let uri = format!("/channels/a/messages?{wrong}").parse().unwrap();
            assert!(super::asked(&uri).is_err(), "{wrong}");
        }
        for wrong in ["limit=0", "limit=x", "limit=-1", "limit="] {
            assert!(super::asked(&format!("/channels/a/messages?{wrong}").parse().unwrap()).is_err(), "{wrong}");
        }
        assert!(of("/channels//messages").is_err() && of("/channels/%zz/messages").is_err());
    }

    #[test]
    fn other_paths_are_not_served_here() {
        assert_eq!(Route::of("/publish"), Some(Route::Publish));
        assert_eq!(Route::of("/channels/a/messages"), Some(Route::Messages));
        for other in ["/", "/publish/", "/channels/a", "/channels", "/channels/a/messages/", "/channels/messages"] {
            assert_eq!(Route::of(other), None, "{other}");
        }
    }
}
