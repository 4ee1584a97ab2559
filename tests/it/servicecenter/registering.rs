//! Our own instance: made known, kept known, made known again.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fleet::{Fleet, SERVICE, call, named, wait_for_endpoints};
use crate::support::origin::Origin;
use crate::support::process::Start;
use crate::support::servicecenter::Stop;
use crate::support::wait::{PATIENCE, wait_for, wait_until};

/// The body of the first request of this method whose path ends so.
fn sent(fleet: &Fleet, method: &str, path_end: &str) -> Value {
    let seen = fleet.center.seen();
    let request = &seen
        .iter()
        .find(|seen| seen.request.method == method && seen.request.path.ends_with(path_end))
        .unwrap_or_else(|| panic!("no {method} of {path_end}"))
        .request;
    serde_json::from_slice(&request.body).unwrap()
}

/// How many instances were registered by sidecars.
fn registrations(fleet: &Fleet) -> usize {
    fleet
        .center
        .seen()
        .iter()
        .filter(|seen| seen.request.method == "POST" && seen.request.path.ends_with("/instances"))
        .count()
}

#[test]
fn a_sidecar_registers_its_service_and_instance_as_mesher_did() {
    let fleet = Fleet::start();
    let origin = named("1");
    let conf = fleet
        .conf(SERVICE)
        .set("chassis.yaml", "servicecomb.registry.scope", "full")
        .set("chassis.yaml", "region.name", "r1")
        .set("chassis.yaml", "region.availableZone", "az1")
        .set("microservice.yaml", "servicecomb.service.hostname", "node1")
        .set("microservice.yaml", "servicecomb.service.instanceProperties.shelf", "top");
    let ports = format!("--service-ports=rest:{}", origin.address().port());
    let mesher = fleet.registered(Start::new(conf).arg(ports).env("HOSTING_SERVER_IP", "10.0.0.9"));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        sent(&fleet, "POST", "/microservices"),
        json!({ "service": {
            "appId": "default", "serviceName": SERVICE, "version": "0.0.1", "level": "BACK", "status": "UP",
            "alias": "default:RESTServer", "registerBy": "SIDECAR",
            "framework": { "name": "Mesher", "version": version }, "properties": { "allowCrossApp": "true" },
        }})
    );
    assert_eq!(
        sent(&fleet, "POST", "/instances"),
        json!({ "instance": {
            "instanceId": mesher.instance_id(), "endpoints": [format!("rest://{}", mesher.conf().incoming)],
            "hostName": "node1", "status": "UP", "properties": { "shelf": "top", "nodeIP": "10.0.0.9" },
            "healthCheck": { "mode": "push", "interval": 30, "times": 3 },
            "dataCenterInfo": { "name": "r1", "region": "r1", "availableZone": "az1" },
        }})
    );
    let seen = fleet.center.seen();
    assert!(seen.iter().all(|seen| {
        let header =
            |name: &str| seen.request.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        header("x-domain-name") && header("user-agent")
    }));
}

#[test]
fn a_service_that_is_known_is_not_registered_twice() {
    let fleet = Fleet::start();
    let origin = named("1");
    let first = fleet.provider(&origin);
    let second = fleet.provider(&origin);
    assert_ne!(first.instance_id(), second.instance_id());
    assert_eq!(fleet.instances(SERVICE).len(), 2);
    assert_eq!(
        fleet.center.count("POST", "/microservices"),
        1 + registrations(&fleet),
        "one service, two instances"
    );
}

#[test]
fn heartbeats_keep_an_instance_beyond_its_time_to_live() {
    let fleet = Fleet::start();
    let origin = named("1");
    let conf = fleet.conf(SERVICE).set("chassis.yaml", "servicecomb.registry.heartbeat.interval", "1s");
    let mesher = fleet.provider_with(&origin, conf);
    let heartbeats = || fleet.center.count("PUT", "/heartbeat");
    // Four times five seconds is what an instance with such heartbeats is given; after three steps of 9 s it would
    // be gone.
    for beat in 0..3 {
        fleet.center.move_clock(Duration::from_secs(9));
        wait_until("a heartbeat", PATIENCE, || heartbeats() > beat);
        let now = heartbeats();
        wait_until("one more, all of it after the step", PATIENCE, || heartbeats() > now);
    }
    assert_eq!(fleet.instances(SERVICE)[0]["instanceId"], json!(mesher.instance_id()));
    assert_eq!(registrations(&fleet), 1);
}

#[test]
fn an_instance_that_expired_is_registered_again_under_its_id() {
    let fleet = Fleet::start();
    let origin = named("1");
    let conf = fleet.conf(SERVICE).set("chassis.yaml", "servicecomb.registry.heartbeat.interval", "1s");
    let mesher = fleet.provider_with(&origin, conf);
    let id = mesher.instance_id();
    fleet.center.move_clock(Duration::from_secs(60));
    assert_eq!(fleet.center.with(|fake, _| fake.instances_of(SERVICE)), 0, "it has expired");
    wait_until("a second registration", PATIENCE, || registrations(&fleet) == 2);
    fleet.settle();
    assert_eq!(fleet.instances(SERVICE)[0]["instanceId"], json!(id));
    wait_until("the status to say so", PATIENCE, || mesher.instance_id() == id);
    assert_eq!(fleet.center.count("POST", "/microservices"), 1 + 2, "the service was there all the time");
}

