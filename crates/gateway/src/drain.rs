//! Sending connections away, at the pace of the whole node: every client is told to come back elsewhere, and they are
//! closed in waves, so that the other nodes see a steady trickle instead of a storm.

use crate::inbox::Item;
use crate::node::Node;
use crate::shedding::pace::{Pace, WAVE_INTERVAL, shares};
use crate::shedding::{Begun, Conflict, Occasion, Shed, Wanted};
use protocol::CloseCode;
use std::sync::Arc;
use tokio::time::MissedTickBehavior;

/// Begins what is wanted; nothing happens when the same is under way. Must be called in a tokio runtime.
///
/// # Errors
/// When something else is under way: one at a time.
pub fn begin(node: &Arc<Node>, wanted: Wanted) -> Result<(), Conflict> {
    let Begun::New(shed, shares) = node.shedding.begin(wanted)? else { return Ok(()) };
    let occasion = shed.occasion.name();
    node.metrics.sheds.with_label_values(&[occasion]).inc();
    tracing::info!(occasion, connections = shed.total, window = ?shed.window, "connections are sent away");
    if !shed.longer_away.is_zero() {
        tracing::warn!(
            stay_away = ?shed.longer_away,
            "the window is too short for so many at drain.rate: it is kept, and the last are told to come back that much later"
        );
    }
    for (inbox, share) in node.router.inboxes().iter().zip(shares) {
        // Where all go, so do those whom nobody has counted yet.
        let share = if shed.occasion == Occasion::Rebalance { share } else { usize::MAX };
        inbox.put(Item::Shed { shed: shed.clone(), share });
    }
    tokio::spawn(run(node.clone(), shed));
    Ok(())
}

/// Begins to stop, whatever is under way: as a signal does.
pub fn stop(node: &Arc<Node>) {
    let wanted = Wanted { insists: true, ..Wanted::all(Occasion::Stop, node.config.drain.window) };
    if let Err(conflict) = begin(node, wanted) {
        // Nothing is in the way of one who insists.
        tracing::error!(%conflict, "the node does not stop");
    }
}

/// Takes connections again after a rest; true if it did not before.
///
/// # Errors
/// When the node stops.
pub fn resume(node: &Arc<Node>) -> Result<bool, Conflict> {
    let Some(shed) = node.shedding.resume()? else { return Ok(false) };
    tracing::info!("connections are taken again");
    node.tell_workers(|| Item::ShedEnds { shed: shed.clone(), closes_rest: false });
    Ok(true)
}

/// Sends waves until nobody is left or the window is over.
async fn run(node: Arc<Node>, shed: Arc<Shed>) {
    let mut pace = Pace::default();
    let mut every = tokio::time::interval(WAVE_INTERVAL);
    every.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = shed.over.cancelled() => return,
        }
        if is_done(&node, &shed) {
            break;
        }
        let left = shed.left_by_worker();
        let wave = pace.wave(left.iter().sum(), shed.time_left());
        for (inbox, share) in node.router.inboxes().iter().zip(shares(wave, &left)) {
            inbox.put(Item::Wave { shed: shed.clone(), count: share });
        }
    }
    end(&node, &shed);
}

fn is_done(node: &Node, shed: &Shed) -> bool {
    let is_over = shed.time_left().is_zero();
    match shed.occasion {
        // Those who are closed have a moment to answer, and count until then.
        Occasion::Stop | Occasion::Rest => is_over || node.shedding.open() == 0,
        Occasion::Rebalance => is_over || shed.left() == 0,
        Occasion::Isolation => is_over || shed.left() == 0 || node.has_broker(),
    }
}

/// Closes whoever is left where all have to go; elsewhere those stay who always had a publication under way.
fn end(node: &Node, shed: &Arc<Shed>) {
    // Whoever has taken its place goes on with those who are left.
    if !node.shedding.finish(shed) {
        return;
    }
    let ends = |closes_rest| move || Item::ShedEnds { shed: shed.clone(), closes_rest };
    tracing::info!(occasion = shed.occasion.name(), left = node.shedding.open(), "done sending connections away");
    match shed.occasion {
        Occasion::Stop => node.tell_workers(|| Item::Stop(CloseCode::Draining)),
        Occasion::Rest => node.tell_workers(ends(true)),
        Occasion::Isolation | Occasion::Rebalance => node.tell_workers(ends(false)),
    }
}
