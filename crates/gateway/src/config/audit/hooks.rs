//! The points about the application: how it is asked and told, and what holds where it says nothing.

use super::{Config, Finding};
use crate::hooks::HookConfig;

/// The hooks that there are, with their names.
fn used(config: &Config) -> impl Iterator<Item = (&'static str, &HookConfig)> {
    let hooks = &config.hooks;
    let named = [("connect", &hooks.connect), ("subscribe", &hooks.subscribe), ("publish", &hooks.publish)];
    named.into_iter().filter_map(|(name, hook)| Some((name, hook.as_ref()?)))
}

fn names(config: &Config, is_meant: impl Fn(&HookConfig) -> bool) -> Option<String> {
    let names: Vec<_> = used(config).filter(|(_, hook)| is_meant(hook)).map(|(name, _)| name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Whether nobody connects without a word of the application.
pub(super) fn guards_the_door(config: &Config) -> bool {
    config.hooks.connect.as_ref().is_some_and(|hook| !hook.allows_on_failure)
}

pub(super) fn way(config: &Config) -> Finding {
    const KEY: &str = "hooks (url)";
    if !config.hooks.is_used() {
        return Finding::good(KEY, "are not used");
    }
    match names(config, |hook| hook.address.can_be_forged()) {
        Some(names) => Finding::warning(
            KEY,
            format!(
                "plain http beyond this machine: whoever is on the way answers in the application's place ({names})"
            ),
            "https:// addresses, unless nobody else is on that network",
        ),
        None => Finding::good(KEY, "the application is asked over TLS, or on this machine"),
    }
}

pub(super) fn secret(config: &Config) -> Finding {
    const KEY: &str = "hooks.secret";
    if config.hooks.is_used() && config.hooks.secret.is_none() {
        let says = "nothing is signed: the application cannot tell the gateway's questions from anybody else's";
        return Finding::warning(KEY, says, "at least 32 random bytes from a file: openssl rand -base64 32");
    }
    Finding::good(KEY, if config.hooks.is_used() { "questions are signed" } else { "is not used" })
}

pub(super) fn silence(config: &Config) -> Finding {
    const KEY: &str = "hooks.on_failure";
    match names(config, |hook| hook.allows_on_failure) {
        Some(names) => Finding::warning(
            KEY,
            format!("while the application does not answer, nobody is asked: {names}"),
            "deny, unless what the application forbids may happen now and then",
        ),
        None => Finding::good(KEY, "no answer is no yes"),
    }
}

pub(super) fn told_way(config: &Config) -> Finding {
    const KEY: &str = "webhooks.url";
    match &config.webhooks {
        None => Finding::good(KEY, "is not used"),
        Some(webhooks) if webhooks.address.can_be_forged() => Finding::warning(
            KEY,
            "is plain http beyond this machine: whoever is on the way reads who is where, and what clients say",
            "an https:// address, unless nobody else is on that network",
        ),
        Some(_) => Finding::good(KEY, "the application is told over TLS, or on this machine"),
    }
}

pub(super) fn told_secret(config: &Config) -> Finding {
    const KEY: &str = "webhooks.secret";
    match &config.webhooks {
        None => Finding::good(KEY, "is not used"),
        Some(webhooks) if webhooks.secret.is_none() => Finding::warning(
            KEY,
            "nothing is signed: the application cannot tell the gateway's word from anybody else's",
            "at least 32 random bytes from a file: openssl rand -base64 32",
        ),
        Some(_) => Finding::good(KEY, "what is told is signed"),
    }
}
