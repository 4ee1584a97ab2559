//! The sizing table: what a capacity planner multiplies with.

use super::results::{Memory, Results};
use super::statistics::fit;
use super::table::{Table, number};
use crate::load::Pattern;

/// A step of the sweep is carried if at least this share of its requests a second was answered in its time.
const CARRIED: f64 = 0.95;

/// One row a proxy: CPU a request, requests a second a core within each bound of p99, memory.
pub(super) fn sizing(results: &Results, p99_ms: &[f64]) -> Table {
    let closed = results.loads.iter().find(|load| load.pattern == Pattern::Closed);
    let open = results.loads.iter().rfind(|load| is_open(load.pattern) && load.idle == 0 && !load.sweep);
    let idle = results.loads.iter().find(|load| load.idle > 0);
    let mut headings = vec!["proxy".to_owned()];
    headings.extend(closed.map(|load| format!("CPU us, {}", load.name)));
    headings.extend(open.map(|load| format!("CPU us, {}", load.name)));
    headings.extend(idle.map(|load| format!("{} idle: CPU x", load.idle)));
    let swept = results.loads.iter().any(|load| load.sweep);
    let p99_ms = if swept { p99_ms } else { &[] };
    headings.extend(p99_ms.iter().map(|bound| format!("req/s a core, p99<={bound}ms")));
    if !results.memory.is_empty() {
        headings.extend(["RSS MiB", "+ KiB a conn", "R2"].map(str::to_owned));
    }
    let mut table = Table::new(headings.iter().map(String::as_str));
    for (peer, _) in results.peers.iter().filter(|(peer, _)| peer != "direct") {
        let mut cells = vec![peer.clone()];
        cells
            .extend(closed.map(|load| number(results.median(&load.name, peer, |figures| figures.cpu_us), 1)));
        cells.extend(open.map(|load| number(results.median(&load.name, peer, |figures| figures.cpu_us), 1)));
        cells.extend(idle.map(|load| {
            let without = open.map_or("", |load| &load.name);
            let ratio = results.ratio_between((&load.name, peer), (without, peer), |figures| figures.cpu_us);
            number(ratio.map(|ratio| ratio.median), 2)
        }));
        cells.extend(p99_ms.iter().map(|bound| within(results, peer, *bound)));
        let memory = results.memory.iter().find(|memory| memory.peer == *peer);
        cells.extend(memory.into_iter().flat_map(line));
        table.row(cells);
    }
    table
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
