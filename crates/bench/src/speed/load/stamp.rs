//! The stamp in a payload: which message of whom it is, where it stands in the sender's window, and when it was due.
//!
//! Hexadecimal in the letters `a` to `p`, since no notation escapes them and they are read without a branch: a generator that
//! is to be cheaper than the servers has some 50 ns for a delivery.

/// What a stamp begins with.
const MARK: &[u8; 2] = b"~>";

/// The mark, and five words of 32 bits.
pub(crate) const BYTES: usize = 2 + 5 * 8;

/// The sequence of a probe, which counts as no message.
pub(super) const PROBE: u32 = u32::MAX;

/// What a payload says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The number of the message among those of its publisher, from 0; or [`PROBE`].
    pub(super) sequence: u32,
    /// The channel.
    pub(super) channel: u16,
    /// The publisher among those of the channel.
    pub(super) publisher: u16,
    /// Which of those in flight it is, in a closed loop.
    pub(super) slot: u32,
    /// When it was due, in nanoseconds of the generator's clock.
    pub(super) due_ns: u64,
}

impl Stamp {
    /// A payload of at least [`BYTES`] that ends with the stamp.
    pub(super) fn payload(&self, bytes: usize) -> String {
        let mut payload = "x".repeat(bytes.saturating_sub(BYTES));
        payload.push_str("~>");
        let owner = u32::from(self.channel) << 16 | u32::from(self.publisher);
        // Halves of the time.
        let (high, low) = ((self.due_ns >> 32) as u32, self.due_ns as u32);
        for word in [self.sequence, owner, self.slot, high, low] {
            let letters = (0..8).rev().map(|place| char::from(b'a' + (word >> (4 * place) & 15) as u8));
            payload.extend(letters);
        }
        payload
    }

    /// The stamp in a message; `tail` remembers how far from the end it was, which is the same in all messages of a kind.
    pub(super) fn find(message: &[u8], tail: &mut usize) -> Option<Self> {
        let at = message.len().checked_sub(*tail).filter(|at| message[*at..].starts_with(MARK));
        let at = match at {
            Some(at) => at,
            None => {
                let at = message.windows(MARK.len()).rposition(|window| window == MARK)?;
                *tail = message.len() - at;
                at
            }
        };
        Self::read(message.get(at + MARK.len()..at + BYTES)?)
    }

    fn read(letters: &[u8]) -> Option<Self> {
        let (words, _) = letters.as_chunks::<8>();
        let [sequence, owner, slot, high, low] = words else { return None };
        let owner = word(owner)?;
        Some(Self {
            sequence: word(sequence)?,
            channel: (owner >> 16) as u16,
            publisher: owner as u16,
            slot: word(slot)?,
            due_ns: u64::from(word(high)?) << 32 | u64::from(word(low)?),
        })
    }
}

/// Eight letters at a time: each byte becomes a nibble, and neighbours are joined.
fn word(letters: &[u8; 8]) -> Option<u32> {
    let nibbles = u64::from_be_bytes(*letters).wrapping_sub(0x6161_6161_6161_6161);
    if nibbles & 0xf0f0_f0f0_f0f0_f0f0 != 0 {
        return None;
    }
    let bytes = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let halves = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    Some((halves | halves >> 16) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp =
        Stamp { sequence: 70_001, channel: 199, publisher: 9, slot: 0xdead_beef, due_ns: 1 << 40 | 77 };

    #[test]
    fn a_stamp_is_read_as_it_was_written_wherever_it_stands() {
        for (before, after) in [("", ""), (r#"{"data":""#, r#""}"#), (r#"42["x",""#, r#""]"#)] {
            let message = format!("{before}{}{after}", STAMP.payload(128));
            let mut tail = 0;
            assert_eq!(Stamp::find(message.as_bytes(), &mut tail), Some(STAMP));
            assert_eq!(tail, BYTES + after.len());
            assert_eq!(Stamp::find(message.as_bytes(), &mut tail), Some(STAMP));
        }
    }

    #[test]
    fn a_payload_has_the_length_that_was_asked_for() {
        assert_eq!(STAMP.payload(128).len(), 128);
        assert_eq!(STAMP.payload(0).len(), BYTES);
    }

    #[test]
    fn what_has_no_stamp_has_none() {
        let mut tail = 7;
        for message in ["", "~>", r#"{"type":"welcome"}"#, "~>not quite letters, though long enough for it"] {
            assert_eq!(Stamp::find(message.as_bytes(), &mut tail), None, "{message}");
        }
    }
}
