//! Coming to stay without an upgrade: whoever opens a session or a stream by a plain request is asked what a handshake is.

use super::Visit;
use super::address::client_address;
use super::caller::said;
use super::handshake::{Known, RETRY_SPREAD_S, check};
use super::refusal::Refused;
use crate::admission::Entry;
use crate::metrics::Limit;
use crate::places::{Place, network};
use http::{HeaderMap, StatusCode, Uri};
use protocol::dialect::Dialect;
use protocol::{CloseCode, Refusal};
use std::time::Duration;

/// Who may come in. Dropped before it is [`Let::used`], nobody has.
pub(super) struct Let<'a> {
    pub(super) place: Place,
    pub(super) known: Known,
    entry: Entry<'a>,
}

/// Why somebody may not, and when to come back, where that is known.
pub(super) struct Turned {
    refused: Refused,
    retry_after_s: Option<u32>,
}

impl Turned {
    fn new(status: StatusCode, text: &'static str, retry_after_s: Option<u32>) -> Self {
        Self { refused: Refused { status, text, close: CloseCode::OverCapacity }, retry_after_s }
    }

    /// The node holds as many connections as it may.
    pub(super) fn full(visit: &Visit) -> Self {
        visit.local.node.metrics.limits.reached(Limit::Connections);
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "this node holds as many connections as it may\n", None)
    }

    /// As a refusal in words.
    pub(super) fn answer(self) -> http::Response<super::Body> {
        match self.retry_after_s {
            Some(wait) => super::refusal::refuse_until(self.refused.status, self.refused.text, wait),
            None => self.refused.answer(),
        }
    }

    /// As a native one.
    pub(super) fn refusal(&self) -> Refusal {
        let mut refusal = said(&self.refused);
        if let Some(wait) = self.retry_after_s {
            refusal.retry_after_ms = Some(u64::from(wait) * 1000);
        }
        refusal
    }
}

impl Let<'_> {
    /// It has come in: what is left is what it comes in with.
    pub(super) fn used(self, visit: &Visit) -> (Place, Known) {
        self.entry.used();
        drop(visit.unfinished.take());
        (self.place, self.known)
    }
}

/// A place of its own for a session: its stream's goes with the stream.
pub(super) fn place(visit: &Visit) -> Result<Place, Turned> {
    let place = visit.local.node.places.take().filter(|place| !place.is_spare() && !visit.is_spare);
    place.ok_or_else(|| Turned::full(visit))
}

/// How fast an address may come, how fast all may, readiness, Origin, token, what the application says, and how many there
/// are of the address and the user. A place is given back with a refusal, for whoever it belongs to.
pub(super) async fn let_stay<'a>(
    visit: &'a Visit,
    headers: &HeaderMap,
    uri: &Uri,
    dialect: &Dialect,
    mut place: Place,
) -> Result<Let<'a>, (Turned, Place)> {
    let node = &visit.local.node;
    let address = client_address(visit.peer.ip(), headers, &node.config.http.trusted_proxies);
    if let Some(Err(wait)) = node.handshakes.as_ref().map(|handshakes| handshakes.take(&network(address))) {
        node.metrics.limits.reached(Limit::HandshakesPerAddress);
        let text = "handshakes come faster than one address may send them (limits.handshakes_per_address)\n";
        return Err((Turned::new(StatusCode::TOO_MANY_REQUESTS, text, Some(spread(wait))), place));
    }
    let entry = match node.admission.enter() {
        Ok(entry) => entry,
        Err(wait) => {
            node.metrics.admission_refusals.inc();
            let text = "more come to this node than it takes at once (admission.rate)\n";
            return Err((Turned::new(StatusCode::SERVICE_UNAVAILABLE, text, Some(wait)), place));
        }
    };
    match check(visit, headers, uri, dialect, address, &mut place).await {
        Ok(known) => Ok(Let { place, known, entry }),
        Err(refused) => Err((Turned { refused, retry_after_s: None }, place)),
    }
}

/// A wait in whole seconds; those who are refused together come back one by one.
fn spread(wait: Duration) -> u32 {
    let wait_s = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    wait_s.saturating_add(fastrand::u32(..RETRY_SPREAD_S))
}
