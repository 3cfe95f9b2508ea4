//! Settings in layers (defaults < file < environment < `--set`), read by name; every fault is kept and told at once.

use crate::limit::Rate;
use bytesize::ByteSize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// One setting as it was asked for: what `print-config` shows.
#[derive(Debug, Clone)]
pub struct Known {
    /// Dotted name.
    pub key: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// The default as people write it; empty for none.
    pub default: String,
    /// What is in force, as people write it; empty for none, and for a secret.
    pub value: String,
    /// Whether it is never printed.
    pub is_secret: bool,
}

/// Where values come from, and what was found wrong with them.
#[derive(Debug, Default)]
pub struct Settings {
    values: BTreeMap<String, Value>,
    known: Vec<Known>,
    faults: Vec<String>,
    /// The file, and the names of what it says.
    file: Option<(PathBuf, BTreeSet<String>)>,
}

/// What a setting may be given by, beside its default.
#[derive(Debug, Default, Clone)]
pub struct Sources<'a> {
    /// A TOML file.
    pub file: Option<&'a Path>,
    /// Variables beginning with `GW_`; the process' own when `None`.
    pub environment: Option<HashMap<String, String>>,
    /// `key=value`, stronger than all others.
    pub overrides: Vec<String>,
}

impl Settings {
    /// Reads the layers. Faults of the layers themselves are kept like all others.
    pub fn read(sources: &Sources<'_>) -> Self {
        let mut settings = Self::default();
        let environment = config::Environment::with_prefix("GW")
            .prefix_separator("_")
            .separator("__")
            .source(sources.environment.clone());
        let mut builder = config::Config::builder();
        if let Some(path) = sources.file {
            let file = config::File::from(path).format(config::FileFormat::Toml);
            builder = builder.add_source(file.clone());
            settings.file = Some((path.to_owned(), keys_in(file)));
        }
        builder = builder.add_source(environment);
        match builder.build().and_then(config::Config::try_deserialize::<Map<String, Value>>) {
            Ok(tree) => flatten("", Value::Object(tree), &mut settings.values),
            Err(error) => settings.fault(error.to_string()),
        }
        for entry in &sources.overrides {
            match entry.split_once('=') {
                Some((key, value)) => {
                    settings.values.insert(key.trim().to_owned(), Value::String(value.trim().to_owned()));
                }
                None => settings.fault(format!("--set {entry}: write key=value")),
            }
        }
        settings
    }

