//! Who is to leave, and whose tokens count no more: what operators and backends ask of a node for the whole cluster.

pub mod asked;

use crate::node::{Node, parse_client_id};
use protocol::order::{Order, Whom};
use protocol::{Channel, CloseCode, Reconnect, Text};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::timeout;
use users::{Revocation, RevokeError, Target};

/// How long an order may take to reach Redis.
const ORDER_TIMEOUT: Duration = Duration::from_secs(2);

/// How far `issued_before` may lie ahead: what is further is in milliseconds, or another slip.
const AHEAD_MAX_S: u64 = 3600;

/// How long a revocation may be remembered.
const KEPT_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// The longest name of a user and id of a token.
const NAME_MAX_BYTES: usize = 255;

/// Whose connections are closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaving {
    /// All of a user, on all nodes.
    User(Text),
    /// One, by its connection id: only its node is told.
    Client(String),
    /// All that subscribe to a channel, on all nodes.
    Channel(Channel),
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undone {
    /// It makes no sense: for people, why.
    #[error("{0}")]
    Invalid(String),
    /// No node has a connection of this id.
    #[error("no node has a connection of this id")]
    UnknownClient,
    /// There is no room for it.
    #[error("{0}")]
    Full(RevokeError),
    /// Redis cannot be reached, or did not answer: repeat it.
    #[error("{0}")]
    Unavailable(&'static str),
}

/// The code that an operator ends connections with, by its number.
///
/// # Errors
/// When it is none that an application's close may have.
pub fn close_code(code: u16) -> Result<CloseCode, Undone> {
    let chosen = CloseCode::from_code(code).filter(|chosen| chosen.code() >= 4000);
    // Those that come back when told have to be told.
    chosen.filter(|chosen| chosen.reconnect() != Reconnect::WhenTold).ok_or_else(|| {
        Undone::Invalid(format!("{code} is not a close code of 40xx (stay away) or 41xx (come back) in PROTOCOL.md"))
    })
}

impl Node {
    /// Closes connections, wherever they are. Nodes that cannot be reached at this moment do not hear of it: who is to stay away
    /// is revoked. Done means that the nodes have been told.
    ///
    /// # Errors
    /// Why it is not done.
    pub async fn disconnect(&self, leaving: Leaving, code: CloseCode) -> Result<(), Undone> {
        let unreachable = Undone::Unavailable("the other nodes cannot be told now; repeat this");
        let whom = match leaving {
            Leaving::User(user) => Whom::User(name(user, "a user")?),
            Leaving::Channel(channel) => Whom::Channel(channel),
            Leaving::Client(id) => {
                let Some((node, number)) = parse_client_id(&id) else {
                    return Err(Undone::Invalid(format!("`{id}` is not a connection id, as `client` in a welcome")));
                };
                let order = Order::Disconnect { whom: Whom::Connection(number), code };
                if node == self.name {
                    return if self.router.take_order(order) { Ok(()) } else { Err(Undone::UnknownClient) };
                }
                return match timeout(ORDER_TIMEOUT, self.broker.direct(node, order.encode())).await {
                    Ok(Ok(true)) => Ok(()),
                    Ok(Ok(false)) => Err(Undone::UnknownClient),
                    Ok(Err(_)) | Err(_) => Err(unreachable),
                };
            }
        };
        let order = Order::Disconnect { whom, code }.encode();
        match timeout(ORDER_TIMEOUT, self.broker.control(order)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(unreachable),
        }
    }

    /// Revokes tokens in the whole cluster, until the given end or as long as is configured; live connections by them are
    /// closed. Done means that every node will know it, also those that start later.
    ///
    /// # Errors
    /// Why it is not done.
    pub async fn revoke(&self, target: Target, until: Option<SystemTime>) -> Result<Revocation, Undone> {
        let now = SystemTime::now();
        let until_ms = end_ms(until.unwrap_or_else(|| now + self.config.revocations.kept.min(KEPT_MAX)), now)?;
        let revocation = Revocation { target: checked(target, now)?, until_ms };
        match self.revocations.revoke(revocation.clone()).await {
            Ok(()) => {}
            Err(full @ RevokeError::Full(_)) => return Err(Undone::Full(full)),
            Err(RevokeError::Unavailable) => {
                return Err(Undone::Unavailable("the list of revocations cannot be written now; repeat this"));
            }
        }
        // Nodes that do not hear it look by themselves a moment later.
        let _ = timeout(ORDER_TIMEOUT, self.broker.control(Order::Revoked.encode())).await;
        Ok(revocation)
    }
}

fn end_ms(until: SystemTime, now: SystemTime) -> Result<u64, Undone> {
    if until <= now || until > now + KEPT_MAX {
        return Err(Undone::Invalid("a revocation ends in the future, within ten years".to_owned()));
    }
    let since = until.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn checked(target: Target, now: SystemTime) -> Result<Target, Undone> {
    let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(match target {
        Target::Token(id) => Target::Token(name(id, "a token's id")?),
        Target::User(user) => Target::User(name(user, "a user")?),
        Target::UserBefore { issued_before, .. } if issued_before > now_s + AHEAD_MAX_S => {
            let text = "issued_before lies in the future: it is in Unix seconds; leave it out to revoke all tokens";
            return Err(Undone::Invalid(text.to_owned()));
        }
        Target::UserBefore { user, issued_before } => Target::UserBefore { user: name(user, "a user")?, issued_before },
    })
}

/// A name as it may be.
///
/// # Errors
/// When it is longer than any is, or empty.
pub fn name(text: Text, what: &str) -> Result<Text, Undone> {
    if text.is_empty() || text.len() > NAME_MAX_BYTES {
        return Err(Undone::Invalid(format!("{what} is 1 to {NAME_MAX_BYTES} bytes long")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_choose_codes_that_say_whether_to_come_back() {
        assert_eq!(close_code(4011), Ok(CloseCode::Disconnected));
        assert_eq!(close_code(4110), Ok(CloseCode::Reset));
        for wrong in [0, 1000, 1011, 4200, 4201, 4999] {
            assert!(close_code(wrong).is_err_and(|why| why.to_string().contains("40xx")), "{wrong}");
        }
    }

    #[test]
    fn times_and_names_that_are_slips_are_refused() {
        let now = UNIX_EPOCH + Duration::from_secs(1_763_700_000);
        let before = |issued_before| checked(Target::UserBefore { user: "ann".into(), issued_before }, now);
        assert!(before(1_763_700_001).is_ok() && before(0).is_ok());
        assert!(before(1_763_700_000_000).is_err_and(|why| why.to_string().contains("Unix seconds")));
        assert!(end_ms(now, now).is_err() && end_ms(now + KEPT_MAX + KEPT_MAX, now).is_err());
        assert_eq!(end_ms(now + Duration::from_millis(1), now), Ok(1_763_700_000_001));
        assert!(checked(Target::User("".into()), now).is_err());
        assert!(checked(Target::Token("x".repeat(256).into()), now).is_err());
    }
}
