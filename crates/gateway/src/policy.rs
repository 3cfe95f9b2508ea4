//! May this identity do this in this channel, and what does the channel keep: namespaces by pattern.

use crate::auth::Identity;
use crate::outbox::Slow;
use broker::{Retention, StateLimits};
use protocol::{Channel, ErrorCode, Refusal};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Who may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever may connect.
    Anyone,
    /// Whoever has shown a token.
    Authenticated,
    /// No client.
    Nobody,
}

impl Access {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Authenticated => "authenticated",
            Self::Nobody => "nobody",
        }
    }
}

impl FromStr for Access {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "anyone" => Ok(Self::Anyone),
            "authenticated" => Ok(Self::Authenticated),
            "nobody" => Ok(Self::Nobody),
            _ => Err(format!("`{text}`: anyone, authenticated or nobody")),
        }
    }
}

/// Which channels a namespace takes: a name, or the beginning of names followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    open: bool,
}

impl Default for Pattern {
    fn default() -> Self {
        Self { text: String::new(), open: true }
    }
}

impl FromStr for Pattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, open) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        if name.contains('*') || text.is_empty() {
            return Err(format!("`{text}`: a channel's name, or the beginning of names and one `*` at the end"));
        }
        Ok(Self { text: name.to_owned(), open })
    }
}

impl Pattern {
    /// Whether a channel is among these.
    pub fn takes(&self, channel: &str) -> bool {
        if self.open { channel.starts_with(&self.text) } else { channel == self.text }
    }
}

/// What a channel's state may hold, if nothing is said. A day bridges a night's sleep; a quarter of a MiB is an answer that
/// everybody can be given.
pub const DEFAULT_STATE: StateLimits =
    StateLimits { keys: 1000, bytes: 256 * 1024, ttl: Duration::from_secs(24 * 3600) };

/// The rules of a set of channels.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// Which channels.
    pub pattern: Pattern,
    /// Who may subscribe, and see presence and history.
    pub subscribe: Access,
    /// Who may publish.
    pub publish: Access,
    /// Whether members are kept.
    pub presence: bool,
    /// Whether subscribers are told who comes and goes.
    pub join_leave: bool,
    /// What log and state keep; without it publications are at most once.
    pub history: Option<Retention>,
    /// The largest payload, where it is smaller than the transport's limit.
    pub max_message_bytes: Option<usize>,
    /// What becomes of subscribers that do not keep up.
    pub slow: Slow,
}

impl Default for Namespace {
    fn default() -> Self {
        Self {
            pattern: Pattern::default(),
            subscribe: Access::Anyone,
            publish: Access::Anyone,
            presence: true,
            join_leave: true,
            history: Some(Retention { size: 100, ttl: Duration::from_secs(300), state: DEFAULT_STATE }),
            max_message_bytes: None,
            slow: Slow::Close,
        }
    }
}

impl fmt::Display for Namespace {
    /// As the table that declares it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.pattern.open { "*" } else { "" };
        writeln!(f, "[[namespace]]")?;
        writeln!(f, "pattern = {:?}", format!("{}{star}", self.pattern.text))?;
        writeln!(f, "subscribe = {:?}", self.subscribe.as_str())?;
        writeln!(f, "publish = {:?}", self.publish.as_str())?;
        writeln!(f, "presence = {}", self.presence)?;
        writeln!(f, "join_leave = {}", self.join_leave)?;
        writeln!(f, "slow = {:?}", self.slow.as_str())?;
        write!(f, "history.size = {}", self.history.map_or(0, |history| history.size))?;
        if let Some(history) = self.history {
            let time = |time| humantime::format_duration(time).to_string();
            let StateLimits { keys, bytes, ttl } = history.state;
            write!(f, "\nhistory.ttl = {:?}", time(history.ttl))?;
            write!(f, "\nstate.keys = {keys}\nstate.bytes = {bytes}\nstate.ttl = {:?}", time(ttl))?;
        }
        match self.max_message_bytes {
            Some(bytes) => write!(f, "\nmax_message = {bytes}"),
            None => Ok(()),
        }
    }
}

/// What a client wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Be delivered the channel's publications, read its log, or see who is there.
    Subscribe,
    /// Send to it.
    Publish,
}

/// The namespaces, in the order they are tried.
#[derive(Debug, Clone)]
pub struct Policy {
    namespaces: Vec<Arc<Namespace>>,
}

impl Policy {
    /// A policy of these namespaces; the first that takes a channel rules it.
    pub fn new(namespaces: Vec<Namespace>) -> Self {
        Self { namespaces: namespaces.into_iter().map(Arc::new).collect() }
    }

    /// All of them.
    pub fn namespaces(&self) -> &[Arc<Namespace>] {
        &self.namespaces
    }

    /// The namespace of a channel.
    pub fn namespace(&self, channel: &str) -> Option<&Arc<Namespace>> {
        self.namespaces.iter().find(|n| n.pattern.takes(channel))
    }

    /// The namespace of a channel, if `identity` (none: anonymous) may do this there.
    pub fn allow(
        &self,
        identity: Option<&Identity>,
        action: Action,
        channel: &Channel,
    ) -> Result<&Arc<Namespace>, Refusal> {
        let Some(namespace) = self.namespace(channel) else {
            return Err(Refusal::new(ErrorCode::UnknownChannel, "no namespace takes this channel"));
        };
        let access = match action {
            Action::Subscribe => namespace.subscribe,
            Action::Publish => namespace.publish,
        };
        match access {
            Access::Anyone => Ok(namespace),
            Access::Authenticated if identity.is_some() => Ok(namespace),
            Access::Authenticated => Err(Refusal::new(ErrorCode::PermissionDenied, "this channel asks for a token")),
            Access::Nobody => Err(Refusal::new(ErrorCode::PermissionDenied, "no client may do this in this channel")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_names_and_beginnings_of_names() {
        let takes = |pattern: &str, channel: &str| pattern.parse::<Pattern>().unwrap().takes(channel);
        assert!(takes("*", "anything"));
        assert!(takes("chat:*", "chat:lobby"));
        assert!(!takes("chat:*", "chatter"));
        assert!(takes("news", "news") && !takes("news", "news2"));
        assert!("a*b".parse::<Pattern>().is_err() && "".parse::<Pattern>().is_err());
    }

    #[test]
    fn access_is_decided_by_namespace_and_identity() {
        let channel = Channel::new("chat:lobby").unwrap();
        let ann = Identity { user: "ann".into(), info: None, expires_at: None };
        let policy = |publish| {
            let pattern = "chat:*".parse().unwrap();
            Policy::new(vec![Namespace { pattern, publish, ..Namespace::default() }])
        };
        let code = |publish, who| {
            policy(publish).allow(who, Action::Publish, &channel).map(|_| ()).map_err(|refusal| refusal.code)
        };
        assert_eq!(code(Access::Anyone, None), Ok(()));
        assert_eq!(code(Access::Authenticated, None), Err(ErrorCode::PermissionDenied));
        assert_eq!(code(Access::Authenticated, Some(&ann)), Ok(()));
        assert_eq!(code(Access::Nobody, Some(&ann)), Err(ErrorCode::PermissionDenied));
        let elsewhere = Channel::new("news").unwrap();
        let unknown = policy(Access::Anyone).allow(None, Action::Subscribe, &elsewhere).map(|_| ());
        assert_eq!(unknown.map_err(|r| r.code), Err(ErrorCode::UnknownChannel));
    }
}
