//! The instance in the registry goes from process to process.

use rustix::process::Signal;

use super::super::support::conf::Conf;
use super::super::support::process::Start;
use super::super::support::servicecenter::{Clock, Config, Request, Shell};
use super::super::support::wait::{PATIENCE, wait_until};
use super::dynasty::{Dynasty, quick};

#[test]
fn the_instance_goes_over_without_a_gap() {
    let center = Shell::start(Config::default(), Clock::Real);
    let conf = quick(Conf::sidecar("caller").service_center(&[center.address()])).set(
        "chassis.yaml",
        "servicecomb.registry.heartbeat.interval",
        "1s",
    );
    let mut mesher = Dynasty::found(Start::new(conf));
    mesher.founder.wait_for_output("registered id=");
    let heartbeats = || center.count("PUT", "/heartbeat");
    wait_until("a heartbeat", PATIENCE, || heartbeats() >= 1);
    for _ in 0..3 {
        mesher.succeed();
        assert_eq!(center.with(|fake, _| fake.instances_of("caller")), 1);
    }
    assert_eq!(mesher.buried(), [0; 3]);
    let before = heartbeats();
    wait_until("heartbeats of the new process", PATIENCE, || heartbeats() >= before + 2);
    let output = mesher.founder.output();
    let mut ids: Vec<_> =
        output.lines().filter_map(|line| line.split_once("registered id=")).map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 4, "{output}");
    ids.dedup();
    assert_eq!(ids.len(), 1, "one instance for all: {ids:?}");
    assert_eq!(center.count("DELETE", ""), 0);
    let says_down = |text: &str| text.contains("DOWN");
    let down = |seen: &Request| says_down(&seen.query) || says_down(&String::from_utf8_lossy(&seen.body));
    assert!(!center.seen().iter().any(|seen| down(&seen.request)), "nobody reports it down");
    assert_eq!(center.with(|fake, _| fake.instances_of("caller")), 1);

    mesher.signal(Signal::TERM);
    wait_until("the instance to be taken out", PATIENCE, || center.count("DELETE", "/instances/") == 1);
}

#[test]
fn an_instance_that_would_change_is_replaced_the_new_one_first() {
    let center = Shell::start(Config::default(), Clock::Real);
    let conf = quick(Conf::sidecar("caller").service_center(&[center.address()]));
    let mut mesher = Dynasty::found(Start::new(conf));
    mesher.founder.wait_for_output("registered id=");
    mesher.founder.conf_mut().change("microservice.yaml", "servicecomb.service.instanceProperties.rack", "7");
    mesher.succeed();
    assert_eq!(mesher.buried(), [0]);
    let seen: Vec<Request> = center.seen().into_iter().map(|seen| seen.request).collect();
    let position = |method: &str, part: &str, nth: usize| {
        let fits = |(_, seen): &(usize, &Request)| seen.method == method && seen.path.contains(part);
        seen.iter().enumerate().filter(fits).nth(nth).map(|(at, _)| at)
    };
    let registered = position("POST", "/instances", 1).expect("a second registration");
    let removed = position("DELETE", "/instances/", 0).expect("a removal");
    assert!(registered < removed, "there always is one");
    assert_eq!(center.count("DELETE", ""), 1);
}
