//! `[[namespace]]` tables to the policy that channels follow.

use super::settings::{Settings, as_text, parse_flag, parse_size};
use crate::grant::Actions;
use crate::hooks::Asks;
use crate::limit::RuleId;
use crate::outbox::Slow;
use crate::policy::{Access, DEFAULT_STATE, Namespace, Policy, SendRules};
use crate::rule::{Rule, Rules};
use crate::schema::{Schema, Schemas};
use broker::{Retention, StateLimits};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const KEYS: &str = "pattern, subscribe, publish, read_presence, read_history, roles, events, schema, schemas, presence, join_leave, \
                    history.size, history.ttl, state.keys, state.bytes, state.ttl, max_message, slow, rate, rates, \
                    rate_scope, hooks, client_events";

/// Reads the tables; faults go to `settings`. Without any, one namespace takes every channel.
pub(super) fn read(tables: &[Map<String, Value>], settings: &mut Settings) -> Policy {
    let access =
        "who may send private messages: anyone, authenticated, granted (by `caps` for `*`, or a role) or nobody";
    let send = SendRules {
        access: settings.get("send.access", "anyone", access, str::parse).unwrap_or(Access::Nobody),
        roles: settings.list("send.roles", "roles that may send private messages where that is to be granted"),
    };
    if tables.is_empty() {
        return Policy::new(vec![Namespace::default()], send);
    }
    let mut namespaces = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let mut reader = Reader { place: format!("namespace {}", index + 1), index, faults: Vec::new() };
        namespaces.push(reader.namespace(table));
        reader.faults.into_iter().for_each(|fault| settings.fault(fault));
    }
    Policy::new(namespaces, send)
}

struct Reader {
    place: String,
    index: usize,
    faults: Vec<String>,
}

impl Reader {
    fn fault(&mut self, key: &str, fault: &str) {
        self.faults.push(format!("{}: {key}: {fault}", self.place));
    }

    fn namespace(&mut self, table: &Map<String, Value>) -> Namespace {
        let mut namespace = Namespace::default();
        let mut history = (100, Duration::from_secs(300));
        let mut state = DEFAULT_STATE;
        let mut schemas = Schemas::default();
        let mut has_pattern = false;
        for (key, value) in table {
            match (key.as_str(), value) {
                ("history", Value::Object(table)) => self.history(table, &mut history),
                ("state", Value::Object(table)) => self.state(table, &mut state),
                ("pattern", _) => {
                    has_pattern = true;
                    namespace.pattern = self.parse(key, value, |text| text.parse()).unwrap_or_default();
                }
                ("subscribe", _) => self.set(key, value, &mut namespace.subscribe, str::parse::<Access>),
                ("publish", _) => self.set(key, value, &mut namespace.publish, str::parse::<Access>),
                ("read_presence", _) => namespace.read_presence = self.parse(key, value, str::parse),
                ("read_history", _) => namespace.read_history = self.parse(key, value, str::parse),
                ("roles", value) => namespace.roles = self.roles(value),
                ("events", value) => namespace.events = self.words(key, value),
                ("schema", _) => schemas.every = self.parse(key, value, |path| Schema::read(Path::new(path))),
                ("schemas", Value::Object(table)) => schemas.by_event = self.schemas(table),
                ("presence", _) => self.set(key, value, &mut namespace.presence, parse_flag),
                ("slow", _) => self.set(key, value, &mut namespace.slow, str::parse::<Slow>),
                ("rate", _) => self.rate(key, value, None, &mut namespace.rules),
                ("rates", Value::Object(table)) => {
                    for (event, value) in table {
                        self.rate(&format!("rates.{event}"), value, Some(event), &mut namespace.rules);
                    }
                }
                ("rate_scope", _) => self.set(key, value, &mut namespace.rules.scope, str::parse),
                ("hooks", value) => namespace.hooks = self.hooks(value),
                ("client_events", _) => self.set(key, value, &mut namespace.client_events, parse_flag),
                ("join_leave", _) => self.set(key, value, &mut namespace.join_leave, parse_flag),
                ("max_message", _) => {
                    namespace.max_message_bytes = self.parse(key, value, parse_size);
                }
                _ => self.fault(key, &format!("is not a setting of a namespace: {KEYS}")),
            }
        }
        if !has_pattern {
            self.fault("pattern", "is missing: write the channels it takes, such as \"chat:*\"");
        }
        namespace.schemas = Arc::new(schemas);
        self.finish_rules(&mut namespace, table.contains_key("rate_scope"));
        let (size, ttl) = history;
        namespace.history = (size > 0).then_some(Retention { size, ttl, state });
        if size == 0 && table.contains_key("state") {
            self.fault("state", "needs history: history.size is 0");
        }
        namespace
    }

