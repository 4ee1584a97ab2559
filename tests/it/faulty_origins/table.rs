//! The faults that are bytes, and how they end: what the origin sends, and what its client is to see of it.

use std::io::Write;
use std::net::TcpStream;

use super::bench::{CLOSE, Fault, KEEP, POISON, Sees, head};
use crate::support::server::reset_at_end;
use crate::support::wire::Request;

/// A fault of a GET that is the same bytes whatever comes.
fn fault(name: &'static str, sees: Sees, bytes: impl Into<String>, keeps: bool) -> Fault {
    fault_to("GET", name, sees, bytes, keeps)
}

/// The same of another method.
fn fault_to(
    method: &'static str,
    name: &'static str,
    sees: Sees,
    bytes: impl Into<String>,
    keeps: bool,
) -> Fault {
    let bytes = bytes.into();
    let act = move |mut stream: &TcpStream, _: &Request| stream.write_all(bytes.as_bytes()).is_ok() && keeps;
    Fault { name, method, sees, act: Box::new(act) }
}

/// The same of a GET, ended by a reset.
fn resetting(name: &'static str, sees: Sees, bytes: &'static str) -> Fault {
    resetting_to("GET", name, sees, bytes)
}

/// The same of another method.
fn resetting_to(method: &'static str, name: &'static str, sees: Sees, bytes: &'static str) -> Fault {
    let act = move |mut stream: &TcpStream, _: &Request| {
        let _ = stream.write_all(bytes.as_bytes());
        reset_at_end(stream).unwrap();
        CLOSE
    };
    Fault { name, method, sees, act: Box::new(act) }
}

fn chunked(body: &str) -> String {
    head("Transfer-Encoding: chunked\r\n", body)
}

