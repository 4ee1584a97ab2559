//! What is counted of a request, whatever it came by.

use std::sync::Arc;
use std::time::Instant;

use mesher_actors::snapshot::Failure;
use mesher_actors::snapshot::stats::{Direction, Series, ShardStats};

use super::context::Context;
use crate::handler::Call;
use crate::net;

/// Counts a request while it is carried, a panic in the middle included.
pub(super) struct InFlight<'a>(&'a ShardStats);

impl<'a> InFlight<'a> {
    pub(super) fn new(stats: &'a ShardStats) -> Self {
        stats.requests_in_flight.add(1);
        Self(stats)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.requests_in_flight.sub(1);
    }
}

/// Counts a request that has ended: the status sent (0 if none) and why mesher answered itself, if it did. Returns where it
/// was counted.
pub(super) fn finish<'a>(
    ctx: &'a Context,
    direction: Direction,
    call: &'a Call,
    (status, failure): (u16, Option<Failure>),
    started: Instant,
) -> &'a Arc<Series> {
    let series = call.target.as_ref().map_or_else(|| ctx.unrouted(direction), |target| &target.series);
    series.retries.add(call.tried.count().saturating_sub(1) as u64);
    series.record(status, failure, net::now().saturating_duration_since(started));
    series
}
