//! Bodies: every framing, both ways, as soon as they come.

use std::sync::{Mutex, mpsc};

use super::super::support::hand::Hand;
use super::super::support::mesh::{caller, on_both_drivers};
use super::super::support::origin::{Origin, Reply, chunk};

const GET: &str = "GET http://orders/ HTTP/1.1\r\nHost: orders\r\n\r\n";
const POST: &str = "POST http://orders/ HTTP/1.1\r\nHost: orders\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_download_of_known_length_comes_as_it_is_sent() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        let mut client = mesher.connect();
        client.send(GET);
        let (mut peer, _) = service.accept_request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
        assert!(client.read_head_text().contains("\r\nContent-Length: 9\r\n"));
        for part in ["one", "two", "end"] {
            peer.send(part);
            assert_eq!(client.read_through(part.as_bytes()), part.as_bytes());
        }
        client.send(GET);
        peer.read_head_text();
        peer.send(OK);
        assert_eq!(client.read_response().text(), "ok", "both connections carry on");
    });
}

#[test]
fn a_chunked_download_comes_as_it_is_sent_with_its_trailers() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        let mut client = mesher.connect();
        client.send(GET);
        let (mut peer, _) = service.accept_request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
        assert!(client.read_head_text().contains("\r\nTransfer-Encoding: chunked\r\n"));
        peer.send("3\r\none\r\n");
        client.read_through(b"one");
        // A chunk that comes in pieces is passed on in pieces.
        peer.send("6;ext=1\r\ntwo");
        client.read_through(b"two");
        peer.send("end\r\n0\r\nX-Sum: 9\r\n\r\n");
        client.read_through(b"end");
        client.read_through(b"X-Sum: 9\r\n\r\n");
        client.send(GET);
        peer.read_head_text();
        peer.send(OK);
        assert_eq!(client.read_response().text(), "ok", "both connections carry on");
    });
}

#[test]
fn a_download_that_ends_with_its_connection_becomes_chunks() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        let mut client = mesher.connect();
        client.send(GET);
        let (mut peer, _) = service.accept_request();
        peer.send("HTTP/1.1 200 OK\r\n\r\nfirst");
        client.read_through(b"\r\n\r\n5\r\nfirst\r\n");
        peer.send("second");
        client.read_through(b"6\r\nsecond\r\n");
        drop(peer);
        client.read_through(b"0\r\n\r\n");
        client.send(GET);
        let (mut peer, _) = service.accept_request();
        peer.send(OK);
        assert_eq!(client.read_response().text(), "ok", "the client's connection carries on");
    });
}

#[test]
fn uploads_of_either_framing_go_as_they_come() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        let (mut client, mut peer) = (mesher.connect(), None);
        let framings = [
            ("Content-Length: 9", ["one", "two", "end"]),
            (
                "Transfer-Encoding: chunked",
                ["3\r\none\r\n", "3;x\r\ntwo\r\n", "3\r\nend\r\n0\r\nX-Sum: 9\r\n\r\n"],
            ),
        ];
        for (framing, parts) in framings {
            client.send(format!("{POST}{framing}\r\n\r\n"));
            let peer = peer.get_or_insert_with(|| service.accept());
            assert!(peer.read_head_text().contains(&format!("\r\n{framing}\r\n")));
            for (part, text) in parts.iter().zip(["one", "two", "end"]) {
                client.send(part);
                peer.read_through(text.as_bytes());
            }
            if parts[2].contains("X-Sum") {
                peer.read_through(b"X-Sum: 9\r\n\r\n");
            }
            peer.send(OK);
            assert_eq!(client.read_response().text(), "ok");
        }
    });
}

#[test]
fn server_sent_events_arrive_at_once() {
    on_both_drivers(|driver| {
        let (events, stream) = mpsc::channel();
        let stream = Mutex::new(Some(stream));
        let origin = Origin::start(move |_| Reply::event_stream(stream.lock().unwrap().take().unwrap()));
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut client = mesher.connect();
        client.send(GET);
        assert!(client.read_head_text().contains("\r\nContent-Type: text/event-stream\r\n"));
        for n in 0..100 {
            let event = format!("id: {n}\ndata: x\n\n");
            events.send(event.clone().into_bytes()).unwrap();
            client.read_through(event.as_bytes());
        }
        drop(events);
        client.read_through(b"0\r\n\r\n");
    });
}

#[test]
fn a_large_body_of_either_framing_arrives_unchanged() {
    on_both_drivers(|driver| {
        let body: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let origin = Origin::start(|seen| match seen.request.target.as_str() {
            "/length" => Reply::ok(&seen.request.body),
            _ => {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                let chunks = seen.request.body.chunks(77_777);
                let chunked = chunks.fold(Reply::default().send(head), |reply, part| reply.send(chunk(part)));
                chunked.send("0\r\n\r\n")
            }
        });
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        for (target, framing) in [("/length", "length"), ("/chunks", "chunked")] {
            let mut client = mesher.connect();
            client.send(format!("POST http://orders{target} HTTP/1.1\r\nHost: orders\r\n"));
            if framing == "length" {
                client.send(format!("Content-Length: {}\r\n\r\n", body.len()));
                client.send(&body);
            } else {
                client.send("Transfer-Encoding: chunked\r\n\r\n");
                for part in body.chunks(54_321) {
                    client.send(chunk(part));
                }
                client.send("0\r\n\r\n");
            }
            assert!(client.read_response().body == body, "{framing} body has changed");
        }
    });
}

