//! A road between two parties, over 127.0.0.1, that can be made to lose, hold or refuse what travels on it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How long to leave the listener alone when nothing can be accepted.
const ACCEPT_RETRY: std::time::Duration = std::time::Duration::from_millis(20);

/// What a road does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Everything passes.
    Flows,
    /// Nothing passes until it flows again; then what waited does: packets that are dropped, and sent again by TCP.
    Held,
    /// What comes is gone, and the connections concerned never carry anything again: a peer that vanished.
    Swallowed,
    /// The connections that have subscribed in Redis are swallowed; all others flow.
    SubscribersSwallowed,
    /// What comes from the far end is gone, for good as above; what goes there flows.
    AnswersSwallowed,
    /// Connections are cut, and new ones refused.
    Refused,
}

#[derive(Debug, Clone, Copy)]
struct State {
    traffic: Traffic,
    /// Counts the orders to cut what is there.
    cuts: u64,
}

/// A port of 127.0.0.1 that leads to another one.
#[derive(Debug)]
pub(crate) struct Road {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    accepting: AbortHandle,
}

impl Road {
    /// Opens a road to a port that need not listen yet.
    pub(crate) async fn open(to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(watch::Sender::new(State { traffic: Traffic::Flows, cuts: 0 }));
        let accepting = tokio::spawn(accept(listener, to, state.clone())).abort_handle();
        Ok(Self { address, state, accepting })
    }

    /// Where the road begins.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what the road does, with the connections there are and with later ones.
    pub(crate) fn set(&self, traffic: Traffic) {
        self.state.send_modify(|state| state.traffic = traffic);
    }

    /// Cuts the connections there are; new ones are welcome.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.accepting.abort();
        // The carriers hold the sender's other half, and end with this.
        self.set(Traffic::Refused);
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, state: Arc<watch::Sender<State>>) {
    loop {
        let Ok((near, _)) = listener.accept().await else {
            // Out of file descriptors: asking again at once would only burn the processor until one is free.
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        let State { traffic, cuts } = *state.borrow();
        if traffic != Traffic::Refused {
            tokio::spawn(carry_both(near, to, state.subscribe(), cuts));
        }
    }
}

async fn carry_both(near: TcpStream, to: SocketAddr, state: watch::Receiver<State>, cuts: u64) {
    let Ok(far) = TcpStream::connect(to).await else { return };
    if near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).is_err() {
        return;
    }
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let subscribed = AtomicBool::new(false);
    let up =
        Carrier { from: near_read, to: far_write, state: state.clone(), subscribed: &subscribed, is_up: true, cuts };
    let down = Carrier { from: far_read, to: near_write, state, subscribed: &subscribed, is_up: false, cuts };
    // When one side is over, so is the other.
    tokio::select! {
        () = up.run() => {}
        () = down.run() => {}
    }
}

struct Carrier<'a> {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    state: watch::Receiver<State>,
    subscribed: &'a AtomicBool,
    is_up: bool,
    /// How often had been cut when the connection was made.
    cuts: u64,
}

