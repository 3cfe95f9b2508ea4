//! Each target, for a moment: its seeds, and some thousands of inputs made of them. The seed of chance is fixed, so that what
//! passes here passes everywhere; `cargo run -p fuzz` takes another one each time.

use fuzz::{for_each_target, run, targets};
use std::path::Path;

const SEED: u64 = 20_261_121;
const ITERATIONS: u64 = 4_000;

macro_rules! short_runs {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            let target = targets::named(stringify!($name)).expect("a target");
            run::run(target, SEED, ITERATIONS).expect("its seeds");
        })*
    };
}

for_each_target!(short_runs);

#[test]
fn every_target_is_one_of_libfuzzer_too() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("its manifest");
    for target in targets::ALL {
        let path = format!("fuzz_targets/{}.rs", target.name);
        assert!(manifest.contains(&format!("name = \"{}\"\npath = \"{path}\"", target.name)), "{path} is no [[bin]]");
        let text = std::fs::read_to_string(folder.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(text.contains(&format!("targets::{}::check(data)", target.name)), "{path} runs something else");
    }
}
