//! Properties of the reader of configuration files, over arbitrary texts. Panics if one does not hold.
//!
//! Driven by a fuzz target and by a test that replays its seeds. Not part of the control plane, hence free to panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "test support"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::flatten::{KEY_BYTES_MAX, KEYS_MAX};
use super::{Entry, Report, SourceFile, flatten};

/// Arbitrary bytes as a file of configuration. Every fault and every value names a line of the file, and all faults can be
/// shown; keys keep to their bounds; what was read and is written down flat is read the same.
pub fn fuzz_config_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (keys, report) = read(text);
    // A CR alone ends a line of YAML, too.
    let lines = text.replace("\r\n", "\n").split(['\r', '\n']).count();
    let lines = u32::try_from(lines).unwrap();
    for problem in report.problems() {
        let place = problem.origin.place().expect("a fault without a place");
        assert!((1..=lines).contains(&place.mark.line), "{problem:?}");
    }
    assert_eq!(report.render(false).is_empty(), report.is_empty());
    assert!(keys.len() <= KEYS_MAX);
    for (key, entry) in &keys {
        assert!(key.len() <= KEY_BYTES_MAX);
        let line = entry.origin.place().expect("a value without a place").mark.line;
        assert!((1..=lines).contains(&line), "{key}");
    }
    assert_reads_the_same(&keys);
}

fn read(text: &str) -> (BTreeMap<String, Entry>, Report) {
    let file = Arc::new(SourceFile { path: PathBuf::from("chassis.yaml"), text: text.to_owned() });
    let mut report = Report::default();
    let variable = |name: &str| (name == "SET").then(|| "value".to_owned());
    (flatten(&file, &variable, &mut report), report)
}

/// Texts that stand in YAML as they stand in JSON, and hold nothing to be expanded once more.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| (' '..='~').contains(&c)) && !text.contains("${")
}

fn assert_reads_the_same(keys: &BTreeMap<String, Entry>) {
    let texts = keys.iter().filter_map(|(key, entry)| Some((key.as_str(), entry.text()?)));
    // Two keys of which one is the group of the other cannot stand in one file as maps, but flat they can.
    let plain: BTreeMap<&str, &str> =
        texts.filter(|(key, text)| is_plain(key) && *key != "<<" && is_plain(text)).collect();
    let mut written = String::new();
    for (key, text) in &plain {
        writeln!(written, "{key:?}: {text:?}").unwrap();
    }
    let (again, report) = read(&written);
    assert!(report.is_empty(), "{}in\n{written}", report.render(false));
    let again: BTreeMap<&str, &str> =
        again.iter().map(|(key, entry)| (key.as_str(), entry.text().unwrap_or_default())).collect();
    assert_eq!(again, plain, "read in two ways:\n{written}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_of_configuration_files_hold() {
        crate::seeds::replay("config_file", fuzz_config_file);
    }
}
