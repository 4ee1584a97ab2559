//! The conformance run: the fake service-center against recordings of the real one.
//!
//! Each held case is a test of its own. The recordings lie outside the repository, in `fixtures` of the directory
//! that `MESHER_SHARED` names, or of `../shared` beside the checkout; without them these tests say so and count for
//! nothing. That the comparison can fail is tested with and without them.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::support::replay::recording::Recording;
use super::support::replay::run::play;

/// Cases that the fake answers as recorded.
const HELD: [&str; 32] = [
    "L01", "L02", "L03", "L04", "L05", "L07", "L08", "L09", "R01", "R02", "R03", "R04", "R05", "R06", "R07",
    "R08", "R09", "R10", "R11", "R12", "R13", "R14", "R15", "R16", "R17", "R18", "R20", "R21", "R22", "R26",
    "R27", "R28",
];

/// Cases that it does not, and why. The rest of the recordings is of the configuration server.
const NOT_HELD: [(&str, &str); 7] = [
    ("E01", "recorded on the embedded store, where every deletion was lost: no model"),
    ("E12", "recorded on the embedded store, where every deletion was lost: no model"),
    ("L06", "dependencies by API, statistics and relations are not played"),
    ("R19", "access control is not played"),
    ("R23", "answers are never compressed"),
    ("R24", "the store behind the server cannot be frozen"),
    ("R25", "access control is not played"),
];

/// Where the recordings lie, if they are there.
fn directory() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared"));
    let shared = std::env::var_os("MESHER_SHARED").map_or(beside, PathBuf::from);
    Some(shared.join("fixtures")).filter(|directory| directory.is_dir())
}

/// A recorded case; none, with a word about it, when there are no recordings.
fn recording(case: &str) -> Option<Recording> {
    let Some(directory) = directory() else {
        eprintln!("{case}: skipped, there are no recordings");
        return None;
    };
    Some(Recording::read(&directory.join(format!("{case}.json"))))
}

fn hold(case: &str) {
    assert!(HELD.contains(&case), "{case} is not in the table");
    let Some(recording) = recording(case) else { return };
    let differences = play(&recording);
    assert!(differences.is_empty(), "{} differences, the first:\n{}", differences.len(), differences[0]);
}

macro_rules! hold {
    ($($name:ident: $case:literal)*) => {
        $(#[test] fn $name() { hold($case); })*
        /// Every case that has a test.
        const TESTED: &[&str] = &[$($case),*];
    };
}

hold! {
    the_whole_life_of_a_sidecar: "L01"
    endpoints_of_every_kind: "L02"
    an_orderly_restart_keeps_data: "L03"
    a_killed_server_keeps_data: "L04"
    heartbeats_over_a_socket: "L05"
    the_old_paths: "L07"
    a_restart_that_loses_data: "L08"
    events_only_after_a_find_that_succeeded: "L09"
    registering_a_service_twice: "R01"
    every_answer_about_existence: "R02"
    invalid_parameters_at_registration: "R03"
    an_instance_id_posted_again_while_alive: "R04"
    expiry_and_what_each_call_says_then: "R05"
    batch_heartbeats: "R06"
    revisions_of_a_find: "R07"
    unknown_consumer_and_unknown_provider: "R08"
    across_applications_and_environments: "R09"
    all_statuses_are_returned: "R10"
    the_three_lists_of_a_batch_find: "R11"
    a_watch_from_first_find_to_the_end: "R12"
    a_watch_refused_and_closed: "R13"
    frames_too_long: "R14"
    pings_and_silence: "R15"
    self_preservation: "R16"
    two_nodes_on_one_store: "R17"
    deleting_what_is_in_use: "R18"
    size_limits: "R20"
    schemas: "R21"
    unknown_paths_and_wrong_verbs: "R22"
    the_lag_of_the_cache: "R26"
    tags_send_no_event: "R27"
    bulk_changes_of_status: "R28"
}

#[test]
fn every_recording_is_either_held_or_has_a_reason() {
    assert_eq!(TESTED, HELD);
    let Some(directory) = directory() else { return eprintln!("skipped, there are no recordings") };
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(case) = name.strip_suffix(".json").filter(|case| !case.starts_with('K')) else { continue };
        let listed = HELD.contains(&case) != NOT_HELD.iter().any(|(not_held, _)| *not_held == case);
        assert!(listed, "{case} must be in one of the two tables");
    }
}

