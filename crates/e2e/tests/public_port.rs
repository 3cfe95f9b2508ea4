//! What the public port shows to browsers and to strangers.

use e2e::{Backend, Cluster, RawSocket, get, post};

const ADMIN: [&str; 7] = ["/metrics", "/healthz", "/readyz", "/shedding", "/drain", "/rebalance", "/resume"];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_admin_port_s_is_nowhere_on_the_public_one() {
    let cluster = Cluster::start(1, Backend::Memory).await;
    for path in ADMIN {
        assert_eq!(get(cluster.address(0), path).await.status, 404, "{path}");
        assert_eq!(post(cluster.address(0), path, "").await.status, 404, "{path}");
    }
    assert_eq!(cluster.admin(0, "/readyz").await.status, 200, "nothing has been drained");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_run_only_their_own_scripts_and_stand_in_nobody_s_frame() {
    let cluster = Cluster::start(1, Backend::Memory).await;
    for path in ["/", "/chat"] {
        let page = get(cluster.address(0), path).await;
        let policy = page.header("content-security-policy").expect("a policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{part} is not in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), Some(value), "{name}");
        }
        assert_eq!(page.header("strict-transport-security"), None, "only by TLS, and if it is set");
        let scripts: Vec<_> = page.body.match_indices("<script").map(|(at, _)| &page.body[at..]).collect();
        assert!(!scripts.is_empty() && !page.body.contains(" style=") && !page.body.contains(" onclick="));
        assert!(scripts.iter().all(|script| script.split('>').next().is_some_and(|tag| tag.contains("src="))));
    }
}

async fn asked(cluster: &Cluster, method: &str, origin: &str) -> e2e::Answer {
    let mut socket = RawSocket::connect(cluster.address(0)).await;
    let request = format!("{method} /client.js HTTP/1.1\r\nhost: chat.example\r\norigin: {origin}\r\n\r\n");
    socket.send(request.as_bytes()).await;
    socket.answer().await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_read_what_the_list_lets_them() {
    let cluster = Cluster::of(1, Backend::Memory).settings(&["origins=https://app.example"]).start().await;
    let (allowed, refused) = ("https://app.example", "https://evil.example");
    let answer = asked(&cluster, "GET", allowed).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(allowed)));
    assert_eq!(answer.header("vary"), Some("origin"));
    let answer = asked(&cluster, "GET", refused).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
    assert_eq!(answer.header("vary"), Some("origin"));
    let preflight = asked(&cluster, "OPTIONS", allowed).await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some(allowed)));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, HEAD"));
    assert_eq!(asked(&cluster, "OPTIONS", refused).await.status, 403);
    assert_eq!(asked(&cluster, "OPTIONS", "null").await.status, 403);
    for origin in [refused, "null"] {
        let mut client = cluster.connect(0).origin(origin).open_bare().await;
        assert_eq!(client.expect_close().await, 4003, "{origin}");
    }
}
