//! CONNECT from a client that speaks TLS to the sidecar: the tunnel is inside, and everything goes through it that goes
//! through one in the clear, TLS too.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mesher::net::Driver;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::http2::client::{Answer, Client};
use crate::http2::frame::Frame;
use crate::http2::hpack::Block;
use crate::http2::line::Door;
use crate::support::conf::Conf;
use crate::support::mesh::{caller_conf, on_both_drivers};
use crate::support::origin::{Origin, Reply};
use crate::support::process::{Mesher, Start};
use crate::support::tls::{Authority, Secured, trusting};
use crate::support::wait::PATIENCE;

/// The tag of what the sidecar shows its local service.
const LOCAL: &str = "mesher.Provider";
/// The name that the certificate of the sidecar has.
const SIDECAR: &str = "localhost";

/// A sidecar that speaks TLS to its clients and calls these: a name and an endpoint each.
fn calling(driver: Driver, authority: &Authority, services: &[(&str, String)]) -> Mesher {
    let mut registry = String::from("services:\n");
    for (name, endpoint) in services {
        registry += &format!("  {name}: [{{version: 0.0.1, endpoints: [\"{endpoint}\"]}}]\n");
    }
    let conf = caller_conf(driver, &[]).file("registry.yaml", &registry);
    Start::new(conf.presents(LOCAL, &authority.issue(SIDECAR))).ready()
}

/// An endpoint in the clear.
fn plain(address: SocketAddr) -> String {
    format!("rest://{address}")
}

/// Connects by TLS, and asks for a tunnel: its head is read.
fn connect(mesher: &Mesher, authority: &Authority, service: &str, behind: &[u8]) -> (Secured, String) {
    let config = Arc::new(trusting(&authority.pem, None));
    let mut client = Secured::connect(mesher.conf().outgoing, SIDECAR, &config).unwrap();
    let connect = format!("CONNECT {service} HTTP/1.1\r\nHost: {service}\r\n\r\n");
    // The answer says no length: nothing of what follows is taken for its body.
    let (head, _) = client.ask(&[connect.as_bytes(), behind].concat()).unwrap();
    (client, head)
}

/// A sidecar before `provider` that speaks TLS to its callers, and one that calls it.
fn both_speaking_tls(driver: Driver, authority: &Authority, origin: &Origin) -> (Mesher, Mesher) {
    let conf = Conf::provider(driver, origin.address());
    let conf = conf.presents("provider.rest.Provider", &authority.issue("provider"));
    let port = origin.address().port();
    let provider = Start::new(conf).arg(format!("--service-ports=rest:{port}")).ready();
    let endpoint = format!("rest://{}?sslEnabled=true", provider.conf().incoming);
    let caller = calling(driver, authority, &[("provider", endpoint)]);
    (provider, caller)
}

/// Begins TLS with `provider` inside a tunnel.
fn secured(tunnel: Secured, authority: &Authority) -> StreamOwned<ClientConnection, impl Read + Write> {
    let config = Arc::new(trusting(&authority.pem, None));
    let tls = ClientConnection::new(config, ServerName::try_from("provider").unwrap()).unwrap();
    StreamOwned::new(tls, tunnel.stream)
}

#[test]
fn requests_go_through_one_after_the_other() {
    on_both_drivers(|driver| {
        let origin =
            Origin::start(|seen| Reply::ok(seen.request.header("x-forwarded-port").unwrap_or("none")));
        let authority = Authority::new();
        let mesher = calling(driver, &authority, &[("orders", plain(origin.address()))]);
        let (mut client, head) = connect(&mesher, &authority, "orders:8083", b"");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        for path in ["/a", "/b"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: orders:8083\r\n\r\n");
            assert_eq!(client.ask(request.as_bytes()).unwrap().1, b"8083");
        }
        assert_eq!(origin.requests(), 2);
    });
}

#[test]
fn a_request_in_the_same_record_is_not_lost() {
    on_both_drivers(|driver| {
        let (origin, authority) = (Origin::answering("hello"), Authority::new());
        let mesher = calling(driver, &authority, &[("orders", plain(origin.address()))]);
        let early = b"GET /early HTTP/1.1\r\nHost: orders\r\n\r\n";
        let (mut client, head) = connect(&mesher, &authority, "orders:80", early);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(client.ask(b"").unwrap().1, b"hello");
    });
}

