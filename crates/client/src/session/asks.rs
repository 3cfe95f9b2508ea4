//! Questions that wait for the gateway's answer on the present connection.

use super::Link;
use crate::wire::Reply;
use crate::{Closed, Refusal, RequestError};
use std::collections::{BTreeSet, HashMap};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Unanswered questions at a time.
const WAITING_MAX: usize = 256;

/// A question that an application asks.
#[derive(Debug)]
pub(crate) struct Question {
    /// The id of the command.
    pub(crate) id: u64,
    /// The command.
    pub(crate) text: String,
    pub(crate) deadline: Instant,
    pub(crate) answer: Answer,
}

/// Who wants to know.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The application.
    To(oneshot::Sender<Result<Reply, RequestError>>),
    /// Nobody but the log, of a new token.
    OfToken,
}

/// The questions, by the id of their command.
#[derive(Debug, Default)]
pub(super) struct Asks {
    waiting: HashMap<u64, (Instant, Answer)>,
    expiries: BTreeSet<(Instant, u64)>,
}

impl Asks {
    /// Takes a question and returns what to send, if there is a way to ask it.
    pub(super) fn add(&mut self, question: Question, link: Option<&Link>) -> Option<String> {
        let Question { id, text, deadline, answer } = question;
        let bytes = text.len();
        let error = match link {
            None => RequestError::Offline,
            Some(link) if bytes > link.max_message_bytes => {
                RequestError::TooLarge { bytes, max: link.max_message_bytes }
            }
            Some(_) if self.waiting.len() >= WAITING_MAX => RequestError::QueueFull,
            Some(_) => {
                self.expiries.insert((deadline, id));
                self.waiting.insert(id, (deadline, answer));
                return Some(text);
            }
        };
        answer.give(Err(error));
        None
    }

    /// The answer to one of them; to others it is passed over, as their time has run out.
    pub(super) fn answer(&mut self, id: u64, result: Result<Reply, Refusal>) {
        if let Some((deadline, answer)) = self.waiting.remove(&id) {
            self.expiries.remove(&(deadline, id));
            answer.give(result.map_err(RequestError::Refused));
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The connection is lost.
    pub(super) fn disconnect(&mut self) {
        self.give_up(|| RequestError::ConnectionLost);
    }

    /// This client is closed.
    pub(super) fn close(&mut self) {
        self.give_up(|| Closed.into());
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.expiries.first().copied().filter(|(deadline, _)| *deadline <= now) {
            self.expiries.remove(&(deadline, id));
            if let Some((_, answer)) = self.waiting.remove(&id) {
                answer.give(Err(RequestError::TimedOut));
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.expiries.first().map(|(deadline, _)| *deadline)
    }

    fn give_up(&mut self, why: impl Fn() -> RequestError) {
        self.expiries.clear();
        for (_, (_, answer)) in self.waiting.drain() {
            answer.give(Err(why()));
        }
    }
}

impl Answer {
    fn give(self, result: Result<Reply, RequestError>) {
        match (self, result) {
            // Whoever asked may have gone.
            (Self::To(asker), result) => drop(asker.send(result)),
            (Self::OfToken, Ok(Reply::Authed { user, expires_in })) => {
                tracing::debug!(user, expires_in, "the gateway took the new token");
            }
            (Self::OfToken, Ok(_)) => tracing::warn!("the gateway answered something else than `authed`"),
            (Self::OfToken, Err(error)) => tracing::warn!(%error, "the gateway did not take the new token"),
        }
    }
}
