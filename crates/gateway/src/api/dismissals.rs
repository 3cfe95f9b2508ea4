//! Who is to leave, and whose tokens count no more.

use super::endpoint::{Done, Endpoint};
use super::keys::Scope;
use super::problem::{Code, Problem};
use crate::dismissal::Undone;
use crate::dismissal::asked;
use crate::node::Node;
use http::{Method, StatusCode};
use protocol::ErrorCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::SystemTime;

/// The most revocations in one answer.
const LIMIT_MAX: u32 = 10_000;

/// `POST disconnect`.
pub(super) struct Disconnect;

/// The nodes have been told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Disconnecting")]
pub(super) struct Told {
    /// The code that the connections are closed with.
    code: u16,
}

/// `POST revoke`.
pub(super) struct Revoke;

/// What is revoked from now on.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Revoked {
    /// As every node will know it.
    revoked: asked::Shown,
}

/// `GET revocations`.
pub(super) struct Revocations;

/// A part of what is revoked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RevocationsQuery")]
pub(super) struct Asked {
    /// How many at the most; those that end first come first.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 10000))]
    limit: u32,
}

/// What is revoked.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Revocations")]
pub(super) struct List {
    /// How many there are.
    count: usize,
    /// How many there may be (`auth.revocations_max`).
    max: usize,
    /// Those that end first.
    revocations: Vec<asked::Shown>,
}

const fn default_limit() -> u32 {
    1000
}

impl Endpoint for Disconnect {
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "disconnect";
    const SCOPE: Option<Scope> = Some(Scope::Admin);
    const SUMMARY: &'static str = "Closes the connections of a user, of a channel, or one";
    const DESCRIPTION: &'static str = "On all nodes that can be reached at this moment; they close what they have right \
        after. Who is to stay away is revoked as well. 503: repeat it, which does no harm.";
    const STATUSES: &'static [(u16, &'static str)] = &[(202, "The nodes have been told.")];
    const PROBLEMS: &'static [Code] = &[
        Code::Refused(ErrorCode::BadRequest),
        Code::Refused(ErrorCode::UnknownClient),
        Code::Refused(ErrorCode::Unavailable),
    ];
    type Asked = asked::Disconnect;
    type Answer = Told;

    async fn run(node: Arc<Node>, asked: asked::Disconnect, _: Option<String>) -> Done<Told> {
        let (leaving, code) = asked.leaving().map_err(|why| problem(&why))?;
        node.disconnect(leaving, code).await.map_err(|why| problem(&why))?;
        Ok((StatusCode::ACCEPTED, Told { code: code.code() }))
    }
}

impl Endpoint for Revoke {
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "revoke";
    const SCOPE: Option<Scope> = Some(Scope::Admin);
    const SUMMARY: &'static str = "Revokes a token, or those of a user";
    const DESCRIPTION: &'static str = "In the whole cluster, also on nodes that start later; connections that live by them are \
        closed (4009). 503: repeat it until it is taken, which does no harm.";
    const STATUSES: &'static [(u16, &'static str)] = &[(200, "Every node will know it.")];
    const PROBLEMS: &'static [Code] = &[
        Code::Refused(ErrorCode::BadRequest),
        Code::Refused(ErrorCode::LimitExceeded),
        Code::Refused(ErrorCode::Unavailable),
    ];
    type Asked = asked::Revoke;
    type Answer = Revoked;

    async fn run(node: Arc<Node>, asked: asked::Revoke, _: Option<String>) -> Done<Revoked> {
        let (target, until) = asked.target(SystemTime::now()).map_err(|why| problem(&why))?;
        let revocation = node.revoke(target, until).await.map_err(|why| problem(&why))?;
        Ok((StatusCode::OK, Revoked { revoked: revocation.into() }))
    }
}

impl Endpoint for Revocations {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "revocations";
    const SCOPE: Option<Scope> = Some(Scope::Admin);
    const SUMMARY: &'static str = "What is revoked";
    const DESCRIPTION: &'static str = "As the node that is asked knows it.";
    const PROBLEMS: &'static [Code] = &[Code::Refused(ErrorCode::BadRequest)];
    type Asked = Asked;
    type Answer = List;

    async fn run(node: Arc<Node>, asked: Asked, _: Option<String>) -> Done<List> {
        if !(1..=LIMIT_MAX).contains(&asked.limit) {
            return Err(Problem::bad_request(format!("`limit` is a number from 1 to {LIMIT_MAX}")));
        }
        let (list, count) = node.revocations.list(asked.limit as usize);
        let revocations = list.into_iter().map(asked::Shown::from).collect();
        Ok((StatusCode::OK, List { count, max: node.config.revocations.max, revocations }))
    }
}

fn problem(why: &Undone) -> Problem {
    let code = match why {
        Undone::Invalid(_) => ErrorCode::BadRequest,
        Undone::UnknownClient => ErrorCode::UnknownClient,
        Undone::Full(_) => ErrorCode::LimitExceeded,
        Undone::Unavailable(_) => ErrorCode::Unavailable,
    };
    Problem::new(Code::Refused(code), why.to_string())
}
