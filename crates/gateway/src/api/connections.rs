//! Where a user is connected.

use super::endpoint::{Done, Endpoint};
use super::keys::Scope;
use super::problem::{Code, Problem};
use crate::dismissal;
use crate::node::{Node, client_id};
use crate::whereabouts;
use http::{Method, StatusCode};
use protocol::whereabouts::CONNECTIONS_MAX;
use protocol::{ErrorCode, Refusal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `GET connections`.
pub(super) struct Connections;

/// A user's connections.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ConnectionsQuery")]
pub(super) struct Asked {
    /// Whose.
    #[schemars(length(min = 1, max = 255))]
    user: String,
    /// How many at the most.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u16,
}

/// Where a user is connected.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Connections")]
pub(super) struct Answer {
    /// Whose.
    user: String,
    /// The connections, those that came first before the others.
    connections: Vec<Connection>,
    /// How many there are on the nodes that answered.
    count: u64,
    /// Whether some of those are not told here.
    more: bool,
    /// Nodes that live, as far as is known, and did not answer within 2 s: what they have is neither told nor counted. Empty:
    /// this is all.
    unanswered: Vec<String>,
}

/// One connection.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Connection {
    /// Its id, as `disconnect` takes it.
    client: String,
    /// The id that others see, where it goes on as a connection that was before it (Socket.IO).
    #[serde(skip_serializing_if = "Option::is_none")]
    seen_as: Option<String>,
    /// Its node, as `nodes` has it.
    node: String,
    /// When this node took it over, in Unix milliseconds.
    since: u64,
    /// `json`, `msgpack`, `raw`, `socketio`, `poll` or `sse`.
    dialect: String,
    /// `websocket`, `polling` or `sse`.
    transport: String,
    /// How many channels it is subscribed to.
    subscriptions: u32,
    /// Their names; of more than 100, some.
    channels: Vec<String>,
}

const fn default_limit() -> u16 {
    100
}

impl Endpoint for Connections {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "connections";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    const SUMMARY: &'static str = "A user's connections, on all nodes";
    const DESCRIPTION: &'static str = "As the nodes know them at this moment: all are asked at once, and those that do not \
        answer are named. Connections without a user are nobody's. At most `limit`, and about 1 MiB. Addresses are not told.";
    const PROBLEMS: &'static [Code] = &[Code::Refused(ErrorCode::BadRequest), Code::Refused(ErrorCode::Unavailable)];
    type Asked = Asked;
    type Answer = Answer;

    async fn run(node: Arc<Node>, asked: Asked, _: Option<String>) -> Done<Answer> {
        if !(1..=CONNECTIONS_MAX).contains(&usize::from(asked.limit)) {
            return Err(Problem::bad_request(format!("`limit` is a number from 1 to {CONNECTIONS_MAX}")));
        }
        let user = dismissal::name(asked.user.as_str().into(), "`user`");
        let user = user.map_err(|why| Problem::bad_request(why.to_string()))?;
        let found = node.locate(&user, asked.limit).await.map_err(|_| Refusal::unavailable())?;
        let more = found.count > found.connections.len() as u64;
        let answer = Answer {
            user: asked.user,
            connections: found.connections.into_iter().map(Connection::from).collect(),
            count: found.count,
            more,
            unanswered: found.unanswered.iter().map(ToString::to_string).collect(),
        };
        Ok((StatusCode::OK, answer))
    }
}

impl From<whereabouts::Found> for Connection {
    fn from(whereabouts::Found { node, connection }: whereabouts::Found) -> Self {
        Self {
            client: client_id(&node, connection.number),
            seen_as: connection.seen_as.map(|id| id.to_string()),
            node: node.to_string(),
            since: connection.since_ms,
            dialect: connection.dialect.to_string(),
            transport: connection.transport.to_string(),
            subscriptions: connection.subscriptions,
            channels: connection.channels.iter().map(ToString::to_string).collect(),
        }
    }
}
