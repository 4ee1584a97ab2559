//! The properties of [`fuzzing`] over bytes that are nearly HTTP: messages put together from good and bad parts, then
//! damaged a little.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use proptest::prelude::*;
use proptest::sample::select;

use super::fuzzing;

const REQUEST_LINES: &[&str] = &[
    "GET / HTTP/1.1",
    "POST /a%20b?c=[d]&e=100% HTTP/1.1",
    "GET http://svc:8080/p?q HTTP/1.1",
    "GET http://svc?q HTTP/1.1",
    "OPTIONS http://svc HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "CONNECT svc:443 HTTP/1.1",
    "PUT / HTTP/1.0",
    "GET / HTTP/1.7",
    "TRACE / HTTP/1.1",
    "GET / HTTP/2.0",
    "GET /#f HTTP/1.1",
];

const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 ",
    "HTTP/1.1 404",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 100 Continue",
    "HTTP/1.1 101 Switching Protocols",
    "HTTP/1.1 99 X",
    "HTTP/1.1 1000 X",
    "HTTP/2.0 200 OK",
];

const HEADERS: &[&str] = &[
    "Host: svc",
    "Host: svc:80",
    "Host: [::1]:80",
    "host:svc",
    "Host: a, b",
    "Content-Length: 5",
    "Content-Length: 05",
    "Content-Length: 5, 5",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked",
    "transfer-encoding:\tChunked ",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, gzip",
    "Transfer_Encoding: chunked",
    "Connection: close",
    "Connection: keep-alive, X-Hop",
    "Connection: upgrade",
    "Connection: a b",
    "Upgrade: websocket",
    "X-Hop: 1",
    "Expect: 100-continue",
    "Expect: something",
    "Content-Type: text/plain",
    "X-Empty:",
    "X-Text: caf\u{e9} \t x",
    "X-Control: a\u{1}b",
    "X-Space : a",
    " folded: a",
];

const CHUNK_LINES: &[&str] = &[
    "5",
    "005",
    "A",
    "5;a",
    "5 ; a = \"b\\\"\" ;c=d",
    "5;",
    "5 ",
    "5;a ",
    "0x5",
    "-5",
    "5_",
    "8000000000000000",
    "fffffffffffffffff",
    "",
];

const TRAILERS: &[&str] =
    &["X-Sum: abc", "x:1", "Content-Length: 5", "Host: a", "X : y", "Server-Timing: t;dur=1"];

fn damage() -> impl Strategy<Value = Vec<(usize, Option<u8>, bool)>> {
    let byte = prop_oneof![select(b"\r\n\0 \t:;,\"%#0aA\x7f\xff/?".to_vec()), any::<u8>()];
    proptest::collection::vec((any::<usize>(), proptest::option::of(byte), any::<bool>()), 0..3)
}

/// Inserts, replaces or removes a byte here and there.
fn damaged(mut bytes: Vec<u8>, damage: &[(usize, Option<u8>, bool)]) -> Vec<u8> {
    for (at, byte, inserts) in damage {
        let at = at % (bytes.len() + 1);
        match byte {
            Some(byte) if *inserts || at == bytes.len() => bytes.insert(at, *byte),
            Some(byte) => bytes[at] = *byte,
            None if at < bytes.len() => drop(bytes.remove(at)),
            None => {}
        }
    }
    bytes
}

fn head(start: &'static [&'static str]) -> impl Strategy<Value = String> {
    let headers = proptest::collection::vec(select(HEADERS), 0..5);
    (select(start), headers, any::<bool>()).prop_map(|(start, headers, host)| {
        let host = if host { "Host: svc\r\n" } else { "" };
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        format!("{start}\r\n{host}{headers}\r\n")
    })
}

