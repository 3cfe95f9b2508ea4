//! A WebSocket for a session that has polled until now: it is tried first, and then takes the session over.

use super::Visit;
use crate::engine::Engine;
use crate::inbox::{Handover, Item, Said};
use crate::local::connection::Opened;
use crate::node::worker_of;
use crate::places::Place;
use crate::polling::calls;
use crate::session::Session;
use crate::socket::Socket;
use crate::socketio::removal::{Moved, go_on, phase_of, take_over};
use crate::socketio::take_message;
use crate::websocket::{Event, Frames, Reader, ReaderLimits};
use crate::worker::{adopt, serve};
use bytes::Bytes;
use protocol::dialect::socketio::engine::{PROBE, PROBE_ANSWER, UPGRADE};
use protocol::dialect::{Dialect, Incoming, Messages};
use protocol::forward::{Ask, Request, Response, Secret};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::timeout;

/// How much is read at a time: probes are small, and what follows them is read again where it belongs.
const READ_BYTES: usize = 4096;

/// The session that a WebSocket is for.
pub(super) struct Target {
    pub(super) node: String,
    pub(super) number: u64,
    pub(super) secret: Secret,
    pub(super) token: Option<String>,
}

impl Target {
    async fn ask(&self, visit: &Visit, ask: Ask, body: &'static [u8]) -> Option<Response> {
        let (secret, token, body) = (self.secret, self.token.clone(), Bytes::from_static(body));
        let request = Request { ask, secret, token, body };
        let response = calls::call(&visit.local, serve, &self.node, self.number, request).await;
        response.ok().filter(|response| response.status == 200)
    }
}

/// A stream that is being tried.
struct Tried {
    stream: Socket,
    reader: Reader,
    limits: ReaderLimits,
    said: VecDeque<Said>,
}

/// Tries a stream, and hands it to its session or the session to it. A stream that is dropped is closed.
pub(super) async fn probe(visit: Rc<Visit>, stream: Socket, early: Bytes, place: Place, target: Target) {
    let node = &visit.local.node;
    if target.ask(&visit, Ask::Probe, b"").await.is_none() {
        return;
    }
    let limits = ReaderLimits { max_message_bytes: node.config.worker.max_message_bytes };
    let mut tried = Tried { stream, reader: Reader::default(), limits, said: VecDeque::new() };
    let passed = timeout(node.config.socketio.upgrade_timeout, tried.pass(&early)).await;
    if !matches!(passed, Ok(Ok(()))) {
        // The session polls on.
        target.ask(&visit, Ask::Probe, b"failed").await;
        return;
    }
    let worker = worker_of(target.number);
    match tried.stream {
        _ if target.node == node.name && worker == visit.local.index => {
            let Tried { stream, reader, said, .. } = tried;
            take_over(&visit.local, target.number, stream, reader, &Vec::from(said));
        }
        Socket::Plain(_) if target.node == node.name => hand_over(&visit, &target, worker, tried),
        // Encryption stays with its thread: the session comes to it, as from another node.
        _ => take_session(&visit, &target, tried, place).await,
    }
}

/// Gives the stream to the worker that has the session.
fn hand_over(visit: &Visit, target: &Target, worker: usize, tried: Tried) {
    let Tried { stream, reader, said, .. } = tried;
    let Some(stream) = stream.into_std() else { return };
    let handover = Handover { connection: target.number, stream, reader, messages: said.into() };
    if let Some(inbox) = visit.local.node.router.inboxes().get(worker) {
        inbox.put(Item::Handover(Box::new(handover)));
    }
}

/// Takes the session from the node that has it.
async fn take_session(visit: &Rc<Visit>, target: &Target, tried: Tried, place: Place) {
    let response = target.ask(visit, Ask::Move, b"").await;
    let Some(moved) = response.and_then(|response| Moved::decode(&response.body)) else { return };
    let local = &visit.local;
    let identity = match &moved.token {
        Some(token) => match local.node.auth.identify_waiting(token).await {
            Ok(identity) => Some(Arc::new(identity)),
            Err(_) => return,
        },
        None => None,
    };
    let opened = Opened {
        socket: tried.stream,
        dialect: Dialect::SocketIo(local.node.config.socketio.rules.clone()),
        wants_arrays: false,
        session: Session::new(phase_of(&moved), identity),
        place,
        deflate: None,
        engine: Some(Box::new(Engine::new(target.secret))),
        polled: None,
        // The application has been asked about it where it came first.
        visitor: None,
        #[cfg(feature = "echo")]
        is_echo: false,
    };
    let connection = adopt(local, opened, &[], None);
    connection.state.borrow_mut().reader = tried.reader;
    go_on(local, &connection, &moved);
    for message in &tried.said {
        take_message(local, &connection, message.as_incoming());
    }
}

impl Tried {
    /// Waits for the probe, answers it, and waits for the word to go on.
    async fn pass(&mut self, early: &[u8]) -> io::Result<()> {
        self.feed(&mut early.to_vec())?;
        self.expect(PROBE).await?;
        let mut frame = Vec::new();
        Frames::new(&mut frame).text(&mut |buffer| buffer.extend_from_slice(PROBE_ANSWER.as_bytes()));
        self.write(&frame).await?;
        self.expect(UPGRADE).await
    }

    async fn expect(&mut self, word: &str) -> io::Result<()> {
        loop {
            match self.said.pop_front() {
                Some(Said::Text(text)) if text == word => return Ok(()),
                Some(_) => return Err(io::ErrorKind::InvalidData.into()),
                None => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        loop {
            self.stream.readable().await?;
            let mut buffer = [0; READ_BYTES];
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => return self.feed(&mut buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn feed(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let said = &mut self.said;
        let mut has_closed = false;
        let fed = self.reader.feed(bytes, &self.limits, None, &mut |event| match event {
            Event::Message(Incoming::Text(text)) => said.push_back(Said::Text(text.to_owned())),
            Event::Message(Incoming::Binary(bytes)) => said.push_back(Said::Binary(bytes.to_vec())),
            Event::Ping(_) | Event::Pong => {}
            Event::Close(_) => has_closed = true,
        });
        if fed.is_err() || has_closed { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) }
    }

    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(&[IoSlice::new(bytes)]) {
                Ok(length) => bytes = &bytes[length..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        while !self.stream.try_flush()? {
            self.stream.writable().await?;
        }
        Ok(())
    }
}
