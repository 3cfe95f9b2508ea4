//! May this identity do this in this channel, and what does the channel keep: namespaces by pattern.

use crate::auth::Identity;
use crate::grant::{Action, Actions};
use crate::hooks::Asks;
use crate::outbox::Slow;
use crate::pattern::Pattern;
use crate::rule::Rules;
use crate::schema::Schemas;
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
    /// Whose token or role grants it expressly.
    Granted,
    /// No client.
    Nobody,
}

impl Access {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Authenticated => "authenticated",
            Self::Granted => "granted",
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
            "granted" => Ok(Self::Granted),
            "nobody" => Ok(Self::Nobody),
            _ => Err(format!("`{text}`: anyone, authenticated, granted or nobody")),
        }
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
    /// Who may subscribe.
    pub subscribe: Access,
    /// Who may publish.
    pub publish: Access,
    /// Who may see members; as `subscribe` unless said.
    pub read_presence: Option<Access>,
    /// Who may read history, also to recover; as `subscribe` unless said.
    pub read_history: Option<Access>,
    /// What a role grants here.
    pub roles: Vec<(String, Actions)>,
    /// The events that may be published; none: all, and publications without one.
    pub events: Option<Vec<String>>,
    /// What payloads must look like.
    pub schemas: Arc<Schemas>,
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
    /// How fast may be published.
    pub rules: Rules,
    /// What the application is asked before it happens.
    pub hooks: Asks,
    /// Whether the application is told of publications with an event's name.
    pub client_events: bool,
}

impl Default for Namespace {
    fn default() -> Self {
        Self {
            pattern: Pattern::default(),
            subscribe: Access::Anyone,
            publish: Access::Anyone,
            read_presence: None,
            read_history: None,
            roles: Vec::new(),
            events: None,
            schemas: Arc::default(),
            presence: true,
            join_leave: true,
            history: Some(Retention { size: 100, ttl: Duration::from_secs(300), state: DEFAULT_STATE }),
            max_message_bytes: None,
            slow: Slow::Close,
            rules: Rules::default(),
            hooks: Asks::default(),
            client_events: false,
        }
    }
}

/// A text as TOML writes it: as JSON does, and `DEL` is escaped too. Rust's own `\u{…}` is unknown there.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

impl fmt::Display for Namespace {
    /// As the table that declares it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[[namespace]]")?;
        writeln!(f, "pattern = {}", quoted(&self.pattern.to_string()))?;
        writeln!(f, "subscribe = {:?}", self.subscribe.as_str())?;
        writeln!(f, "publish = {:?}", self.publish.as_str())?;
        writeln!(f, "read_presence = {:?}", self.access(Action::Presence).as_str())?;
        writeln!(f, "read_history = {:?}", self.access(Action::History).as_str())?;
        for (role, actions) in &self.roles {
            writeln!(f, "roles.{} = {actions}", quoted(role))?;
        }
        if let Some(events) = &self.events {
            let events: Vec<_> = events.iter().map(|event| quoted(event)).collect();
            writeln!(f, "events = [{}]", events.join(", "))?;
        }
        write!(f, "{}", self.schemas)?;
        writeln!(f, "presence = {}", self.presence)?;
        writeln!(f, "join_leave = {}", self.join_leave)?;
        writeln!(f, "slow = {:?}", self.slow.as_str())?;
        writeln!(f, "hooks = {}", self.hooks)?;
        writeln!(f, "client_events = {}", self.client_events)?;
        write!(f, "history.size = {}", self.history.map_or(0, |history| history.size))?;
        if let Some(history) = self.history {
            let time = |time| humantime::format_duration(time).to_string();
            let StateLimits { keys, bytes, ttl } = history.state;
            write!(f, "\nhistory.ttl = {:?}", time(history.ttl))?;
            write!(f, "\nstate.keys = {keys}\nstate.bytes = {bytes}\nstate.ttl = {:?}", time(ttl))?;
        }
        if let Some(bytes) = self.max_message_bytes {
            write!(f, "\nmax_message = {bytes}")?;
        }
        write!(f, "{}", self.rules)
    }
}

impl Namespace {
    /// Who may do this; `send` is not a matter of channels.
    pub fn access(&self, action: Action) -> Access {
        match action {
            Action::Subscribe => self.subscribe,
            Action::Publish => self.publish,
            Action::Presence => self.read_presence.unwrap_or(self.subscribe),
            Action::History => self.read_history.unwrap_or(self.subscribe),
            Action::Send => Access::Nobody,
        }
    }

