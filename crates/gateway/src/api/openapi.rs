//! The OpenAPI 3.1 document, made from the table of routes.

use super::endpoint::{Done, Endpoint, Route};
use super::keys::Scope;
use super::nodes::Nothing;
use super::problem::{Code, Written};
use super::routes::{self, PREFIX};
use crate::node::Node;
use http::{Method, StatusCode};
use protocol::ErrorCode;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Where the document keeps what is named.
const DEFINITIONS: &str = "/components/schemas";

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document(routes::all()));

/// `GET openapi.json`.
pub(super) struct Document;

impl Endpoint for Document {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "openapi.json";
    const SCOPE: Option<Scope> = None;
    const SUMMARY: &'static str = "This document";
    const DESCRIPTION: &'static str = "Needs no key.";
    const PROBLEMS: &'static [Code] = &[Code::Refused(ErrorCode::BadRequest)];
    type Asked = Nothing;
    type Answer = Value;

    async fn run(_: Arc<Node>, _: Nothing, _: Option<String>) -> Done<Value> {
        Ok((StatusCode::OK, DOCUMENT.clone()))
    }
}

fn document(routes: &[Route]) -> Value {
    let mut generator =
        SchemaSettings::draft2020_12().with(|s| s.definitions_path = DEFINITIONS.into()).into_generator();
    let problem = generator.subschema_for::<Written>();
    let mut paths = Map::new();
    for route in routes {
        let operation = operation(route, &problem, &mut generator);
        paths.insert(format!("{PREFIX}{}", route.path), json!({ route.method.as_str().to_lowercase(): operation }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "gateway",
            "summary": "The server API of a WebSocket gateway cluster.",
            "description": DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "`api.key`, or a key of an `[[api_key]]`."},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
            },
        },
    })
}

/// What holds for every path.
const DESCRIPTION: &str = "Any node answers for the whole cluster. The key is the permission: what namespaces say of \
    access and rates does not hold here; what they say of data does (`events`, `schema`, `max_message`, `history`, `state`). Problems \
    are RFC 9457 (`application/problem+json`), with a `code` for programs; 429 and 503 say in `Retry-After` when to come \
    back.";

fn operation(route: &Route, problem: &Schema, generator: &mut SchemaGenerator) -> Value {
    let asked = (route.asked)(generator);
    let answer = (route.answer)(generator);
    let mut operation = json!({
        "operationId": route.path.trim_end_matches(".json"),
        "summary": route.summary,
        "description": route.description,
        "responses": responses(route, &answer, problem),
        "security": match route.scope {
            Some(_) => json!([{"bearer": []}, {"header": []}]),
            None => json!([]),
        },
    });
    if let Some(scope) = route.scope {
        operation["x-scope"] = json!(scope.as_str());
    }
    if route.method == Method::GET {
        operation["parameters"] = parameters(&asked);
    } else {
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": asked}}});
        if route.scope == Some(Scope::Publish) {
            operation["parameters"] = json!([{
                "name": "Idempotency-Key",
                "in": "header",
                "required": false,
                "description": "The same as `key` in the body.",
                "schema": {"type": "string", "minLength": 1, "maxLength": super::IDEMPOTENCY_KEY_MAX, "pattern": "^[!-~]+$"},
            }]);
        }
    }
    operation
}

/// The fields of a question, one parameter each.
fn parameters(asked: &Schema) -> Value {
    let of = |key| asked.get(key);
    let required: Vec<&str> =
        of("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = of("properties").and_then(Value::as_object).into_iter().flatten();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        // Nothing in a query is null: what may be absent is absent.
        if let Some(Value::Array(types)) = schema.get("type")
            && let Some(kind) = types.iter().find(|kind| *kind != "null").cloned()
        {
            schema["type"] = kind;
        }
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        json!({
            "name": name,
            "in": "query",
            "required": required.contains(&name.as_str()),
            "description": description.unwrap_or_default(),
            "schema": schema,
        })
    };
    properties.map(parameter).collect()
}

fn responses(route: &Route, answer: &Schema, problem: &Schema) -> Value {
    let mut responses = BTreeMap::new();
    for (status, when) in route.statuses {
        let content = json!({"application/json": {"schema": answer}});
        responses.insert(*status, json!({"description": when, "content": content}));
    }
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in route.problems.iter().chain(of_every(route)) {
        let codes = by_status.entry(code.status()).or_default();
        if !codes.contains(code) {
            codes.push(*code);
        }
    }
    for (status, codes) in by_status {
        let when: Vec<_> = codes.iter().map(|code| format!("`{}`: {}.", code.as_str(), code.title())).collect();
        let mut response = json!({
            "description": when.join(" "),
            "content": {"application/problem+json": {"schema": problem}},
        });
        if matches!(status, 429 | 503) {
            let schema = json!({"type": "integer", "minimum": 1});
            response["headers"] =
                json!({"Retry-After": {"description": "In seconds.", "required": true, "schema": schema}});
        }
        responses.insert(status, response);
    }
    let named: Map<String, Value> = responses.into_iter().map(|(status, what)| (status.to_string(), what)).collect();
    named.into()
}

/// What may happen to any request of a kind.
fn of_every(route: &Route) -> impl Iterator<Item = &'static Code> {
    let always: &[Code] = &[Code::OverCapacity, Code::Refused(ErrorCode::Internal)];
    let with_key: &[Code] = &[
        Code::Refused(ErrorCode::Unauthenticated),
        Code::Refused(ErrorCode::PermissionDenied),
        Code::Refused(ErrorCode::RateLimited),
    ];
    let with_body: &[Code] = &[Code::Refused(ErrorCode::TooLarge), Code::RequestTimeout, Code::UnsupportedMediaType];
    let none: &[Code] = &[];
    let key = if route.scope.is_some() { with_key } else { none };
    let body = if route.method == Method::GET { none } else { with_body };
    always.iter().chain(key).chain(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_route_and_every_reference_leads_somewhere() {
        let document = &*DOCUMENT;
        for route in routes::all() {
            let path = format!("{PREFIX}{}", route.path);
            let operation = &document["paths"][&path][route.method.as_str().to_lowercase()];
            assert_eq!(operation["summary"], route.summary, "{path}");
            let schema =
                &operation["responses"][route.statuses[0].0.to_string()]["content"]["application/json"]["schema"];
            assert!(!schema.is_null(), "{path}");
        }
        let text = document.to_string();
        let references: Vec<&str> =
            text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(references.len() > 10);
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn questions_are_parameters_and_say_what_is_needed() {
        let parameters = &DOCUMENT["paths"]["/api/v1/history"]["get"]["parameters"];
        let of = |name: &str| {
            let all = parameters.as_array().unwrap();
            all.iter().find(|parameter| parameter["name"] == name).unwrap_or_else(|| panic!("{name} in {parameters}"))
        };
        assert_eq!(of("channel")["required"], true);
        assert_eq!((&of("since")["required"], &of("since")["schema"]["type"]), (&json!(false), &json!("integer")));
        assert_eq!(of("limit")["schema"]["maximum"], 1000);
        assert!(of("epoch")["description"].as_str().is_some_and(|text| text.contains("since")));
    }
}
