//! What a client that polls is given: the log after its position, and plainly what of it is missing.

use super::history::{fitting, may_read};
use crate::local::Local;
use crate::local::speaker::Speaker;
use broker::{Page, Range};
use protocol::dialect::json::Messages;
use protocol::{Channel, Position, Publication, Refusal, Since};
use tokio::time::timeout;

/// The most publications in one answer.
const LIMIT_MAX: u32 = 256;

/// About the largest answer, one publication aside: a quarter of what may wait for a connection by default.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Reads what came after a position, or the newest.
///
/// # Errors
/// Why not.
pub async fn read(
    local: &Local,
    who: &impl Speaker,
    channel: &Channel,
    since: Option<&Since>,
    limit: u32,
) -> Result<Messages, Refusal> {
    let answer = carry_out(local, who, channel, since, limit).await;
    match &answer {
        Ok(_) => local.node.metrics.done("history"),
        Err(refusal) => local.node.metrics.refused("history", refusal.code),
    }
    answer
}

async fn carry_out(
    local: &Local,
    who: &impl Speaker,
    channel: &Channel,
    since: Option<&Since>,
    limit: u32,
) -> Result<Messages, Refusal> {
    super::take_turn(local, who)?;
    may_read(local, who, channel)?;
    let room = (local.node.config.worker.outbox_bytes / 2).min(ANSWER_BYTES_MAX);
    let limit = limit.clamp(1, LIMIT_MAX);
    let read = async {
        // What is read may be far larger than what is answered.
        let _place = local.node.requests.read().await;
        match since {
            None => newest(local, channel, limit, room).await,
            Some(since) => after(local, channel, since, limit, room).await,
        }
    };
    timeout(super::COMMAND_TIMEOUT, read).await.ok().and_then(Result::ok).ok_or_else(Refusal::unavailable)
}

async fn newest(local: &Local, channel: &Channel, limit: u32, room: usize) -> Result<Messages, broker::Unavailable> {
    let page = local.node.broker.history(channel, Range { since: None, limit, reverse: true }).await?;
    Ok(up_to_top(page, room))
}

async fn after(
    local: &Local,
    channel: &Channel,
    since: &Since,
    limit: u32,
    room: usize,
) -> Result<Messages, broker::Unavailable> {
    let read = |since, limit| local.node.broker.history(channel, Range { since, limit, reverse: false });
    let mut page = read(Some(since.offset), limit).await?;
    let begin = begin(since, &page.top);
    if begin.offset != since.offset {
        page = read(Some(begin.offset), limit).await?;
    }
    if page.publications.is_empty() && page.top.offset > begin.offset {
        // What was kept may be past these, should they be a newer node's, which this one cannot read.
        page = read(Some(begin.offset), LIMIT_MAX).await?;
    }
    Ok(from_begin(&begin, page, room))
}

/// Where the reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Begin {
    /// Everything up to here has been seen, or says nothing.
    offset: u64,
    /// Whether it is where the client has been.
    is_known: bool,
}

/// An offset of another epoch says nothing about this one, nor does one that was not yet given away: then the log is read
/// from its first. Only in the same epoch has the log itself gone back: what it has up to there was seen.
fn begin(since: &Since, top: &Position) -> Begin {
    let is_same = since.epoch.as_ref().is_none_or(|epoch| *epoch == top.epoch);
    match since.offset <= top.offset {
        true if is_same => Begin { offset: since.offset, is_known: true },
        false if is_same && since.epoch.is_some() => Begin { offset: top.offset, is_known: false },
        _ => Begin { offset: 0, is_known: false },
    }
}

/// The newest, read backwards: as many as fit, without a hole.
fn up_to_top(page: Page, room: usize) -> Messages {
    let Page { mut publications, top } = page;
    let unbroken = unbroken(&publications, |offset| offset.checked_sub(1));
    publications.truncate(unbroken.min(fitting(publications.iter(), room)));
    publications.reverse();
    Messages { position: top, recovered: None, gap: None, more: false, publications }
}

/// What came after the begin: up to the next hole, which the next reading will tell.
fn from_begin(begin: &Begin, page: Page, room: usize) -> Messages {
    let Page { mut publications, top } = page;
    let unbroken = unbroken(&publications, |offset| offset.checked_add(1));
    publications.truncate(unbroken.min(fitting(publications.iter(), room)));
    let first = publications.first().and_then(|first| first.offset);
    let expected = begin.offset.saturating_add(1);
    let gap = match first {
        Some(first) if first > expected => Some((expected, first - 1)),
        None if top.offset >= expected => Some((expected, top.offset)),
        _ => None,
    };
    let offset = publications.last().and_then(|last| last.offset).unwrap_or(top.offset);
    let more = offset < top.offset;
    let recovered = Some(begin.is_known && gap.is_none());
    Messages { position: Position { epoch: top.epoch, offset }, recovered, gap, more, publications }
}

