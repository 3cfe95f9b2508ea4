//! The handle that applications hold.

use crate::address::{Address, Addresses};
use crate::backoff::{Backoff, after};
use crate::config::Config;
use crate::driver::{Desk, Driver};
use crate::fallback::Fallback;
use crate::order::{Leaving, Order};
use crate::request::{HistoryOptions, PublishOptions, Published, json, name};
use crate::session::{Answer, Ids, Limits, Outbound, Question, Session, Wanted};
use crate::stats::{Counters, Stats};
use crate::wire::{Command, Reply, Since, encode};
use crate::{
    Closed, ConfigError, History, Invalid, Messages, PublishError, RequestError, State, SubscribeError,
    SubscribeOptions, Subscription,
};
use protocol::{Channel, Members};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

/// Orders that wait for the client's task, which never keeps them waiting for the network.
const ORDERS_MAX: usize = 64;

/// A connection to the gateway that comes back by itself. Clones share it. It is closed by [`Client::close`], by the
/// gateway, or once the last clone and the last [`Subscription`] are dropped.
#[derive(Debug, Clone)]
pub struct Client {
    config: Arc<Config>,
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<State>,
    leaving: Arc<Leaving>,
    counters: Arc<Counters>,
    ids: Ids,
}

impl Client {
    /// Begins to connect, and from then on stays connected. To be called within a tokio runtime.
    pub fn connect(config: Config) -> Result<Self, ConfigError> {
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let may_be_tls = config.transport.may_be_tls();
        let addresses = config.urls.iter().map(|url| Address::parse(url, may_be_tls)).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(ConfigError::NoUrl);
        }
        let mut random = fastrand::Rng::new();
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let (told, state) = watch::channel(State::Connecting);
        let (ids, counters, leaving) = (Ids::default(), Arc::<Counters>::default(), Arc::<Leaving>::default());
        let limits = Limits { messages: config.queue_messages, bytes: config.queue_bytes };
        let session = Session::new(ids.clone(), limits, config.command_timeout, counters.clone(), random.fork());
        let config = Arc::new(config);
        let driver = Driver {
            config: config.clone(),
            addresses: Addresses::new(addresses, &mut random),
            fallback: Fallback::new(config.may_poll, random.fork()),
            backoff: Backoff::new(config.backoff_first, config.backoff_ceiling, random),
            state: told,
            counters: counters.clone(),
            desk: Desk { orders: taken, leaving: leaving.clone(), session },
        };
        runtime.spawn(driver.run());
        Ok(Self { config, orders, state, leaving, counters, ids })
    }

    /// How it is doing, and how that changes.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Waits until it is connected; at once if it is.
    pub async fn connected(&self) -> Result<(), Closed> {
        let mut state = self.state();
        let state = state.wait_for(|state| state.is_connected() || state.is_closed()).await.map_err(|_| Closed)?;
        if state.is_connected() { Ok(()) } else { Err(Closed) }
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    /// Subscribes to a channel, now and again after every reconnect. This does not wait for the gateway: whether it
    /// allows that is said by the first event. A channel has one subscription at a time.
    pub async fn subscribe(
        &self,
        channel: &Channel,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        let SubscribeOptions { members, state, recover, token, capacity } = options;
        let (stream, events) = mpsc::channel(capacity.clamp(1, Semaphore::MAX_PERMITS));
        let (answer, answered) = oneshot::channel();
        let serial = self.ids.next();
        let (channel_wanted, recover_wanted) = (channel.clone(), recover.clone());
        let wanted = Wanted { serial, channel: channel_wanted, members, state, recover: recover_wanted, token, stream };
        // Made before it is ordered: whatever drops this future drops it, and so lets go of it.
        let (leaving, orders) = (self.leaving.clone(), self.orders.clone());
        let subscription = Subscription::new(channel.clone(), serial, events, recover, leaving, orders);
        self.order(Order::Subscribe(wanted, answer)).await?;
        answered.await.map_err(|_| Closed)??;
        Ok(subscription)
    }

    /// Publishes `data`, any JSON value, to all subscribers of a channel, and waits for the gateway's answer.
    ///
    /// While there is no connection it waits in a queue, and a refusal that passes is repeated, both within
    /// [`PublishOptions::timeout`]. One that was on its way when the connection broke is repeated only if it has a key,
    /// because it may have been delivered. Publications go out in the order of the calls; one that had to be repeated may
    /// come after a younger one. Dropped before it is sent it is not sent; dropped later it may be delivered.
    pub async fn publish<T: Serialize + ?Sized>(
        &self,
        channel: &Channel,
        data: &T,
        options: PublishOptions,
    ) -> Result<Published, PublishError> {
        let PublishOptions { event, key, retain, volatile, echo, timeout } = options;
        let (event, key, retain) = (event.as_deref(), key.as_deref(), retain.as_deref());
        name("an event", event)?;
        name("a key", key)?;
        name("a key to retain under", retain)?;
        let data = json(data)?;
        let id = self.ids.next();
        let command = Command::Publish { id: Some(id), channel, data: &data, event, key, retain, volatile, echo };
        let text = encode(&command).map_err(Invalid::from)?;
        let (answer, answered) = oneshot::channel();
        let outbound = Outbound {
            id,
            channel: channel.clone(),
            text,
            has_key: key.is_some(),
            is_volatile: volatile,
            is_silent: !echo && !volatile,
            deadline: after(Instant::now(), timeout.unwrap_or(self.config.publish_timeout)),
            answer,
        };
        self.order(Order::Publish(outbound)).await?;
        answered.await.unwrap_or(Err(Closed.into()))
    }

    /// Sends a private message to one connection, at most once. `to` is its id: the `client` of a publication's `from`,
    /// or of its own [`State::Connected`].
    pub async fn send<T: Serialize + ?Sized>(
        &self,
        to: &str,
        data: &T,
        event: Option<&str>,
    ) -> Result<(), RequestError> {
        name("a connection's id", Some(to))?;
        name("an event", event)?;
        let data = json(data)?;
        match self.ask(|id| Command::Send { id, to, data: &data, event }).await? {
            Reply::Sent => Ok(()),
            _ => Err(RequestError::WrongAnswer),
        }
    }

    /// Private messages from now on, with room for so many unread ones. One reader at a time: an earlier one's stream
    /// ends. While nobody reads them they are passed over.
    pub async fn messages(&self, capacity: usize) -> Result<Messages, Closed> {
        let (inbox, messages) = mpsc::channel(capacity.clamp(1, Semaphore::MAX_PERMITS));
        let (answer, answered) = oneshot::channel();
        self.order(Order::ReadMessages(inbox, answer)).await?;
        answered.await.map_err(|_| Closed)?;
        Ok(Messages::new(messages))
    }

    /// Who is in a channel. In large channels [`Members::list`] is absent.
    pub async fn presence(&self, channel: &Channel) -> Result<Members, RequestError> {
        self.ask_presence(channel, false).await
    }

    /// How many are in a channel: cheap for the gateway.
    pub async fn presence_count(&self, channel: &Channel) -> Result<Members, RequestError> {
        self.ask_presence(channel, true).await
    }

    async fn ask_presence(&self, channel: &Channel, count_only: bool) -> Result<Members, RequestError> {
        match self.ask(|id| Command::Presence { id, channel, count_only }).await? {
            Reply::Presence(members) => Ok(members),
            _ => Err(RequestError::WrongAnswer),
        }
    }

    /// A channel's past.
    pub async fn history(&self, channel: &Channel, options: HistoryOptions) -> Result<History, RequestError> {
        let HistoryOptions { limit, since, reverse } = options;
        let since = since.as_ref().map(Since::from);
        match self.ask(|id| Command::History { id, channel, limit, since, reverse }).await? {
            Reply::History(history) => Ok(history),
            _ => Err(RequestError::WrongAnswer),
        }
    }

    /// The round trip to the gateway.
    pub async fn ping(&self) -> Result<Duration, RequestError> {
        let asked_at = Instant::now();
        match self.ask(|id| Command::Ping { id }).await? {
            Reply::Pong => Ok(asked_at.elapsed()),
            _ => Err(RequestError::WrongAnswer),
        }
    }

    /// Closes for good, for all clones. Publications that have not been answered are given up; subscriptions end once
    /// they have been read to their end.
    pub async fn close(&self) {
        let mut state = self.state();
        // Either way it is over.
        let _ = self.order(Order::Close).await;
        let _ = state.wait_for(State::is_closed).await;
    }

    async fn ask<'a>(&self, command: impl FnOnce(Option<u64>) -> Command<'a>) -> Result<Reply, RequestError> {
        let id = self.ids.next();
        let text = encode(&command(Some(id))).map_err(Invalid::from)?;
        let (answer, answered) = oneshot::channel();
        let deadline = after(Instant::now(), self.config.command_timeout);
        self.order(Order::Ask(Question { id, text, deadline, answer: Answer::To(answer) })).await?;
        answered.await.unwrap_or(Err(Closed.into()))
    }

    async fn order(&self, order: Order) -> Result<(), Closed> {
        self.orders.send(order).await.map_err(|_| Closed)
    }
}
