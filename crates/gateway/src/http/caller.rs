//! Who a request is from: what is asked of handshakes is asked here, in one place, for every route.

use super::Visit;
use super::address::client_address;
use super::origin::is_allowed;
use super::refusal::{RETRY_AFTER_MAX_S, Refused};
use super::shown::token;
use crate::admission::Entry;
use crate::auth::{AuthError, Identity};
use crate::grant::Action;
use crate::hooks::{Denial, TooMuch, Visitor};
use crate::local::Local;
use crate::local::speaker::{Speaker, Spends};
use crate::metrics::Limit;
use crate::node::Node;
use crate::places::network;
use crate::requests::Whose;
use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri};
use protocol::{Channel, CloseCode, ErrorCode, Refusal, Text};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::OwnedSemaphorePermit;

/// What the application is told that such a request speaks.
const DIALECT: &str = "http";

/// Who has sent a request that may be answered.
pub(super) struct Caller {
    identity: Option<Arc<Identity>>,
    whose: Whose,
    /// An id of the request's own: nobody can be reached by it.
    client: Text,
    /// The request's place, to be kept until its answer has left.
    pub(super) place: Arc<OwnedSemaphorePermit>,
}

impl Speaker for Caller {
    const WHO: &'static str = "this user or address";

    fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.clone()
    }

    fn has_ticket(&self, _: &Channel, _: Action) -> bool {
        false
    }

    fn client_id(&self, _: &Local) -> Text {
        self.client.clone()
    }

    fn spend(&self, local: &Local, what: Spends<'_>) -> Result<(), Duration> {
        let requests = &local.node.requests;
        match what {
            Spends::Command => requests.take_command(&self.whose),
            Spends::NewChannel(channel) => requests.take_new_channel(&self.whose, channel),
            Spends::Rule(rule) => requests.take_of_rule(&self.whose, rule.id, &rule.rate),
        }
    }

    fn is_shut_out(&self, local: &Local) -> bool {
        self.identity.as_ref().is_some_and(|identity| is_over(&local.node, identity))
    }
}

/// Whether what was good when it was looked at is no more.
fn is_over(node: &Node, identity: &Identity) -> bool {
    identity.expires_in(SystemTime::now()).is_some_and(|left| left.is_zero()) || node.auth.is_revoked(&identity.shown())
}

/// Readiness and Origin: asked before anything of a request that costs more.
pub(super) fn let_in(visit: &Visit, headers: &HeaderMap) -> Result<(), Refused> {
    let node = &visit.local.node;
    if !node.takes_connections() {
        let text = "this node takes no connections now\n";
        return Err(Refused { status: StatusCode::SERVICE_UNAVAILABLE, text, close: CloseCode::OverCapacity });
    }
    if !is_allowed(&node.config.http.origins, headers, visit.is_tls) {
        let text = "pages of this Origin may not connect (origins)\n";
        return Err(Refused { status: StatusCode::FORBIDDEN, text, close: CloseCode::Forbidden });
    }
    Ok(())
}

/// Why the application does not let somebody in.
pub(super) fn denied(denial: &Denial) -> Refused {
    let (status, text, close) = match denial.code {
        ErrorCode::Unavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, "the application cannot be asked now\n", CloseCode::OverCapacity)
        }
        ErrorCode::Unauthenticated => {
            (StatusCode::UNAUTHORIZED, "the application does not know who this is\n", CloseCode::Unauthenticated)
        }
        _ => (StatusCode::FORBIDDEN, "the application does not let this in\n", CloseCode::Forbidden),
    };
    Refused { status, text, close }
}

/// Where somebody comes from, if the application is to know.
pub(super) fn visitor(
    node: &Node,
    headers: &HeaderMap,
    from: impl FnOnce() -> Visitor,
) -> Result<Option<Box<Visitor>>, Refused> {
    node.hooks.visitor(headers, from).map_err(|TooMuch| Refused {
        status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        text: "the headers and cookies that the application is shown are more than 8 KiB\n",
        close: CloseCode::Forbidden,
    })
}

