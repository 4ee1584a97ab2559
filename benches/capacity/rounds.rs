//! The measurements, in rotating order.

use std::collections::HashSet;

use crate::args::Args;
use crate::load::{self, Held, Load, Pattern, Wire};
use crate::machine;
use crate::peers::{Instance, Peer, Running, Site};
use crate::report::{Figures, LeftOut, Memory, Results};

/// What is spoken under these loads, each once.
pub(crate) fn wires(loads: &[Load]) -> Vec<Wire> {
    let mut wires = Vec::new();
    for load in loads {
        if !wires.contains(&load.wire) {
            wires.push(load.wire);
        }
    }
    wires
}

/// Runs every proxy under each load, round by round; each round begins with another proxy.
///
/// # Errors
/// A proxy that does not start. What fails later is noted in the results, and the rest goes on.
pub(crate) fn run(args: &Args, peers: &[Peer], site: &Site, results: &mut Results) -> Result<(), String> {
    if results.loads.is_empty() {
        return Ok(());
    }
    let loads = results.loads.clone();
    let start = |peer: &Peer| peer.start(site, &wires(&loads));
    let mut running: Vec<Running> = peers.iter().map(start).collect::<Result<_, _>>()?;
    for proxy in &running {
        warm_up(args, proxy, &loads, results)?;
        results.left_out.extend(loads.iter().filter_map(|load| {
            let why = proxy.peer.left_out(load.wire)?;
            Some(LeftOut { load: load.name.clone(), peer: proxy.peer.name.clone(), why })
        }));
    }
    for round in 1..=args.rounds() {
        let mut overloaded = HashSet::new();
        for load in &loads {
            for proxy in &running {
                let name = &proxy.peer.name;
                let Some(instance) = proxy.instance(load.wire) else { continue };
                // Idle connections that nothing holds tell nothing, and would take two files of this process each.
                let senseless = load.idle > 0 && !instance.is_process();
                if senseless || (load.sweep && overloaded.contains(name)) {
                    results.add(&load.name, name, None);
                    continue;
                }
                eprint!("round {round}/{}: {}, {name} ... ", args.rounds(), load.name);
                if !measure(args, load, name, instance, results) && load.sweep {
                    overloaded.insert(name.clone());
                }
            }
        }
        running.rotate_left(1);
    }
    Ok(())
}

/// Fills caches and pools, so that the first round is like the others: the first load of each kind, for a moment.
fn warm_up(args: &Args, proxy: &Running, loads: &[Load], results: &Results) -> Result<(), String> {
    let length = std::time::Duration::from_secs_f64(args.seconds() / 10.0);
    for wire in wires(loads) {
        let first = loads.iter().find(|load| load.wire == wire);
        let (Some(instance), Some(load)) = (proxy.instance(wire), first) else { continue };
        let load = Load { pattern: Pattern::Closed, idle: 0, ..load.clone() };
        load::run(&load, instance.address, length, &results.cpus.load, || instance.usage())
            .map_err(|error| format!("{}, {}: {error}", proxy.peer.name, load.name))?;
    }
    Ok(())
}

/// One measurement; false if the proxy could not carry the load.
fn measure(args: &Args, load: &Load, name: &str, proxy: &Instance, results: &mut Results) -> bool {
    let mut held = Held::default();
    let outcome = held
        .grow(proxy.address, load.idle)
        .and_then(|()| {
            load::run(load, proxy.address, load.length(args), &results.cpus.load, || proxy.usage())
        })
        .and_then(|outcome| held.check().map(|()| outcome));
    match outcome {
        Ok(outcome) => {
            let figures = Figures::new(&outcome, proxy.is_process(), machine::load_average());
            let cpu = figures.cpu_us.map_or(String::new(), |cpu| format!(", {cpu:.1} us CPU a request"));
            eprintln!("{:.0} requests/s, p50 {:.0} us{cpu}", figures.requests_per_second, figures.p50_us);
            results.add(&load.name, name, Some((figures, outcome.latencies)));
            !beyond(load, &figures)
        }
        Err(error) => {
            eprintln!("{error}");
            results.add(&load.name, name, None);
            // The sweep looks for the rate at which this happens.
            if !load.sweep {
                results.failures.push(format!("{}, {name}: {error}", load.name));
            }
            false
        }
    }
}

/// Answers came slower than requests: higher rates need not be tried.
fn beyond(load: &Load, figures: &Figures) -> bool {
    matches!(load.pattern, Pattern::Open { rate } if figures.requests_per_second < 0.9 * rate)
}

/// Resident memory of a fresh instance of each proxy, idle and holding more and more connections.
pub(crate) fn memory(args: &Args, peers: &[Peer], site: &Site, results: &mut Results) -> Result<(), String> {
    for peer in peers {
        let running = peer.start(site, &[Wire::Http1])?;
        let Some(proxy) = running.instance(Wire::Http1) else { continue };
        let Some(bytes) = proxy.resident_bytes() else { continue };
        eprint!("memory, {} ... ", peer.name);
        let mut points = vec![(0, bytes)];
        let mut held = Held::default();
        for quarter in 1..=4 {
            let count = args.idle() * quarter / 4;
            let grown = held.grow(proxy.address, count).and_then(|()| held.check());
            if let Err(error) = grown {
                results.failures.push(format!("memory, {}: {error}", peer.name));
                break;
            }
            points.push((count, proxy.resident_bytes().unwrap_or(0)));
        }
        eprintln!("{:.1} MiB idle", bytes as f64 / 1048576.0);
        results.memory.push(Memory { peer: peer.name.clone(), points });
    }
    Ok(())
}
