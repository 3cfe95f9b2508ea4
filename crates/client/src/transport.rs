//! How bytes get to a node: TCP, or whatever an application brings.

use crate::Address;
use futures_util::future::BoxFuture;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A stream of bytes to a node.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

type Connect = dyn Fn(Address) -> BoxFuture<'static, io::Result<Box<dyn Wire>>> + Send + Sync;

/// Opens streams of bytes to nodes.
#[derive(Clone)]
pub struct Transport {
    connect: Arc<Connect>,
    may_be_tls: bool,
}

impl Transport {
    /// Plain TCP: for URLs that begin with `ws://`.
    pub fn tcp() -> Self {
        let connect = |address: Address| async move {
            let stream = TcpStream::connect((address.host(), address.port())).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        Self { may_be_tls: false, ..Self::new(connect) }
    }

    /// One's own: TLS, a proxy, a Unix socket, memory. It is asked again for every attempt, and has
    /// [`crate::Config::connect_timeout`] for it, handshake included.
    pub fn new<F, S>(connect: impl Fn(Address) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: Wire,
    {
        let connect = move |address| -> BoxFuture<'static, io::Result<Box<dyn Wire>>> {
            let opened = connect(address);
            Box::pin(async move { Ok(Box::new(opened.await?) as Box<dyn Wire>) })
        };
        Self { connect: Arc::new(connect), may_be_tls: true }
    }

    pub(crate) async fn connect(&self, address: Address) -> io::Result<Box<dyn Wire>> {
        (self.connect)(address).await
    }

    pub(crate) fn may_be_tls(&self) -> bool {
        self.may_be_tls
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.may_be_tls { "Transport(its own)" } else { "Transport(tcp)" })
    }
}