    /// One rule; its number is that of the namespace and its own in that.
    fn rate(&mut self, key: &str, value: &Value, event: Option<&str>, rules: &mut Rules) {
        let Some(rate) = self.parse(key, value, str::parse) else { return };
        let number = event.map_or(0, |_| rules.events.len() + 1);
        let id = RuleId::try_from(self.index << 16 | number).unwrap_or(RuleId::MAX);
        let rule = Rule { id, name: event.unwrap_or_default().to_owned(), rate };
        match event {
            Some(event) => rules.events.push((event.to_owned(), rule)),
            None => rules.general = Some(rule),
        }
    }

    /// Names the rules by pattern and event, which no pattern can be mistaken in: it holds no white space.
    fn finish_rules(&mut self, namespace: &mut Namespace, has_scope: bool) {
        let Namespace { pattern, events, rules, .. } = namespace;
        let all = rules.general.iter_mut().chain(rules.events.iter_mut().map(|(_, rule)| rule));
        all.for_each(|rule| rule.name = format!("{pattern} {}", rule.name));
        let unknown = |event: &&String| events.as_ref().is_some_and(|events| !events.contains(event));
        if let Some(event) = rules.events.iter().map(|(event, _)| event).find(unknown) {
            self.fault(&format!("rates.{event}"), "is none of the `events` that may be published here");
        }
        if has_scope && rules.general.is_none() && rules.events.is_empty() {
            self.fault("rate_scope", "needs `rate` or `rates`");
        }
    }

    /// A table of roles and what each grants, or a list of roles that grant everything.
    fn roles(&mut self, value: &Value) -> Vec<(String, Actions)> {
        let Value::Object(table) = value else {
            let roles = self.words("roles", value).unwrap_or_default();
            return roles.into_iter().map(|role| (role, Actions::ALL)).collect();
        };
        let mut roles = Vec::new();
        for (role, value) in table {
            let key = format!("roles.{role}");
            let words = self.words(&key, value).unwrap_or_default();
            match Actions::of_words(words.iter().map(String::as_str)) {
                Ok(actions) => roles.push((role.clone(), actions)),
                Err(fault) => self.fault(&key, &fault),
            }
        }
        roles
    }

    fn hooks(&mut self, value: &Value) -> Asks {
        let mut asks = Asks::default();
        for word in self.words("hooks", value).unwrap_or_default() {
            match word.as_str() {
                "subscribe" => asks.subscribe = true,
                "publish" => asks.publish = true,
                _ => self.fault("hooks", &format!("`{word}`: subscribe or publish")),
            }
        }
        asks
    }

    /// A table of events and the file of each one's schema.
    fn schemas(&mut self, table: &Map<String, Value>) -> Vec<(String, Schema)> {
        let read = |path: &str| Schema::read(Path::new(path));
        let one = |(event, value): (&String, &Value)| {
            let schema = self.parse(&format!("schemas.{event}"), value, read)?;
            Some((event.clone(), schema))
        };
        table.iter().filter_map(one).collect()
    }

    fn words(&mut self, key: &str, value: &Value) -> Option<Vec<String>> {
        let words = match value {
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        if words.is_none() {
            self.fault(key, "is a list of words: [\"one\", \"another\"]");
        }
        words
    }

    fn history(&mut self, table: &Map<String, Value>, history: &mut (u32, Duration)) {
        for (key, value) in table {
            let name = format!("history.{key}");
            match key.as_str() {
                "size" => self.set(&name, value, &mut history.0, |text| {
                    text.parse().map_err(|_| format!("`{text}` is not a number"))
                }),
                "ttl" => self.set(&name, value, &mut history.1, |text| parse_ttl(text, "history.size")),
                _ => self.fault(&name, &format!("is not a setting of a namespace: {KEYS}")),
            }
        }
    }

    fn state(&mut self, table: &Map<String, Value>, state: &mut StateLimits) {
        for (key, value) in table {
            let name = format!("state.{key}");
            match key.as_str() {
                "keys" => self.set(&name, value, &mut state.keys, |text| {
                    text.parse().map_err(|_| format!("`{text}` is not a number"))
                }),
                "bytes" => self.set(&name, value, &mut state.bytes, |text| Ok(parse_size(text)? as u64)),
                "ttl" => self.set(&name, value, &mut state.ttl, |text| parse_ttl(text, "state.keys")),
                _ => self.fault(&name, &format!("is not a setting of a namespace: {KEYS}")),
            }
        }
    }

    fn parse<T>(&mut self, key: &str, value: &Value, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        parse(&as_text(value)).map_err(|fault| self.fault(key, &fault)).ok()
    }

    fn set<T>(&mut self, key: &str, value: &Value, into: &mut T, parse: impl Fn(&str) -> Result<T, String>) {
        if let Some(value) = self.parse(key, value, parse) {
            *into = value;
        }
    }
}

/// How long something is kept; `size` is the setting that says that it is not kept at all.
fn parse_ttl(text: &str, size: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(ttl) if ttl.is_zero() => Err(format!("is not zero: to keep nothing set {size} = 0")),
        Ok(ttl) => Ok(ttl),
        Err(error) => Err(format!("`{text}` is not a time: {error}")),
    }
}
