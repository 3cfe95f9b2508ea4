//! Requests of a client that polls, answered as a test says.

use crate::gateway::{Attempt, Gateway, PING_INTERVAL};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::http::{Request, Response};

const PATIENCE: Duration = Duration::from_secs(3600);

/// What a client asks, on whatever stream.
pub(crate) struct Post {
    tell: mpsc::Sender<Asked>,
    asked: mpsc::Receiver<Asked>,
}

/// One request.
pub(crate) struct Asked {
    /// Method and target.
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
    answer: oneshot::Sender<(u16, String)>,
}

impl Post {
    pub(crate) fn new() -> Self {
        let (tell, asked) = mpsc::channel(16);
        Self { tell, asked }
    }

    /// Speaks HTTP on this stream.
    fn serve(&self, attempt: Attempt) {
        let tell = self.tell.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let tell = tell.clone();
            async move {
                let line = format!("{} {}", request.method(), request.uri());
                let authorization = request.headers().get("authorization").map(|v| v.to_str().unwrap().to_owned());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body = String::from_utf8(body.to_vec()).unwrap();
                let (answer, answered) = oneshot::channel();
                tell.send(Asked { line, authorization, body, answer }).await.ok();
                // A test that drops a request leaves it without an answer.
                let Ok((status, body)) = answered.await else { return std::future::pending().await };
                let mut response = Response::new(Full::<Bytes>::from(body));
                *response.status_mut() = status.try_into().unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        let serving = hyper::server::conn::http1::Builder::new();
        tokio::spawn(serving.serve_connection(TokioIo::new(attempt.ignore()), service));
    }

    /// The next request; new streams are served.
    pub(crate) async fn next(&mut self, gateway: &mut Gateway) -> Asked {
        loop {
            let next = async {
                tokio::select! {
                    biased;
                    asked = self.asked.recv() => Ok(asked.unwrap()),
                    attempt = gateway.attempt() => Err(attempt),
                }
            };
            match timeout(PATIENCE, next).await.expect("the client asks something") {
                Ok(asked) => return asked,
                Err(attempt) => self.serve(attempt),
            }
        }
    }

    /// The next request, which is this one.
    pub(crate) async fn expect(&mut self, gateway: &mut Gateway, line: &str) -> Asked {
        let asked = self.next(gateway).await;
        assert_eq!(asked.line, line, "{}", asked.body);
        asked
    }

    /// The next two requests, which come in any order: a POST and a GET.
    pub(crate) async fn both(&mut self, gateway: &mut Gateway) -> (Asked, Asked) {
        let (one, other) = (self.next(gateway).await, self.next(gateway).await);
        let (post, get) = if one.line.starts_with("POST") { (one, other) } else { (other, one) };
        assert!(post.line.starts_with("POST") && get.line.starts_with("GET"), "{} {}", post.line, get.line);
        (post, get)
    }

    /// Opens the session `s1` for a client that has come to polls.
    pub(crate) async fn open(&mut self, gateway: &mut Gateway) {
        let asked = self.expect(gateway, "POST /poll").await;
        let ping_interval_ms = u64::try_from(PING_INTERVAL.as_millis()).unwrap();
        asked.say(json!([{"type": "opened", "session": "s1", "wait_ms": 8000}, {
            "type": "welcome", "client": "n1.a.7", "node": "n1.a", "session": "f3b09c2e",
            "ping_interval_ms": ping_interval_ms, "max_message_bytes": 65536, "version": 1,
        }]));
    }
}

impl Asked {
    /// The body, as JSON.
    pub(crate) fn command(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn say(self, objects: impl std::fmt::Display) {
        self.answer.send((200, objects.to_string())).unwrap();
    }

    /// It was taken.
    pub(crate) fn take(self) {
        self.answer.send((204, String::new())).unwrap();
    }

    pub(crate) fn refuse(self, status: u16) {
        self.answer.send((status, String::new())).unwrap();
    }

    /// Whether the client still waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.answer.is_closed()
    }
}
