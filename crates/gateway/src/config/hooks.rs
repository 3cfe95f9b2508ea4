//! `hooks.…` and `webhooks.…`: what the application is asked and told.

use super::settings::Settings;
use crate::hooks::{Asks, HookConfig, HooksConfig};
use crate::outbound::{Address, Plain, Secret};
use crate::policy::Policy;
use crate::webhooks::{Kinds, WebhooksConfig};
use std::str::FromStr;
use std::time::Duration;

/// The longest a client may wait for an answer: a handshake has 30 s for everything.
const DEADLINE_MAX: Duration = Duration::from_secs(15);

/// The least that an answer or a queue needs.
const ANSWER_LEAST: usize = 1024;
const QUEUE_LEAST: usize = 1 << 20;

pub(super) fn read(s: &mut Settings) -> HooksConfig {
    let authorities = authorities(s, "hooks.ca_file");
    let word = "what no answer means: deny (refused as unavailable, may be tried again) or allow";
    let all = s.get("hooks.on_failure", "deny", word, allows).unwrap_or_default();
    let mut hook = |url_key, url_doc, word_key, word_doc| {
        let address = address(s, url_key, url_doc, authorities.as_deref());
        let own = |text: &str| if text.is_empty() { Ok(None) } else { allows(text).map(Some) };
        let allows_on_failure = s.get(word_key, "", word_doc, own).flatten().unwrap_or(all);
        address.map(|address| HookConfig { address, allows_on_failure })
    };
    let connect = hook(
        "hooks.connect.url",
        "asked who may connect (POST, see HOOKS.md); http to any machine is allowed",
        "hooks.connect.on_failure",
        "in place of hooks.on_failure",
    );
    let subscribe = hook(
        "hooks.subscribe.url",
        "asked who may subscribe, in namespaces with hooks = [\"subscribe\"]",
        "hooks.subscribe.on_failure",
        "in place of hooks.on_failure",
    );
    let publish = hook(
        "hooks.publish.url",
        "asked who may publish what, in namespaces with hooks = [\"publish\"]",
        "hooks.publish.on_failure",
        "in place of hooks.on_failure",
    );
    let headers = s.list("hooks.connect.headers", "headers of the handshake that hooks.connect is shown");
    let cookies = s.list("hooks.connect.cookies", "cookies of the handshake that it is shown");
    let secret = s.secret("hooks.secret", "hooks.secret_file", "signs what the hooks are asked (HMAC-SHA256)");
    let deadline = |text: &str| match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() || time > DEADLINE_MAX => Err(format!("`{text}`: between 1ms and {DEADLINE_MAX:?}")),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("`{text}` is not a time: {error}")),
    };
    HooksConfig {
        connect,
        subscribe,
        publish,
        headers,
        cookies,
        http_memory: s.duration(
            "hooks.connect.http_memory",
            "30s",
            "its yes to a plain HTTP request holds this long for the same token, address, Origin and headers; 0s: not",
        ),
        secret: secret.as_deref().map(Secret::new),
        deadline: s.get("hooks.deadline", "2s", "a hook has answered by then", deadline).unwrap_or_default(),
        concurrency: s.count("hooks.concurrency", "64", "requests to one hook at a time"),
        queue: s.count("hooks.queue", "1024", "more that may wait for it (then as hooks.on_failure says, at once)"),
        queue_bytes: s.size("hooks.queue_bytes", "16MiB", "bytes of both", QUEUE_LEAST),
        answer_max_bytes: s.size("hooks.answer_bytes", "256KiB", "a larger answer is none", ANSWER_LEAST),
    }
}

/// Without any table there is no place to say which channels ask and tell: then all do, as far as there is somebody.
pub(super) fn check(hooks: &HooksConfig, tells: bool, policy: &mut Policy, has_tables: bool, s: &mut Settings) {
    if !has_tables {
        let asks = Asks { subscribe: hooks.subscribe.is_some(), publish: hooks.publish.is_some() };
        return policy.ask_everywhere(asks, tells);
    }
    let asks = |pick: fn(&Asks) -> bool| policy.namespaces().iter().any(|n| pick(&n.hooks));
    let of = [
        ("subscribe", hooks.subscribe.is_some(), asks(|a| a.subscribe)),
        ("publish", hooks.publish.is_some(), asks(|a| a.publish)),
    ];
    for (name, is_set, is_asked) in of {
        if is_asked && !is_set {
            s.fault(format!("a namespace has hooks = [\"{name}\"], but hooks.{name}.url is not set"));
        }
        if is_set && !is_asked {
            s.fault(format!("hooks.{name}.url is set, but no namespace has hooks = [\"{name}\"]"));
        }
    }
}

