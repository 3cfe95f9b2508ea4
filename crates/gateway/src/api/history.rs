//! What was published in a channel.

use super::endpoint::{Done, Endpoint};
use super::keys::Scope;
use super::problem::{Code, Problem};
use super::values::{self, Told};
use crate::hub::replay::weight;
use crate::node::Node;
use broker::{Page, Range};
use http::{Method, StatusCode};
use protocol::{Channel, ErrorCode, Refusal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The most publications in one answer.
const LIMIT_MAX: u32 = 1000;

/// About the most bytes of them; the rest is another page.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// `GET history`.
pub(super) struct History;

/// A part of a channel's log.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "HistoryQuery")]
pub(super) struct Asked {
    /// Which channel.
    #[schemars(length(min = 1, max = 255))]
    channel: String,
    /// How many publications at the most.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// Only what came after this offset or, reversed, before it. Without it, from the log's end in the reading direction.
    since: Option<u64>,
    /// The epoch that `since` counts in. If the log has another one by now, `since` does not count.
    epoch: Option<String>,
    /// Newest first.
    #[serde(default)]
    reverse: bool,
}

/// A part of a channel's log, as of one moment.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Publications")]
pub(super) struct Answer {
    /// Which channel.
    channel: String,
    /// The life of the log that offsets count in.
    epoch: String,
    /// The newest offset at the moment of reading.
    offset: u64,
    /// In the order asked for.
    publications: Vec<Told>,
    /// What to ask with as `since` for the next part; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

const fn default_limit() -> u32 {
    100
}

impl Endpoint for History {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "history";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    const SUMMARY: &'static str = "What was published in a channel";
    const DESCRIPTION: &'static str = "As much as the channel's namespace keeps (`history`). In parts: ask on with `since` = \
        `next` and the `epoch` of the answer.";
    const PROBLEMS: &'static [Code] = &[
        Code::Refused(ErrorCode::BadRequest),
        Code::Refused(ErrorCode::UnknownChannel),
        Code::Refused(ErrorCode::Unavailable),
    ];
    type Asked = Asked;
    type Answer = Answer;

    async fn run(node: Arc<Node>, asked: Asked, _: Option<String>) -> Done<Answer> {
        let channel = values::channel(&asked.channel)?;
        if !(1..=LIMIT_MAX).contains(&asked.limit) {
            return Err(Problem::bad_request(format!("`limit` is a number from 1 to {LIMIT_MAX}")));
        }
        let Some(namespace) = node.config.policy.namespace(&channel) else {
            return Err(Refusal::new(ErrorCode::UnknownChannel, "no namespace takes this channel").into());
        };
        if namespace.history.is_none() {
            return Err(Problem::bad_request("this channel keeps no history"));
        }
        let page = read(&node, &channel, &asked).await.map_err(|_| Refusal::unavailable())?;
        Ok((StatusCode::OK, answer(asked, &page)))
    }
}

/// An offset of another epoch says nothing about this one: then the reading begins at the log's end.
async fn read(node: &Node, channel: &Channel, asked: &Asked) -> Result<Page, broker::Unavailable> {
    let range = Range { since: asked.since, limit: asked.limit, reverse: asked.reverse };
    let page = node.broker.history(channel, range).await?;
    if asked.since.is_none() || asked.epoch.as_ref().is_none_or(|epoch| **epoch == *page.top.epoch) {
        return Ok(page);
    }
    node.broker.history(channel, Range { since: None, ..range }).await
}

fn answer(asked: Asked, page: &Page) -> Answer {
    let mut room = ANSWER_BYTES_MAX;
    let fits = page.publications.iter().enumerate().take_while(|(index, publication)| {
        let fits = *index == 0 || weight(publication) <= room;
        room = room.saturating_sub(weight(publication));
        fits
    });
    let told: Vec<_> = fits.map(|(_, publication)| publication).collect();
    let is_cut = told.len() < page.publications.len();
    let last = told.last().and_then(|last| last.offset);
    let may_go_on = match asked.reverse {
        false => !page.reaches_top(),
        // Offsets count from 1.
        true => told.len() == asked.limit as usize && last.is_some_and(|last| last > 1),
    };
    Answer {
        channel: asked.channel,
        epoch: page.top.epoch.to_string(),
        offset: page.top.offset,
        next: last.filter(|_| is_cut || may_go_on),
        publications: told.into_iter().map(Told::new).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Payload, Position, Publication};

    fn page(offsets: impl Iterator<Item = u64>, top: u64, bytes: usize) -> Page {
        let data = Payload::json(format!("\"{}\"", "x".repeat(bytes)));
        let publication = |offset| Publication {
            offset: Some(offset),
            data: data.clone(),
            event: None,
            retain: None,
            from: None,
            time_ms: 1,
            echo: true,
            stamp: 0,
        };
        Page { publications: offsets.map(publication).collect(), top: Position { epoch: "e".into(), offset: top } }
    }

    fn next(limit: u32, reverse: bool, page: &Page) -> (usize, Option<u64>) {
        let asked = Asked { channel: "c".into(), limit, since: None, epoch: None, reverse };
        let answer = answer(asked, page);
        (answer.publications.len(), answer.next)
    }

    #[test]
    fn a_part_says_where_the_next_one_begins() {
        assert_eq!(next(2, false, &page(1..3, 5, 1)), (2, Some(2)));
        assert_eq!(next(2, false, &page(4..6, 5, 1)), (2, None));
        assert_eq!(next(2, false, &page(0..0, 5, 1)), (0, None));
        assert_eq!(next(2, true, &page((4..6).rev(), 5, 1)), (2, Some(4)));
        assert_eq!(next(2, true, &page((1..3).rev(), 5, 1)), (2, None));
        assert_eq!(next(3, true, &page((4..6).rev(), 5, 1)), (2, None), "the log holds no more");
    }

    #[test]
    fn what_is_large_comes_in_parts_of_one_at_the_least() {
        let (count, at) = next(100, false, &page(1..101, 100, 64 << 10));
        assert!((40..64).contains(&count) && at == Some(count as u64), "{count} {at:?}");
        assert_eq!(next(100, false, &page(1..3, 2, ANSWER_BYTES_MAX)), (1, Some(1)));
    }
}
