//! A whole connection, both sides at once, over arbitrary bytes: what the client sends, and what services answer. Panics
//! if a property does not hold. (`fields` is the same for heads on their way between HTTP/2 and text, `hello` for
//! the beginning of one over TLS.)
//!
//! No socket, no clock: the pure parts that a connection is made of, put together as it puts them together. Driven by a
//! fuzz target and by a test that replays its seeds. Not part of the data path, hence free to panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "test support"
)]

mod expected;
mod fields;
mod hello;
mod play;

use expected::expected;
use play::{Outcome, play};

pub use fields::{fuzz_request_fields, fuzz_request_translation};
pub use hello::fuzz_tls_client_hello;

/// Ends what the client sends, and each answer.
const SEPARATOR: &[u8] = b"\xff\n";
/// Lines of a part: the limit of header lines is for other targets, and what mesher adds would cross it.
const LINES_MAX: usize = 100;

/// The first byte seeds the cuts; then the client's bytes, and after each separator what a service answers to the next
/// request that reaches one, before it closes or falls silent. Both sides end where their bytes do.
///
/// - What became of each request does not depend on how either side's bytes are cut, and an independent reading of the RFCs
///   comes to the same.
/// - There are at most as many responses as requests, and an interim one only with its own final one.
/// - What a client is sent for a request is, read strictly, the response to that request: no byte of another one, none
///   behind it.
/// - What a service is sent is one request, read strictly, with the client's payload and nothing behind it.
/// - No more is held than a head and two pieces.
pub fn fuzz_whole_connection(data: &[u8]) {
    let [seed, data @ ..] = data else { return };
    let parts = split(data);
    if parts.iter().any(|part| part.iter().filter(|byte| **byte == b'\n').count() > LINES_MAX) {
        return;
    }
    let (client, answers) = (parts[0], &parts[1..]);
    let whole = play(client, answers, data.len().max(1), 0);
    for (step, seed) in [(1, 0), (29, *seed)] {
        assert_eq!(play(client, answers, step, seed), whole, "the outcome depends on the cuts");
    }
    let mut expected = expected(client, answers);
    // A head that cannot become a good one is refused before it is whole; the other reader waits for its end.
    if whole.len() == expected.len() + 1 && whole.last() == Some(&Outcome::Refused) {
        expected.push(Outcome::Refused);
    }
    assert_eq!(whole, expected, "read in two ways");
}

fn split(mut data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some(at) = memchr::memmem::find(data, SEPARATOR) {
        parts.push(&data[..at]);
        data = &data[at + SEPARATOR.len()..];
    }
    parts.push(data);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fuzzing::seeds::replay;

    #[test]
    fn the_seeds_of_whole_connections_hold() {
        replay("whole_connection", fuzz_whole_connection);
    }

    #[test]
    fn a_pipeline_is_answered_in_order_and_a_broken_answer_ends_it() {
        let client =
            b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi\
            GET /c HTTP/1.1\r\nHost: h\r\n\r\nGET /d HTTP/1.1\r\nHost: h\r\n\r\n";
        let answers: [&[u8]; 3] = [
            b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naPOISON",
            b"HTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
        ];
        let whole = |interims, status, payload: &[u8]| Outcome::Answered {
            interims,
            status,
            payload: payload.to_vec(),
        };
        let played = play(client, &answers, 7, 3);
        assert_eq!(played, [whole(1, 200, b"a"), whole(0, 201, b"b"), Outcome::Broken]);
        assert_eq!(expected(client, &answers), played);
    }
}
