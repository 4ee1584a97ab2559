//! The orderly end: deregistered, announced, nothing lost.

use std::time::{Duration, Instant};

use mesher::net::Driver;
use rustix::process::Signal;

use super::support::client::Client;
use super::support::fleet::{Fleet, SERVICE, call, named, wait_for_endpoints};
use super::support::load::Load;
use super::support::mesh::on_both_drivers;
use super::support::origin::{Gate, Origin, Reply};
use super::support::process::{Mesher, code};
use super::support::servicecenter::Fault;
use super::support::wait::{PATIENCE, wait_until};

/// Longer than a test may take.
const LONG: &str = "10m";

/// A provider whose grace is `grace`, and all of whose shutdown may take `timeout`.
fn provider(fleet: &Fleet, origin: &Origin, grace: &str, timeout: &str) -> Mesher {
    let conf = fleet.conf(SERVICE).set("mesher.yaml", "mesher.drain.graceSeconds", grace).set(
        "mesher.yaml",
        "mesher.drain.timeoutSeconds",
        timeout,
    );
    fleet.provider_with(origin, conf)
}

/// Waits until service-center was told to take an instance out.
#[track_caller]
fn wait_for_withdrawal(fleet: &Fleet) {
    wait_until("the instance to be taken out", PATIENCE, || fleet.center.count("DELETE", "/instances/") == 1);
}

/// An origin that holds back `/slow` until the gate opens.
fn holding(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |seen| match seen.request.target.as_str() {
        "/slow" => Reply::ok("slow").held_by(&gate),
        _ => Reply::ok("1"),
    })
}

#[test]
fn it_deregisters_then_announces_the_end_and_serves_on_and_finishes_what_it_has_begun() {
    on_both_drivers(|driver| {
        let fleet = Fleet::start_on(driver);
        let gate = Gate::default();
        let origin = holding(&gate);
        // Time for all that is looked at before it is over.
        let mut mesher = provider(&fleet, &origin, "5s", LONG);
        let mut kept = Client::connect(mesher.conf().incoming);
        let before = kept.get(SERVICE, "/");
        assert_eq!((before.text(), before.header("connection")), ("1", None));
        let mut slow = Client::connect(mesher.conf().incoming);
        slow.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
        wait_until("the slow request", PATIENCE, || gate.waiting() == 1);

        mesher.terminate();
        wait_for_withdrawal(&fleet);
        assert_eq!(fleet.center.with(|fake, _| fake.instances_of(SERVICE)), 0);
        wait_until("it to say that it is on its way out", PATIENCE, || {
            mesher
                .admin("/ready")
                .is_some_and(|ready| ready.status == 503 && ready.text().contains("draining"))
        });
        // Whoever does not know yet is served, on a new connection and on the one it has, and told to go.
        wait_until("the announcement", PATIENCE, || {
            let new = Client::connect(mesher.conf().incoming).get(SERVICE, "/");
            assert_eq!(new.text(), "1");
            new.header("connection") == Some("close")
        });
        let during = kept.get(SERVICE, "/");
        assert_eq!((during.text(), during.header("connection")), ("1", Some("close")));
        assert_eq!(kept.read_to_end(), b"");

        wait_until("the listener to close", PATIENCE, || {
            Client::try_connect(mesher.conf().incoming).is_err()
        });
        assert!(mesher.exited().is_none(), "a request is under way");
        gate.open();
        assert_eq!(slow.read_response().text(), "slow");
        assert_eq!(code(mesher.wait(PATIENCE)), 0, "{}", mesher.output());
    });
}

#[test]
fn an_idle_sidecar_ends_when_the_grace_is_over() {
    on_both_drivers(|driver| {
        let fleet = Fleet::start_on(driver);
        let origin = named("1");
        let mesher = provider(&fleet, &origin, "100ms", "10m");
        let mut idle = Client::connect(mesher.conf().incoming);
        assert_eq!(idle.get(SERVICE, "/").text(), "1");
        assert_eq!(mesher.stop(), 0);
        assert_eq!(idle.read_to_end(), b"", "an idle connection is closed in order");
    });
}

#[test]
fn what_is_not_done_at_the_time_out_is_cut() {
    on_both_drivers(|driver| {
        let fleet = Fleet::start_on(driver);
        let gate = Gate::default();
        let origin = holding(&gate);
        let mut mesher = provider(&fleet, &origin, "100ms", "500ms");
        let mut slow = Client::connect(mesher.conf().incoming);
        slow.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
        wait_until("the slow request", PATIENCE, || gate.waiting() == 1);
        mesher.terminate();
        assert_eq!(code(mesher.wait(PATIENCE)), 5, "{}", mesher.output());
        assert_eq!(slow.read_to_end(), b"");
        gate.open();
    });
}

#[test]
fn a_connection_that_still_waits_to_be_accepted_is_served() {
    on_both_drivers(|driver| {
        let fleet = Fleet::start_on(driver);
        let origin = named("1");
        let conf = fleet.conf(SERVICE).set("mesher.yaml", "mesher.limit.connections", 1).set(
            "mesher.yaml",
            "mesher.drain.graceSeconds",
            "300ms",
        );
        let mut mesher = fleet.provider_with(&origin, conf);
        let mut idle = Client::connect(mesher.conf().incoming);
        assert_eq!(idle.get(SERVICE, "/").text(), "1");
        let mut waiting = Client::connect(mesher.conf().incoming);
        waiting.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        mesher.terminate();
        assert_eq!(waiting.read_response().text(), "1");
        assert_eq!(code(mesher.wait(PATIENCE)), 0);
    });
}

