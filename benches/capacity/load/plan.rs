//! The loads, as a list.

use super::http2;
use super::spec::{Load, Pattern, Request, Wire};
use crate::args::Args;

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

/// The load has this name, or its name begins with it: `tls` names `tls-128` and `tls-fresh`.
fn is(load: &Load, name: &str) -> bool {
    load.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn every(args: &Args) -> Vec<Load> {
    [http1(args), http2(args), tls(args), sweep(args)].concat()
}

fn size(args: &Args) -> u64 {
    args.sizes.first().copied().unwrap_or(128)
}

fn http1(args: &Args) -> Vec<Load> {
    let few = args.few_connections;
    let load =
        |name: &str, pattern, connections| Load::http1(name.to_owned(), pattern, connections, size(args));
    let mut all: Vec<Load> = Vec::new();
    all.extend(
        args.sizes.iter().map(|&bytes| Load {
            bytes,
            ..load(&format!("closed-{bytes}"), Pattern::Closed, args.connections)
        }),
    );
    all.extend(args.rates.iter().map(|&rate| load(&format!("rate-{rate}"), Pattern::Open { rate }, few)));
    all.push(load("lone", Pattern::Closed, 1));
    all.push(load("fresh", Pattern::Fresh, few));
    if let Some(rate) = args.rates.last().copied().filter(|_| args.idle() > 0) {
        all.push(Load { idle: args.idle(), ..load("idle", Pattern::Open { rate }, few) });
    }
    all
}

/// HTTP/2 from end to end, gRPC, and HTTP/2 before an origin that speaks HTTP/1.
fn http2(args: &Args) -> Vec<Load> {
    let kinds = [
        ("h2", Wire::Http2, Request::Get, http2::ANSWER_BYTES),
        ("grpc", Wire::Http2, Request::Unary, http2::MESSAGE_BYTES),
        ("h2-to-http1", Wire::Http2ToHttp1, Request::Get, http2::ANSWER_BYTES),
    ];
    let mut all = Vec::new();
    for (kind, wire, request, bytes) in kinds {
        let load = |name: String, pattern, connections, streams| Load {
            wire,
            request,
            streams,
            ..Load::http1(name, pattern, connections, bytes)
        };
        all.extend(args.streams.iter().map(|&(connections, streams)| {
            load(format!("{kind}-{connections}x{streams}"), Pattern::Closed, connections, streams)
        }));
        // Few connections with many streams, as clients of HTTP/2 have them.
        let (connections, streams) = args.streams.first().copied().unwrap_or((1, 1));
        all.extend(
            args.rates.last().map(|&rate| {
                load(format!("{kind}-rate-{rate}"), Pattern::Open { rate }, connections, streams)
            }),
        );
    }
    all
}

/// HTTP/1 in TLS before an origin without.
fn tls(args: &Args) -> Vec<Load> {
    let bytes = size(args);
    let load = |name: String, pattern, connections| Load {
        wire: Wire::Tls,
        ..Load::http1(name, pattern, connections, bytes)
    };
    let few = args.few_connections;
    let mut all = vec![
        load(format!("tls-{bytes}"), Pattern::Closed, args.connections),
        load("tls-fresh".to_owned(), Pattern::Fresh, few),
    ];
    all.extend(args.rates.last().map(|&rate| load(format!("tls-rate-{rate}"), Pattern::Open { rate }, few)));
    all
}

fn sweep(args: &Args) -> Vec<Load> {
    let step = |rate| Load {
        sweep: true,
        ..Load::http1(format!("sweep-{rate}"), Pattern::Open { rate }, args.connections, size(args))
    };
    args.sweep().into_iter().map(step).collect()
}
