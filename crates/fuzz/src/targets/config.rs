//! A configuration file: whatever stands in it, faults are told; and what is taken means the same when it is printed and read.

use gateway::config::Config;
use gateway::config::settings::Sources;
use gateway::policy::quoted;
use std::io::Write;

pub(super) const WORDS: &[&str] = &[
    "[[namespace]]\n", "pattern = \"*\"\n", "pattern = \"user:{user}\"\n", "subscribe = \"granted\"\n", "publish = \"nobody\"\n",
    "roles = [\"staff\"]\n", "roles.staff = [\"publish\"]\n", "events = [\"a\"]\n", "history.size = 0\n", "history.ttl = \"5m\"\n",
    "[limits]\n", "max_message = \"1MiB\"\n", "messages = \"100/s burst 200\"\n", "origins = \"https://a.example\"\n",
    "trusted_proxies = \"10.0.0.0/8\"\n", "listen = \"[::]:0\"\n", "redis.url = \"redis://:p@h/1\"\n", "redis.mode = \"sentinel\"\n",
    "\"\"\"", "= \"", "9223372036854775807", "-1\n", "1e400\n", "inf", "nan", "1979-05-27T07:32:00Z", "99999999999999999999s",
];
pub(super) const GOLDEN: &[&str] = &[];

/// Reads it as a file, and again as it would be printed.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Settings name files, and some files of the system have no end.
    if ["_file", "cert", "key", "schema", "\\u", "\\U"].iter().any(|word| text.contains(word)) {
        return;
    }
    let Ok(config) = load(text) else { return };
    let printed = print(&config);
    let again = load(&printed).unwrap_or_else(|fault| panic!("{fault}\nin what was printed:\n{printed}"));
    assert_eq!(print(&again), printed);
}

fn load(text: &str) -> Result<Config, String> {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().map_err(|error| error.to_string())?;
    file.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    let sources = Sources { file: Some(file.path()), environment: Some([].into()), overrides: Vec::new() };
    Config::load(&sources).map_err(|error| error.to_string())
}

/// As `gateway print-config` does, without what is secret.
fn print(config: &Config) -> String {
    let given = config.known.iter().filter(|known| !known.is_secret && !known.value.is_empty());
    // Without its secret address Redis cannot be asked of sentinels.
    let given = given.filter(|known| known.key != "redis.mode");
    let settings: String = given.map(|known| format!("{} = {}\n", known.key, quoted(&known.value))).collect();
    let namespaces = config.policy.namespaces().iter().map(|namespace| format!("{namespace}\n"));
    settings + &namespaces.collect::<String>()
}
