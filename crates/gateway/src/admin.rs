//! The admin port, never public: whether the process lives, whether it may take traffic, what it counts, and the orders to
//! send connections away, to close them, and to revoke tokens.

mod dismissals;
mod orders;

use crate::node::Node;
use crate::shedding::Mode;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Router, http::header};
use prometheus::{Encoder, Registry, TextEncoder};
use std::sync::Arc;

/// The largest body of an order.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// What the admin port shows.
#[derive(Clone)]
pub struct Admin {
    /// The node.
    pub node: Arc<Node>,
    /// Names that begin with `gateway_`.
    pub registry: Registry,
    /// Names that are the same for every process (`process_…`).
    pub process: Registry,
}

/// The routes.
pub fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/shedding", get(shedding))
        .route("/drain", post(orders::drain).fallback(orders::only_post))
        .route("/rebalance", post(orders::rebalance).fallback(orders::only_post))
        .route("/resume", post(orders::resume).fallback(orders::only_post))
        .route("/disconnect", post(dismissals::disconnect).fallback(dismissals::only_post))
        .route("/revoke", post(dismissals::revoke).fallback(dismissals::only_post))
        .route("/revocations", get(dismissals::revocations))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(admin)
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let shedding = &admin.node.shedding;
    match admin.node.readiness() {
        // A rebalance goes on while the node serves.
        Ok(()) if shedding.running().is_some() => (StatusCode::OK, format!("ready; {}\n", shedding.describe())),
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

/// Whom the node sends away, and how far that is: [`crate::shedding::Progress`].
async fn shedding(State(admin): State<Admin>) -> impl IntoResponse {
    progress(&admin.node, StatusCode::OK)
}

fn progress(node: &Node, status: StatusCode) -> impl IntoResponse + use<> {
    let json = serde_json::to_string(&node.shedding.progress()).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], json + "\n")
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    measure(&admin.node);
    let mut families = admin.registry.gather();
    families.extend(admin.process.gather());
    let mut text = Vec::new();
    match TextEncoder::new().encode(&families, &mut text) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], Vec::new())
        }
    }
}

/// What is a state and not a count is looked at when it is asked for.
fn measure(node: &Node) {
    node.presence.measure();
    let metrics = &node.metrics;
    metrics.ready.set(i64::from(node.readiness().is_ok()));
    metrics.draining.set(i64::from(node.shedding.mode() != Mode::Serving));
    metrics.shed_left.set(node.shedding.running().map_or(0, |shed| shed.left() as i64));
    metrics.admission_free.set(i64::from(node.admission.free()));
}
