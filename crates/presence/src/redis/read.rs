//! Reads who is in a channel.

use super::shared::Shared;
use super::tenure::owner_of;
use crate::Unavailable;
use crate::census::Census;
use protocol::{Channel, Members, Text};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, pipe};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashSet;

/// A member as lua/member.lua describes it.
#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    node: Cow<'a, str>,
    #[serde(borrow)]
    info: Option<Cow<'a, str>>,
}

/// Members, listed if asked for and if the channel is small enough. The caller sets the deadline.
pub(super) async fn members(shared: &Shared, channel: &Channel, list: bool) -> Result<Members, Unavailable> {
    let mut connection = shared.link.pool().get().await.map_err(|error| {
        tracing::debug!(%error, "no connection to read presence with");
        Unavailable
    })?;
    read(shared, &mut connection, channel, list).await.map_err(|error| {
        tracing::debug!(%error, "presence could not be read");
        Unavailable
    })
}

async fn read(
    shared: &Shared,
    connection: &mut MultiplexedConnection,
    channel: &Channel,
    list: bool,
) -> RedisResult<Members> {
    let keys = shared.link.keys();
    let (here, users) = (keys.here(channel), keys.users(channel));
    let (clients, users): (u64, u64) = pipe().hlen(&here).hlen(users).query_async(connection).await?;
    if !list || !shared.config.can_list(clients, users) {
        return Ok(Members { list: None, clients, users });
    }
    let values: Vec<Vec<u8>> = redis::cmd("HVALS").arg(here).query_async(connection).await?;
    let stored: Vec<Stored<'_>> = values.iter().filter_map(|value| serde_json::from_slice(value).ok()).collect();
    let alive = living_nodes(shared, connection, &stored).await?;
    let mut census = Census::default();
    for Stored { user, node, info } in &stored {
        if alive.contains(owner_of(node)) {
            census.count(Text::from(&**user), info.as_deref().map(Text::from));
        }
    }
    Ok(census.into_members())
}

/// Those nodes whose lease holds; this one lives, whatever its lease says.
async fn living_nodes<'a>(
    shared: &'a Shared,
    connection: &mut MultiplexedConnection,
    stored: &'a [Stored<'_>],
) -> RedisResult<HashSet<&'a str>> {
    let own: &str = &shared.node;
    let owners = stored.iter().map(|stored| owner_of(&stored.node));
    let others: HashSet<&str> = owners.filter(|node| *node != own).collect();
    let others: Vec<&str> = others.into_iter().collect();
    let mut living = HashSet::from([own]);
    if others.is_empty() {
        return Ok(living);
    }
    let mut asking = pipe();
    for node in &others {
        asking.exists(shared.link.keys().lease(node));
    }
    let lives: Vec<bool> = asking.query_async(connection).await?;
    living.extend(others.into_iter().zip(lives).filter_map(|(node, lives)| lives.then_some(node)));
    Ok(living)
}
