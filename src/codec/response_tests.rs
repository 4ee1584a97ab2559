//! What an origin may and may not answer, each as a whole head.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn parse_for(request: RequestKind, text: &str) -> Result<ResponseHead, Reject> {
    let mut head = ResponseHead::new();
    head.buffer().extend_from_slice(text.as_bytes());
    match head.parse(&Limits::default(), request)? {
        Parse::Complete => Ok(head),
        Parse::Incomplete => Err(Reject { status: 0, why: "incomplete", at: 0 }),
    }
}

fn parse(text: &str) -> Result<ResponseHead, Reject> {
    parse_for(RequestKind::Plain, text)
}

fn with(lines: &str) -> Result<ResponseHead, Reject> {
    parse(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"))
}

#[track_caller]
fn refused(parsed: Result<ResponseHead, Reject>, why: &str) {
    let reject = parsed.expect_err(why);
    assert!(reject.status == 502 && reject.why.contains(why), "{reject:?}");
}

#[test]
fn a_status_line_is_read() {
    let head = parse("HTTP/1.1 404 Not  Found \u{e9}\r\nA: b\r\n\r\nrest").unwrap();
    assert_eq!((head.status(), head.reason()), (404, "Not  Found \u{e9}".as_bytes()));
    assert_eq!((head.header(Known::Date), head.rest()), (None, &b"rest"[..]));
    for line in ["HTTP/1.1 200 ", "HTTP/1.1 200"] {
        assert_eq!(parse(&format!("{line}\r\n\r\n")).unwrap().reason(), b"");
    }
}

#[test]
fn a_status_has_three_digits_from_100_to_599() {
    for status in ["99", "1000", "600", "099", "000", "20", "2OO", "+20", "", "-200"] {
        let parsed = parse(&format!("HTTP/1.1 {status} X\r\n\r\n"));
        assert_eq!(parsed.map(|head| head.status()).map_err(|reject| reject.status), Err(502), "{status}");
    }
    assert_eq!(parse("HTTP/1.1 599 \r\n\r\n").unwrap().status(), 599);
}

#[test]
fn garbage_is_refused_at_its_first_wrong_byte() {
    for (text, at) in [("hello", 0), ("HTTq", 3), ("\r\nHTTP/1.1 200 OK\r\n\r\n", 0), ("http/1.1", 0)] {
        assert_eq!(parse(text).map(|_| ()), Err(Reject { status: 502, why: "answer is not HTTP", at }));
    }
    refused(parse("HTTP/2.0 200 OK\r\n\r\n"), "version other than 1");
    refused(parse("HTTP/1.1  200 OK\r\n\r\n"), "malformed status line");
    refused(parse("HTTP/1.1 200 O\0K\r\n\r\n"), "control byte in the reason");
    refused(parse("HTTP/1.1 200 OK\n\r\n"), "line feed without");
    refused(with("X: a\0b\r\n"), "NUL");
    refused(with("X: a\r\n folded\r\n"), "folded");
    refused(with("X : a\r\n"), "white space");
    refused(with("X: a\n"), "line feed without");
}

#[test]
fn bodies_end_as_declared_or_with_the_connection() {
    assert_eq!(with("Content-Length: 5\r\n").unwrap().framing(), Framing::Length(5));
    assert_eq!(with("Transfer-Encoding: chunked\r\n").unwrap().framing(), Framing::Chunked);
    let head = with("").unwrap();
    assert_eq!((head.framing(), head.keep_alive()), (Framing::UntilClose, false));
}

#[test]
fn doubtful_framing_is_refused() {
    refused(with("Content-Length: 5\r\nContent-Length: 6\r\n"), "more than one content-length");
    refused(with("Content-Length: -1\r\n"), "no number");
    refused(with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), "beside transfer-encoding");
    refused(with("Transfer-Encoding: gzip\r\n"), "does not end in chunked");
    refused(with("Transfer-Encoding: gzip, chunked\r\n"), "other than chunked");
    refused(parse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), "HTTP/1.0");
}

#[test]
fn some_responses_have_no_body_whatever_they_declare() {
    let head = parse_for(RequestKind::Head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap();
    assert_eq!((head.framing(), head.keep_alive()), (Framing::None, true));
    let head = parse("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").unwrap();
    assert_eq!((head.framing(), head.keep_alive()), (Framing::None, true));
    assert!(head.headers().all(|header| !head.is_hop_by_hop(&header)), "the length is that of the 200");
    for lines in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let head = parse(&format!("HTTP/1.1 204 No Content\r\n{lines}\r\n")).unwrap();
        assert_eq!((head.framing(), head.keep_alive()), (Framing::None, false), "who knows what follows");
        assert!(head.headers().all(|header| head.is_hop_by_hop(&header)));
    }
    let head = parse("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(head.keep_alive() && head.headers().all(|header| head.is_hop_by_hop(&header)));
    let head = parse_for(RequestKind::Connect, "HTTP/1.1 200 OK\r\n\r\n").unwrap();
    assert_eq!(head.framing(), Framing::None);
}

#[test]
fn interim_responses_are_followed_by_another_head() {
    let mut head =
        parse("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    assert!(head.is_interim());
    head.take_rest();
    assert_eq!(head.parse(&Limits::default(), RequestKind::Plain), Ok(Parse::Complete));
    assert_eq!((head.status(), head.is_interim(), head.headers().count()), (200, false, 1));
}

#[test]
fn a_protocol_changes_only_if_that_was_asked_for() {
    let text = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    refused(parse(text), "nobody asked");
    let head = parse_for(RequestKind::Upgrade, text).unwrap();
    assert!(head.upgrade() && !head.is_interim() && !head.keep_alive());
    refused(parse_for(RequestKind::Upgrade, "HTTP/1.1 101 Switching Protocols\r\n\r\n"), "nobody asked");
}

#[test]
fn connections_are_kept_as_version_and_options_say() {
    let keeps = |version: &str, lines: &str| {
        parse(&format!("HTTP/{version} 200 OK\r\nContent-Length: 0\r\n{lines}\r\n")).unwrap().keep_alive()
    };
    assert!(keeps("1.1", ""));
    assert!(!keeps("1.1", "Connection: close\r\n"));
    assert!(!keeps("1.0", ""));
    assert!(keeps("1.0", "Connection: keep-alive\r\n"));
}

#[test]
fn oversized_heads_are_refused() {
    refused(with(&format!("X: {}\r\n", "a".repeat(70_000))), "too many bytes");
    refused(with(&"X: a\r\n".repeat(129)), "too many header lines");
    refused(parse(&format!("HTTP/1.1 200 {}", "a".repeat(9_000))), "status line is too long");
}
