//! Sidecars that call each other, and instances that come and go.

use std::net::SocketAddr;

use super::support::client::Client;
use super::support::conf::Conf;
use super::support::hand::Hand;
use super::support::mesh::{PROVIDER, caller, caller_conf, on_both_drivers, provider};
use super::support::net::free_address;
use super::support::origin::{Origin, Reply};
use super::support::process::{Mesher, Start};
use super::support::wait::{PATIENCE, wait_until};

const GET: &str = "GET http://orders:8083/sayhello/peter HTTP/1.1\r\nHost: orders:8083\r\n\r\n";
const POST: &str = "POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: 2\r\n\r\nhi";

/// Bodies of so many answers to GETs on a connection of their own.
fn answers(mesher: &Mesher, count: usize) -> Vec<String> {
    let mut client = mesher.connect();
    (0..count).map(|_| client.ask(GET).text().to_owned()).collect()
}

#[test]
fn a_request_goes_through_the_callers_sidecar_and_the_providers_to_the_service() {
    on_both_drivers(|driver| {
        let service = Origin::start(|seen| Reply::ok(&seen.request.target));
        // The service's port is named by its sidecar, not by the caller.
        let there = provider(driver, service.address());
        let here = caller(driver, &[("orders", &[there.conf().incoming])]);
        let mut client = here.connect();
        let url = "http://orders/sayhello/peter?x=%2F";
        assert_eq!(client.get("orders", url).text(), "/sayhello/peter?x=%2F");
        let request = service.seen().pop().unwrap().request;
        assert_eq!(request.header_all("x-forwarded-for"), ["127.0.0.1, 127.0.0.1"], "once for each sidecar");
        assert_eq!(request.header_all("x-forwarded-host"), ["orders"]);
        assert_eq!(request.header("host"), Some("orders"));
        assert_eq!(request.header("x-cse-context"), Some("{\"x-cse-src-microservice\":\"caller\"}"));
        let port = service.address().port();
        let named = client.get(&format!("orders:{port}"), &format!("http://orders:{port}/a"));
        assert_eq!(named.text(), "/a", "the port that the caller names is told to the provider's sidecar");
        assert_eq!(client.ask(GET).status, 404, "which knows of no other");
    });
}

#[test]
fn one_sidecar_alone_calls_a_service_that_has_none() {
    on_both_drivers(|driver| {
        let service = Origin::start(|seen| Reply::ok(&seen.request.target));
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        assert_eq!(answers(&mesher, 1), ["/sayhello/peter"]);
    });
}

#[test]
fn instances_answer_in_turn() {
    on_both_drivers(|driver| {
        let instances = ["one", "two", "three"].map(Origin::answering);
        let addresses = instances.each_ref().map(Origin::address);
        let mesher = caller(driver, &[("orders", &addresses)]);
        let turns = answers(&mesher, 9);
        assert!(
            turns.windows(4).all(|four| four[0] == four[3] && four[0] != four[1] && four[1] != four[2]),
            "{turns:?}"
        );
        assert!(instances.iter().all(|instance| instance.requests() == 3));
    });
}

#[test]
fn a_random_choice_reaches_every_instance() {
    on_both_drivers(|driver| {
        let instances = ["one", "two"].map(Origin::answering);
        let addresses = instances.each_ref().map(Origin::address);
        let conf = caller_conf(driver, &[("orders", &addresses)]).set(
            "chassis.yaml",
            "cse.loadbalance.strategy.name",
            "Random",
        );
        let mesher = Start::new(conf).ready();
        let mut client = mesher.connect();
        wait_until("both to be chosen", PATIENCE, || {
            assert_eq!(client.ask(GET).status, 200);
            instances.iter().all(|instance| instance.requests() > 0)
        });
    });
}

#[test]
fn only_the_latest_version_is_called() {
    on_both_drivers(|driver| {
        let [old, new, newest] = ["0.9.10", "0.10.0", "0.10.0.1"].map(Origin::answering);
        let entry = |origin: &Origin, version: &str| {
            format!("  - version: {version}\n    endpoints: [\"rest://{}\"]\n", origin.address())
        };
        let entries = [entry(&newest, "0.10.0.1"), entry(&old, "0.9.10"), entry(&new, "0.10.0")].concat();
        let conf =
            caller_conf(driver, &[]).file("registry.yaml", &format!("services:\n  orders:\n{entries}"));
        let mesher = Start::new(conf).ready();
        assert_eq!(answers(&mesher, 4), ["0.10.0.1"; 4]);
    });
}