#[test]
fn who_connected_in_the_last_moment_may_still_send_its_request() {
    // It is waited for for a second.
    const WAITED_FOR: Duration = Duration::from_secs(1);
    on_both_drivers(|driver| {
        let fleet = Fleet::start_on(driver);
        let origin = named("1");
        wait_until("a client that is quick enough", PATIENCE, || {
            let mut mesher = fleet.provider(&origin);
            let mut quick = Client::connect(mesher.conf().incoming);
            let silent = Client::connect(mesher.conf().incoming);
            mesher.terminate();
            let mut open = Instant::now();
            wait_until("the listener to close", PATIENCE, || {
                let now = Instant::now();
                let is_open = Client::try_connect(mesher.conf().incoming).is_ok();
                open = if is_open { now } else { open };
                !is_open
            });
            let is_sent = quick.try_send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi").is_ok();
            let is_quick = open.elapsed() < WAITED_FOR;
            if is_quick {
                assert!(is_sent, "it is not waited for");
                let response = quick.read_response();
                assert_eq!((response.text(), response.header("connection")), ("1", Some("close")));
            }
            assert_eq!(code(mesher.wait(PATIENCE)), 0, "a silent one is not waited for long");
            drop(silent);
            is_quick
        });
    });
}

#[test]
fn the_grace_begins_when_the_registry_has_been_told() {
    let fleet = Fleet::start();
    let origin = named("1");
    let mut mesher = provider(&fleet, &origin, "1s", "20s");
    fleet.center.plan("DELETE", "/instances/", Fault::Unavailable, 3);
    mesher.terminate();
    let mut untold = Instant::now();
    wait_until("the instance to be gone", PATIENCE, || {
        let now = Instant::now();
        let is_gone = fleet.center.with(|fake, _| fake.instances_of(SERVICE)) == 0;
        untold = if is_gone { untold } else { now };
        is_gone
    });
    assert_eq!(code(mesher.wait(PATIENCE)), 0);
    assert!(untold.elapsed() >= Duration::from_secs(1), "peers had {:?}", untold.elapsed());
}

#[test]
fn a_registry_that_is_gone_does_not_hold_up_the_end_for_long() {
    let fleet = Fleet::start();
    let origin = named("1");
    let mut mesher = provider(&fleet, &origin, "100ms", LONG);
    fleet.center.plan("DELETE", "/instances/", Fault::Hang, usize::MAX);
    let mut kept = Client::connect(mesher.conf().incoming);
    mesher.terminate();
    wait_for_withdrawal(&fleet);
    assert_eq!(kept.get(SERVICE, "/").header("connection"), None, "peers cannot know yet");
    assert_eq!(code(mesher.wait(PATIENCE)), 0);
    mesher.wait_for_output("still registered");
}

#[test]
fn a_second_interrupt_ends_it_at_once_whatever_it_waits_for() {
    let fleet = Fleet::start();
    let gate = Gate::default();
    let origin = holding(&gate);
    let mut mesher = provider(&fleet, &origin, LONG, LONG);
    let mut slow = Client::connect(mesher.conf().incoming);
    slow.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_until("the slow request", PATIENCE, || gate.waiting() == 1);
    fleet.center.plan("DELETE", "/instances/", Fault::Hang, usize::MAX);
    mesher.terminate();
    wait_for_withdrawal(&fleet);
    mesher.signal(Signal::INT);
    assert_eq!(code(mesher.wait(PATIENCE)), 5);
    // And not when it has given up on the registry.
    mesher.wait_for_output("interrupted");
    gate.open();
}

#[test]
fn an_interrupt_of_an_idle_drain_is_no_failure() {
    let fleet = Fleet::start();
    let origin = named("1");
    let mut mesher = provider(&fleet, &origin, LONG, LONG);
    mesher.terminate();
    wait_for_withdrawal(&fleet);
    mesher.signal(Signal::INT);
    assert_eq!(code(mesher.wait(PATIENCE)), 0);
}

/// A load through a pair while one of two providers ends in the way given; nothing may fail.
#[track_caller]
fn takes_over(driver: Driver, end: impl Fn(&Fleet, &mut Mesher)) {
    let fleet = Fleet::start_on(driver);
    let (one, two) = (named("1"), named("2"));
    let mut first = provider(&fleet, &one, "1s", "20s");
    let second = fleet.provider(&two);
    let caller = fleet.caller();
    call(&caller, SERVICE);
    wait_for_endpoints(&caller, SERVICE, &[first.conf().incoming, second.conf().incoming]);
    let load = Load::start(caller.conf().outgoing, &format!("http://{SERVICE}/sayhello/peter"), 300);
    load.wait_for_answers(200);
    assert!(one.requests() > 50 && two.requests() > 50, "{} and {}", one.requests(), two.requests());
    end(&fleet, &mut first);
    let taken_over = two.requests();
    load.wait_for_answers(200);
    assert!(two.requests() > taken_over + 150);
    let answered = load.answered();
    let failures = load.finish();
    assert!(failures.is_empty(), "{} of {answered} failed, first {:?}", failures.len(), &failures[..1]);
}

#[test]
fn a_load_sees_nothing_of_a_provider_that_is_stopped() {
    on_both_drivers(|driver| {
        takes_over(driver, |fleet, first| {
            first.terminate();
            wait_for_withdrawal(fleet);
            fleet.settle();
            assert_eq!(code(first.wait(PATIENCE)), 0);
        });
    });
}

#[test]
fn a_load_sees_nothing_of_a_provider_whose_end_the_registry_does_not_tell() {
    on_both_drivers(|driver| {
        takes_over(driver, |_, first| {
            first.terminate();
            assert_eq!(code(first.wait(PATIENCE)), 0);
        });
    });
}

#[test]
fn a_load_sees_nothing_of_a_provider_that_crashes() {
    on_both_drivers(|driver| {
        takes_over(driver, |_, first| first.kill());
    });
}
