//! One connection: its socket, what it has half read, what waits for it, and its session.

use super::Local;
use super::dirty::Dirty;
use super::timers::Tick;
use crate::engine::Engine;
use crate::hooks::Visitor;
use crate::limit::Buckets;
use crate::outbox::{Flushed, Outbox};
use crate::places::Place;
use crate::polling::Polled;
use crate::session::Session;
use crate::socket::Socket;
use crate::websocket::deflate::Window;
use crate::websocket::{Packing, Reader};
use protocol::dialect::{Dialect, Encoding};
use protocol::{CloseCode, Request};
use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::rc::Rc;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

thread_local! {
    /// Where messages are put together, for all connections of a thread.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One connection. What never changes is read freely; [`State`] is borrowed for a few statements at a time, never across
/// a call that may reach another connection.
#[derive(Debug)]
pub struct Connection {
    /// Unique on the node: the worker in the top byte, then chance, then a count.
    pub number: u64,
    /// Since when it is there, in Unix milliseconds.
    pub since_ms: u64,
    /// How it speaks.
    pub dialect: Dialect,
    /// Its stream.
    pub socket: Socket,
    /// Set when messages may be compressed, both ways (RFC 7692).
    pub deflate: Option<Window>,
    /// The rest.
    pub state: RefCell<State>,
    /// Where it comes from, if the application is asked who connects.
    pub visitor: Option<Box<Visitor>>,
    /// Its reading task, to end it when its time is over.
    pub task: OnceCell<AbortHandle>,
    /// Every message is sent back as it is: for the conformance suite.
    #[cfg(feature = "echo")]
    pub is_echo: bool,
    /// Its place among the node's connections, and among its user's.
    pub place: RefCell<Place>,
}

/// What changes in a connection's life.
#[derive(Debug)]
pub struct State {
    /// Who it is and what it subscribes to.
    pub session: Session,
    /// What has half arrived.
    pub reader: Reader,
    /// What has not left yet.
    pub outbox: Outbox,
    /// Puts its messages together into arrays, if its client has asked for them.
    pub packing: Option<Box<Packing>>,
    /// What the stream has taken from it and the kernel not from the stream: see [`Socket::unsent_bytes`].
    pub unsent_bytes: usize,
    /// How fast it may do what.
    pub buckets: Buckets,
    /// Messages that could not be understood.
    pub bad_messages: u32,
    /// Timers.
    pub times: Times,
    /// In a list of those to flush at the end of the turn.
    pub dirty: Dirty,
    /// A task waits for its socket to take more.
    pub is_writing: bool,
    /// What gauge and budget have been told.
    pub counted: Counted,
    /// Commands that others have to wait for.
    pub under_way: u32,
    /// Those of them that are subscriptions, for which other subscriptions do not wait.
    pub subscribing: u32,
    /// Commands that wait for those: a client may subscribe and publish in one breath.
    pub waiting: Option<Box<Waiting>>,
    /// Publications the broker has not answered yet.
    pub publishing: u32,
    /// Told when nothing waits for the socket any more, if somebody asked.
    pub drained: Option<Rc<Notify>>,
    /// How long after its close it was told to come back.
    pub away_ms: u32,
    /// The application was told that it is there.
    pub is_told: bool,
    /// Why it ended, once it has.
    pub ended: Option<CloseCode>,
    /// What a Socket.IO connection has beside all this.
    pub engine: Option<Box<Engine>>,
    /// What a native session has whose client polls.
    pub polled: Option<Box<Polled>>,
}

/// What a connection makes its worker hold, in bytes as far as 32 bits go.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// What waits for a socket that is behind, shared or not.
    pub waits: u32,
    /// What is this connection's alone: of that, of commands that wait, and of messages that have half arrived.
    pub held: u32,
}

/// A connection's deadlines, in ticks of its worker.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When something was last read.
    pub heard: Tick,
    /// When a ping went out, if nothing has been read since.
    pub pinged: Option<Tick>,
    /// When a message last came.
    pub spoke: Tick,
    /// Since when the message, or else the frame, has been coming that is not finished.
    pub message_began: Option<Tick>,
    /// By when the session must have left its phase (`Connecting` and `Closing`).
    pub phase_ends: Option<Tick>,
    /// When the token ends.
    pub expires: Option<Tick>,
    /// Whether the client has been told that it will.
    pub expiry_told: bool,
    /// When the wheel looks at it next.
    pub due: Tick,
}

/// What waits for something that is under way.
pub enum Held {
    /// A command.
    Command(Request),
    /// What only a dialect knows, and about what it holds, in bytes.
    Step(Step, usize),
}

