//! `api.…` and `[[api_key]]`: whom the server API serves, and how much.

use super::settings::{Settings, as_text};
use crate::api::{ApiConfig, ApiKey, Scope, Scopes};
use crate::limit::Rate;
use serde_json::{Map, Value};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// What the one key is called among the others.
const ONE_KEY: &str = "api.key";

const KEYS: &str = "name, key or key_file, scopes, rate";

pub(super) fn read(s: &mut Settings) -> ApiConfig {
    let (mut keys, mut exposed) = (Vec::new(), Vec::new());
    let one = "the server API's key that may do everything; none, and no [[api_key]]: there is no server API";
    if let Some(key) = s.secret("api.key", "api.key_file", one) {
        match ApiKey::new(ONE_KEY, &key, Scopes::ALL, None) {
            Ok(key) => keys.push(key),
            Err(fault) => s.fault(format!("api.key (GW_API__KEY): {fault}")),
        }
    }
    exposed.extend(s.file_of("api.key", "api.key_file"));
    for (index, table) in s.tables("api_key").iter().enumerate() {
        exposed.extend(table.get("key_file").map(|path| as_text(path).into()).or_else(|| s.file()));
        match read_key(table) {
            Ok(key) if keys.iter().any(|known| known.is_same(&key)) => {
                s.fault(format!("api_key {}: key: is another one's too", index + 1));
            }
            Ok(key) => keys.push(key),
            Err(faults) => faults.iter().for_each(|fault| s.fault(format!("api_key {}: {fault}", index + 1))),
        }
    }
    exposed.sort_unstable();
    exposed.dedup();
    exposed.retain(is_open);
    ApiConfig {
        keys,
        exposed: exposed.iter().map(|file| file.display().to_string()).collect(),
        max_body_bytes: s.size("api.max_body", "1MiB", "the largest body of a request of the server API", 1024),
        requests_max: s.count(
            "api.requests",
            "64",
            "requests of the server API that a node answers at the same time; beyond: 503",
        ),
    }
}

/// Whether everybody on this machine may read a file.
fn is_open(file: &PathBuf) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

fn read_key(table: &Map<String, Value>) -> Result<ApiKey, Vec<String>> {
    let mut faults = Vec::new();
    let text = |key: &str| table.get(key).map(as_text).filter(|text| !text.is_empty());
    for key in table.keys().filter(|key| !["name", "key", "key_file", "scopes", "rate"].contains(&key.as_str())) {
        faults.push(format!("{key}: is not a setting of an API key: {KEYS}"));
    }
    let name = text("name").unwrap_or_else(|| {
        faults.push("name: is missing: what people call this key".to_owned());
        String::new()
    });
    let scopes = read_scopes(table.get("scopes")).unwrap_or_else(|fault| {
        faults.push(format!("scopes: {fault}"));
        Scopes::default()
    });
    let rate = text("rate").map(|rate| rate.parse::<Rate>()).transpose().unwrap_or_else(|fault| {
        faults.push(format!("rate: {fault}"));
        None
    });
    let key = match (text("key"), text("key_file")) {
        (Some(key), None) => Ok(key),
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => Err(format!("key_file: cannot read {path}: {error}")),
        },
        (Some(_), Some(_)) => Err("key and key_file are both set: keep one".to_owned()),
        (None, None) => Err("key: is missing: write key, or key_file for a file that holds it".to_owned()),
    };
    let key = key.and_then(|key| ApiKey::new(&name, &key, scopes, rate).map_err(|fault| format!("key: {fault}")));
    match key {
        Ok(key) if faults.is_empty() => Ok(key),
        Ok(_) => Err(faults),
        Err(fault) => {
            faults.push(fault);
            Err(faults)
        }
    }
}

