//! What `/metrics` says: the shards' counters under Mesher's names, so that its dashboards go on working, and under
//! ours. Pure: counters in, text out.
//!
//! Mesher's counters go by exact statuses (a success is 200 to 226); ours by class, which differs for statuses that
//! do not exist.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::exposition::{Exposition, Kind, Label};
use super::process::Process;
use super::view::{ConfigState, Identity};
use crate::memory::{Memory, Pressure};
use crate::snapshot::Failure;
use crate::snapshot::handshakes::{Handshakes, TlsFailure};
use crate::snapshot::stats::{
    Board, CLASSES, Counter, GRPC_STATUSES, LATENCY_BOUNDS, Outcomes, Series, ShardStats,
};
use crate::tls::Expiry;

/// What the text is made of beside the counters.
pub(super) struct Surroundings<'a> {
    /// Whose sidecar this is.
    pub(super) identity: &'a Identity,
    /// Version of mesher.
    pub(super) version: &'a str,
    /// I/O driver of the shards.
    pub(super) driver: &'a str,
    /// When mesher started, seconds since 1970.
    pub(super) started: u64,
    /// How reloading went.
    pub(super) config: ConfigState,
    /// Certificates by file.
    pub(super) certificates: Vec<Expiry>,
    /// The memory of the process, if it is watched.
    pub(super) memory: Option<Memory>,
    /// The process as the kernel sees it.
    pub(super) process: Process,
}

/// The whole text.
pub(super) fn render(board: &Board, around: &Surroundings<'_>) -> String {
    let mut text = Exposition::default();
    let all = board.all_series();
    services(&mut text, &all, around);
    series(&mut text, &all);
    let help =
        "Times a service got no series of its own, since there are too many: it is counted as __overflow__.";
    text.single("mesher_series_refused_total", Kind::Counter, help, board.series_refused());
    shards(&mut text, &board.shards());
    build(&mut text, around);
    config(&mut text, &around.config);
    certificates(&mut text, &around.certificates);
    memory(&mut text, around.memory.as_ref());
    process(&mut text, &around.process);
    text.finish()
}

/// Sums over the series of one label set.
#[derive(Debug, Default)]
struct Totals {
    outcomes: Outcomes<u64>,
    grpc: [u64; GRPC_STATUSES],
    retries: u64,
    buckets: [u64; LATENCY_BOUNDS.len() + 1],
    latency_seconds: f64,
}

// === impl Totals ===

impl Totals {
    fn add(&mut self, series: &Series) {
        for (sum, counter) in self.outcomes.iter_mut().flatten().zip(series.outcomes.iter().flatten()) {
            *sum += counter.value();
        }
        for (sum, counter) in self.grpc.iter_mut().zip(&series.grpc) {
            *sum += counter.value();
        }
        self.retries += series.retries.value();
        for (sum, bucket) in self.buckets.iter_mut().zip(series.latency.buckets()) {
            *sum += bucket;
        }
        self.latency_seconds += series.latency.sum_seconds();
    }

    /// Requests answered with one of these classes.
    fn answered(&self, classes: &[&str]) -> u64 {
        let answered = |row: &[u64; CLASSES.len()]| -> u64 {
            row.iter().zip(CLASSES).filter(|(_, class)| classes.contains(class)).map(|(count, _)| count).sum()
        };
        self.outcomes.iter().map(answered).sum()
    }
}

/// Adds up the series whose labels are equal as far as `key` looks.
fn totals<'s, K: Ord>(all: &'s [Arc<Series>], key: impl Fn(&'s Series) -> K) -> BTreeMap<K, Totals> {
    let mut totals = BTreeMap::<K, Totals>::new();
    for series in all {
        totals.entry(key(series)).or_default().add(series);
    }
    totals
}

/// A family of Mesher's: name, help and what it counts.
type InheritedCounter = (&'static str, &'static str, fn(&Totals) -> u64);

/// Mesher's metrics.
fn services(text: &mut Exposition, all: &[Arc<Series>], around: &Surroundings<'_>) {
    const COUNTERS: [InheritedCounter; 5] = [
        ("requests_total", "Requests to a service.", |t| t.answered(&CLASSES)),
        ("successes_total", "Requests answered with 2xx.", |t| t.answered(&["2xx"])),
        ("failures_total", "Requests answered with 4xx, 5xx or not at all.", |t| {
            t.answered(&["4xx", "5xx", "none"])
        }),
        ("status_4xx", "Requests answered with 4xx.", |t| t.answered(&["4xx"])),
        ("status_5xx", "Requests answered with 5xx.", |t| t.answered(&["5xx"])),
    ];
    fn labels<'a>(app: &'a str, service: &'a str, version: &'a str) -> [Label<'a>; 3] {
        [("app", app), ("service_name", service), ("version", version)]
    }

    let totals = totals(all, |series| {
        let labels = &series.labels;
        (&*labels.app, &*labels.service, &*labels.version)
    });
    for (name, help, count) in COUNTERS {
        let mut family = text.family(name, Kind::Counter, help);
        for ((app, service, version), totals) in &totals {
            family.sample(&labels(app, service, version), count(totals));
        }
    }
    let help = "How long requests took, from the request head to the last byte of the answer.";
    let mut family = text.family("request_latency_seconds", Kind::Summary, help);
    for ((app, service, version), totals) in &totals {
        family.summary(
            &labels(app, service, version),
            totals.latency_seconds,
            totals.buckets.iter().sum::<u64>(),
        );
    }
    let Identity { app, service, version } = around.identity;
    text.family("start_time_seconds", Kind::Gauge, "When mesher started, seconds since 1970.")
        .sample(&labels(app, service, version), around.started);
}

