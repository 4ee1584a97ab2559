//! The orderly end, for what the local service sends: everything is served on, then what is in flight is finished.

use std::time::{Duration, Instant};

use mesher::net::Driver;
use rustix::process::Signal;

use super::support::client::Client;
use super::support::conf::Conf;
use super::support::hand::Hand;
use super::support::mesh::{caller_conf, on_both_drivers};
use super::support::origin::{Gate, Origin, Reply};
use super::support::process::{Mesher, Start, code};
use super::support::wait::{PATIENCE, wait_until};

const GET: &str = "GET http://orders/ HTTP/1.1\r\nHost: orders\r\n\r\n";
/// Longer than a test takes.
const LONG: &str = "60s";

/// A sidecar that calls `orders` and drains like this.
fn draining(driver: Driver, origin: &Origin, grace: &str, timeout: &str) -> Mesher {
    Start::new(timed(caller_conf(driver, &[("orders", &[origin.address()])]), grace, timeout)).ready()
}

fn timed(conf: Conf, grace: &str, timeout: &str) -> Conf {
    conf.set("mesher.yaml", "mesher.drain.graceSeconds", grace).set(
        "mesher.yaml",
        "mesher.drain.timeoutSeconds",
        timeout,
    )
}

/// Waits until the admin says that it drains.
#[track_caller]
fn wait_for_drain(mesher: &Mesher) {
    wait_until("the drain to begin", PATIENCE, || {
        mesher.admin("/ready").is_some_and(|r| r.status == 503 && r.text().contains("draining"))
    });
}

/// An origin that answers when the gate opens.
fn held() -> (Origin, Gate) {
    let gate = Gate::default();
    let held = gate.clone();
    (Origin::start(move |_| Reply::ok("late").held_by(&held)), gate)
}

#[test]
fn an_idle_mesher_ends_at_once_with_0() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = draining(driver, &origin, "0", LONG);
        let mut kept = mesher.connect();
        assert_eq!(kept.ask(GET).status, 200);
        assert_eq!(mesher.stop(), 0);
        assert!(kept.is_ended());
    });
}

#[test]
fn during_the_grace_everything_is_served_and_each_answer_says_close() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mut mesher = draining(driver, &origin, LONG, LONG);
        let mut old = mesher.connect();
        let first = old.ask(GET);
        assert_eq!(first.header("connection"), None);
        mesher.terminate();
        wait_for_drain(&mesher);
        assert_eq!(mesher.admin("/live").unwrap().status, 200);
        // The shards learn of it a moment after the admin.
        wait_until("answers to say close", PATIENCE, || {
            let mut new = mesher.connect();
            let response = new.ask(GET);
            assert_eq!((response.status, response.text()), (200, "ok"));
            response.header("connection") == Some("close") && new.is_ended()
        });
        let last = old.ask(GET);
        assert_eq!(
            (last.text(), last.header("connection")),
            ("ok", Some("close")),
            "an old connection is told too"
        );
        assert!(old.is_ended());
        let refused = mesher.connect().get("nobody", "http://nobody/");
        assert_eq!((refused.status, refused.header("connection")), (503, Some("close")));
        assert!(mesher.exited().is_none());
    });
}

#[test]
fn after_the_grace_nothing_new_is_taken_on_and_what_is_in_flight_is_finished() {
    on_both_drivers(|driver| {
        let (origin, gate) = held();
        let mut mesher = draining(driver, &origin, "100ms", LONG);
        let (mut busy, mut idle) = (mesher.connect(), mesher.connect());
        busy.send(GET);
        wait_until("the request to wait", PATIENCE, || gate.waiting() == 1);
        mesher.terminate();
        assert!(idle.is_ended(), "idle connections end with the grace");
        wait_until("the listeners to close", PATIENCE, || {
            Client::try_connect(mesher.conf().outgoing).is_err()
        });
        assert!(Client::try_connect(mesher.conf().incoming).is_err());
        assert!(mesher.exited().is_none());
        gate.open();
        let response = busy.read_response();
        assert_eq!((response.text(), response.header("connection")), ("late", Some("close")));
        assert_eq!(code(mesher.wait(PATIENCE)), 0);
    });
}

