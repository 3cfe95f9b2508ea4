//! A worker's own share of the node: its connections, its hub, and what this turn has gathered. Commands act on this;
//! the worker's loops drive it. One thread, no locks.

pub mod connection;
pub mod deflating;
pub mod dirty;
pub mod dismissal;
pub mod ending;
pub mod flushing;
pub mod heartbeat;
pub mod locating;
pub mod permission;
pub mod places;
pub mod shedding;
pub mod speaker;
pub mod telling;
pub mod timers;

use crate::engine::Aliases;
use crate::hub::Hub;
use crate::limit::Buckets;
use crate::node::Node;
use crate::outbox::Meter;
use crate::websocket::Frames;
use crate::websocket::deflate::{Compressor, Inflater};
use connection::{Connection, Opened, Times};
use dirty::DirtyLists;
use protocol::forward::Response;
use protocol::{CloseCode, Origin, Outgoing, Position, Publication, Push, Refusal, Reply, Text, Welcome};
use shedding::Going;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use timers::{TICK_MS, Tick, Wheel, ticks};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;

/// A publication of this turn, and whom to answer.
pub struct Publishing {
    /// What the broker gets.
    pub publish: broker::Publish,
    /// Who asked.
    pub asker: Asker,
    /// When it was asked.
    pub asked: Instant,
    /// Whether the application is told of it.
    pub is_told: bool,
}

/// Who waits for what becomes of a publication.
pub enum Asker {
    /// A connection, and the id of its command.
    Connection(Rc<Connection>, Option<u64>),
    /// A request.
    Request(oneshot::Sender<Result<Reply, Refusal>>),
}

/// Requests of one worker, for sessions that poll, that are counted until their answers have left.
pub const ANSWERING_MAX: u32 = 65_536;

/// Ticks do not begin at 0 but an hour later, so that there are moments before the worker began.
const FIRST_TICK: Tick = 3600 * 1000 / TICK_MS;

/// One worker's share of the node.
pub struct Local {
    /// Which worker this is.
    pub index: usize,
    /// What all workers share.
    pub node: Arc<Node>,
    /// Channels and their subscribers here.
    pub hub: RefCell<Hub<Rc<Connection>>>,
    /// Connections by number.
    pub connections: RefCell<HashMap<u64, Rc<Connection>>>,
    /// What this turn publishes: one batch at its end.
    pub publishing: RefCell<Vec<Publishing>>,
    /// Private messages whose answer has not come, by ticket.
    pub tickets: RefCell<HashMap<u64, oneshot::Sender<bool>>>,
    /// Requests to sessions elsewhere whose response has not come, by ticket.
    pub responses: RefCell<HashMap<u64, oneshot::Sender<Response>>>,
    /// Connections that go by another id than their own.
    pub aliases: RefCell<Aliases>,
    /// Connections that have gone on elsewhere a moment ago, and the ids that they go by: until their new node has said so,
    /// only this one knows of them.
    pub moved: RefCell<HashMap<u64, (Text, Instant)>>,
    /// Connections whose clients have yet to be told where they are.
    pub positions_due: RefCell<Vec<Rc<Connection>>>,
    /// Deliveries of this turn: when they arrived on this node, and when (Unix ms) they left the publisher's.
    pub delivered: RefCell<Vec<(Instant, u64)>>,
    /// Told when something has been gathered that the end of the turn must see to.
    pub gathered: Notify,
    /// Set when the worker stops: what every further connection is told.
    pub stopping: Cell<Option<CloseCode>>,
    /// Those who are being sent away, if any are.
    pub going: RefCell<Option<Going>>,
    /// Users whose connections somebody asks for.
    pub searches: RefCell<locating::Searches>,
    /// Requests for sessions that poll, until their answers have left.
    pub answering: Arc<Semaphore>,
    /// Told when the last connection has gone.
    pub emptied: Notify,
    /// Compresses what leaves, for those who have agreed upon that.
    pub compressor: RefCell<Compressor>,
    /// Inflates what they send.
    pub inflater: RefCell<Inflater>,
    /// What this worker holds of frames that many sockets share.
    pub meter: Meter,
    /// What of that waits for somebody, and does not merely leave at the end of this turn.
    shared_held: Cell<usize>,
    /// Set while the end of a turn writes.
    pub is_flushing: Cell<bool>,
    /// What its connections hold beside that.
    held: Cell<usize>,
    /// The tick that the timers were looked at last, for what need not be more exact.
    recent_tick: Cell<Tick>,
    /// Where a fan-out lists its subscribers.
    pub subscribers: RefCell<Vec<(Rc<Connection>, Option<Position>)>>,
    /// Writes to sockets so far.
    pub writes: Cell<u64>,
    /// Writes that might have been one with another shortly before: what a channel is handed so soon again, to each subscriber.
    pub repeated: Cell<u64>,
    /// How long deliveries wait for others at present, since the last were taken.
    pub flush_tick: Cell<Duration>,
    dirty: DirtyLists,
    wheel: RefCell<Wheel>,
    began: Instant,
    next_number: Cell<u32>,
}

