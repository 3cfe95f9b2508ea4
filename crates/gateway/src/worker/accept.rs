//! Taking connections: a listener for each worker on the same port, and a place for each connection.

use crate::local::Local;
use crate::places::Place;
use futures_util::future::LocalBoxFuture;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;

/// What is done with a stream: the HTTP side, handed in because workers know nothing of it.
pub type Front = fn(Rc<Local>, TcpStream, SocketAddr, Place) -> LocalBoxFuture<'static, ()>;

/// Connections the kernel completes before they are accepted.
const BACKLOG: i32 = 4096;

/// How long accepting rests when there are no descriptors or memory for it, which connections that end give back. The
/// listener stays readable meanwhile: without a rest the thread would spin.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Binds one listener for each worker. A plain bind comes first: with SO_REUSEPORT alone, a port that another process
/// serves would be shared with it instead of being refused.
///
/// # Errors
/// When the port is taken or may not be bound.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    let mut address = address;
    if address.port() != 0 {
        drop(listener(address, false)?);
    }
    let mut listeners = Vec::new();
    for _ in 0..workers {
        let listener = listener(address, true)?;
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn listener(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts until the node stops; then takes what the kernel has completed already (to be refused in words), and closes
/// the port.
pub(super) async fn run(local: Rc<Local>, listener: TcpListener, front: Front) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot listen"),
    };
    let node = local.node.clone();
    let mut stopping = std::pin::pin!(node.shedding.stopping());
    let mut is_exhausted = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopping => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                is_exhausted = false;
                take(&local, front, stream, peer);
            }
            // The client gave up before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                node.metrics.accept_failures.inc();
                // Once, however long it lasts.
                if !std::mem::replace(&mut is_exhausted, true) {
                    tracing::warn!(%error, "no connection can be accepted; whoever comes waits until others have gone");
                }
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
    // Asked of the kernel itself: the runtime may not have heard yet of those who came last, and they would be reset.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..BACKLOG {
        let Ok((stream, peer)) = listener.accept() else { return };
        if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
            take(&local, front, stream, peer);
        }
    }
}

/// Without a place the stream is still answered: with a refusal that says when to come back. Only when very many are being
/// refused at the same time it is closed without a word, or their descriptors would be missing elsewhere.
fn take(local: &Rc<Local>, front: Front, stream: TcpStream, peer: SocketAddr) {
    match local.node.places.take() {
        Some(place) => drop(tokio::task::spawn_local(front(local.clone(), stream, peer, place))),
        None => local.node.metrics.streams_dropped.inc(),
    }
}