#[test]
fn an_instance_that_refuses_is_passed_over_whatever_the_method() {
    on_both_drivers(|driver| {
        let alive = Origin::start(|seen| Reply::ok(&seen.request.body));
        let gone: Vec<SocketAddr> = (0..2).map(|_| free_address()).collect();
        let mesher = caller(driver, &[("orders", &[gone[0], alive.address(), gone[1]])]);
        for n in 0..12 {
            let body = format!("{n:02}");
            let post = POST.replace("hi", &body);
            let chunked = "PATCH http://orders/ HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
            assert_eq!(mesher.connect().ask(post).text(), body);
            assert_eq!(mesher.connect().ask(chunked).text(), "hi");
        }
        assert_eq!(alive.requests(), 24, "each was sent once");
        assert!(mesher.metric_of("mesher_retries_total", "service=\"orders\"") > 0);
    });
}

#[test]
fn an_instance_that_stops_is_passed_over_and_one_that_comes_back_is_called_again() {
    on_both_drivers(|driver| {
        let instances = ["one", "two"].map(Origin::answering);
        let addresses = instances.each_ref().map(Origin::address);
        let mesher = caller(driver, &[("orders", &addresses)]);
        answers(&mesher, 4);
        instances[0].stop();
        assert_eq!(answers(&mesher, 10), ["two"; 10]);
        instances[0].restart();
        assert!(answers(&mesher, 4).contains(&"one".to_owned()));
    });
}

#[test]
fn an_instance_that_does_not_take_connections_in_time_is_passed_over() {
    on_both_drivers(|driver| {
        let full = FullQueue::new();
        let alive = Origin::answering("alive");
        let conf = caller_conf(driver, &[("orders", &[full.address, alive.address()])]).set(
            "mesher.yaml",
            "mesher.timeout.connectSeconds",
            "100ms",
        );
        let mesher = Start::new(conf).ready();
        for _ in 0..4 {
            assert_eq!(mesher.connect().ask(POST).text(), "alive");
        }
    });
}

/// An address whose queue of connections is full: the kernel leaves more of them unanswered.
struct FullQueue {
    address: SocketAddr,
    _listener: std::os::fd::OwnedFd,
    _queued: Vec<std::os::fd::OwnedFd>,
}

impl FullQueue {
    fn new() -> Self {
        use rustix::net::{
            AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with,
        };
        let socket = || {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
        };
        let listener = socket();
        bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&listener, 0).unwrap();
        let address: SocketAddr = getsockname(&listener).unwrap().try_into().unwrap();
        // One fits in; the others find no place and stay half open.
        let queued = (0..4)
            .map(|_| {
                let client = socket();
                let _ = connect(&client, &address);
                client
            })
            .collect();
        Self { address, _listener: listener, _queued: queued }
    }
}

#[test]
fn a_connection_that_ends_before_a_byte_of_the_request_was_sent_costs_no_request() {
    on_both_drivers(|driver| {
        let instances = ["one", "two"].map(Origin::answering);
        let addresses = instances.each_ref().map(Origin::address);
        let mesher = caller(driver, &[("orders", &addresses)]);
        answers(&mesher, 4);
        // Idle connections to both are pooled. One instance ends: its listener first, then its connections.
        instances[0].stop();
        mesher.wait_until_upstream_open(1);
        for _ in 0..6 {
            assert_eq!(mesher.connect().ask(POST).text(), "two");
        }
    });
}

#[test]
fn a_get_that_an_instance_drops_is_answered_by_another() {
    on_both_drivers(|driver| {
        let broken = Origin::start(|_| Reply::default().close());
        let alive = Origin::answering("alive");
        let mesher = caller(driver, &[("orders", &[broken.address(), alive.address()])]);
        assert_eq!(answers(&mesher, 6), ["alive"; 6]);
        assert!(broken.requests() > 0);
    });
}