impl Local {
    /// An empty share.
    pub fn new(index: usize, node: Arc<Node>) -> Rc<Self> {
        let compressor = RefCell::new(Compressor::new(node.config.worker.deflate));
        Rc::new(Self {
            index,
            node,
            hub: RefCell::default(),
            connections: RefCell::default(),
            publishing: RefCell::default(),
            tickets: RefCell::default(),
            responses: RefCell::default(),
            aliases: RefCell::default(),
            moved: RefCell::default(),
            positions_due: RefCell::default(),
            delivered: RefCell::default(),
            gathered: Notify::new(),
            stopping: Cell::new(None),
            going: RefCell::default(),
            searches: RefCell::default(),
            answering: Arc::new(Semaphore::new(ANSWERING_MAX as usize)),
            emptied: Notify::new(),
            compressor,
            inflater: RefCell::default(),
            meter: Meter::default(),
            shared_held: Cell::new(0),
            is_flushing: Cell::new(false),
            held: Cell::new(0),
            recent_tick: Cell::new(FIRST_TICK),
            subscribers: RefCell::default(),
            writes: Cell::new(0),
            repeated: Cell::new(0),
            flush_tick: Cell::new(Duration::ZERO),
            dirty: DirtyLists::default(),
            wheel: RefCell::default(),
            began: Instant::now(),
            next_number: Cell::new(0),
        })
    }

    /// The present tick, by the monotonic clock.
    pub fn tick(&self) -> Tick {
        let since = Tick::try_from(self.began.elapsed().as_millis() / u128::from(TICK_MS)).unwrap_or(Tick::MAX);
        since.saturating_add(FIRST_TICK)
    }

    /// Milliseconds since the worker began; wraps.
    pub fn now_ms(&self) -> u32 {
        self.began.elapsed().as_millis() as u32
    }

    /// A number for a connection or a ticket: this worker, chance, a count.
    pub fn number(&self) -> u64 {
        let count = self.next_number.get();
        self.next_number.set(count.wrapping_add(1));
        (self.index as u64) << 56 | u64::from(fastrand::u32(..1 << 24)) << 32 | u64::from(count)
    }

    /// Takes a connection in: it has a number, deadlines, and its `welcome`.
    pub fn admit(&self, opened: Opened) -> Rc<Connection> {
        let config = &self.node.config.worker;
        let now = self.tick();
        let interval = ticks(config.ping_interval);
        let connecting = opened.session.phase == crate::session::Phase::Connecting;
        let times = Times {
            // The first ping comes after half to one interval, or connections that came together would stay together.
            heard: now.saturating_sub(fastrand::u32(0..=interval / 2)),
            pinged: None,
            spoke: now,
            message_began: None,
            // The present tick has begun: without one more the time would be up early.
            phase_ends: connecting.then(|| now + 1 + ticks(self.node.config.auth.timeout)),
            expires: None,
            expiry_told: false,
            due: Tick::MAX,
        };
        let buckets = Buckets::full(&config.rates, self.now_ms());
        let identity = opened.session.identity.clone();
        let connection = Rc::new(Connection::new(self.number(), opened, buckets, times));
        self.connections.borrow_mut().insert(connection.number, connection.clone());
        self.node.shedding.opened(self.index);
        let dialect = connection.dialect.name();
        self.node.metrics.connections.with_label_values(&[dialect]).inc();
        self.node.metrics.connections_opened.with_label_values(&[dialect]).inc();
        self.set_expiry(&connection, identity.and_then(|i| i.expires_in(SystemTime::now())));
        self.send(&connection, &Outgoing::Push(Push::Welcome(self.welcome(&connection))));
        connection
    }

    fn welcome(&self, connection: &Connection) -> Welcome {
        let config = &self.node.config.worker;
        Welcome {
            client: self.client_id(connection),
            node: self.node.id.as_str().into(),
            session: format!("{:016x}", fastrand::u64(..)).into(),
            ping_interval_ms: u64::try_from(config.ping_interval.as_millis()).unwrap_or(u64::MAX),
            max_message_bytes: config.max_message_bytes as u64,
        }
    }

