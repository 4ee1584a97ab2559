//! Service-center away, in trouble, or answering nonsense: what is known goes on, and the status says why.

use std::net::SocketAddr;

use crate::support::client::Client;
use crate::support::fleet::{Fleet, SERVICE, call, named, wait_for_endpoints};
use crate::support::origin::Origin;
use crate::support::process::{Mesher, Start};
use crate::support::servicecenter::{Fault, Stop};
use crate::support::wait::{PATIENCE, wait_for, wait_until};

/// Why service-center is not reachable, as the status has it.
fn unreachable(mesher: &Mesher) -> Option<String> {
    mesher.status()["details"]["registry"]["reach"]["unreachable"].as_str().map(str::to_owned)
}

/// A caller that knows of one instance of [`SERVICE`].
fn knowing_caller(fleet: &Fleet, origin: &Origin) -> Mesher {
    fleet.register(SERVICE, "one", origin.address());
    let caller = fleet.caller();
    assert_eq!(call(&caller, SERVICE).text(), "1");
    caller
}

/// Has finding fail in one way until the status says `why`, and checks that calls go on all the time.
#[track_caller]
fn outlives(fault: Fault, why: &str) {
    let fleet = Fleet::start();
    let origin = named("1");
    let caller = knowing_caller(&fleet, &origin);
    fleet.center.plan("POST", "/instances/action", fault.clone(), usize::MAX);
    let told = wait_for("the status to say why", PATIENCE, || {
        assert_eq!(call(&caller, SERVICE).text(), "1", "{fault:?}");
        unreachable(&caller)
    });
    assert!(told.contains(why), "{fault:?}: {told}");
    assert_eq!(caller.admin("/ready").unwrap().status, 200, "it serves what it knows");
    fleet.center.heal();
    wait_until("service-center to be reachable again", PATIENCE, || {
        assert_eq!(call(&caller, SERVICE).text(), "1", "{fault:?}");
        unreachable(&caller).is_none()
    });
}

#[test]
fn an_answer_of_500_keeps_what_is_known() {
    outlives(Fault::Unavailable, "500011");
}

#[test]
fn an_empty_answer_keeps_what_is_known() {
    outlives(Fault::Empty, "empty");
}

#[test]
fn an_answer_that_is_no_json_keeps_what_is_known() {
    outlives(Fault::Garbage(b"<html>504</html>"), "cannot be read");
}

#[test]
fn an_answer_of_another_shape_keeps_what_is_known() {
    outlives(Fault::Garbage(br#"{"services":[1,2]}"#), "cannot be read");
}

#[test]
fn an_answer_cut_in_the_middle_keeps_what_is_known() {
    outlives(Fault::Cut(200), "127.0.0.1");
}

#[test]
fn a_reset_keeps_what_is_known() {
    outlives(Fault::Reset(10), "127.0.0.1");
}

#[test]
fn an_answer_that_never_comes_keeps_what_is_known() {
    outlives(Fault::Hang, "does not answer within");
}

#[test]
fn an_answer_that_comes_too_late_keeps_what_is_known() {
    outlives(Fault::Slow(60_000), "does not answer within");
}

#[test]
fn a_service_center_that_is_down_at_the_start_is_waited_for() {
    let fleet = Fleet::start();
    fleet.center.stop(Stop::Killed);
    let origin = named("1");
    let port = origin.address().port();
    let mesher = Start::new(fleet.conf(SERVICE)).arg(format!("--service-ports=rest:{port}")).spawn();
    let reason = wait_for("the reason", PATIENCE, || {
        let status = mesher.admin("/ready")?;
        Some(status.text().to_owned()).filter(|text| text.contains("refused"))
    });
    assert_eq!(mesher.admin("/ready").unwrap().status, 503);
    assert!(reason.contains(&fleet.center.address().to_string()), "{reason}");
    assert_eq!(mesher.admin("/live").unwrap().status, 200);
    let refused = call(&mesher, "Other");
    assert_eq!(refused.status, 503);
    assert!(refused.header("x-mesher-error").unwrap().contains("no answer from the registry"), "{refused:?}");
    // Who knows the address is served: the listeners are open.
    let direct = Client::connect(mesher.conf().incoming).get(SERVICE, "/sayhello/peter");
    assert_eq!(direct.text(), "1");

    fleet.center.restart();
    wait_for("the registration", PATIENCE, || mesher.instance_id());
    assert_eq!(mesher.admin("/ready").unwrap().status, 200);
    fleet.settle();
    wait_until("the service to be found", PATIENCE, || call(&mesher, SERVICE).text() == "1");
}

#[test]
fn the_last_good_answers_are_on_disk_for_a_start_without_service_center() {
    let fleet = Fleet::start();
    let origin = named("1");
    fleet.register(SERVICE, "one", origin.address());
    let state = tempfile::tempdir().unwrap();
    let conf = || fleet.conf("caller").set("mesher.yaml", "mesher.state.dir", state.path().to_str().unwrap());
    let mut caller = fleet.registered(Start::new(conf()));
    assert_eq!(call(&caller, SERVICE).text(), "1");
    wait_until("the answer to be written", PATIENCE, || {
        std::fs::read_dir(state.path()).unwrap().any(|file| {
            std::fs::read_to_string(file.unwrap().path()).is_ok_and(|text| text.contains(SERVICE))
        })
    });
    caller.kill();
    fleet.center.stop(Stop::Killed);
    let caller = Start::new(conf()).ready();
    assert_eq!(call(&caller, SERVICE).text(), "1");
    let status = caller.status();
    assert_eq!(status["details"]["services"][SERVICE]["origin"], "disk");
    assert_eq!(status["details"]["registry"]["from_disk"]["services"], 1);
    assert!(unreachable(&caller).is_some_and(|why| why.contains("refused")));
    fleet.center.restart();
    wait_until("service-center's own answer", PATIENCE, || {
        assert_eq!(call(&caller, SERVICE).text(), "1");
        caller.status()["details"]["services"][SERVICE]["origin"] == "registry"
    });
}

#[test]
fn another_address_of_service_center_is_used_when_one_is_dead() {
    let mut fleet = Fleet::start();
    let other = fleet.center.add_node();
    let dead: SocketAddr = crate::support::net::free_address();
    let addresses = [dead, fleet.center.address(), fleet.center.address_of(other)];
    let origin = named("1");
    let provider = fleet.provider_with(&origin, fleet.conf(SERVICE).service_center(&addresses));
    let caller = fleet.registered(Start::new(fleet.conf("caller").service_center(&addresses)));
    assert_eq!(call(&caller, SERVICE).text(), "1");
    let id = provider.instance_id();
    assert!(fleet.center.seen().iter().all(|seen| seen.node == 0), "the first that answers is used");

    fleet.center.stop(Stop::Killed);
    wait_until("the caller to ask the other address", PATIENCE, || {
        assert_eq!(call(&caller, SERVICE).text(), "1");
        fleet.center.seen().iter().any(|seen| seen.node == other && seen.request.path.ends_with("/action"))
    });
    assert_eq!(unreachable(&caller), None);
    assert_eq!(provider.instance_id(), id);
    wait_for_endpoints(&caller, SERVICE, &[provider.conf().incoming]);
    // Nothing hinders the way out either.
    assert_eq!(provider.stop(), 0);
    assert_eq!(fleet.center.with(|fake, _| fake.instances_of(SERVICE)), 0);
}
