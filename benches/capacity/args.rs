//! Options of the bench.

use std::path::PathBuf;

use clap::Parser;

/// Connections that `--quick` holds open: enough to see that it works.
const QUICK_IDLE: usize = 300;

/// Capacity of mesher, side by side with other proxies: CPU a request, latency, memory.
///
/// Every proxy has one hop to the same origin, adds the same headers and has the same time-outs. Each round runs every
/// proxy under each load in rotating order; figures are medians over the rounds, ratios are medians of the rounds'
/// ratios to HAProxy. Latency of an open loop counts from the time a request was meant to be sent. CPU is what all
/// threads of the proxy used for exactly the counted requests. Exits with 1 if any answer was not 200 and complete.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo bench --bench capacity --")]
pub(crate) struct Args {
    /// A few seconds in all: one short round of everything, to see that it works; its figures mean nothing
    #[arg(long)]
    pub(crate) quick: bool,

    /// Proxies, in order; those that are not installed are left out unless named here
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) peers: Vec<String>,

    /// Loads, or how their names begin; all if none is named. HTTP/1: closed-SIZE, rate-RATE, lone, fresh, idle. HTTP/2
    /// with proxy and origin: h2-CxS, h2-rate-RATE; the same with calls of gRPC: grpc-CxS, grpc-rate-RATE; before an
    /// origin of HTTP/1: h2-to-http1-CxS, h2-to-http1-rate-RATE. HTTP/1 in TLS: tls-SIZE, tls-fresh, tls-rate-RATE. And
    /// sweep, memory
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) loads: Vec<String>,

    /// Rounds; at least nine to judge differences of 5 %
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Length of one measurement
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS", value_parser = positive)]
    seconds: f64,

    /// Shards of mesher, threads or workers of the others; each proxy gets as many CPUs
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) shards: u16,

    /// CPUs for the origin and the load; as many as --shards if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    load_cpus: Option<u16>,

    /// Bytes of the answers under closed load; the first is used under all other loads
    #[arg(long, value_delimiter = ',', default_value = "128,16384", value_name = "BYTES")]
    pub(crate) sizes: Vec<u64>,

    /// Requests a second of the open loads; the last is used beside idle connections, in TLS and for HTTP/2
    #[arg(long, value_delimiter = ',', default_value = "1000,2000", value_name = "RATES", value_parser = positive)]
    pub(crate) rates: Vec<f64>,

    /// Connections of the closed loads of HTTP/1 and of the sweep
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = at_least_one)]
    pub(crate) connections: usize,

    /// Connections and streams of the loads of HTTP/2; the first is used at a fixed rate too
    #[arg(long, value_delimiter = ',', default_value = "16x10,4x1", value_name = "CxS", value_parser = streams)]
    pub(crate) streams: Vec<(usize, usize)>,

    /// Connections of the open loads of HTTP/1, and new connections at a time
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = at_least_one)]
    pub(crate) few_connections: usize,

    /// Idle connections held beside the last rate, and to measure memory
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    idle: usize,

    /// Requests a second a shard that the sweep steps through, upwards
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1000,2000,5000,10000,15000,20000,25000,30000,40000,50000,60000",
        value_name = "RATES",
        value_parser = positive
    )]
    sweep: Vec<f64>,

    /// Bounds of p99 for the sizing table, in milliseconds
    #[arg(long, value_delimiter = ',', default_value = "1,2,5", value_name = "MS", value_parser = positive)]
    pub(crate) p99_ms: Vec<f64>,

    /// mesher's binary; the one that cargo built for this bench if not given
    #[arg(long, value_name = "PATH")]
    pub(crate) mesher: Option<PathBuf>,

    /// Another mesher beside the first, with settings of mesher.yaml, e.g. epoll=net.driver:epoll,net.polling:false
    #[arg(long, value_name = "NAME=KEY:VALUE,...")]
    pub(crate) variant: Vec<String>,

    /// HAProxy's binary
    #[arg(long, value_name = "PATH", default_value = "haproxy")]
    pub(crate) haproxy: PathBuf,

    /// nginx's binary
    #[arg(long, value_name = "PATH", default_value = "nginx")]
    pub(crate) nginx: PathBuf,

    /// Envoy's binary
    #[arg(long, value_name = "PATH", default_value = "envoy")]
    pub(crate) envoy: PathBuf,

    /// Directory for JSON, .hgrm and SVG files
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/capacity"))]
    pub(crate) out: PathBuf,

    /// Given by cargo
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

impl Args {
    /// Rounds to run.
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds as usize }
    }

    /// Length of one measurement, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        if self.quick { 0.1 } else { self.seconds }
    }

    /// Idle connections to hold.
    pub(crate) fn idle(&self) -> usize {
        if self.quick { self.idle.min(QUICK_IDLE) } else { self.idle }
    }

    /// CPUs for origin and load.
    pub(crate) fn load_cpus(&self) -> usize {
        usize::from(self.load_cpus.unwrap_or(self.shards))
    }

    /// Rates of the sweep over all shards, in requests a second, upwards.
    pub(crate) fn sweep(&self) -> Vec<f64> {
        let mut rates: Vec<f64> = self.sweep.iter().map(|rate| rate * f64::from(self.shards)).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        if self.quick { rates.into_iter().take(2).collect() } else { rates }
    }

    /// Connections that each proxy must be able to have.
    pub(crate) fn connections_max(&self) -> usize {
        let multiplexed = self.streams.iter().map(|(connections, _)| *connections).max().unwrap_or(0);
        self.idle() + self.connections.max(self.few_connections).max(multiplexed) + 256
    }

    /// Memory is to be measured.
    pub(crate) fn memory(&self) -> bool {
        self.loads.is_empty() || self.loads.iter().any(|load| load == "memory")
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err("a number above 0 is needed".to_owned()),
    }
}

/// Connections and streams of each, as in `16x10`.
fn streams(text: &str) -> Result<(usize, usize), String> {
    let (connections, streams) = text.split_once('x').ok_or("CONNECTIONSxSTREAMS is needed, as in 16x10")?;
    Ok((at_least_one(connections)?, at_least_one(streams)?))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a whole number above 0 is needed".to_owned()),
        Ok(count) => Ok(count),
    }
}