impl Carrier<'_> {
    async fn run(mut self) {
        let mut buffer = vec![0; 1 << 16];
        let mut is_dead = false;
        loop {
            let State { traffic, cuts: now } = *self.state.borrow_and_update();
            if now != self.cuts || traffic == Traffic::Refused {
                return;
            }
            tokio::select! {
                biased;
                changed = self.state.changed() => if changed.is_err() { return },
                read = self.from.read(&mut buffer), if traffic != Traffic::Held => {
                    let Ok(count @ 1..) = read else { return };
                    if self.is_up && buffer[..count].windows(9).any(|word| word.eq_ignore_ascii_case(b"SUBSCRIBE")) {
                        self.subscribed.store(true, Ordering::Relaxed);
                    }
                    is_dead |= match traffic {
                        Traffic::Swallowed => true,
                        Traffic::AnswersSwallowed => !self.is_up,
                        Traffic::SubscribersSwallowed => self.subscribed.load(Ordering::Relaxed),
                        _ => false,
                    };
                    if !is_dead && !self.pass(&buffer[..count]).await {
                        return;
                    }
                }
            }
        }
    }

    /// False when the connection is over.
    async fn pass(&mut self, bytes: &[u8]) -> bool {
        let cuts = self.cuts;
        let ended = |state: &State| state.cuts != cuts || state.traffic == Traffic::Refused;
        tokio::select! {
            written = self.to.write_all(bytes) => written.is_ok(),
            _ = self.state.wait_for(ended) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn line_on(stream: &mut TcpStream) -> Vec<u8> {
        let mut line = vec![0; 16];
        let count = stream.read(&mut line).await.expect("a read");
        line.truncate(count);
        line
    }

    async fn road() -> (TcpListener, Road) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let road = Road::open(listener.local_addr().expect("its address")).await.expect("a road");
        (listener, road)
    }

    async fn pair(listener: &TcpListener, road: &Road) -> (TcpStream, TcpStream) {
        let near = TcpStream::connect(road.address()).await.expect("a connection");
        let (far, _) = listener.accept().await.expect("its other end");
        (near, far)
    }

    #[tokio::test]
    async fn what_is_held_arrives_when_the_road_flows_again() {
        let (listener, road) = road().await;
        let (mut near, mut far) = pair(&listener, &road).await;
        near.write_all(b"before").await.expect("written");
        assert_eq!(line_on(&mut far).await, b"before");
        road.set(Traffic::Held);
        near.write_all(b"held").await.expect("written");
        let mut nothing = [0];
        let early = tokio::time::timeout(std::time::Duration::from_millis(50), far.read(&mut nothing)).await;
        assert!(early.is_err(), "it has passed a road that holds");
        road.set(Traffic::Flows);
        assert_eq!(line_on(&mut far).await, b"held");
    }

    #[tokio::test]
    async fn a_connection_that_lost_something_never_carries_again_and_a_new_one_does() {
        let (listener, road) = road().await;
        let (mut near, mut far) = pair(&listener, &road).await;
        road.set(Traffic::Swallowed);
        near.write_all(b"lost").await.expect("written");
        let mut nothing = [0];
        let early = tokio::time::timeout(std::time::Duration::from_millis(50), far.read(&mut nothing)).await;
        assert!(early.is_err(), "it has passed a road that swallows");
        road.set(Traffic::Flows);
        near.write_all(b"lost too").await.expect("written");
        let (mut other, mut other_far) = pair(&listener, &road).await;
        other.write_all(b"new").await.expect("written");
        assert_eq!(line_on(&mut other_far).await, b"new");
        let late = tokio::time::timeout(std::time::Duration::from_millis(50), far.read(&mut nothing)).await;
        assert!(late.is_err(), "the old connection carries again");
    }

    #[tokio::test]
    async fn only_connections_that_subscribe_are_swallowed_if_that_is_asked_for() {
        let (listener, road) = road().await;
        let (mut commands, mut commands_far) = pair(&listener, &road).await;
        let (mut subscriber, mut subscriber_far) = pair(&listener, &road).await;
        subscriber.write_all(b"SUBSCRIBE a").await.expect("written");
        assert_eq!(line_on(&mut subscriber_far).await, b"SUBSCRIBE a");
        road.set(Traffic::SubscribersSwallowed);
        subscriber_far.write_all(b"push").await.expect("written");
        commands.write_all(b"PING").await.expect("written");
        assert_eq!(line_on(&mut commands_far).await, b"PING");
        let mut nothing = [0];
        let push = tokio::time::timeout(std::time::Duration::from_millis(50), subscriber.read(&mut nothing)).await;
        assert!(push.is_err(), "the push has passed");
    }

    #[tokio::test]
    async fn a_cut_ends_what_is_there_and_welcomes_what_comes() {
        let (listener, road) = road().await;
        let (mut near, _far) = pair(&listener, &road).await;
        road.cut();
        assert_eq!(line_on(&mut near).await, b"");
        let (mut near, mut far) = pair(&listener, &road).await;
        near.write_all(b"new").await.expect("written");
        assert_eq!(line_on(&mut far).await, b"new");
        road.set(Traffic::Refused);
        assert_eq!(line_on(&mut near).await, b"");
        let mut refused = TcpStream::connect(road.address()).await.expect("the port listens");
        assert_eq!(line_on(&mut refused).await, b"");
    }
}