pub(super) fn read_webhooks(s: &mut Settings) -> Option<WebhooksConfig> {
    let authorities = authorities(s, "webhooks.ca_file");
    let url = "told what has happened, in batches (POST, see HOOKS.md); http to any machine is allowed";
    let address = address(s, "webhooks.url", url, authorities.as_deref());
    let kinds = "of occupied, vacated, joined, left, client_event, connected, disconnected";
    let kinds = s.get("webhooks.events", "occupied,vacated,joined,left,client_event", kinds, Kinds::from_str);
    let secret = s.secret("webhooks.secret", "webhooks.secret_file", "signs what is told (HMAC-SHA256)");
    let batch = s.count("webhooks.batch", "100", "the most events at once");
    let delay = s.duration("webhooks.delay", "200ms", "how long an event waits for others");
    let deadline = s.positive_duration("webhooks.deadline", "5s", "a batch is answered by then");
    let keep = s.positive_duration("webhooks.keep", "10m", "how long an event is tried to be told; then it is missed");
    let queue = s.count("webhooks.queue", "10000", "events that may wait; what comes beyond is missed");
    let queue_bytes = s.size("webhooks.queue_bytes", "16MiB", "bytes of those", QUEUE_LEAST);
    let (address, kinds) = (address?, kinds?);
    let secret = secret.as_deref().map(Secret::new);
    Some(WebhooksConfig { address, secret, kinds, batch, delay, deadline, keep, queue, queue_bytes })
}

fn allows(text: &str) -> Result<bool, String> {
    match text {
        "deny" => Ok(false),
        "allow" => Ok(true),
        _ => Err(format!("`{text}`: deny or allow")),
    }
}

fn authorities(s: &mut Settings, key: &'static str) -> Option<String> {
    let read = |path: &str| match path {
        "" => Ok(None),
        path => std::fs::read_to_string(path).map(Some).map_err(|error| format!("cannot read {path}: {error}")),
    };
    let doc = "a PEM file of certificate authorities that are trusted there beside the public ones";
    s.get(key, "", doc, read).flatten()
}

fn address(s: &mut Settings, key: &'static str, doc: &'static str, authorities: Option<&str>) -> Option<Address> {
    s.refuse_empty(key);
    let read = |url: &str| match url {
        "" => Ok(None),
        url => Address::new(url, authorities, Plain::Anywhere).map(Some),
    };
    s.get(key, "", doc, read).flatten()
}

#[cfg(test)]
mod tests {
    use crate::config::settings::Sources;
    use crate::config::{Config, ConfigError};
    use std::io::Write;

    const URL: &str = "hooks.publish.url=http://backend.internal:3000/publish";

    fn load(namespaces: &str, overrides: &[&str]) -> Result<Config, ConfigError> {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
        file.write_all(namespaces.as_bytes()).expect("written");
        let overrides = overrides.iter().map(|text| (*text).to_owned()).collect();
        Config::load(&Sources { file: Some(file.path()), environment: Some([].into()), overrides })
    }

    #[test]
    fn plain_http_to_any_machine_is_allowed_and_without_tables_every_channel_asks() {
        let config = load("", &[URL, "webhooks.url=http://10.0.0.7/told"]).expect("hooks");
        let asks = config.policy.namespaces()[0].hooks;
        assert!(asks.publish && !asks.subscribe && config.policy.namespaces()[0].client_events);
        assert!(config.hooks.is_used() && config.webhooks.is_some());
        assert!(!load("", &[]).expect("nothing").hooks.is_used());
    }

    #[test]
    fn namespaces_say_what_they_ask_and_there_is_somebody_to_ask() {
        let both = "[[namespace]]\npattern = \"chat:*\"\nhooks = [\"publish\"]\nclient_events = true\n\
                    [[namespace]]\npattern = \"*\"\n";
        let config = load(both, &[URL]).expect("hooks");
        let asks: Vec<_> = config.policy.namespaces().iter().map(|n| (n.hooks.publish, n.client_events)).collect();
        assert_eq!(asks, [(true, true), (false, false)]);
        let missing = load(both, &[]).expect_err("nobody to ask").to_string();
        assert!(missing.contains("but hooks.publish.url is not set"), "{missing}");
        let idle = load("[[namespace]]\npattern = \"*\"\n", &[URL]).expect_err("nobody asks").to_string();
        assert!(idle.contains("no namespace has hooks = [\"publish\"]"), "{idle}");
        let wrong =
            load("[[namespace]]\npattern = \"*\"\nhooks = [\"connect\"]\n", &[]).expect_err("a word").to_string();
        assert!(wrong.contains("namespace 1: hooks: `connect`: subscribe or publish"), "{wrong}");
    }

    #[test]
    fn what_cannot_be_is_a_fault_and_secrets_are_never_shown() {
        for (wrong, part) in [
            ("hooks.connect.url=", "is set but empty"),
            ("hooks.connect.url=backend/connect", "hooks.connect.url (GW_HOOKS__CONNECT__URL): is not"),
            ("hooks.connect.url=http://ann:s3cret@backend/", "holds a user or password"),
            ("hooks.deadline=0s", "between 1ms and 15s"),
            ("hooks.deadline=16s", "between 1ms and 15s"),
            ("hooks.on_failure=perhaps", "deny or allow"),
            ("hooks.publish.on_failure=perhaps", "deny or allow"),
            ("hooks.concurrency=0", "not a number above 0"),
            ("hooks.secret=", "is set but empty"),
            ("webhooks.events=joined,gone", "`gone` is none of"),
            ("webhooks.queue=0", "not a number above 0"),
        ] {
            let fault = load("", &[wrong]).expect_err(wrong).to_string();
            assert!(fault.contains(part) && !fault.contains("s3cret"), "{part:?} is not in:\n{fault}");
        }
        let config = load("", &[URL, "hooks.secret=s3cret", "webhooks.secret=s3cret"]).expect("secrets");
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
