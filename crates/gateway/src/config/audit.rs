//! Whether a configuration is fit to serve the public: one finding a point, good ones included. Pure; the same points stand in
//! SECURITY.md.

use super::Config;
use crate::policy::{Access, Namespace};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// The least bytes of a secret: as many as a signature by it has (RFC 7518 section 3.2).
const SECRET_MIN_BYTES: usize = 32;

/// How wide the keys are set in the list.
const KEY_WIDTH: usize = 30;

/// What a point is found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It may be meant so: somebody should know.
    Warning,
    /// Nobody should serve the public with it.
    Failure,
}

/// One point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The setting.
    pub key: &'static str,
    /// What it is found to be.
    pub verdict: Verdict,
    /// What is so, in words.
    pub says: String,
    /// What to do about it; empty where it is good.
    pub fix: &'static str,
}

impl Finding {
    fn good(key: &'static str, says: impl Into<String>) -> Self {
        Self { key, verdict: Verdict::Good, says: says.into(), fix: "" }
    }

    fn warning(key: &'static str, says: impl Into<String>, fix: &'static str) -> Self {
        Self { key, verdict: Verdict::Warning, says: says.into(), fix }
    }

    fn failure(key: &'static str, says: impl Into<String>, fix: &'static str) -> Self {
        Self { key, verdict: Verdict::Failure, says: says.into(), fix }
    }

    /// Whether a node for production does not start with it.
    pub fn is_failure(&self) -> bool {
        self.verdict == Verdict::Failure
    }
}

/// Looks at every point once, in the order of SECURITY.md.
pub fn audit(config: &Config) -> Vec<Finding> {
    vec![
        anonymous(config),
        secret("auth.hmac_secret", config.auth.hmac_secret.as_deref()),
        secret("auth.previous_hmac_secret", config.auth.previous_hmac_secret.as_deref()),
        published_keys(config),
        audience(config),
        expiry(config),
        query(config),
        keys::strength(config),
        keys::files(config),
        origins(config),
        tls(config),
        trusted_proxies(config),
        admin(config.admin_listen),
        redis(config),
        redis_password(config),
        redis_network(config),
        per_address(config),
        subscribers(config),
        publishers(config),
        senders(config),
        hooks::way(config),
        hooks::secret(config),
        hooks::silence(config),
        hooks::told_way(config),
        hooks::told_secret(config),
    ]
}

/// The findings as a list for a person, and how many of each kind.
pub fn checklist(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Good => '✓',
            Verdict::Warning => '!',
            Verdict::Failure => '✗',
        };
        // A String takes everything.
        let _ = writeln!(text, "  {mark} {:KEY_WIDTH$} {}", finding.key, finding.says);
        if !finding.fix.is_empty() {
            let _ = writeln!(text, "    {:KEY_WIDTH$} → {}", "", finding.fix);
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (good, warnings, failures) = (count(Verdict::Good), count(Verdict::Warning), count(Verdict::Failure));
    let _ = writeln!(text, "\n{failures} wrong (✗), {warnings} to think about (!), {good} good (✓)");
    text
}

fn anonymous(config: &Config) -> Finding {
    const KEY: &str = "auth.anonymous";
    let fix =
        "set auth.hmac_secret_file, auth.public_key_file or auth.jwks_url, and leave auth.anonymous unset or false";
    match (config.auth.anonymous, config.auth.has_keys()) {
        (true, _) if hooks::guards_the_door(config) => Finding::warning(
            KEY,
            "whoever shows no token is let in if the application says so (hooks.connect)",
            "false, unless the application knows its visitors by headers or cookies of the handshake",
        ),
        (true, _) => Finding::failure(KEY, "anyone may connect, without a token", fix),
        (false, false) => Finding::failure(KEY, "there is no key: no token can be good, and nobody can connect", fix),
        (false, true) => Finding::good(KEY, "whoever connects shows a token"),
    }
}

fn secret(key: &'static str, secret: Option<&str>) -> Finding {
    match secret.map(str::len) {
        None => Finding::good(key, "is not used"),
        Some(bytes) if bytes < SECRET_MIN_BYTES => Finding::failure(
            key,
            format!("has {bytes} bytes: whoever has one token can guess it, and sign any other"),
            "at least 32 random bytes from a file: openssl rand -base64 32",
        ),
        Some(_) => Finding::good(key, "is long enough, if it is random"),
    }
}

