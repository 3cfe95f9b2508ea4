//! The settings that lead to Redis: one server, or sentinels that know which one.

use super::settings::Settings;
use link::{LinkConfig, LinkTls, SentinelConfig};

/// Reads and checks it; `None` keeps everything in memory.
pub(super) fn read(s: &mut Settings) -> Option<LinkConfig> {
    let url = s.secret(
        "redis.url",
        "redis.url_file",
        "redis://user:password@host:port, or rediss:// for TLS; none: one node, all in its memory",
    );
    let mode = "single, or sentinel: redis.url names the sentinels, separated by commas";
    let uses_sentinels = s.get("redis.mode", "single", mode, check_mode);
    let prefix = s.get("redis.prefix", LinkConfig::DEFAULT_PREFIX, "goes before every key and topic", check_prefix);
    let sentinel = read_sentinel(s);
    let tls = read_tls(s);
    let uses_sentinels = uses_sentinels?;
    let Some(url) = url else {
        if uses_sentinels {
            s.fault(
                "redis.mode (GW_REDIS__MODE): sentinel needs the addresses of the sentinels in redis.url".to_owned(),
            );
        }
        return None;
    };
    let is_address = ["redis://", "rediss://", "redis+unix://", "unix://"].iter().any(|scheme| url.starts_with(scheme));
    if !uses_sentinels && !is_address {
        s.fault("redis.url (GW_REDIS__URL): an address begins with redis://, rediss:// or unix://".to_owned());
        return None;
    }
    if !tls.is_empty() && !url.contains("rediss://") {
        s.fault("redis.tls.…: without rediss:// in redis.url (GW_REDIS__URL) there is no TLS".to_owned());
    }
    let config = LinkConfig { url, prefix: prefix?, sentinel: sentinel.filter(|_| uses_sentinels), tls };
    if let Err(fault) = config.check() {
        s.fault(format!("redis.url (GW_REDIS__URL): {fault}"));
    }
    Some(config)
}

fn read_sentinel(s: &mut Settings) -> Option<SentinelConfig> {
    let master =
        s.get("redis.sentinel.master", "mymaster", "the name under which sentinels watch the primary", |text| {
            if text.is_empty() { Err("``: a name is not empty".to_owned()) } else { Ok(text.to_owned()) }
        });
    let username = s.optional("redis.sentinel.username", "the sentinels' own user, where they have users");
    let password = s.secret(
        "redis.sentinel.password",
        "redis.sentinel.password_file",
        "the sentinels' own password, where they ask for one",
    );
    Some(SentinelConfig { master: master?, username, password })
}

fn read_tls(s: &mut Settings) -> LinkTls {
    let read = |path: &str| match path {
        "" => Ok(None),
        path => std::fs::read(path).map(Some).map_err(|error| format!("cannot read {path}: {error}")),
    };
    s.refuse_empty("redis.tls.ca_file");
    let authorities = "a PEM file of the authorities that are trusted for rediss://, in place of the public ones";
    let authorities = s.get("redis.tls.ca_file", "", authorities, read).flatten();
    let cert = "a PEM file with a certificate of the gateway's own, for a Redis that asks for one";
    let cert = s.get("redis.tls.cert_file", "", cert, read).flatten();
    let key = s.get("redis.tls.key_file", "", "a PEM file with its private key", read).flatten();
    if cert.is_some() != key.is_some() {
        s.fault("redis.tls.cert_file and redis.tls.key_file: one is of no use without the other".to_owned());
    }
    LinkTls { authorities, own: cert.zip(key) }
}

/// True for sentinels.
fn check_mode(text: &str) -> Result<bool, String> {
    match text {
        "single" => Ok(false),
        "sentinel" => Ok(true),
        "cluster" => Err("`cluster`: Redis Cluster is not supported yet; write single or sentinel".to_owned()),
        _ => Err(format!("`{text}`: write single or sentinel")),
    }
}

fn check_prefix(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(|c: char| c.is_control() || c.is_whitespace() || "{}*?[]".contains(c)) {
        return Err(format!("`{text}`: a prefix is not empty and has no spaces, braces, brackets, `*` or `?`"));
    }
    Ok(text.to_owned())
}
