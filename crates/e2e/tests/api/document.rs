//! The document and the routes are the same: what it names answers, and nothing else does.

use super::{KEY, cluster, get, problem};
use e2e::{Backend, Cluster, get as get_plainly, request};
use serde_json::Value;

async fn document(cluster: &Cluster) -> Value {
    let answer = get_plainly(cluster.address(0), "/api/v1/openapi.json").await;
    assert_eq!(answer.status, 200, "it needs no key");
    serde_json::from_str(&answer.body).expect("JSON")
}

#[tokio::test]
async fn every_route_of_the_document_answers_as_it_says() {
    let cluster = cluster(1, Backend::Memory).await;
    let document = document(&cluster).await;
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 12, "{:?}", paths.keys());
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().expect("operations") {
            let method = method.to_uppercase();
            let address = cluster.address(0);
            let needs_key = operation["security"].as_array().is_some_and(|security| !security.is_empty());
            // Without what it asks for: a POST has no body, a GET no query.
            let bare = request(address, &method, path, "", "").await;
            let keyed = request(address, &method, path, &format!("x-api-key: {KEY}\r\n"), "").await;
            assert_eq!(bare.status == 401, needs_key, "{method} {path}: {bare:?}");
            assert!(matches!(keyed.status, 200 | 400), "{method} {path}: {keyed:?}");
            for answer in [&bare, &keyed] {
                let described = &operation["responses"][answer.status.to_string()]["content"];
                let kind = answer.header("content-type").expect("a content type");
                assert!(described[kind].is_object(), "{method} {path}: {} {kind} is not described", answer.status);
            }
            let other = if method == "GET" { "POST" } else { "GET" };
            let answer = request(address, other, path, &format!("x-api-key: {KEY}\r\n"), "").await;
            assert_eq!(problem(&answer).0, 405, "{other} {path}");
            assert_eq!(answer.header("allow"), Some(&*method));
        }
    }
}

#[tokio::test]
async fn what_is_not_in_the_document_is_not_there() {
    let cluster = cluster(1, Backend::Memory).await;
    for path in ["", "publish/", "Publish", "../ws", "history/room:1", "%70ublish", "openapi"] {
        assert_eq!(problem(&get(&cluster, 0, path).await), (404, "not_found".to_owned()), "{path}");
    }
    let address = cluster.address(0);
    for path in ["/api", "/api/", "/api/v1", "/api/v2/publish"] {
        assert_eq!(problem(&get_plainly(address, path).await), (404, "not_found".to_owned()), "{path}");
    }
    assert_eq!(get_plainly(address, "/apis").await.status, 404);
    let document = document(&cluster).await;
    for path in document["paths"].as_object().expect("paths").keys() {
        let head = request(address, "HEAD", path, &format!("x-api-key: {KEY}\r\n"), "").await;
        assert!(matches!(head.status, 200 | 400 | 405) && head.body.is_empty(), "HEAD {path}: {head:?}");
    }
}
