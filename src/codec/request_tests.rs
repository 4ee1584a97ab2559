//! What a client may and may not send, each as a whole head.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

const HOST: &str = "Host: svc\r\n";

fn parse(text: &str) -> Result<RequestHead, Reject> {
    let mut head = RequestHead::new();
    head.buffer().extend_from_slice(text.as_bytes());
    match head.parse(&Limits::default())? {
        Parse::Complete => Ok(head),
        Parse::Incomplete => Err(Reject { status: 0, why: "incomplete", at: 0 }),
    }
}

fn good(text: &str) -> RequestHead {
    parse(text).unwrap_or_else(|reject| panic!("{text:?}: {reject}"))
}

/// A sound request with these lines added.
fn with(lines: &str) -> Result<RequestHead, Reject> {
    parse(&format!("POST /p HTTP/1.1\r\n{HOST}{lines}\r\n"))
}

#[track_caller]
fn refused(parsed: Result<RequestHead, Reject>, status: u16, why: &str) {
    let reject = parsed.expect_err(why);
    assert!(reject.status == status && reject.why.contains(why), "{reject:?}");
}

#[test]
fn a_head_is_read_with_case_order_and_repetition_kept() {
    let head = good("GET /p?q HTTP/1.1\r\nhOsT: svc:80\r\nCookie: a\r\ncookie:  b \r\n\r\nbody");
    assert_eq!((head.method(), head.target(), head.version()), (&b"GET"[..], &b"/p?q"[..], Version::Http11));
    let headers: Vec<_> = head.headers().map(|h| (h.name, h.value)).collect();
    assert_eq!(headers, [(&b"hOsT"[..], &b"svc:80"[..]), (b"Cookie", b"a"), (b"cookie", b"b")]);
    assert_eq!(head.header(Known::Host), Some(&b"svc:80"[..]));
    assert_eq!(head.header(Known::Expect), None);
    assert_eq!(head.rest(), b"body");
}

#[test]
fn a_head_that_comes_byte_by_byte_is_searched_once_and_completes_with_its_last_byte() {
    let text = "POST / HTTP/1.1\r\nHost: svc\r\nContent-Length: 1\r\n\r\n";
    let mut head = RequestHead::new();
    for (i, byte) in text.bytes().enumerate() {
        head.buffer().push(byte);
        let expected = if i + 1 == text.len() { Parse::Complete } else { Parse::Incomplete };
        assert_eq!(head.parse(&Limits::default()), Ok(expected), "byte {i}");
    }
    assert_eq!(head.framing(), Framing::Length(1));
}

#[test]
fn pipelined_requests_follow_each_other_in_one_buffer() {
    let mut head =
        good("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /2 HTTP/1.1\r\nHost: b\r\n\r\n");
    head.consume(2);
    head.take_rest();
    assert_eq!(head.parse(&Limits::default()), Ok(Parse::Complete));
    assert_eq!(
        (head.target(), head.authority(), head.framing()),
        (&b"/2"[..], Some(&b"b"[..]), Framing::None)
    );
    head.take_rest();
    assert_eq!(head.parse(&Limits::default()), Ok(Parse::Incomplete));
    assert!(head.buffer().is_empty());
}

