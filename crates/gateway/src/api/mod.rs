//! The server API for backends: publishes, reads and administers without a WebSocket, by a key.
//!
//! The key is the permission: namespaces' rules of access (`subscribe`, `publish`, `read_…`, `roles`) and rates do not hold here;
//! those about data (`events`, `schema`, `max_message`, what history and state keep) do.

mod channels;
mod connections;
mod dismissals;
mod endpoint;
mod history;
mod keys;
mod nodes;
mod openapi;
mod presence;
mod problem;
mod publish;
mod publishing;
mod routes;
mod values;

pub use keys::{ApiKey, Scope, Scopes, Weakness};

use crate::node::Node;
use bytes::Bytes;
use endpoint::{Asked, Route};
use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use keys::Keys;
use problem::{Code, Problem};
use protocol::ErrorCode;
use routes::{Found, PREFIX, find};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// How long a request's body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than anything takes that is asked of broker and presence: a fault otherwise.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest `Idempotency-Key`: a batch adds each publication's place to it.
const IDEMPOTENCY_KEY_MAX: usize = 240;

/// The label of requests that found no route.
const NO_ROUTE: &str = "none";

/// The server API's settings.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Whom it serves; none: nobody, and then it is not there.
    pub keys: Vec<ApiKey>,
    /// Files that hold a key and that everybody on this machine can read.
    pub exposed: Vec<String>,
    /// The largest body.
    pub max_body_bytes: usize,
    /// Requests of the node at the same time.
    pub requests_max: usize,
}

/// The server API of one node.
pub struct Api {
    keys: Keys,
    max_body_bytes: usize,
    requests: Semaphore,
    requests_max: usize,
}

impl Api {
    /// The API of these settings; none without a key.
    pub fn new(config: &ApiConfig) -> Option<Self> {
        let requests_max = config.requests_max.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        (!config.keys.is_empty()).then(|| Self {
            keys: Keys::new(&config.keys),
            max_body_bytes: config.max_body_bytes,
            requests: Semaphore::new(requests_max),
            requests_max,
        })
    }

    /// Waits until what has been asked is answered.
    pub async fn idle(&self) {
        let all = u32::try_from(self.requests_max).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let _ = self.requests.acquire_many(all).await;
    }
}

/// Whether a path is the API's.
pub fn is_path(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// Answers a request to the API; `admitted` is called once it has shown a key that may ask it.
pub async fn serve(
    node: &Arc<Node>,
    api: &Api,
    request: Request<Incoming>,
    admitted: impl FnOnce(),
) -> Response<Full<Bytes>> {
    let asked_at = Instant::now();
    let found = find(request.method(), request.uri().path());
    let label = if let Found::Route(route) = &found { route.path } else { NO_ROUTE };
    let response = match found {
        Found::Route(route) => {
            carry_out(node, api, route, request, admitted).await.unwrap_or_else(|problem| problem.answer())
        }
        Found::OtherMethod(allowed) => {
            let detail = format!("this path is for {allowed}");
            let mut response = Problem::new(Code::MethodNotAllowed, detail).answer();
            // Methods are ASCII.
            response
                .headers_mut()
                .extend(HeaderValue::from_str(allowed.as_str()).ok().map(|value| (header::ALLOW, value)));
            response
        }
        Found::Nothing => {
            let detail = format!("the API begins with {PREFIX}; {PREFIX}openapi.json says what there is");
            Problem::new(Code::NotFound, detail).answer()
        }
    };
    let metrics = &node.metrics;
    metrics.api_requests.with_label_values(&[label, response.status().as_str()]).inc();
    metrics.api_seconds.with_label_values(&[label]).observe(asked_at.elapsed().as_secs_f64());
    response
}

async fn carry_out(
    node: &Arc<Node>,
    api: &Api,
    route: &Route,
    request: Request<Incoming>,
    admitted: impl FnOnce(),
) -> Result<Response<Full<Bytes>>, Problem> {
    if let Some(scope) = route.scope {
        api.keys.check(request.headers(), scope)?;
        admitted();
    }
    // A stranger takes no permit, and nothing of a stranger's body is read.
    let over = || Problem::new(Code::OverCapacity, "this node answers as many requests as it may (api.requests)");
    let _permit = api.requests.try_acquire().map_err(|_| over())?;
    let asked = read(api, route, request).await?;
    let Ok(done) = timeout(ANSWER_TIMEOUT, (route.run)(node.clone(), asked)).await else {
        tracing::error!(path = route.path, "a request of the server API took too long");
        return Err(Problem::new(Code::Refused(ErrorCode::UnknownOutcome), "the answer did not come in time"));
    };
    let (status, body) = done?;
    Ok(respond(status, "application/json", body))
}

async fn read(api: &Api, route: &Route, request: Request<Incoming>) -> Result<Asked, Problem> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let key = idempotency_key(request.headers())?;
    if route.method == Method::GET {
        return Ok(Asked { query, body: Bytes::new(), key });
    }
    if !query.is_empty() {
        return Err(Problem::bad_request("this path takes no query: write what you ask in the body"));
    }
    check_media_type(request.headers())?;
    let max = api.max_body_bytes;
    let too_large = || {
        Problem::new(Code::Refused(ErrorCode::TooLarge), format!("the body is larger than {max} bytes (api.max_body)"))
    };
    let body = request.into_body();
    if body.size_hint().lower() > max as u64 {
        return Err(too_large());
    }
    let late = |_| Problem::new(Code::RequestTimeout, "the body did not come within 5 s");
    let collected = timeout(BODY_TIMEOUT, Limited::new(body, max).collect()).await.map_err(late)?;
    let body = collected.map_err(|error| match error.is::<LengthLimitError>() {
        true => too_large(),
        false => Problem::bad_request("the body ended early"),
    })?;
    Ok(Asked { query, body: body.to_bytes(), key })
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(Code::UnsupportedMediaType, "the body is JSON: say `Content-Type: application/json`"))
}

/// As the draft of the IETF has it, a quoted string; most write it without the quotes.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let wrong = || Problem::bad_request("`Idempotency-Key` is 1 to 240 characters of printable ASCII without spaces");
    let text = value.to_str().map_err(|_| wrong())?.trim();
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let fits = (1..=IDEMPOTENCY_KEY_MAX).contains(&inner.len()) && inner.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(Some(inner.to_owned())) } else { Err(wrong()) }
}

/// An answer that nobody keeps.
fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    response
}
