//! The measurements, in rotating order.

use std::collections::HashSet;

use crate::args::Args;
use crate::load::{self, Held, Load, Pattern};
use crate::machine;
use crate::peers::{Peer, Running, Site};
use crate::report::{Figures, Memory, Results};

/// Runs every proxy under each load, round by round; each round begins with another proxy.
///
/// # Errors
/// A proxy that does not start. What fails later is noted in the results, and the rest goes on.
pub(crate) fn run(args: &Args, peers: &[Peer], site: &Site, results: &mut Results) -> Result<(), String> {
    if results.loads.is_empty() {
        return Ok(());
    }
    let mut running: Vec<Running> = peers.iter().map(|peer| peer.start(site)).collect::<Result<_, _>>()?;
    for proxy in &running {
        warm_up(args, proxy, results)?;
    }
    let loads = results.loads.clone();
    for round in 1..=args.rounds() {
        let mut overloaded = HashSet::new();
        for load in &loads {
            for proxy in &running {
                let name = &proxy.peer.name;
                // Idle connections that nothing holds tell nothing, and would take two files of this process each.
                let senseless = load.idle > 0 && !proxy.is_process();
                if senseless || (load.sweep && overloaded.contains(name)) {
                    results.add(&load.name, name, None);
                    continue;
                }
                eprint!("round {round}/{}: {}, {name} ... ", args.rounds(), load.name);
                if !measure(args, load, proxy, results) && load.sweep {
                    overloaded.insert(name.clone());
                }
            }
        }
        running.rotate_left(1);
    }
    Ok(())
}

/// Fills caches and pools, so that the first round is like the others.
fn warm_up(args: &Args, proxy: &Running, results: &Results) -> Result<(), String> {
    let load = Load {
        name: "warm-up".to_owned(),
        pattern: Pattern::Closed,
        connections: args.connections,
        bytes: 128,
        idle: 0,
        sweep: false,
    };
    let length = std::time::Duration::from_secs_f64(args.seconds() / 10.0);
    load::run(&load, proxy.address, length, &results.cpus.load, || proxy.usage())
        .map(drop)
        .map_err(|error| format!("{}: {error}", proxy.peer.name))
}

/// One measurement; false if the proxy could not carry the load.
fn measure(args: &Args, load: &Load, proxy: &Running, results: &mut Results) -> bool {
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
            results.add(&load.name, &proxy.peer.name, Some((figures, outcome.latencies)));
            !beyond(load, &figures)
        }
        Err(error) => {
            eprintln!("{error}");
            results.add(&load.name, &proxy.peer.name, None);
            // The sweep looks for the rate at which this happens.
            if !load.sweep {
                results.failures.push(format!("{}, {}: {error}", load.name, proxy.peer.name));
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
        let proxy = peer.start(site)?;
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