#[test]
fn service_and_instance_are_registered_again_after_a_loss_of_all_data() {
    let fleet = Fleet::start();
    let origin = named("1");
    let provider = fleet.provider(&origin);
    let caller = fleet.caller();
    assert_eq!(call(&caller, SERVICE).text(), "1");
    let id = provider.instance_id();
    fleet.center.stop(Stop::Killed);
    fleet.center.lose_data();
    assert_eq!(call(&caller, SERVICE).text(), "1", "service-center is down");
    fleet.center.restart();
    wait_until("the new registration", PATIENCE, || {
        assert_eq!(call(&caller, SERVICE).text(), "1", "service-center has lost its data");
        fleet.center.with(|fake, _| fake.instances_of(SERVICE)) == 1
    });
    fleet.settle();
    let found = fleet.instances(SERVICE);
    assert_eq!(found[0]["instanceId"], json!(id));
    assert_eq!(found[0]["endpoints"], json!([format!("rest://{}", provider.conf().incoming)]));
    // The caller is known again too, and hears of changes.
    let new = named("2");
    fleet.register("Late", "late", new.address());
    wait_until("a service that came after", PATIENCE, || call(&caller, "Late").status == 200);
    assert_eq!(call(&caller, SERVICE).text(), "1");
}

#[test]
fn a_restart_of_service_center_with_its_data_is_no_reason_to_register() {
    let fleet = Fleet::start();
    let origin = named("1");
    let provider = fleet.provider(&origin);
    let caller = fleet.caller();
    assert_eq!(call(&caller, SERVICE).text(), "1");
    fleet.center.stop(Stop::Killed);
    wait_until("the caller to notice", PATIENCE, || {
        assert_eq!(call(&caller, SERVICE).text(), "1");
        !caller.status()["details"]["registry"]["reach"]["unreachable"].is_null()
    });
    let watchers = fleet.center.count("GET", "/watcher");
    fleet.center.restart();
    wait_until("both to watch again", PATIENCE, || {
        assert_eq!(call(&caller, SERVICE).text(), "1");
        fleet.center.count("GET", "/watcher") >= watchers + 2
    });
    wait_until("a heartbeat to say that all is well", PATIENCE, || {
        fleet.center.count("PUT", "/heartbeat") > 0
    });
    assert_eq!(registrations(&fleet), 2);
    wait_for_endpoints(&caller, SERVICE, &[provider.conf().incoming]);
}

#[test]
fn the_checks_of_the_local_service_set_the_status_of_its_instance() {
    let fleet = Fleet::start();
    let origin = named("1");
    let port = origin.address().port();
    let checks =
        format!("- {{port: {port}, protocol: rest, uri: /health, interval: 100ms, match: {{status: 200}}}}");
    let conf = fleet.conf(SERVICE).set(
        "mesher.yaml",
        "localHealthCheck",
        serde_yaml::from_str::<serde_yaml::Value>(&checks).unwrap(),
    );
    let provider = fleet.provider_with(&origin, conf);
    let other = named("2");
    let second = fleet.provider(&other);
    let caller = fleet.caller();
    call(&caller, SERVICE);
    wait_for_endpoints(&caller, SERVICE, &[provider.conf().incoming, second.conf().incoming]);
    origin.stop();
    wait_until("it to be set DOWN", PATIENCE, || fleet.center.count("PUT", "/status") == 1);
    fleet.settle();
    wait_for_endpoints(&caller, SERVICE, &[second.conf().incoming]);
    let why = wait_for("the reason", PATIENCE, || {
        let checks = provider.status()["details"]["health_checks"].clone();
        checks[0]["why"].as_str().filter(|why| !why.is_empty()).map(str::to_owned)
    });
    assert!(why.contains("refused"), "{why}");
    origin.restart();
    wait_until("it to be set UP", PATIENCE, || fleet.center.count("PUT", "/status") == 2);
    fleet.settle();
    wait_for_endpoints(&caller, SERVICE, &[provider.conf().incoming, second.conf().incoming]);
}

#[test]
fn a_sidecar_on_the_loopback_address_registers_its_name_only() {
    let fleet = Fleet::start();
    let conf = fleet.conf("caller");
    let address = conf.outgoing.to_string();
    let conf = conf.set("chassis.yaml", "servicecomb.protocols.http.listenAddress", address);
    let _mesher = fleet.registered(Start::new(conf));
    assert_eq!(fleet.instances("caller")[0].get("endpoints"), None);
}

#[test]
fn without_registration_wanted_nothing_is_registered() {
    let fleet = Fleet::start();
    let origin = Origin::answering("1");
    fleet.register(SERVICE, "one", origin.address());
    let conf = fleet.conf("caller").set("chassis.yaml", "servicecomb.registry.register", "manual");
    let mesher = Start::new(conf).spawn();
    wait_until("the port", PATIENCE, || mesher.admin("/live").is_some());
    assert_eq!(call(&mesher, SERVICE).text(), "1", "it finds services all the same");
    assert_eq!(registrations(&fleet), 0);
}