/// How many follow one another without a hole.
fn unbroken(publications: &[Publication], next: impl Fn(u64) -> Option<u64>) -> usize {
    let follows = |pair: &[Publication]| match pair {
        [one, other] => one.offset.and_then(&next) == other.offset,
        _ => true,
    };
    let pairs = publications.windows(2).take_while(|pair| follows(pair)).count();
    (pairs + 1).min(publications.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use protocol::Payload;

    const ROOM: usize = 1 << 20;

    fn page(offsets: &[u64], top: u64) -> Page {
        let publication = |offset: &u64| Publication {
            offset: Some(*offset),
            data: Payload::json(Bytes::from_static(b"1")),
            event: None,
            retain: None,
            from: None,
            time_ms: 0,
            echo: true,
            stamp: 0,
        };
        Page { publications: offsets.iter().map(publication).collect(), top: at(top) }
    }

    fn at(offset: u64) -> Position {
        Position { epoch: "e".into(), offset }
    }

    fn since(epoch: Option<&str>, offset: u64) -> Since {
        Since { epoch: epoch.map(Into::into), offset }
    }

    fn offsets(messages: &Messages) -> Vec<u64> {
        messages.publications.iter().filter_map(|p| p.offset).collect()
    }

    #[test]
    fn nothing_that_is_missing_goes_untold_wherever_the_log_begins() {
        let known = Begin { offset: 4, is_known: true };
        let told = |offsets: &[u64], top| {
            let messages = from_begin(&known, page(offsets, top), ROOM);
            (messages.position.offset, messages.recovered, messages.gap, messages.more)
        };
        assert_eq!(told(&[], 4), (4, Some(true), None, false), "nothing new");
        assert_eq!(told(&[5, 6], 6), (6, Some(true), None, false));
        assert_eq!(told(&[5, 6], 9), (6, Some(true), None, true), "the limit");
        assert_eq!(told(&[8, 9], 9), (9, Some(false), Some((5, 7)), false), "trimmed");
        assert_eq!(told(&[], 9), (9, Some(false), Some((5, 9)), false), "all of it has ended");
        assert_eq!(told(&[5, 6, 9], 9), (6, Some(true), None, true), "the hole is told by the next reading");
    }

    #[test]
    fn whoever_asks_on_from_each_answer_has_every_offset_or_a_gap_for_it() {
        let log = [3, 4, 5, 8, 9, 12, 13];
        let (mut at, mut seen) = (0, Vec::new());
        loop {
            let next: Vec<_> = log.iter().copied().filter(|offset| *offset > at).take(2).collect();
            let messages = from_begin(&Begin { offset: at, is_known: true }, page(&next, 14), ROOM);
            seen.extend(messages.gap.into_iter().flat_map(|(from, to)| from..=to));
            seen.extend(offsets(&messages));
            at = messages.position.offset;
            if !messages.more {
                break;
            }
        }
        // The last one cannot be read by this node.
        let messages = from_begin(&Begin { offset: at, is_known: true }, page(&[], 14), ROOM);
        seen.extend(messages.gap.into_iter().flat_map(|(from, to)| from..=to));
        seen.dedup();
        assert_eq!(seen, (1..=14).collect::<Vec<_>>());
    }

    #[test]
    fn an_offset_counts_only_in_its_own_epoch() {
        let begin = |epoch, offset| begin(&since(epoch, offset), &at(10));
        assert_eq!(begin(Some("e"), 10), Begin { offset: 10, is_known: true });
        assert_eq!(begin(None, 3), Begin { offset: 3, is_known: true });
        assert_eq!(begin(Some("other"), 3), Begin { offset: 0, is_known: false });
        assert_eq!(begin(None, 11), Begin { offset: 0, is_known: false }, "it was another log's");
        assert_eq!(begin(Some("e"), 11), Begin { offset: 10, is_known: false }, "the log has gone back");
    }

    #[test]
    fn the_newest_come_oldest_first_without_a_hole_and_as_far_as_they_fit() {
        let read = |room| offsets(&up_to_top(page(&[9, 8, 7, 4], 9), room));
        assert_eq!(read(ROOM), [7, 8, 9]);
        assert_eq!(read(450), [8, 9]);
        assert_eq!(read(0), [9], "one always does");
        assert!(offsets(&up_to_top(page(&[], 0), ROOM)).is_empty());
    }
}