#[test]
fn bodies_under_way_in_either_direction_are_finished() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let conf = timed(caller_conf(driver, &[("orders", &[service.address()])]), "0", LONG);
        let mut mesher = Start::new(conf).ready();
        let (mut loading, mut sending) = (mesher.connect(), mesher.connect());
        loading.send(GET);
        let (mut down, _) = service.accept_request();
        down.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        loading.read_through(b"half\r\n");
        sending.send("POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: 8\r\n\r\nhalf");
        let (mut up, _) = service.accept_request();
        up.read_through(b"half");
        mesher.terminate();
        wait_until("the listeners to close", PATIENCE, || {
            Client::try_connect(mesher.conf().outgoing).is_err()
        });
        down.send("4\r\nrest\r\n0\r\n\r\n");
        loading.read_through(b"4\r\nrest\r\n0\r\n\r\n");
        sending.send("rest");
        up.read_through(b"rest");
        up.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(sending.read_response().text(), "ok");
        assert_eq!(code(mesher.wait(PATIENCE)), 0);
    });
}

#[test]
fn what_is_not_finished_in_time_is_cut_and_the_exit_code_says_so() {
    on_both_drivers(|driver| {
        let (origin, gate) = held();
        let mut mesher = draining(driver, &origin, "0", "300ms");
        let mut busy = mesher.connect();
        busy.send(GET);
        wait_until("the request to wait", PATIENCE, || gate.waiting() == 1);
        mesher.terminate();
        assert_eq!(code(mesher.wait(PATIENCE)), 5);
        assert!(busy.is_ended(), "no answer is made up");
        assert!(mesher.output().contains("cutting the connections that are still open"));
        gate.open();
    });
}

#[test]
fn an_interrupt_drains_for_a_short_time_and_a_second_one_ends_at_once() {
    // Without the second one it takes five seconds. It is the machine that is slow if that is so now and then.
    const AT_ONCE: Duration = Duration::from_secs(3);
    on_both_drivers(|driver| {
        let interrupt_twice = || {
            let (origin, gate) = held();
            let mut mesher = draining(driver, &origin, LONG, LONG);
            let mut busy = mesher.connect();
            busy.send(GET);
            wait_until("the request to wait", PATIENCE, || gate.waiting() == 1);
            mesher.signal(Signal::INT);
            wait_for_drain(&mesher);
            let begun = Instant::now();
            mesher.signal(Signal::INT);
            assert_eq!(code(mesher.wait(PATIENCE)), 5, "a request was cut");
            let took = begun.elapsed();
            assert!(busy.is_ended());
            gate.open();
            took
        };
        let mut took = Vec::new();
        wait_until("a second interrupt to end it at once", PATIENCE, || {
            took.push(interrupt_twice());
            println!("ended after {took:?}");
            took.iter().any(|took| *took < AT_ONCE)
        });
    });
}

#[test]
fn an_interrupt_with_nothing_in_flight_ends_with_0() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mut mesher = draining(driver, &origin, "0", LONG);
        mesher.signal(Signal::INT);
        assert_eq!(code(mesher.wait(PATIENCE)), 0);
    });
}

#[test]
fn it_is_deregistered_before_anything_else_happens() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = draining(driver, &origin, LONG, LONG);
        let registration = || mesher.admin("/ready?verbose").unwrap().text().to_owned();
        wait_until("the registration", PATIENCE, || registration().contains("\"registered\": \"file\""));
        mesher.terminate();
        wait_until("answers to say close", PATIENCE, || {
            mesher.connect().ask(GET).header("connection") == Some("close")
        });
        assert!(registration().contains("\"registration\": \"absent\""), "{}", registration());
    });
}
