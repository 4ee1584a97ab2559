//! Files to keep: JSON, `.hgrm` and SVG.

use std::fs;
use std::io;
use std::path::Path;

use super::axis::Scale;
use super::hgrm;
use super::results::{Results, Series};
use super::svg::{Chart, Line, Quantity};
use crate::load::Load;

/// Nanoseconds in a millisecond.
const MS: f64 = 1e6;

/// The figures; a directory that has this file is one of ours.
const JSON: &str = "capacity.json";

/// Writes everything into `dir`, which is made if needed, in place of what an earlier run left there.
///
/// # Errors
/// The file that could not be written, and why.
pub(crate) fn write(results: &Results, dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    clear(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let json = serde_json::to_string_pretty(results).map_err(|error| error.to_string())?;
    put(dir, JSON, &json)?;
    for series in results.series.iter().filter(|series| !series.latencies.is_empty()) {
        put(dir, &format!("{}-{}.hgrm", series.load, series.peer), &hgrm::text(&series.latencies, MS))?;
    }
    for load in results.loads.iter().filter(|load| !load.sweep) {
        put(dir, &format!("percentiles-{}.svg", load.name), &percentiles(results, load).svg())?;
    }
    if results.loads.iter().any(|load| load.sweep) {
        put(dir, "throughput-p50.svg", &throughput(results, "p50", |figures| figures.p50_us).svg())?;
        put(dir, "throughput-p99.svg", &throughput(results, "p99", |figures| figures.p99_us).svg())?;
    }
    Ok(())
}

/// Removes the curves of an earlier run: beside those of this one they would be taken for its own.
fn clear(dir: &Path) -> io::Result<()> {
    if !dir.join(JSON).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "hgrm" || extension == "svg") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn put(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Latency by share of requests, the last requests drawn as wide as the first.
fn percentiles(results: &Results, load: &Load) -> Chart {
    let lines = results.peers.iter().filter_map(|(peer, _)| results.series(&load.name, peer));
    Chart {
        title: load.title(),
        x: Quantity { label: "share of requests".to_owned(), scale: Scale::Log, print: share },
        y: Quantity { label: "latency, ms".to_owned(), scale: Scale::Log, print: plain },
        lines: lines.map(|series| Line { name: series.peer.clone(), points: curve(series) }).collect(),
    }
}

/// Points (1 / (1 - quantile), milliseconds), up to the last that ten requests stand behind.
fn curve(series: &Series) -> Vec<(f64, f64)> {
    let end = series.latencies.len() as f64 / 10.0;
    let rows = series.latencies.iter_quantiles(20);
    let points =
        rows.map(|row| (1.0 / (1.0 - row.quantile_iterated_to()), row.value_iterated_to() as f64 / MS));
    points.take_while(|(x, _)| *x <= end).collect()
}

/// Latency by requests a second that were answered.
fn throughput(results: &Results, name: &str, figure: fn(&super::Figures) -> f64) -> Chart {
    let steps: Vec<&Load> = results.loads.iter().filter(|load| load.sweep).collect();
    let point = |peer: &str, load: &Load| {
        let rate = results.median(&load.name, peer, |figures| Some(figures.requests_per_second))?;
        Some((rate, results.median(&load.name, peer, |figures| Some(figure(figures)))? / 1e3))
    };
    let connections = steps.first().map_or(0, |load| load.connections);
    Chart {
        title: format!("{name} by throughput, {connections} connections, {} shard(s)", results.shards),
        x: Quantity { label: "requests/s answered".to_owned(), scale: Scale::Linear, print: plain },
        y: Quantity { label: format!("{name}, ms"), scale: Scale::Log, print: plain },
        lines: results
            .peers
            .iter()
            .map(|(peer, _)| Line {
                name: peer.clone(),
                points: steps.iter().filter_map(|load| point(peer, load)).collect(),
            })
            .collect(),
    }
}

fn plain(value: f64) -> String {
    // Four digits hide the rounding of the marks' arithmetic.
    let digits = (3.0 - value.abs().max(1e-9).log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// 10 is 90 %, 100 is 99 %.
fn share(value: f64) -> String {
    format!("{}%", plain_percent(100.0 - 100.0 / value))
}

fn plain_percent(percent: f64) -> String {
    let text = format!("{percent:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
