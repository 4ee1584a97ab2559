//! Our own instance: made known, kept known, made known again.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mesh::{Mesh, SERVICE, call, named, wait_for_endpoints};
use crate::support::origin::Origin;
use crate::support::process::Start;
use crate::support::servicecenter::Stop;
use crate::support::wait::{PATIENCE, wait_for, wait_until};

/// The body of the first request of this method whose path ends so.
fn sent(mesh: &Mesh, method: &str, path_end: &str) -> Value {
    let seen = mesh.center.seen();
    let request = &seen
        .iter()
        .find(|seen| seen.request.method == method && seen.request.path.ends_with(path_end))
        .unwrap_or_else(|| panic!("no {method} of {path_end}"))
        .request;
    serde_json::from_slice(&request.body).unwrap()
}

/// How many instances were registered by sidecars.
fn registrations(mesh: &Mesh) -> usize {
    mesh.center
        .seen()
        .iter()
        .filter(|seen| seen.request.method == "POST" && seen.request.path.ends_with("/instances"))
        .count()
}

#[test]
fn a_sidecar_registers_its_service_and_instance_as_mesher_did() {
    let mesh = Mesh::start();
    let origin = named("1");
    let conf = mesh
        .conf(SERVICE)
        .set("chassis.yaml", "servicecomb.registry.scope", "full")
        .set("chassis.yaml", "region.name", "r1")
        .set("chassis.yaml", "region.availableZone", "az1")
        .set("microservice.yaml", "servicecomb.service.hostname", "node1")
        .set("microservice.yaml", "servicecomb.service.instanceProperties.shelf", "top");
    let mesher = mesh.provider_with(&origin, conf);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        sent(&mesh, "POST", "/microservices"),
        json!({ "service": {
            "appId": "default", "serviceName": SERVICE, "version": "0.0.1", "level": "BACK", "status": "UP",
            "alias": "default:RESTServer", "registerBy": "SIDECAR",
            "framework": { "name": "Mesher", "version": version }, "properties": { "allowCrossApp": "true" },
        }})
    );
    assert_eq!(
        sent(&mesh, "POST", "/instances"),
        json!({ "instance": {
            "instanceId": mesher.instance_id(), "endpoints": [format!("rest://{}", mesher.conf().incoming)],
            "hostName": "node1", "status": "UP", "properties": { "shelf": "top" },
            "healthCheck": { "mode": "push", "interval": 30, "times": 3 },
            "dataCenterInfo": { "name": "r1", "region": "r1", "availableZone": "az1" },
        }})
    );
    let seen = mesh.center.seen();
    assert!(seen.iter().all(|seen| {
        let header =
            |name: &str| seen.request.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        header("x-domain-name") && header("user-agent")
    }));
}

#[test]
fn a_service_that_is_known_is_not_registered_twice() {
    let mesh = Mesh::start();
    let origin = named("1");
    let first = mesh.provider(&origin);
    let second = mesh.provider(&origin);
    assert_ne!(first.instance_id(), second.instance_id());
    assert_eq!(mesh.instances(SERVICE).len(), 2);
    assert_eq!(
        mesh.center.count("POST", "/microservices"),
        1 + registrations(&mesh),
        "one service, two instances"
    );
}

#[test]
fn heartbeats_keep_an_instance_beyond_its_time_to_live() {
    let mesh = Mesh::start();
    let origin = named("1");
    let conf = mesh.conf(SERVICE).set("chassis.yaml", "servicecomb.registry.heartbeat.interval", "1s");
    let mesher = mesh.provider_with(&origin, conf);
    let heartbeats = || mesh.center.count("PUT", "/heartbeat");
    // Four times five seconds is what an instance with such heartbeats is given; after three steps of 9 s it would
    // be gone.
    for beat in 0..3 {
        mesh.center.move_clock(Duration::from_secs(9));
        wait_until("a heartbeat", PATIENCE, || heartbeats() > beat);
        let now = heartbeats();
        wait_until("one more, all of it after the step", PATIENCE, || heartbeats() > now);
    }
    assert_eq!(mesh.instances(SERVICE)[0]["instanceId"], json!(mesher.instance_id()));
    assert_eq!(registrations(&mesh), 1);
}

#[test]
fn an_instance_that_expired_is_registered_again_under_its_id() {
    let mesh = Mesh::start();
    let origin = named("1");
    let conf = mesh.conf(SERVICE).set("chassis.yaml", "servicecomb.registry.heartbeat.interval", "1s");
    let mesher = mesh.provider_with(&origin, conf);
    let id = mesher.instance_id();
    mesh.center.move_clock(Duration::from_secs(60));
    assert_eq!(mesh.center.with(|fake, _| fake.instances_of(SERVICE)), 0, "it has expired");
    wait_until("a second registration", PATIENCE, || registrations(&mesh) == 2);
    mesh.settle();
    assert_eq!(mesh.instances(SERVICE)[0]["instanceId"], json!(id));
    wait_until("the status to say so", PATIENCE, || mesher.instance_id() == id);
    assert_eq!(mesh.center.count("POST", "/microservices"), 1 + 2, "the service was there all the time");
}

