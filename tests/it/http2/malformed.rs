//! Header blocks that HTTP/2 can carry and HTTP/1 can not, or reads as something else (RFC 9113 sections 8.2 and 8.3,
//! and 10.3 on what comes of forwarding them). None may reach a service.

use super::super::support::conf::Conf;
use super::super::support::origin::{Origin, Reply};
use super::super::support::process::{Mesher, Start};
use super::client::{Answer, Client};
use super::frame::{Frame, error, flag};
use super::hpack::{AUTHORITY, Block};

/// A request with these pseudo-header fields, in this order.
fn pseudo(fields: &[(&str, &str)]) -> Block {
    fields.iter().fold(Block::default(), |block, (name, value)| block.field(name, value))
}

fn post() -> Block {
    Block::request("POST", "/malformed")
}

fn get() -> Block {
    Block::get("/malformed")
}

/// What is wrong with each, and the block.
fn malformed() -> Vec<(&'static str, Block)> {
    let (method, scheme, authority, path) =
        ((":method", "GET"), (":scheme", "http"), (":authority", AUTHORITY), (":path", "/malformed"));
    vec![
        ("transfer-encoding", post().field("transfer-encoding", "chunked")),
        ("two lengths", post().field("content-length", "0").field("content-length", "5")),
        ("two lengths in one", post().field("content-length", "0, 5")),
        ("a length with a sign", post().field("content-length", "+0")),
        ("a length that is none", post().field("content-length", "x")),
        ("line end in a value", get().field("x-a", "b\r\nx-smuggled: 1")),
        ("line feed in a value", get().field("x-a", "b\nx-smuggled: 1")),
        ("carriage return in a value", get().field("x-a", "b\rx-smuggled: 1")),
        ("line end in a name", get().field("x-a: b\r\nx-smuggled", "1")),
        ("upper case in a name", get().field("X-Upper", "1")),
        ("connection", get().field("connection", "close")),
        ("keep-alive", get().field("keep-alive", "1")),
        ("proxy-connection", get().field("proxy-connection", "keep-alive")),
        ("upgrade", get().field("upgrade", "websocket")),
        ("te that is not trailers", get().field("te", "gzip")),
        ("NUL in a value", get().field("x-a", "b\0c")),
        ("no name", get().field("", "b")),
        ("space in a name", get().field("x a", "b")),
        ("colon in a name", get().field("x:a", "b")),
        ("a name that is not ASCII", get().field("x-\u{e9}", "b")),
        ("space before a value", get().field("x-a", " b")),
        ("space behind a value", get().field("x-a", "b ")),
        ("tab before a value", get().field("x-a", "\tb")),
        ("another host", get().field("host", "elsewhere")),
        ("two hosts", get().field("host", AUTHORITY).field("host", "elsewhere")),
        ("two paths", get().field(":path", "/else")),
        ("two methods", pseudo(&[method, method, scheme, authority, path])),
        ("two authorities", pseudo(&[method, scheme, authority, (":authority", "elsewhere"), path])),
        ("no path", pseudo(&[method, scheme, authority])),
        ("an empty path", pseudo(&[method, scheme, authority, (":path", "")])),
        ("no method", pseudo(&[scheme, authority, path])),
        ("no scheme", pseudo(&[method, authority, path])),
        ("a pseudo-header behind a header", pseudo(&[method, scheme, authority, ("x-a", "b"), path])),
        ("a pseudo-header that is not known", get().field(":unknown", "1")),
        ("a pseudo-header of responses", get().field(":status", "200")),
        ("space in the method", pseudo(&[(":method", "GET /x HTTP/1.1"), scheme, authority, path])),
        ("line end in the method", pseudo(&[(":method", "GET\r\n"), scheme, authority, path])),
        ("space in the path", pseudo(&[method, scheme, authority, (":path", "/malformed HTTP/1.1")])),
        (
            "line end in the path",
            pseudo(&[method, scheme, authority, (":path", "/malformed HTTP/1.1\r\nx-smuggled: 1")]),
        ),
        ("a path that is an authority", pseudo(&[method, scheme, authority, (":path", "elsewhere:80")])),
        ("a path with a scheme", pseudo(&[method, scheme, authority, (":path", "http://elsewhere/")])),
        ("an asterisk for a GET", pseudo(&[method, scheme, authority, (":path", "*")])),
        (
            "line end in the authority",
            pseudo(&[method, scheme, (":authority", "attacked\r\nx-smuggled: 1"), path]),
        ),
        ("space in the authority", pseudo(&[method, scheme, (":authority", "attacked elsewhere"), path])),
        ("path in the authority", pseudo(&[method, scheme, (":authority", "attacked/else"), path])),
        ("user in the authority", pseudo(&[method, scheme, (":authority", "user@attacked"), path])),
    ]
}

