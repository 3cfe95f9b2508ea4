//! What a link needs to know.

/// Where Redis is, and under which names to live there.
#[derive(Clone)]
pub struct LinkConfig {
    /// `redis://[user:password@]host[:port][/db]`.
    pub url: String,
    /// Goes before every key and topic, so that several clusters can share one Redis.
    pub prefix: String,
}

impl std::fmt::Debug for LinkConfig {
    /// Without the address: it may hold a password, and configurations end up in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkConfig").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl LinkConfig {
    /// The default prefix.
    pub const DEFAULT_PREFIX: &'static str = "gw:";
}
