//! `cargo run -p fuzz -- TARGET [ITERATIONS [SEED]]`: a longer run of one target, without a nightly compiler; with a file
//! instead of a number, only what that holds.

use fuzz::targets;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(target) = words.first().and_then(|name| targets::named(name)) else {
        let names: Vec<_> = targets::ALL.iter().map(|target| target.name).collect();
        eprintln!("usage: cargo run -p fuzz -- TARGET [ITERATIONS [SEED] | FILE]\ntargets: {}", names.join(", "));
        return ExitCode::from(64);
    };
    let iterations = words.get(1).map_or(Ok(100_000), |word| word.parse());
    let seed = words.get(2).and_then(|word| word.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let done = match (iterations, words.get(1)) {
        (Ok(iterations), _) => {
            println!("{}: {iterations} inputs from seed {seed}", target.name);
            fuzz::run::run(target, seed, iterations)
        }
        (Err(_), Some(file)) => std::fs::read(file).map(|data| (target.check)(&data)),
        (Err(_), None) => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
