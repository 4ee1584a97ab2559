//! SIGHUP: the configuration is read again, checked whole, and what may change changes, for new requests only.

use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::support::client::{Client, Response};
use super::support::conf::Conf;
use super::support::origin::{Gate, Origin, Reply, chunk};
use super::support::process::{Mesher, Start};
use super::support::wait::{PATIENCE, wait_for, wait_until};

const TIMEOUT: &str = "cse.isolation.Consumer.timeoutInMilliseconds";

fn caller(services: &[(&str, &[SocketAddr])]) -> Mesher {
    Start::new(Conf::sidecar("caller").services(services)).ready()
}

/// Reads the configuration anew, for the `times`th time, with success.
#[track_caller]
fn reload(mesher: &Mesher, times: usize) {
    mesher.signal(Signal::HUP);
    mesher.wait_for_outputs("configuration reloaded", times);
}

fn verbose(mesher: &Mesher) -> Value {
    let response = wait_for("the admin", PATIENCE, || mesher.admin("/ready?verbose"));
    serde_json::from_str(response.text()).unwrap()
}

/// An origin that answers `/now` at once and everything else when the gate opens.
fn origin(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |seen| {
        let reply = Reply::ok("done");
        if seen.request.target == "/now" { reply } else { reply.held_by(&gate) }
    })
}

/// Asks for `/held` until mesher gives up on it: the control plane tells the shards of new time-outs a moment after the
/// reload, and a request that began before waits for as long as it was to.
fn times_out(mesher: &Mesher, service: &str) -> Response {
    wait_for("a request to time out", PATIENCE, || {
        let mut client = mesher.connect().deadline(Duration::from_millis(500));
        client.send(format!("GET /held HTTP/1.1\r\nHost: {service}\r\n\r\n"));
        client.try_read_response_to("GET").ok()
    })
}

#[test]
fn new_requests_are_treated_as_the_new_configuration_says_and_those_in_flight_as_the_old_one() {
    let gate = Gate::default();
    let origin = origin(&gate);
    let mut mesher = caller(&[("orders", &[origin.address()])]);
    let mut kept = mesher.connect();
    assert_eq!(kept.get("orders", "/now").status, 200);
    let mut in_flight = mesher.connect();
    in_flight.send("GET /held HTTP/1.1\r\nHost: orders\r\n\r\n");
    wait_until("the request at the origin", PATIENCE, || gate.waiting() == 1);

    mesher.conf_mut().change("mesher.yaml", TIMEOUT, 50);
    reload(&mesher, 1);
    let timed_out = times_out(&mesher, "orders");
    assert_eq!(timed_out.status, 504);
    assert!(timed_out.text().contains("within 50ms"), "{}", timed_out.text());
    assert_eq!(kept.get("orders", "/held").status, 504, "on a connection from before, too");
    gate.open();
    assert_eq!(in_flight.read_response().status, 200);
}

#[test]
fn settings_of_a_single_service_change_it_alone() {
    let gate = Gate::default();
    let origin = origin(&gate);
    let addresses: &[SocketAddr] = &[origin.address()];
    let mut mesher = caller(&[("orders", addresses), ("users", addresses)]);
    for service in ["orders", "users"] {
        assert_eq!(mesher.connect().get(service, "/now").status, 200);
    }
    mesher.conf_mut().change("mesher.yaml", "cse.isolation.Consumer.orders.timeoutInMilliseconds", 50);
    reload(&mesher, 1);
    let mut users = mesher.connect();
    users.send("GET /held HTTP/1.1\r\nHost: users\r\n\r\n");
    assert_eq!(times_out(&mesher, "orders").status, 504);
    gate.open();
    assert_eq!(users.read_response().status, 200);
}

#[test]
fn limits_and_chains_hold_from_the_next_request_on_a_connection() {
    let origin = Origin::answering("hello");
    let mut mesher = caller(&[("orders", &[origin.address()])]);
    let mut client = mesher.connect();
    let long = format!("/{}", "x".repeat(200));
    assert_eq!(client.get("orders", &long).status, 200);

    mesher.conf_mut().change("mesher.yaml", "mesher.limit.requestLineBytes", 100);
    reload(&mesher, 1);
    assert_eq!(client.get("orders", "/").status, 200, "the connection lives on");
    assert_eq!(client.get("orders", &long).status, 414);

    mesher.conf_mut().change("mesher.yaml", "servicecomb.handler.chain.Consumer.outgoing", "transport");
    reload(&mesher, 2);
    let refused = mesher.connect().get("orders", "/");
    assert_ne!(refused.status, 200, "nothing chooses an instance any more");
    mesher.conf_mut().change(
        "mesher.yaml",
        "servicecomb.handler.chain.Consumer.outgoing",
        "router,loadbalance,transport",
    );
    reload(&mesher, 3);
    assert_eq!(mesher.connect().get("orders", "/").status, 200);
}

