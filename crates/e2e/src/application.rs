//! An application behind the gateway: asked and told over HTTP, it answers well, badly, late or not at all.

use crate::PATIENCE;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How it answers at a path.
#[derive(Clone)]
pub enum Say {
    /// Status 200 and this.
    Json(Value),
    /// This status line and body.
    With(&'static str, String),
    /// Whatever comes, as bytes of HTTP or not.
    Bytes(Vec<u8>),
    /// The head of an answer, and then its body a byte at a time.
    Drip,
    /// Takes the request and says nothing.
    Never,
    /// Ends the stream.
    Ends,
    /// Only once it is told to, by [`Application::release`].
    Held(Value),
    /// What this makes of the question.
    By(Arc<dyn Fn(&Asked) -> Self + Send + Sync>),
}

impl Say {
    /// A plain yes.
    pub fn yes() -> Self {
        Self::Json(json!({"allow": true}))
    }

    /// A plain no.
    pub fn no() -> Self {
        Self::Json(json!({"allow": false}))
    }

    /// What a function makes of the question.
    pub fn by(answer: impl Fn(&Asked) -> Self + Send + Sync + 'static) -> Self {
        Self::By(Arc::new(answer))
    }
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its path.
    pub path: String,
    /// Its headers, with names in lower case.
    pub headers: HashMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Asked {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// An application with a port of its own. It says yes until told otherwise.
pub struct Application {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    says: Mutex<HashMap<String, Say>>,
    asked: Mutex<Vec<Asked>>,
    came: Notify,
    released: watch::Sender<bool>,
}

impl Application {
    /// Begins to listen.
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address")).await
    }

    /// Begins to listen where another one did.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Self { address, shared, serving }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers like this at a path from now on.
    pub fn says(&self, path: &str, say: Say) {
        lock(&self.shared.says).insert(path.to_owned(), say);
    }

    /// Has all that were held answered.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// Every request to a path so far.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        lock(&self.shared.asked).iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// Waits until there have been so many at a path.
    pub async fn until_asked(&self, path: &str, count: usize) -> Vec<Asked> {
        let waiting = async {
            loop {
                let came = self.shared.came.notified();
                let asked = self.asked(path);
                if asked.len() >= count {
                    return asked;
                }
                came.await;
            }
        };
        let asked = timeout(PATIENCE, waiting).await;
        asked.unwrap_or_else(|_| panic!("{path} was asked {} times and not {count}", self.asked(path).len()))
    }

    /// Every event that it has been told at a path, in the order of their arrival.
    pub fn events(&self, path: &str) -> Vec<Value> {
        let batches = self.asked(path).into_iter().map(|asked| asked.json()["events"].take());
        batches.flat_map(|events| events.as_array().cloned().unwrap_or_default()).collect()
    }

    /// Waits until an event is told of which this is true, and returns all so far.
    pub async fn until_told(&self, path: &str, mut is_it: impl FnMut(&Value) -> bool) -> Vec<Value> {
        let waiting = async {
            loop {
                let came = self.shared.came.notified();
                let events = self.events(path);
                if events.iter().any(&mut is_it) {
                    return events;
                }
                came.await;
            }
        };
        let told = timeout(PATIENCE, waiting).await;
        told.unwrap_or_else(|_| panic!("it was not told, but {:?}", self.events(path)))
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // They end with the application, as those of a process do.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            let mut stream = BufReader::new(stream);
            while let Some(asked) = read(&mut stream).await {
                let say = lock(&shared.says).get(&asked.path).cloned().unwrap_or_else(Say::yes);
                let say = if let Say::By(answer) = say { answer(&asked) } else { say };
                lock(&shared.asked).push(asked);
                shared.came.notify_waiters();
                if !answer(&mut stream, say, &shared).await {
                    return;
                }
            }
        });
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines.first()?.split(' ').nth(1)?.to_owned();
    assert!(lines[0].starts_with("POST "), "{}", lines[0]);
    let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
    let headers: HashMap<_, _> = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked { path, headers, body })
}

/// False if that was the last one of its connection.
async fn answer(stream: &mut BufReader<TcpStream>, say: Say, shared: &Shared) -> bool {
    let whole = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let bytes = match say {
        Say::Json(value) => whole("200 OK", &value.to_string()),
        Say::With(status, body) => whole(status, &body),
        Say::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            return false;
        }
        Say::Held(value) => {
            let mut released = shared.released.subscribe();
            let _ = released.wait_for(|released| *released).await;
            whole("200 OK", &value.to_string())
        }
        Say::Drip => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{\"allow\":true,").await;
            while stream.write_all(b" ").await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
            return false;
        }
        // Until the other side gives up.
        Say::Never => {
            let _ = stream.read(&mut [0; 64]).await;
            return false;
        }
        Say::Ends | Say::By(_) => return false,
    };
    stream.write_all(&bytes).await.is_ok()
}
