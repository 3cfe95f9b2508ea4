//! Who is in a channel.

use super::endpoint::{Done, Endpoint};
use super::keys::Scope;
use super::problem::{Code, Problem};
use super::values;
use crate::node::Node;
use http::{Method, StatusCode};
use protocol::{ErrorCode, Refusal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// `GET presence`.
pub(super) struct Presence;

/// A channel's members.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PresenceQuery")]
pub(super) struct Asked {
    /// Which channel.
    #[schemars(length(min = 1, max = 255))]
    channel: String,
    /// Only how many.
    #[serde(default)]
    count_only: bool,
}

/// Who is in a channel.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Members")]
pub(super) struct Answer {
    /// Which channel.
    channel: String,
    /// Its users; absent where only counts were asked for, or the channel has more than `presence.members_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<Member>>,
    /// How many connections.
    clients: u64,
    /// How many users.
    users: u64,
}

/// One user in a channel.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Member {
    /// The user; an anonymous connection is its own user, named by its connection id.
    user: String,
    /// How many of the user's connections are in the channel.
    clients: u64,
    /// What the token says of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    info: Option<Box<RawValue>>,
}

impl Endpoint for Presence {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "presence";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    const SUMMARY: &'static str = "Who is in a channel, on all nodes";
    const DESCRIPTION: &'static str = "Members by user, or how many there are.";
    const PROBLEMS: &'static [Code] = &[
        Code::Refused(ErrorCode::BadRequest),
        Code::Refused(ErrorCode::UnknownChannel),
        Code::Refused(ErrorCode::Unavailable),
    ];
    type Asked = Asked;
    type Answer = Answer;

    async fn run(node: Arc<Node>, asked: Asked, _: Option<String>) -> Done<Answer> {
        let channel = values::channel(&asked.channel)?;
        let Some(namespace) = node.config.policy.namespace(&channel) else {
            return Err(Refusal::new(ErrorCode::UnknownChannel, "no namespace takes this channel").into());
        };
        if !namespace.presence {
            return Err(Problem::bad_request("presence is not kept in this channel"));
        }
        let members = node.presence.members(&channel, !asked.count_only).await.map_err(|_| Refusal::unavailable())?;
        let told = |member: protocol::Member| Member {
            user: member.user.to_string(),
            clients: member.clients,
            info: member.info.as_ref().and_then(|info| values::json(info)),
        };
        let list = members.list.map(|list| list.into_iter().map(told).collect());
        let (clients, users) = (members.clients, members.users);
        Ok((StatusCode::OK, Answer { channel: asked.channel, members: list, clients, users }))
    }
}
