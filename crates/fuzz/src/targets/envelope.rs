//! What comes by a channel's topic: anybody who reaches Redis can publish there. What is understood means one thing.

use crate::cost;
use bytes::Bytes;
use protocol::envelope::{Envelope, encode_membership, encode_publications, encode_record, encode_renewed};

pub(super) const WORDS: &[&str] = &["\u{1}\u{1}", "\u{1}\u{2}", "\u{1}\u{3}", "\0\0\0\u{12}", "\0\u{1}", "k3Zq", "ann", "null"];
pub(super) const GOLDEN: &[&str] = &["envelope"];

/// A publication without a payload is 22 bytes on the wire and 240 in memory, in a list that grows by doubling. Payloads are
/// not copied.
const MULTIPLE: u64 = 40;
const BASE_BYTES: u64 = 2_048;

/// Decodes, and writes what was understood.
pub fn check(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(envelope) = cost::within(data.len(), MULTIPLE, BASE_BYTES, || Envelope::decode(bytes.clone())) else { return };
    let written = match &envelope {
        Envelope::Publications { epoch, publications } => {
            let records: Vec<_> = publications.iter().map(encode_record).collect();
            let first = publications.first().and_then(|publication| publication.offset);
            encode_publications(epoch.as_ref(), first.unwrap_or_default(), &records)
        }
        Envelope::Membership(change) => encode_membership(change),
        Envelope::Renewed => encode_renewed(),
    };
    // The first offset stands there and says nothing where a channel has no positions.
    if !matches!(envelope, Envelope::Publications { epoch: None, .. }) {
        assert_eq!(&written[..], data, "written otherwise than it came");
    }
    assert_eq!(Envelope::decode(written).as_ref(), Ok(&envelope));
}