#[test]
fn a_refused_head_stays_refused_until_it_is_reset() {
    let mut head = RequestHead::new();
    head.buffer().extend_from_slice(b"GET\n");
    let reject = head.parse(&Limits::default()).unwrap_err();
    head.buffer().extend_from_slice(b"/ HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.parse(&Limits::default()), Err(reject));
    head.reset();
    head.buffer().extend_from_slice(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.parse(&Limits::default()), Ok(Parse::Complete));
}

#[test]
fn a_few_empty_lines_in_front_are_skipped_and_many_are_refused() {
    let request = format!("GET / HTTP/1.1\r\n{HOST}\r\n");
    assert_eq!(good(&format!("\r\n\r\n{request}")).target(), b"/");
    refused(parse(&"\r\n".repeat(5)), 400, "empty lines");
    refused(parse(&format!("\n{request}")), 400, "line feed without");
}

#[test]
fn request_lines_have_three_words_and_one_space_between() {
    let line = |line: &str| parse(&format!("{line}\r\n{HOST}\r\n"));
    refused(line("GET  / HTTP/1.1"), 400, "malformed HTTP version");
    refused(line("GET /  HTTP/1.1"), 400, "malformed HTTP version");
    refused(line("GET / HTTP/1.1 "), 400, "malformed HTTP version");
    refused(line("GET /pa th HTTP/1.1"), 400, "malformed HTTP version");
    refused(line(" GET / HTTP/1.1"), 400, "white space before");
    refused(line("GET\t/ HTTP/1.1"), 400, "white space before or in");
    refused(line("GET"), 400, "without a target");
    refused(line("GET /"), 400, "without a version");
    refused(line("GET / HTTP/1.1\r"), 400, "malformed HTTP version");
    refused(line("G(T / HTTP/1.1"), 400, "no method may have");
    refused(line("GE\0T / HTTP/1.1"), 400, "no method may have");
    refused(parse("\x16\x03\x01\x02"), 400, "TLS");
}

#[test]
fn only_versions_one_point_something_are_spoken() {
    let version = |version: &str| parse(&format!("GET / {version}\r\n{HOST}\r\n"));
    assert_eq!(version("HTTP/1.2").unwrap().version(), Version::Http11);
    assert_eq!(version("HTTP/1.0").unwrap().version(), Version::Http10);
    for other in ["HTTP/0.9", "HTTP/2.0", "HTTP/9.9"] {
        refused(version(other), 505, "version other than 1");
    }
    for other in ["http/1.1", "HTTP/1", "HTTP/01.01", "HTTP/1.10", "HTTP/0.99", "FTP/1.1"] {
        refused(version(other), 400, "malformed HTTP version");
    }
    refused(parse("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505, "version other than 1");
}

#[test]
fn line_ends_are_crlf_and_nothing_else() {
    refused(parse("GET / HTTP/1.1\nHost: a\r\n\r\n"), 400, "line feed without");
    refused(with("X: a\nY: b\r\n"), 400, "line feed without");
    refused(with("X: a\rY: b\r\n"), 400, "carriage return without");
    refused(with("X: a\r\r\n"), 400, "carriage return without");
    refused(with("X: a\r\n\n"), 400, "line feed without");
    refused(with("X: a\r\n folded\r\n"), 400, "folded");
    refused(parse("GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n"), 400, "folded");
}

#[test]
fn the_offset_of_a_fault_is_that_of_its_byte() {
    let reject = parse("GET / HTTP/1.1\r\nHost: svc\r\nX: a\0b\r\n\r\n").unwrap_err();
    assert_eq!((reject.at, reject.why), (31, "NUL in a header value"));
    let reject = parse("GET /a#b HTTP/1.1\r\n").unwrap_err();
    assert_eq!((reject.at, reject.why), (6, "fragment in the target"));
}

#[test]
fn there_is_exactly_one_valid_host() {
    let host = |lines: &str| parse(&format!("GET / HTTP/1.1\r\n{lines}\r\n"));
    refused(host(""), 400, "no host");
    refused(host("Host: a\r\nHost: a\r\n"), 400, "more than one host");
    refused(host("Host: a\r\nX: y\r\nhost: b\r\n"), 400, "more than one host");
    refused(host("Host:\r\n"), 400, "empty host");
    refused(host("Host: user@a\r\n"), 400, "user information");
    refused(host("Host: a/path\r\n"), 400, "no host may have");
    refused(host("Host: a, b\r\n"), 400, "more than one host");
    refused(host("Host: a:\r\n"), 400, "without a port");
    assert_eq!(good("GET / HTTP/1.0\r\n\r\n").authority(), None);
    refused(parse("GET / HTTP/1.0\r\nHost: a b\r\n\r\n"), 400, "no host may have");
}

#[test]
fn the_authority_of_the_target_wins_over_a_host_that_differs() {
    let head = good("GET http://other:81/p HTTP/1.1\r\nHost: svc\r\n\r\n");
    assert_eq!(head.authority(), Some(&b"other:81"[..]));
    refused(parse("GET http://other/ HTTP/1.1\r\n\r\n"), 400, "no host");
    let head = good("CONNECT other:443 HTTP/1.1\r\nHost: svc\r\n\r\n");
    assert_eq!(head.authority(), Some(&b"other:443"[..]));
}

#[test]
fn an_absolute_target_with_a_query_and_no_path_gets_its_slash_whatever_follows() {
    let head = good("POST http://svc?q HTTP/1.1\r\nHost: svc\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(head.target(), b"http://svc/?q");
    assert!(matches!(head.target_form(), Target::Absolute { path: b"/?q", authority: b"svc", .. }));
    assert_eq!((head.framing(), head.rest()), (Framing::Length(2), &b"hi"[..]));
}

#[test]
fn a_length_is_one_plain_number() {
    assert_eq!(with("Content-Length: 5\r\n").unwrap().framing(), Framing::Length(5));
    assert_eq!(with("content-LENGTH:\t5 \r\n").unwrap().framing(), Framing::Length(5));
    assert_eq!(with("").unwrap().framing(), Framing::None);
    for value in ["+5", "-1", "-0", "0x5", "1_0", "5 5", "5, 5", "", "abc", "05", "9223372036854775808"] {
        refused(with(&format!("Content-Length: {value}\r\n")), 400, "content-length");
    }
    refused(with("Content-Length: 5\r\nContent-Length: 5\r\n"), 400, "more than one content-length");
    refused(with("Content-Length: 5\r\nContent-Length: 6\r\n"), 400, "more than one content-length");
    refused(with("Content-Length: 5\r\nContent_Length: 6\r\n"), 400, "underscore");
}

#[test]
fn chunked_is_the_only_transfer_coding_and_stands_alone() {
    assert_eq!(with("Transfer-Encoding: chunked\r\n").unwrap().framing(), Framing::Chunked);
    assert_eq!(with("TRANSFER-ENCODING:\tChunked\t\r\n").unwrap().framing(), Framing::Chunked);
    let coding = |value: &str| with(&format!("Transfer-Encoding: {value}\r\n"));
    refused(coding("gzip, chunked"), 501, "other than chunked");
    refused(with("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), 501, "other than chunked");
    refused(coding("chunked, gzip"), 400, "does not end in chunked");
    refused(coding("gzip"), 400, "does not end in chunked");
    refused(coding("identity"), 400, "does not end in chunked");
    refused(coding("xchunked"), 400, "does not end in chunked");
    refused(coding("chunked, chunked"), 400, "more than once");
    refused(coding("chunked,"), 400, "does not end in chunked");
    refused(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 400, "does not end");
    for value in ["", ", chunked", "chunked;q=1", "\"chunked\"", "chu nked"] {
        refused(coding(value), 400, "malformed transfer-encoding");
    }
    refused(coding("\u{b}chunked"), 400, "control byte");
    refused(coding("chunked\0"), 400, "NUL");
    refused(with("Transfer_Encoding: chunked\r\n"), 400, "underscore");
}

#[test]
fn two_ways_to_end_a_body_are_one_too_many() {
    refused(with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400, "beside transfer-encoding");
    refused(with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400, "beside transfer-encoding");
    refused(parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, "HTTP/1.0");
    for method in ["TRACE /", "CONNECT svc:1"] {
        let parsed = parse(&format!("{method} HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\n"));
        refused(parsed, 400, "method that has none");
    }
    assert_eq!(
        good(&format!("GET / HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\n")).framing(),
        Framing::Length(5)
    );
}

#[test]
fn two_content_types_are_refused() {
    refused(with("Content-Type: a/b\r\nContent-Type: c/d\r\n"), 400, "more than one content-type");
}

#[test]
fn an_expectation_other_than_100_continue_is_refused() {
    with("Content-Length: 5\r\nExpect: 100-Continue\r\n").unwrap();
    refused(with("Expect: 200-ok\r\n"), 417, "expectation");
}

#[test]
fn a_connection_is_kept_as_version_and_options_say() {
    let keeps = |line: &str, options: &str| good(&format!("{line}\r\n{HOST}{options}\r\n")).keep_alive();
    assert!(keeps("GET / HTTP/1.1", ""));
    assert!(!keeps("GET / HTTP/1.1", "Connection: foo\r\nConnection: Close\r\n"));
    assert!(!keeps("GET / HTTP/1.0", ""));
    assert!(keeps("GET / HTTP/1.0", "Connection: Keep-Alive\r\n"));
    assert!(!keeps("GET / HTTP/1.0", "Connection: keep-alive, close\r\n"));
    assert!(!keeps("GET http://svc/ HTTP/1.0", "Connection: keep-alive\r\n"), "not as a proxy");
}

#[test]
fn what_connection_names_is_not_forwarded_but_what_we_rely_on_is() {
    let lines = "Connection: close, X-One\r\nconnection: x-two,,HOST,user-agent\r\nUser-Agent: a\r\nX-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\nTE: trailers\r\n";
    let head = with(lines).unwrap();
    let forwarded: Vec<_> = head.headers().filter(|h| !head.is_hop_by_hop(h)).map(|h| h.name).collect();
    assert_eq!(forwarded, [&b"Host"[..], b"X-Three"]);
    refused(with("Connection: a b\r\n"), 400, "connection options");
    refused(with(&format!("Connection: {}\r\n", "a,".repeat(33))), 400, "connection options");
}

#[test]
fn an_upgrade_is_offered_by_both_fields_together() {
    assert!(with("Connection: Upgrade\r\nUpgrade: websocket\r\n").unwrap().upgrade());
    assert!(!with("Upgrade: websocket\r\n").unwrap().upgrade());
    assert!(!with("Connection: upgrade\r\n").unwrap().upgrade());
    assert!(!good("GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").upgrade());
}

#[test]
fn each_limit_has_its_own_answer() {
    let limits = Limits { request_line: 40, head_bytes: 100, headers: 2 };
    let status = |text: &str| {
        let mut head = RequestHead::new();
        head.buffer().extend_from_slice(text.as_bytes());
        head.parse(&limits).map_err(|reject| reject.status)
    };
    let line = |length: usize| format!("GET /{} HTTP/1.1\r\n", "a".repeat(length - 14));
    assert_eq!(status(&line(40)), Ok(Parse::Incomplete));
    assert_eq!(status(&line(41)), Err(414));
    assert_eq!(status(&format!("GET /{}", "a".repeat(60))), Err(414));
    assert_eq!(status(&"A".repeat(60)), Err(400));
    assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n"), Ok(Parse::Complete));
    assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nB: c\r\nD: e\r\n"), Err(431));
    assert_eq!(status(&format!("GET / HTTP/1.1\r\nB: {}", "c".repeat(100))), Err(431));
}

#[test]
fn one_large_head_does_not_keep_its_memory() {
    let mut head = with(&format!("X: {}\r\n", "a".repeat(50_000))).unwrap();
    head.take_rest();
    assert!(head.buffer().capacity() <= 16 << 10);
}
