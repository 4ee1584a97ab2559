//! When the requests of an open loop are meant to be sent. Pure.
//!
//! The times are fixed before the first request goes out and do not move when answers are late: latency counted from
//! them includes the wait of a request that could not be sent in time (no coordinated omission).

use std::time::Duration;

/// Evenly spaced times since the start; one generator's share of them.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    rate: f64,
    total: u64,
    next: u64,
    stride: u64,
}

impl Schedule {
    /// `rate` requests a second for `length`, dealt out in turn to `generators`, of which this is number `index`.
    pub(crate) fn new(rate: f64, length: Duration, index: usize, generators: usize) -> Self {
        let total = (rate * length.as_secs_f64()).round() as u64;
        Self { rate, total, next: index as u64, stride: generators.max(1) as u64 }
    }

    /// When the next request is meant to be sent; `None` after the last.
    pub(crate) fn next(&self) -> Option<Duration> {
        (self.next < self.total).then(|| Duration::from_secs_f64(self.next as f64 / self.rate))
    }

    /// The next request was sent.
    pub(crate) fn advance(&mut self) {
        self.next += self.stride;
    }
}
