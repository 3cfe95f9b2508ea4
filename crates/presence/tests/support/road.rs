//! A road to Redis on which bytes can be held up and arrive after their connection has ended.

use super::until;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Carries connections to Redis.
pub(crate) struct Road {
    port: u16,
    open: Arc<Mutex<Control>>,
    is_closed: Arc<AtomicBool>,
}

/// The connections that were on the road when it was held.
pub(crate) struct Held(Control);

#[derive(Clone)]
struct Control {
    state: watch::Sender<State>,
    held: Arc<Mutex<Vec<u8>>>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Holding,
    Cut,
    LetGo,
}

impl Control {
    fn new() -> Self {
        Self { state: watch::Sender::new(State::Open), held: Arc::default() }
    }
}

impl Road {
    pub(crate) async fn to(redis_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(Mutex::new(Control::new()));
        let present = open.clone();
        let is_closed = Arc::new(AtomicBool::new(false));
        let closed = is_closed.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if closed.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(redis) = TcpStream::connect(("127.0.0.1", redis_port)).await else { continue };
                let control = present.lock().unwrap().clone();
                tokio::spawn(carry(client, redis, control.state.subscribe(), control.held));
            }
        });
        Self { port, open, is_closed }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Cuts the present connections, and lets no others through.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.open.lock().unwrap().state.send_replace(State::Cut);
    }

    /// Lets connections through again.
    pub(crate) fn open(&self) {
        *self.open.lock().unwrap() = Control::new();
        self.is_closed.store(false, Ordering::Relaxed);
    }

    /// What the present connections send is held up from now on; new ones are carried.
    pub(crate) fn hold(&self) -> Held {
        let present = std::mem::replace(&mut *self.open.lock().unwrap(), Control::new());
        present.state.send_replace(State::Holding);
        Held(present)
    }
}

impl Held {
    pub(crate) async fn until_holds(&self, word: &str) {
        until(&format!("{word} is held up"), async || {
            let held = self.0.held.lock().unwrap();
            held.windows(word.len()).any(|window| window == word.as_bytes())
        })
        .await;
    }

    /// The node finds its connections broken; Redis does not yet.
    pub(crate) fn cut(&self) {
        self.0.state.send_replace(State::Cut);
    }

    /// What was held up arrives; returns when Redis has answered it or refused to read it.
    pub(crate) async fn let_go(self) {
        self.0.state.send_replace(State::LetGo);
        self.0.state.closed().await;
    }
}

async fn carry(
    mut client: TcpStream,
    mut redis: TcpStream,
    mut state: watch::Receiver<State>,
    held: Arc<Mutex<Vec<u8>>>,
) {
    let (mut up, mut down) = ([0; 4096], [0; 4096]);
    while *state.borrow_and_update() != State::Cut {
        tokio::select! {
            _ = state.changed() => {}
            read = client.read(&mut up) => match read {
                Ok(read @ 1..) if *state.borrow() == State::Open => redis.write_all(&up[..read]).await.unwrap(),
                Ok(read @ 1..) => held.lock().unwrap().extend_from_slice(&up[..read]),
                _ => return,
            },
            read = redis.read(&mut down) => match read {
                Ok(read @ 1..) if client.write_all(&down[..read]).await.is_ok() => {}
                _ => return,
            },
        }
    }
    drop(client);
    if state.wait_for(|state| *state == State::LetGo).await.is_ok() {
        let late = held.lock().unwrap().clone();
        let _ = redis.write_all(&late).await;
        let _ = redis.read(&mut down).await;
    }
}
