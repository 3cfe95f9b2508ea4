//! A road to Redis that can be closed or held: one node is cut off, and the others are not.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Carries the connections of one node to Redis.
pub struct Road {
    port: u16,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Held,
    Closed,
}

impl Road {
    pub(crate) async fn to(redis_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let sender = watch::Sender::new(State::Open);
        let state = sender.subscribe();
        tokio::spawn(async move {
            while let Ok((node, _)) = listener.accept().await {
                if *state.borrow() != State::Closed {
                    tokio::spawn(carry(node, redis_port, state.clone()));
                }
            }
        });
        Self { port, state: sender }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Cuts every connection, and refuses new ones.
    pub fn close(&self) {
        self.state.send_replace(State::Closed);
    }

    /// Keeps every connection and carries nothing, as if the node stood still.
    pub fn hold(&self) {
        self.state.send_replace(State::Held);
    }

    /// Lets connections through again, and what was held.
    pub fn open(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn carry(node: TcpStream, redis_port: u16, mut state: watch::Receiver<State>) {
    let Ok(redis) = TcpStream::connect(("127.0.0.1", redis_port)).await else { return };
    let ((node_in, node_out), (redis_in, redis_out)) = (node.into_split(), redis.into_split());
    let there = pass(node_in, redis_out, state.clone());
    let back = pass(redis_in, node_out, state.clone());
    tokio::select! {
        _ = async { tokio::join!(there, back) } => {}
        _ = state.wait_for(|state| *state == State::Closed) => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if state.wait_for(|state| *state != State::Held).await.is_err() {
            return Ok(());
        }
        match length {
            0 => return to.shutdown().await,
            length => to.write_all(&buffer[..length]).await?,
        }
    }
}
