//! Checks every key and value against the table of what is known. Readers check again what only they can know.
//!
//! Pure: entries in, problems out.

use std::collections::BTreeMap;

use super::handlers;
use super::keys::{self, Kind, Known, State};
use super::read::wrong_value;
use super::report::{Code, Report};
use super::value::{self, Entry};

/// All entries of a configuration by key.
pub(super) type Entries = BTreeMap<String, Entry>;

const REGISTRY_DISABLED: &str = "servicecomb.registry.disabled";
const REGISTRY_TYPE: &str = "servicecomb.registry.type";
const SERVICE_NAME: &str = "servicecomb.service.name";
/// The registry that is taken when none is named.
const SERVICE_CENTER: &str = "servicecenter";
const REGISTRIES_SERVED: [&str; 2] = [SERVICE_CENTER, "file"];
const REGISTRIES_NOT_SERVED: [&str; 3] = ["pilotv2", "pilot", "istio"];
const STRATEGIES_SERVED: [&str; 2] = ["RoundRobin", "Random"];
const STRATEGIES_NOT_SERVED: [&str; 2] = ["SessionStickiness", "WeightedResponse"];

/// Reports everything that is wrong with the keys and values of a configuration.
pub(super) fn check(entries: &Entries, report: &mut Report) {
    for (key, entry) in entries {
        match keys::find(key) {
            None => unknown(key, entry, report),
            Some(known) if entry.text() == Some("") => empty(known, key, entry, report),
            Some(known) => one(known, key, entry, entries, report),
        }
    }
    if entries.get(SERVICE_NAME).and_then(Entry::text).is_none_or(str::is_empty) {
        let origin = entries.get(SERVICE_NAME).map(|entry| entry.origin.clone()).unwrap_or_default();
        let problem = report.error(Code::MISSING_VALUE, &origin, format!("`{SERVICE_NAME}` is not set"));
        problem.help("name the service beside this mesher in microservice.yaml");
    }
}

fn unknown(key: &str, entry: &Entry, report: &mut Report) {
    let (group, last) = key.rsplit_once('.').unwrap_or(("", key));
    if keys::is_group(key) {
        let message = format!("`{key}` is a group of keys, not a value");
        report.warning(Code::UNKNOWN_KEY, &entry.key_origin, message);
        return;
    }
    let place = if group.is_empty() { String::new() } else { format!(" in {group}") };
    let problem =
        report.warning(Code::UNKNOWN_KEY, &entry.key_origin, format!("unknown key `{last}`{place}"));
    if let Some(meant) = keys::suggestion(key) {
        let same_group = meant.rsplit_once('.').is_some_and(|(meant_group, _)| meant_group == group);
        let shown = if same_group { meant.rsplit('.').next().unwrap_or(&meant) } else { &meant };
        problem.help(format!("did you mean `{shown}`?"));
    }
}

/// An empty value reads as absent; of a key that is not served that is nothing to speak of.
fn empty(known: &Known, key: &str, entry: &Entry, report: &mut Report) {
    if matches!(known.kind, Kind::Socket) {
        wrong_value(key, entry, "expected an ip address and a port, found nothing", report);
    }
}

fn one(known: &Known, key: &str, entry: &Entry, entries: &Entries, report: &mut Report) {
    match (known.state, known.kind) {
        (State::Served, kind) => value(kind, key, entry, entries, report),
        (State::NotServed, _) => {
            let message = format!("`{key}` is not served yet");
            let problem = report.warning(Code::NOT_SERVED, &entry.key_origin, message);
            problem.help("mesher runs as if it were not set");
        }
        (State::NoEffect, _) => {
            let message = format!("`{key}` has no effect");
            report.warning(Code::NO_EFFECT, &entry.key_origin, message).help("it can be removed");
        }
    }
}