    /// Whether a publication of this event may be published.
    pub fn takes_event(&self, event: Option<&str>) -> bool {
        let Some(events) = &self.events else { return true };
        event.is_some_and(|event| events.iter().any(|allowed| allowed == event))
    }

    fn is_granted_by_role(&self, who: &Identity, action: Action) -> bool {
        self.roles.iter().any(|(role, actions)| actions.has(action) && who.roles.iter().any(|has| **has == **role))
    }
}

/// Who may send private messages.
#[derive(Debug, Clone)]
pub struct SendRules {
    /// Who.
    pub access: Access,
    /// Whose roles grant it.
    pub roles: Vec<String>,
}

impl Default for SendRules {
    fn default() -> Self {
        Self { access: Access::Anyone, roles: Vec::new() }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Who<'a> {
    /// What a token has said; none: anonymous.
    pub identity: Option<&'a Identity>,
    /// A subscription's own token grants what is asked.
    pub has_ticket: bool,
}

/// The namespaces, in the order they are tried, and what is not a matter of channels.
#[derive(Debug, Clone)]
pub struct Policy {
    namespaces: Vec<Arc<Namespace>>,
    send: SendRules,
}

impl Policy {
    /// A policy of these namespaces; the first that takes a channel rules it.
    pub fn new(namespaces: Vec<Namespace>, send: SendRules) -> Self {
        Self { namespaces: namespaces.into_iter().map(Arc::new).collect(), send }
    }

    /// Has every channel ask such hooks, and tell of clients' events.
    pub fn ask_everywhere(&mut self, hooks: Asks, client_events: bool) {
        for namespace in &mut self.namespaces {
            let namespace = Arc::make_mut(namespace);
            (namespace.hooks, namespace.client_events) = (hooks, client_events);
        }
    }

    /// Who may send private messages.
    pub fn send_access(&self) -> Access {
        self.send.access
    }

    /// All of them.
    pub fn namespaces(&self) -> &[Arc<Namespace>] {
        &self.namespaces
    }

    /// The namespace of a channel, whoever asks: one user's channel does not fall to a later namespace for others.
    pub fn namespace(&self, channel: &str) -> Option<&Arc<Namespace>> {
        self.namespaces.iter().find(|n| n.pattern.takes(channel))
    }

    /// The namespace of a channel, if this may be done there.
    ///
    /// # Errors
    /// Why not.
    pub fn allow(&self, who: Who<'_>, action: Action, channel: &Channel) -> Result<&Arc<Namespace>, Refusal> {
        let Some(namespace) = self.namespace(channel) else {
            return Err(Refusal::new(ErrorCode::UnknownChannel, "no namespace takes this channel"));
        };
        let access = namespace.access(action);
        let is_granted = who.has_ticket
            || who.identity.is_some_and(|identity| {
                identity.is_granted(action, channel) || namespace.is_granted_by_role(identity, action)
            });
        if is_granted && access != Access::Nobody {
            return Ok(namespace);
        }
        let user = who.identity.map(|identity| &*identity.user);
        let is_foreign = namespace.pattern.is_foreign(channel, user);
        let denied = |message| Err(Refusal::new(ErrorCode::PermissionDenied, message));
        match access {
            Access::Nobody => denied("no client may do this in this channel"),
            Access::Granted => denied("this asks for a token that grants it, or a role that does"),
            Access::Anyone | Access::Authenticated if is_foreign => denied("this is another user's channel"),
            Access::Authenticated if user.is_none() => denied("this channel asks for a token"),
            Access::Anyone | Access::Authenticated => Ok(namespace),
        }
    }

    /// Whether private messages may be sent.
    ///
    /// # Errors
    /// Why not.
    pub fn allow_send(&self, identity: Option<&Identity>) -> Result<(), Refusal> {
        let by_token = |who: &Identity| {
            who.grants.iter().any(|grant| grant.actions.has(Action::Send) && grant.pattern.takes_all())
        };
        let by_role = |who: &Identity| who.roles.iter().any(|role| self.send.roles.iter().any(|r| **r == **role));
        let is_allowed = match self.send.access {
            Access::Anyone => true,
            Access::Authenticated => identity.is_some(),
            Access::Granted => identity.is_some_and(|who| by_token(who) || by_role(who)),
            Access::Nobody => false,
        };
        let refusal = || Refusal::new(ErrorCode::PermissionDenied, "you may not send private messages (send.access)");
        is_allowed.then_some(()).ok_or_else(refusal)
    }
}

#[cfg(test)]
mod tests;
