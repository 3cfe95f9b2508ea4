//! The task behind a client: connects, serves the application and the gateway, and comes back.

use crate::address::Addresses;
use crate::advice::{Advice, Ended};
use crate::backoff::{Backoff, after};
use crate::config::{Config, TokenError};
use crate::connection::{Connection, Step, open};
use crate::fallback::{Fallback, Opening, Upgrade, Way};
use crate::order::{Leaving, Order};
use crate::session::{Link, Notice, Room, Session, Stream};
use crate::stats::{Counters, count};
use crate::wire::Welcome;
use crate::{Address, State, Token};
use futures_util::future::BoxFuture;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// The task.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) config: Arc<Config>,
    pub(crate) addresses: Addresses,
    pub(crate) backoff: Backoff,
    pub(crate) fallback: Fallback,
    pub(crate) state: watch::Sender<State>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) desk: Desk,
}

/// Where the application's orders come in and its events go out.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) leaving: Arc<Leaving>,
    pub(crate) session: Session,
}

/// What serving the application once has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    Done,
    /// The application wants no more.
    Close,
    /// The gateway does not answer.
    Fault(&'static str),
}

/// A new token on its way.
type Refresh = BoxFuture<'static, Option<Result<String, TokenError>>>;

impl Driver {
    /// Runs until the application or the gateway wants no more.
    pub(crate) async fn run(mut self) {
        let ended = loop {
            let ended = self.attempt().await;
            self.desk.session.disconnect();
            if ended.advice == Advice::Never {
                break ended;
            }
            if let Err(ended) = self.wait(ended).await {
                break ended;
            }
        };
        let Ended { code, reason, .. } = ended;
        tracing::info!(code, reason, "closed");
        let Desk { session, orders, .. } = self.desk;
        // Whoever still asks is answered that it is closed.
        drop(orders);
        let mut deliveries = session.close();
        self.state.send_replace(State::Closed { code, reason });
        while let Some(stream) = deliveries.next() {
            let room = stream.room().await;
            deliveries.deliver(room);
        }
    }

    /// One connection from its opening to its end.
    async fn attempt(&mut self) -> Ended {
        let Some(address) = self.addresses.current() else { return Ended::lost("there is no address") };
        self.state.send_replace(State::Connecting);
        let way = self.fallback.way();
        tracing::debug!(%address, ?way, "connecting");
        let opening = opening(address.clone(), way, self.config.clone());
        let (mut way, mut opened) = match self.desk.serve_during(opening).await {
            Some(Ok(opened)) => (way, opened),
            Some(Err(ended)) => {
                self.fallback.failed(way, &ended);
                return ended;
            }
            None => return Ended::by_application(),
        };
        loop {
            match self.stay(opened, way, &address).await {
                Stayed::Ended(ended) => return ended,
                Stayed::Upgraded(better) => {
                    self.desk.session.disconnect();
                    (way, opened) = (Way::WebSocket, *better);
                }
            }
        }
    }

    /// A connection that has been welcomed.
    async fn stay(&mut self, opened: (Connection, Welcome), way: Way, address: &Address) -> Stayed {
        let (mut connection, welcome) = opened;
        self.fallback.opened(way);
        let polls = way == Way::Polls;
        let welcomed_at = Instant::now();
        count(&self.counters.connections);
        let Welcome { client, node, max_message_bytes, .. } = welcome;
        tracing::debug!(client, node, "connected");
        self.state.send_replace(State::Connected { node, client, polls });
        // A gateway that names no limit has none.
        let max_message_bytes = usize::try_from(max_message_bytes).ok().filter(|max| *max > 0).unwrap_or(usize::MAX);
        self.desk.session.connect(Link { max_message_bytes }, welcomed_at);
        let mut told = None;
        let mut upgrade = if polls { Upgrade::At(self.fallback.retry_at(welcomed_at)) } else { Upgrade::None };
        let ended = self.converse(&mut connection, &mut told, &mut upgrade, address).await;
        self.backoff.lasted(welcomed_at.elapsed());
        let ended = match ended {
            Converse::Ended(ended) => ended,
            Converse::Upgraded(better) => {
                // Within a second, while the application is served on the WebSocket.
                tokio::spawn(connection.close());
                return Stayed::Upgraded(better);
            }
            Converse::Close => {
                connection.send(self.desk.session.take_frames());
                connection.close().await;
                return Stayed::Ended(Ended::by_application());
            }
        };
        match self.desk.serve_during(upgrade.instead()).await {
            Some(Some(better)) => return Stayed::Upgraded(Box::new(better)),
            Some(None) => {}
            None => return Stayed::Ended(Ended::by_application()),
        }
        // Where nothing was said there is nobody to answer.
        if ended.code.is_some() && self.desk.serve_during(connection.let_go()).await.is_none() {
            return Stayed::Ended(Ended::by_application());
        }
        Stayed::Ended(Ended { after: told.or(ended.after), ..ended })
    }

