//! Draining: every client is told to come back elsewhere, and they are closed in waves at a set pace, so that the other
//! nodes see a steady trickle instead of a storm.

use crate::inbox::{Inbox, Item, Occasion};
use crate::local::Local;
use crate::local::connection::Connection;
use protocol::CloseCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How far waves are apart.
const WAVE_INTERVAL: Duration = Duration::from_millis(250);

/// Clients of one wave come back spread over this long after their close.
const AFTER_MAX_MS: u64 = 1000;

/// Tells every client and closes them over the window.
pub(super) async fn run(local: Rc<Local>, inbox: Arc<Inbox>, window: Duration, occasion: Occasion) {
    let began = Instant::now();
    let end = began + window;
    let mut left: Vec<_> = local.connections.borrow().values().cloned().collect();
    fastrand::shuffle(&mut left);
    for connection in &left {
        let after_ms = fastrand::u64(..AFTER_MAX_MS);
        local.tell_to_come_back(connection, after_ms, CloseCode::Draining);
    }
    let mut next_wave = began;
    while !left.is_empty() && Instant::now() < end {
        next_wave += WAVE_INTERVAL;
        wait_until(&local, next_wave.min(end)).await;
        if occasion == Occasion::Isolated && local.node.readiness().is_ok() {
            return;
        }
        left.retain(|connection| !connection.has_ended());
        let size = wave_size(left.len(), end.saturating_duration_since(Instant::now()));
        close_wave(&local, &mut left, size);
    }
    if occasion == Occasion::Stopping {
        inbox.put(Item::Stop(CloseCode::Draining));
    }
}

/// The share of those left that keeps the pace: all of them when there is no time for another wave.
fn wave_size(left: usize, time_left: Duration) -> usize {
    let waves_after = time_left.as_millis() / WAVE_INTERVAL.as_millis();
    left.div_ceil(usize::try_from(waves_after).unwrap_or(usize::MAX).saturating_add(1))
}

/// Closes so many; those with a publication under way wait for its answer and go with a later wave.
fn close_wave(local: &Rc<Local>, left: &mut Vec<Rc<Connection>>, size: usize) {
    let (busy, ready): (Vec<_>, Vec<_>) = left.drain(..).partition(|c| c.state.borrow().publishing > 0);
    let mut ready = ready.into_iter();
    for connection in ready.by_ref().take(size) {
        local.close(&connection, CloseCode::Draining);
    }
    left.extend(ready);
    left.extend(busy);
}

/// Waits, but no longer than until the last connection has gone by itself.
async fn wait_until(local: &Local, deadline: Instant) {
    let emptied = async {
        while !local.connections.borrow().is_empty() {
            local.emptied.notified().await;
        }
    };
    // Either way the next wave is due.
    let _ = timeout_at(deadline, emptied).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_are_even_and_the_last_takes_the_rest() {
        let ms = Duration::from_millis;
        assert_eq!(wave_size(1000, ms(2250)), 100);
        assert_eq!(wave_size(900, ms(2000)), 100);
        assert_eq!(wave_size(3, ms(20_000)), 1);
        assert_eq!(wave_size(50, ms(0)), 50);
        assert_eq!(wave_size(50, ms(249)), 50);
    }
}
