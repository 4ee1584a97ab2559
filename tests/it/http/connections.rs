//! How connections are kept, shared and ended, on both sides of mesher.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::support::client::Client;
use super::super::support::hand::Hand;
use super::super::support::mesh::{caller, caller_conf, on_both_drivers};
use super::super::support::origin::{Gate, Origin, Reply};
use super::super::support::process::Start;
use super::super::support::wait::{PATIENCE, wait_for, wait_until};

const GET: &str = "GET http://orders/ HTTP/1.1\r\nHost: orders\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_connection_carries_many_requests_and_so_does_the_one_behind_it() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|seen| Reply::ok(&seen.request.target));
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut client = mesher.connect();
        for n in 0..200 {
            assert_eq!(client.get("orders", &format!("http://orders/{n}")).text(), format!("/{n}"));
        }
        assert_eq!((origin.connections(), origin.requests()), (1, 200));
    });
}

#[test]
fn connections_to_a_service_are_shared_by_clients() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        for _ in 0..20 {
            assert_eq!(mesher.connect().ask(GET).text(), "ok");
        }
        assert_eq!((origin.connections(), origin.requests()), (1, 20));
    });
}

#[test]
fn as_many_connections_are_made_as_requests_wait_at_a_time() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| Reply::ok("ok").held_by(&held));
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut clients: Vec<Client> = (0..8).map(|_| mesher.connect()).collect();
        clients.iter_mut().for_each(|client| client.send(GET));
        wait_until("all requests to wait", PATIENCE, || gate.waiting() == 8);
        gate.open();
        for client in &mut clients {
            assert_eq!(client.read_response().text(), "ok");
            assert_eq!(client.ask(GET).text(), "ok");
        }
        assert_eq!((origin.connections(), origin.requests()), (8, 16));
    });
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    on_both_drivers(|driver| {
        let slow = Gate::default();
        let held = slow.clone();
        let origins = [
            Origin::start(move |seen| Reply::ok(&seen.request.body).held_by(&held)),
            Origin::start(|seen| Reply::chunked(&[&seen.request.target, "!"])),
        ];
        let [first, second] = [origins[0].address(), origins[1].address()];
        let mesher = caller(driver, &[("slow", &[first]), ("quick", &[second])]);
        let mut client = mesher.connect();
        client.send(
            "POST http://slow/ HTTP/1.1\r\nHost: slow\r\nContent-Length: 4\r\n\r\nbody\
             GET http://quick/1 HTTP/1.1\r\nHost: quick\r\n\r\n\
             POST http://slow/ HTTP/1.1\r\nHost: slow\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nch\r\n0\r\n\r\n\
             GET http://quick/2 HTTP/1.1\r\nHost: quick\r\nConnection: close\r\n\r\n\
             GET http://quick/never HTTP/1.1\r\nHost: quick\r\n\r\n",
        );
        wait_until("the first to wait", PATIENCE, || slow.waiting() == 1);
        slow.open();
        for text in ["body", "/1!", "ch", "/2!"] {
            assert_eq!(client.read_response().text(), text);
        }
        assert!(client.is_ended());
        assert_eq!(origins[1].requests(), 2, "what stands behind a close is no request");
    });
}

#[test]
fn a_request_in_pieces_is_one_request() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|seen| Reply::ok(&seen.request.body));
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut client = mesher.connect();
        for byte in "POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: 3\r\n\r\nabc".bytes() {
            client.send([byte]);
        }
        assert_eq!(client.read_response().text(), "abc");
    });
}

#[test]
fn a_client_of_http_1_0_is_answered_and_its_connection_ends() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|_| Reply::chunked(&["hello ", "you"]));
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut client = mesher.connect();
        client.send("GET http://orders/old HTTP/1.0\r\nHost: orders\r\n\r\n");
        let response = client.read_response();
        assert_eq!(response.text(), "hello you");
        assert_eq!(response.header("transfer-encoding"), None, "chunks are unknown to HTTP/1.0");
        assert_eq!(response.header("connection"), Some("close"));
        assert!(client.is_ended());
        assert_eq!(origin.seen()[0].request.version, "HTTP/1.1", "mesher speaks its own version");
    });
}

