//! The sizing table: what a capacity planner multiplies with.

use super::results::{Memory, Results};
use super::statistics::fit;
use super::table::{Table, number};
use crate::load::{Load, Pattern, Wire};

/// A step of the sweep is carried if at least this share of its requests a second was answered in its time.
const CARRIED: f64 = 0.95;

/// One column a proxy: CPU a request of each kind, requests a second a core within each bound of p99, memory.
pub(super) fn sizing(results: &Results, p99_ms: &[f64]) -> Table {
    let proxies: Vec<&str> =
        results.peers.iter().map(|(peer, _)| peer.as_str()).filter(|peer| *peer != "direct").collect();
    let mut table = Table::new(std::iter::once("").chain(proxies.iter().copied()));
    let mut row = |title: String, cell: &dyn Fn(&str) -> String| {
        table.row(std::iter::once(title).chain(proxies.iter().map(|peer| cell(peer))));
    };
    let cpu = |load: &Load, peer: &str| results.median(&load.name, peer, |figures| figures.cpu_us);
    let open = results.loads.iter().rfind(|load| is_plain(load) && is_open(load.pattern));
    for load in kinds(results).into_iter().chain(open) {
        row(format!("CPU us a request, {}", load.name), &|peer| number(cpu(load, peer), 1));
    }
    if let Some((idle, open)) = results.loads.iter().find(|load| load.idle > 0).zip(open) {
        row(format!("CPU beside {} idle connections, x", idle.idle), &|peer| {
            let pair = ((idle.name.as_str(), peer), (open.name.as_str(), peer));
            let ratio = results.ratio_between(pair.0, pair.1, |figures| figures.cpu_us);
            number(ratio.map(|ratio| ratio.median), 2)
        });
    }
    if results.loads.iter().any(|load| load.sweep) {
        for bound in p99_ms {
            row(format!("req/s a core, p99<={bound}ms"), &|peer| within(results, peer, *bound));
        }
    }
    if !results.memory.is_empty() {
        for (place, title) in ["RSS MiB", "and KiB a connection", "R2 of these two"].into_iter().enumerate() {
            row(title.to_owned(), &|peer| {
                let memory = results.memory.iter().find(|memory| memory.peer == peer);
                memory.map_or("-".to_owned(), |memory| line(memory)[place].clone())
            });
        }
    }
    table
}

/// The first load of each kind under which a proxy does what it can.
fn kinds(results: &Results) -> Vec<&Load> {
    let mut kinds: Vec<&Load> = Vec::new();
    for load in results.loads.iter().filter(|load| !is_open(load.pattern)) {
        let kind = |load: &Load| (load.wire, load.request, load.pattern == Pattern::Fresh);
        if kinds.iter().all(|known| kind(known) != kind(load)) {
            kinds.push(load);
        }
    }
    kinds
}

fn is_plain(load: &Load) -> bool {
    load.wire == Wire::Http1 && load.idle == 0 && !load.sweep
}

fn is_open(pattern: Pattern) -> bool {
    matches!(pattern, Pattern::Open { .. })
}

/// The highest rate a core at which the median p99 keeps the bound; with a `+` if it was the highest that was tried.
fn within(results: &Results, peer: &str, bound_ms: f64) -> String {
    let steps = results.loads.iter().filter(|load| load.sweep).filter_map(|load| {
        let Pattern::Open { rate } = load.pattern else { return None };
        let carried =
            results.median(&load.name, peer, |figures| Some(figures.requests_per_second))? >= CARRIED * rate;
        let p99_us = results.median(&load.name, peer, |figures| Some(figures.p99_us))?;
        Some((rate, carried && p99_us <= bound_ms * 1e3))
    });
    let steps: Vec<(f64, bool)> = steps.collect();
    let highest = results.loads.iter().rfind(|load| load.sweep).map(|load| load.pattern);
    match steps.iter().rfind(|(_, kept)| *kept) {
        None => "-".to_owned(),
        Some((rate, _)) => {
            let more = if highest == Some(Pattern::Open { rate: *rate }) { "+" } else { "" };
            format!("{:.0}{more}", rate / f64::from(results.shards))
        }
    }
}

/// Memory as a + b * connections.
fn line(memory: &Memory) -> [String; 3] {
    let points: Vec<(f64, f64)> =
        memory.points.iter().map(|(count, bytes)| (*count as f64, *bytes as f64)).collect();
    match fit(&points) {
        None => {
            [number(points.first().map(|(_, bytes)| bytes / 1048576.0), 1), "-".to_owned(), "-".to_owned()]
        }
        Some(line) => [
            number(Some(line.offset / 1048576.0), 1),
            number(Some(line.slope / 1024.0), 2),
            number(Some(line.r_squared), 3),
        ],
    }
}
