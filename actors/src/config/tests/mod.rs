//! Behaviour of the configuration as a whole: layers, checks, typed reads, messages.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod checks;
mod directories;
mod layers;
mod messages;
mod reads;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NAMED: &str = "servicecomb:\n  service:\n    name: orders\n";

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn files(list: &[(&str, &str)]) -> Vec<SourceFile> {
    let file = |(name, text): &(&str, &str)| SourceFile {
        path: Path::new("/conf").join(name),
        text: (*text).to_owned(),
    };
    list.iter().map(file).collect()
}

/// A file beside the one that names the service, which every configuration needs.
fn load_with(text: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> (Config, Report) {
    let sources = Sources { env: pairs(env), flags: pairs(flags), ..Sources::default() };
    Config::from_files(files(&[("chassis.yaml", text), ("microservice.yaml", NAMED)]), &sources)
}

fn load(text: &str) -> (Config, Report) {
    load_with(text, &[], &[])
}

/// Each problem as `CODE line:column message; help`.
fn check(text: &str, expected: &[&str]) {
    let (_, report) = load(text);
    let line = |p: &Problem| {
        let place = p.origin.place().map_or("-".into(), |p| format!("{}:{}", p.mark.line, p.mark.column));
        let help = p.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        format!("{} {place} {}{help}", p.label(), p.message)
    };
    assert_eq!(report.problems().iter().map(line).collect::<Vec<_>>(), expected, "in:\n{text}");
}
