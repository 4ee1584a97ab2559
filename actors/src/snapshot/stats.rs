//! Numbers that shards count and the admin reads: no lock and no atomic read-modify-write on the request path.
//!
//! Each [`Counter`] has exactly one writer, the shard it belongs to, so an increment is a plain load and store;
//! readers see a value that is at most a moment old. A shard makes its [`Series`] through [`ShardBoard::series`] the
//! first time it meets a service (a lock, once) and keeps the `Arc`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Failure;
pub use super::board::{Board, OVERFLOW, SERIES_MAX, ShardBoard};
use super::handshakes::Handshakes;

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning shard may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away (for gauges such as open connections). Only the owning shard may call this.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).saturating_sub(n), Ordering::Relaxed);
    }

    /// Sets the value. Only the owning shard may call this.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value as last written.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the latency buckets, seconds; the last bucket has none.
pub const LATENCY_BOUNDS: [f64; 18] = [
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0,
];

/// [`LATENCY_BOUNDS`] in microseconds, so that recording needs no floating point.
const LATENCY_BOUNDS_US: [u64; 18] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000,
    1_000_000, 2_500_000, 5_000_000, 7_500_000, 10_000_000,
];

/// How long requests took.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [Counter; LATENCY_BOUNDS.len() + 1],
    sum_us: Counter,
}

impl Latency {
    /// Counts one request of this duration.
    #[inline]
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(LATENCY_BOUNDS.len());
        if let Some(counter) = self.buckets.get(bucket) {
            counter.add(1);
        }
        self.sum_us.add(us);
    }

    /// Requests per bucket, not cumulated; the last entry is beyond the last bound.
    #[must_use]
    pub fn buckets(&self) -> [u64; LATENCY_BOUNDS.len() + 1] {
        self.buckets.each_ref().map(Counter::value)
    }

    /// Sum of all durations, seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a sum for a chart")]
    pub fn sum_seconds(&self) -> f64 {
        self.sum_us.value() as f64 / 1e6
    }
}

/// Which way a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the local service to another one.
    Outgoing,
    /// From another service to the local one.
    Incoming,
}

impl Direction {
    /// Label value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Outgoing => "outgoing",
            Self::Incoming => "incoming",
        }
    }
}

/// What a [`Series`] counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labels {
    /// Which way.
    pub direction: Direction,
    /// Application of the target.
    pub app: Arc<str>,
    /// Name of the target; empty for requests that never had one.
    pub service: Arc<str>,
    /// Version of the target; empty if unknown.
    pub version: Arc<str>,
}

/// Kinds of answers: the hundreds of HTTP statuses, and no answer at all.
pub const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// Requests by why mesher answered itself (row 0: it did not; row 1 + discriminant: that [`Failure`]) and by the
/// kind of their answer (column: index in [`CLASSES`]). One cell a request, so that every sum over cells only grows.
pub type Outcomes<T> = [[T; CLASSES.len()]; 1 + Failure::ALL.len()];

/// Statuses that gRPC has: 0 to 16.
pub const GRPC_STATUSES: usize = 17;

/// Counters of one target on one shard. Aligned so that two shards never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct Series {
    /// What is counted.
    pub labels: Labels,
    /// Finished requests.
    pub outcomes: Outcomes<Counter>,
    /// Calls of gRPC by their status (`grpc-status`), 0 being success. They are requests too.
    pub grpc: [Counter; GRPC_STATUSES],
    /// Attempts beyond the first of their request.
    pub retries: Counter,
    /// From the request head having arrived to the last byte of the answer.
    pub latency: Latency,
}

impl Series {
    pub(super) fn new(labels: Labels) -> Self {
        Self {
            labels,
            outcomes: Default::default(),
            grpc: Default::default(),
            retries: Counter::default(),
            latency: Latency::default(),
        }
    }

    /// Counts a finished request: the status sent (0 if none) and why mesher answered itself, if it did.
    #[inline]
    pub fn record(&self, status: u16, failure: Option<Failure>, took: Duration) {
        let class = match status / 100 {
            class @ 1..=5 => usize::from(class) - 1,
            _ => CLASSES.len() - 1,
        };
        let row = failure.map_or(0, |failure| 1 + failure as usize);
        if let Some(counter) = self.outcomes.get(row).and_then(|row| row.get(class)) {
            counter.add(1);
        }
        self.latency.record(took);
    }

