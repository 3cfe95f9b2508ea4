//! What travels on the topics of single nodes: orders from other nodes, and the node's own probes.
//!
//! ```text
//! message = 0 number(8)     a probe, which its sender waits for
//!         | 1 order         an order
//! ```

use bytes::{Buf, BufMut, Bytes};

const PROBE: u8 = 0;
const DIRECT: u8 = 1;

/// A message on a node's topic.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ToNode {
    Probe(u64),
    Direct(Bytes),
}

pub(super) fn decode(mut message: Bytes) -> Option<ToNode> {
    if message.is_empty() {
        return None;
    }
    match message.get_u8() {
        PROBE if message.len() == 8 => Some(ToNode::Probe(message.get_u64())),
        DIRECT => Some(ToNode::Direct(message)),
        _ => None,
    }
}

pub(super) fn probe(number: u64) -> Vec<u8> {
    let mut message = vec![PROBE];
    message.put_u64(number);
    message
}

pub(super) fn direct(order: &[u8]) -> Vec<u8> {
    let mut message = vec![DIRECT];
    message.put_slice(order);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_and_orders_are_told_apart_whatever_the_order_holds() {
        assert_eq!(decode(probe(7).into()), Some(ToNode::Probe(7)));
        for order in [&b""[..], b"\0", b"\x01x", &probe(7)] {
            assert_eq!(decode(direct(order).into()), Some(ToNode::Direct(Bytes::copy_from_slice(order))));
        }
    }

    #[test]
    fn anything_else_is_nothing() {
        for message in [&b""[..], b"\0", b"\0\0\0\0\0\0\0\0", b"\x02hello"] {
            assert_eq!(decode(Bytes::copy_from_slice(message)), None);
        }
    }
}
