//! SIGUSR2: a new process takes everything over from the running one, and nobody notices.

mod dynasty;
mod failures;
mod instance;
mod load;

use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use mesher::net::Driver;
use rustls::HandshakeKind;

use super::support::client::Client;
use super::support::conf::Conf;
use super::support::net::free_address;
use super::support::origin::{Gate, Origin, Reply, chunk};
use super::support::process::Start;
use super::support::tls::{Authority, Secured, trusting};
use super::support::wait::{PATIENCE, wait_until};
use dynasty::{Dynasty, quick};
use load::{Load, admin_load};

/// Twenty upgrades under load, from one shard to two and back.
#[track_caller]
fn check_twenty_upgrades(driver: &str) {
    let origin = Origin::answering("hello");
    let mut mesher = Dynasty::sidecar(driver, &[("orders", &[origin.address()])]);
    let load = Load::start(mesher.founder.conf().outgoing, 3, 2);
    let (stop_admin, admin) = admin_load(mesher.founder.conf().admin);
    for round in 0..20 {
        mesher.founder.conf_mut().change("mesher.yaml", "mesher.shards", 1 + (round + 1) % 2);
        load.go_on(20);
        mesher.succeed();
    }
    load.go_on(20);
    let codes = mesher.buried();
    load.go_on(20);
    let (answered, failures) = load.stop();
    assert_eq!(failures, [""; 0], "of {answered}");
    assert_eq!(codes, [0; 20], "every old process drains to its end");
    stop_admin.store(true, Ordering::Relaxed);
    let starts = admin.join().unwrap();
    assert!(starts.is_sorted(), "once a new process has answered, no older one does: {starts:?}");
    let shards = mesher.founder.output().matches("shards=2").count();
    assert_eq!(shards, 10, "every other process has two shards");
}

#[test]
fn twenty_upgrades_in_a_row_fail_no_request_on_uring() {
    check_twenty_upgrades("auto");
}

#[test]
fn twenty_upgrades_in_a_row_fail_no_request_on_epoll() {
    check_twenty_upgrades("epoll");
}

#[test]
fn a_stream_goes_on_in_the_old_process_until_it_ends() {
    let (events, received) = channel();
    let received = Mutex::new(Some(received));
    let origin = Origin::start(move |_| Reply::event_stream(received.lock().unwrap().take().unwrap()));
    let mut mesher = Dynasty::sidecar("auto", &[("orders", &[origin.address()])]);
    let mut client = mesher.founder.connect();
    client.send("GET /events HTTP/1.1\r\nHost: orders\r\n\r\n");
    events.send(chunk("one")).unwrap();
    client.read_through(b"one");
    mesher.succeed();
    mesher.founder.wait_for_output("upgraded; draining");
    events.send(chunk("two")).unwrap();
    client.read_through(b"two");
    drop(events);
    client.read_through(b"0\r\n\r\n");
    assert_eq!(mesher.buried(), [0]);
}

#[test]
fn a_request_in_flight_is_answered_with_connection_close() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Reply::ok("late").held_by(&held));
    let mut mesher = Dynasty::sidecar("auto", &[("orders", &[origin.address()])]);
    let mut client = mesher.founder.connect();
    client.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
    wait_until("the request at the origin", PATIENCE, || gate.waiting() == 1);
    mesher.succeed();
    mesher.founder.wait_for_output("upgraded; draining");
    gate.open();
    let response = client.read_response();
    assert_eq!((response.status, response.text()), (200, "late"));
    assert_eq!(client.read_to_end(), b"", "the connection ends with its request");
    assert_eq!(mesher.buried(), [0]);
}

#[test]
fn a_tls_session_of_the_old_process_is_no_hindrance_and_one_of_the_new_is_resumed() {
    let (authority, origin) = (Authority::new(), Origin::answering("hello"));
    let conf = quick(Conf::provider(Driver::Epoll, origin.address()));
    let conf = conf.presents("provider.rest.Provider", &authority.issue("provider"));
    let port = format!("--service-ports=rest:{}", origin.address().port());
    let mut mesher = Dynasty::found(Start::new(conf).arg(port));
    let (to, config) = (mesher.founder.conf().incoming, Arc::new(trusting(&authority.pem, None)));
    let asked = || {
        let mut client = Secured::connect(to, "provider", &config).unwrap();
        assert_eq!(client.get("a").unwrap(), 200);
        client.stream.conn.handshake_kind()
    };
    assert_eq!([asked(), asked()], [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
    mesher.succeed();
    mesher.founder.wait_for_output("upgraded; draining");
    // The old one may have a last connection in its hands.
    wait_until("a handshake with the new process", PATIENCE, || asked() == Some(HandshakeKind::Full));
    assert_eq!(asked(), Some(HandshakeKind::Resumed));
    assert_eq!(mesher.buried(), [0]);
}

#[test]
fn addresses_may_change_and_what_was_known_is_known_before_the_new_process_serves() {
    let origin = Origin::answering("hello");
    let mut mesher = Dynasty::sidecar("auto", &[("orders", &[origin.address()])]);
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
    let (old, new) = (mesher.founder.conf().admin, free_address());
    let conf = mesher.founder.conf_mut();
    conf.change("chassis.yaml", "servicecomb.protocols.rest-admin.listenAddress", new.to_string());
    conf.admin = new;
    mesher.succeed();
    let verbose = mesher.founder.admin("/ready?verbose").unwrap();
    assert!(verbose.text().contains("orders"), "nobody has asked it for orders: {}", verbose.text());
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
    assert_eq!(mesher.buried(), [0]);
    assert!(Client::try_connect(old).is_err(), "the old address has gone with the old process");
}
