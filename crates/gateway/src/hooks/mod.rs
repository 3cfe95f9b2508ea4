//! What the application is asked before it happens: who connects, who subscribes, what is published. The other side of
//! HOOKS.md.

mod answer;
mod gate;
mod hook;
mod question;

pub use answer::Denial;
pub use hook::{HookConfig, OUTCOMES};
pub(crate) use question::Shown;
pub use question::{Asker, Visitor};

use crate::auth::Identity;
use crate::metrics::Metrics;
use crate::outbound::Secret;
use hook::{Fallback, Hook, Verdict};
use http::{HeaderMap, HeaderName, header};
use protocol::{Channel, Payload, Publish};
use question::{Question, Who};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;

/// The most of a handshake that is kept to be shown, as long as its connection lives: a session's cookie and some headers.
const SHOWN_MAX_BYTES: usize = 8 * 1024;

/// Which hooks there are, and what all of them are held to.
#[derive(Debug, Clone)]
pub struct HooksConfig {
    /// Asked when it is known who connects.
    pub connect: Option<HookConfig>,
    /// Asked before a subscription, in namespaces that say so.
    pub subscribe: Option<HookConfig>,
    /// Asked before a publication, in namespaces that say so.
    pub publish: Option<HookConfig>,
    /// Headers of the handshake that `connect` is shown.
    pub headers: Vec<HeaderName>,
    /// Cookies that it is shown.
    pub cookies: Vec<String>,
    /// How long a yes of `connect` to a plain HTTP request holds for those that are like it.
    pub http_memory: Duration,
    /// Signs what is sent.
    pub secret: Option<Secret>,
    /// By when there is an answer.
    pub deadline: Duration,
    /// Requests of one hook at a time.
    pub concurrency: usize,
    /// How many more may wait.
    pub queue: usize,
    /// Bytes of both.
    pub queue_bytes: usize,
    /// The largest answer.
    pub answer_max_bytes: usize,
}

impl HooksConfig {
    /// Whether there is any.
    pub fn is_used(&self) -> bool {
        self.connect.is_some() || self.subscribe.is_some() || self.publish.is_some()
    }
}

/// A handshake holds more of what is to be shown than is kept.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMuch;

/// The hooks that a namespace asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asks {
    /// Before subscriptions.
    pub subscribe: bool,
    /// Before publications.
    pub publish: bool,
}

impl std::fmt::Display for Asks {
    /// As a list in TOML.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = [("subscribe", self.subscribe), ("publish", self.publish)];
        f.debug_list().entries(words.iter().filter(|(_, asks)| *asks).map(|(word, _)| word)).finish()
    }
}

/// The application's say.
pub struct Hooks {
    node: String,
    connect: Option<Hook>,
    subscribe: Option<Hook>,
    publish: Option<Hook>,
    headers: Vec<HeaderName>,
    cookies: Vec<String>,
}

impl Hooks {
    /// Hooks as configured; without a `runtime` for requests there are none.
    pub fn new(config: &HooksConfig, node: &str, metrics: &Arc<Metrics>, runtime: Option<&Handle>) -> Self {
        let hook = |name, one: &Option<HookConfig>| {
            let (one, runtime) = (one.as_ref()?, runtime?);
            Some(Hook::new(name, one, config, metrics, runtime.clone()))
        };
        Self {
            node: node.to_owned(),
            connect: hook("connect", &config.connect),
            subscribe: hook("subscribe", &config.subscribe),
            publish: hook("publish", &config.publish),
            headers: config.headers.clone(),
            cookies: config.cookies.clone(),
        }
    }

    /// What of a handshake is kept for the question who connects; `None` where nobody asks.
    ///
    /// # Errors
    /// When that is more than 8 KiB.
    pub fn visitor(
        &self,
        headers: &HeaderMap,
        more: impl FnOnce() -> Visitor,
    ) -> Result<Option<Box<Visitor>>, TooMuch> {
        if self.connect.is_none() {
            return Ok(None);
        }
        let mut visitor = Box::new(more());
        for name in &self.headers {
            let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            let values = values.collect::<Vec<_>>();
            if !values.is_empty() {
                visitor.headers.insert(name.as_str().to_owned(), values.join(", "));
            }
        }
        let cookies = self.shown_cookies(headers);
        if !cookies.is_empty() && !self.headers.contains(&header::COOKIE) {
            visitor.headers.insert(header::COOKIE.as_str().to_owned(), cookies.join("; "));
        }
        if visitor.weight() > SHOWN_MAX_BYTES { Err(TooMuch) } else { Ok(Some(visitor)) }
    }