#[test]
fn a_client_of_http_1_0_keeps_its_connection_if_it_asks_for_it_and_does_not_talk_to_a_proxy() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut client = mesher.connect();
        for _ in 0..2 {
            let response = client.ask("GET / HTTP/1.0\r\nHost: orders\r\nConnection: keep-alive\r\n\r\n");
            assert_eq!((response.text(), response.header("connection")), ("ok", Some("keep-alive")));
        }
        let request = "GET http://orders/ HTTP/1.0\r\nHost: orders\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(
            client.ask(request).header("connection"),
            Some("close"),
            "a proxy before it may not know the word"
        );
        assert!(client.is_ended());
    });
}

#[test]
fn an_origin_of_http_1_0_is_understood_and_not_used_again() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|_| {
            Reply::default().send("HTTP/1.0 200 Fine\r\nX-Old: yes\r\n\r\nto the end").close()
        });
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut client = mesher.connect();
        for _ in 0..3 {
            let response = client.ask(GET);
            assert_eq!((response.version.as_str(), response.text()), ("HTTP/1.1", "to the end"));
            assert_eq!(
                response.header("transfer-encoding"),
                Some("chunked"),
                "so the connection can be kept"
            );
        }
        assert_eq!(origin.connections(), 3);
    });
}

#[test]
fn an_origin_of_http_1_0_that_keeps_its_connection_is_used_again() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|_| {
            Reply::default().send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
        });
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        for _ in 0..3 {
            assert_eq!(mesher.connect().ask(GET).text(), "ok");
        }
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn a_connection_that_the_service_ends_is_not_used_again() {
    on_both_drivers(|driver| {
        let origin =
            Origin::start(|_| Reply::with_headers(200, "OK", &[("Connection", "close")], "ok").close());
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut client = mesher.connect();
        for _ in 0..3 {
            let response = client.ask(GET);
            assert_eq!((response.text(), response.header("connection")), ("ok", None));
        }
        assert_eq!(origin.connections(), 3);
    });
}

#[test]
fn pooled_connections_that_have_died_cost_no_request() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let post = "POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: 2\r\n\r\nhi";
        for _ in 0..20 {
            assert_eq!(mesher.connect().ask(GET).text(), "ok");
            origin.close_connections();
            wait_until("the connection to be closed", PATIENCE, || origin.connections_open() == 0);
        }
        assert_eq!(mesher.connect().ask(GET).text(), "ok");
        origin.close_connections();
        mesher.wait_until_upstream_open(0);
        assert_eq!(mesher.connect().ask(post).text(), "ok", "known to be closed before it is used");
    });
}

#[test]
fn a_request_that_met_the_end_of_its_connection_is_sent_once_more_if_that_is_safe() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        let mut client = mesher.connect();
        client.send(GET);
        let (mut first, _) = service.accept_request();
        first.send(OK);
        assert_eq!(client.read_response().text(), "ok");
        // The race: the service ends the connection when the next request is on its way.
        client.send(GET);
        first.read_head_text();
        drop(first);
        let (mut second, _) = service.accept_request();
        second.send(OK);
        assert_eq!(client.read_response().text(), "ok");
        // A POST may have run.
        client.send("POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: 2\r\n\r\nhi");
        second.read_through(b"hi");
        drop(second);
        let response = client.read_response();
        assert_eq!(response.status, 503);
        assert!(response.header("x-mesher-error").is_some_and(|e| e.starts_with("UC; ")), "{response:?}");
        assert!(service.try_accept().is_none(), "the POST was sent twice");
    });
}

#[test]
fn a_client_that_leaves_takes_its_request_with_it() {
    on_both_drivers(|driver| {
        for uploaded in ["", "Content-Length: 10\r\n\r\nhalf"] {
            let service = Hand::listen();
            let mesher = caller(driver, &[("orders", &[service.address()])]);
            let mut client = mesher.connect();
            let body = if uploaded.is_empty() { "\r\n" } else { uploaded };
            client.send(format!("GET http://orders/ HTTP/1.1\r\nHost: orders\r\n{body}"));
            let (mut peer, _) = service.accept_request();
            drop(client);
            peer.read_to_end();
            mesher.wait_for_metric("mesher_requests_in_flight", 0);
            let flag = "code_class=\"none\",flag=\"DC\"";
            wait_until("it to be counted", PATIENCE, || mesher.metric_of("mesher_requests_total", flag) == 1);
        }
    });
}