/// Whom the token names, if there is one.
pub(super) async fn identify(node: &Node, headers: &HeaderMap, uri: &Uri) -> Result<Option<Identity>, Refused> {
    let Some(token) = token(&node.config.auth, headers, uri)? else { return Ok(None) };
    node.auth.identify_waiting(&token).await.map(Some).map_err(|error| {
        tracing::debug!(%error, "a token was refused");
        let (status, text, close) = match error {
            AuthError::Refused(_) => (StatusCode::UNAUTHORIZED, "the token was refused\n", CloseCode::Unauthenticated),
            AuthError::UnknownKey | AuthError::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "tokens cannot be checked now\n", CloseCode::OverCapacity)
            }
        };
        Refused { status, text, close }
    })
}

/// Who has sent this request: readiness, Origin, address, token, and what the application says to it. For routes that
/// answer it; what becomes a connection is asked the same by its handshake.
pub(super) async fn who(visit: &Visit, head: &Parts) -> Result<Caller, Refusal> {
    let node = &visit.local.node;
    look_at_stream(visit)?;
    let_in(visit, &head.headers).map_err(|refused| said(&refused))?;
    let place = take_place(node)?;
    let address = client_address(visit.peer.ip(), &head.headers, &node.config.http.trusted_proxies);
    let guess = Guess::take(node, network(address))?;
    let entry = enter(visit)?;
    assign_to(visit, address)?;
    let identity = identity(node, head, address).await.map_err(|refused| said(&refused))?;
    guess.was_none();
    if let Some(entry) = entry {
        entry.used();
        // It counts among the connections of its address from here on.
        drop(visit.unfinished.take());
    }
    let whose = identity.as_ref().map_or(Whose::Address(network(address)), |who| Whose::User(who.user.clone()));
    let client = node.client_id(visit.local.number()).into();
    Ok(Caller { identity, whose, client, place: Arc::new(place) })
}

/// A place among all requests that are answered at once.
pub(super) fn take_place(node: &Node) -> Result<OwnedSemaphorePermit, Refusal> {
    node.requests.enter().ok_or_else(|| {
        node.metrics.limits.reached(Limit::HttpRequests);
        passing(ErrorCode::Unavailable, "this node answers as many requests as it may (limits.http_requests)")
    })
}

/// Whoever has found no place is only told so.
pub(super) fn look_at_stream(visit: &Visit) -> Result<(), Refusal> {
    if !visit.is_spare {
        return Ok(());
    }
    let unfinished = visit.unfinished.take();
    let is_begun = unfinished.is_some();
    visit.unfinished.set(unfinished);
    if !is_begun {
        let message = "too many streams from this address have yet to shake hands (limits.unfinished_per_address)";
        return Err(passing(ErrorCode::RateLimited, message));
    }
    visit.local.node.metrics.limits.reached(Limit::Connections);
    Err(passing(ErrorCode::Unavailable, "this node holds as many connections as it may"))
}

/// The first request of a stream comes in like a handshake.
fn enter(visit: &Visit) -> Result<Option<Entry<'_>>, Refusal> {
    let unfinished = visit.unfinished.take();
    let is_first = unfinished.is_some();
    visit.unfinished.set(unfinished);
    if !is_first {
        return Ok(None);
    }
    let node = &visit.local.node;
    node.admission.enter().map(Some).map_err(|retry_after_s| {
        node.metrics.admission_refusals.inc();
        let mut refusal =
            Refusal::new(ErrorCode::Unavailable, "more come to this node than it takes at once (admission.rate)");
        refusal.retry_after_ms = Some(u64::from(retry_after_s) * 1000);
        refusal
    })
}

/// Counts the stream among those of the address that a request comes from.
pub(super) fn assign(visit: &Visit, head: &Parts) -> Result<(), Refusal> {
    let trusted = &visit.local.node.config.http.trusted_proxies;
    assign_to(visit, client_address(visit.peer.ip(), &head.headers, trusted))
}

