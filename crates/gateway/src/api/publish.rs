//! Publishing: to one channel, the same to many, and several at once.

use super::endpoint::{Done, Endpoint, Object};
use super::keys::Scope;
use super::problem::{Code, Problem};
use super::publishing::{What, carry_out, problem};
use super::values::{self, Outcome};
use crate::node::Node;
use broker::PublishError;
use http::{Method, StatusCode};
use protocol::{Channel, ErrorCode, Position, Refusal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::sync::Arc;

/// The most channels of a broadcast, and publications of a batch: Redis takes so many appends in about 3 ms.
const COUNT_MAX: usize = 1000;

/// The most that one broadcast may put into the queue to Redis, which has a bound of its own (`broker.queue_bytes`) that is
/// for all.
const BROADCAST_BYTES_MAX: usize = 16 << 20;

/// Problems that publishing may have.
const PROBLEMS: &[Code] = &[
    Code::Refused(ErrorCode::BadRequest),
    Code::Refused(ErrorCode::PermissionDenied),
    Code::Refused(ErrorCode::UnknownChannel),
    Code::Refused(ErrorCode::TooLarge),
    Code::Refused(ErrorCode::LimitExceeded),
    Code::Refused(ErrorCode::Unavailable),
    Code::Refused(ErrorCode::UnknownOutcome),
];

/// Statuses of several publications.
const OF_SEVERAL: &[(u16, &str)] = &[
    (200, "All of them are in Redis, and on their way to the subscribers."),
    (207, "Some were not taken, or it is not known: each outcome says so for itself."),
];

/// `POST publish`.
pub(super) struct Publish;

/// One publication.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Publish")]
pub(super) struct One {
    /// Where to: 1 to 255 bytes of UTF-8.
    #[schemars(length(min = 1, max = 255))]
    channel: String,
    /// What: any JSON, which travels as it is written here.
    #[schemars(with = "serde_json::Value")]
    data: Box<RawValue>,
    /// The application's name for what happened.
    #[schemars(length(min = 1, max = 255))]
    event: Option<String>,
    /// Idempotency: within five minutes a repeat with the same key is answered like the first and not delivered again. Needs
    /// a channel with history. The header `Idempotency-Key` is the same.
    #[schemars(length(min = 1, max = 255))]
    key: Option<String>,
    /// Also keeps it in the channel's state, as the newest under this key; with `null` as `data` the key is taken out.
    #[schemars(length(min = 1, max = 255))]
    retain: Option<String>,
    /// At most once, outside the log.
    #[serde(default)]
    volatile: bool,
}

/// `POST broadcast`.
pub(super) struct Broadcast;

/// The same publication for many channels.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Broadcast")]
pub(super) struct ToMany {
    /// Where to, each once.
    #[schemars(length(min = 1, max = 1000), extend("uniqueItems" = true))]
    channels: Vec<String>,
    /// What: any JSON, which travels as it is written here.
    #[schemars(with = "serde_json::Value")]
    data: Box<RawValue>,
    /// As in a publication.
    #[schemars(length(min = 1, max = 255))]
    event: Option<String>,
    /// As in a publication: it counts in each channel for itself.
    #[schemars(length(min = 1, max = 255))]
    key: Option<String>,
    /// As in a publication.
    #[schemars(length(min = 1, max = 255))]
    retain: Option<String>,
    /// As in a publication.
    #[serde(default)]
    volatile: bool,
}

/// `POST batch`.
pub(super) struct Batch;

/// Several publications.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Batch")]
pub(super) struct Several {
    /// In this order, which holds for those of one channel. With the header `Idempotency-Key`, those without a `key` have
    /// one of it and their place (`KEY/0`, `KEY/1`, …).
    #[schemars(length(min = 1, max = 1000))]
    publications: Vec<Object<One>>,
}

/// What became of several publications.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Outcomes")]
pub(super) struct Outcomes {
    /// In the order they were given.
    outcomes: Vec<Outcome>,
    /// How many of them have an `error`.
    failed: usize,
}

impl Endpoint for Publish {
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "publish";
    const SCOPE: Option<Scope> = Some(Scope::Publish);
    const SUMMARY: &'static str = "Publishes to a channel";
    const DESCRIPTION: &'static str = "Answered when Redis has it, by `publish.deadline` at the latest. 503 `unavailable`: it \
        has not been and will not be delivered. 504 `unknown_outcome`: it may or may not have been taken; repeat it with the \
        same `key`. Any other problem: nothing was published.";
    const STATUSES: &'static [(u16, &'static str)] = &[(200, "It is in Redis, and on its way to the subscribers.")];
    const PROBLEMS: &'static [Code] = PROBLEMS;
    type Asked = One;
    type Answer = Outcome;

    async fn run(node: Arc<Node>, one: One, header: Option<String>) -> Done<Outcome> {
        let key = one_key(one.key, header)?;
        let what = What::new(&node, &one.data, one.event, one.retain, one.volatile)?;
        let publish = what.to(&node, values::channel(&one.channel)?, key)?;
        let outcome = carry_out(&node, vec![Ok(publish)]).await.pop();
        // One publication, one outcome.
        let position = outcome.unwrap_or_else(|| Err(problem(PublishError::UnknownOutcome)))?;
        Ok((StatusCode::OK, Outcome::new(one.channel, &Ok(position))))
    }
}