#[test]
fn a_broken_configuration_keeps_what_ran_and_says_where_it_is_broken() {
    let origin = Origin::answering("hello");
    let mut mesher = caller(&[("orders", &[origin.address()])]);
    let mut client = mesher.connect();
    assert_eq!(client.get("orders", "/").status, 200);
    assert_eq!(verbose(&mesher)["config"]["generation"], 1);

    mesher
        .conf()
        .replace("mesher.yaml", "admin:\n  enable: true\nmesher:\n  drain:\n    graceSeconds: soon\n");
    mesher.signal(Signal::HUP);
    for part in [
        "the configuration is not reloaded",
        "mesher.yaml:5:19",
        "graceSeconds: soon",
        "mesher.drain.graceSeconds",
    ] {
        mesher.wait_for_output(part);
    }
    // Marked as by `mesher check`: the line, and signs below it.
    let mark = wait_for("the line below it", PATIENCE, || {
        let output = mesher.output();
        output.lines().skip_while(|line| !line.contains("graceSeconds: soon")).nth(1).map(str::to_owned)
    });
    assert!(mark.contains("──") || mark.contains('^'), "{}", mesher.output());

    assert_eq!(client.get("orders", "/").status, 200, "what ran goes on");
    let config = verbose(&mesher)["config"].clone();
    assert_eq!((&config["generation"], &config["last_reload_ok"]), (&Value::from(1), &Value::from(false)));
    assert!(config["error"].as_str().unwrap().contains("mesher.drain.graceSeconds"), "{config}");
    let metrics = mesher.admin("/metrics").unwrap();
    assert!(metrics.text().contains("\nmesher_config_last_reload_successful 0\n"), "{}", metrics.text());

    mesher.conf_mut().change("mesher.yaml", "admin.enable", true);
    reload(&mesher, 1);
    let config = verbose(&mesher)["config"].clone();
    assert_eq!(
        (&config["generation"], &config["last_reload_ok"], &config["error"]),
        (&Value::from(2), &Value::from(true), &Value::from(""))
    );
    let metrics = mesher.admin("/metrics").unwrap();
    assert!(metrics.text().contains("\nmesher_config_reloads_total 2\n"), "{}", metrics.text());
    assert!(metrics.text().contains("\nmesher_config_last_reload_successful 1\n"), "{}", metrics.text());
}

#[test]
fn what_is_read_once_is_named_and_stays() {
    let mut mesher = caller(&[]);
    let outgoing = mesher.conf().outgoing;
    mesher.conf_mut().change("mesher.yaml", "mesher.shards", 2);
    mesher.conf_mut().change("microservice.yaml", "servicecomb.service.version", "0.0.2");
    reload(&mesher, 1);
    mesher.wait_for_outputs("needs a restart", 2);
    let output = mesher.output();
    let warnings: Vec<_> = output.lines().filter(|line| line.contains("needs a restart")).collect();
    assert_eq!(warnings.len(), 2, "{output}");
    assert!(warnings.iter().any(|line| line.contains("mesher.shards") && line.contains("mesher.yaml:")));
    assert!(warnings.iter().any(|line| line.contains("servicecomb.service.version")));
    assert_eq!(verbose(&mesher)["shards"].as_array().unwrap().len(), 1);
    assert_eq!(mesher.connect().get(&outgoing.to_string(), "/").status, 400, "it serves on");
}

#[test]
fn log_level_and_health_checks_follow() {
    let service = Origin::answering("fine");
    let mut mesher = caller(&[]);
    assert_eq!(verbose(&mesher)["details"]["health_checks"].as_array().unwrap().len(), 0);
    let check: Value = serde_json::json!([{ "port": service.address().port() }]);
    mesher.conf_mut().change("mesher.yaml", "localHealthCheck", serde_yaml::to_value(check).unwrap());
    mesher.conf_mut().change("lager.yaml", "logLevel", "WARN");
    mesher.signal(Signal::HUP);
    wait_until("the check to succeed", PATIENCE, || {
        verbose(&mesher)["details"]["health_checks"][0]["healthy"] == true
    });
    assert!(!mesher.output().contains("configuration reloaded"), "INFO is no longer logged");
    mesher.conf_mut().change("lager.yaml", "logLevel", "INFO");
    reload(&mesher, 1);
}

#[test]
fn a_live_stream_goes_on() {
    let (events, received) = channel();
    let received = std::sync::Mutex::new(Some(received));
    let origin = Origin::start(move |_| Reply::event_stream(received.lock().unwrap().take().unwrap()));
    let mut mesher = caller(&[("orders", &[origin.address()])]);
    let mut client: Client = mesher.connect();
    client.send("GET /events HTTP/1.1\r\nHost: orders\r\n\r\n");
    events.send(chunk("data: one\n\n")).unwrap();
    client.read_through(b"data: one\n\n");
    for times in 1..=3 {
        mesher.conf_mut().change("mesher.yaml", "mesher.timeout.streamIdleSeconds", times);
        reload(&mesher, times);
        events.send(chunk(format!("data: after {times}\n\n"))).unwrap();
        client.read_through(format!("data: after {times}\n\n").as_bytes());
    }
    drop(events);
    client.read_through(b"0\r\n\r\n");
}