#[test]
fn a_response_without_a_body_ends_with_its_head() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|seen| {
            let head = match seen.request.target.as_str() {
                "/204" => "204 No Content\r\nX-A: 1",
                "/304" => "304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 5",
                "/head-chunked" => "200 OK\r\nTransfer-Encoding: chunked",
                "/head-close" => "200 OK\r\nX-A: 1",
                _ => "200 OK\r\nContent-Length: 12345",
            };
            Reply::default().send(format!("HTTP/1.1 {head}\r\n\r\n"))
        });
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut client = mesher.connect();
        let cases = [
            ("GET", "/204", 204, None),
            ("GET", "/304", 304, Some("5")),
            ("HEAD", "/head", 200, Some("12345")),
            ("HEAD", "/head-chunked", 200, None),
            ("HEAD", "/head-close", 200, None),
            ("HEAD", "/304", 304, Some("5")),
        ];
        for (method, target, status, length) in cases {
            let response =
                client.ask(format!("{method} http://orders{target} HTTP/1.1\r\nHost: orders\r\n\r\n"));
            assert_eq!((response.status, response.header("content-length")), (status, length), "{target}");
            assert_eq!(response.header("connection"), None, "{method} {target}");
        }
        assert_eq!((origin.requests(), origin.connections()), (6, 1), "every head was the whole response");
    });
}

#[test]
fn interim_responses_are_passed_on_as_they_come() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        let mut client = mesher.connect();
        client.send(GET);
        let (mut peer, _) = service.accept_request();
        for n in 0..3 {
            peer.send(format!(
                "HTTP/1.1 103 Early Hints\r\nLink: </{n}>; rel=preload\r\nConnection: x\r\n\r\n"
            ));
            let head = client.read_head_text();
            assert_eq!(head, format!("HTTP/1.1 103 Early Hints\r\nLink: </{n}>; rel=preload\r\n\r\n"));
        }
        peer.send(OK);
        assert_eq!(client.read_response().text(), "ok");
        client.send("GET http://orders/ HTTP/1.0\r\nHost: orders\r\n\r\n");
        peer.read_head_text();
        peer.send(format!("HTTP/1.1 103 Early Hints\r\n\r\n{OK}"));
        assert_eq!(client.read_response().status, 200, "HTTP/1.0 knows no interim responses");
    });
}

#[test]
fn a_client_that_waits_for_continue_gets_it_from_the_service() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        let mut client = mesher.connect();
        client.send(format!("{POST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
        let (mut peer, head) = service.accept_request();
        assert!(head.contains("\r\nExpect: 100-continue\r\n"), "{head}");
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(client.read_head_text(), "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("body");
        peer.read_through(b"body");
        peer.send(OK);
        assert_eq!(client.read_response().text(), "ok");
    });
}

#[test]
fn a_client_that_waits_for_continue_and_is_refused_need_not_send_its_body() {
    on_both_drivers(|driver| {
        let origin = Hand::listen();
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut client = mesher.connect();
        client.send(format!("{POST}Expect: 100-continue\r\nContent-Length: 4000000000\r\n\r\n"));
        let (mut peer, _) = origin.accept_request();
        peer.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
        let response = client.read_response();
        assert_eq!((response.status, response.text()), (417, "no"));
        assert!(client.is_ended(), "the body that never came cannot be told from the next request");
        assert!(peer.is_ended());
    });
}

#[test]
fn a_response_that_comes_before_the_upload_is_over_is_delivered() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        for ends in [false, true] {
            let mut client = mesher.connect();
            client.send(format!("{POST}Content-Length: 200000000\r\n\r\nbegin"));
            let (mut peer, _) = service.accept_request();
            peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nstop");
            if ends {
                peer.reset_on_drop();
                drop(peer);
            }
            let response = client.read_response();
            assert_eq!((response.status, response.text()), (413, "stop"));
        }
    });
}

#[test]
fn a_response_may_stream_while_the_upload_does() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        let mut client = mesher.connect();
        client.send(format!("{POST}Transfer-Encoding: chunked\r\n\r\n"));
        let (mut peer, _) = service.accept_request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.read_head_text();
        for word in ["one", "two", "three"] {
            client.send(chunk(word));
            peer.read_through(word.as_bytes());
            peer.send(chunk(word));
            client.read_through(word.as_bytes());
        }
        client.send("0\r\n\r\n");
        peer.read_through(b"0\r\n\r\n");
        peer.send("0\r\n\r\n");
        client.read_through(b"0\r\n\r\n");
        client.send(GET);
        peer.read_head_text();
        peer.send(OK);
        assert_eq!(client.read_response().text(), "ok", "both connections carry on");
    });
}