fn published_keys(config: &Config) -> Finding {
    const KEY: &str = "auth.jwks_url";
    match &config.auth.published {
        None => Finding::good(KEY, "is not used"),
        Some(published) if published.source.can_be_forged() => Finding::failure(
            KEY,
            "is plain http beyond this machine: whoever is on the way chooses the keys",
            "an https:// address, and no auth.jwks_insecure",
        ),
        Some(_) => Finding::good(KEY, "comes over TLS, or from this machine"),
    }
}

fn audience(config: &Config) -> Finding {
    const KEY: &str = "auth.audience";
    let is_shared = config.auth.published.is_some() || !config.auth.public_keys.is_empty();
    match &config.auth.audience {
        None if is_shared => Finding::warning(
            KEY,
            "tokens that the same issuer signs for other services are taken here",
            "the `aud` of your tokens, unless the keys sign for this service alone",
        ),
        None => Finding::good(KEY, "is not asked for: the secret is this service's own"),
        Some(_) => Finding::good(KEY, "tokens for other services are refused"),
    }
}

fn expiry(config: &Config) -> Finding {
    const KEY: &str = "auth.require_expiry";
    if config.auth.requires_expiry {
        return Finding::good(KEY, "every token ends");
    }
    Finding::warning(
        KEY,
        "a token without `exp` is good for ever, whoever holds it",
        "true, and tokens of an hour or so",
    )
}

fn query(config: &Config) -> Finding {
    const KEY: &str = "auth.query";
    if config.auth.query {
        return Finding::failure(
            KEY,
            "tokens are taken from URLs, which access logs keep",
            "false: header, subprotocol, cookie or first message carry tokens as well",
        );
    }
    Finding::good(KEY, "tokens in URLs are not taken")
}

fn origins(config: &Config) -> Finding {
    const KEY: &str = "origins";
    let fix = "the Origins of your pages, such as https://app.example";
    let origins = &config.http.origins;
    if origins.contains(&crate::http::AllowedOrigin::All) {
        return Finding::failure(KEY, "any page on the internet may connect in the name of its visitors", fix);
    }
    if origins.is_empty() {
        let says = "any name that leads here may serve pages that connect: an attacker's name may, too (DNS rebinding)";
        return Finding::failure(KEY, says, fix);
    }
    Finding::good(KEY, "pages of the Origins that are named, and no others")
}

fn tls(config: &Config) -> Finding {
    const KEY: &str = "listen";
    if let Some(tls) = &config.tls {
        return match tls.warning() {
            Some(ends) => Finding::warning(KEY, ends, "renew it: new files are taken up by themselves"),
            None => Finding::good(KEY, "speaks TLS"),
        };
    }
    if config.listen.ip().is_loopback() {
        return Finding::good(KEY, "only this machine reaches it: whatever ends TLS is here");
    }
    let says = "speaks plain HTTP: without TLS in front of it tokens and messages can be read on the way";
    Finding::warning(KEY, says, "set tls.cert and tls.key, or let a proxy end TLS and nobody else reach this port")
}

fn trusted_proxies(config: &Config) -> Finding {
    const KEY: &str = "trusted_proxies";
    if config.http.trusted_proxies.iter().any(|net| net.prefix_len() == 0) {
        let says = "everybody's X-Forwarded-For is believed: limits for each address hold nobody";
        return Finding::failure(KEY, says, "the addresses of your own proxies");
    }
    Finding::good(KEY, "X-Forwarded-For is believed from nobody but those that are named")
}

fn admin(address: SocketAddr) -> Finding {
    const KEY: &str = "admin.listen";
    let ip = address.ip().to_canonical();
    let is_private = match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    if ip.is_loopback() {
        return Finding::good(KEY, "only this machine reaches it");
    }
    if ip.is_unspecified() || is_private {
        return Finding::warning(
            KEY,
            "whoever reaches it reads metrics and can drain the node, without a password",
            "let only Prometheus, health checks and operators reach it: a private network, a firewall, or 127.0.0.1",
        );
    }
    let says = "is a public address: whoever reaches it can drain the node, without a password";
    Finding::failure(KEY, says, "127.0.0.1:9180, or an address of a private network")
}

