//! Properties of the reader of the registry file, over arbitrary texts. Panics if one does not hold.
//!
//! Driven by a fuzz target and by a test that replays its seeds. Not part of the control plane, hence free to panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "test support"
)]

use std::path::Path;

use super::caret::{Fault, lines};
use super::format::{COMPLAINTS_MAX, Defaults, parse};
use crate::registry::endpoint;

/// Arbitrary bytes as a registry file. What is wrong names a line of the file and can be shown; what is read can be called,
/// or there is a complaint; a file that can be read says the same with Windows' ends of lines.
pub fn fuzz_registry_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let defaults = Defaults { app: "default".into(), environment: "".into() };
    let registry = match parse(text, &defaults) {
        Ok(registry) => registry,
        Err(fault) => return check_fault(&fault, text),
    };
    registry.complaints.iter().for_each(|fault| check_fault(fault, text));
    let all = registry.services.values().flatten();
    let unusable: Vec<_> = all
        .flat_map(|instance| instance.endpoints.iter())
        .filter(|address| endpoint::parse(address).is_err())
        .collect();
    assert_eq!(registry.complaints.len(), unusable.len().min(COMPLAINTS_MAX), "{unusable:?}");
    if !text.contains('\r') && !text.contains(['"', '\'', '|', '>']) {
        let windows = parse(&text.replace('\n', "\r\n"), &defaults).unwrap();
        assert_eq!(windows.services, registry.services, "read in two ways");
    }
}

fn check_fault(fault: &Fault, text: &str) {
    assert!(!fault.message.is_empty() || fault.place.is_some());
    let shown = fault.render(Path::new("registry.yaml"), text);
    assert!(shown.contains("registry.yaml"), "{shown}");
    if let Some((line, column)) = fault.place {
        assert!(line >= 1 && column >= 1 && line <= lines(text).count() + 1, "{fault:?} in {text:?}");
        assert!(shown.contains("registry.yaml:"), "{shown}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_of_registry_files_hold() {
        crate::seeds::replay("registry_file", fuzz_registry_file);
    }
}
