//! The command line: what each flag, variable and subcommand does, and how it ends.

use std::path::Path;

use mesher::net::Driver;
use serde_json::Value;

use super::support::client::Client;
use super::support::conf::Conf;
use super::support::mesh::{CALLER, caller_conf, on_both_drivers, without_io_uring};
use super::support::origin::Origin;
use super::support::process::{Mesher, Start, code, run, run_with};
use super::support::wait::{PATIENCE, wait_until};

/// Ends with this code and says all of this.
#[track_caller]
fn ends(result: &(i32, String), code: i32, says: &[&str]) {
    let (ended, output) = result;
    for text in says {
        assert!(output.contains(text), "{text:?} is not in:\n{output}");
    }
    assert_eq!(*ended, code, "{output}");
}

fn shards(mesher: &Mesher) -> usize {
    let ready: Value = serde_json::from_slice(&mesher.admin("/ready?verbose").unwrap().body).unwrap();
    ready["shards"].as_array().unwrap().len()
}

/// Starts with a flag, a variable and a key, as far as they are given.
fn sharded(flag: Option<&str>, variable: Option<&str>, key: Option<u64>) -> usize {
    let mut conf = Conf::sidecar(CALLER).driver(Driver::Epoll);
    if let Some(key) = key {
        conf = conf.set("mesher.yaml", "mesher.shards", key);
    }
    let mut start = Start::new(conf);
    if let Some(flag) = flag {
        start = start.arg("--shards").arg(flag);
    }
    if let Some(variable) = variable {
        start = start.env("MESHER_SHARDS", variable);
    }
    shards(&start.ready())
}

#[test]
fn the_first_of_flag_variable_and_key_says_how_many_shards() {
    assert_eq!(sharded(Some("3"), Some("2"), Some(4)), 3);
    assert_eq!(sharded(None, Some("2"), Some(4)), 2);
    assert_eq!(sharded(None, None, Some(4)), 4);
    assert_eq!(sharded(None, None, None), 1, "a sidecar has one");
}

#[test]
fn a_wrong_flag_or_variable_ends_with_2_and_is_named() {
    let conf = Conf::sidecar(CALLER);
    let dir = conf.path();
    let check = |arguments: &[&str], variables: &[(&str, &str)]| {
        run_with(&[arguments, &["check", "--config", "."]].concat(), dir, variables)
    };
    ends(&check(&["--shards", "0"], &[]), 2, &["--shards"]);
    ends(&check(&["--service-ports", "grpc"], &[]), 2, &["service-ports", "`grpc`", "rest:8080"]);
    ends(&check(&["--mode", "per-host"], &[]), 2, &["--mode per-host is not served", "--mode sidecar"]);
    ends(&check(&["--mode", "sidecart"], &[]), 2, &["no such mode", "sidecar or edge"]);
    ends(&check(&[], &[("MESHER_SHARDS", "many")]), 2, &["MESHER_SHARDS", "`many`"]);
    ends(&check(&[], &[("SERVICE_PORTS", "rest:0")]), 2, &["SERVICE_PORTS", "1 to 65535"]);
    ends(&check(&[], &[("SPECIFIC_ADDR", "8083")]), 2, &["SPECIFIC_ADDR", "host:port"]);
    ends(&check(&["--no-such-flag"], &[]), 2, &["--no-such-flag"]);
    ends(&run(&["serve"], dir), 2, &["serve"]);
    ends(&run(&["--config", "nowhere"], dir), 2, &["nowhere"]);
    ends(&run(&["--mode", "per-host", "--config", "."], dir), 2, &["per-host", "not started"]);
    ends(&check(&["--service-ports=rest:8080"], &[]), 0, &["no problems"]);
}

#[test]
fn a_gateway_calls_services_for_whoever_reaches_its_address() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let conf = caller_conf(driver, &[("orders", &[origin.address()])]);
        let (outside, loopback) = (conf.incoming, conf.outgoing);
        let mesher = Start::new(conf).arg("--mode=edge").arg("--shards=1").ready();
        assert_eq!(Client::connect(outside).get("orders", "/").text(), "ok");
        assert!(Client::try_connect(loopback).is_err(), "it has no service beside it");
        assert_eq!(shards(&mesher), 1);
    });
}