fn read_scopes(value: Option<&Value>) -> Result<Scopes, String> {
    let example = "is a list of publish, read and admin: [\"publish\"]";
    let Some(Value::Array(items)) = value.filter(|value| value.as_array().is_some_and(|items| !items.is_empty()))
    else {
        return Err(example.to_owned());
    };
    items.iter().map(|item| item.as_str().ok_or_else(|| example.to_owned())?.parse::<Scope>()).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::config::settings::Sources;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    fn load(text: &str, overrides: &[&str]) -> Result<Config, String> {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let overrides = overrides.iter().map(|o| (*o).to_owned()).collect();
        Config::load(&Sources { file: Some(file.path()), environment: Some([].into()), overrides })
            .map_err(|error| error.to_string())
    }

    const KEY: &str = "0123456789abcdef";

    #[test]
    fn there_is_no_api_without_a_key_and_no_key_is_kept_or_printed() {
        assert!(load("", &[]).unwrap().api.keys.is_empty());
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{KEY}").unwrap();
        let path = format!("api.key_file={}", file.path().display());
        let table = "[[api_key]]\nname = \"shop\"\nkey = \"fedcba9876543210\"\nscopes = [\"publish\", \"read\"]\nrate = \"5/s\"";
        let config = load(table, &[&path]).unwrap();
        let names: Vec<_> = config.api.keys.iter().map(|key| format!("{} {}", key.name, key.scopes)).collect();
        assert_eq!(names, [r#"api.key ["publish", "read", "admin"]"#, r#"shop ["publish", "read"]"#]);
        let shown = config.known.iter().map(|k| k.value.as_str()).collect::<String>() + &format!("{:?}", config.api);
        assert!(!shown.contains(KEY) && !shown.contains("fedcba9876543210"));
    }

    #[test]
    fn a_file_with_a_key_that_everybody_can_read_is_known() {
        let own = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(own.path(), KEY).unwrap();
        let shared = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        let exposed = |text: &str, overrides: &[String]| {
            std::fs::write(shared.path(), text).unwrap();
            let sources =
                Sources { file: Some(shared.path()), environment: Some([].into()), overrides: overrides.to_vec() };
            Config::load(&sources).unwrap().api.exposed
        };
        let name = |file: &tempfile::NamedTempFile| vec![file.path().display().to_string()];
        let open = |file: &tempfile::NamedTempFile, mode| {
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let (by_file, by_hand) = (format!("api.key_file={}", own.path().display()), format!("api.key={KEY}"));
        let tables = "[[api_key]]\nname = \"shop\"\nscopes = [\"read\"]\nkey = \"fedcba9876543210\"\n";
        open(&shared, 0o644);
        open(&own, 0o640);
        assert_eq!(exposed("", std::slice::from_ref(&by_file)), Vec::<String>::new());
        assert_eq!(exposed("", &[by_hand]), Vec::<String>::new(), "the file says nothing of it");
        assert_eq!(exposed(&format!("api.key = \"{KEY}\"\n"), &[]), name(&shared));
        assert_eq!(exposed(tables, &[]), name(&shared));
        open(&own, 0o644);
        assert_eq!(exposed("", &[by_file]), name(&own));
        open(&shared, 0o600);
        assert_eq!(exposed(tables, &[]), Vec::<String>::new());
    }

    #[test]
    fn every_fault_of_a_key_is_told_without_the_key() {
        let tables = "[[api_key]]\nkey = \"s3cret\"\nscope = []\n\
                      [[api_key]]\nname = \"a\"\nscopes = [\"fly\"]\nrate = \"fast\"\n\
                      [[api_key]]\nname = \"b\"\nscopes = [\"read\"]\nkey = \"s3cret-0123456789\"\nkey_file = \"/nowhere\"\n\
                      [[api_key]]\nname = \"c\"\nscopes = [\"read\"]\nkey_file = \"/nowhere\"\n\
                      [[api_key]]\nname = \"d\"\nscopes = [\"read\"]\nkey = \"s3cret-9876543210\"\n\
                      [[api_key]]\nname = \"e\"\nscopes = [\"read\"]\nkey = \"s3cret-9876543210\"\n";
        let error = load(tables, &["api.key=s3cret"]).map(|_| ()).unwrap_err();
        for part in [
            "api.key (GW_API__KEY): is shorter than 16 bytes",
            "api_key 1: scope: is not a setting",
            "api_key 1: name: is missing",
            "api_key 1: scopes: is a list",
            "api_key 1: key: is shorter",
            "api_key 2: scopes: `fly`",
            "api_key 2: rate: `fast`",
            "api_key 2: key: is missing",
            "api_key 3: key and key_file are both set",
            "api_key 4: key_file: cannot read /nowhere",
            "api_key 6: key: is another one's too",
        ] {
            assert!(error.contains(part), "{part:?} is not in:\n{error}");
        }
        assert!(!error.contains("s3cret"), "{error}");
        assert!(load("", &["api.key="]).map(|_| ()).unwrap_err().contains("set but empty"));
    }
}
