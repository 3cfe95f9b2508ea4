//! Which channels there are.

use super::endpoint::{Done, Endpoint};
use super::keys::Scope;
use super::problem::{Code, Problem};
use crate::node::Node;
use http::{Method, StatusCode};
use protocol::channel::MAX_CHANNEL_BYTES;
use protocol::{ErrorCode, Refusal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The most that may be asked for at once.
const LIMIT_MAX: u32 = 1000;

/// `GET channels`.
pub(super) struct Channels;

/// Channels by the beginning of their names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ChannelsQuery")]
pub(super) struct Asked {
    /// How their names begin, literally; empty for all.
    #[serde(default)]
    #[schemars(length(max = 255))]
    prefix: String,
    /// About how many.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// The `next` of an earlier answer.
    after: Option<String>,
}

/// A part of the channels that have members.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Channels")]
pub(super) struct Answer {
    /// In no order.
    channels: Vec<Populated>,
    /// What to ask with as `after` for the next part; absent where this was the last. A part may be empty and not the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A channel that has members.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Channel")]
pub(super) struct Populated {
    /// Its name.
    channel: String,
    /// Its connections.
    clients: u64,
    /// Its users.
    users: u64,
}

const fn default_limit() -> u32 {
    100
}

impl Endpoint for Channels {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "channels";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    const SUMMARY: &'static str = "Channels that have members now, on any node";
    const DESCRIPTION: &'static str = "By presence: channels of namespaces without `presence` are not among them. In parts of \
        about `limit` channels, a few more or fewer; each is told once, but one that comes or goes meanwhile may be missed or \
        told with other counts.";
    const PROBLEMS: &'static [Code] = &[Code::Refused(ErrorCode::BadRequest), Code::Refused(ErrorCode::Unavailable)];
    type Asked = Asked;
    type Answer = Answer;

    async fn run(node: Arc<Node>, asked: Asked, _: Option<String>) -> Done<Answer> {
        if !(1..=LIMIT_MAX).contains(&asked.limit) {
            return Err(Problem::bad_request(format!("`limit` is a number from 1 to {LIMIT_MAX}")));
        }
        if asked.prefix.len() > MAX_CHANNEL_BYTES {
            return Err(Problem::bad_request("`prefix` is longer than any channel's name (255 bytes)"));
        }
        let after = asked.after.map(|after| after.parse()).transpose();
        let after = after.map_err(|error| Problem::bad_request(format!("`after`: {error}")))?;
        let page = node.presence.channels(&asked.prefix, after, asked.limit as usize).await;
        let page = page.map_err(|_| Refusal::unavailable())?;
        let told = |populated: presence::Populated| {
            let presence::Populated { channel, clients, users } = populated;
            Populated { channel: channel.to_string(), clients, users }
        };
        let channels = page.channels.into_iter().map(told).collect();
        Ok((StatusCode::OK, Answer { channels, next: page.next.map(|next| next.to_string()) }))
    }
}