    /// Keeps a fault.
    pub fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// A setting with a default; `parse` says what is wrong with a text.
    pub fn get<T>(
        &mut self,
        key: &'static str,
        default: &str,
        doc: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let given = self.values.remove(key).map(|value| as_text(&value));
        let text = given.unwrap_or_else(|| default.to_owned());
        self.known.push(Known { key, doc, default: default.to_owned(), value: text.clone(), is_secret: false });
        match parse(&text) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.fault(format!("{key} ({}): {fault}", variable(key)));
                None
            }
        }
    }

    /// Anything that reads itself from text.
    pub fn parsed<T: FromStr>(&mut self, key: &'static str, default: &str, doc: &'static str) -> Option<T>
    where
        T::Err: Display,
    {
        self.get(key, default, doc, |text| text.parse().map_err(|e| format!("`{text}`: {e}")))
    }

    /// A time such as `25s` or `500ms`.
    pub fn duration(&mut self, key: &'static str, default: &str, doc: &'static str) -> Duration {
        let parse = |text: &str| humantime::parse_duration(text).map_err(|e| format!("`{text}` is not a time: {e}"));
        self.get(key, default, doc, parse).unwrap_or_default()
    }

    /// A time such as `25s` that is not zero.
    pub fn positive_duration(&mut self, key: &'static str, default: &str, doc: &'static str) -> Duration {
        let parse = |text: &str| match humantime::parse_duration(text) {
            Ok(time) if time.is_zero() => Err(format!("`{text}`: must be longer than nothing")),
            Ok(time) => Ok(time),
            Err(error) => Err(format!("`{text}` is not a time: {error}")),
        };
        self.get(key, default, doc, parse).unwrap_or_default()
    }

    /// A size such as `64KiB`, and the least that works.
    pub fn size(&mut self, key: &'static str, default: &str, doc: &'static str, least: usize) -> usize {
        let parse = |text: &str| match parse_size(text)? {
            size if size < least => Err(format!("`{text}`: at least {least} bytes")),
            size => Ok(size),
        };
        self.get(key, default, doc, parse).unwrap_or_default()
    }

    /// A number above zero.
    pub fn count(&mut self, key: &'static str, default: &str, doc: &'static str) -> usize {
        let parse = |text: &str| match text.parse() {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(format!("`{text}` is not a number above 0")),
        };
        self.get(key, default, doc, parse).unwrap_or_default()
    }

    /// A rate such as `100/s burst 200`.
    pub fn rate(&mut self, key: &'static str, default: &str, doc: &'static str) -> Rate {
        self.get(key, default, doc, Rate::from_str).unwrap_or(Rate { per_second: 1.0, burst: 1.0 })
    }

    /// Yes or no.
    pub fn flag(&mut self, key: &'static str, default: &str, doc: &'static str) -> bool {
        self.get(key, default, doc, parse_flag).unwrap_or_default()
    }

    /// Yes, no, or not said (the default is empty).
    pub fn optional_flag(&mut self, key: &'static str, doc: &'static str) -> Option<bool> {
        let parse = |text: &str| if text.is_empty() { Ok(None) } else { parse_flag(text).map(Some) };
        self.get(key, "", doc, parse).flatten()
    }

    /// Text that may be absent.
    pub fn optional(&mut self, key: &'static str, doc: &'static str) -> Option<String> {
        self.get(key, "", doc, |text| Ok(text.to_owned())).filter(|text| !text.is_empty())
    }

    /// An unset variable of a compose file arrives as an empty one: that must not open what the setting was to close.
    pub fn refuse_empty(&mut self, key: &'static str) {
        if self.values.get(key).is_some_and(|value| as_text(value).is_empty()) {
            self.fault(format!("{key} ({}) is set but empty: give it a value, or do not set it", variable(key)));
        }
    }

    /// A secret: given as it is, or as the name of a file that holds it under `<key>_file`. Never printed.
    pub fn secret(&mut self, key: &'static str, file_key: &'static str, doc: &'static str) -> Option<String> {
        self.refuse_empty(key);
        self.refuse_empty(file_key);
        let value = self.optional(key, doc);
        if let Some(known) = self.known.last_mut() {
            known.is_secret = true;
            known.value.clear();
        }
        let path = self.optional(file_key, "a file that holds it instead");
        match (value, path) {
            (Some(_), Some(_)) => {
                self.fault(format!("{key} and {file_key} are both set: keep one"));
                None
            }
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) if text.trim().is_empty() => {
                    self.fault(format!("{file_key} ({}): {path} is empty", variable(file_key)));
                    None
                }
                Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    self.fault(format!("{file_key} ({}): cannot read {path}: {error}", variable(file_key)));
                    None
                }
            },
            (value, None) => value,
        }
    }

    /// Where a secret that has been read stands, if it is in a file: in one of its own, or in that of the settings.
    pub fn file_of(&self, key: &str, file_key: &str) -> Option<PathBuf> {
        let own = self.known.iter().find(|known| known.key == file_key && !known.value.is_empty());
        let shared = || self.file.as_ref().filter(|(_, keys)| keys.contains(key)).map(|(path, _)| path.clone());
        own.map(|known| PathBuf::from(&known.value)).or_else(shared)
    }

    /// The file of the settings.
    pub fn file(&self) -> Option<PathBuf> {
        self.file.as_ref().map(|(path, _)| path.clone())
    }

    /// Words separated by commas.
    pub fn list<T: FromStr>(&mut self, key: &'static str, doc: &'static str) -> Vec<T>
    where
        T::Err: Display,
    {
        let parse = |text: &str| {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            words.map(|word| word.parse().map_err(|e| format!("`{word}`: {e}"))).collect()
        };
        self.get(key, "", doc, parse).unwrap_or_default()
    }

    /// The tables of a list such as `[[namespace]]`.
    pub fn tables(&mut self, key: &str) -> Vec<Map<String, Value>> {
        match self.values.remove(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                let mut tables = Vec::new();
                for item in items {
                    match item {
                        Value::Object(table) => tables.push(table),
                        _ => self.fault(format!("{key}: each entry is a table: write [[{key}]]")),
                    }
                }
                tables
            }
            Some(_) => {
                self.fault(format!("{key}: write a list of tables: [[{key}]]"));
                Vec::new()
            }
        }
    }

    /// Ends the reading: whatever was given and not asked for is a fault that names the nearest known key.
    pub fn finish(mut self, other_keys: &[&str]) -> Result<Vec<Known>, Vec<String>> {
        for key in std::mem::take(&mut self.values).into_keys() {
            let names = self.known.iter().map(|k| k.key).chain(other_keys.iter().copied());
            let nearest = names.max_by(|a, b| strsim::jaro_winkler(a, &key).total_cmp(&strsim::jaro_winkler(b, &key)));
            let nearest = nearest.map(|name| format!("; did you mean {name} ({})?", variable(name)));
            self.fault(format!("{key} ({}) is not a setting{}", variable(&key), nearest.unwrap_or_default()));
        }
        if self.faults.is_empty() { Ok(self.known) } else { Err(self.faults) }
    }
}

/// The names of what a file says; none where it cannot be read, which is told by whoever reads its values.
fn keys_in(file: impl config::Source + Send + Sync + 'static) -> BTreeSet<String> {
    let mut values = BTreeMap::new();
    let read = config::Config::builder().add_source(file).build();
    if let Ok(tree) = read.and_then(config::Config::try_deserialize::<Map<String, Value>>) {
        flatten("", Value::Object(tree), &mut values);
    }
    values.into_keys().collect()
}

/// The environment variable of a key.
pub fn variable(key: &str) -> String {
    format!("GW_{}", key.replace('.', "__").to_uppercase())
}

/// A size as people write it.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let size: ByteSize = text.parse().map_err(|_| format!("`{text}` is not a size: write 65536, 64KiB or 1MiB"))?;
    usize::try_from(size.0).map_err(|_| format!("`{text}` is more than this machine can hold"))
}

/// Yes or no as people write it.
pub fn parse_flag(text: &str) -> Result<bool, String> {
    match text {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// A value as text, whatever type its file gave it.
pub fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(as_text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn flatten(path: &str, value: Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                flatten(&path, value, into);
            }
        }
        other => {
            into.insert(path.to_owned(), other);
        }
    }
}
