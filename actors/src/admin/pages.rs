//! The pages: which paths there are and what each answers. Pure but for the questions it asks the view, the board
//! and the kernel; the server around it is not known here.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::view::{Build, ConfigState, Identity, Shard, View};
use super::{exposition, metrics, process};
use crate::memory::Memory;
use crate::snapshot::stats::Board;

/// Everything the pages tell of.
pub(super) struct Site {
    pub(super) identity: Identity,
    pub(super) build: Build,
    pub(super) board: Arc<Board>,
    pub(super) view: Arc<dyn View>,
    /// When mesher started, seconds since 1970.
    pub(super) started: u64,
}

/// An answer.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

/// Methods the pages are for: value of `Allow` in a 405.
pub(super) const METHODS: &str = "GET, HEAD";

#[derive(Debug, Clone, Copy)]
enum Page {
    Version,
    Health,
    Metrics,
    Live,
    Ready,
}

const PAGES: [(&str, Page); 9] = [
    ("/v1/mesher/version", Page::Version),
    ("/v1/mesher/health", Page::Health),
    ("/v1/mesher/metrics", Page::Metrics),
    ("/metrics", Page::Metrics),
    ("/live", Page::Live),
    ("/livez", Page::Live),
    ("/healthz", Page::Live),
    ("/ready", Page::Ready),
    ("/readyz", Page::Ready),
];

// === impl Site ===

impl Site {
    /// Answers a request. The body is that of a GET; the server leaves it out for HEAD.
    pub(super) fn answer(&self, method: &str, path: &str, query: &str) -> Reply {
        let Some((_, page)) = PAGES.iter().find(|(known, _)| *known == path) else {
            let paths = PAGES.map(|(path, _)| path);
            return Reply::json(404, &NotFound { error: "there is no such path", paths });
        };
        if !matches!(method, "GET" | "HEAD") {
            return Reply::error(405, "method not allowed; use GET or HEAD");
        }
        match page {
            Page::Version => self.version(),
            Page::Health => self.health(),
            Page::Metrics => self.metrics(),
            Page::Live => self.live(),
            Page::Ready if has_flag(query, "verbose") => self.ready_verbose(),
            Page::Ready => self.ready(),
        }
    }

    fn version(&self) -> Reply {
        let Build { version, commit, built } = &self.build;
        let driver = driver(&self.view.shards());
        Reply::json(200, &Version { version, commit, built, go_chassis: "", driver })
    }

    fn health(&self) -> Reply {
        let error = self.not_ready(&self.view.shards()).join("; ");
        let (code, status) = if error.is_empty() { (200, "green") } else { (500, "red") };
        let Identity { service: service_name, version, .. } = &self.identity;
        Reply::json(code, &Health { service_name, version, status, connected_monitoring: false, error })
    }

    fn metrics(&self) -> Reply {
        let around = metrics::Surroundings {
            identity: &self.identity,
            version: &self.build.version,
            driver: &driver(&self.view.shards()),
            started: self.started,
            config: self.view.config(),
            certificates: self.view.certificates(),
            memory: self.view.memory(),
            process: process::look(),
        };
        let body = metrics::render(&self.board, &around);
        Reply { status: 200, content_type: exposition::CONTENT_TYPE, body }
    }

    fn live(&self) -> Reply {
        let reasons = dead(&self.view.shards());
        Reply::json(yes_or_503(&reasons), &Live { live: reasons.is_empty(), reasons })
    }

    fn ready(&self) -> Reply {
        let reasons = self.not_ready(&self.view.shards());
        Reply::json(yes_or_503(&reasons), &Ready { ready: reasons.is_empty(), reasons })
    }

    fn ready_verbose(&self) -> Reply {
        let shards = self.view.shards();
        let reasons = self.not_ready(&shards);
        let verbose = Verbose {
            ready: reasons.is_empty(),
            driver: driver(&shards),
            shards: shards.iter().enumerate().map(|(shard, state)| Numbered { shard, state }).collect(),
            config: self.view.config(),
            memory: self.view.memory(),
            details: self.view.details(),
            reasons: &reasons,
        };
        Reply::json(yes_or_503(&reasons), &verbose)
    }

    fn not_ready(&self, shards: &[Shard]) -> Vec<String> {
        let mut reasons = self.view.readiness();
        reasons.extend(dead(shards));
        reasons
    }
}

// === impl Reply ===

impl Reply {
    /// A failure that one sentence explains.
    pub(super) fn error(status: u16, error: &'static str) -> Self {
        Self::json(status, &Error { error })
    }

    /// Indented by one blank a level, as Mesher does it, and with an end of line for the terminal.
    fn json(status: u16, value: &impl Serialize) -> Self {
        let mut json = Vec::new();
        let format = PrettyFormatter::with_indent(b" ");
        let written = value.serialize(&mut Serializer::with_formatter(&mut json, format));
        json.push(b'\n');
        match written.map(|()| String::from_utf8(json)) {
            Ok(Ok(body)) => Self { status, content_type: "application/json", body },
            Ok(Err(_)) | Err(_) => {
                let body = "the answer cannot be written as JSON\n".to_owned();
                Self { status: 500, content_type: "text/plain; charset=utf-8", body }
            }
        }
    }
}

fn yes_or_503(reasons: &[String]) -> u16 {
    if reasons.is_empty() { 200 } else { 503 }
}

fn dead(shards: &[Shard]) -> Vec<String> {
    let dead = shards.iter().enumerate().filter(|(_, shard)| !shard.alive);
    dead.map(|(index, _)| format!("shard {index} is dead")).collect()
}

/// The one driver of all shards, or all that there are; empty before the first shard runs.
fn driver(shards: &[Shard]) -> String {
    let drivers: BTreeSet<&str> = shards.iter().map(|shard| &*shard.driver).collect();
    drivers.into_iter().collect::<Vec<_>>().join(",")
}

/// `?verbose`, with or without a value.
fn has_flag(query: &str, name: &str) -> bool {
    query.split('&').any(|part| part.split('=').next() == Some(name))
}

// === bodies: keys and their order are seen by users ===

#[derive(Serialize)]
struct Version<'a> {
    version: &'a str,
    commit: &'a str,
    built: &'a str,
    /// Always empty: kept for those who read it.
    #[serde(rename = "Go-Chassis")]
    go_chassis: &'a str,
    driver: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    service_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    status: &'a str,
    connected_monitoring: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

#[derive(Serialize)]
struct Live {
    live: bool,
    reasons: Vec<String>,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    reasons: Vec<String>,
}

#[derive(Serialize)]
struct Verbose<'a> {
    ready: bool,
    reasons: &'a [String],
    driver: String,
    shards: Vec<Numbered<'a>>,
    config: ConfigState,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Memory>,
    details: serde_json::Value,
}

#[derive(Serialize)]
struct Numbered<'a> {
    shard: usize,
    #[serde(flatten)]
    state: &'a Shard,
}

#[derive(Serialize)]
struct NotFound<'a> {
    error: &'a str,
    paths: [&'static str; PAGES.len()],
}

#[derive(Serialize)]
struct Error<'a> {
    error: &'a str,
}