#[test]
fn a_post_that_an_instance_may_have_run_is_not_sent_again() {
    on_both_drivers(|driver| {
        let instances =
            [Origin::start(|_| Reply::default().close()), Origin::start(|_| Reply::default().close())];
        let addresses = instances.each_ref().map(Origin::address);
        let mesher = caller(driver, &[("orders", &addresses)]);
        for sent in 1..=4 {
            assert_eq!(mesher.connect().ask(POST).status, 503);
            assert_eq!(instances.iter().map(Origin::requests).sum::<usize>(), sent);
        }
    });
}

#[test]
fn an_upload_that_has_begun_to_stream_is_not_begun_again_elsewhere() {
    on_both_drivers(|driver| {
        let (first, second) = (Hand::listen(), Hand::listen());
        let mesher = caller(driver, &[("orders", &[first.address(), second.address()])]);
        let mut client = mesher.connect();
        client.send("PUT http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: 100\r\n\r\n");
        let mut chosen = None;
        wait_until("an instance to be chosen", PATIENCE, || {
            chosen = first.try_accept().or_else(|| second.try_accept());
            chosen.is_some()
        });
        let mut peer: Client = chosen.unwrap();
        peer.read_head_text();
        client.send("begun");
        peer.read_through(b"begun");
        drop(peer);
        assert_eq!(client.read_response().status, 503);
        assert!(first.try_accept().is_none() && second.try_accept().is_none());
    });
}

#[test]
fn the_answer_of_an_instance_is_an_answer_whatever_its_status() {
    on_both_drivers(|driver| {
        let failing =
            [500, 502, 503, 504, 429].map(|status| Origin::start(move |_| Reply::status(status, "No", "no")));
        let addresses = failing.each_ref().map(Origin::address);
        let mesher = caller(driver, &[("orders", &addresses)]);
        let mut client = mesher.connect();
        for _ in 0..5 {
            let response = client.ask(GET);
            assert!(response.status >= 429 && response.text() == "no", "{response:?}");
            assert_eq!(response.header("x-mesher-error"), None);
        }
        assert_eq!(failing.iter().map(Origin::requests).collect::<Vec<_>>(), [1; 5], "nothing was repeated");
    });
}

#[test]
fn a_provider_that_drains_hands_over_to_another_without_a_failed_request() {
    on_both_drivers(|driver| {
        let services = ["one", "two"].map(Origin::answering);
        let start = |conf: Conf, service: &Origin| {
            let ports = format!("--service-ports=rest:{}", service.address().port());
            Start::new(conf.driver(driver).set("mesher.yaml", "mesher.drain.graceSeconds", "500ms"))
                .arg(ports)
                .ready()
        };
        let [leaving, staying] = services.each_ref().map(|service| start(Conf::sidecar(PROVIDER), service));
        let addresses = [leaving.conf().incoming, staying.conf().incoming];
        let here = caller(driver, &[("orders", &addresses)]);
        let get = "GET http://orders/ HTTP/1.1\r\nHost: orders\r\n\r\n";
        let (mut client, mut after) = (here.connect(), 0);
        let mut leaving = leaving;
        leaving.terminate();
        // Requests go on all through the drain and for a while after its end.
        wait_until("the provider to be gone", PATIENCE, || {
            assert_eq!(client.ask(get).status, 200);
            assert_eq!(client.ask(POST).status, 200);
            after += usize::from(leaving.exited().is_some());
            after > 50
        });
    });
}

#[test]
fn the_service_of_an_entry_without_a_port_of_http_is_left_out() {
    on_both_drivers(|driver| {
        let alive = Origin::answering("alive");
        let registry = format!(
            "services:\n  orders:\n  - endpoints: [\"grpc://127.0.0.1:1\", \"rest://{}\"]\n  - endpoints: [\"grpc://127.0.0.1:2\"]\n",
            alive.address()
        );
        let mesher = Start::new(caller_conf(driver, &[]).file("registry.yaml", &registry)).ready();
        assert_eq!(answers(&mesher, 4), ["alive"; 4]);
    });
}
