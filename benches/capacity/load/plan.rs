//! The loads, as a list.

use std::time::Duration;

use serde::Serialize;

use crate::args::Args;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pattern {
    /// Each connection asks again as soon as it is answered.
    Closed,
    /// As closed, over a new connection each time.
    Fresh,
    /// At fixed times, `rate` a second, whatever the answers do.
    Open {
        /// Requests a second over all connections.
        rate: f64,
    },
}

/// One way of putting load on a proxy.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Load {
    /// Names it in options, tables and files.
    pub(crate) name: String,
    /// When requests are sent.
    pub(crate) pattern: Pattern,
    /// Connections in use.
    pub(crate) connections: usize,
    /// Bytes of each answer's body.
    pub(crate) bytes: u64,
    /// Connections held open beside them.
    pub(crate) idle: usize,
    /// One step of the sweep over rates, which the curves and the sizing table are made of.
    pub(crate) sweep: bool,
}

impl Load {
    /// What it does, for people.
    pub(crate) fn title(&self) -> String {
        let connections = match self.connections {
            1 => "one connection".to_owned(),
            count => format!("{count} connections"),
        };
        let idle =
            if self.idle > 0 { format!(", beside {} idle connections", self.idle) } else { String::new() };
        match self.pattern {
            Pattern::Closed => format!("{connections}, closed loop, {} B{idle}", self.bytes),
            Pattern::Fresh => format!(
                "a new connection per request, {} at a time, {} B{idle}",
                self.connections, self.bytes
            ),
            Pattern::Open { rate } => format!("{rate} requests/s on {connections}, {} B{idle}", self.bytes),
        }
    }

    /// How long it runs: the steps of the sweep are many, so each is short.
    pub(crate) fn length(&self, args: &Args) -> Duration {
        let seconds = if self.sweep { args.seconds().min(1.0) } else { args.seconds() };
        Duration::from_secs_f64(seconds)
    }
}

/// Every load that the options name, in the order in which they run.
///
/// # Errors
/// A name in `--loads` that is none of them.
pub(crate) fn loads(args: &Args) -> Result<Vec<Load>, String> {
    let all = every(args);
    let known = |wanted: &str| all.iter().any(|load| is(load, wanted)) || wanted == "memory";
    if let Some(unknown) = args.loads.iter().find(|wanted| !known(wanted)) {
        let names: Vec<_> = all.iter().filter(|load| !load.sweep).map(|load| load.name.as_str()).collect();
        return Err(format!("no load `{unknown}`; there are {}, sweep and memory", names.join(", ")));
    }
    let wanted = |load: &Load| args.loads.is_empty() || args.loads.iter().any(|name| is(load, name));
    Ok(all.iter().filter(|load| wanted(load)).cloned().collect())
}

fn is(load: &Load, name: &str) -> bool {
    load.name == name || (load.sweep && name == "sweep")
}

fn every(args: &Args) -> Vec<Load> {
    let size = args.sizes.first().copied().unwrap_or(128);
    let load = |name: String, pattern, connections| Load {
        name,
        pattern,
        connections,
        bytes: size,
        idle: 0,
        sweep: false,
    };
    let few = args.few_connections;
    let mut all: Vec<Load> = args
        .sizes
        .iter()
        .map(|&bytes| Load { bytes, ..load(format!("closed-{bytes}"), Pattern::Closed, args.connections) })
        .collect();
    all.extend(args.rates.iter().map(|&rate| load(format!("rate-{rate}"), Pattern::Open { rate }, few)));
    all.push(load("lone".to_owned(), Pattern::Closed, 1));
    all.push(load("fresh".to_owned(), Pattern::Fresh, few));
    if let Some(rate) = args.rates.last().copied().filter(|_| args.idle() > 0) {
        all.push(Load { idle: args.idle(), ..load("idle".to_owned(), Pattern::Open { rate }, few) });
    }
    all.extend(args.sweep().into_iter().map(|rate| Load {
        sweep: true,
        ..load(format!("sweep-{rate}"), Pattern::Open { rate }, args.connections)
    }));
    all
}
