//! Every Redis key and topic name, formed here and nowhere else.
//!
//! The braces around a channel are a hash tag: on Redis Cluster all keys of one channel share a slot, so one script
//! may touch them. Channel names hold no braces themselves.

use protocol::Channel;
use std::sync::Arc;

/// Forms names under one prefix. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KeySpace {
    prefix: Arc<str>,
}

impl KeySpace {
    /// Names under this prefix.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    fn channel_key(&self, channel: &Channel, what: &str) -> String {
        format!("{}{{{channel}}}:{what}", self.prefix)
    }

    /// Topic that carries a channel's envelopes.
    pub fn topic(&self, channel: &Channel) -> String {
        format!("{}{{{channel}}}", self.prefix)
    }

    /// The channel of a topic formed by [`KeySpace::topic`].
    pub fn channel_of_topic<'a>(&self, topic: &'a str) -> Option<&'a str> {
        topic.strip_prefix(&*self.prefix)?.strip_prefix('{')?.strip_suffix('}')
    }

    /// Hash: epoch `e`, newest offset `o` and its publication's stamp `s`; `b` is the offset the epoch began after,
    /// and `t` when, in Redis' own Unix milliseconds, where another one ended. Its time to live is short until something is
    /// published.
    pub fn meta(&self, channel: &Channel) -> String {
        self.channel_key(channel, "meta")
    }

    /// Stream: records by offset.
    pub fn log(&self, channel: &Channel) -> String {
        self.channel_key(channel, "log")
    }

    /// Hash: the state by key, each with its offset, its end and its record; `m` is what is known of the whole.
    pub fn state(&self, channel: &Channel) -> String {
        self.channel_key(channel, "state")
    }

    /// String with TTL: where the publication with this idempotency key went.
    pub fn idempotency(&self, channel: &Channel, key: &str) -> String {
        format!("{}{{{channel}}}:keys:{key}", self.prefix)
    }

    /// Hash: connection id -> member.
    pub fn here(&self, channel: &Channel) -> String {
        self.channel_key(channel, "here")
    }

    /// Hash: user -> number of connections.
    pub fn users(&self, channel: &Channel) -> String {
        self.channel_key(channel, "users")
    }

    /// String with TTL: the bucket that somebody has for something, on all nodes. The length keeps names apart whatever is
    /// in them.
    pub fn limit(&self, what: &str, whose: &str) -> String {
        format!("{}limit:{}:{what}:{whose}", self.prefix, what.len())
    }

    /// Topic for orders to one incarnation of a node.
    pub fn node_topic(&self, node: &str) -> String {
        format!("{}node:{node}", self.prefix)
    }

    /// String with TTL: what one incarnation of a node writes to learn whether it can.
    pub fn node_probe(&self, node: &str) -> String {
        format!("{}node:{node}:probe", self.prefix)
    }

    /// Topic for orders to all nodes.
    pub fn control_topic(&self) -> String {
        format!("{}control", self.prefix)
    }

    /// String with TTL: alive while it exists.
    pub fn lease(&self, node: &str) -> String {
        format!("{}lease:{node}", self.prefix)
    }

    /// Hash: incarnations that exist, with their stats. One whose lease ended is there under a further name.
    pub fn nodes(&self) -> String {
        format!("{}nodes", self.prefix)
    }

    /// String with TTL: who removes what this dead node left behind.
    pub fn reap(&self, node: &str) -> String {
        format!("{}reap:{node}", self.prefix)
    }

    /// String with TTL: its removal has begun, so its users may have been said to leave.
    pub fn reaped(&self, node: &str) -> String {
        format!("{}reaped:{node}", self.prefix)
    }

    /// String with TTL: what nodes leave for one another under a name: the id that a session goes on under, a key to sign by.
    pub fn note(&self, name: &str) -> String {
        format!("{}note:{name}", self.prefix)
    }

    /// Set: channels in which this incarnation has members.
    pub fn node_here(&self, node: &str) -> String {
        format!("{}node:{node}:here", self.prefix)
    }

    /// Hash: what is revoked -> `<issued before>:<until>`. What: `t:<token id>`, `u:<user>`, or `b:<user>` for the tokens
    /// that were issued before a moment.
    pub fn revoked(&self) -> String {
        format!("{}revoked", self.prefix)
    }

    /// Sorted set: what is revoked, by the number of the change that said so last.
    pub fn revoked_order(&self) -> String {
        format!("{}revoked:order", self.prefix)
    }

    /// Sorted set: what is revoked, by its end in Unix milliseconds.
    pub fn revoked_ends(&self) -> String {
        format!("{}revoked:ends", self.prefix)
    }

    /// Hash: epoch `e` of the list of what is revoked, and the number `n` of its last change.
    pub fn revoked_meta(&self) -> String {
        format!("{}revoked:meta", self.prefix)
    }

    /// Hash: `<node>.<connection>` of a user -> its place in the order in which they came.
    pub fn user(&self, user: &str) -> String {
        format!("{}user:{user}", self.prefix)
    }

    /// Hash: incarnations whose connections count among their users' -> until when, in Redis' own Unix milliseconds.
    pub fn sessions(&self) -> String {
        format!("{}sessions", self.prefix)
    }

    /// List: connections of this incarnation that have lost their place among their user's.
    pub fn node_replaced(&self, node: &str) -> String {
        format!("{}node:{node}:replaced", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_documented() {
        let keys = KeySpace::new("gw:");
        let channel = Channel::new("chat:lobby").expect("a channel");
        assert_eq!(keys.topic(&channel), "gw:{chat:lobby}");
        assert_eq!(keys.channel_of_topic("gw:{chat:lobby}"), Some("chat:lobby"));
        assert_eq!(keys.channel_of_topic("other:{chat:lobby}"), None);
        assert_eq!(keys.channel_of_topic("gw:control"), None);
        assert_eq!(keys.meta(&channel), "gw:{chat:lobby}:meta");
        assert_eq!(keys.log(&channel), "gw:{chat:lobby}:log");
        assert_eq!(keys.state(&channel), "gw:{chat:lobby}:state");
        assert_eq!(keys.idempotency(&channel, "k1"), "gw:{chat:lobby}:keys:k1");
        assert_eq!(keys.limit("room:* typing", "ann"), "gw:limit:13:room:* typing:ann");
        assert_eq!(keys.here(&channel), "gw:{chat:lobby}:here");
        assert_eq!(keys.users(&channel), "gw:{chat:lobby}:users");
        assert_eq!(keys.node_topic("n1.a"), "gw:node:n1.a");
        assert_eq!(keys.node_probe("n1.a"), "gw:node:n1.a:probe");
        assert_eq!(keys.control_topic(), "gw:control");
        assert_eq!(keys.lease("n1.a"), "gw:lease:n1.a");
        assert_eq!(keys.nodes(), "gw:nodes");
        assert_eq!(keys.reap("n1.a"), "gw:reap:n1.a");
        assert_eq!(keys.reaped("n1.a"), "gw:reaped:n1.a");
        assert_eq!(keys.node_here("n1.a"), "gw:node:n1.a:here");
        assert_eq!(keys.note("x"), "gw:note:x");
        assert_eq!(keys.revoked(), "gw:revoked");
        assert_eq!(keys.revoked_order(), "gw:revoked:order");
        assert_eq!(keys.revoked_ends(), "gw:revoked:ends");
        assert_eq!(keys.revoked_meta(), "gw:revoked:meta");
        assert_eq!(keys.user("ann"), "gw:user:ann");
        assert_eq!(keys.sessions(), "gw:sessions");
        assert_eq!(keys.node_replaced("n1.a"), "gw:node:n1.a:replaced");
    }
}
