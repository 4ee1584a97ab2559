//! The report for people.

use std::fmt::Write;

use super::figures::Figures;
use super::results::{BASE, Results};
use super::sizing::sizing;
use super::statistics::{Spread, median};
use super::table::{Table, number};
use crate::load::Load;

/// The share of waiting that a quiet machine keeps below.
const QUIET: f64 = 0.02;

/// All tables, with what is needed to judge them.
pub(crate) fn text(results: &Results, p99_ms: &[f64]) -> String {
    let mut out = String::new();
    for load in results.loads.iter().filter(|load| !load.sweep) {
        let _ = writeln!(out, "\n{}: {}\n{}", load.name, load.title(), table(results, load));
        for left_out in results.left_out.iter().filter(|left_out| left_out.load == load.name) {
            let _ = writeln!(out, "  without {}: {}", left_out.peer, left_out.why);
        }
    }
    if results.loads.iter().any(|load| load.sweep) {
        let _ = writeln!(
            out,
            "\nsweep: p99 in ms by requests/s offered; `-` where a lower rate was already too much\n{}",
            sweep(results)
        );
    }
    let _ = writeln!(out, "\nCPU us a request, and its ratio to {BASE}\n{}", overview(results));
    let _ = writeln!(out, "\nsizing\n{}", sizing(results, p99_ms));
    let _ = writeln!(out, "{}", conditions(results));
    for failure in &results.failures {
        let _ = writeln!(out, "FAILED {failure}");
    }
    out
}

fn table(results: &Results, load: &Load) -> Table {
    let mut table = Table::new([
        "proxy",
        "req/s",
        "p50 us",
        "x",
        "p90 us",
        "p99 us",
        "x",
        "p99.9 us",
        "CPU us/req",
        "x",
        "(rounds)",
        "sleeps/req",
    ]);
    for (peer, _) in results.peers.iter().filter(|(peer, _)| results.series(&load.name, peer).is_some()) {
        let median = |figure: fn(&Figures) -> Option<f64>| results.median(&load.name, peer, figure);
        let ratio = |figure: fn(&Figures) -> Option<f64>| results.ratio(&load.name, peer, figure);
        let cpu = ratio(|figures| figures.cpu_us);
        table.row([
            peer.clone(),
            number(median(|figures| Some(figures.requests_per_second)), 0),
            number(median(|figures| Some(figures.p50_us)), 1),
            times(ratio(|figures| Some(figures.p50_us))),
            number(median(|figures| Some(figures.p90_us)), 1),
            number(median(|figures| Some(figures.p99_us)), 0),
            times(ratio(|figures| Some(figures.p99_us))),
            number(median(|figures| Some(figures.p999_us)), 0),
            number(median(|figures| figures.cpu_us), 1),
            times(cpu),
            cpu.map_or("-".to_owned(), |cpu| format!("({:.2}-{:.2})", cpu.min, cpu.max)),
            number(median(|figures| figures.switches), 2),
        ]);
    }
    table
}

/// All loads on one page: what a request costs each proxy.
fn overview(results: &Results) -> Table {
    let proxies: Vec<&str> =
        results.peers.iter().map(|(peer, _)| peer.as_str()).filter(|peer| *peer != "direct").collect();
    let mut table = Table::new(std::iter::once("load").chain(proxies.iter().copied()));
    for load in results.loads.iter().filter(|load| !load.sweep) {
        let cost = |peer: &&str| {
            let cpu = results.median(&load.name, peer, |figures| figures.cpu_us);
            let ratio = results.ratio(&load.name, peer, |figures| figures.cpu_us);
            cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.1} ({})", times(ratio)))
        };
        table.row(std::iter::once(load.name.clone()).chain(proxies.iter().map(cost)));
    }
    table
}

fn times(ratio: Option<Spread>) -> String {
    number(ratio.map(|ratio| ratio.median), 2)
}

fn sweep(results: &Results) -> Table {
    let steps: Vec<&Load> = results.loads.iter().filter(|load| load.sweep).collect();
    let names: Vec<&str> = steps.iter().map(|load| load.name.trim_start_matches("sweep-")).collect();
    let mut table = Table::new(std::iter::once("proxy").chain(names));
    for (peer, _) in &results.peers {
        let p99 =
            |load: &&Load| number(results.median(&load.name, peer, |figures| Some(figures.p99_us / 1e3)), 2);
        table.row(std::iter::once(peer.clone()).chain(steps.iter().map(p99)));
    }
    table
}

/// What was measured, where, and how quiet it was.
fn conditions(results: &Results) -> String {
    let mut out = format!(
        "{}\nproxy on CPU {:?}, origin and load on CPU {:?}, {} shard(s); {} round(s) of {} s\n",
        results.machine,
        results.cpus.proxy,
        results.cpus.load,
        results.shards,
        results.rounds,
        results.seconds
    );
    if results.cpus.shared {
        out.push_str("TOO FEW CPUS: load and proxy share some, these figures say little\n");
    }
    for (peer, version) in &results.peers {
        let _ = writeln!(out, "{peer}: {version}");
    }
    noise(&mut out, results);
    out.push_str("figures are medians over the rounds; x is the median of the rounds' ratios to ");
    out.push_str(BASE);
    out
}

fn noise(out: &mut String, results: &Results) {
    let figures = || results.series.iter().flat_map(|series| series.rounds.iter().flatten());
    let load = figures().fold(0.0_f64, |most, figures| most.max(figures.load_average));
    let of_proxies = figures().filter(|figures| figures.cpu_us.is_some());
    let waited = median(of_proxies.map(|figures| figures.waited)).unwrap_or(0.0);
    let _ = writeln!(
        out,
        "load average up to {load:.1}, of which this bench makes up to 3; something else had the proxy's CPU {:.1} % \
         of the time",
        100.0 * waited
    );
    if waited > QUIET {
        out.push_str(
            "BUSY MACHINE: requests/s and latencies say little, CPU a request is off; run it again\n",
        );
    }
}
