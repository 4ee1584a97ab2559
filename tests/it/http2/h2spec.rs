//! The cases of h2spec (RFC 7540 and RFC 7541), against a sidecar.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::suite::{self, Lost, Results};
use super::suited::Suited;

/// Cases that there are.
const CASES: usize = 145;
/// Cases that do not pass, with the reason.
const LOST: &[Lost] = &[(
    "http2/3.5 Sends invalid connection preface",
    "the listener speaks HTTP/1 too: what is no preface is a request, and is refused as one, with 400",
)];
/// Seconds that a case waits for an answer.
const PATIENCE: &str = "20";

/// Plays the cases. The report is JUnit's XML, one case a line.
fn play(program: &PathBuf, address: SocketAddr, how: &[&str]) -> Results {
    let report = tempfile::NamedTempFile::new().expect("no temporary file");
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let path = report.path().to_string_lossy();
    let where_to = ["-h", &host, "-p", &port, "-o", PATIENCE, "-j", &path];
    let output = suite::run(program, &[&where_to[..], how].concat());
    let results = read(&std::fs::read_to_string(report.path()).expect("no report"));
    if !results.lost.is_empty() {
        println!("{output}");
    }
    results
}

fn read(report: &str) -> Results {
    let mut results = Results::default();
    for case in report.split("<testcase ").skip(1) {
        let name = format!("{} {}", attribute(case, "package"), attribute(case, "classname"));
        let case = case.split("</testcase>").next().unwrap_or_default();
        let is_won = !["<failure", "<error", "<skipped"].iter().any(|mark| case.contains(mark));
        if is_won {
            results.won.insert(name)
        } else {
            results.lost.insert(name)
        };
    }
    results
}

fn attribute<'a>(case: &'a str, name: &str) -> &'a str {
    let start = case.find(&format!("{name}=\"")).map_or(0, |at| at + name.len() + 2);
    case[start..].split('"').next().unwrap_or_default()
}

#[test]
fn h2spec_is_won_but_for_the_table() {
    let Some(program) = suite::find("h2spec") else { return };
    for suited in Suited::each() {
        let results = play(&program, suited.address(), &[]);
        suite::assert_lost(&results, LOST, CASES, suited.address());
    }
}

#[test]
fn h2spec_is_won_inside_tls() {
    let Some(program) = suite::find("h2spec") else { return };
    let suited = Suited::inside_tls();
    // Whoever issued the certificate.
    let results = play(&program, suited.address(), &["-t", "-k"]);
    suite::assert_lost(&results, &[], CASES, suited.address());
}

#[test]
fn a_report_is_read_case_by_case() {
    let report = "<testsuite name=\"a\">\n<testcase package=\"p/1\" classname=\"Sends\" time=\"0\"></testcase>\n\
        <testcase package=\"p/2\" classname=\"Gets\" time=\"0\"><failure>no</failure></testcase></testsuite>";
    let results = read(report);
    assert!(results.won.contains("p/1 Sends") && results.lost.contains("p/2 Gets"), "{results:?}");
}
