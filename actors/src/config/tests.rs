//! Behaviour of the configuration as a whole: layers, checks, typed reads, messages.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NAMED: &str = "servicecomb:\n  service:\n    name: orders\n";

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn files(list: &[(&str, &str)]) -> Vec<SourceFile> {
    let file = |(name, text): &(&str, &str)| SourceFile {
        path: Path::new("/conf").join(name),
        text: (*text).to_owned(),
    };
    list.iter().map(file).collect()
}

/// A file beside the one that names the service, which every configuration needs.
fn load_with(text: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> (Config, Report) {
    let sources = Sources { env: pairs(env), flags: pairs(flags), ..Sources::default() };
    Config::from_files(files(&[("chassis.yaml", text), ("microservice.yaml", NAMED)]), &sources)
}

fn load(text: &str) -> (Config, Report) {
    load_with(text, &[], &[])
}

/// Each problem as `CODE line:column message; help`.
fn check(text: &str, expected: &[&str]) {
    let (_, report) = load(text);
    let line = |p: &Problem| {
        let place = p.origin.place().map_or("-".into(), |p| format!("{}:{}", p.mark.line, p.mark.column));
        let help = p.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        format!("{} {place} {}{help}", p.label(), p.message)
    };
    assert_eq!(report.problems().iter().map(line).collect::<Vec<_>>(), expected, "in:\n{text}");
}

// Layers

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

// Checks

#[test]
fn an_unknown_key_is_a_warning_that_knows_better() {
    check(
        "cse:\n  loadbalance:\n    retryOnNxt: 2\n",
        &["W0103 3:5 unknown key `retryOnNxt` in cse.loadbalance; did you mean `retryOnNext`?"],
    );
    check(
        "servcecomb: {registry: {type: file}}\n",
        &["W0103 1:25 unknown key `type` in servcecomb.registry; did you mean `servicecomb.registry.type`?"],
    );
    check("admin: true\n", &["W0103 1:1 `admin` is a group of keys, not a value"]);
}

#[test]
fn strict_makes_unknown_keys_errors_and_nothing_else() {
    let (_, mut report) = load("cse: {retry: 1, flowcontrol: {Consumer: {qps: {enabled: true}}}}\n");
    report.be_strict();
    assert_eq!((report.errors(), report.warnings()), (1, 1));
}

#[test]
fn wrong_values_are_errors_all_at_once() {
    check(
        "admin: {enable: maybe}\nmesher:\n  shards: 0\n  service: {host: localhost}\nservicecomb:\n  protocols:\n    http: {listenAddress: ':30101'}\n  registry: {refreshInterval: soon, heartbeat: {mode: pingpong}}\nlogLevel: [INFO]\nlocalHealthCheck: rest\n",
        &[
            "E0201 1:17 `admin.enable`: expected true or false, found `maybe`",
            "E0201 3:11 `mesher.shards`: expected a whole number from 1 to 256, found `0`",
            "E0201 4:19 `mesher.service.host`: expected an ip address like 127.0.0.1, found `localhost`",
            "E0201 7:27 `servicecomb.protocols.http.listenAddress`: expected an ip address and a port like 127.0.0.1:30101, found `:30101`",
            "E0201 8:31 `servicecomb.registry.refreshInterval`: expected a duration like 30 (seconds) or 1m30s, found `soon`",
            "E0201 8:55 `servicecomb.registry.heartbeat.mode`: expected one of non-keep-alive, ping-pong, found `pingpong`; did you mean `ping-pong`?",
            "E0201 9:11 `logLevel`: expected a text, found a list",
            "E0201 10:19 `localHealthCheck`: expected a list, each element after a `-`",
        ],
    );
}

#[test]
fn a_reader_and_the_check_report_one_problem() {
    let (config, mut report) = load("admin: {enable: maybe}\n");
    assert!(config.boolean("admin.enable", true, &mut report));
    assert_eq!(report.problems().len(), 1);
}

#[test]
fn what_is_not_served_yet_is_named_once() {
    check(
        "servicecomb: {protocols: {rest: {listenAddress: '127.0.0.1:40101'}}, noRefreshSchema: true}\ncse: {config: {client: {type: kie}}}\n",
        &[
            "W0301 1:34 `servicecomb.protocols.rest.listenAddress` is not served yet; mesher runs as if it were not set",
            "W0302 1:70 `servicecomb.noRefreshSchema` has no effect; it can be removed",
            "W0301 2:25 `servicecomb.config.client.type` is not served yet; mesher runs as if it were not set",
        ],
    );
}

#[test]
fn handlers_are_checked_one_by_one() {
    check(
        "servicecomb:\n  handler:\n    chain:\n      Consumer: {outgoing: 'router, bizkeeper-consumer, loadbalnce, transport'}\n      Provider: {incoming: 'oauth2,tracing-provider'}\n",
        &[
            "W0301 4:28 `servicecomb.handler.chain.Consumer.outgoing`: the handler `bizkeeper-consumer` is not served yet; the chain runs without it",
            "E0304 4:28 `servicecomb.handler.chain.Consumer.outgoing`: no handler is called `loadbalnce`; did you mean `loadbalance`?",
            "E0301 5:28 `servicecomb.handler.chain.Provider.incoming`: the handler `oauth2` is not served yet, and without it everybody would be let in; remove it to accept that",
            "W0301 5:28 `servicecomb.handler.chain.Provider.incoming`: the handler `tracing-provider` is not served yet; the chain runs without it",
            "W0203 5:28 `servicecomb.handler.chain.Provider.incoming` does not end with `transport`; mesher adds it",
        ],
    );
}

#[test]
fn a_chain_is_the_served_handlers_and_ends_with_transport() {
    let (config, _) = load(
        "servicecomb: {handler: {chain: {Consumer: {outgoing: 'router,tracing-consumer,loadbalance'}}}}\n",
    );
    let chain = |key: &str| {
        config.chain(&format!("servicecomb.handler.chain.{key}"), &["router", "loadbalance", "transport"])
    };
    assert_eq!(chain("Consumer.outgoing"), ["router", "loadbalance", "transport"]);
    assert_eq!(chain("Consumer.other"), ["router", "loadbalance", "transport"]);
}

#[test]
fn a_registry_that_is_not_served_is_an_error() {
    check(
        "servicecomb: {registry: {type: pilotv2}}\n",
        &[
            "E0301 1:32 `servicecomb.registry.type`: `pilotv2` is not served yet, and mesher would find no service without it; use servicecenter or file",
        ],
    );
    check(
        "servicecomb: {registry: {type: servicecentre}}\n",
        &[
            "E0304 1:32 `servicecomb.registry.type`: no registry is called `servicecentre`; did you mean `servicecenter`?",
        ],
    );
}

#[test]
fn addresses_of_the_registry_must_be_http_or_https_where_they_are_used() {
    check("servicecomb: {registry: {address: 'http://a:30100, b:30100, https://c:30100'}}\n", &[]);
    check(
        "servicecomb: {registry: {address: 'ftp://me:word@a'}}\n",
        &[
            "E0201 1:35 `servicecomb.registry.address`: expected addresses like http://127.0.0.1:30100, found `ftp://[redacted]@a`",
        ],
    );
    check("servicecomb: {registry: {type: file, address: 'ftp://a:30100'}}\n", &[]);
    check("servicecomb: {registry: {disabled: true, address: 'ftp://a:30100'}}\n", &[]);
}

#[test]
fn strategies_that_are_not_served_are_round_robin() {
    check(
        "cse: {loadbalance: {strategy: {name: Random}, my.svc: {strategy: {name: SessionStickiness}}}}\n",
        &[
            "W0301 1:73 `cse.loadbalance.my.svc.strategy.name`: the strategy `SessionStickiness` is not served yet; RoundRobin is used",
        ],
    );
    check(
        "cse: {loadbalance: {strategy: {name: roundrobin}}}\n",
        &[
            "E0304 1:38 `cse.loadbalance.strategy.name`: no strategy is called `roundrobin`; did you mean `RoundRobin`?",
        ],
    );
}

#[test]
fn a_misspelt_key_of_tls_is_told_from_a_service_that_is_called_so() {
    check(
        "ssl:\n  my.svc.rest.Consumer.caFlie: a\n  caFile: a\n  mode: off\n",
        &[
            "W0103 2:3 unknown key `caFlie` in ssl.my.svc.rest.Consumer; did you mean `caFile`?",
            "E0201 4:9 `ssl.mode`: expected one of disable, permissive, strict, found `off`; known are disable, permissive, strict",
        ],
    );
}

#[test]
fn a_service_without_a_name_is_an_error() {
    let (_, report) = Config::from_files(files(&[("chassis.yaml", "")]), &Sources::default());
    assert_eq!(
        report.problems()[0].to_string(),
        "E0202: `servicecomb.service.name` is not set; name the service beside this mesher in microservice.yaml"
    );
}

// Reads

#[test]
fn typed_reads_give_values_or_defaults() {
    let text = "admin: {enable: 'off'}\nmesher: {limit: {headers: '64'}, drain: {graceSeconds: 250ms}, service: {host: 127.0.0.2}}\n\
                servicecomb: {protocols: {http: {listenAddress: '127.0.0.1:0'}}}\n";
    let (config, mut report) = load(text);
    let report = &mut report;
    assert!(!config.boolean("admin.enable", true, report));
    assert!(config.boolean("net.polling", true, report));
    assert_eq!(config.integer("mesher.limit.headers", 8..=4096, 128, report), 64);
    let seconds = |key: &str, default, report: &mut Report| {
        config.duration(key, Unit::Seconds, Duration::from_secs(default), report)
    };
    assert_eq!(seconds("mesher.drain.graceSeconds", 5, report), Duration::from_millis(250));
    assert_eq!(seconds("mesher.drain.timeoutSeconds", 25, report), Duration::from_secs(25));
    assert_eq!(
        config.socket("servicecomb.protocols.http.listenAddress", report),
        Some(([127, 0, 0, 1], 0).into())
    );
    assert_eq!(config.ip("mesher.service.host", report), Some([127, 0, 0, 2].into()));
    assert!(report.is_empty());
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "`admin.enable` is read with the default false and shown with Some(true)")]
fn a_default_that_differs_from_the_table_is_noticed() {
    let (config, mut report) = load("");
    config.boolean("admin.enable", false, &mut report);
}

