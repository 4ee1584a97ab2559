//! Suites of cases that others wrote, as programs: found, run against an address, and compared with what is known to be
//! lost. A suite that is not installed is skipped, and the output says so.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where suites are installed, relative to the repository.
const FOLDER: &str = "target/tools/bin";

/// Results by the names of the cases.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) won: BTreeSet<String>,
    pub(crate) lost: BTreeSet<String>,
}

/// A case that is lost, and why that is as it should be.
pub(crate) type Lost = (&'static str, &'static str);

/// The program, if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(FOLDER).join(program);
    let is_installed = path.is_file();
    if !is_installed {
        println!("skipped: there is no {program} in {FOLDER}; `.ci/run suites` installs it");
    }
    is_installed.then_some(path)
}

impl Results {
    /// Leaves out cases that are won or lost as timing has it.
    pub(crate) fn without(mut self, unsteady: &[Lost]) -> Self {
        for (name, _) in unsteady {
            self.won.remove(*name);
            self.lost.remove(*name);
        }
        self
    }
}

/// Runs a program to its end; what it wrote.
pub(crate) fn run(program: &PathBuf, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("cannot run the suite");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// Compares results with a table, both ways: a case that is newly lost and one that is newly won are both told.
#[track_caller]
pub(crate) fn assert_lost(results: &Results, table: &[Lost], played: usize, at: SocketAddr) {
    println!("{} of {} cases won at {at}", results.won.len(), results.won.len() + results.lost.len());
    let known: BTreeSet<&str> = table.iter().map(|(name, _)| *name).collect();
    let lost: BTreeSet<&str> = results.lost.iter().map(String::as_str).collect();
    let newly_lost: Vec<_> = lost.difference(&known).collect();
    let newly_won: Vec<_> = known.difference(&lost).collect();
    assert!(newly_lost.is_empty(), "cases are lost that were not: {newly_lost:#?}");
    assert!(newly_won.is_empty(), "take out of the table what is not lost any more: {newly_won:#?}");
    assert_eq!(
        results.won.len() + results.lost.len(),
        played,
        "another number of cases than there are: {results:#?}"
    );
}
