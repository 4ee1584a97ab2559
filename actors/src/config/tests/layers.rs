//! Which of several places a value comes from.

use super::*;

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_files() {
    let text = "mesher: {shards: 1, limit: {headers: 10}, service: {host: 127.0.0.9}}\n";
    let env = [("mesher_shards", "2"), ("mesher_limit_headers", "20")];
    let (config, report) = load_with(text, &env, &[("mesher.shards", "3")]);
    assert!(report.is_empty(), "{}", report.render(false));
    let values =
        ["mesher.shards", "mesher.limit.headers", "mesher.service.host"].map(|key| config.text(key).unwrap());
    assert_eq!(values, ["3", "20", "127.0.0.9"]);
    assert_eq!(config.origin("mesher.shards").to_string(), "command line (mesher.shards)");
    assert_eq!(
        config.origin("mesher.limit.headers").to_string(),
        "environment variable mesher_limit_headers"
    );
    assert_eq!(config.origin("mesher.service.host").to_string(), "/conf/chassis.yaml:1:59");
    assert_eq!(config.origin("net.driver"), Origin::Default);
}

#[test]
fn among_files_the_first_counts_and_the_other_is_told() {
    let list = files(&[
        ("chassis.yaml", "net: {driver: uring}\n"),
        ("mesher.yaml", "net:\n  driver: epoll\n"),
        ("microservice.yaml", NAMED),
    ]);
    let (config, report) = Config::from_files(list, &Sources::default());
    assert_eq!(config.text("net.driver").as_deref(), Some("uring"));
    let problem = &report.problems()[0];
    assert_eq!(
        (problem.label().as_str(), problem.origin.to_string().as_str()),
        ("W0106", "/conf/mesher.yaml:2:3")
    );
    assert_eq!(problem.related.as_ref().unwrap().0.to_string(), "/conf/chassis.yaml:1:7");
}

#[test]
fn null_is_absent_and_lists_stay_whole() {
    let (config, report) = load(
        "servicecomb:\n  handler:\n    chain:\n      Consumer:\n        outgoing: # default\nlocalHealthCheck:\n- port: 8080\n",
    );
    assert!(report.is_empty());
    assert!(config.raw("servicecomb.handler.chain.Consumer.outgoing").is_none());
    let checks = config.items("localHealthCheck");
    assert_eq!(checks[0].child("port").unwrap().origin.to_string(), "/conf/chassis.yaml:7:9");
}

#[test]
fn values_of_files_expand_variables() {
    let text = "servicecomb: {service: {version: '${VERSION||0.0.1}', environment: '${STAGE^^||dev}'}}\n";
    let (config, _) = load_with(text, &[("VERSION", "1.10")], &[]);
    assert_eq!(config.text("servicecomb.service.version").as_deref(), Some("1.10"));
    assert_eq!(config.text("servicecomb.service.environment").as_deref(), Some("DEV"));
}

#[test]
fn a_version_is_text() {
    let (config, _) = load("servicecomb: {service: {version: 1.10}}\n");
    assert_eq!(config.text("servicecomb.service.version").as_deref(), Some("1.10"));
}

#[test]
fn old_spellings_read_as_the_new_ones_which_go_first() {
    let text = "cse:\n  service:\n    registry:\n      address: http://a:1\n      scope: full\nservicecomb:\n  registry:\n    scope: app\n";
    let (config, report) = load(text);
    assert_eq!(config.text("servicecomb.registry.address").as_deref(), Some("http://a:1"));
    assert_eq!(config.text("servicecomb.registry.scope").as_deref(), Some("app"));
    assert_eq!((report.errors(), report.warnings()), (0, 2));
    assert_eq!(
        report.problems()[0].to_string(),
        "W0303: `cse.service.registry.address` is an old spelling; write `servicecomb.registry.address` (/conf/chassis.yaml:4:7)"
    );
}

#[test]
fn variables_that_are_not_meant_for_mesher_are_left_alone() {
    let env = [("HOME", "/root"), ("my_secret_token", "x"), ("region_name", "north"), ("mesher_shard", "1")];
    let (config, report) = load_with("a: 1\n", &env, &[]);
    let from_env: Vec<String> =
        config.entries().into_iter().filter(|e| matches!(e.origin, Origin::Env(_))).map(|e| e.key).collect();
    assert_eq!(from_env, ["mesher.shard", "region.name"]);
    let unknown: Vec<&str> = report.problems().iter().map(|p| p.message.as_str()).collect();
    assert_eq!(unknown, ["unknown key `shard` in mesher", "unknown key `a`"]);
}

#[test]
fn keys_below_a_prefix_are_found_and_no_others() {
    let (config, _) =
        load("servicecomb:\n  service:\n    instanceProperties: {b: 2, a: 1}\n    instancePropertiesX: 3\n");
    let found: Vec<_> =
        config.under("servicecomb.service.instanceProperties").map(|(key, e)| (key, e.text())).collect();
    assert_eq!(found, [("a", Some("1")), ("b", Some("2"))]);
}

/// Pieces that make text look like configuration most of the time.
const PIECES: [&str; 24] = [
    "cse",
    "servicecomb",
    "ssl",
    "logLevel",
    "admin",
    "registry",
    ".",
    ": ",
    ":\n",
    "\n",
    "  ",
    "- ",
    "[",
    "{",
    "}",
    "]",
    "yes",
    "1",
    "\"",
    "${A||",
    "&a ",
    "*a",
    "é",
    "\t",
];

proptest! {
    /// Whatever subset of the layers sets a key, the strongest of them counts.
    #[test]
    fn the_strongest_layer_counts(file: bool, dotted: bool, named: bool, flag: bool) {
        let text = if file { "servicecomb: {service: {version: file}}\n" } else { "" };
        let env: Vec<_> = [("servicecomb_service_version", "dotted", dotted), ("CAS_INSTANCE_VERSION", "named", named)]
            .into_iter().filter(|(.., set)| *set).map(|(name, value, _)| (name, value)).collect();
        let flags: &[(&str, &str)] = if flag { &[("servicecomb.service.version", "flag")] } else { &[] };
        let (config, _) = load_with(text, &env, flags);
        let strongest = [(flag, "flag"), (named, "named"), (dotted, "dotted"), (file, "file")]
            .into_iter().find(|(set, _)| *set).map(|(_, value)| value);
        prop_assert_eq!(config.text("servicecomb.service.version"), strongest.map(str::to_owned));
    }

    #[test]
    fn any_file_loads_without_a_panic_and_any_report_can_be_drawn(
        pieces in prop::collection::vec(prop::sample::select(&PIECES), 0..40)
    ) {
        let text = pieces.concat();
        let (config, report) = load(&text);
        let _ = (config.entries(), report.render(true), report.to_json());
    }
}
