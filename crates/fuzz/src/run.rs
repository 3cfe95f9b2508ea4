//! A seeded run: all seeds as they are, then so many changed ones.

use crate::{Target, corpus, mutate};
use fastrand::Rng;
use std::path::PathBuf;

/// Runs a target.
///
/// # Errors
/// When its seeds cannot be read, or there are none.
///
/// # Panics
/// Where a parser breaks a promise; what it read is then in a file, whose name is printed with the seed.
pub fn run(target: &Target, seed: u64, iterations: u64) -> std::io::Result<()> {
    let seeds = corpus::seeds(target)?;
    if seeds.is_empty() {
        return Err(std::io::Error::other(format!("{} has no seeds", target.name)));
    }
    for data in &seeds {
        checked(target, "a seed", data);
    }
    let mut rng = Rng::with_seed(seed);
    for iteration in 0..iterations {
        let data = mutate::input(&mut rng, &seeds, target.words);
        checked(target, &format!("seed {seed}, iteration {iteration}"), &data);
    }
    Ok(())
}

fn checked(target: &Target, origin: &str, data: &[u8]) {
    let teller = Teller { target, origin, data };
    (target.check)(data);
    std::mem::forget(teller);
}

/// Dropped only where the check has panicked.
struct Teller<'a> {
    target: &'a Target,
    origin: &'a str,
    data: &'a [u8],
}

impl Drop for Teller<'_> {
    fn drop(&mut self) {
        let name = self.target.name;
        let path: PathBuf = std::env::temp_dir().join(format!("fuzz-{name}-{}", std::process::id()));
        let kept = match std::fs::write(&path, self.data) {
            Ok(()) => {
                format!("it is in {}: once it is mended, put that into crates/fuzz/corpus/{name}/", path.display())
            }
            Err(error) => format!("it could not be kept: {error}"),
        };
        eprintln!("{name} broke on {} ({} bytes); {kept}", self.origin, self.data.len());
        eprintln!("{}", self.data.escape_ascii().to_string().chars().take(2_000).collect::<String>());
    }
}
