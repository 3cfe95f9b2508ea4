//! A way to Redis that can turn into a black hole: connections stay, and nothing passes any more.

use link::testing::RedisServer;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    port: u16,
    swallows: Arc<watch::Sender<bool>>,
}

impl Proxy {
    pub(crate) async fn start(server: &RedisServer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let swallows = Arc::new(watch::Sender::new(false));
        let (state, redis) = (swallows.clone(), server.port());
        tokio::spawn(async move {
            while let Ok((inner, _)) = listener.accept().await {
                let Ok(outer) = TcpStream::connect(("127.0.0.1", redis)).await else { continue };
                let ((read_in, write_in), (read_out, write_out)) = (inner.into_split(), outer.into_split());
                tokio::spawn(carry(read_in, write_out, state.subscribe()));
                tokio::spawn(carry(read_out, write_in, state.subscribe()));
            }
        });
        Self { port, swallows }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Whether what comes from now on is swallowed. A connection that lost something never carries anything again.
    pub(crate) fn swallow(&self, swallows: bool) {
        self.swallows.send_replace(swallows);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, swallows: watch::Receiver<bool>) {
    let mut buffer = vec![0; 1 << 16];
    let mut is_hole = false;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        is_hole |= *swallows.borrow();
        if !is_hole && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
