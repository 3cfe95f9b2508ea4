//! What a link needs to know.

/// Where Redis is, and under which names to live there.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// `redis://[user:password@]host[:port][/db]`.
    pub url: String,
    /// Goes before every key and topic, so that several clusters can share one Redis.
    pub prefix: String,
}

impl LinkConfig {
    /// The default prefix.
    pub const DEFAULT_PREFIX: &'static str = "gw:";
}
