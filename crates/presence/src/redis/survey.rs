//! Reads which channels have members, and which nodes live.
//!
//! The channels are those in the nodes' own indices, walked node by node with a cursor: what is looked at is bounded by
//! what clients have joined, never the whole keyspace, and the prefix is compared here, so that no client's text becomes a
//! pattern. A channel that several nodes have is told at the first of them.

use super::shared::Shared;
use super::tenure::owner_of;
use crate::{ChannelsPage, Cursor, Living, Populated, Unavailable};
use protocol::{Channel, Text};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, pipe};
use std::collections::{BTreeMap, HashSet};

/// Index entries that one step looks at, about: half a millisecond of Redis' time.
const STEP_ENTRIES: usize = 500;

/// Steps of one answer, however few of what they find is asked for.
const STEPS_MAX: usize = 20;

/// A part of the channels. The caller sets the deadline.
pub(super) async fn channels(
    shared: &Shared,
    prefix: &str,
    after: Option<Cursor>,
    limit: usize,
) -> Result<ChannelsPage, Unavailable> {
    let mut connection = shared.link.pool().get().await.map_err(|error| unreadable(&error))?;
    let survey = Survey { shared, prefix, limit };
    survey.page(&mut connection, after).await.map_err(|error| unreadable(&error))
}

/// The nodes whose lease holds; this one lives, whatever its lease says.
pub(super) async fn nodes(shared: &Shared) -> Result<Vec<Living>, Unavailable> {
    let mut connection = shared.link.pool().get().await.map_err(|error| unreadable(&error))?;
    living(shared, &mut connection).await.map_err(|error| unreadable(&error))
}

fn unreadable(error: &dyn std::fmt::Display) -> Unavailable {
    tracing::debug!(%error, "presence could not be read");
    Unavailable
}

struct Survey<'a> {
    shared: &'a Shared,
    prefix: &'a str,
    limit: usize,
}

impl Survey<'_> {
    async fn page(&self, connection: &mut MultiplexedConnection, after: Option<Cursor>) -> RedisResult<ChannelsPage> {
        let mut tenures: Vec<String> =
            redis::cmd("HKEYS").arg(self.shared.link.keys().nodes()).query_async(connection).await?;
        tenures.sort_unstable();
        let mut page =
            ChannelsPage { channels: Vec::new(), next: after.or(Some(Cursor { place: 0, of: String::new() })) };
        for _ in 0..STEPS_MAX {
            let Some(from) = page.next.take() else { break };
            // Only names that are in Redis form keys; a node that has gone meanwhile is passed over.
            let Some(at) = tenures.iter().position(|tenure| *tenure >= from.of) else { break };
            let place = if tenures[at] == from.of { from.place } else { 0 };
            let place = self.step(connection, &tenures, at, place, &mut page).await?;
            page.next = match (place, tenures.get(at + 1)) {
                (0, next) => next.map(|next| Cursor { place: 0, of: next.clone() }),
                (place, _) => Some(Cursor { place, of: tenures[at].clone() }),
            };
            if page.channels.len() >= self.limit {
                break;
            }
        }
        Ok(page)
    }

    /// Looks at a part of one node's index; returns where it goes on, 0 at its end.
    async fn step(
        &self,
        connection: &mut MultiplexedConnection,
        tenures: &[String],
        at: usize,
        place: u64,
        page: &mut ChannelsPage,
    ) -> RedisResult<u64> {
        let keys = self.shared.link.keys();
        let count = self.limit.clamp(10, STEP_ENTRIES);
        let scan = redis::cmd("SSCAN").arg(keys.node_here(&tenures[at])).arg(place).arg("COUNT").arg(count).to_owned();
        let (place, names): (u64, Vec<String>) = scan.query_async(connection).await?;
        let told: HashSet<&Channel> = page.channels.iter().map(|populated| &populated.channel).collect();
        let meant =
            names.iter().filter(|name| name.starts_with(self.prefix)).filter_map(|name| Channel::new(name).ok());
        // A reading in parts may come upon an entry twice.
        let meant: HashSet<Channel> = meant.filter(|channel| !told.contains(channel)).collect();
        let meant: Vec<Channel> = meant.into_iter().collect();
        if !meant.is_empty() {
            self.count(connection, &tenures[..at], meant, page).await?;
        }
        Ok(place)
    }

    /// Adds those that have members and are not in the index of a node before this one.
    async fn count(
        &self,
        connection: &mut MultiplexedConnection,
        before: &[String],
        channels: Vec<Channel>,
        page: &mut ChannelsPage,
    ) -> RedisResult<()> {
        let keys = self.shared.link.keys();
        let mut asking = pipe();
        for channel in &channels {
            asking.hlen(keys.here(channel)).hlen(keys.users(channel));
        }
        let counts: Vec<u64> = asking.query_async(connection).await?;
        let mut is_told = vec![false; channels.len()];
        if !before.is_empty() {
            let mut asking = pipe();
            for tenure in before {
                let command = asking.cmd("SMISMEMBER").arg(keys.node_here(tenure));
                channels.iter().for_each(|channel| _ = command.arg(channel.as_str()));
            }
            let answers: Vec<Vec<bool>> = asking.query_async(connection).await?;
            for answer in answers {
                is_told.iter_mut().zip(answer).for_each(|(told, has)| *told |= has);
            }
        }
        for ((channel, counts), is_told) in channels.into_iter().zip(counts.chunks(2)).zip(is_told) {
            if let [clients, users] = *counts
                && clients > 0
                && !is_told
            {
                page.channels.push(Populated { channel, clients, users });
            }
        }
        Ok(())
    }
}

async fn living(shared: &Shared, connection: &mut MultiplexedConnection) -> RedisResult<Vec<Living>> {
    let keys = shared.link.keys();
    let registered: BTreeMap<String, String> = redis::cmd("HGETALL").arg(keys.nodes()).query_async(connection).await?;
    // A node may have several tenures; the one it writes to now is the longest name, and of those the last.
    let mut by_owner: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for (tenure, about) in &registered {
        let known = by_owner.entry(owner_of(tenure)).or_insert((tenure, about));
        if (tenure.len(), &**tenure) > (known.0.len(), known.0) {
            *known = (tenure, about);
        }
    }
    if by_owner.is_empty() {
        return Ok(Vec::new());
    }
    let mut asking = pipe();
    by_owner.keys().for_each(|node| _ = asking.exists(keys.lease(node)));
    let lives: Vec<bool> = asking.query_async(connection).await?;
    let all = by_owner.into_iter().zip(lives);
    let living = all.filter(|((node, _), lives)| *lives || **node == *shared.node);
    Ok(living.map(|((node, (_, about)), _)| Living { node: Text::from(node), about: about.into() }).collect())
}