fn value(kind: Kind, key: &str, entry: &Entry, entries: &Entries, report: &mut Report) {
    let outcome = match kind {
        Kind::Boolean => entry.boolean().map(drop),
        Kind::Integer(min, max) => entry.integer(&(min..=max)).map(drop),
        Kind::Duration(unit) => entry.duration(unit).map(drop),
        Kind::Socket => entry.socket().map(drop),
        Kind::Ip => entry.ip().map(drop),
        Kind::Text => entry.scalar("a text").map(drop),
        Kind::OneOf(words) => return one_of(words, key, entry, report),
        Kind::RegistryType => return registry_type(key, entry, report),
        Kind::RegistryAddress => return registry_address(key, entry, entries, report),
        Kind::Handlers => return handlers::check(key, entry, report),
        Kind::Strategy => return strategy(key, entry, report),
        Kind::List if entry.text().is_some() => Err("expected a list, each element after a `-`".to_owned()),
        Kind::Words | Kind::List | Kind::Any => Ok(()),
    };
    if let Err(why) = outcome {
        wrong_value(key, entry, &why, report);
    }
}

fn one_of(words: &[&str], key: &str, entry: &Entry, report: &mut Report) {
    let wanted = format!("one of {}", words.join(", "));
    match entry.scalar(&wanted) {
        Err(why) => wrong_value(key, entry, &why, report),
        Ok(text) if words.contains(&text) => {}
        Ok(text) => {
            let message = format!("`{key}`: {}", value::unexpected(&wanted, text));
            let problem = report.error(Code::WRONG_VALUE, &entry.origin, message);
            suggest(problem, text, words);
        }
    }
}

fn registry_type(key: &str, entry: &Entry, report: &mut Report) {
    let text = match entry.scalar("a kind of registry") {
        Err(why) => return wrong_value(key, entry, &why, report),
        Ok(text) => text,
    };
    if REGISTRIES_NOT_SERVED.contains(&text) {
        let message =
            format!("`{key}`: `{text}` is not served yet, and mesher would find no service without it");
        let problem = report.error(Code::NOT_SERVED, &entry.origin, message);
        problem.help(format!("use {}", REGISTRIES_SERVED.join(" or ")));
    } else if !REGISTRIES_SERVED.contains(&text) {
        let message = format!("`{key}`: no registry is called `{}`", text.escape_debug());
        suggest(report.error(Code::UNKNOWN_NAME, &entry.origin, message), text, &REGISTRIES_SERVED);
    }
}

/// Addresses matter only where service-center is the registry.
fn registry_address(key: &str, entry: &Entry, entries: &Entries, report: &mut Report) {
    let text = |key: &str| entries.get(key).and_then(Entry::text);
    let disabled = text(REGISTRY_DISABLED).and_then(value::boolean) == Some(true);
    if disabled || text(REGISTRY_TYPE).is_some_and(|kind| kind != SERVICE_CENTER) {
        return;
    }
    for address in entry.words() {
        match address.split_once("://").unwrap_or(("http", &address)) {
            ("http" | "https", host) if is_host(host) => {}
            _ => {
                let shown = super::secret::without_user(&address);
                let why = value::unexpected("addresses like http://127.0.0.1:30100", &shown);
                wrong_value(key, entry, &why, report);
                return;
            }
        }
    }
}

fn is_host(text: &str) -> bool {
    let host = text.trim_end_matches('/');
    !host.is_empty() && !host.contains(['/', ' ', '?', '#'])
}

fn strategy(key: &str, entry: &Entry, report: &mut Report) {
    let text = match entry.scalar("a strategy") {
        Err(why) => return wrong_value(key, entry, &why, report),
        Ok(text) => text,
    };
    if STRATEGIES_NOT_SERVED.contains(&text) {
        let message = format!("`{key}`: the strategy `{text}` is not served yet");
        report.warning(Code::NOT_SERVED, &entry.origin, message).help("RoundRobin is used");
    } else if !STRATEGIES_SERVED.contains(&text) {
        let message = format!("`{key}`: no strategy is called `{}`", text.escape_debug());
        suggest(report.error(Code::UNKNOWN_NAME, &entry.origin, message), text, &STRATEGIES_SERVED);
    }
}

fn suggest(problem: &mut super::report::Problem, text: &str, words: &[&str]) {
    match keys::nearest(text, words.iter().copied()) {
        Some(word) => problem.help(format!("did you mean `{word}`?")),
        None => problem.help(format!("known are {}", words.join(", "))),
    };
}
