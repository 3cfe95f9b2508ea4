//! A worker's turns on real sockets, all in the test's own thread: what they allocate, and what goes on beside them.

use super::flush::{Writing, end_turns};
use super::turn::{deliver, take_mail};
use super::{accept, steady};
use crate::app::{self, MemoryCluster, Running};
use crate::config::Config;
use crate::inbox::{Inbox, InboxConfig, Item};
use crate::local::Local;
use crate::local::connection::{Connection, Opened};
use crate::places::Place;
use crate::policy::Namespace;
use crate::session::{Phase, Session};
use crate::socket::Socket;
use broker::Delivery;
use futures_util::future::LocalBoxFuture;
use protocol::dialect::Dialect;
use protocol::{Channel, CloseCode, Origin, Payload, Publication, Reply};
use socket2::SockRef;
use std::io::Read;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::timeout;

/// A worker beside those of its node, driven by the test.
struct Bench {
    local: Rc<Local>,
    listener: TcpListener,
    running: Running,
}

impl Bench {
    async fn start() -> Self {
        let config =
            Config::from_overrides(&["listen=127.0.0.1:0", "admin.listen=127.0.0.1:0", "workers=1", "drain.window=0s"]);
        let running = app::start(config.unwrap(), &MemoryCluster::default()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { local: Local::new(0, running.node.clone()), listener, running }
    }

    /// A connection that may give commands, and its client.
    async fn open(&self) -> (Opened, TcpStream) {
        let (client, accepted) =
            tokio::join!(TcpStream::connect(self.listener.local_addr().unwrap()), self.listener.accept());
        let opened = Opened {
            socket: Socket::plain(accepted.unwrap().0),
            dialect: Dialect::Json,
            wants_arrays: false,
            deflate: None,
            session: Session::new(Phase::Ready, None),
            place: self.local.node.places.take().unwrap(),
            engine: None,
            polled: None,
            visitor: None,
            #[cfg(feature = "echo")]
            is_echo: false,
        };
        (opened, client.unwrap())
    }

    /// A channel and its subscribers.
    async fn channel(&self, name: &str, subscribers: usize) -> (Channel, Vec<TcpStream>) {
        let channel = Channel::new(name).unwrap();
        let ticket = self.local.hub.borrow_mut().enter(&channel, &Arc::new(Namespace::default())).unwrap();
        self.local.hub.borrow_mut().open(&channel, ticket, None, false);
        let mut clients = Vec::new();
        for _ in 0..subscribers {
            let (opened, client) = self.open().await;
            let connection = self.local.admit(opened);
            self.attach(&channel, &connection);
            clients.push(client);
        }
        (channel, clients)
    }

    fn attach(&self, channel: &Channel, connection: &Rc<Connection>) {
        self.local.hub.borrow_mut().entry(channel).unwrap().attach(connection.clone(), None);
    }

    async fn stop(self) {
        drop(self.local);
        self.running.stop().await;
    }
}

fn publications(channel: &Channel, count: u64) -> Arc<Delivery> {
    let publication = Publication {
        offset: None,
        data: Payload::text("x".repeat(100)),
        event: None,
        retain: None,
        from: Some(Origin { client: "n.a.1".into(), user: None, info: None }),
        time_ms: 0,
        echo: true,
        stamp: 0,
    };
    let publications = (0..count).map(|_| publication.clone()).collect();
    Arc::new(Delivery::Publications { channel: channel.clone(), epoch: None, publications })
}

/// Everything that has come, as the kernel has it: the runtime may not have heard of it yet.
fn drain(clients: &[TcpStream]) -> usize {
    let mut scratch = vec![0; 64 * 1024];
    let mut read = |client| (&*SockRef::from(client)).read(&mut scratch).ok();
    clients.iter().map(|client| std::iter::from_fn(|| read(client)).sum::<usize>()).sum()
}

/// All slices of a turn.
fn write_all(writing: &mut Writing, local: &Rc<Local>) {
    writing.slice(local);
    while !writing.is_done() {
        writing.slice(local);
    }
}

/// What so many turns allocate, and how many writes they make.
fn turns(bench: &Bench, writing: &mut Writing, channel: &Channel, count: u64) -> (u64, u64, u64) {
    let deliveries: Vec<_> = (0..count).map(|_| publications(channel, 5)).collect();
    let writes_before = bench.local.writes.get();
    let counted = allocation_counter::measure(|| {
        for delivery in deliveries {
            deliver(&bench.local, vec![delivery]);
            write_all(writing, &bench.local);
            bench.local.delivered.borrow_mut().clear();
        }
    });
    (counted.count_total, counted.bytes_total, bench.local.writes.get() - writes_before)
}

#[tokio::test]
async fn a_turn_allocates_the_same_for_twice_as_many_subscribers() {
    const SUBSCRIBERS: usize = 200;
    let run = Box::pin(async {
        let bench = Bench::start().await;
        let mut writing = Writing::of(1024);
        let (many, clients_of_many) = bench.channel("many", 2 * SUBSCRIBERS).await;
        let (few, clients_of_few) = bench.channel("few", SUBSCRIBERS).await;
        // The runtime hears that they can be written.
        for _ in 0..10 {
            yield_now().await;
        }
        let everybody = [&clients_of_many[..], &clients_of_few].map(|clients| move || drain(clients));
        let read_all = || everybody.iter().map(|read| read()).sum::<usize>();
        // The welcomes, and lists as large as they become.
        turns(&bench, &mut writing, &many, 2);
        turns(&bench, &mut writing, &few, 2);
        assert!(read_all() > 0);
        let (of_few, bytes_of_few, writes_of_few) = turns(&bench, &mut writing, &few, 1);
        let (of_many, bytes_of_many, writes_of_many) = turns(&bench, &mut writing, &many, 1);
        assert_eq!((writes_of_few, writes_of_many), (SUBSCRIBERS as u64, 2 * SUBSCRIBERS as u64));
        assert!(of_few > 0, "the counter counts: a turn is encoded");
        assert_eq!((of_few, bytes_of_few), (of_many, bytes_of_many), "for {SUBSCRIBERS} and for twice as many");
        assert!(read_all() > 3 * SUBSCRIBERS * 5 * 100, "all of it has arrived");
        let (of_twenty, _, writes_of_twenty) = turns(&bench, &mut writing, &many, 20);
        assert_eq!(writes_of_twenty, 20 * writes_of_many, "no socket fell behind");
        assert!(of_twenty <= 20 * of_many, "{of_twenty} for twenty turns, {of_many} for one");
        bench.stop().await;
    });
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn what_a_connection_is_told_in_several_channels_and_in_answers_leaves_in_one_write() {
    let run = Box::pin(async {
        let bench = Bench::start().await;
        let (one, clients) = bench.channel("one", 1).await;
        let (two, _) = bench.channel("two", 0).await;
        let connection = bench.local.connections.borrow().values().next().unwrap().clone();
        bench.attach(&two, &connection);
        for _ in 0..10 {
            yield_now().await;
        }
        let mut writing = Writing::of(1024);
        turns(&bench, &mut writing, &one, 1);
        assert!(drain(&clients) > 0);
        let writes_before = bench.local.writes.get();
        deliver(&bench.local, vec![publications(&one, 3), publications(&two, 3), publications(&one, 3)]);
        bench.local.reply(&connection, Some(1), Reply::Pong);
        writing.slice(&bench.local);
        assert_eq!(bench.local.writes.get() - writes_before, 1);
        assert!(drain(&clients) > 9 * 100);
        bench.stop().await;
    });
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn whoever_is_told_something_of_its_own_does_not_wait_for_a_crowd_of_the_same_turn() {
    const SLICE: usize = 16;
    let run = Box::pin(async {
        let bench = Bench::start().await;
        let local = &bench.local;
        let (crowd, of_crowd) = bench.channel("crowd", 20 * SLICE).await;
        let (other, of_other) = bench.channel("other", 1).await;
        for _ in 0..10 {
            yield_now().await;
        }
        let mut writing = Writing::of(SLICE);
        write_all(&mut writing, local);
        assert!(drain(&of_crowd) > 0 && drain(&of_other) > 0, "the welcomes");
        let last = local.hub.borrow_mut().entry(&crowd).unwrap().subscribers().last().unwrap().0.clone();

        deliver(local, vec![publications(&crowd, 1), publications(&other, 1)]);
        local.reply(&last, Some(1), Reply::Pong);
        writing.slice(local);
        assert!(drain(&of_other) > 100, "the publication of the small channel");
        assert!(drain(&of_crowd[20 * SLICE - 1..]) > 100, "to one of the crowd, its publication and then the answer");
        assert!(drain(&of_crowd) > 10 * 100, "some of the crowd");

        let writes_before = local.writes.get();
        write_all(&mut writing, local);
        let (written, rest) = (local.writes.get() - writes_before, drain(&of_crowd));
        assert!(written < 20 * SLICE as u64 && rest / 100 >= written as usize, "everybody once: {written}, {rest}");
        bench.stop().await;
    });
    LocalSet::new().run_until(run).await;
}

/// The worker's answer to a newcomer: whether it was writing when it came.
fn told(local: Rc<Local>, stream: TcpStream, _: SocketAddr, _: Place) -> LocalBoxFuture<'static, ()> {
    Box::pin(async move {
        let word = if local.is_flushing.get() { b"during" } else { b"before" };
        stream.try_write(word).unwrap();
    })
}

/// A masked, empty ping.
const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];

#[tokio::test]
async fn pings_newcomers_and_other_channels_are_served_between_the_slices_of_a_large_fan_out() {
    const SLICE: usize = 16;
    let run = Box::pin(async {
        let bench = Bench::start().await;
        let local = bench.local.clone();
        let (crowd, clients) = bench.channel("crowd", 20 * SLICE).await;
        let (other, mut of_other) = bench.channel("other", 1).await;
        let (opened, mut pinging) = bench.open().await;
        steady::adopt(&local, opened, &[], None);
        write_all(&mut Writing::of(SLICE), &local);
        let inbox = Arc::new(Inbox::new(InboxConfig::default()));
        let public = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        public.set_nonblocking(true).unwrap();
        let address = public.local_addr().unwrap();
        let (mail_local, mail) = (local.clone(), inbox.clone());
        let taking = spawn_local(async move { take_mail(&mail_local, &mail).await });
        let ending = spawn_local(end_turns(local.clone(), SLICE));
        let accepting = spawn_local(accept::run(local.clone(), public, told));
        yield_now().await;
        read_some(&mut pinging).await;
        read_some(&mut of_other[0]).await;

        inbox.deliver(&crowd, &publications(&crowd, 1));
        while !local.is_flushing.get() {
            yield_now().await;
        }
        inbox.deliver(&other, &publications(&other, 1));
        pinging.try_write(&PING).unwrap();
        let mut coming = TcpStream::connect(address).await.unwrap();
        assert_eq!(read_some(&mut coming).await, b"during");
        assert_eq!(read_some(&mut pinging).await, [0x8a, 0], "a pong");
        assert!(read_some(&mut of_other[0]).await.len() > 100, "a publication");
        assert!(local.is_flushing.get(), "all that before the crowd has been served");
        while local.is_flushing.get() {
            yield_now().await;
        }
        assert!(clients.iter().all(|client| drain(std::slice::from_ref(client)) > 100), "which it is in the end");
        inbox.put(Item::Stop(CloseCode::GoingAway));
        taking.await.unwrap();
        [ending.abort_handle(), accepting.abort_handle()].iter().for_each(tokio::task::AbortHandle::abort);
        bench.stop().await;
    });
    LocalSet::new().run_until(run).await;
}

async fn read_some(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    let length = timeout(Duration::from_secs(10), stream.read(&mut bytes)).await.expect("bytes in time").unwrap();
    bytes.truncate(length);
    bytes
}
