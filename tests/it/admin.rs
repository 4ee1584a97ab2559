//! The admin interface: its routes tell what is so.

use mesher::net::Driver;
use serde_json::Value;

use super::support::client::{Client, Response};
use super::support::conf::Conf;
use super::support::mesh::{CALLER, caller, caller_conf, on_both_drivers};
use super::support::net::free_address;
use super::support::origin::{Gate, Origin, Reply};
use super::support::process::{Mesher, Start};
use super::support::wait::{PATIENCE, wait_until};

const GET: &str = "GET http://orders/ HTTP/1.1\r\nHost: orders\r\n\r\n";

#[track_caller]
fn get(mesher: &Mesher, path: &str) -> Response {
    mesher.admin(path).expect("the admin does not answer")
}

#[track_caller]
fn json(mesher: &Mesher, path: &str) -> Value {
    serde_json::from_slice(&get(mesher, path).body).expect("not JSON")
}

#[test]
fn the_version_names_the_driver_in_use() {
    on_both_drivers(|driver| {
        let mesher = caller(driver, &[]);
        let version = json(&mesher, "/v1/mesher/version");
        assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(version["driver"], driver.to_string());
    });
}

#[test]
fn health_is_green_with_a_registry_and_red_without() {
    let good = caller(Driver::Epoll, &[]);
    let health = json(&good, "/v1/mesher/health");
    assert_eq!((&health["status"], &health["serviceName"]), (&"green".into(), &CALLER.into()));
    assert_eq!(health["version"], "0.0.1");
    let nowhere = free_address();
    let bad = Start::new(Conf::sidecar(CALLER).service_center(&[nowhere])).spawn();
    wait_until("the reason", PATIENCE, || {
        let health = bad.admin("/v1/mesher/health");
        health.is_some_and(|r| {
            r.status == 500 && r.text().contains("red") && r.text().contains(&nowhere.to_string())
        })
    });
    let ready = get(&bad, "/ready");
    assert!(ready.status == 503 && ready.text().contains(&nowhere.to_string()), "{ready:?}");
    assert_eq!(get(&bad, "/live").status, 200, "it lives all the same");
    assert_eq!(bad.connect().ask(GET).status, 503, "and listens");
}

#[test]
fn ready_verbose_shows_registry_services_and_shards() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let address = origin.address().to_string();
        let mesher =
            Start::new(caller_conf(driver, &[("orders", &[origin.address()])])).arg("--shards=2").ready();
        mesher.connect().ask(GET);
        mesher.connect().get("nobody", "http://nobody/");
        let ready = json(&mesher, "/ready?verbose");
        assert_eq!((&ready["ready"], &ready["driver"]), (&true.into(), &driver.to_string().into()));
        let shards = ready["shards"].as_array().unwrap();
        assert!(shards.len() == 2 && shards.iter().all(|shard| shard["alive"] == true), "{shards:?}");
        let details = &ready["details"];
        assert_eq!(
            (&details["registry"]["kind"], &details["registry"]["reach"]),
            (&"file".into(), &"reachable".into())
        );
        let orders = &details["services"]["orders"];
        assert_eq!((&orders["endpoints"][0], &orders["version"]), (&address.into(), &"0.0.1".into()));
        assert!(details["services"]["nobody"]["absent"].is_string(), "{details}");
    });
}

#[test]
fn metrics_count_what_has_happened() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|seen| match seen.request.target.as_str() {
            "/404" => Reply::status(404, "No", ""),
            "/500" => Reply::status(500, "No", ""),
            _ => Reply::ok("ok"),
        });
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut client = mesher.connect();
        for target in ["/", "/", "/", "/404", "/404", "/500"] {
            client.get("orders", &format!("http://orders{target}"));
        }
        let labels = "app=\"default\",service_name=\"orders\",version=\"0.0.1\"";
        // A request is counted a moment after its answer.
        wait_until("the last to be counted", PATIENCE, || mesher.metric_of("requests_total", labels) == 6);
        for (name, count) in [
            ("requests_total", 6),
            ("successes_total", 3),
            ("failures_total", 3),
            ("status_4xx", 2),
            ("status_5xx", 1),
        ] {
            assert_eq!(mesher.metric_of(name, labels), count, "{name}");
        }
        let ours = |class: &str| {
            let labels = format!(
                "direction=\"outgoing\",service=\"orders\",version=\"0.0.1\",code_class=\"{class}\",flag=\"\""
            );
            mesher.metric_of("mesher_requests_total", &labels)
        };
        assert_eq!([ours("2xx"), ours("4xx"), ours("5xx")], [3, 2, 1]);
        assert_eq!(mesher.metric_of("mesher_request_duration_seconds_count", "service=\"orders\""), 6);
        assert_eq!(mesher.metric("mesher_downstream_accepted_total"), 1);
        assert_eq!(
            (mesher.metric("mesher_upstream_connects_total"), mesher.metric("mesher_upstream_reused_total")),
            (1, 5)
        );
        assert_eq!(get(&mesher, "/v1/mesher/metrics").status, 200);
        let resident = mesher.metric("process_resident_memory_bytes");
        assert!(resident.abs_diff(mesher.resident_bytes()) < 4 << 20, "{resident}");
    });
}

#[test]
fn what_is_under_way_is_shown_while_it_is() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| Reply::ok("ok").held_by(&held));
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut clients: Vec<Client> = (0..3).map(|_| mesher.connect()).collect();
        clients.iter_mut().for_each(|client| client.send(GET));
        wait_until("all to wait", PATIENCE, || gate.waiting() == 3);
        assert_eq!(mesher.metric("mesher_requests_in_flight"), 3);
        assert_eq!(mesher.metric_of("mesher_connections", "side=\"downstream\""), 3);
        assert_eq!(mesher.metric_of("mesher_connections", "side=\"upstream\""), 3);
        gate.open();
        clients.iter_mut().for_each(|client| assert_eq!(client.read_response().status, 200));
        mesher.wait_for_metric("mesher_requests_in_flight", 0);
        drop(clients);
        wait_until("the connections to end", PATIENCE, || {
            mesher.metric_of("mesher_connections", "side=\"downstream\"") == 0
        });
    });
}

#[test]
fn other_paths_and_methods_are_told_what_there_is() {
    let mesher = caller(Driver::Epoll, &[]);
    let unknown = get(&mesher, "/v1/mesher/nothing");
    assert!(unknown.status == 404 && unknown.text().contains("/v1/mesher/health"), "{unknown:?}");
    let mut client = Client::connect(mesher.conf().admin);
    let posted = client.ask("POST /live HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    let head = client.ask("HEAD /live HTTP/1.1\r\nHost: admin\r\n\r\n");
    assert_eq!(head.status, 200);
    for alias in ["/livez", "/healthz", "/readyz"] {
        assert_eq!(get(&mesher, alias).status, 200, "{alias}");
    }
}

#[test]
fn an_admin_that_is_off_does_not_listen() {
    let origin = Origin::answering("ok");
    let conf = caller_conf(Driver::Epoll, &[("orders", &[origin.address()])]).set(
        "mesher.yaml",
        "admin.enable",
        false,
    );
    let mesher = Start::new(conf).spawn();
    mesher.wait_for_output("mesher runs");
    assert!(mesher.admin("/live").is_none());
    assert_eq!(mesher.connect().ask(GET).text(), "ok");
}