#[test]
fn service_and_instance_are_registered_again_after_a_loss_of_all_data() {
    let mesh = Mesh::start();
    let origin = named("1");
    let provider = mesh.provider(&origin);
    let caller = mesh.caller();
    assert_eq!(call(&caller, SERVICE).text(), "1");
    let id = provider.instance_id();
    mesh.center.stop(Stop::Killed);
    mesh.center.lose_data();
    assert_eq!(call(&caller, SERVICE).text(), "1", "service-center is down");
    mesh.center.restart();
    wait_until("the new registration", PATIENCE, || {
        assert_eq!(call(&caller, SERVICE).text(), "1", "service-center has lost its data");
        mesh.center.with(|fake, _| fake.instances_of(SERVICE)) == 1
    });
    mesh.settle();
    let found = mesh.instances(SERVICE);
    assert_eq!(found[0]["instanceId"], json!(id));
    assert_eq!(found[0]["endpoints"], json!([format!("rest://{}", provider.conf().incoming)]));
    // The caller is known again too, and hears of changes.
    let new = named("2");
    mesh.register("Late", "late", new.address());
    wait_until("a service that came after", PATIENCE, || call(&caller, "Late").status == 200);
    assert_eq!(call(&caller, SERVICE).text(), "1");
}

#[test]
fn a_restart_of_service_center_with_its_data_is_no_reason_to_register() {
    let mesh = Mesh::start();
    let origin = named("1");
    let provider = mesh.provider(&origin);
    let caller = mesh.caller();
    assert_eq!(call(&caller, SERVICE).text(), "1");
    mesh.center.stop(Stop::Killed);
    wait_until("the caller to notice", PATIENCE, || {
        assert_eq!(call(&caller, SERVICE).text(), "1");
        !caller.status()["details"]["registry"]["reach"]["unreachable"].is_null()
    });
    let watchers = mesh.center.count("GET", "/watcher");
    mesh.center.restart();
    wait_until("both to watch again", PATIENCE, || {
        assert_eq!(call(&caller, SERVICE).text(), "1");
        mesh.center.count("GET", "/watcher") >= watchers + 2
    });
    wait_until("a heartbeat to say that all is well", PATIENCE, || {
        mesh.center.count("PUT", "/heartbeat") > 0
    });
    assert_eq!(registrations(&mesh), 2);
    wait_for_endpoints(&caller, SERVICE, &[provider.conf().incoming]);
}

#[test]
fn the_checks_of_the_local_service_set_the_status_of_its_instance() {
    let mesh = Mesh::start();
    let origin = named("1");
    let port = origin.address().port();
    let checks =
        format!("- {{port: {port}, protocol: rest, uri: /health, interval: 100ms, match: {{status: 200}}}}");
    let conf = mesh.conf(SERVICE).set(
        "mesher.yaml",
        "localHealthCheck",
        serde_yaml::from_str::<serde_yaml::Value>(&checks).unwrap(),
    );
    let provider = mesh.provider_with(&origin, conf);
    let other = named("2");
    let second = mesh.provider(&other);
    let caller = mesh.caller();
    call(&caller, SERVICE);
    wait_for_endpoints(&caller, SERVICE, &[provider.conf().incoming, second.conf().incoming]);
    origin.stop();
    wait_until("it to be set DOWN", PATIENCE, || mesh.center.count("PUT", "/status") == 1);
    mesh.settle();
    wait_for_endpoints(&caller, SERVICE, &[second.conf().incoming]);
    let why = wait_for("the reason", PATIENCE, || {
        let checks = provider.status()["details"]["health_checks"].clone();
        checks[0]["why"].as_str().filter(|why| !why.is_empty()).map(str::to_owned)
    });
    assert!(why.contains("refused"), "{why}");
    origin.restart();
    wait_until("it to be set UP", PATIENCE, || mesh.center.count("PUT", "/status") == 2);
    mesh.settle();
    wait_for_endpoints(&caller, SERVICE, &[provider.conf().incoming, second.conf().incoming]);
}

#[test]
fn a_sidecar_on_the_loopback_address_registers_its_name_only() {
    let mesh = Mesh::start();
    let conf = mesh.conf("caller");
    let address = conf.outgoing.to_string();
    let conf = conf.set("chassis.yaml", "servicecomb.protocols.http.listenAddress", address);
    let _mesher = mesh.registered(Start::new(conf));
    assert_eq!(mesh.instances("caller")[0].get("endpoints"), None);
}

#[test]
fn without_registration_wanted_nothing_is_registered() {
    let mesh = Mesh::start();
    let origin = Origin::answering("1");
    mesh.register(SERVICE, "one", origin.address());
    let conf = mesh.conf("caller").set("chassis.yaml", "servicecomb.registry.register", "manual");
    let mesher = Start::new(conf).spawn();
    wait_until("the port", PATIENCE, || mesher.admin("/live").is_some());
    assert_eq!(call(&mesher, SERVICE).text(), "1", "it finds services all the same");
    assert_eq!(registrations(&mesh), 0);
}
