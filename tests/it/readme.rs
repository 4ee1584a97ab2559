//! The README is held to the program: its files load, its tables list what there is, its paths answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mesher_actors::config::{Config, Report, Sources};
use mesher_actors::snapshot::Failure;

use super::support::conf::Conf;
use super::support::process::{Start, run};
use super::support::wait::{PATIENCE, wait_for};

/// Keys that the table leaves out although they have a default: they are accepted, and nothing acts on them.
const QUIET: [&str; 1] = ["servicecomb.registry.heartbeat.mode"];

fn repository(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn readme() -> String {
    repository("README.md")
}

/// Code blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let text = readme();
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(opened) = line.strip_prefix("```") {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            if opened == language {
                blocks.push(block.join("\n") + "\n");
            }
        }
    }
    blocks
}

/// The YAML block whose first line names this file.
fn file(name: &str) -> String {
    let first = format!("# {name}\n");
    let found: Vec<_> = blocks("yaml").into_iter().filter(|block| block.starts_with(&first)).collect();
    assert_eq!(found.len(), 1, "blocks that begin with {first:?}");
    found.concat()
}

/// Rows of the table whose heading begins with these cells, as cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = readme();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let rows = text.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "no table begins with {heading}");
    rows
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn load(files: &[(&str, &str)]) -> (Config, Report) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let sources = Sources { dir_flag: Some(dir.path().to_owned()), ..Sources::default() };
    Config::load(&sources).unwrap()
}

const NAME: &str = "servicecomb.service.name: a\n";

#[test]
fn the_two_commands_come_first() {
    let first = blocks("sh").into_iter().next().unwrap();
    assert_eq!(first, "cargo run --release -- demo\ncargo test\n");
}

#[test]
fn the_sidecars_of_the_quick_start_load_without_a_word() {
    for side in ["provider", "consumer"] {
        let (chassis, service) =
            (file(&format!("{side}/chassis.yaml")), file(&format!("{side}/microservice.yaml")));
        let (_, report) = load(&[("chassis.yaml", &chassis), ("microservice.yaml", &service)]);
        assert!(report.is_empty(), "{side}: {}", report.render(false));
    }
}

#[test]
fn the_checks_of_the_local_service_are_understood() {
    let (config, mut report) =
        load(&[("chassis.yaml", ""), ("microservice.yaml", NAME), ("mesher.yaml", &file("mesher.yaml"))]);
    let checks = mesher_actors::health::Check::list_from_config(&config, [127, 0, 0, 1].into(), &mut report);
    assert!(report.is_empty(), "{}", report.render(false));
    assert_eq!(checks.len(), 1);
}

#[test]
fn the_keys_of_tls_are_understood() {
    let (config, report) =
        load(&[("chassis.yaml", ""), ("microservice.yaml", NAME), ("tls.yaml", &file("tls.yaml"))]);
    assert!(report.is_empty(), "{}", report.render(false));
    assert_eq!(config.text("ssl.rest.Consumer.caFile").as_deref(), Some("tls/ca.crt"));
}

#[test]
fn the_pod_of_the_deployment_is_configured_without_a_word() {
    let mut map = None;
    for document in serde_yaml::Deserializer::from_str(&repository("deploy/sidecar.yaml")) {
        let document: serde_yaml::Value = serde::Deserialize::deserialize(document).unwrap();
        map = map.or_else(|| document.get("data").cloned());
    }
    let map: BTreeMap<String, String> = serde_yaml::from_value(map.unwrap()).unwrap();
    let files: Vec<_> = map.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (_, report) = load(&files);
    assert!(report.is_empty(), "{}", report.render(false));
}

#[test]
fn the_file_registry_and_the_admin_paths_of_the_readme_are_served() {
    let conf = Conf::sidecar("reader").file("registry.yaml", &file("registry.yaml"));
    let mesher = Start::new(conf).ready();
    let mut client = mesher.connect();
    client.send("GET http://RESTServer/ HTTP/1.1\r\nHost: RESTServer\r\nConnection: close\r\n\r\n");
    let known = wait_for("RESTServer to be known", PATIENCE, || {
        let details: serde_json::Value =
            serde_json::from_slice(&mesher.admin("/ready?verbose")?.body).ok()?;
        details["details"]["services"]["RESTServer"]["endpoints"].as_array().cloned()
    });
    assert_eq!(known, ["127.0.0.1:8083", "127.0.0.2:8083"], "{}", mesher.output());
    assert!(!mesher.output().contains("is skipped"), "{}", mesher.output());
    for row in table("| path | answer |") {
        for path in quoted(&row[0]) {
            assert_eq!(mesher.admin(&path).map(|answer| answer.status), Some(200), "{path}");
        }
    }
}

#[test]
fn every_key_of_the_table_is_known_and_has_that_default() {
    let (config, _) = load(&[("chassis.yaml", ""), ("microservice.yaml", NAME)]);
    let defaults: BTreeMap<_, _> =
        config.entries().into_iter().map(|entry| (entry.key.to_string(), entry.value.to_string())).collect();
    let mut listed = BTreeSet::new();
    for row in table("| key | default |") {
        for key in quoted(&row[0]) {
            let default = quoted(&row[1]).concat();
            if key != "servicecomb.service.name" {
                assert_eq!(defaults.get(&key).map_or("", String::as_str), default, "{key}");
            }
            listed.insert(key);
        }
    }
    let left_out: Vec<_> =
        defaults.keys().filter(|key| !listed.contains(*key) && !QUIET.contains(&key.as_str())).collect();
    assert!(left_out.is_empty(), "the README's table does not have {left_out:?}");
    let text: String = listed.iter().map(|key| format!("{}: \n", key.replace('*', "some"))).collect();
    let (_, report) = load(&[("chassis.yaml", &text), ("microservice.yaml", NAME)]);
    let unknown: Vec<_> =
        report.problems().iter().filter(|p| p.label() == "W0103").map(ToString::to_string).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn the_table_of_failures_is_the_vocabulary() {
    let rows: Vec<_> = table("| flag | name |").into_iter().map(|row| row[..3].join(" ")).collect();
    let faces = Failure::ALL.map(Failure::face).map(|f| format!("{} {} {}", f.flag, f.name, f.status));
    assert_eq!(rows, faces);
}

#[test]
fn commands_and_flags_of_the_readme_are_those_of_the_program() {
    let (code, help) = run(&["--help"], Path::new("."));
    assert_eq!(code, 0);
    for row in table("| command | what it does |") {
        for command in quoted(&row[0]).iter().filter_map(|quoted| quoted.strip_prefix("mesher ")) {
            assert!(help.contains(&format!("\n  {command} ")), "{command}");
        }
    }
    for row in table("| flag | environment |") {
        for flag in quoted(&row[0]).iter().filter(|quoted| quoted.starts_with("--")) {
            let name = flag.split(' ').next().unwrap();
            assert!(help.contains(&format!("{name} <")), "{flag}");
        }
    }
}

#[test]
fn a_table_is_found_by_its_heading_and_read_by_cells() {
    let rows = table("| exit code | meaning |");
    assert_eq!(rows[0][0], "0");
    assert_eq!(rows.len(), 6);
    assert_eq!(quoted("`a`, `b` or c"), ["a", "b"]);
}
