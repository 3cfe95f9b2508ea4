//! From what backends publish to what the broker gets, and what became of it.

use super::problem::{Code, Problem};
use super::values;
use crate::commands::check_publication;
use crate::local::unix_ms;
use crate::node::Node;
use broker::PublishError;
use protocol::{Channel, ErrorCode, Payload, Position, Publication, Refusal, Text};
use serde_json::value::RawValue;
use tokio::time::Instant;

/// What is published, wherever it goes.
pub(super) struct What {
    pub(super) data: Payload,
    event: Option<String>,
    retain: Option<String>,
    volatile: bool,
}

impl What {
    /// What a body says, if it can be published anywhere.
    pub(super) fn new(
        node: &Node,
        data: &RawValue,
        event: Option<String>,
        retain: Option<String>,
        volatile: bool,
    ) -> Result<Self, Problem> {
        let max = node.config.worker.max_message_bytes;
        if data.get().len() > max {
            let detail = format!("`data` is larger than {max} bytes (limits.max_message)");
            return Err(Problem::new(Code::Refused(ErrorCode::TooLarge), detail));
        }
        let data = values::payload(data)?;
        Ok(Self { data, event: values::named("event", event)?, retain: values::named("retain", retain)?, volatile })
    }

    /// The same for a channel, if its namespace takes it.
    pub(super) fn to(&self, node: &Node, channel: Channel, key: Option<String>) -> Result<broker::Publish, Problem> {
        let Some(namespace) = node.config.policy.namespace(&channel) else {
            return Err(Refusal::new(ErrorCode::UnknownChannel, "no namespace takes this channel").into());
        };
        let publish = protocol::Publish {
            channel,
            data: self.data.clone(),
            event: self.event.clone(),
            key,
            retain: self.retain.clone(),
            volatile: self.volatile,
            echo: true,
        };
        check_publication(namespace, &publish)?;
        Ok(broker::Publish {
            channel: publish.channel,
            publication: Publication {
                offset: None,
                data: publish.data,
                event: publish.event.map(Text::from),
                retain: publish.retain.map(Text::from),
                from: None,
                time_ms: unix_ms(),
                echo: true,
                stamp: fastrand::u64(..),
            },
            retention: namespace.history.filter(|_| !self.volatile),
            key: publish.key,
            deadline: Instant::now() + node.config.worker.publish_deadline,
        })
    }
}

/// Publishes those that may be, as one batch; outcomes in the order of all.
pub(super) async fn carry_out(
    node: &Node,
    asked: Vec<Result<broker::Publish, Problem>>,
) -> Vec<Result<Option<Position>, Problem>> {
    let mut batch = Vec::with_capacity(asked.len());
    let mut refused = Vec::with_capacity(asked.len());
    for publish in asked {
        match publish {
            Ok(publish) => {
                batch.push(publish);
                refused.push(None);
            }
            Err(problem) => refused.push(Some(problem)),
        }
    }
    let mut published = node.broker.publish(batch).await.into_iter();
    let outcome = |refused: Option<Problem>| match refused {
        Some(problem) => Err(problem),
        None => published.next().unwrap_or(Err(PublishError::UnknownOutcome)).map_err(problem),
    };
    let outcomes: Vec<_> = refused.into_iter().map(outcome).collect();
    for outcome in &outcomes {
        let code = outcome.as_ref().err().map_or("ok", |problem| problem.code.as_str());
        node.metrics.api_publications.with_label_values(&[code]).inc();
    }
    outcomes
}

pub(super) fn problem(error: PublishError) -> Problem {
    match error {
        PublishError::Unavailable => Refusal::unavailable().into(),
        PublishError::UnknownOutcome => {
            let message =
                "Redis did not answer in time: it may or may not have been published; repeat with the same `key`";
            Refusal::new(ErrorCode::UnknownOutcome, message).into()
        }
        PublishError::StateFull => {
            Refusal::new(ErrorCode::LimitExceeded, "the channel's state has no room for this `retain`").into()
        }
    }
}
