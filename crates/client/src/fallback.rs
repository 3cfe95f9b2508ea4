//! Which way to the gateway is taken: a WebSocket, or long polling where no WebSocket can be opened, and the way back.

use crate::advice::{Advice, Ended};
use crate::backoff::after;
use crate::connection::Connection;
use crate::wire::Welcome;
use futures_util::future::BoxFuture;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Attempts in a row that open no WebSocket, before polls are tried.
const FAILURES: u32 = 2;

/// The same where WebSockets have worked before: it is more likely the network that is gone.
const FAILURES_AFTER_SUCCESS: u32 = 4;

/// When a client that polls tries a WebSocket again, at first; then twice as long each time.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// What that grows to.
const LONGEST_RETRY: Duration = Duration::from_secs(600);

/// How long a WebSocket that is there waits for what has been asked by polls.
const SETTLING: Duration = Duration::from_secs(2);

/// A way to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// One WebSocket.
    WebSocket,
    /// Requests that wait.
    Polls,
}

/// What is known of the ways.
#[derive(Debug)]
pub(crate) struct Fallback {
    may_poll: bool,
    has_worked: bool,
    failures: u32,
    way: Way,
    retry: Duration,
    random: fastrand::Rng,
}

impl Fallback {
    pub(crate) fn new(may_poll: bool, random: fastrand::Rng) -> Self {
        Self { may_poll, has_worked: false, failures: 0, way: Way::WebSocket, retry: FIRST_RETRY, random }
    }

    /// The way of the next attempt.
    pub(crate) fn way(&self) -> Way {
        self.way
    }

    /// A connection was welcomed.
    pub(crate) fn opened(&mut self, way: Way) {
        self.way = way;
        if way == Way::WebSocket {
            (self.has_worked, self.failures, self.retry) = (true, 0, FIRST_RETRY);
        }
    }

    /// An attempt ended before a welcome. What the gateway itself refused says nothing about the way, and neither does a
    /// stream of bytes that was not to be had.
    pub(crate) fn failed(&mut self, way: Way, ended: &Ended) {
        if !self.may_poll || !ended.is_reached || ended.advice != Advice::Backoff || ended.code.is_some() {
            return;
        }
        match way {
            // Neither way. At random from here on: addresses are taken in turn, and ways that were taken in turn too might
            // never meet the one that is right for a node.
            Way::Polls => self.way = if self.random.bool() { Way::WebSocket } else { Way::Polls },
            Way::WebSocket => {
                self.failures = self.failures.saturating_add(1);
                let bound = if self.has_worked { FAILURES_AFTER_SUCCESS } else { FAILURES };
                if self.failures >= bound {
                    self.way = Way::Polls;
                }
            }
        }
    }

    /// When a client that polls now tries a WebSocket.
    pub(crate) fn retry_at(&mut self, now: Instant) -> Instant {
        let at = after(now, self.retry);
        self.retry = (self.retry * 2).min(LONGEST_RETRY);
        at
    }
}

/// An opening on its way.
pub(crate) type Opening = BoxFuture<'static, Result<(Connection, Welcome), Ended>>;

/// The way back to a WebSocket, of a connection that polls.
pub(crate) enum Upgrade {
    /// There is nothing better.
    None,
    /// To be tried then.
    At(Instant),
    /// Being tried.
    Trying(Opening),
    /// It is there, and taken at the latest then.
    There(Box<(Connection, Welcome)>, Instant),
}

impl Upgrade {
    /// Waits until there is something to do, and does it. Dropped half-way nothing is lost.
    pub(crate) async fn step(&mut self, fallback: &mut Fallback, open: impl FnOnce() -> Opening) {
        *self = match self {
            Self::None => return std::future::pending().await,
            Self::At(at) => {
                sleep_until(*at).await;
                Self::Trying(open())
            }
            Self::Trying(opening) => match opening.await {
                Ok(opened) => Self::There(Box::new(opened), after(Instant::now(), SETTLING)),
                Err(ended) => {
                    tracing::debug!(reason = ended.reason, "still no WebSocket");
                    Self::At(fallback.retry_at(Instant::now()))
                }
            },
            Self::There(_, at) => return sleep_until(*at).await,
        };
    }

    /// The WebSocket, once nothing that was asked by polls is without an answer, or has been for too long.
    pub(crate) fn take(&mut self, is_settled: bool) -> Option<(Connection, Welcome)> {
        match std::mem::replace(self, Self::None) {
            Self::There(opened, at) if is_settled || at <= Instant::now() => Some(*opened),
            other => {
                *self = other;
                None
            }
        }
    }

    /// The WebSocket after all, where the polls have ended: whichever of the two the gateway has preferred.
    pub(crate) async fn instead(self) -> Option<(Connection, Welcome)> {
        match self {
            Self::There(opened, _) => Some(*opened),
            Self::Trying(opening) => opening.await.ok(),
            Self::None | Self::At(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Ended {
        Ended::lost("no")
    }

    fn new(may_poll: bool) -> Fallback {
        Fallback::new(may_poll, fastrand::Rng::with_seed(1))
    }

    #[test]
    fn two_failures_lead_to_polls_and_where_those_fail_both_ways_are_tried() {
        let mut fallback = new(true);
        fallback.failed(Way::WebSocket, &lost());
        assert_eq!(fallback.way(), Way::WebSocket);
        fallback.failed(Way::WebSocket, &lost());
        assert_eq!(fallback.way(), Way::Polls);
        let ways: Vec<_> = (0..100)
            .map(|_| {
                fallback.failed(fallback.way(), &lost());
                fallback.way()
            })
            .collect();
        let polls = ways.iter().filter(|way| **way == Way::Polls).count();
        assert!((40..90).contains(&polls), "{polls} of 100");
        fallback.opened(Way::Polls);
        fallback.failed(Way::Polls, &Ended::unreachable("it is not there"));
        assert_eq!(fallback.way(), Way::Polls);
    }

    #[test]
    fn where_websockets_have_worked_it_takes_four() {
        let mut fallback = new(true);
        fallback.opened(Way::WebSocket);
        for _ in 0..3 {
            fallback.failed(Way::WebSocket, &lost());
        }
        assert_eq!(fallback.way(), Way::WebSocket);
        fallback.failed(Way::WebSocket, &lost());
        assert_eq!(fallback.way(), Way::Polls);
    }

    #[test]
    fn what_the_gateway_refuses_is_no_reason_to_poll_and_neither_is_anything_where_nobody_may() {
        let mut fallback = new(true);
        for ended in
            [Ended::refused(401, None), Ended::refused(503, Some(3)), Ended::closed(4100, ""), Ended::unreachable("")]
        {
            (0..9).for_each(|_| fallback.failed(Way::WebSocket, &ended));
            assert_eq!(fallback.way(), Way::WebSocket, "{ended:?}");
        }
        let mut fallback = new(false);
        (0..9).for_each(|_| fallback.failed(Way::WebSocket, &lost()));
        assert_eq!(fallback.way(), Way::WebSocket);
    }

    #[tokio::test(start_paused = true)]
    async fn a_websocket_is_tried_ever_more_seldom() {
        let mut fallback = new(true);
        let now = Instant::now();
        let waits: Vec<_> = (0..6).map(|_| fallback.retry_at(now).duration_since(now).as_secs()).collect();
        assert_eq!(waits, [60, 120, 240, 480, 600, 600]);
        fallback.opened(Way::WebSocket);
        assert_eq!(fallback.retry_at(now).duration_since(now).as_secs(), 60);
    }
}