fn assign_to(visit: &Visit, address: IpAddr) -> Result<(), Refusal> {
    let Some(mut place) = visit.place.take() else { return Ok(()) };
    let node = &visit.local.node;
    let assigned = node.places.assign(&mut place, address);
    visit.place.set(Some(place));
    assigned.map_err(|_| {
        node.metrics.limits.reached(Limit::ConnectionsPerAddress);
        let message = "this address holds as many connections as it may (limits.connections_per_address)";
        passing(ErrorCode::RateLimited, message)
    })
}

/// A token that may turn out to be none: whoever guesses is held back like one who shakes hands too fast, and whoever has
/// a good one may ask as often as its rates allow.
struct Guess<'a> {
    node: &'a Node,
    network: IpAddr,
}

impl<'a> Guess<'a> {
    fn take(node: &'a Node, network: IpAddr) -> Result<Self, Refusal> {
        if let Some(Err(wait)) = node.handshakes.as_ref().map(|handshakes| handshakes.take(&network)) {
            node.metrics.limits.reached(Limit::HandshakesPerAddress);
            let message = "refused requests come faster than one address may send them (limits.handshakes_per_address)";
            let mut refusal = Refusal::new(ErrorCode::RateLimited, message);
            refusal.retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
            return Err(refusal);
        }
        Ok(Self { node, network })
    }

    fn was_none(self) {
        self.node.handshakes.iter().for_each(|handshakes| handshakes.give_back(&self.network));
    }
}

/// The token's identity, or what the application makes of it.
async fn identity(node: &Node, head: &Parts, address: IpAddr) -> Result<Option<Arc<Identity>>, Refused> {
    let identity = identify(node, &head.headers, &head.uri).await?;
    let unauthenticated = |text| {
        let (status, close) = (StatusCode::UNAUTHORIZED, CloseCode::Unauthenticated);
        Refused { status, text, close }
    };
    if identity.is_none() && !node.config.auth.anonymous {
        return Err(unauthenticated("a token is missing\n"));
    }
    let from = || Visitor::new(DIALECT, None, address, &head.headers);
    let visitor = visitor(node, &head.headers, from)?;
    let identity = match visitor {
        Some(visitor) => ask(node, head, &visitor, identity).await?,
        None => identity.map(Arc::new),
    };
    match &identity {
        // Since it was looked at, perhaps.
        Some(who) if is_over(node, who) => Err(unauthenticated("the token has ended or was revoked\n")),
        _ => Ok(identity),
    }
}

/// Asks the application, unless it has said yes to the same lately.
async fn ask(
    node: &Node,
    head: &Parts,
    visitor: &Visitor,
    identity: Option<Identity>,
) -> Result<Option<Arc<Identity>>, Refused> {
    let token = token(&node.config.auth, &head.headers, &head.uri)?;
    let question = (token, visitor.address, &visitor.origin, &visitor.headers);
    // Texts, an address and a map of texts: there is always a JSON of them.
    let question = serde_json::to_vec(&question).unwrap_or_default();
    let known = node.requests.known(&question);
    if let Some(known) = known.filter(|known| known.as_ref().is_none_or(|identity| !is_over(node, identity))) {
        return Ok(known);
    }
    let identity = node.hooks.connect(visitor, identity, false).await.map_err(|denial| denied(&denial))?;
    let identity = identity.map(Arc::new);
    node.requests.remember(&question, identity.clone());
    Ok(identity)
}

/// A refusal that passes in a moment.
fn passing(code: ErrorCode, message: &'static str) -> Refusal {
    let mut refusal = Refusal::new(code, message);
    refusal.retry_after_ms = Some(u64::from(fastrand::u32(1..=RETRY_AFTER_MAX_S)) * 1000);
    refusal
}

/// What a handshake is refused with, as a command is.
pub(super) fn said(refused: &Refused) -> Refusal {
    let message = refused.text.trim_end();
    match refused.status {
        StatusCode::UNAUTHORIZED => Refusal::new(ErrorCode::Unauthenticated, message),
        StatusCode::SERVICE_UNAVAILABLE => passing(ErrorCode::Unavailable, message),
        StatusCode::TOO_MANY_REQUESTS => passing(ErrorCode::RateLimited, message),
        _ => Refusal::new(ErrorCode::PermissionDenied, message),
    }
}
