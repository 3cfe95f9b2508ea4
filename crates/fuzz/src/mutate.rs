//! From seeds to inputs that nobody thought of, the same for the same seed of chance.

use fastrand::Rng;

/// The longest input: several times what a limit of any target allows.
const MAX_BYTES: usize = 16 * 1024;

/// Bytes that parsers trip over: ends of ranges, brackets, half characters, separators.
const PIECES: &[&[u8]] = &[
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\x81",
    b"\xfe",
    b"\x00\x00\x00\x00",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"\xc3",
    b"\xc3\xa9",
    b"\xf0\x9f\xa6\x80",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"%",
    b"%0",
    b"%ff",
    b"%00",
    b"*",
    b",",
    b":",
    b";",
    b"=",
    b"&",
    b"..",
    b"/",
    b"@",
    b"$",
    b" ",
    b"\t",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"0",
    b"-1",
    b"9999999999999999999",
    b"1e999",
    b"null",
    b"true",
];

/// An input made of seeds: one of them, changed one to eight times.
pub fn input(rng: &mut Rng, seeds: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut data = pick(rng, seeds).cloned().unwrap_or_default();
    for _ in 0..rng.usize(1..=8) {
        change(rng, &mut data, seeds, words);
    }
    data.truncate(MAX_BYTES);
    data
}

fn change(rng: &mut Rng, data: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
    let at = rng.usize(..=data.len());
    let end = (at + rng.usize(..=16)).min(data.len());
    match rng.u8(..10) {
        0 if at < data.len() => data[at] ^= 1 << rng.u8(..8),
        1 if at < data.len() => data[at] = rng.u8(..),
        2 => data.truncate(at),
        3 => drop(data.drain(at..end)),
        4 => insert(data, at, &vec![rng.u8(..); rng.usize(1..=64)]),
        5 => insert(data, at, pick(rng, PIECES).copied().unwrap_or_default()),
        6 | 7 => insert(data, at, pick(rng, words).copied().unwrap_or_default().as_bytes()),
        // A part of itself again, often many times: nesting and floods.
        8 => insert(data, at, &data[at..end].repeat(1 << rng.u8(..9))),
        // The beginning of this one and the end of another.
        _ => {
            let other = pick(rng, seeds).map_or(&[][..], Vec::as_slice);
            data.truncate(at);
            data.extend_from_slice(&other[rng.usize(..=other.len())..]);
        }
    }
}

fn insert(data: &mut Vec<u8>, at: usize, piece: &[u8]) {
    data.splice(at..at, piece.iter().copied());
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> Option<&'a T> {
    if from.is_empty() { None } else { from.get(rng.usize(..from.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_another_makes_others() {
        let seeds = [b"{\"type\":\"ping\"}".to_vec(), b"[1,2,3]".to_vec()];
        let inputs = |seed| {
            let mut rng = Rng::with_seed(seed);
            (0..50).map(|_| input(&mut rng, &seeds, &["word"])).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert!(inputs(3).iter().all(|input| input.len() <= MAX_BYTES));
    }
}
