//! Choosing one of a service's endpoints: one strategy a file, no I/O, no clock, randomness as an argument.
//!
//! A strategy chooses an index below the number of endpoints and never one that the request has [`Tried`] already,
//! so a retry always goes somewhere else; `None` means that nothing is left to try.

mod random;
mod round_robin;
mod tried;

pub use random::Random;
pub use round_robin::RoundRobin;
pub use tried::{ATTEMPTS_MAX, Tried};

use mesher_actors::snapshot::Strategy;

/// A strategy and what it remembers, for one service on one shard.
#[derive(Debug)]
pub enum Balancer {
    /// Each in turn.
    RoundRobin(RoundRobin),
    /// Uniformly at random.
    Random(Random),
}

impl Balancer {
    /// A balancer that starts anywhere, so that many meshers do not all begin at the first endpoint.
    #[must_use]
    pub fn new(strategy: Strategy, random: u64) -> Self {
        match strategy {
            Strategy::RoundRobin => Self::RoundRobin(RoundRobin::starting_at(random)),
            Strategy::Random => Self::Random(Random),
        }
    }

    /// Index of the endpoint to call next, of `count` endpoints, skipping those in `tried`.
    pub fn pick(&mut self, count: usize, tried: &Tried, random: u64) -> Option<usize> {
        match self {
            Self::RoundRobin(strategy) => strategy.pick(count, tried),
            Self::Random(strategy) => strategy.pick(count, tried, random),
        }
    }
}