/// Carries out what a dialect has held back.
pub type Step = Box<dyn FnOnce(&Rc<Local>, &Rc<Connection>)>;

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(request) => f.debug_tuple("Command").field(request).finish(),
            Self::Step(_, bytes) => f.debug_tuple("Step").field(bytes).finish(),
        }
    }
}

/// Commands in the order they came, and the word that they have been carried out.
#[derive(Debug, Default)]
pub struct Waiting {
    /// The commands.
    pub commands: VecDeque<Held>,
    /// About what they hold.
    pub bytes: usize,
    /// Nothing more is read from the socket until this.
    pub done: Rc<Notify>,
}

/// What a connection begins with.
#[derive(Debug)]
pub struct Opened {
    /// Its stream.
    pub socket: Socket,
    /// How it speaks.
    pub dialect: Dialect,
    /// Its client wants arrays of messages, where the dialect has them.
    pub wants_arrays: bool,
    /// Who it is, as far as the handshake has told.
    pub session: Session,
    /// Its place among the node's connections.
    pub place: Place,
    /// See [`Connection::deflate`].
    pub deflate: Option<Window>,
    /// Its session, if it speaks Socket.IO.
    pub engine: Option<Box<Engine>>,
    /// Its session, if its client polls for it as a native one.
    pub polled: Option<Box<Polled>>,
    /// See [`Connection::visitor`].
    pub visitor: Option<Box<Visitor>>,
    /// See [`Connection::is_echo`].
    #[cfg(feature = "echo")]
    pub is_echo: bool,
}

impl Connection {
    /// A connection that has said and heard nothing yet.
    pub fn new(number: u64, opened: Opened, buckets: Buckets, times: Times) -> Self {
        let state = State {
            session: opened.session,
            reader: Reader::default(),
            outbox: Outbox::default(),
            packing: opened.dialect.array().filter(|_| opened.wants_arrays).map(|array| Box::new(Packing::new(array))),
            unsent_bytes: 0,
            buckets,
            bad_messages: 0,
            times,
            dirty: Dirty::No,
            is_writing: false,
            counted: Counted::default(),
            under_way: 0,
            subscribing: 0,
            waiting: None,
            publishing: 0,
            drained: None,
            away_ms: 0,
            is_told: false,
            ended: None,
            engine: opened.engine,
            polled: opened.polled,
        };
        Self {
            number,
            since_ms: super::unix_ms(),
            dialect: opened.dialect,
            socket: opened.socket,
            deflate: opened.deflate,
            visitor: opened.visitor,
            state: RefCell::new(state),
            task: OnceCell::new(),
            #[cfg(feature = "echo")]
            is_echo: opened.is_echo,
            place: RefCell::new(opened.place),
        }
    }

    /// How its publications are encoded.
    pub fn encoding(&self) -> Encoding {
        match &self.dialect {
            Dialect::SocketIo(rules) if self.state.borrow().session.subscriptions().len() > 1 => {
                Encoding::SocketIoTracked(rules.clone())
            }
            dialect => dialect.encoding(),
        }
    }

    /// Whether its end has been said.
    pub fn has_ended(&self) -> bool {
        self.state.borrow().ended.is_some()
    }

    /// Writes what waits, as far as the kernel takes it; tells how many calls and bytes that were.
    pub fn flush(&self, now: Tick) -> io::Result<(Flushed, Written)> {
        let mut written = Written::default();
        let mut state = self.state.borrow_mut();
        let State { outbox, packing, unsent_bytes, .. } = &mut *state;
        let mut write_one = |bytes: &[u8]| self.socket.try_write(&[IoSlice::new(bytes)]);
        let flushed = outbox.flush(now, |slices| {
            written.calls += 1;
            let taken = match packing {
                None => self.socket.try_write(slices)?,
                Some(packing) => SCRATCH.with_borrow_mut(|scratch| packing.write(slices, scratch, &mut write_one))?,
            };
            written.bytes += taken as u64;
            Ok(taken)
        })?;
        // Also what is held back on the way has to leave before anybody may rest.
        let mut has_left = flushed == Flushed::All;
        if let Some(packing) = packing {
            has_left = has_left && packing.flush(&mut write_one)?;
        }
        has_left = has_left && self.socket.try_flush()?;
        *unsent_bytes = self.socket.unsent_bytes() + packing.as_ref().map_or(0, |packing| packing.unsent_bytes());
        Ok((if has_left { Flushed::All } else { Flushed::Blocked }, written))
    }
}

/// What a flush wrote.
#[derive(Debug, Default, Clone, Copy)]
pub struct Written {
    /// Write calls.
    pub calls: u64,
    /// Bytes the kernel took.
    pub bytes: u64,
}
