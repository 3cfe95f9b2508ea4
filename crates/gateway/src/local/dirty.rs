//! Which sockets the end of a turn writes: first those of answers and small channels, then those of a crowd.
//!
//! One message to 5,000 subscribers keeps a worker writing for 30 ms and more. Whoever is told something else meanwhile, be
//! it in the same turn or one of those 5,000, waits for a slice of that and not for its end.

use super::Local;
use super::connection::Connection;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// A channel with more subscribers on its worker is a crowd.
const CROWD: usize = 64;

/// Whether a connection is to be written, and how soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dirty {
    /// Nothing has been put into its outbox since it was written.
    #[default]
    No,
    /// It has been handed something as one of a crowd.
    Crowd,
    /// It has been told something else too.
    Soon,
}

/// Connections that are to be written.
#[derive(Debug, Default)]
pub struct DirtyLists {
    soon: RefCell<Vec<Rc<Connection>>>,
    crowd: RefCell<Vec<Rc<Connection>>>,
    /// Set while a crowd is handed something.
    is_crowd: Cell<bool>,
}

impl Local {
    /// What is handed to so many subscribers until [`Self::end_handing`] makes them dirty as a crowd, if they are one.
    pub fn begin_handing(&self, subscribers: usize) {
        self.dirty.is_crowd.set(subscribers > CROWD);
    }

    /// From here on everybody is told something of their own again.
    pub fn end_handing(&self) {
        self.dirty.is_crowd.set(false);
    }

    /// Has a connection flushed at the end of the turn.
    pub fn mark_dirty(&self, connection: &Rc<Connection>) {
        let is_crowd = self.dirty.is_crowd.get();
        {
            let mut state = connection.state.borrow_mut();
            // One that waits for its socket is flushed by that.
            if state.is_writing || state.dirty == Dirty::Soon || (is_crowd && state.dirty == Dirty::Crowd) {
                return;
            }
            state.dirty = if is_crowd { Dirty::Crowd } else { Dirty::Soon };
        }
        let is_first = !self.has_dirty();
        let list = if is_crowd { &self.dirty.crowd } else { &self.dirty.soon };
        list.borrow_mut().push(connection.clone());
        if is_first {
            self.gathered.notify_one();
        }
    }

    /// Whether anybody is dirty whom the end of the turn has not taken yet.
    pub fn has_dirty(&self) -> bool {
        !self.dirty.soon.borrow().is_empty() || !self.dirty.crowd.borrow().is_empty()
    }

    /// Takes those who are told something of their own, and those of crowds. Some of these may have been told something else
    /// since, and be written by the time that it is their turn.
    pub fn take_dirty(&self, soon: &mut VecDeque<Rc<Connection>>, crowd: &mut VecDeque<Rc<Connection>>) {
        soon.extend(self.dirty.soon.borrow_mut().drain(..));
        crowd.extend(self.dirty.crowd.borrow_mut().drain(..));
    }
}
