//! What the application's handles ask of their client's task.

use crate::SubscribeError;
use crate::event::Message;
use crate::session::{Outbound, Question, Wanted};
use protocol::Channel;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::sync::{mpsc, oneshot};

/// One order.
#[derive(Debug)]
pub(crate) enum Order {
    Subscribe(Wanted, oneshot::Sender<Result<(), SubscribeError>>),
    Publish(Outbound),
    Ask(Question),
    /// Deliver private messages there; answered once it is so.
    ReadMessages(mpsc::Sender<Message>, oneshot::Sender<()>),
    Close,
}

/// Subscriptions that were dropped: a drop cannot wait for room in the queue of orders. At most one entry for each
/// subscription there is.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    gone: Mutex<Vec<(Channel, u64)>>,
    any: Notify,
}

impl Leaving {
    pub(crate) fn add(&self, channel: Channel, serial: u64) {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).push((channel, serial));
        self.any.notify_one();
    }

    /// Waits until there is one.
    pub(crate) async fn any(&self) {
        self.any.notified().await;
    }

    pub(crate) fn take(&self) -> Vec<(Channel, u64)> {
        std::mem::take(&mut *self.gone.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
