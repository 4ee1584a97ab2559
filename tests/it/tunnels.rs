//! What is no longer requests and responses: upgrades, and CONNECT to services of the mesh.

mod inside_tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::support::client::Client;
use super::support::conf::Conf;
use super::support::origin::{Origin, Reply};
use super::support::process::{Mesher, Start};
use super::support::wait::PATIENCE;

fn caller(services: &[(&str, &[SocketAddr])]) -> Mesher {
    Start::new(Conf::sidecar("caller").services(services)).ready()
}

const HANDSHAKE: &str = "GET http://chat/room HTTP/1.1\r\nHost: chat\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";

/// What a service was sent: the request head and the bytes behind it.
type Sent = (Vec<u8>, Vec<u8>);

/// Accepts one connection, reads a request head, answers with `head`, then echoes until the end.
fn echo_after(head: &'static str) -> (SocketAddr, JoinHandle<Sent>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !head.is_empty() && !request.ends_with(b"\r\n\r\n") {
            assert_eq!(stream.read(&mut byte).unwrap(), 1, "the request ended early");
            request.push(byte[0]);
        }
        stream.write_all(head.as_bytes()).unwrap();
        let (mut echoed, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            echoed.extend_from_slice(&buffer[..n]);
            stream.write_all(&buffer[..n]).unwrap();
        }
        (request, echoed)
    });
    (address, thread)
}

#[test]
fn an_upgrade_carries_bytes_both_ways_until_one_side_ends() {
    let (address, service) = echo_after(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst",
    );
    let mesher = caller(&[("chat", &[address])]);
    let mut client = mesher.connect();
    client.send(HANDSHAKE);
    let head = String::from_utf8(client.read_through(b"\r\n\r\n")).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("Upgrade: websocket\r\n") && head.contains("Connection: upgrade\r\n"), "{head}");
    assert_eq!(client.read_through(b"first"), b"first", "what stood behind the 101");
    client.send(b"\x81\x05hello");
    assert_eq!(client.read_through(b"hello"), b"\x81\x05hello");
    client.finish();
    let (request, echoed) = service.join().unwrap();
    let request = String::from_utf8(request).unwrap();
    assert!(request.contains("Connection: upgrade\r\nUpgrade: websocket\r\n"), "{request}");
    assert_eq!(echoed, b"\x81\x05hello");
}