fn mesher(origin: &Origin) -> Mesher {
    let conf = Conf::sidecar("attacked").services(&[(AUTHORITY, &[origin.address()])]);
    Start::new(conf).arg(format!("--service-ports=rest:{}", origin.address().port())).ready()
}

/// Refused as malformed, by a reset, a GOAWAY or a response.
fn is_refusal(answer: &Answer) -> bool {
    let codes = [error::PROTOCOL_ERROR, error::COMPRESSION_ERROR];
    match answer {
        Answer::Reset(code) | Answer::Ended(Some(code)) => codes.contains(code),
        Answer::Response(status, _) => *status == 400,
        Answer::Ended(None) => false,
    }
}

#[test]
fn no_malformed_head_reaches_a_service_in_either_direction() {
    let origin = Origin::answering("reached");
    let mesher = mesher(&origin);
    let mut wrong = Vec::new();
    for address in [mesher.conf().incoming, mesher.conf().outgoing] {
        for (what, block) in malformed() {
            let answer = Client::connect(address).ask(&block);
            if !is_refusal(&answer) {
                wrong.push((what, answer));
            }
        }
        assert_eq!(Client::connect(address).get("/well-formed"), Answer::Response(200, b"reached".into()));
    }
    let reached: Vec<String> = origin.seen().into_iter().map(|seen| seen.request.target).collect();
    assert_eq!((wrong, reached), (vec![], vec!["/well-formed".to_owned(); 2]));
}

#[test]
fn malformed_trailers_do_not_reach_a_service() {
    let origin = Origin::start(|seen| Reply::ok(&seen.request.raw));
    let mesher = mesher(&origin);
    for (name, value) in [("x-a", "b\r\nx-smuggled: 1"), ("connection", "close"), ("X-Upper", "1")] {
        let mut client = Client::connect(mesher.conf().incoming);
        let stream = client.next_stream();
        client.send(Frame::head(stream, &post()).bytes());
        client.send(Frame::data(stream, "body").bytes());
        client.send(Frame::request(stream, &Block::default().field(name, value)).bytes());
        let answer = client.answer(stream);
        assert!(is_refusal(&answer), "{name}: {value:?} was answered with {answer:?}");
    }
    assert_eq!(origin.requests(), 0);
}

#[test]
fn what_is_well_formed_reaches_the_service_as_one_request() {
    let origin = Origin::echoing();
    let mesher = mesher(&origin);
    let block = post()
        .field("te", "trailers")
        .field("cookie", "a=1")
        .field("cookie", "b=2")
        .field("x-empty", "")
        .field("host", AUTHORITY)
        .field("content-length", "0");
    let answer = Client::connect(mesher.conf().incoming).ask(&block);
    let Answer::Response(200, echo) = answer else { panic!("{answer:?}") };
    let echo = String::from_utf8(echo).unwrap().to_ascii_lowercase();
    assert!(echo.starts_with("post /malformed http/1.1\r\n"), "{echo}");
    assert_eq!(echo.matches("\r\nhost: attacked\r\n").count(), 1, "{echo}");
    // RFC 9113 section 8.2.3: the crumbs are one cookie again.
    assert!(echo.contains("cookie: a=1; b=2\r\n"), "{echo}");
    assert_eq!(echo.matches("content-length: 0\r\n").count(), 1, "{echo}");
}

#[test]
fn the_end_of_a_body_never_overtakes_it() {
    let origin = Origin::echoing();
    let mesher = mesher(&origin);
    let trailers = |name, value| Frame::request(1, &Block::default().field(name, value)).bytes();
    let nothing = Frame::data(1, []).with(flag::END_STREAM).bytes();
    for (head, end, expected) in [
        (post(), trailers("x-sum", "1"), "4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n"),
        // What only a head may say is not sent on.
        (post(), trailers(":path", "/else"), "4\r\nbody\r\n0\r\n\r\n"),
        (post(), trailers("content-length", "9"), "4\r\nbody\r\n0\r\n\r\n"),
        (post(), nothing.clone(), "4\r\nbody\r\n0\r\n\r\n"),
        (post().field("content-length", "4"), nothing.clone(), "body"),
        (post().field("content-length", "4"), trailers("x-sum", "1"), "body"),
    ] {
        let mut client = Client::connect(mesher.conf().incoming);
        // In one piece: all of it is there before the first byte goes on.
        client.send([Frame::head(1, &head).bytes(), Frame::data(1, "body").bytes(), end].concat());
        let answer = client.answer(1);
        let Answer::Response(200, echo) = &answer else { panic!("{answer:?} instead of {expected:?}") };
        let echo = String::from_utf8_lossy(echo);
        assert!(echo.ends_with(&format!("\r\n\r\n{expected}")), "{echo:?} does not end with {expected:?}");
    }
    assert_eq!(origin.requests(), 6);
}