/// Requests by service, in more detail.
fn series(text: &mut Exposition, all: &[Arc<Series>]) {
    let totals = totals(all, |series| {
        let labels = &series.labels;
        [
            ("direction", labels.direction.label()),
            ("service", &*labels.service),
            ("version", &*labels.version),
        ]
    });
    let help = "Finished requests, by class of the answer's status and by the flag of the failure that mesher \
                answered (empty if the upstream's answer was passed on).";
    let mut family = text.family("mesher_requests_total", Kind::Counter, help);
    let flags = || std::iter::once("").chain(Failure::ALL.into_iter().map(|failure| failure.face().flag));
    for (&[direction, service, version], totals) in &totals {
        for (flag, row) in flags().zip(&totals.outcomes) {
            for (class, count) in CLASSES.into_iter().zip(row).filter(|(_, count)| **count > 0) {
                family.sample(&[direction, service, version, ("code_class", class), ("flag", flag)], count);
            }
        }
    }
    let help = "Finished calls of gRPC, by their status. They are requests as well.";
    let mut family = text.family("mesher_grpc_calls_total", Kind::Counter, help);
    for (&[direction, service, version], totals) in &totals {
        for (status, count) in totals.grpc.iter().enumerate().filter(|(_, count)| **count > 0) {
            family.sample(&[direction, service, version, ("grpc_status", &status.to_string())], count);
        }
    }
    let help = "How long requests took, from the request head to the last byte of the answer.";
    let mut family = text.family("mesher_request_duration_seconds", Kind::Histogram, help);
    for (labels, totals) in &totals {
        family.histogram(labels, &LATENCY_BOUNDS, &totals.buckets, totals.latency_seconds);
    }
    let mut family = text.family("mesher_retries_total", Kind::Counter, "Attempts beyond a request's first.");
    for (labels, totals) in &totals {
        family.sample(labels, totals.retries);
    }
}

/// What belongs to no service.
fn shards(text: &mut Exposition, shards: &[Arc<ShardStats>]) {
    use Kind::{Counter as C, Gauge as G};
    let sum = |counter: fn(&ShardStats) -> &Counter| shards.iter().map(|s| counter(s).value()).sum::<u64>();

    text.single("mesher_requests_in_flight", G, "Requests being served now.", sum(|s| &s.requests_in_flight));
    let mut connections = text.family("mesher_connections", G, "Connections open now.");
    connections.sample(&[("side", "downstream")], sum(|s| &s.downstream_open));
    connections.sample(&[("side", "upstream")], sum(|s| &s.upstream_open));
    let help = "Upstream connections open now that speak HTTP/2.";
    text.single("mesher_upstream_http2_connections", G, help, sum(|s| &s.upstream_http2_open));
    let help = "Calls on upstream HTTP/2 connections now.";
    text.single("mesher_upstream_http2_streams", G, help, sum(|s| &s.upstream_http2_streams));
    text.single("mesher_downstream_accepted_total", C, "Connections accepted.", sum(|s| &s.accepted));
    let help = "HTTP/2 connections of clients that were ended with ENHANCE_YOUR_CALM.";
    text.single("mesher_downstream_http2_calmed_total", C, help, sum(|s| &s.downstream_http2_calmed));
    let help = "HTTP/2 connections to upstreams that were ended with ENHANCE_YOUR_CALM.";
    text.single("mesher_upstream_http2_calmed_total", C, help, sum(|s| &s.upstream_http2_calmed));
    text.single("mesher_upstream_connects_total", C, "Connections made.", sum(|s| &s.upstream_connects));
    let help = "Requests sent on a pooled connection.";
    text.single("mesher_upstream_reused_total", C, help, sum(|s| &s.upstream_reused));
    handshakes(text, shards);
    let help = "TLS handshakes with clients that are under way.";
    text.single("mesher_tls_handshakes_in_flight", G, help, sum(|s| &s.handshakes_in_flight));
    text.single("mesher_panics_total", C, "Connection tasks that panicked.", sum(|s| &s.panics));
    let help = "Times accepting paused: too many connections, too few file descriptors, or memory short.";
    text.single("mesher_accept_pauses_total", C, help, sum(|s| &s.accept_pauses));
    let help = "Times a shard died and was started again.";
    text.single("mesher_shard_restarts_total", C, help, sum(|s| &s.restarts));
    let help = "Turns of a shard's event loop; stands still when the shard is stuck or idle.";
    each(text, shards, ("mesher_shard_turns_total", C, help), |s| &s.turns);
    let help = "Connections of clients that a shard has open now.";
    each(text, shards, ("mesher_shard_connections", G, help), |s| &s.downstream_open);
    let help = "Requests that a shard is serving now, streams of HTTP/2 among them.";
    each(text, shards, ("mesher_shard_requests_in_flight", G, help), |s| &s.requests_in_flight);
}