    fn shown_cookies(&self, headers: &HeaderMap) -> Vec<String> {
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = values.flat_map(|value| value.split(';')).map(str::trim);
        let is_shown = |pair: &&str| {
            let name = pair.split_once('=').map(|(name, _)| name);
            name.is_some_and(|name| self.cookies.iter().any(|shown| shown == name))
        };
        pairs.filter(is_shown).map(str::to_owned).collect()
    }

    /// Whether subscriptions to such channels are asked about.
    pub fn asks_subscribe(&self, asks: Asks) -> bool {
        asks.subscribe && self.subscribe.is_some()
    }

    /// Whether publications to such channels are asked about.
    pub fn asks_publish(&self, asks: Asks) -> bool {
        asks.publish && self.publish.is_some()
    }

    /// Whether this one may connect, and who it is then. `refresh` says that it was asked before, of the same connection.
    ///
    /// # Errors
    /// Why not.
    pub async fn connect(
        &self,
        visitor: &Visitor,
        identity: Option<Identity>,
        refresh: bool,
    ) -> Result<Option<Identity>, Denial> {
        let Some(hook) = &self.connect else { return Ok(identity) };
        let question = self.about_connection(visitor, identity.as_ref(), refresh);
        let named = identity.clone();
        let verdict = hook.ask(&question, |answer| answer.amendment().apply(named, SystemTime::now())).await;
        decided(verdict, || identity)
    }

    /// Whether it may subscribe.
    ///
    /// # Errors
    /// Why not.
    pub async fn subscribe(&self, asker: Asker<'_>, channel: &Channel) -> Result<(), Denial> {
        let Some(hook) = &self.subscribe else { return Ok(()) };
        let question = self.about_subscription(asker, channel);
        decided(hook.ask(&question, |_| Ok(())).await, || ())
    }

    /// Whether this may be published; the payload that is to be published instead, of at most `max_bytes`.
    ///
    /// # Errors
    /// Why not.
    pub async fn publish(
        &self,
        asker: Asker<'_>,
        publish: &Publish,
        max_bytes: usize,
    ) -> Result<Option<Payload>, Denial> {
        let Some(hook) = &self.publish else { return Ok(None) };
        let question = self.about_publication(asker, publish);
        decided(hook.ask(&question, |answer| answer.replacement(max_bytes)).await, || None)
    }

    fn about_connection<'a>(
        &'a self,
        visitor: &'a Visitor,
        identity: Option<&'a Identity>,
        refresh: bool,
    ) -> Question<'a> {
        Question {
            who: Who::of(identity),
            dialect: Some(visitor.dialect),
            address: Some(visitor.address),
            origin: visitor.origin.as_deref(),
            headers: Some(&visitor.headers),
            refresh: Some(refresh),
            channel: visitor.channel.as_ref().map(Channel::as_str),
            ..self.question("connect")
        }
    }

    fn about_subscription<'a>(&'a self, asker: Asker<'a>, channel: &'a Channel) -> Question<'a> {
        let (client, who) = (Some(asker.client), Who::of(asker.identity));
        Question { client, who, channel: Some(channel.as_str()), ..self.question("subscribe") }
    }

    fn about_publication<'a>(&'a self, asker: Asker<'a>, publish: &'a Publish) -> Question<'a> {
        Question {
            client: Some(asker.client),
            who: Who::of(asker.identity),
            channel: Some(publish.channel.as_str()),
            event: publish.event.as_deref(),
            retain: publish.retain.as_deref(),
            payload: Shown::of(&publish.data),
            ..self.question("publish")
        }
    }

    fn question(&self, r#type: &'static str) -> Question<'_> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Question {
            r#type,
            id: format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
            time_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            node: &self.node,
            ..Question::default()
        }
    }
}

/// What holds, where there is no answer too.
fn decided<T>(verdict: Result<Verdict<T>, Fallback>, unchanged: impl FnOnce() -> T) -> Result<T, Denial> {
    match verdict {
        Ok(Verdict::Allowed(said)) => Ok(said),
        Ok(Verdict::Denied(denial)) => Err(denial),
        Err(Fallback { allows: true }) => Ok(unchanged()),
        Err(Fallback { allows: false }) => Err(Denial::unavailable()),
    }
}

impl Visitor {
    /// Where a connection of this dialect comes from, without what the configuration names.
    pub fn new(
        dialect: &'static str,
        channel: Option<Channel>,
        address: std::net::IpAddr,
        headers: &HeaderMap,
    ) -> Self {
        let origin = headers.get(header::ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned());
        Self { dialect, channel, address, origin, headers: BTreeMap::new() }
    }

    fn weight(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        headers.sum::<usize>() + self.origin.as_ref().map_or(0, String::len)
    }
}

#[cfg(test)]
mod tests;
