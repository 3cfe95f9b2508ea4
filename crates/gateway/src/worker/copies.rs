//! One turn's deliveries in all their forms, each made once for all who take it.

use crate::hub::fanout::{Encoded, Turn};
use crate::local::Local;
use crate::websocket::deflate::Window;
use protocol::dialect::Encoding;

/// A turn's deliveries in each form that somebody takes them in: encoded once, and compressed once.
pub(super) struct Copies<'a> {
    /// The deliveries.
    pub(super) turn: Turn<'a>,
    plain: [Option<Encoded>; Encoding::COUNT],
    compressed: [[Option<Encoded>; Window::COUNT]; Encoding::COUNT],
}

impl<'a> Copies<'a> {
    /// Nothing encoded yet.
    pub(super) fn of(turn: Turn<'a>) -> Self {
        Self { turn, plain: Default::default(), compressed: Default::default() }
    }

    /// As a connection with this encoding takes it, compressed if it has agreed upon that.
    pub(super) fn get(&mut self, local: &Local, encoding: &Encoding, deflate: Option<Window>) -> &Encoded {
        let number = encoding.index();
        let plain = self.plain[number].get_or_insert_with(|| self.turn.encode(encoding, None));
        match deflate {
            None => plain,
            Some(window) => {
                self.compressed[number][window.index()].get_or_insert_with(|| local.compressed_for_all(plain, window))
            }
        }
    }
}
