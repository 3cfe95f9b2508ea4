//! The golden files: one for each kind of message, one message a line; those of nodes in commented hexadecimal.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// Gives every variant of an enum its golden file: a variant added later does not compile until it has one, and the
/// file has to hold what its samples say.
macro_rules! golden_files {
    ($of:ty: $($pattern:pat => $file:literal,)*) => {
        /// Every golden file of this kind.
        pub(crate) const FILES: &[&str] = &[$($file,)*];

        pub(crate) fn file_of(message: &$of) -> &'static str {
            match message { $($pattern => $file,)* }
        }
    };
}
pub(crate) use golden_files;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn directory_of_msgpack() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden_msgpack")
}

/// The name in MessagePack of a golden file in JSON.
pub(crate) fn in_msgpack(file: &str) -> String {
    file.replace(".jsonl", ".hex")
}

/// The MessagePack messages beside those of a file in JSON: the same, in the same order, one a line.
pub(crate) fn msgpack_messages(file: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(directory_of_msgpack().join(in_msgpack(file)));
    let text = text.unwrap_or_else(|error| panic!("{file}: {error} (see golden_msgpack.py)"));
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    text.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}

/// The messages of one file: its lines, byte for byte.
pub(crate) fn messages(file: &str) -> Vec<String> {
    let text = fs::read_to_string(directory().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(text.ends_with('\n'), "{file}: the last message ends with a line feed like the others");
    text.lines().map(str::to_owned).collect()
}

/// The messages of one file in hexadecimal, separated by lines of `---`; white space is for people, and so is what
/// follows a `#`.
pub(crate) fn byte_messages(file: &str) -> Vec<Vec<u8>> {
    let lines = messages(file);
    lines.split(|line| line == "---").map(from_hex).collect()
}

fn from_hex(lines: &[String]) -> Vec<u8> {
    let digits = lines.iter().flat_map(|line| line.split('#').next()).flat_map(str::split_whitespace);
    digits.map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits a byte")).collect()
}

/// The files' samples against the files' messages, in order. `same` says what is wrong with one of them.
pub(crate) fn compare<S, M>(
    files: &[&str],
    messages: impl Fn(&str) -> Vec<M>,
    samples: &[S],
    file_of: impl Fn(&S) -> &'static str,
    same: impl Fn(&S, &M) -> Result<(), String>,
) {
    for file in files {
        let samples: Vec<&S> = samples.iter().filter(|sample| file_of(sample) == *file).collect();
        let messages = messages(file);
        assert!(!samples.is_empty(), "{file}: no sample");
        for (index, (sample, message)) in samples.iter().zip(&messages).enumerate() {
            same(sample, message).unwrap_or_else(|wrong| panic!("{file}, message {}: {wrong}", index + 1));
        }
        assert_eq!(samples.len(), messages.len(), "{file}: samples and messages, one to one");
    }
}

#[test]
fn no_golden_file_is_without_its_test() {
    let known: BTreeSet<String> = [crate::commands::FILES, crate::outgoing::FILES, crate::envelope::FILES]
        .concat()
        .into_iter()
        .chain([crate::commands::ARRAY, crate::outgoing::ARRAY])
        .map(str::to_owned)
        .collect();
    assert_eq!(names_in(directory()), known);
    let in_json = known.iter().filter(|name| name.ends_with(".jsonl"));
    assert_eq!(names_in(directory_of_msgpack()), in_json.map(|name| in_msgpack(name)).collect());
}

fn names_in(directory: PathBuf) -> BTreeSet<String> {
    fs::read_dir(directory)
        .expect("the golden files")
        .map(|entry| entry.expect("a golden file").file_name().into_string().expect("a plain name"))
        .collect()
}
