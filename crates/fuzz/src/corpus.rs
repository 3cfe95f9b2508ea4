//! Where inputs begin: a folder of seeds for each target, and the golden files of the wire.

use crate::Target;
use std::fs;
use std::path::{Path, PathBuf};

/// The inputs that a target begins with: its folder, then lines (or hex) of golden files. In an order of their own, so that
/// a seeded run is the same everywhere.
///
/// # Errors
/// When a folder or file cannot be read.
pub fn seeds(target: &Target) -> std::io::Result<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for path in files(&folder(target.name))? {
        seeds.push(fs::read(path)?);
    }
    if !target.golden.is_empty() {
        for path in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/golden"))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if target.golden.iter().any(|beginning| name.starts_with(beginning)) {
                seeds.extend(golden(&name, &fs::read_to_string(&path)?));
            }
        }
    }
    Ok(seeds)
}

/// Where a target's own seeds are.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// The messages of a golden file: one a line, or one in hex between empty lines, with comments.
fn golden(name: &str, text: &str) -> Vec<Vec<u8>> {
    if !name.ends_with(".hex") {
        return text.lines().map(|line| line.as_bytes().to_vec()).collect();
    }
    let bytes = |block: &str| {
        let digits = block.lines().flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
        digits.filter_map(|digits| u8::from_str_radix(digits, 16).ok()).collect()
    };
    text.split("\n\n").map(bytes).filter(|message: &Vec<u8>| !message.is_empty()).collect()
}