#[test]
fn http2_goes_through_and_is_the_services_whatever_its_authority_says() {
    on_both_drivers(|driver| {
        let origin =
            Origin::start(|seen| Reply::ok(seen.request.header("x-forwarded-port").unwrap_or("none")));
        let authority = Authority::new();
        let mesher = calling(driver, &authority, &[("orders", plain(origin.address()))]);
        let door = Door::inside_tunnel(mesher.conf().outgoing, &authority, SIDECAR, "orders:9000");
        let mut client = Client::connect(door);
        for named in ["orders:9000", "orders", "something.else"] {
            let answer = client.ask(&Block::request_of(named, "GET"));
            assert_eq!(answer, Answer::Response(200, b"9000".to_vec()), "{named}");
        }
        assert_eq!(origin.requests(), 3);
    });
}

#[test]
fn connect_on_a_stream_opens_a_tunnel_of_bytes() {
    on_both_drivers(|driver| {
        let (origin, authority) = (Origin::answering("through"), Authority::new());
        let mesher = calling(driver, &authority, &[("orders", plain(origin.address()))]);
        let mut client = Client::connect(Door::inside_tls(mesher.conf().outgoing, &authority, SIDECAR));
        let connect = Block::default().field(":method", "CONNECT").field(":authority", "orders:80");
        client.send(Frame::head(1, &connect).bytes());
        client.send(Frame::data(1, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").bytes());
        let Answer::Response(200, bytes) = client.answer(1) else { panic!("no tunnel") };
        assert!(
            bytes.starts_with(b"HTTP/1.1 200 ") && bytes.ends_with(b"through"),
            "{}",
            bytes.escape_ascii()
        );
    });
}

#[test]
fn tls_goes_through_to_an_instance_that_takes_it_and_no_one_between_sees_what_is_inside() {
    on_both_drivers(|driver| {
        let (origin, authority) = (Origin::answering("from afar"), Authority::new());
        let (provider, caller) = both_speaking_tls(driver, &authority, &origin);
        let (client, head) = connect(&caller, &authority, "provider:443", b"");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut inner = secured(client, &authority);
        inner.write_all(b"GET / HTTP/1.1\r\nHost: provider\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        inner.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("from afar"), "{text}");
        let handshakes = |mesher: &Mesher, side: &str| {
            mesher.metric_of("mesher_tls_handshakes_total", &format!("side=\"{side}\",result=\"full\""))
        };
        assert_eq!((handshakes(&caller, "downstream"), handshakes(&provider, "downstream")), (1, 1));
        assert_eq!(caller.metric_of("mesher_tls_handshakes_total", "side=\"upstream\""), 0);
    });
}

#[test]
fn megabytes_of_tls_go_through_both_ways() {
    on_both_drivers(|driver| {
        let (origin, authority) = (Origin::echoing(), Authority::new());
        let (_provider, caller) = both_speaking_tls(driver, &authority, &origin);
        let (client, _) = connect(&caller, &authority, "provider:443", b"");
        let mut inner = secured(client, &authority);
        let body = vec![b'x'; 3 << 20];
        let head = format!(
            "PUT / HTTP/1.1\r\nHost: provider\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        inner.write_all(head.as_bytes()).unwrap();
        inner.write_all(&body).unwrap();
        let mut answer = Vec::new();
        inner.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(&body), "{} bytes came back", answer.len());
    });
}

#[test]
fn tls_to_a_service_without_it_is_closed_in_order_and_the_log_says_why() {
    on_both_drivers(|driver| {
        let (origin, authority) = (Origin::answering("plain"), Authority::new());
        let mesher = calling(driver, &authority, &[("orders", plain(origin.address()))]);
        let (mut client, _) = connect(&mesher, &authority, "orders:443", b"");
        client.stream.write_all(super::CLIENT_HELLO).unwrap();
        let mut rest = Vec::new();
        // With close_notify: an end without it is an error.
        client.stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
        mesher.wait_for_output("no instance declares sslEnabled=true");
        assert_eq!(origin.requests(), 0);
    });
}

#[test]
fn an_unknown_service_is_refused_before_the_tunnel_opens() {
    on_both_drivers(|driver| {
        let authority = Authority::new();
        let mesher = calling(driver, &authority, &[("orders", "rest://127.0.0.1:1".to_owned())]);
        let (mut client, head) = connect(&mesher, &authority, "nobody:443", b"");
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("x-mesher-error: NC; "), "{head}");
        client.stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(client.stream.read(&mut [0; 64]).unwrap(), 0, "the reason, and then the end");
    });
}
