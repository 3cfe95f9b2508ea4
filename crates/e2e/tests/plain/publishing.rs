//! `POST /publish`: the same rules, the same answers and the same subscribers as `publish`.

use super::*;
use e2e::{Application, Backend, Cluster, Say, on_both};

on_both!(
    what_is_published_by_http_reaches_subscribers_of_all_nodes_and_its_answer_is_the_native_one,
    several_are_published_in_their_order_and_each_has_its_outcome,
    a_repeat_with_the_same_key_on_another_node_is_answered_like_the_first,
    the_rules_of_a_namespace_hold_for_requests_too,
    rates_are_those_of_a_user_or_else_of_an_address,
);

async fn what_is_published_by_http_reaches_subscribers_of_all_nodes_and_its_answer_is_the_native_one(backend: Backend) {
    let cluster = Cluster::of(2, backend).with_tokens().start().await;
    let (mut here, mut there) = (cluster.user(0, "bob").await, cluster.user(1, "cat").await);
    here.subscribe("chat").await;
    there.subscribe("chat").await;
    let body = json!({"channel": "chat", "data": {"text": "hello"}, "event": "message", "echo": false});
    let published = answered(&post_as(&cluster, 0, "ann", &body).await);
    assert_eq!(
        (&published["type"], &published["channel"], &published["offset"]),
        (&json!("published"), &json!("chat"), &json!(1))
    );
    assert!(published.get("id").is_none() && published["epoch"].is_string());
    let (one, other) = (here.next_publication().await, there.next_publication().await);
    assert_eq!(one, other);
    assert_eq!(
        (&one["data"], &one["event"], &one["from"]["user"]),
        (&json!({"text": "hello"}), &json!("message"), &json!("ann"))
    );
    // The id is the request's own: nobody can be reached by it.
    let id = one["from"]["client"].clone();
    here.refused(json!({"type": "send", "to": id, "data": 1}), "unknown_client").await;
    let again = answered(&post_as(&cluster, 1, "ann", &body).await);
    assert_eq!((&again["epoch"], &again["offset"]), (&published["epoch"], &json!(2)));
    assert_ne!(here.next_publication().await["from"]["client"], id);
}

async fn several_are_published_in_their_order_and_each_has_its_outcome(backend: Backend) {
    let cluster = Cluster::of(2, backend)
        .namespaces("[[namespace]]\npattern = \"open\"\n[[namespace]]\npattern = \"shut\"\npublish = \"nobody\"\n");
    let cluster = cluster.start().await;
    let mut subscriber = cluster.client(1).await;
    subscriber.subscribe("open").await;
    let many: Vec<_> = (0..100).map(|n| json!({"channel": "open", "data": n})).collect();
    let answer = answered(&post(&cluster, 0, "", &json!(many).to_string()).await);
    let offsets: Vec<_> = answer
        .as_array()
        .expect("what was asked for")
        .iter()
        .map(|one| one["offset"].as_u64().expect("what was asked for"))
        .collect();
    assert_eq!(offsets, (1..=100).collect::<Vec<_>>());
    assert_eq!(subscriber.next_data(100).await, (0..100).map(Value::from).collect::<Vec<_>>());
    let mixed =
        json!([{"channel": "shut", "data": 1}, {"channel": "open", "data": 2}, {"channel": "none", "data": 3}, 4]);
    let answer = post(&cluster, 0, "", &mixed.to_string()).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    let codes: Vec<_> =
        object(&answer).as_array().expect("what was asked for").iter().map(|one| one["code"].clone()).collect();
    assert_eq!(json!(codes), json!(["permission_denied", null, "unknown_channel", "bad_request"]));
    let alike = json!([{"channel": "shut", "data": 1}, {"channel": "shut", "data": 2}]);
    assert_eq!(post(&cluster, 0, "", &alike.to_string()).await.status, 403);
}

async fn a_repeat_with_the_same_key_on_another_node_is_answered_like_the_first(backend: Backend) {
    let cluster = Cluster::start(2, backend).await;
    let body = json!({"channel": "chat", "data": 1, "key": "k1"}).to_string();
    let (first, second) = (post(&cluster, 0, "", &body).await, post(&cluster, 1, "", &body).await);
    assert_eq!(answered(&first), answered(&second));
    assert_eq!(data(&answered(&read(&cluster, 1, "", "chat").await)), [json!(1)]);
}