#[test]
fn the_version_names_the_driver_that_this_machine_allows() {
    let dir = Path::new("/");
    let (status, text) = run(&["version"], dir);
    assert_eq!(status, 0);
    assert!(text.starts_with(&format!("mesher {}\n", env!("CARGO_PKG_VERSION"))), "{text}");
    assert!(text.contains("driver: uring") || text.contains("driver: epoll"), "{text}");
    let (status, json) = run(&["version", "--format", "json"], dir);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &json["version"]), (0, &env!("CARGO_PKG_VERSION").into()));
    // Empty where the sources are no repository; never a guess.
    let commit = json["commit"].as_str().unwrap();
    let digits = commit.strip_suffix("-dirty").unwrap_or(commit);
    assert!(digits.len() == 12 || commit.is_empty(), "{commit}");
    assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
    let built = json["built"].as_str().unwrap();
    assert!(built.len() == 20 && built.ends_with('Z'), "{built}");
    ends(&run(&["--version"], dir), 0, &[env!("CARGO_PKG_VERSION")]);
    for ignored in [&["demo", "--config", "x"][..], &["--shards", "2", "version"]] {
        assert_eq!(run(ignored, dir).0, 2, "{ignored:?}");
    }
    assert!(!run(&["demo", "--help"], dir).1.contains("--config"));
    ends(&run(&["--help"], dir), 0, &["--service-ports", "SERVICE_PORTS", "Exit codes", "mesher demo"]);
}

const BROKEN: &str = "\
servicecomb:
  registry:
    type: fil
    adress: http://127.0.0.1:30100
  protocols:
    http:
      listenAddress: 127.0.0.1:port
cse:
  loadbalance:
    strategy:
      name: RoundRobbin
";

#[test]
fn check_reports_every_problem_at_once_with_its_place_and_a_suggestion() {
    let conf = Conf::sidecar(CALLER).file("chassis.yaml", BROKEN).set("mesher.yaml", "mesher.shards", "many");
    let result = run(&["check", "--config", "."], conf.path());
    let says = [
        "`servicecomb.registry.type`: no registry is called `fil`",
        "chassis.yaml:3:11",
        "did you mean `file`?",
        "unknown key `adress`",
        "chassis.yaml:4:5",
        "did you mean `address`?",
        "chassis.yaml:7:22",
        "found `127.0.0.1:port`",
        "did you mean `RoundRobin`?",
        "`mesher.shards`",
        "4 errors, 1 warning",
    ];
    ends(&result, 2, &says);
    let shown: Vec<&str> = result.1.lines().skip_while(|line| !line.contains("type: fil")).take(2).collect();
    let column = shown[0].find("fil").unwrap();
    let below: String = shown[1].chars().skip(shown[0][..column].chars().count()).take(3).collect();
    assert!(below.contains('─'), "the caret is not below the value: {shown:?}");
    let (status, json) = run(&["check", "--format", "json", "--config", "."], conf.path());
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &json["errors"]), (2, &4.into()));
    assert_eq!((&json["problems"][0]["line"], &json["problems"][0]["column"]), (&3.into(), &11.into()));
    ends(&run(&["--config", "."], conf.path()), 2, &["chassis.yaml:3:11", "not started"]);
}

#[test]
fn check_looks_into_the_registry_file_too() {
    let conf = Conf::sidecar(CALLER);
    let check = || run(&["check", "--config", ".", "--service-ports=rest:8080"], conf.path());
    conf.replace("registry.yaml", "services:\n  orders:\n    - endpoint: []\n");
    ends(
        &check(),
        2,
        &["unknown field `endpoint`", "registry.yaml:3:7", "3 │     - endpoint: []", "1 error"],
    );
    conf.replace("registry.yaml", "services:\n  orders:\n    - endpoints: [\"rest//x\"]\n");
    ends(&check(), 0, &["\"rest//x\" is skipped", "registry.yaml:3:", "1 warning"]);
    std::fs::remove_file(conf.path().join("registry.yaml")).unwrap();
    ends(&check(), 2, &["registry.yaml does not exist", "servicecomb.registry.configPath"]);
}