    /// The connection's own id.
    pub fn client_id(&self, connection: &Connection) -> Text {
        self.node.client_id(connection.number).into()
    }

    /// The connection's id, as others see it: one that was another connection's before, where it goes on as that.
    pub fn public_id(&self, connection: &Connection) -> Text {
        let alias = connection.state.borrow().engine.as_ref().and_then(|engine| engine.alias.clone());
        alias.unwrap_or_else(|| self.client_id(connection))
    }

    /// Has every node find a connection by the id that it goes by.
    pub fn renew_alias(&self, connection: &Connection, alias: &str) {
        let text = self.client_id(connection).to_string();
        let note = broker::Note::Write { text, ttl: ALIAS_TTL };
        // Should it fail, the next ping is another try.
        tokio::task::spawn_local(self.node.broker.note(&alias_note(alias), note));
    }

    /// The number of a connection of this worker, of its id as others see it.
    pub fn number_of(&self, id: &str) -> Option<u64> {
        let own = crate::node::parse_client_id(id).filter(|(node, _)| *node == self.node.name);
        let alias = || self.aliases.borrow().get(&Text::from(id)).copied();
        if self.aliases.borrow().is_empty() {
            return own.map(|(_, number)| number);
        }
        alias().or_else(|| own.map(|(_, number)| number))
    }

    /// Who speaks, as others see it.
    pub fn origin(&self, connection: &Connection) -> Origin {
        self.origin_of(connection)
    }

    /// Answers a command, if it asked for an answer.
    pub fn reply(&self, connection: &Rc<Connection>, id: Option<u64>, reply: Reply) {
        if let Some(id) = id {
            self.send(connection, &Outgoing::Reply { id, reply });
        }
    }

    /// Answers with something that may be larger than an outbox. For answers that are sent one at a time and only after
    /// [`Local::drained`], or they would add up.
    pub fn reply_whole(&self, connection: &Rc<Connection>, id: Option<u64>, reply: Reply) {
        let Some(id) = id else { return };
        let mut buffer = Vec::new();
        let mut frames = Frames::new(&mut buffer);
        connection.encoding().encode(&Outgoing::Reply { id, reply }, &mut frames);
        if !buffer.is_empty() && !connection.has_ended() {
            {
                let mut state = connection.state.borrow_mut();
                let _ = state.outbox.push_own(&self.compressed(connection, &buffer), usize::MAX);
                self.recount(&mut state);
            }
            self.mark_dirty(connection);
        }
    }

    /// What to wait for until nothing waits for the connection's socket; `None` when that is so already.
    pub fn drained(&self, connection: &Connection) -> Option<Rc<Notify>> {
        let mut state = connection.state.borrow_mut();
        if state.outbox.is_empty() {
            return None;
        }
        Some(state.drained.get_or_insert_default().clone())
    }

    /// Refuses a command.
    pub fn refuse(&self, connection: &Rc<Connection>, command: &str, id: Option<u64>, refusal: Refusal) {
        self.node.metrics.refused(command, refusal.code);
        self.send(connection, &Outgoing::Refused { id, refusal });
    }

    /// Puts something into a connection's outbox; it leaves at the end of the turn.
    pub fn send(&self, connection: &Rc<Connection>, outgoing: &Outgoing) {
        let mut buffer = Vec::new();
        let mut frames = Frames::new(&mut buffer);
        connection.encoding().encode(outgoing, &mut frames);
        let close = frames.close;
        self.send_frames(connection, &buffer);
        if let Some(code) = close {
            self.close(connection, code);
        }
    }

    /// Gathers a publication for the end of the turn.
    pub fn publish(&self, publishing: Publishing) {
        if let Asker::Connection(connection, _) = &publishing.asker {
            connection.state.borrow_mut().publishing += 1;
        }
        self.publishing.borrow_mut().push(publishing);
        self.gathered.notify_one();
    }

    /// A publication as it leaves this node: stamped with the time and chance.
    pub fn stamp(&self, origin: Origin, data: protocol::Payload, event: Option<String>, echo: bool) -> Publication {
        Publication {
            offset: None,
            data,
            event: event.map(Text::from),
            retain: None,
            from: Some(origin),
            time_ms: unix_ms(),
            echo,
            stamp: fastrand::u64(..),
        }
    }
}

/// How long an id leads to the connection that goes by it now, unless a ping renews it.
const ALIAS_TTL: Duration = Duration::from_secs(600);

/// The note that says which connection goes by an id that was another one's.
pub fn alias_note(id: &str) -> String {
    format!("id:{id}")
}

/// The wall clock, in Unix milliseconds.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
