//! Which instances are called, and how soon a change is seen.

use crate::support::fleet::{Fleet, SERVICE, call, named, wait_for_endpoints};
use crate::support::mesh::on_both_drivers;
use crate::support::process::{Mesher, Start};
use crate::support::wait::{PATIENCE, wait_until};

/// A caller that pulls so rarely that only events can tell it of a change, and so was told by one.
fn watching_caller(fleet: &Fleet) -> Mesher {
    let conf = fleet.conf("caller").set("chassis.yaml", "servicecomb.registry.refreshInterval", "1h");
    fleet.registered(Start::new(conf))
}

#[test]
fn a_service_registered_by_one_sidecar_is_found_by_another() {
    on_both_drivers(|driver| {
        let fleet = Fleet::start_on(driver);
        let origin = named("hello peter");
        let provider = fleet.provider(&origin);
        let caller = fleet.caller();
        assert_eq!(call(&caller, SERVICE).text(), "hello peter");
        assert_eq!(caller.endpoints(SERVICE), [provider.conf().incoming]);
        let port = origin.address().port();
        let with_port = call(&caller, &format!("{SERVICE}:{port}"));
        assert_eq!(with_port.text(), "hello peter", "the port of the service is the one that was configured");
        let seen = origin.seen();
        assert_eq!(seen[1].request.target, "/sayhello/peter");
        assert_eq!(seen[1].request.header("x-forwarded-port"), Some(port.to_string().as_str()));
    });
}

#[test]
fn a_service_that_needs_no_sidecar_is_called_directly() {
    let fleet = Fleet::start();
    let origin = named("plain");
    fleet.register("Plain", "p", origin.address());
    let caller = fleet.caller();
    assert_eq!(call(&caller, "Plain").text(), "plain");
    assert_eq!(caller.endpoints("Plain"), [origin.address()]);
}

#[test]
fn instances_are_called_in_turn_and_one_that_stopped_no_longer() {
    on_both_drivers(|driver| {
        let fleet = Fleet::start_on(driver);
        let (one, two) = (named("1"), named("2"));
        let first = fleet.provider(&one);
        let second = fleet.provider(&two);
        let caller = fleet.caller();
        call(&caller, SERVICE);
        wait_for_endpoints(&caller, SERVICE, &[first.conf().incoming, second.conf().incoming]);
        let answers: Vec<_> = (0..4).map(|_| call(&caller, SERVICE).text().to_owned()).collect();
        assert_eq!(answers[..2], answers[2..], "in turn");
        assert_ne!(answers[0], answers[1]);
        assert_eq!(first.stop(), 0);
        fleet.settle();
        wait_for_endpoints(&caller, SERVICE, &[second.conf().incoming]);
        let before = one.requests();
        for _ in 0..4 {
            assert_eq!(call(&caller, SERVICE).text(), "2");
        }
        assert_eq!(one.requests(), before);
    });
}

#[test]
fn an_instance_that_crashed_is_passed_over_before_the_registry_knows() {
    on_both_drivers(|driver| {
        let fleet = Fleet::start_on(driver);
        let (one, two) = (named("1"), named("2"));
        let mut first = fleet.provider(&one);
        let second = fleet.provider(&two);
        let caller = fleet.caller();
        call(&caller, SERVICE);
        let both = [first.conf().incoming, second.conf().incoming];
        wait_for_endpoints(&caller, SERVICE, &both);
        first.kill();
        for method in ["GET", "POST"] {
            for _ in 0..4 {
                let mut client = caller.connect();
                client.send(format!(
                    "{method} http://{SERVICE}/ HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
                ));
                assert_eq!(client.read_response().text(), "2", "{method}");
            }
        }
        wait_for_endpoints(&caller, SERVICE, &both);
    });
}

#[test]
fn events_tell_of_new_changed_and_removed_instances_at_once() {
    let fleet = Fleet::start();
    let (one, two) = (named("1"), named("2"));
    fleet.register(SERVICE, "one", one.address());
    let caller = watching_caller(&fleet);
    call(&caller, SERVICE);
    wait_for_endpoints(&caller, SERVICE, &[one.address()]);
    let asked = fleet.center.count("POST", "/instances/action");

    fleet.register(SERVICE, "two", two.address());
    wait_for_endpoints(&caller, SERVICE, &[one.address(), two.address()]);
    fleet.set_status(SERVICE, "one", "DOWN");
    wait_for_endpoints(&caller, SERVICE, &[two.address()]);
    fleet.set_status(SERVICE, "one", "UP");
    wait_for_endpoints(&caller, SERVICE, &[one.address(), two.address()]);
    fleet.remove(SERVICE, "two");
    wait_for_endpoints(&caller, SERVICE, &[one.address()]);
    assert!(fleet.center.count("POST", "/instances/action") <= asked + 4, "it does not ask all the time");
}

