//! Configuration files as they lie on users' disks: the ones we ship load without a word, Mesher's own load as
//! they are.

use std::fs;
use std::path::{Path, PathBuf};

use mesher_actors::config::{Config, Report, Sources};
use mesher_actors::logging;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What start-up reads of a directory, the log included.
fn load(dir: &Path) -> (Config, Report) {
    let sources =
        Sources { dir_flag: Some(dir.join("mesher.yaml")), cwd: dir.to_path_buf(), ..Sources::default() };
    let (config, mut report) = Config::load(&sources).unwrap();
    let _ = logging::Settings::from_config(&config, &mut report);
    (config, report)
}

fn sample(name: &str) -> (Config, Report) {
    load(&repository("tests/data/conf").join(name))
}

fn errors(report: &Report) -> Vec<String> {
    let errors = report.problems().iter().filter(|p| p.label().starts_with('E'));
    errors.map(ToString::to_string).collect()
}

/// There are exactly these warnings, each known by a part of its text.
#[track_caller]
fn warns_of(report: &Report, expected: &[&str]) {
    let messages: Vec<String> = report.problems().iter().map(ToString::to_string).collect();
    for text in expected {
        assert!(messages.iter().any(|message| message.contains(text)), "{text} is not in {messages:#?}");
    }
    assert_eq!(report.warnings(), expected.len(), "{messages:#?}");
}

const CLOUD: &str = "https://cse.cn-north-1.myhuaweicloud.com:443";

const OLD_LOG_KEYS: [&str; 6] = [
    "write `logLevel`",
    "write `logFile`",
    "write `logFormatText`",
    "write `logRotateAge`",
    "write `logRotateSize`",
    "write `logBackupCount`",
];

#[test]
fn the_shipped_configuration_loads_without_a_word() {
    let (config, report) = load(&repository("conf"));
    assert!(report.is_empty(), "{}", report.render(false));
    assert_eq!(config.files().len(), 4);
    assert_eq!(config.text("servicecomb.registry.type").as_deref(), Some("file"));
}

#[test]
fn every_comment_about_a_default_in_the_shipped_configuration_is_true() {
    let (config, _) = load(&repository("conf"));
    let nothing = repository("tests/data/conf/nothing");
    let defaults = load(&nothing).0.entries();
    let mut compared = 0;
    for shipped in config.entries() {
        let line = shipped
            .origin
            .place()
            .map(|place| place.file.text.lines().nth(place.mark.line as usize - 1).unwrap().to_owned());
        if line.is_some_and(|line| line.contains("# default")) {
            let default = defaults.iter().find(|entry| entry.key == shipped.key);
            assert_eq!(default.map(|d| d.value.as_str()), Some(shipped.value.as_str()), "{}", shipped.key);
            compared += 1;
        }
    }
    assert!(compared > 20, "only {compared} comments were looked at");
}

#[test]
fn meshers_own_conf_loads_unchanged() {
    let (config, report) = sample("upstream");
    assert_eq!(errors(&report), [""; 0]);
    warns_of(
        &report,
        &[
            "`servicecomb.registry.autoIPIndex` is not served yet",
            "`cse.flowcontrol.Provider.qps.enabled` is not served yet",
            "`cse.flowcontrol.Provider.qps.global.limit` is not served yet",
            "`cse.flowcontrol.Provider.qps.limit.Server` is not served yet",
            "`admin.goRuntimeMetrics` has no effect",
            "`servicecomb.credentials.akskCustomCipher` is not served yet",
            "write `logWriters`",
        ],
    );
    let mut report = Report::default();
    let http = config.socket("servicecomb.protocols.http.listenAddress", &mut report);
    assert_eq!(http, Some("127.0.0.1:30101".parse().unwrap()));
    let outgoing = config.chain("servicecomb.handler.chain.Consumer.outgoing", &["router", "loadbalance"]);
    assert_eq!(outgoing, ["router", "loadbalance", "transport"], "an empty chain is the default chain");
    assert_eq!(config.text("servicecomb.service.properties.allowCrossApp").as_deref(), Some("false"));
}

#[test]
fn the_edge_image_finds_its_registry_at_the_old_place() {
    let (config, report) = sample("docker_edge");
    assert_eq!(errors(&report), [""; 0]);
    assert_eq!(config.text("servicecomb.registry.address").as_deref(), Some("http://127.0.0.1:30100"));
    let others = [
        "write `servicecomb.registry.address`",
        "write `servicecomb.registry.scope`",
        "`servicecomb.config.client.serverUri` is not served yet",
        "`servicecomb.config.client.type` is not served yet",
        "`servicecomb.config.client.refreshMode` is not served yet",
        "`servicecomb.config.client.refreshInterval` is not served yet",
        "the handler `bizkeeper-consumer` is not served yet",
        "the handler `tracing-consumer` is not served yet",
        "the handler `tracing-provider` is not served yet",
        "incoming` does not end with `transport`",
        "`admin.goRuntimeMetrics` has no effect",
        "`rollingPolicy` has no effect",
    ];
    warns_of(&report, &[&others[..], &OLD_LOG_KEYS].concat());
}

#[test]
fn the_quick_start_loads_unchanged() {
    for (name, service, port) in [
        ("quick_start_calculator", "calculator", 30111),
        ("quick_start_webapp", "webapp", 30101),
        ("quick_start_balance", "calculator", 30108),
    ] {
        let (config, report) = sample(name);
        assert_eq!(errors(&report), [""; 0], "{name}");
        assert_eq!(config.text("servicecomb.service.name").as_deref(), Some(service));
        let http = config.text("servicecomb.protocols.http.listenAddress").unwrap();
        assert_eq!(http, format!("192.168.88.64:{port}"));
        assert_eq!(config.text("servicecomb.registry.scope").as_deref(), Some("full"));
        let unknown: Vec<_> = report.problems().iter().filter(|p| p.label() == "W0103").collect();
        assert!(unknown.is_empty(), "{name}: {unknown:#?}");
    }
}

#[test]
fn the_registry_behind_tls_of_the_cloud_example_is_served() {
    let (config, report) = sample("examples_cse");
    assert_eq!(errors(&report), [""; 0]);
    assert_eq!(config.text("servicecomb.registry.address").unwrap(), CLOUD);
}

#[test]
fn a_login_handler_is_the_one_error_of_the_edge_example() {
    let (_, report) = sample("examples_edge");
    let [error] = &errors(&report)[..] else { panic!("{:#?}", errors(&report)) };
    assert!(error.contains("the handler `oauth2` is not served yet"), "{error}");
}

#[test]
fn every_sample_is_looked_at() {
    let mut names: Vec<String> = fs::read_dir(repository("tests/data/conf"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let looked_at = [
        "docker_edge",
        "examples_cse",
        "examples_edge",
        "nothing",
        "quick_start_balance",
        "quick_start_calculator",
        "quick_start_webapp",
        "upstream",
    ];
    assert_eq!(names, looked_at);
}