#[test]
fn unknown_keys_are_warnings_unless_check_is_strict() {
    let conf = Conf::sidecar(CALLER).set("chassis.yaml", "servicecomb.registry.adress", "x");
    let check = |more: &[&str]| {
        run(&[&["check", "--config", ".", "--service-ports=rest:8080"], more].concat(), conf.path())
    };
    ends(&check(&[]), 0, &["warning", "did you mean `address`?", "1 warning"]);
    ends(&check(&["--strict"]), 2, &["error", "did you mean `address`?", "1 error"]);
}

#[test]
fn config_shows_each_value_with_its_origin() {
    let conf = Conf::sidecar(CALLER).set("chassis.yaml", "servicecomb.registry.scope", "full");
    let variables = [("servicecomb_service_name", "from-variable")];
    let (status, text) = run_with(&["config", "--config", "."], conf.path(), &variables);
    assert_eq!(status, 0, "{text}");
    let line = |key: &str| {
        let found = text.lines().find(|line| line.starts_with(&format!("{key}: ")));
        found.unwrap_or_else(|| panic!("no {key} in:\n{text}"))
    };
    assert!(
        line("servicecomb.registry.scope").contains("full")
            && line("servicecomb.registry.scope").contains("chassis.yaml:")
    );
    assert!(line("servicecomb.service.name").contains("from-variable"));
    assert!(line("servicecomb.service.name").contains("servicecomb_service_name"));
    assert!(line("mesher.drain.graceSeconds").ends_with("# default"));
    let (_, json) = run_with(&["config", "--format", "json", "--config", "."], conf.path(), &variables);
    let json: Value = serde_json::from_str(&json).unwrap();
    let name =
        json.as_array().unwrap().iter().find(|entry| entry["key"] == "servicecomb.service.name").unwrap();
    assert_eq!(name["value"], "from-variable");
}

#[test]
fn the_configuration_is_searched_in_the_order_that_the_help_tells() {
    let named = ["flag", "conf-dir", "home", "here"].map(Conf::sidecar);
    let [flag, conf_dir, home, here] = named.each_ref().map(Conf::path);
    let copy = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    };
    copy(home, &home.join("conf"));
    copy(here, &here.join("conf"));
    let (conf_dir, home) = (conf_dir.to_str().unwrap(), home.to_str().unwrap());
    let all = [("CHASSIS_CONF_DIR", conf_dir), ("CHASSIS_HOME", home)];
    let flag = ["config", "--config", flag.to_str().unwrap()];
    for (arguments, variables, expected) in [
        (&flag[..], &all[..], "flag"),
        (&["config"], &all, "conf-dir"),
        (&["config"], &all[1..], "home"),
        (&["config"], &[], "here"),
    ] {
        ends(&run_with(arguments, here, variables), 0, &[&format!("servicecomb.service.name: {expected} ")]);
    }
    let nowhere = tempfile::tempdir().unwrap();
    ends(&run(&[], nowhere.path()), 2, &["no configuration found", "--config", "mesher demo"]);
}

#[test]
fn a_second_mesher_on_a_port_in_use_ends_with_4_and_the_first_serves_on() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let first = Start::new(caller_conf(driver, &[("orders", &[origin.address()])])).ready();
        let taken = |file: &'static str, key: &str, value: String| {
            let second = Conf::sidecar("second").driver(driver).set(file, key, value);
            run(&["--config", "."], second.path())
        };
        let (traffic, admin) = (first.conf().incoming.to_string(), first.conf().admin.to_string());
        let result = taken("chassis.yaml", "servicecomb.protocols.http.listenAddress", traffic.clone());
        let loopback = first.conf().outgoing.to_string();
        ends(
            &result,
            4,
            &[&loopback, "servicecomb.protocols.http.listenAddress", "is another mesher running?"],
        );
        let result = taken("chassis.yaml", "servicecomb.protocols.rest-admin.listenAddress", admin.clone());
        ends(&result, 4, &[&admin, "servicecomb.protocols.rest-admin.listenAddress"]);
        let absent =
            taken("chassis.yaml", "servicecomb.protocols.http.listenAddress", "192.0.2.1:30101".into());
        ends(&absent, 4, &["192.0.2.1:30101", "does not have that address"]);
        for _ in 0..20 {
            assert_eq!(first.connect().get("orders", "http://orders/").text(), "ok");
        }
    });
}

