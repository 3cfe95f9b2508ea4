//! A worker's share of those who are sent away: told at once when to come back, closed wave by wave.

use super::Local;
use super::connection::Connection;
use crate::shedding::pace::{AFTER_MAX_MS, away};
use crate::shedding::{Mode, Occasion, Shed};
use protocol::CloseCode;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// Those who are to go, in the order in which they do.
#[derive(Debug)]
pub struct Going {
    shed: Arc<Shed>,
    left: VecDeque<Rc<Connection>>,
}

impl Local {
    /// Chooses so many by chance and tells them.
    pub fn begin_shedding(&self, shed: Arc<Shed>, share: usize) {
        let mut chosen: Vec<_> = self.connections.borrow().values().filter(|c| !c.has_ended()).cloned().collect();
        fastrand::shuffle(&mut chosen);
        chosen.truncate(share);
        for (place, connection) in chosen.iter().enumerate() {
            self.tell_to_go(connection, &shed, place, chosen.len());
        }
        shed.set_left(self.index, chosen.len());
        *self.going.borrow_mut() = Some(Going { shed, left: chosen.into() });
    }

    /// Has a connection go along whose handshake was done when all were told already.
    pub fn join_shedding(&self, connection: &Rc<Connection>) {
        if let Some(going) = &mut *self.going.borrow_mut() {
            if going.shed.occasion != Occasion::Rebalance {
                going.left.push_back(connection.clone());
                self.tell_to_go(connection, &going.shed, 1, 1);
            }
        } else if self.node.shedding.mode() == Mode::Resting {
            self.close(connection, CloseCode::Draining);
        }
    }

    fn tell_to_go(&self, connection: &Rc<Connection>, shed: &Shed, place: usize, of: usize) {
        let longer_ms = u64::try_from(away(shed.longer_away, place, of).as_millis()).unwrap_or(u64::MAX);
        let after_ms = longer_ms.saturating_add(fastrand::u64(..AFTER_MAX_MS));
        self.tell_to_come_back(connection, after_ms, shed.occasion.code());
    }

    /// Closes so many; those with a publication under way wait for its answer and go with a later wave.
    pub fn close_wave(&self, shed: &Arc<Shed>, count: usize) {
        let Some(mut going) = self.take_going(shed) else { return };
        // Those who left by themselves hold a place and a file no longer.
        going.left.retain(|connection| !connection.has_ended());
        let mut closed = 0;
        for _ in 0..going.left.len() {
            if closed == count {
                break;
            }
            let Some(connection) = going.left.pop_front() else { break };
            if connection.state.borrow().publishing > 0 {
                going.left.push_back(connection);
                continue;
            }
            self.close_going(&connection, &going.shed);
            closed += 1;
        }
        going.shed.set_left(self.index, going.left.len());
        *self.going.borrow_mut() = Some(going);
    }

    /// Ends it: the others stay, or all of them are closed now.
    pub fn end_shedding(&self, shed: &Arc<Shed>, closes_rest: bool) {
        let Some(going) = self.take_going(shed) else { return };
        if closes_rest {
            let rest: Vec<_> = self.connections.borrow().values().filter(|c| !c.has_ended()).cloned().collect();
            rest.iter().for_each(|connection| self.close_going(connection, &going.shed));
        }
        going.shed.set_left(self.index, 0);
    }

    /// Takes them out, unless another shedding has begun since this one was spoken of.
    fn take_going(&self, shed: &Arc<Shed>) -> Option<Going> {
        self.going.borrow_mut().take_if(|going| Arc::ptr_eq(&going.shed, shed))
    }

    fn close_going(&self, connection: &Rc<Connection>, shed: &Shed) {
        self.node.metrics.shed_connections.with_label_values(&[shed.occasion.name()]).inc();
        self.close(connection, shed.occasion.code());
    }
}
