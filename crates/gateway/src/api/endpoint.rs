//! What an endpoint is: from one declaration come its route, the reading of what is asked, and its part of the document.

use super::keys::Scope;
use super::problem::{Code, Problem};
use crate::node::Node;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use http::{Method, StatusCode};
use protocol::ErrorCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// One thing that backends may ask.
pub(super) trait Endpoint: 'static {
    /// Its method: GET has its question in the query, POST in the body.
    const METHOD: Method;
    /// Its path below `/api/v1/`, which is also its label in metrics.
    const PATH: &'static str;
    /// What a key must be allowed; none: no key is asked for.
    const SCOPE: Option<Scope>;
    /// What it does, in one line.
    const SUMMARY: &'static str;
    /// What else there is to know.
    const DESCRIPTION: &'static str;
    /// Its statuses that are no problem, and when.
    const STATUSES: &'static [(u16, &'static str)] = &[(200, "It is done.")];
    /// Problems beside those that every endpoint has.
    const PROBLEMS: &'static [Code];
    /// What is asked.
    type Asked: DeserializeOwned + JsonSchema + Send;
    /// What is answered.
    type Answer: Serialize + JsonSchema;

    /// Does it, within the time that broker and presence give themselves. `key` is the header `Idempotency-Key`.
    fn run(node: Arc<Node>, asked: Self::Asked, key: Option<String>)
    -> impl Future<Output = Done<Self::Answer>> + Send;
}

/// What became of a request: a status and an answer, or a problem.
pub(super) type Done<T> = Result<(StatusCode, T), Problem>;

/// A request as the HTTP side hands it over.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The query, as it came.
    pub(super) query: String,
    /// The body.
    pub(super) body: Bytes,
    /// The header `Idempotency-Key`.
    pub(super) key: Option<String>,
}

/// An endpoint with its types gone: a row of the table that the router and the document are made from.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) scope: Option<Scope>,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) statuses: &'static [(u16, &'static str)],
    pub(super) problems: &'static [Code],
    pub(super) asked: fn(&mut SchemaGenerator) -> Schema,
    pub(super) answer: fn(&mut SchemaGenerator) -> Schema,
    /// Reads what is asked, does it, and writes the answer.
    pub(super) run: fn(Arc<Node>, Asked) -> BoxFuture<'static, Done<Bytes>>,
}

impl Route {
    /// The row of an endpoint.
    pub(super) fn of<E: Endpoint>() -> Self {
        Self {
            method: E::METHOD,
            path: E::PATH,
            scope: E::SCOPE,
            summary: E::SUMMARY,
            description: E::DESCRIPTION,
            statuses: E::STATUSES,
            problems: E::PROBLEMS,
            // A question is described where it stands: nobody else has it.
            asked: |generator| <E::Asked as JsonSchema>::json_schema(generator),
            answer: SchemaGenerator::subschema_for::<E::Answer>,
            run: |node, asked| {
                let read = if E::METHOD == Method::GET { of_query(&asked.query) } else { of_body(&asked.body) };
                let read: Result<E::Asked, Problem> = read;
                async move {
                    let (status, answer) = E::run(node, read?, asked.key).await?;
                    let written = serde_json::to_vec(&answer).map_err(|error| {
                        tracing::error!(%error, path = E::PATH, "an answer cannot be written");
                        Problem::new(Code::Refused(ErrorCode::Internal), "the answer cannot be written")
                    })?;
                    Ok((status, written.into()))
                }
                .boxed()
            },
        }
    }
}

fn of_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    serde_urlencoded::from_str(query).map_err(|error| Problem::bad_request(format!("the query: {error}")))
}

fn of_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    match serde_json::from_slice::<Object<T>>(body) {
        Ok(object) => Ok(object.0),
        Err(error) if error.is_data() => Err(Problem::bad_request(format!("the body: {error}"))),
        Err(error) => Err(Problem::bad_request(format!("the body is not JSON: {error}"))),
    }
}

/// A JSON object; serde would also take an array of the fields' values for it.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: DeserializeOwned> serde::Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap<T>(PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for OfMap<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(OfMap(PhantomData)).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for Object<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
