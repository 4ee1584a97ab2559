//! The cases of httpwg (RFC 9113), against a sidecar.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::suite::{self, Lost, Results};
use super::suited::Suited;

/// Cases that there are, the unsteady ones aside.
const CASES: usize = 101;
/// Cases that are won or lost as timing has it.
const UNSTEADY: &[Lost] = &[
    (
        "7. error codes :: sends goaway frame with unknown error code",
        "who says goodbye without a stream is let go at once, at times before its ping has come",
    ),
    ("5. streams and multiplexing :: closed sends headers frame", ANSWERING),
    ("5. streams and multiplexing :: closed sends headers frame after rst stream", ANSWERING),
    ("5. streams and multiplexing :: half closed remote sends data frame", ANSWERING),
    ("5. streams and multiplexing :: half closed remote sends headers frame", ANSWERING),
    ("6. frame definitions :: sends data frame on invalid stream state", ANSWERING),
];
/// Cases that do not pass, with the reason.
const LOST: &[Lost] = &[
    (
        "4. http frames :: invalid header block fragment",
        "the crate says PROTOCOL_ERROR where there is a code that tells more",
    ),
    ("8. expressing http semantics in http2 :: sends connect without authority", ANSWERED),
    (
        "8. expressing http semantics in http2 :: sends headers frame with leading space in field value",
        ANSWERED,
    ),
    ("8. expressing http semantics in http2 :: sends headers frame with mismatched host authority", ANSWERED),
    (
        "8. expressing http semantics in http2 :: sends headers frame with pseudo header in trailer",
        "the crate passes over it: nothing of it goes on",
    ),
    (
        "8. expressing http semantics in http2 :: sends headers frame with trailing tab in field value",
        ANSWERED,
    ),
];
/// Why a case is won at times whose connection ends as it should.
const ANSWERING: &str =
    "STREAM_CLOSED while the request is still being answered, PROTOCOL_ERROR once the crate has forgotten it";
/// Why a case is lost whose request is refused as it should be (RFC 9113 section 8.1.1 allows a response).
const ANSWERED: &str = "the stream is answered with 400 and the reason, not reset without one";
/// Milliseconds that a case waits for a frame. One that is lost waits for all of it.
const PATIENCE: &str = "15000";
/// What stands before the name of each case.
const SECTION: &str = "RFC 9113 :: ";

fn play(program: &PathBuf, address: SocketAddr) -> Results {
    let address = address.to_string();
    let arguments = ["-a", &address, "--connect-timeout", PATIENCE, "--frame-timeout", PATIENCE];
    let output = suite::run(program, &arguments);
    let results = read(&output);
    assert!(!results.won.is_empty(), "httpwg played nothing:\n{output}");
    results
}

fn read(output: &str) -> Results {
    let names = |mark: &str| {
        let lines = output.lines().filter_map(|line| line.split_once(mark));
        lines.map(|(_, name)| name.trim_start_matches(SECTION).to_owned()).collect()
    };
    Results { won: names("Test passed: "), lost: names("Test failed: ") }
}

#[test]
fn httpwg_is_won_but_for_the_table() {
    let Some(program) = suite::find("httpwg") else { return };
    for suited in Suited::each() {
        let results = play(&program, suited.address()).without(UNSTEADY);
        suite::assert_lost(&results, LOST, CASES, suited.address());
    }
}

#[test]
fn an_output_is_read_case_by_case() {
    let results = read(
        "Holding\n\u{2705} Test passed: RFC 9113 :: 1. a :: b\n\u{274c} Test failed: RFC 9113 :: 2. c :: d\nwhy",
    );
    assert!(results.won.contains("1. a :: b") && results.lost.contains("2. c :: d"), "{results:?}");
}