/// A recording of two answers, made by hand from the real ones.
fn small_recording() -> Recording {
    let headers = |kind: &str, length: &str| {
        let mut headers = vec![json!(["Content-Type", kind])];
        headers.extend([json!(["Server", "SERVICECENTER/0.0.1"]), json!(["Vary", "Accept-Encoding"])]);
        headers.extend([json!(["Vary", "Origin"]), json!(["Date", ""]), json!(["Content-Length", length])]);
        headers
    };
    let service = json!({ "service": { "appId": "default", "serviceName": "orders", "version": "1.0.0" } });
    let id = "9278544b9ad6d3a055f559eeb13bc4cb18ffc7b4";
    let register = json!({
        "at_ms": 0,
        "request": { "method": "POST", "path": "/v4/default/registry/microservices", "headers": [],
                     "body": service.to_string() },
        "response": { "status": 200, "reason": "OK", "headers": headers("application/json; charset=UTF-8", "56"),
                      "body": format!(r#"{{"serviceId":"{id}"}}"#) },
    });
    let instance = |at_ms: u64, name: &str| {
        json!({
            "at_ms": at_ms,
            "request": { "method": "POST", "headers": [], "body": r#"{"instance":{"hostName":"h"}}"#,
                         "path": format!("/v4/default/registry/microservices/{id}/instances") },
            "response": { "status": 200, "reason": "OK", "body": format!(r#"{{"instanceId":"{name}"}}"#),
                          "headers": headers("application/json; charset=UTF-8", "49") },
        })
    };
    let delete = |at_ms: u64, name: &str| {
        json!({
            "at_ms": at_ms,
            "request": { "method": "DELETE", "headers": [],
                         "path": format!("/v4/default/registry/microservices/{id}/instances/{name}") },
            "response": { "status": 200, "reason": "OK", "body": "",
                          "headers": headers("text/plain; charset=UTF-8", "0") },
        })
    };
    let var = |name: &str, step: usize| json!({ "name": name, "value": name, "from": format!("/steps/{step}/response/body#/instanceId") });
    let volatile: Vec<String> = (0..5).map(|step| format!("/steps/{step}/response/headers/4/1")).collect();
    serde_json::from_value(json!({
        "case": "small",
        "steps": [register, instance(1, "first-id"), instance(2, "other-id"), delete(3, "first-id"),
                  delete(4, "other-id")],
        "vars": [var("first-id", 1), var("other-id", 2)],
        "volatile": volatile,
    }))
    .unwrap()
}

#[test]
fn a_recording_is_played_with_the_values_of_the_run() {
    assert_eq!(play(&small_recording()), Vec::<String>::new());
}

#[test]
fn a_changed_status_header_or_body_is_noticed() {
    for (pointer, value) in [
        ("/0/response/status", json!(201)),
        ("/1/response/reason", json!("Fine")),
        ("/0/response/headers/0/1", json!("text/plain; charset=UTF-8")),
        ("/0/response/headers/1/0", json!("Servers")),
        ("/0/response/headers/5/1", json!("57")),
        ("/0/response/body", json!(r#"{"serviceId":"another"}"#)),
        ("/3/response/body", json!("{}")),
    ] {
        let mut changed = small_recording();
        let mut steps = Value::from(changed.steps);
        *steps.pointer_mut(pointer).unwrap() = value;
        changed.steps = steps.as_array().unwrap().clone();
        assert_eq!(play(&changed).len(), 1, "{pointer}");
    }
}

#[test]
fn two_values_that_should_be_one_are_noticed() {
    let mut changed = small_recording();
    changed.vars.remove(1);
    changed.steps[2]["response"]["body"] = json!(r#"{"instanceId":"first-id"}"#);
    assert_eq!(play(&changed).len(), 2, "the second id, and its deletion under the first");
}

#[test]
fn one_value_that_should_be_two_is_noticed() {
    let mut changed = small_recording();
    changed.vars[1].from = "/steps/1/response/body#/instanceId".into();
    assert!(!play(&changed).is_empty());
}

/// Changes one thing of a recorded answer at a time; each must be noticed.
#[test]
fn every_recorded_answer_counts() {
    let Some(recording) = recording("R08") else { return };
    let volatile = |step: usize, rest: &str| recording.volatile.contains(&format!("/steps/{step}/{rest}"));
    let mut tried = 0;
    for (step, recorded) in recording.steps.iter().enumerate() {
        let headers = recorded["response"]["headers"].as_array().map_or(0, Vec::len);
        let mut places = vec!["response/status".to_owned(), "response/body".to_owned()];
        places.extend((0..headers).map(|at| format!("response/headers/{at}/1")));
        for place in places.iter().filter(|place| !volatile(step, place)) {
            let mut changed = recording.clone();
            let mut steps = Value::from(changed.steps);
            let value = steps.pointer_mut(&format!("/{step}/{place}")).unwrap();
            *value =
                if value.is_number() { json!(299) } else { json!(format!("{}!", value.as_str().unwrap())) };
            changed.steps = steps.as_array().unwrap().clone();
            assert!(!play(&changed).is_empty(), "{place} of step {step} does not count");
            tried += 1;
        }
    }
    assert!(tried > 100, "only {tried} places");
}

/// Moves, drops and changes events of a watch; each must be noticed.
#[test]
fn every_recorded_event_counts() {
    let Some(recording) = recording("R12") else { return };
    let events: Vec<usize> = (0..recording.steps.len())
        .filter(|step| matches!(recording.steps[*step]["ws"]["event"].as_str(), Some("recv" | "eof")))
        .collect();
    for step in &events {
        let mut without = recording.clone();
        without.steps[*step]["ws"] = Value::Null;
        assert!(!play(&without).is_empty(), "event {step} can be left out");
        let mut moved = recording.clone();
        let late_ms = moved.steps[*step]["at_ms"].as_u64().unwrap() + 2500;
        for later in moved.steps.iter_mut().skip(*step) {
            later["at_ms"] = json!(later["at_ms"].as_u64().unwrap().max(late_ms));
        }
        assert!(!play(&moved).is_empty(), "event {step} can come 2.5 s late");
        let mut other = recording.clone();
        other.steps[*step]["ws"]["type"] = json!("binary");
        assert!(!play(&other).is_empty(), "event {step} can be of another kind");
    }
    assert!(events.len() > 10);
}
