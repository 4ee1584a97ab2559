//! Capacity of mesher, side by side with HAProxy, nginx and Envoy, for people who plan with it.
//!
//! `cargo bench --bench capacity` runs everything; `-- --help` lists the options, `-- --quick` takes seconds. The load
//! and the origin share the CPUs after those of the proxy; every proxy is started pinned, in front of the same origin,
//! with a configuration from this directory's parent that makes it do the same work.

#![allow(clippy::indexing_slicing)] // its input is its own; where it is wrong it shall stop

mod args;
mod load;
mod machine;
mod peers;
mod process;
mod report;
mod rounds;

use std::process::ExitCode;

use clap::Parser;

use args::Args;
use load::Origin;
use peers::{Certificate, Site};
use report::Results;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(error) = process::launch(&arguments) {
        eprintln!("capacity: {error}");
        return ExitCode::FAILURE;
    }
    let args = Args::parse_from(arguments);
    if !args.bench {
        // `cargo test --all-targets` runs it too, with a debug build of everything.
        println!("run it with: cargo bench --bench capacity");
        return ExitCode::SUCCESS;
    }
    match bench(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("capacity: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True if every answer was 200 and complete.
fn bench(args: &Args) -> Result<bool, String> {
    process::adopt_orphans();
    let (peers, missing) = peers::find(args)?;
    let loads = load::plan::loads(args)?;
    for line in &missing {
        eprintln!("left out: {line}");
    }
    let wires = rounds::wires(&loads);
    // One for each connection of the load, and for those between the proxies and the origin.
    let kept = peers.len() * wires.len() * args.connections.max(args.few_connections);
    let wanted = (args.connections_max() + kept) as u64 + 512;
    let files = machine::raise_open_files(wanted);
    if files < wanted {
        return Err(format!(
            "{wanted} open files are needed and {files} allowed: raise `ulimit -n`, or give a lower --idle"
        ));
    }
    let cpus = machine::cpus(usize::from(args.shards), args.load_cpus())
        .map_err(|error| format!("CPUs: {error}"))?;
    let origin = Origin::start(&cpus.load).map_err(|error| format!("the origin: {error}"))?;
    let site = Site {
        origin,
        certificate: Certificate::new()?,
        cpus: cpus.proxy.clone(),
        shards: args.shards,
        connections: args.connections_max(),
    };
    let mut results = Results {
        machine: machine::description(),
        cpus,
        shards: args.shards,
        rounds: args.rounds(),
        seconds: args.seconds(),
        peers: peers.iter().map(|peer| (peer.name.clone(), peer.version.clone())).collect(),
        loads,
        series: Vec::new(),
        memory: Vec::new(),
        left_out: Vec::new(),
        failures: Vec::new(),
    };
    if args.memory() {
        rounds::memory(args, &peers, &site, &mut results)?;
    }
    rounds::run(args, &peers, &site, &mut results)?;
    report::files::write(&results, &args.out)?;
    println!("{}", report::text::text(&results, &args.p99_ms));
    println!("files: {}", args.out.display());
    Ok(results.failures.is_empty())
}