impl Endpoint for Broadcast {
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "broadcast";
    const SCOPE: Option<Scope> = Some(Scope::Publish);
    const SUMMARY: &'static str = "Publishes the same to many channels";
    const DESCRIPTION: &'static str = "To at most 1000 channels. Each channel has an outcome of its own, as `publish` would \
        answer it; 503 says that nothing was published to any of them.";
    const STATUSES: &'static [(u16, &'static str)] = OF_SEVERAL;
    const PROBLEMS: &'static [Code] = PROBLEMS;
    type Asked = ToMany;
    type Answer = Outcomes;

    async fn run(node: Arc<Node>, many: ToMany, header: Option<String>) -> Done<Outcomes> {
        check_count("channels", many.channels.len())?;
        let mut seen = HashSet::new();
        if let Some(twice) = many.channels.iter().find(|channel| !seen.insert(channel.as_str())) {
            return Err(Problem::bad_request(format!("`channels`: `{twice}` is there twice")));
        }
        let key = one_key(many.key, header)?;
        let what = What::new(&node, &many.data, many.event, many.retain, many.volatile)?;
        if what.data.bytes.len().saturating_mul(many.channels.len()) > BROADCAST_BYTES_MAX {
            let detail =
                format!("`data` times `channels` is more than {BROADCAST_BYTES_MAX} bytes: take several broadcasts");
            return Err(Problem::new(Code::Refused(ErrorCode::TooLarge), detail));
        }
        let channels: Vec<Channel> =
            many.channels.iter().map(|name| values::channel(name)).collect::<Result<_, _>>()?;
        let batch = channels.into_iter().map(|channel| what.to(&node, channel, key.clone())).collect();
        let outcomes = carry_out(&node, batch).await;
        several(many.channels, &outcomes)
    }
}

impl Endpoint for Batch {
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "batch";
    const SCOPE: Option<Scope> = Some(Scope::Publish);
    const SUMMARY: &'static str = "Publishes several publications at once";
    const DESCRIPTION: &'static str = "At most 1000. Each has an outcome of its own, as `publish` would answer it, and the \
        others go on; 503 says that none of them was published. A body that is not understood publishes nothing.";
    const STATUSES: &'static [(u16, &'static str)] = OF_SEVERAL;
    const PROBLEMS: &'static [Code] = PROBLEMS;
    type Asked = Several;
    type Answer = Outcomes;

    async fn run(node: Arc<Node>, several_asked: Several, header: Option<String>) -> Done<Outcomes> {
        check_count("publications", several_asked.publications.len())?;
        let (mut channels, mut batch) = (Vec::new(), Vec::new());
        for (index, Object(one)) in several_asked.publications.into_iter().enumerate() {
            let at = |problem: Problem| problem.at(&format!("publications[{index}]"));
            let channel = values::channel(&one.channel).map_err(at)?;
            let key = one.key.or_else(|| header.as_ref().map(|header| format!("{header}/{index}")));
            let key = values::named("key", key).map_err(at)?;
            batch.push(match What::new(&node, &one.data, one.event, one.retain, one.volatile) {
                Err(problem) if problem.code == Code::Refused(ErrorCode::BadRequest) => return Err(at(problem)),
                what => what.and_then(|what| what.to(&node, channel, key)),
            });
            channels.push(one.channel);
        }
        let outcomes = carry_out(&node, batch).await;
        several(channels, &outcomes)
    }
}

/// The key of the body, or of the header.
fn one_key(body: Option<String>, header: Option<String>) -> Result<Option<String>, Problem> {
    match (values::named("key", body)?, header) {
        (Some(body), Some(header)) if body != header => {
            Err(Problem::bad_request("`key` and the header `Idempotency-Key` are not the same: keep one"))
        }
        (body, header) => Ok(body.or(header)),
    }
}

fn check_count(field: &str, count: usize) -> Result<(), Problem> {
    if (1..=COUNT_MAX).contains(&count) {
        return Ok(());
    }
    Err(Problem::bad_request(format!("`{field}` holds 1 to {COUNT_MAX}, and not {count}")))
}

/// Answers for several. Where Redis took none, that is the answer: whoever only looks at the status comes back.
fn several(channels: Vec<String>, outcomes: &[Result<Option<Position>, Problem>]) -> Done<Outcomes> {
    let unavailable = Code::Refused(ErrorCode::Unavailable);
    let is_unavailable =
        |outcome: &Result<_, Problem>| outcome.as_ref().is_err_and(|problem| problem.code == unavailable);
    if outcomes.iter().all(is_unavailable) {
        return Err(Refusal::unavailable().into());
    }
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    let status = if failed == 0 { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    let outcomes = channels.into_iter().zip(outcomes).map(|(channel, outcome)| Outcome::new(channel, outcome));
    Ok((status, Outcomes { outcomes: outcomes.collect(), failed }))
}