fn redis(config: &Config) -> Finding {
    const KEY: &str = "redis.url";
    if config.redis.is_some() {
        return Finding::good(KEY, "nodes share Redis");
    }
    let says = "this node is alone: history and presence end with it, and there can be no second one";
    Finding::warning(KEY, says, "redis://…, unless one node is meant to be all")
}

fn redis_password(config: &Config) -> Finding {
    const KEY: &str = "redis.url (password)";
    match config.redis.as_ref().and_then(|redis| redis.way().ok()) {
        Some(way) if way.leaves_the_machine && !way.has_password => Finding::failure(
            KEY,
            "Redis asks for no password: whoever reaches it reads and writes every channel",
            "requirepass or a user in Redis, and redis://:password@host from redis.url_file",
        ),
        Some(way) if !way.has_password => Finding::good(KEY, "only this machine reaches it by that address"),
        Some(_) => Finding::good(KEY, "Redis is shown a password"),
        None => Finding::good(KEY, "is not used"),
    }
}

fn redis_network(config: &Config) -> Finding {
    const KEY: &str = "redis.private_network";
    let says = "redis:// is plain: whoever is on the way reads and writes every channel, and reads the password";
    match config.redis.as_ref().and_then(|redis| redis.way().ok()) {
        Some(way) if way.is_encrypted => Finding::good(KEY, "is not needed: the way is encrypted"),
        Some(way) if !way.leaves_the_machine => Finding::good(KEY, "is not needed: it leads over no network"),
        Some(_) if config.redis_network_is_private => {
            Finding::warning(KEY, says, "you have said that nobody else is on that network: keep it so")
        }
        Some(_) => Finding::failure(
            KEY,
            says,
            "a tunnel that begins on this machine (stunnel, WireGuard), or true if nobody else is on that network",
        ),
        None => Finding::good(KEY, "is not used"),
    }
}

fn per_address(config: &Config) -> Finding {
    const KEY: &str = "limits.connections_per_address";
    if config.worker.connections_per_address_max.is_some() {
        return Finding::good(KEY, "no address can take every place");
    }
    let fix = "some hundreds (offices share one), with trusted_proxies behind a proxy; or the proxy's own limit";
    Finding::warning(KEY, "one address can take every place of the node", fix)
}

/// The patterns of namespaces in which anyone may do this.
fn open_to_anyone(config: &Config, access: impl Fn(&Namespace) -> Access) -> Option<String> {
    let open = config.policy.namespaces().iter().filter(|namespace| access(namespace) == Access::Anyone);
    let patterns: Vec<_> = open.map(|namespace| format!("`{}`", namespace.pattern)).collect();
    (!patterns.is_empty()).then(|| patterns.join(", "))
}

fn subscribers(config: &Config) -> Finding {
    const KEY: &str = "namespace.subscribe";
    match open_to_anyone(config, |namespace| namespace.subscribe) {
        Some(patterns) => Finding::warning(
            KEY,
            format!("anyone may subscribe to {patterns}"),
            "authenticated or granted, unless those channels are for everybody",
        ),
        None => Finding::good(KEY, "no channel is open to just anyone"),
    }
}

fn publishers(config: &Config) -> Finding {
    const KEY: &str = "namespace.publish";
    match open_to_anyone(config, |namespace| namespace.publish) {
        Some(patterns) => Finding::failure(
            KEY,
            format!("anyone may publish to {patterns}"),
            "[[namespace]] tables with publish = \"authenticated\", \"granted\" or \"nobody\"",
        ),
        None => Finding::good(KEY, "nobody publishes without a token"),
    }
}

fn senders(config: &Config) -> Finding {
    const KEY: &str = "send.access";
    if config.policy.send_access() == Access::Anyone {
        let says = "anyone may send a private message to any connection";
        return Finding::failure(KEY, says, "authenticated, granted or nobody");
    }
    Finding::good(KEY, "private messages ask for a token")
}

mod hooks;
mod keys;
#[cfg(test)]
mod tests;