// Messages

#[test]
fn a_problem_shows_its_line_a_caret_and_what_was_meant() {
    let (_, report) = load("cse:\n  loadbalance:\n    retryOnNxt: 2 # twice\n");
    let expected = "  warning[W0103]: unknown key `retryOnNxt` in cse.loadbalance
   ╭─[/conf/chassis.yaml:3:5]
 3 │     retryOnNxt: 2 # twice
   ·     ─────┬────
   ·          ╰── did you mean `retryOnNext`?
   ╰────
1 warning
";
    assert_eq!(report.render(false), expected);
    assert!(report.render(true).contains("\x1b["));
}

#[test]
fn both_places_of_a_duplicate_are_shown() {
    let (_, report) = load("a.b: 1\nnet: {polling: true}\na: {b: 2}\n");
    let text = report.render(false);
    assert!(text.contains("error[E0105]: the key `a.b` stands here twice"), "{text}");
    assert!(text.contains("first here") && text.contains("keep one of the two"), "{text}");
    let (_, report) = load(&format!("net: {{polling: true}}\n{}net: {{}}\n", "# line\n".repeat(50)));
    let text = report.render(false);
    assert!(text.contains("first here") && text.lines().count() < 20, "{text}");
}

#[test]
fn a_secret_is_not_shown_anywhere() {
    let text = "cse:\n  credentials:\n    secretKey: s3cr3t\nlocalHealthCheck:\n- {port: 1, token: s3cr3t}\n";
    let (config, report) = load(text);
    assert_eq!(report.warnings(), 1);
    assert!(!report.render(false).contains("s3cr3t"), "{}", report.render(false));
    assert!(!report.to_json().to_string().contains("s3cr3t"));
    let shown: Vec<_> = config.entries().into_iter().map(|e| format!("{} {}", e.key, e.value)).collect();
    assert!(shown.contains(&"servicecomb.credentials.secretKey [redacted]".to_owned()), "{shown:?}");
    assert!(shown.contains(&r#"localHealthCheck [{"port":1,"token":"[redacted]"}]"#.to_owned()), "{shown:?}");
}

#[test]
fn a_secret_is_not_shown_beside_a_mistake_in_the_same_line() {
    let (_, report) = load("cse: {credentials: {secretKey: s3cr3t, acessKey: x}, nmae: y}\n");
    assert_eq!(report.warnings(), 3);
    let text = report.render(false);
    assert!(
        !text.contains("s3cr3t") && text.contains("unknown key `nmae` in cse (/conf/chassis.yaml:1:54)"),
        "{text}"
    );
}

#[test]
fn problems_from_elsewhere_than_files_name_their_source() {
    let (_, report) = load_with("", &[("PAAS_CSE_SC_ENDPOINT", "ftp://a:1")], &[("mesher.shards", "x")]);
    let text = report.render(false);
    assert!(text.contains("found `x` (command line (mesher.shards))"), "{text}");
    assert!(text.contains("(environment variable PAAS_CSE_SC_ENDPOINT)"), "{text}");
}

#[test]
fn entries_show_defaults_too() {
    let (config, _) = load("net: {driver: epoll}\n");
    let shown = |key: &str| {
        config.entries().into_iter().find(|e| e.key == key).map(|e| (e.value, e.origin.to_string()))
    };
    assert_eq!(shown("net.driver"), Some(("epoll".into(), "/conf/chassis.yaml:1:15".into())));
    assert_eq!(shown("net.polling"), Some(("true".into(), "default".into())));
    let keys: Vec<String> = config.entries().into_iter().map(|e| e.key).collect();
    assert!(keys.is_sorted());
}

#[test]
fn problems_are_bounded_and_an_error_is_never_crowded_out() {
    let mut text: String = (0..1500).map(|n| format!("unknown{n}: 1\n")).collect();
    text.push_str("zzz: &a [*a]\nlogLevel: x\n");
    let (_, report) = load(&text);
    assert_eq!(report.errors(), 1);
    let text: String =
        (0..1500).map(|n| format!("unknown{n}: 1\n")).chain(["net: {polling: x}\n".to_owned()]).collect();
    let (_, report) = load(&text);
    assert_eq!((report.errors(), report.warnings()), (1, 1000));
}

// Directories

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn conf(dir: &Path, version: &str) {
    write(dir, "chassis.yaml", &format!("servicecomb: {{service: {{version: {version}}}}}\n"));
    write(dir, "microservice.yaml", NAMED);
}

#[test]
fn directories_are_looked_into_in_order() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let mut sources = Sources { cwd: at("cwd"), exe_dir: Some(at("exe")), ..Sources::default() };
    let version =
        |sources: &Sources| Config::load(sources).unwrap().0.text("servicecomb.service.version").unwrap();

    let nothing = Config::load(&sources).unwrap_err().to_string();
    assert!(nothing.contains("cwd/conf") && nothing.contains("exe/conf"), "{nothing}");
    conf(&at("exe/conf"), "exe");
    assert_eq!(version(&sources), "exe");
    conf(&at("cwd/conf"), "cwd");
    assert_eq!(version(&sources), "cwd");
    conf(&at("home/conf"), "home");
    sources.env = vec![("CHASSIS_HOME".into(), at("home").display().to_string())];
    assert_eq!(version(&sources), "home");
    conf(&at("dir"), "dir");
    sources.env.push(("CHASSIS_CONF_DIR".into(), at("dir").display().to_string()));
    assert_eq!(version(&sources), "dir");
    let mesher = write(&at("flag"), "mesher.yaml", "mesher: {shards: 7}\n");
    sources.dir_flag = Some(mesher.clone());
    assert_eq!(version(&sources), "dir", "mesher.yaml may lie apart from the other files");
    assert_eq!(Config::load(&sources).unwrap().0.text("mesher.shards").as_deref(), Some("7"));
    conf(&at("flag"), "flag");
    assert_eq!(version(&sources), "flag");
    sources.dir_flag = Some(at("flag"));
    assert_eq!(version(&sources), "flag");
    assert_eq!(Config::load(&sources).unwrap().0.files().last(), Some(&mesher));
}

#[test]
fn a_named_directory_is_taken_as_it_is_and_what_it_lacks_is_told() {
    let root = tempfile::tempdir().unwrap();
    conf(&root.path().join("conf"), "1");
    let lacking = root.path().join("lacking");
    write(&lacking, "router.yaml", "");
    let sources = Sources { cwd: root.path().into(), dir_flag: Some("lacking".into()), ..Sources::default() };
    let (_, report) = Config::load(&sources).unwrap();
    let missing = format!("chassis.yaml is missing in {}", lacking.display());
    assert!(report.problems().iter().any(|p| p.message == missing), "{}", report.render(false));
    let sources = Sources { dir_flag: Some("nowhere".into()), ..sources };
    assert!(matches!(Config::load(&sources), Err(ConfigError::NoSuchPath(_))));
}

#[test]
fn files_that_cannot_be_read_are_told_and_the_rest_is_checked() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    conf(dir, "1");
    fs::write(dir.join("tls.yaml"), b"a: \xff\n").unwrap();
    fs::create_dir(dir.join("auth.yaml")).unwrap();
    write(dir, "router.yaml", &"# long\n".repeat(200_000));
    write(dir, "mesher.yaml", "admin: [\n");
    write(dir, "lager.yaml", "logColorMode: loud\n");
    let sources = Sources { dir_flag: Some(dir.into()), ..Sources::default() };
    let (_, report) = Config::load(&sources).unwrap();
    let text = report.render(false);
    for part in [
        "not UTF-8 at byte 3",
        "not a regular file",
        "larger than 1048576 bytes",
        "mesher.yaml:2:1",
        "found `loud`",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert_eq!(report.errors(), 5);
}