    async fn converse(
        &mut self,
        connection: &mut Connection,
        told: &mut Option<Duration>,
        upgrade: &mut Upgrade,
        address: &Address,
    ) -> Converse {
        let mut refresh: Option<Refresh> = None;
        loop {
            connection.send(self.desk.session.take_frames());
            let may_read = self.desk.session.may_read();
            if let Some(better) = upgrade.take(self.desk.session.is_settled()) {
                return Converse::Upgraded(Box::new(better));
            }
            let try_again = || opening(address.clone(), Way::WebSocket, self.config.clone());
            tokio::select! {
                () = upgrade.step(&mut self.fallback, try_again) => {}
                step = connection.step(may_read) => match step {
                    Step::Nothing => {}
                    Step::Ended(ended) => return Converse::Ended(ended),
                    Step::Incoming(incoming) => match self.desk.session.take(incoming, Instant::now()) {
                        Some(Notice::Reconnect(after)) => *told = Some(after),
                        Some(Notice::Expiring(in_ms)) if refresh.is_none() => refresh = self.refresh(in_ms),
                        Some(Notice::Expiring(_)) | None => {}
                    },
                },
                served = self.desk.serve() => match served {
                    Served::Done => {}
                    Served::Close => return Converse::Close,
                    Served::Fault(reason) => return Converse::Ended(Ended::lost(reason)),
                },
                token = next_token(&mut refresh) => {
                    refresh = None;
                    self.show(token);
                }
            }
        }
    }

    fn refresh(&self, in_ms: u64) -> Option<Refresh> {
        let token = self.config.token.clone().filter(|token| !token.is_fixed());
        if token.is_none() {
            tracing::warn!(in_ms, "the token ends soon, and there is nobody to ask for a new one");
        }
        let (token, limit): (Token, Duration) = (token?, self.config.connect_timeout);
        Some(Box::pin(async move { timeout(limit, token.get()).await.ok() }))
    }

    /// Without a new token the gateway closes the connection, and the client comes back with another try.
    fn show(&mut self, token: Option<Result<String, TokenError>>) {
        match token {
            Some(Ok(token)) => self.desk.session.show_token(&token, Instant::now()),
            Some(Err(error)) => tracing::warn!(error = %error, "no new token"),
            None => tracing::warn!("no new token in time"),
        }
    }

    /// Waits for the next attempt, and until the application has read what came before.
    async fn wait(&mut self, ended: Ended) -> Result<(), Ended> {
        let now = Instant::now();
        let wait = match ended.advice {
            // Nothing said when: at once.
            Advice::WhenTold => self.backoff.told(ended.after.unwrap_or_default()),
            Advice::NotBefore => {
                self.addresses.hold_off(after(now, ended.after.unwrap_or_default()));
                self.backoff.next()
            }
            Advice::Backoff | Advice::Never => self.backoff.next(),
        };
        let until = self.addresses.advance(now, wait);
        let Ended { code, reason, .. } = ended;
        tracing::info!(code, reason, wait_ms = until.duration_since(now).as_millis(), "not connected");
        self.state.send_replace(State::Waiting { until, code, reason });
        let mut waited = self.desk.serve_during(sleep_until(until)).await;
        while waited.is_some() && !self.desk.session.may_read() {
            waited = match self.desk.serve().await {
                Served::Close => None,
                Served::Done | Served::Fault(_) => Some(()),
            };
        }
        waited.ok_or_else(Ended::by_application)
    }
}

/// How a conversation came to its end.
enum Converse {
    Ended(Ended),
    /// There is a WebSocket now.
    Upgraded(Box<(Connection, Welcome)>),
    Close,
}

/// How a connection came to its end.
enum Stayed {
    Ended(Ended),
    /// It was given up for a WebSocket.
    Upgraded(Box<(Connection, Welcome)>),
}

fn opening(address: Address, way: Way, config: Arc<Config>) -> Opening {
    Box::pin(async move { open(address, way, &config).await })
}

async fn next_token(refresh: &mut Option<Refresh>) -> Option<Result<String, TokenError>> {
    match refresh {
        Some(refresh) => refresh.await,
        None => std::future::pending().await,
    }
}

impl Desk {
    /// Serves the application until something else is done; `None` if it wants no more.
    async fn serve_during<T>(&mut self, other: impl Future<Output = T>) -> Option<T> {
        let mut other = pin!(other);
        loop {
            tokio::select! {
                done = &mut other => return Some(done),
                served = self.serve() => if served == Served::Close { return None },
            }
        }
    }

    /// Serves the application once. Dropped half-way nothing is lost.
    async fn serve(&mut self) -> Served {
        let deadline = self.session.deadline();
        let blocked = self.session.blocked();
        tokio::select! {
            order = self.orders.recv() => return self.take(order),
            () = self.leaving.any() => self.let_go(),
            room = room(blocked) => self.session.deliver(room, Instant::now()),
            () = at(deadline) => {
                if let Err(fault) = self.session.on_time(Instant::now()) {
                    return Served::Fault(fault);
                }
            }
        }
        Served::Done
    }

    fn take(&mut self, order: Option<Order>) -> Served {
        // A channel that was left may be subscribed to again.
        self.let_go();
        let now = Instant::now();
        match order {
            Some(Order::Subscribe(wanted, answer)) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.session.subscribe(wanted, now));
            }
            Some(Order::Publish(outbound)) => self.session.publish(outbound, now),
            Some(Order::Ask(question)) => self.session.ask(question),
            Some(Order::ReadMessages(inbox, answer)) => {
                self.session.set_inbox(inbox);
                let _ = answer.send(());
            }
            Some(Order::Close) | None => return Served::Close,
        }
        Served::Done
    }

    fn let_go(&mut self) {
        for (channel, serial) in self.leaving.take() {
            self.session.leave(&channel, serial, Instant::now());
        }
    }
}

async fn room(blocked: Option<Stream>) -> Room {
    match blocked {
        Some(stream) => stream.room().await,
        None => std::future::pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
