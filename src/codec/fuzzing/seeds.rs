//! Replays the committed seeds of a fuzz target, on every toolchain. For tests.

use std::path::Path;

/// Every seed of the target holds its property.
pub(crate) fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let seeds: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    for seed in seeds {
        property(&std::fs::read(seed).unwrap());
    }
}