#[test]
fn a_client_that_ends_its_side_has_left() {
    // As for nginx and Envoy: the end of a client that closes looks the same, and most that end have closed.
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        let mut client = mesher.connect();
        client.send(GET);
        let (mut peer, _) = service.accept_request();
        client.finish();
        assert!(peer.is_ended(), "the service learns that nobody waits");
        assert!(client.is_ended(), "no answer is made up");
        wait_until("it to be counted", PATIENCE, || {
            mesher.metric_of("mesher_requests_total", "code_class=\"none\",flag=\"DC\"") == 1
        });
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_response_takes_it_with_it() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        let mut client = mesher.connect();
        client.send(GET);
        let (mut peer, _) = service.accept_request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin");
        client.read_through(b"begin");
        drop(client);
        peer.read_to_end();
        mesher.wait_for_metric("mesher_requests_in_flight", 0);
    });
}

#[test]
fn at_most_the_configured_number_of_connections_is_served_and_the_others_wait() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let conf = caller_conf(driver, &[("orders", &[origin.address()])]).set(
            "mesher.yaml",
            "mesher.limit.connections",
            2,
        );
        let mesher = Start::new(conf).ready();
        let (mut one, mut two) = (mesher.connect(), mesher.connect());
        assert_eq!((one.ask(GET).status, two.ask(GET).status), (200, 200));
        let mut three = mesher.connect();
        three.send(GET);
        mesher.wait_for_output("mesher.limit.connections");
        assert_eq!(origin.requests(), 2);
        drop(one);
        assert_eq!(three.read_response().status, 200);
        assert_eq!(two.ask(GET).status, 200);
    });
}

#[test]
fn idle_clients_are_let_go_after_a_while() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let conf = caller_conf(driver, &[("orders", &[origin.address()])]).set(
            "mesher.yaml",
            "mesher.timeout.idleSeconds",
            "100ms",
        );
        let mesher = Start::new(conf).ready();
        let mut silent = mesher.connect();
        let mut used = wait_for("a client that asks before it is let go", PATIENCE, || {
            let mut client = mesher.connect();
            client.try_send(GET).ok()?;
            let response = client.try_read_response_to("GET").ok()?;
            assert_eq!(response.status, 200);
            Some(client)
        });
        assert!(silent.is_ended() && used.is_ended());
    });
}

#[test]
fn connections_of_all_shards_are_served() {
    on_both_drivers(|driver| {
        let served = AtomicUsize::new(0);
        let origin = Origin::answering("ok");
        let conf = caller_conf(driver, &[("orders", &[origin.address()] as &[SocketAddr])]);
        let mesher = Start::new(conf).arg("--shards=3").ready();
        let mut clients: Vec<Client> = (0..30).map(|_| mesher.connect()).collect();
        for client in &mut clients {
            assert_eq!(client.ask(GET).text(), "ok");
            served.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(served.into_inner(), 30);
        assert_eq!(mesher.metric("mesher_downstream_accepted_total"), 30);
    });
}

#[test]
fn without_file_descriptors_it_waits_and_goes_on_when_there_are_some() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut served = mesher.connect();
        assert_eq!(served.ask(GET).text(), "ok");
        mesher.limit_file_descriptors(4);
        let clients: Vec<Client> = (0..20).map(|_| mesher.connect()).collect();
        mesher.wait_for_output("not accepting connections for the moment");
        assert_eq!(served.ask(GET).text(), "ok", "who is there already is served");
        drop(clients);
        wait_until("the next to be served", PATIENCE, || {
            let mut next = mesher.connect();
            next.try_send(GET).is_ok() && next.try_read_response_to("GET").is_ok_and(|r| r.status == 200)
        });
    });
}
