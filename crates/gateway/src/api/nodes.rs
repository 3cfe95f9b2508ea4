//! The nodes of the cluster, and what they hold together.

use super::endpoint::{Done, Endpoint};
use super::keys::Scope;
use super::problem::Code;
use crate::about::About;
use crate::node::Node;
use http::{Method, StatusCode};
use protocol::{ErrorCode, Refusal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `GET nodes`.
pub(super) struct Nodes;

/// Nothing more is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The nodes that live.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Nodes")]
pub(super) struct AllNodes {
    /// By name.
    nodes: Vec<OneNode>,
}

/// A node as it last described itself: some seconds ago, once a third of `presence.lease`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Node")]
pub(super) struct OneNode {
    /// `<id>.<incarnation>`, as connection ids begin.
    node: String,
    /// What it is called (`node.id`).
    id: String,
    /// Random: a node that was started again has another one.
    incarnation: String,
    /// What it says of itself; absent where it has not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<About>,
}

/// `GET counts`.
pub(super) struct Counts;

/// What the nodes that live hold together, each as it last described itself.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Counts")]
pub(super) struct AllCounts {
    /// Nodes that live.
    nodes: u64,
    /// Those of them that are drained or stop.
    draining: u64,
    /// Connections.
    connections: u64,
    /// Subscriptions.
    subscriptions: u64,
}

const PROBLEMS: &[Code] = &[Code::Refused(ErrorCode::BadRequest), Code::Refused(ErrorCode::Unavailable)];

impl Endpoint for Nodes {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "nodes";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    const SUMMARY: &'static str = "The nodes that live";
    const DESCRIPTION: &'static str = "A node that died is among them until its lease ends.";
    const PROBLEMS: &'static [Code] = PROBLEMS;
    type Asked = Nothing;
    type Answer = AllNodes;

    async fn run(node: Arc<Node>, _: Nothing, _: Option<String>) -> Done<AllNodes> {
        Ok((StatusCode::OK, AllNodes { nodes: nodes(&node).await? }))
    }
}

impl Endpoint for Counts {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "counts";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    const SUMMARY: &'static str = "Nodes, connections and subscriptions of the cluster";
    const DESCRIPTION: &'static str = "The sum of what `nodes` tells.";
    const PROBLEMS: &'static [Code] = PROBLEMS;
    type Asked = Nothing;
    type Answer = AllCounts;

    async fn run(node: Arc<Node>, _: Nothing, _: Option<String>) -> Done<AllCounts> {
        let mut counts = AllCounts::default();
        for node in nodes(&node).await? {
            counts.nodes += 1;
            let Some(about) = node.about else { continue };
            counts.draining += u64::from(about.draining);
            counts.connections += about.connections;
            counts.subscriptions += about.subscriptions;
        }
        Ok((StatusCode::OK, counts))
    }
}

/// The others as they last described themselves, this one as it is.
async fn nodes(node: &Node) -> Result<Vec<OneNode>, Refusal> {
    let living = node.presence.nodes().await.map_err(|_| Refusal::unavailable())?;
    let one = |living: presence::Living| {
        let (id, incarnation) = living.node.rsplit_once('.').unwrap_or((&living.node, ""));
        let is_own = *living.node == *node.name;
        // A newer node may say it otherwise.
        let about = if is_own { Some(About::of(node)) } else { serde_json::from_str(&living.about).ok() };
        OneNode { node: living.node.to_string(), id: id.to_owned(), incarnation: incarnation.to_owned(), about }
    };
    Ok(living.into_iter().map(one).collect())
}
