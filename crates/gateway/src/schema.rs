//! What payloads must look like: JSON Schemas of a namespace, read and compiled at the start.

use jsonschema::{PatternOptions, Validator};
use protocol::{Content, ErrorCode, Payload, Refusal};
use std::fmt;
use std::path::{Path, PathBuf};

/// How much of a validator's words a refusal repeats.
const EXPLANATION_MAX_BYTES: usize = 300;

/// One schema (drafts 4 to 2020-12), with the file it came from.
pub struct Schema {
    path: PathBuf,
    validator: Validator,
}

impl Schema {
    /// Reads and compiles a schema.
    ///
    /// # Errors
    /// What is wrong with the file, in words for people.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
        let schema = serde_json::from_slice(&text).map_err(|error| format!("{shown} is not JSON: {error}"))?;
        // References stay within the file: nothing is fetched for the sake of a message. Patterns run in time that grows
        // with the text alone; what would need looking back is refused here.
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex()).offline();
        let validator =
            options.build(&schema).map_err(|error| format!("{shown} is not a schema that can be used: {error}"))?;
        Ok(Self { path: path.to_owned(), validator })
    }

    /// Whether a payload is as the schema says; text counts if it is JSON.
    ///
    /// # Errors
    /// Where it is not.
    fn check(&self, data: &Payload) -> Result<(), Refusal> {
        if data.content == Content::Binary {
            return Err(Refusal::bad_request("this channel takes JSON only, by its schema"));
        }
        let Ok(value) = serde_json::from_slice(&data.bytes) else {
            return Err(Refusal::bad_request("this channel takes JSON only, by its schema"));
        };
        let Err(error) = self.validator.validate(&value) else { return Ok(()) };
        let (place, what) = (error.instance_path().to_string(), error.masked().to_string());
        let place = if place.is_empty() { "at its top".to_owned() } else { format!("at {place}") };
        let mut message = format!("`data` is not as this channel's schema says: {place}: {what}");
        message.truncate(message.floor_char_boundary(EXPLANATION_MAX_BYTES));
        Err(Refusal::new(ErrorCode::BadRequest, message))
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.path).finish()
    }
}

/// The schemas of a namespace.
#[derive(Debug, Default)]
pub struct Schemas {
    /// Of every publication whose event has none of its own.
    pub every: Option<Schema>,
    /// By event.
    pub by_event: Vec<(String, Schema)>,
}

impl Schemas {
    /// Whether a payload may be published under this event.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, event: Option<&str>, data: &Payload) -> Result<(), Refusal> {
        let own = event.and_then(|event| self.by_event.iter().find(|(name, _)| name == event));
        match own.map(|(_, schema)| schema).or(self.every.as_ref()) {
            Some(schema) => schema.check(data),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Schemas {
    /// As the lines that declare them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.every {
            writeln!(f, "schema = {:?}", schema.path.display().to_string())?;
        }
        for (event, schema) in &self.by_event {
            writeln!(f, "schemas.{event:?} = {:?}", schema.path.display().to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(text: &str) -> Result<Schema, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Schema::read(file.path())
    }

    const MESSAGE: &str = r#"{"type": "object", "required": ["text"], "additionalProperties": false,
        "properties": {"text": {"type": "string", "maxLength": 5, "pattern": "^[a-z]*$"}}}"#;

    #[test]
    fn a_payload_is_as_the_schema_says_or_is_told_where_it_is_not() {
        let schemas = Schemas { every: Some(schema(MESSAGE).unwrap()), by_event: Vec::new() };
        assert_eq!(schemas.check(None, &Payload::json(r#"{"text":"hello"}"#)), Ok(()));
        assert_eq!(schemas.check(Some("any"), &Payload::text(r#"{"text":"hi"}"#)), Ok(()));
        for (data, place) in [
            (r#"{"text":"hello!"}"#, "at /text"),
            (r#"{"text":7}"#, "at /text"),
            (r#"{}"#, "at its top"),
            (r#"{"text":"a","more":1}"#, "at its top"),
            ("[]", "at its top"),
        ] {
            let refusal = schemas.check(None, &Payload::json(data)).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::BadRequest);
            assert!(refusal.message.contains(place), "{data}: {}", refusal.message);
        }
        for data in [Payload::binary("{}"), Payload::text("hello")] {
            assert!(schemas.check(None, &data).unwrap_err().message.contains("JSON only"));
        }
    }

    #[test]
    fn an_event_of_its_own_schema_is_not_held_to_that_of_all() {
        let by_event = vec![("count".to_owned(), schema(r#"{"type":"integer"}"#).unwrap())];
        let schemas = Schemas { every: Some(schema(MESSAGE).unwrap()), by_event };
        assert_eq!(schemas.check(Some("count"), &Payload::json("7")), Ok(()));
        assert!(schemas.check(Some("other"), &Payload::json("7")).is_err());
        assert!(schemas.check(Some("count"), &Payload::json(r#"{"text":"hello"}"#)).is_err());
    }

    #[test]
    fn a_refusal_is_short_and_repeats_nothing_of_the_payload() {
        let schemas = Schemas { every: Some(schema(r#"{"type":"integer"}"#).unwrap()), by_event: Vec::new() };
        let secret = format!(r#""{}""#, "secret".repeat(1000));
        let refusal = schemas.check(None, &Payload::json(secret)).unwrap_err();
        assert!(refusal.message.len() <= EXPLANATION_MAX_BYTES && !refusal.message.contains("secret"));
    }

    #[test]
    fn what_cannot_be_used_is_said_at_the_start() {
        for (text, fault) in [
            ("{", "is not JSON"),
            (r#"{"type": 7}"#, "is not a schema"),
            (r#"{"$ref": "http://127.0.0.1:9/other.json"}"#, "is not a schema"),
            (r#"{"$ref": "file:///etc/hostname"}"#, "is not a schema"),
            (r#"{"pattern": "^(?=a)"}"#, "is not a schema"),
        ] {
            assert!(schema(text).unwrap_err().contains(fault), "{text}");
        }
        assert!(Schema::read(Path::new("/nowhere/schema.json")).unwrap_err().contains("cannot read"));
    }

    #[test]
    fn a_pattern_cannot_be_made_to_run_for_ever() {
        let slow = schema(r#"{"pattern": "^(a+)+$"}"#).unwrap();
        let schemas = Schemas { every: Some(slow), by_event: Vec::new() };
        let data = Payload::json(format!(r#""{}!""#, "a".repeat(50_000)));
        assert!(schemas.check(None, &data).is_err());
    }
}
