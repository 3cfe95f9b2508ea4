//! What of it is about the server API's keys.

use super::{Config, Finding};
use crate::api::Weakness;

/// What a key should be.
const FIX: &str =
    "32 random bytes from a file, for nothing else: openssl rand -hex 32 > FILE, and api.key_file or key_file";

pub(super) fn strength(config: &Config) -> Finding {
    const KEY: &str = "api.key";
    let keys = &config.api.keys;
    if keys.is_empty() {
        return Finding::good(KEY, "is not used: there is no server API");
    }
    let secrets = [&config.auth.hmac_secret, &config.auth.previous_hmac_secret];
    let faults = keys.iter().filter_map(|key| {
        let signs = secrets.into_iter().flatten().any(|secret| key.is_made_of(secret));
        let why = match key.weakness() {
            _ if signs => "signs tokens as well: whoever may mint them may do all that the key may",
            Some(Weakness::Short) => "is shorter than 32 bytes",
            Some(Weakness::Patterned) => "can be guessed: it repeats itself, or counts",
            None => return None,
        };
        Some(format!("`{}` {why}", key.name))
    });
    let faults: Vec<_> = faults.collect();
    if faults.is_empty() {
        return Finding::good(KEY, "every key is long enough, if it is random");
    }
    Finding::failure(KEY, faults.join("; "), FIX)
}

pub(super) fn files(config: &Config) -> Finding {
    const KEY: &str = "api.key_file";
    match &config.api.exposed[..] {
        [] => Finding::good(KEY, "no file with a key of the server API is open to everybody on this machine"),
        files => Finding::warning(
            KEY,
            format!("everybody on this machine can read {}", files.join(", ")),
            "chmod o-r, and the gateway's user as its owner or in its group",
        ),
    }
}
