//! Where Socket.IO connections are in their channels: their clients are told at the end of a turn, and bring it back.

use super::Local;
use super::connection::Connection;
use crate::session::Stage;
use crate::websocket::Frames;
use protocol::dialect::Dialect;
use protocol::dialect::socketio::encode;
use protocol::dialect::socketio::positions::{self, Place};
use std::rc::Rc;

impl Local {
    /// Has a connection's client told where it is in its channels, at the end of this turn, if that is of use to it.
    pub fn note_places(&self, connection: &Rc<Connection>) {
        if !matches!(&connection.dialect, Dialect::SocketIo(rules) if rules.recovers) {
            return;
        }
        let mut state = connection.state.borrow_mut();
        let Some(engine) = &mut state.engine else { return };
        if !std::mem::replace(&mut engine.positions_due, true) {
            self.positions_due.borrow_mut().push(connection.clone());
            self.gathered.notify_one();
        }
    }

    /// Tells all whose places have changed.
    pub fn tell_places(&self) {
        let due = std::mem::take(&mut *self.positions_due.borrow_mut());
        due.iter().for_each(|connection| self.tell_places_of(connection));
    }

    /// Tells one, if that is due: at the end of a turn, or before a close that comes earlier. Without it the client could not
    /// be recovered.
    pub fn tell_places_of(&self, connection: &Rc<Connection>) {
        let Dialect::SocketIo(rules) = &connection.dialect else { return };
        let entered: Vec<u8> = {
            let mut state = connection.state.borrow_mut();
            let Some(engine) = state.engine.as_mut().filter(|engine| engine.positions_due) else { return };
            engine.positions_due = false;
            engine.session.namespaces().collect()
        };
        let places = self.places_of(connection);
        let mut buffer = Vec::new();
        for namespace in entered {
            let here: Vec<Place> = places.iter().filter(|(c, _)| rules.room(c).0 == namespace).cloned().collect();
            encode::positions(rules, namespace, &positions::write(&here), &mut Frames::new(&mut buffer));
        }
        self.send_frames(connection, &buffer);
    }

    /// The channels that a connection is in, and up to where it has everything.
    pub fn places_of(&self, connection: &Connection) -> Vec<Place> {
        let state = connection.state.borrow();
        let mut hub = self.hub.borrow_mut();
        let mut places = Vec::new();
        for subscription in state.session.subscriptions() {
            let Stage::Active(index) = subscription.stage else { continue };
            let position = hub.entry(&subscription.channel).and_then(|entry| entry.position_of(index));
            places.push((subscription.channel.clone(), position));
        }
        places
    }
}
