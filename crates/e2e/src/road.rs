//! A road to Redis that can be closed: one node is cut off, and the others are not.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Carries the connections of one node to Redis.
pub struct Road {
    port: u16,
    is_open: watch::Sender<bool>,
}

impl Road {
    pub(crate) async fn to(redis_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let is_open = watch::Sender::new(true);
        let state = is_open.subscribe();
        tokio::spawn(async move {
            while let Ok((node, _)) = listener.accept().await {
                if *state.borrow() {
                    tokio::spawn(carry(node, redis_port, state.clone()));
                }
            }
        });
        Self { port, is_open }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Cuts every connection, and refuses new ones.
    pub fn close(&self) {
        self.is_open.send_replace(false);
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.is_open.send_replace(true);
    }
}

async fn carry(mut node: TcpStream, redis_port: u16, mut is_open: watch::Receiver<bool>) {
    let Ok(mut redis) = TcpStream::connect(("127.0.0.1", redis_port)).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut node, &mut redis) => {}
        _ = is_open.wait_for(|is_open| !is_open) => {}
    }
}