fn chunked_body() -> impl Strategy<Value = String> {
    let good = proptest::collection::vec((1usize..40, any::<bool>()), 0..4);
    let odd = proptest::option::weighted(0.4, select(CHUNK_LINES));
    let trailers = proptest::collection::vec(select(TRAILERS), 0..3);
    (good, odd, trailers).prop_map(|(good, odd, trailers)| {
        let mut body = String::new();
        for (size, extends) in good {
            body += &format!("{size:x}{}\r\n{}\r\n", if extends { ";x" } else { "" }, "d".repeat(size));
        }
        if let Some(line) = odd {
            body += &format!("{line}\r\nhello\r\n");
        }
        body += "0\r\n";
        trailers.iter().for_each(|trailer| body += &format!("{trailer}\r\n"));
        body + "\r\n"
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_parsers_agree_on_request_heads(head in head(REQUEST_LINES), damage in damage()) {
        fuzzing::fuzz_request_head(&damaged(head.into_bytes(), &damage));
    }

    #[test]
    fn two_parsers_agree_on_response_heads(kind in 0u8..4, head in head(STATUS_LINES), damage in damage()) {
        fuzzing::fuzz_response_head(&[&[kind], &damaged(head.into_bytes(), &damage)[..]].concat());
    }

    #[test]
    fn two_readers_agree_on_how_far_frames_pass(
        seed: u8,
        frames in proptest::collection::vec((0_u8..12, any::<u8>(), 0_u8..8, "[\\x00-\\x0c]{0,20}"), 0..300),
        damage in damage(),
    ) {
        let mut stream = Vec::new();
        for (kind, flags, number, payload) in frames {
            // Mostly of a length that its type can have, so that many pass.
            let length = match kind {
                2 => 5,
                3 | 8 => 4,
                4 => if flags & 1 == 1 { 0 } else { payload.len() / 6 * 6 },
                5 => continue,
                6 => 8,
                _ => payload.len(),
            };
            let mut payload = payload.into_bytes();
            payload.resize(length, 0);
            stream.extend([0, 0, length as u8, kind, flags, 0, 0, 0, number]);
            stream.extend(payload);
        }
        fuzzing::fuzz_http2_frames(&[&[seed][..], &stream].concat());
        fuzzing::fuzz_http2_frames(&[&[seed], &damaged(stream, &damage)[..]].concat());
    }

    #[test]
    fn two_decoders_agree_on_chunked_bodies(seed: u8, body in chunked_body(), damage in damage()) {
        fuzzing::fuzz_chunked_body(&[&[seed], &damaged(body.into_bytes(), &damage)[..]].concat());
    }

    #[test]
    fn responses_are_told_apart_by_two_readers_and_by_the_client(
        seed: u8,
        kinds: u8,
        responses in proptest::collection::vec((head(STATUS_LINES), chunked_body()), 1..5),
        damage in damage(),
    ) {
        let mut stream = vec![seed, kinds];
        for (head, body) in responses {
            stream.extend_from_slice(head.as_bytes());
            if head.to_ascii_lowercase().contains("chunked") {
                stream.extend_from_slice(body.as_bytes());
            } else if head.contains("Content-Length: 5\r") {
                stream.extend_from_slice(b"hello");
            }
        }
        let (front, stream) = stream.split_at(2);
        fuzzing::fuzz_response_sequence(&[front, &damaged(stream.to_vec(), &damage)].concat());
    }

    #[test]
    fn a_connection_reads_the_same_however_it_is_cut(
        seed: u8,
        messages in proptest::collection::vec((head(REQUEST_LINES), chunked_body()), 1..4),
        damage in damage(),
    ) {
        let mut stream = Vec::new();
        for (head, body) in messages {
            stream.extend_from_slice(head.as_bytes());
            if head.to_ascii_lowercase().contains("chunked") {
                stream.extend_from_slice(body.as_bytes());
            } else if head.contains("Content-Length: 5\r") {
                stream.extend_from_slice(b"hello");
            }
        }
        fuzzing::fuzz_split_invariance(&[&[seed], &damaged(stream, &damage)[..]].concat());
    }
}