/// How TLS handshakes ended, as far as there were any.
fn handshakes(text: &mut Exposition, shards: &[Arc<ShardStats>]) {
    type Side = (&'static str, fn(&ShardStats) -> &Handshakes);
    const SIDES: [Side; 2] =
        [("downstream", |s| &s.handshakes_downstream), ("upstream", |s| &s.handshakes_upstream)];
    let help = "TLS handshakes, by how they ended: full, resumed, or why they failed.";
    let mut family = text.family("mesher_tls_handshakes_total", Kind::Counter, help);
    for (side, of) in SIDES {
        let mut sample = |result: &str, counter: fn(&Handshakes) -> &Counter| {
            family.sample(
                &[("side", side), ("result", result)],
                shards.iter().map(|s| counter(of(s)).value()).sum::<u64>(),
            );
        };
        sample("full", |h| &h.full);
        sample("resumed", |h| &h.resumed);
        for failure in TlsFailure::ALL {
            let count: u64 =
                shards.iter().flat_map(|s| of(s).failed.get(failure as usize)).map(Counter::value).sum();
            family.sample(&[("side", side), ("result", failure.label())], count);
        }
    }
}

/// A family with a sample a shard.
fn each(
    text: &mut Exposition,
    shards: &[Arc<ShardStats>],
    (name, kind, help): (&'static str, Kind, &'static str),
    counter: fn(&ShardStats) -> &Counter,
) {
    let mut family = text.family(name, kind, help);
    for (index, stats) in shards.iter().enumerate() {
        family.sample(&[("shard", &index.to_string())], counter(stats).value());
    }
}

fn build(text: &mut Exposition, around: &Surroundings<'_>) {
    text.family("mesher_build_info", Kind::Gauge, "The program that runs, and its I/O driver. Always 1.")
        .sample(&[("version", around.version), ("driver", around.driver)], 1);
}

fn config(text: &mut Exposition, config: &ConfigState) {
    let help = "Attempts to reload the configuration.";
    text.single("mesher_config_reloads_total", Kind::Counter, help, config.reloads);
    let help = "1 if the last attempt to reload the configuration succeeded, or there was none.";
    let ok = u64::from(config.last_reload_ok);
    text.single("mesher_config_last_reload_successful", Kind::Gauge, help, ok);
}

fn certificates(text: &mut Exposition, certificates: &[Expiry]) {
    let help = "When the file ends to be of use: its first certificate to end, or the last one of those to trust; \
                seconds since 1970.";
    let mut family = text.family("mesher_tls_certificate_not_after_seconds", Kind::Gauge, help);
    for Expiry { file, not_after_s } in certificates {
        family.sample(&[("file", &file.to_string_lossy())], not_after_s);
    }
}

fn memory(text: &mut Exposition, memory: Option<&Memory>) {
    use Kind::{Counter as C, Gauge as G};
    let Some(memory) = memory else { return };
    text.single("mesher_memory_limit_bytes", G, "Memory that mesher may hold.", memory.limit_bytes);
    text.single("mesher_memory_used_bytes", G, "Memory that mesher holds of it.", memory.used_bytes);
    let help = "1 while memory is short: new requests are answered 503.";
    text.single("mesher_memory_short", G, help, u64::from(memory.pressure == Pressure::High));
    text.single("mesher_memory_shortages_total", C, "Times memory became short.", memory.shortages);
}

fn process(text: &mut Exposition, process: &Process) {
    use Kind::{Counter as C, Gauge as G};
    if let Some(seconds) = process.cpu_seconds {
        text.single("process_cpu_seconds_total", C, "User and system CPU time.", seconds);
    }
    if let Some(bytes) = process.resident_bytes {
        text.single("process_resident_memory_bytes", G, "Memory in RAM.", bytes);
    }
    if let Some(fds) = process.open_fds {
        text.single("process_open_fds", G, "Open file descriptors.", fds);
    }
    if let Some(fds) = process.max_fds {
        text.single("process_max_fds", G, "File descriptors that may be open.", fds);
    }
    if let Some(seconds) = process.start_seconds {
        text.single("process_start_time_seconds", G, "Start of the process, seconds since 1970.", seconds);
    }
}