#[test]
fn an_expire_event_has_the_service_asked_for_anew() {
    let fleet = Fleet::start();
    let one = named("1");
    fleet.register(SERVICE, "one", one.address());
    let caller = watching_caller(&fleet);
    call(&caller, SERVICE);
    let consumer = fleet.instances("caller")[0]["serviceId"].as_str().unwrap().to_owned();
    let asked = fleet.center.count("POST", "/instances/action");
    fleet.center.with(|fake, now_ms| fake.push_expire(&consumer, SERVICE, "0.0.1", now_ms));
    wait_until("another question", PATIENCE, || fleet.center.count("POST", "/instances/action") > asked);
    assert_eq!(call(&caller, SERVICE).text(), "1");
}

#[test]
fn without_a_watch_changes_are_seen_by_asking() {
    let fleet = Fleet::start();
    let (one, two) = (named("1"), named("2"));
    fleet.register(SERVICE, "one", one.address());
    let conf = fleet.conf("caller").set("chassis.yaml", "servicecomb.registry.watch", false);
    let caller = fleet.registered(Start::new(conf));
    call(&caller, SERVICE);
    fleet.register(SERVICE, "two", two.address());
    wait_for_endpoints(&caller, SERVICE, &[one.address(), two.address()]);
    fleet.remove(SERVICE, "one");
    wait_for_endpoints(&caller, SERVICE, &[two.address()]);
    assert_eq!(fleet.center.count("GET", "/watcher"), 0);
}

#[test]
fn an_instance_that_is_not_up_is_not_called() {
    let fleet = Fleet::start();
    let one = named("1");
    fleet.register(SERVICE, "one", one.address());
    let caller = fleet.caller();
    for status in ["DOWN", "STARTING", "OUTOFSERVICE"] {
        fleet.set_status(SERVICE, "one", status);
        wait_until(status, PATIENCE, || {
            let response = call(&caller, SERVICE);
            response.status == 503
                && response.text() == format!("no usable instance of \"{SERVICE}\" (0/1: 1 {status})\n")
        });
    }
    assert_eq!(one.requests(), 0);
    fleet.set_status(SERVICE, "one", "UP");
    wait_until("it to be called", PATIENCE, || call(&caller, SERVICE).status == 200);
}

#[test]
fn instances_are_kept_over_empty_answers_until_they_repeat() {
    let fleet = Fleet::start();
    let one = named("1");
    fleet.register(SERVICE, "one", one.address());
    let conf = fleet.conf("caller").set("chassis.yaml", "servicecomb.registry.watch", false);
    let caller = fleet.registered(Start::new(conf));
    call(&caller, SERVICE);
    let asked = || fleet.center.count("POST", "/instances/action");
    fleet.remove(SERVICE, "one");
    let before = asked();
    // The second answer is read at the earliest when the third question is put.
    wait_until("two empty answers", PATIENCE, || {
        assert_eq!(call(&caller, SERVICE).text(), "1");
        asked() >= before + 2
    });
    caller.wait_for_output("those known are kept for now");
    wait_until("the answer to be believed", PATIENCE, || call(&caller, SERVICE).status == 503);
    assert!(asked() >= before + 3, "{} questions", asked() - before);
    assert!(call(&caller, SERVICE).text().contains("has no instance"));
}

#[test]
fn a_service_nobody_knows_is_503_with_the_reason_until_it_comes() {
    let fleet = Fleet::start();
    let caller = fleet.caller();
    let response = call(&caller, "Late");
    assert_eq!(response.status, 503);
    assert!(response.header("x-mesher-error").unwrap().starts_with("NC; "), "{response:?}");
    assert_eq!(response.text(), "no service \"Late\": the registry does not know it\n");
    let one = named("1");
    fleet.register("Late", "one", one.address());
    wait_until("the service to be found", PATIENCE, || call(&caller, "Late").status == 200);
}

#[test]
fn a_nonsense_entry_spoils_nothing() {
    let fleet = Fleet::start();
    let one = named("1");
    fleet.register(SERVICE, "one", one.address());
    let id = fleet.instances(SERVICE)[0]["serviceId"].as_str().unwrap().to_owned();
    let odd = r#"{"instance":{"instanceId":"odd","hostName":"h","endpoints":["rest://","highway://10.0.0.1:1","nonsense"]}}"#;
    assert_eq!(fleet.center.call("POST", &format!("microservices/{id}/instances"), odd).status, 200);
    fleet.settle();
    let caller = fleet.caller();
    for _ in 0..3 {
        assert_eq!(call(&caller, SERVICE).text(), "1");
    }
    assert_eq!(caller.endpoints(SERVICE), [one.address()]);
}