#[test]
fn what_upstream_knows_and_mesher_does_not_serve_is_one_warning_and_the_rest_runs() {
    let origin = Origin::answering("ok");
    let conf = caller_conf(Driver::Epoll, &[("orders", &[origin.address()])])
        .set(
            "chassis.yaml",
            "servicecomb.handler.chain.Consumer.outgoing",
            "router,bizkeeper-consumer,loadbalance,transport",
        )
        .set("chassis.yaml", "servicecomb.protocols.dubbo.listenAddress", "127.0.0.1:20201")
        .set("mesher.yaml", "pprof.enable", true);
    let mesher = Start::new(conf).ready();
    assert_eq!(mesher.connect().get("orders", "http://orders/").text(), "ok");
    for name in ["`bizkeeper-consumer`", "`servicecomb.protocols.dubbo.listenAddress`", "`pprof.enable`"] {
        mesher.wait_for_output(name);
        let output = mesher.output();
        let named: Vec<_> = output.lines().filter(|line| line.contains(name)).collect();
        assert!(named.len() == 1 && named[0].contains(" WARN "), "{name}: {named:#?}");
    }
}

#[test]
fn what_would_be_unsafe_or_useless_without_is_an_error() {
    let chain = "servicecomb.handler.chain.Provider.incoming";
    for handler in ["oauth2", "jwt", "basicAuth"] {
        let conf = Conf::sidecar(CALLER).set("chassis.yaml", chain, format!("{handler},transport"));
        ends(&run(&["--config", "."], conf.path()), 2, &[handler, "not served yet", "chassis.yaml:"]);
    }
    for registry in ["pilotv2", "pilot", "istio"] {
        let conf = Conf::sidecar(CALLER).set("chassis.yaml", "servicecomb.registry.type", registry);
        ends(
            &run(&["--config", "."], conf.path()),
            2,
            &[registry, "not served yet", "servicecenter or file"],
        );
    }
}

#[test]
fn where_io_uring_is_refused_epoll_carries_the_traffic_and_one_warning_names_the_cause() {
    let origin = Origin::answering("ok");
    let mesher = without_io_uring(|| {
        Start::new(Conf::sidecar(CALLER).services(&[("orders", &[origin.address()])])).ready()
    });
    assert_eq!(mesher.connect().get("orders", "http://orders/").text(), "ok");
    mesher.wait_for_output("io_uring");
    let output = mesher.output();
    let warnings: Vec<_> = output.lines().filter(|line| line.contains("io_uring")).collect();
    assert!(
        warnings.len() == 1 && warnings[0].contains("seccomp") && warnings[0].contains("fix="),
        "{warnings:#?}"
    );
    assert!(mesher.admin("/v1/mesher/version").unwrap().text().contains("\"driver\": \"epoll\""));
    let verbose = mesher.admin("/ready?verbose").unwrap();
    assert!(verbose.text().contains("seccomp"), "{}", verbose.text());
}

#[test]
fn io_uring_that_is_demanded_and_refused_ends_with_3() {
    let conf = Conf::sidecar(CALLER).driver(Driver::Uring);
    let result = without_io_uring(|| run(&["--config", "."], conf.path()));
    ends(&result, 3, &["net.driver is uring", "seccomp"]);
}

#[test]
fn a_hang_up_reopens_the_log_and_ends_nothing() {
    let conf = Conf::sidecar(CALLER)
        .set("mesher.yaml", "mesher.drain.graceSeconds", 0)
        .set("lager.yaml", "logWriters", "file,stdout")
        .set("lager.yaml", "logFile", "logs/m.log");
    let home = conf.path().to_str().unwrap().to_owned();
    let mut mesher = Start::new(conf).env("CHASSIS_HOME", &home).ready();
    let log = mesher.conf().path().join("logs/m.log");
    wait_until("the log", PATIENCE, || {
        std::fs::read_to_string(&log).is_ok_and(|log| log.contains("mesher runs"))
    });
    std::fs::rename(&log, log.with_extension("old")).unwrap();
    mesher.signal(rustix::process::Signal::HUP);
    wait_until("a new log", PATIENCE, || log.exists());
    assert!(mesher.exited().is_none());
    mesher.terminate();
    assert_eq!(code(mesher.wait(PATIENCE)), 0);
    assert!(std::fs::read_to_string(&log).unwrap().contains("drained"));
}