async fn the_rules_of_a_namespace_hold_for_requests_too(backend: Backend) {
    let schema = tempfile::Builder::new().suffix(".json").tempfile().expect("what was asked for");
    std::fs::write(schema.path(), r#"{"type": "object", "required": ["x"]}"#).expect("what was asked for");
    let namespaces = format!(
        "[[namespace]]\npattern = \"granted\"\npublish = \"granted\"\n\
         [[namespace]]\npattern = \"own:{{user}}\"\n\
         [[namespace]]\npattern = \"moves\"\nevents = [\"move\"]\nschema = {:?}\n\
         [[namespace]]\npattern = \"small\"\nmax_message = 10\n\
         [[namespace]]\npattern = \"short\"\nhistory.size = 0\n\
         [[namespace]]\npattern = \"bare\"\nstate.keys = 0\n",
        schema.path()
    );
    let cluster = Cluster::of(1, backend).with_tokens().namespaces(&namespaces).start().await;
    let ask = |body: Value| {
        let cluster = &cluster;
        async move { post_as(cluster, 0, "ann", &body).await }
    };
    refused(&ask(json!({"channel": "granted", "data": 1})).await, 403, "permission_denied");
    refused(&ask(json!({"channel": "own:bob", "data": 1})).await, 403, "permission_denied");
    answered(&ask(json!({"channel": "own:ann", "data": 1})).await);
    refused(&ask(json!({"channel": "none", "data": 1})).await, 404, "unknown_channel");
    refused(&ask(json!({"channel": "moves", "data": {"x": 1}})).await, 403, "permission_denied");
    refused(&ask(json!({"channel": "moves", "event": "move", "data": {"y": 1}})).await, 400, "bad_request");
    answered(&ask(json!({"channel": "moves", "event": "move", "data": {"x": 1}})).await);
    refused(&ask(json!({"channel": "small", "data": "0123456789"})).await, 413, "too_large");
    refused(&ask(json!({"channel": "short", "data": 1, "key": "k"})).await, 400, "bad_request");
    refused(&ask(json!({"channel": "bare", "data": 1, "retain": "k"})).await, 400, "bad_request");
    let granted = bearer(&tokens::claiming("ann", &json!({"caps": {"granted": ["publish"]}})));
    answered(&post(&cluster, 0, &granted, &json!({"channel": "granted", "data": 1}).to_string()).await);
}

async fn rates_are_those_of_a_user_or_else_of_an_address(backend: Backend) {
    let namespaces = "[[namespace]]\npattern = \"slow\"\nrate = \"1/m burst 2\"\n\
                      [[namespace]]\npattern = \"shared\"\nrate = \"1/m burst 2\"\nrate_scope = \"cluster\"\n\
                      [[namespace]]\npattern = \"*\"\n";
    let settings = ["limits.messages=1/m burst 9", "auth.anonymous=true"];
    let cluster = Cluster::of(2, backend).with_tokens().namespaces(namespaces).settings(&settings).start().await;
    let slow = json!({"channel": "slow", "data": 1});
    for user in ["ann", "bob"] {
        answered(&post_as(&cluster, 0, user, &slow).await);
        answered(&post_as(&cluster, 0, user, &slow).await);
        let answer = post_as(&cluster, 0, user, &slow).await;
        assert!(refused(&answer, 429, "rate_limited")["retry_after_ms"].as_u64().expect("what was asked for") > 1000);
        assert!(answer.retry_after_s() > 1);
    }
    // Nobody is who shows no token: those of one address share.
    for _ in 0..2 {
        answered(&post(&cluster, 0, "", &slow.to_string()).await);
    }
    refused(&post(&cluster, 0, "", &slow.to_string()).await, 429, "rate_limited");
    let shared = json!({"channel": "shared", "data": 1});
    answered(&post_as(&cluster, 0, "cat", &shared).await);
    answered(&post_as(&cluster, 1, "cat", &shared).await);
    refused(&post_as(&cluster, 1, "cat", &shared).await, 429, "rate_limited");
    // And all commands together: this one has sent two of its nine to node 1.
    let (many, headers) = (json!(vec![json!({"channel": "any", "data": 1}); 10]), bearer(&tokens::of("dan")));
    let answer = post(&cluster, 0, &headers, &many.to_string()).await;
    assert_eq!(answer.status, 207);
    assert_eq!(object(&answer)[9]["code"], "rate_limited");
    refused(&read(&cluster, 0, &headers, "any").await, 429, "rate_limited");
    assert_eq!(cluster.metric(0, "gateway_limits_total{limit=\"messages\"}").await, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_is_asked_and_told_as_it_is_of_connections() {
    let application = Application::start().await;
    let settings = [
        format!("hooks.publish.url={}", application.url("/publish")),
        format!("webhooks.url={}", application.url("/told")),
        "webhooks.delay=0s".to_owned(),
    ];
    let settings = settings.each_ref().map(String::as_str);
    let cluster = Cluster::of(1, Backend::Memory).with_tokens().settings(&settings).start().await;
    application.says("/publish", Say::Json(json!({"allow": true, "data": "instead"})));
    let body = json!({"channel": "chat", "data": 1, "event": "said"});
    answered(&post_as(&cluster, 0, "ann", &body).await);
    let messages = answered(&read(&cluster, 0, &bearer(&tokens::of("ann")), "chat").await);
    assert_eq!(data(&messages), [json!("instead")]);
    application.says("/publish", Say::no());
    refused(&post_as(&cluster, 0, "ann", &body).await, 403, "permission_denied");
    application.says("/publish", Say::With("500 Oh", String::new()));
    let answer = post_as(&cluster, 0, "ann", &body).await;
    refused(&answer, 503, "unavailable");
    assert!((1..=3).contains(&answer.retry_after_s()));
    let told = application.until_told("/told", |event| event["type"] == "client_event").await;
    let event = told.iter().find(|event| event["type"] == "client_event").expect("what was asked for");
    assert_eq!(
        (&event["type"], &event["user"], &event["data"]),
        (&json!("client_event"), &json!("ann"), &json!("instead"))
    );
    assert_eq!(event["client"], messages["publications"][0]["from"]["client"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_broker_a_node_refuses_for_now_and_nothing_comes_of_it_later() {
    let mut cluster = Cluster::start(1, Backend::Redis).await;
    let body = json!({"channel": "chat", "data": 1}).to_string();
    answered(&post(&cluster, 0, "", &body).await);
    cluster.redis_mut().kill();
    cluster.metric_becomes(0, "gateway_ready", 0.0).await;
    let answer = post(&cluster, 0, "", &body).await;
    refused(&answer, 503, "unavailable");
    assert!((1..=3).contains(&answer.retry_after_s()));
    refused(&read(&cluster, 0, "", "chat").await, 503, "unavailable");
}
