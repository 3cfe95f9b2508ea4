//! The admin port, never public: whether the process lives, whether it may take traffic, and what it counts.

use crate::node::Node;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Router, http::header};
use prometheus::{Encoder, Registry, TextEncoder};
use std::sync::Arc;

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
        .with_state(admin)
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    match admin.node.readiness() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    admin.node.presence.measure();
    admin.node.metrics.ready.set(i64::from(admin.node.readiness().is_ok()));
    admin.node.metrics.admission_free.set(i64::from(admin.node.admission.free()));
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