/// The faults that are bytes, and how they end.
pub(super) fn faults() -> Vec<Fault> {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const BAD: Sees = Sees::Error(502, "UPE");
    const CLOSED: Sees = Sees::Error(503, "UC");
    const BROKEN: Sees = Sees::Error(502, "UR");
    vec![
        fault("close-before-answer", CLOSED, "", CLOSE),
        resetting("reset-before-answer", CLOSED, ""),
        resetting_to("POST", "reset-before-answer-to-post", CLOSED, ""),
        fault("head-cut-short", BROKEN, "HTTP/1.1 200 OK\r\nContent-Le", CLOSE),
        resetting("head-reset", BROKEN, "HTTP/1.1 200 OK\r\nContent-Le"),
        fault("garbage", BAD, "\u{1}\u{2}garbage without an end", KEEP),
        fault("garbage-with-an-end", BAD, format!("what is this\r\n\r\n{POISON}"), KEEP),
        fault("nuls", BAD, "\0\0\0\0\0\0\0\0\r\n\r\n", KEEP),
        fault("no-status-line", BAD, "hello", CLOSE),
        fault("status-in-letters", BAD, "HTTP/1.1 abc Odd\r\nContent-Length: 0\r\n\r\n", KEEP),
        fault("status-behind-two-blanks", BAD, "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", KEEP),
        fault("status-99", BAD, "HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n", KEEP),
        fault("status-1000", BAD, "HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n", KEEP),
        fault("version-2", BAD, "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", KEEP),
        fault("version-lower-case", BAD, "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", KEEP),
        fault("length-and-nothing", Sees::Cut, head("Content-Length: 10\r\n", ""), CLOSE),
        fault("length-list", BAD, head("Content-Length: 2, 9\r\n", "ok"), KEEP),
        fault("length-short", Sees::Cut, head("Content-Length: 100\r\n", "ten bytes!"), CLOSE),
        resetting("length-reset", Sees::Cut, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes!"),
        fault("length-long", Sees::Response(200, "ok"), OK.to_owned() + POISON, KEEP),
        fault("length-twice", BAD, head("Content-Length: 2\r\nContent-Length: 2\r\n", "ok"), KEEP),
        fault("length-twice-differing", BAD, head("Content-Length: 2\r\nContent-Length: 9\r\n", "ok"), KEEP),
        fault("length-negative", BAD, head("Content-Length: -1\r\n", "ok"), KEEP),
        fault("length-too-large", BAD, head("Content-Length: 99999999999999999999\r\n", "ok"), KEEP),
        fault("chunk-bad", BAD, chunked("zz\r\nok\r\n0\r\n\r\n"), KEEP),
        fault("chunk-bad-behind-a-good-one", BAD, chunked(&format!("2\r\nok\r\nzz\r\n{POISON}")), KEEP),
        fault(
            "chunks-and-more",
            Sees::Response(200, "ok"),
            chunked(&format!("2\r\nok\r\n0\r\n\r\n{POISON}")),
            KEEP,
        ),
        fault("chunk-last-cut-short", Sees::Cut, chunked("2\r\nok\r\n0\r\n"), CLOSE),
        fault("chunk-cut-short", Sees::Cut, chunked("64\r\nok"), CLOSE),
        fault("chunk-without-last", Sees::Cut, chunked("2\r\nok\r\n"), CLOSE),
        fault("chunk-negative", BAD, chunked("-2\r\nok\r\n0\r\n\r\n"), KEEP),
        fault("chunk-40-digits", BAD, chunked(&format!("{}\r\nok\r\n0\r\n\r\n", "f".repeat(40))), KEEP),
        fault("chunk-spills", BAD, chunked("2\r\nok!\r\n0\r\n\r\n"), KEEP),
        fault(
            "chunked-beside-length",
            BAD,
            head("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "2\r\nok\r\n0\r\n\r\n"),
            KEEP,
        ),
        fault("coding-unknown", BAD, head("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), KEEP),
        fault(
            "coding-chunked-twice",
            BAD,
            head("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
            KEEP,
        ),
        fault("coding-gzip", BAD, head("Transfer-Encoding: gzip\r\n", "ok"), CLOSE),
        fault("coding-not-chunked", BAD, head("Transfer-Encoding: identity\r\n", "ok"), CLOSE),
        fault("interim-100", Sees::Response(200, "ok"), format!("HTTP/1.1 100 Continue\r\n\r\n{OK}"), KEEP),
        fault(
            "interim-103",
            Sees::Response(200, "ok"),
            format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{OK}"),
            KEEP,
        ),
        fault("interim-flood", BAD, "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(5000) + OK, KEEP),
        fault(
            "101-unasked",
            BAD,
            format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n{POISON}"),
            KEEP,
        ),
        fault(
            "204-with-body",
            Sees::Response(204, ""),
            format!("HTTP/1.1 204 No Content\r\nContent-Length: {}\r\n\r\n{POISON}", POISON.len()),
            KEEP,
        ),
        fault(
            "204-and-more",
            Sees::Response(204, ""),
            format!("HTTP/1.1 204 No Content\r\n\r\n{POISON}"),
            KEEP,
        ),
        fault(
            "304-with-body",
            Sees::Response(304, ""),
            format!("HTTP/1.1 304 Not Modified\r\nContent-Length: {}\r\n\r\n{POISON}", POISON.len()),
            KEEP,
        ),
        fault_to("HEAD", "head-with-body", Sees::Response(200, ""), format!("{OK}{POISON}"), KEEP),
        fault_to(
            "HEAD",
            "head-with-chunks",
            Sees::Response(200, ""),
            chunked(&format!("6\r\npoison\r\n0\r\n\r\n{POISON}")),
            KEEP,
        ),
        fault("header-without-colon", BAD, head("X\r\nContent-Length: 2\r\n", "ok"), KEEP),
        fault("header-nul", BAD, head("X: a\0b\r\nContent-Length: 2\r\n", "ok"), KEEP),
        fault("header-bare-lf", BAD, head("X: a\nContent-Length: 2\r\n", "ok"), KEEP),
        fault("header-folded", BAD, head("X: a\r\n b\r\nContent-Length: 2\r\n", "ok"), KEEP),
        fault("header-space-in-name", BAD, head("X : a\r\nContent-Length: 2\r\n", "ok"), KEEP),
        fault("header-2-mb", BAD, head(&format!("X: {}\r\n", "x".repeat(2 << 20)), "ok"), KEEP),
        fault("20000-headers", BAD, head(&"X: a\r\n".repeat(20_000), "ok"), KEEP),
        fault("ended-by-close", Sees::Response(200, "all of it"), head("", "all of it"), CLOSE),
        resetting("ended-by-reset", Sees::Cut, "HTTP/1.1 200 OK\r\n\r\nnot all of it"),
    ]
}