    /// Counts the outcome of a call of gRPC. A number that is no status counts as UNKNOWN (2).
    #[inline]
    pub fn record_grpc(&self, status: u8) {
        let known = self.grpc.get(usize::from(status)).or_else(|| self.grpc.get(2));
        if let Some(counter) = known {
            counter.add(1);
        }
    }
}

/// Numbers of one shard that belong to no service. Aligned so that two shards never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardStats {
    /// Connections accepted.
    pub accepted: Counter,
    /// Downstream connections open now.
    pub downstream_open: Counter,
    /// HTTP/2 connections of clients that were ended because the client wasted them.
    pub downstream_http2_calmed: Counter,
    /// Upstream connections made.
    pub upstream_connects: Counter,
    /// Upstream connections open now, idle or in use.
    pub upstream_open: Counter,
    /// Upstream connections open now that speak HTTP/2; they are among `upstream_open`.
    pub upstream_http2_open: Counter,
    /// Upstream HTTP/2 connections that were ended because the peer flooded or wasted them.
    pub upstream_http2_calmed: Counter,
    /// Calls that have a place on an upstream HTTP/2 connection now.
    pub upstream_http2_streams: Counter,
    /// Requests sent on a pooled connection.
    pub upstream_reused: Counter,
    /// Requests in flight now.
    pub requests_in_flight: Counter,
    /// TLS handshakes with clients.
    pub handshakes_downstream: Handshakes,
    /// TLS handshakes with clients that are under way.
    pub handshakes_in_flight: Counter,
    /// TLS handshakes with upstreams.
    pub handshakes_upstream: Handshakes,
    /// Connection tasks that panicked.
    pub panics: Counter,
    /// Times accepting had to pause: at the bound of connections, out of file descriptors, short of memory.
    pub accept_pauses: Counter,
    /// Version of the snapshot in use.
    pub snapshot: Counter,
    /// Turns of the event loop since start; stands still when the shard is stuck (or idle).
    pub turns: Counter,
    /// Lives after the first: the shard died and was started again.
    pub restarts: Counter,
}

impl ShardStats {
    /// The next life of the shard. Counters count on; what was open or under way has ended with the last one.
    pub(super) fn begin_again(&self) {
        self.restarts.add(1);
        for gauge in [&self.downstream_open, &self.upstream_open, &self.requests_in_flight, &self.snapshot] {
            gauge.set(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::handshakes::TlsFailure;

    #[test]
    fn latency_falls_into_the_first_bucket_whose_bound_it_does_not_exceed() {
        let latency = Latency::default();
        for us in [0, 250, 251, 10_000_000, 10_000_001] {
            latency.record(Duration::from_micros(us));
        }
        let buckets = latency.buckets();
        assert_eq!((buckets[0], buckets[1], buckets[17], buckets[18]), (2, 1, 1, 1));
    }

    #[test]
    fn a_failed_handshake_counts_under_its_cause() {
        let handshakes = Handshakes::default();
        for (index, failure) in TlsFailure::ALL.into_iter().enumerate() {
            handshakes.count(Err(failure));
            assert_eq!((failure as usize, handshakes.failed[index].value()), (index, 1));
        }
        handshakes.count(Ok(true));
        assert_eq!((handshakes.full.value(), handshakes.resumed.value()), (0, 1));
    }

    #[test]
    fn bounds_in_seconds_and_microseconds_agree() {
        for (seconds, us) in LATENCY_BOUNDS.iter().zip(LATENCY_BOUNDS_US) {
            assert!((seconds * 1e6 - us as f64).abs() < 1e-6);
        }
    }

    #[test]
    fn a_finished_request_counts_in_the_one_cell_of_its_cause_and_its_status() {
        let series = Series::new(Labels {
            direction: Direction::Incoming,
            app: "".into(),
            service: "s".into(),
            version: "".into(),
        });
        series.record(204, None, Duration::ZERO);
        series.record(431, Some(Failure::ClientProtocolError), Duration::ZERO);
        series.record(0, Some(Failure::ClientGone), Duration::ZERO);
        let mut cells = Vec::new();
        for (row, classes) in series.outcomes.iter().enumerate() {
            let counted = classes.iter().zip(CLASSES).filter(|(counter, _)| counter.value() > 0);
            cells.extend(counted.map(|(counter, class)| (row, class, counter.value())));
        }
        let row = |failure: Failure| 1 + failure as usize;
        let expected = [
            (0, "2xx", 1),
            (row(Failure::ClientGone), "none", 1),
            (row(Failure::ClientProtocolError), "4xx", 1),
        ];
        assert_eq!(cells, expected);
    }
}