#[test]
fn bytes_sent_ahead_reach_the_service_only_behind_its_101() {
    let (address, service) =
        echo_after("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    let mesher = caller(&[("chat", &[address])]);
    let mut client = mesher.connect();
    client.send(format!("{HANDSHAKE}ahead"));
    client.read_through(b"\r\n\r\n");
    assert_eq!(client.read_through(b"ahead"), b"ahead");
    client.finish();
    let (request, echoed) = service.join().unwrap();
    assert!(request.ends_with(b"\r\n\r\n"));
    assert_eq!(echoed, b"ahead");
}

#[test]
fn a_refused_upgrade_is_an_ordinary_response_and_what_follows_an_ordinary_request() {
    let origin = Origin::start(|_| Reply::status(426, "Upgrade Required", "no"));
    let mesher = caller(&[("chat", &[origin.address()])]);
    let mut client = mesher.connect();
    client.send(format!("{HANDSHAKE}GET http://chat/next HTTP/1.1\r\nHost: chat\r\n\r\n"));
    assert_eq!(client.read_response().status, 426);
    assert_eq!(client.read_response().status, 426);
    assert_eq!(origin.requests(), 2, "the bytes behind the handshake were a request of their own");
}

#[test]
fn an_offer_of_h2c_is_ignored() {
    let origin = Origin::start(|_| Reply::ok("plain"));
    let mesher = caller(&[("chat", &[origin.address()])]);
    let mut client = mesher.connect();
    client.send("GET http://chat/ HTTP/1.1\r\nHost: chat\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n");
    assert_eq!(client.read_response().status, 200);
    let seen = origin.seen();
    let request = &seen[0].request;
    assert!(request.header("upgrade").is_none() && request.header("http2-settings").is_none());
}

fn connect(mesher: &Mesher, authority: &str) -> (Client, String) {
    let mut client = mesher.connect();
    client.send(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
    let head = String::from_utf8(client.read_through(b"\r\n\r\n")).unwrap();
    (client, head)
}

#[test]
fn requests_inside_a_tunnel_are_for_its_service() {
    let origin = Origin::start(|seen| Reply::ok(seen.request.header("x-forwarded-port").unwrap_or("none")));
    let mesher = caller(&[("orders", &[origin.address()])]);
    let (mut client, head) = connect(&mesher, "orders:8083");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    for path in ["/a", "/b"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: orders:8083\r\n\r\n"));
        assert_eq!(client.read_response().text(), "8083");
    }
    assert_eq!(
        origin.seen().iter().map(|seen| seen.request.target.clone()).collect::<Vec<_>>(),
        ["/a", "/b"]
    );
}

#[test]
fn bytes_pipelined_behind_a_connect_are_not_lost() {
    let origin = Origin::answering("hello");
    let mesher = caller(&[("orders", &[origin.address()])]);
    let mut client = mesher.connect();
    client.send(
        "CONNECT orders:80 HTTP/1.1\r\nHost: orders:80\r\n\r\nGET /early HTTP/1.1\r\nHost: orders\r\n\r\n",
    );
    client.read_through(b"\r\n\r\n");
    assert_eq!(client.read_response().text(), "hello");
}

#[test]
fn an_unknown_service_is_refused_before_the_tunnel_opens() {
    let mesher = caller(&[]);
    let (mut client, head) = connect(&mesher, "nobody:443");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("x-mesher-error: NC; "), "{head}");
    assert!(head.contains("Connection: close\r\n"), "{head}");
    // The reason, and then the end: some clients never close it themselves.
    client.read_to_end();
}

/// The start of a TLS record, and bytes that no HTTP parser would take.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x05hello";

#[test]
fn tls_inside_a_tunnel_goes_untouched_to_an_instance_that_takes_it() {
    let (address, service) = echo_after("");
    let registry = format!(
        "services:\n  secure:\n    - version: 0.0.1\n      endpoints: [\"rest://{address}?sslEnabled=true\"]\n"
    );
    let conf = Conf::sidecar("caller").services(&[]).file("registry.yaml", &registry);
    let mesher = Start::new(conf).ready();
    let (mut client, head) = connect(&mesher, "secure:443");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    client.send(CLIENT_HELLO);
    assert_eq!(client.read_through(b"hello"), CLIENT_HELLO);
    client.finish();
    assert_eq!(service.join().unwrap().1, CLIENT_HELLO);
}

#[test]
fn tls_to_a_service_without_it_is_closed_and_the_log_says_why() {
    let origin = Origin::answering("plain");
    let mesher = caller(&[("orders", &[origin.address()])]);
    let (mut client, _) = connect(&mesher, "orders:443");
    client.send(CLIENT_HELLO);
    assert_eq!(client.read_to_end(), b"");
    mesher.wait_for_output("no instance declares sslEnabled=true");
    assert_eq!(origin.requests(), 0);
}

#[test]
fn connect_is_not_for_the_way_in() {
    let origin = Origin::answering("local");
    let conf = Conf::sidecar("provider").services(&[]);
    let mesher = Start::new(conf).arg(format!("--service-ports=rest:{}", origin.address().port())).ready();
    let mut client = Client::connect(mesher.conf().incoming);
    client.send("CONNECT provider:80 HTTP/1.1\r\nHost: provider:80\r\n\r\n");
    assert_eq!(client.read_response().status, 405);
}

#[test]
fn a_broken_tunnel_ends_the_other_side() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mesher = caller(&[("chat", &[address])]);
    let mut client = mesher.connect();
    client.send(HANDSHAKE);
    let (mut service, _): (TcpStream, _) = listener.accept().unwrap();
    service.write_all(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").unwrap();
    client.read_through(b"\r\n\r\n");
    drop(client);
    service.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = Vec::new();
    // The request was read by nobody here: its bytes come first, then the end.
    service.read_to_end(&mut rest).unwrap();
    assert!(rest.starts_with(b"GET /room "));
}
