//! A channel's deliveries of one turn to bytes: encoded once for each encoding, shared by all who take everything.

use crate::policy::Namespace;
use crate::websocket::Frames;
use broker::Delivery;
use bytes::Bytes;
use protocol::dialect::Encoding;
use protocol::{Channel, CloseCode, Outgoing, Position, Publication, Push};
use std::sync::Arc;

/// Encoded deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Frames, one after another.
    pub frames: Bytes,
    /// How many publications they hold.
    pub publications: u64,
    /// Set when the encoding can only say it by ending the connection.
    pub close: Option<CloseCode>,
}

/// Leaves out what one subscriber must not get.
#[derive(Debug, Clone, Copy, Default)]
pub struct Except<'a> {
    /// Its own connection id: publications it asked no echo of, and its own coming.
    pub client: Option<&'a str>,
    /// How far it has read already.
    pub up_to: Option<u64>,
}

impl Except<'_> {
    fn leaves_out(&self, publication: &Publication) -> bool {
        let has_read = publication.offset.zip(self.up_to).is_some_and(|(offset, up_to)| offset <= up_to);
        has_read || (!publication.echo && self.is_of(publication))
    }

    fn is_of(&self, publication: &Publication) -> bool {
        match (self.client, &publication.from) {
            (Some(client), Some(from)) => from.client.as_str() == client,
            _ => false,
        }
    }
}

/// The connection ids that some delivery leaves out: only those need bytes of their own.
pub fn left_out(deliveries: &[Arc<Delivery>]) -> impl Iterator<Item = &str> {
    deliveries.iter().flat_map(|delivery| {
        let (publications, change) = match &**delivery {
            Delivery::Publications { publications, .. } => (publications.as_slice(), None),
            Delivery::Membership { change, .. } => (&[][..], Some(change.client.as_str())),
            _ => (&[][..], None),
        };
        let silent = publications.iter().filter(|p| !p.echo).filter_map(|p| p.from.as_ref());
        silent.map(|from| from.client.as_str()).chain(change)
    })
}

/// Encodes a channel's deliveries of one turn, in order.
pub fn encode(
    channel: &Channel,
    namespace: &Namespace,
    deliveries: &[Arc<Delivery>],
    encoding: Encoding,
    except: Except<'_>,
) -> Encoded {
    let mut buffer = Vec::new();
    let mut publications = 0;
    let mut frames = Frames::new(&mut buffer);
    for delivery in deliveries {
        match &**delivery {
            Delivery::Publications { publications: all, .. } => {
                for publication in all.iter().filter(|p| !except.leaves_out(p)) {
                    encoding.encode_publication(channel, publication, &mut frames);
                    publications += 1;
                }
            }
            Delivery::Gap { range, position, .. } if !is_bridged(*range, except) => {
                encoding.encode(&gap(channel, *range, position.as_ref()), &mut frames);
            }
            Delivery::Membership { change, .. }
                if namespace.join_leave && except.client != Some(change.client.as_str()) =>
            {
                encoding.encode(&membership(channel, change), &mut frames);
            }
            _ => {}
        }
    }
    let close = frames.close;
    Encoded { frames: buffer.into(), publications, close }
}

/// Whoever has read past the end of a gap has lost nothing.
fn is_bridged(range: Option<(u64, u64)>, except: Except<'_>) -> bool {
    range.zip(except.up_to).is_some_and(|((_, last), up_to)| last <= up_to)
}

fn gap(channel: &Channel, range: Option<(u64, u64)>, position: Option<&Position>) -> Outgoing {
    let epoch = position.map(|p| p.epoch.clone());
    Outgoing::Push(Push::Gap { channel: channel.clone(), range, epoch })
}

fn membership(channel: &Channel, change: &protocol::envelope::Membership) -> Outgoing {
    let (channel, member) = (channel.clone(), change.member.clone());
    Outgoing::Push(match change.left {
        None => Push::Join { channel, member },
        Some(cause) => Push::Leave { channel, member, cause },
    })
}
