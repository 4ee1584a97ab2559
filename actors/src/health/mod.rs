//! Checks of the local service: while one of them fails, the registry is told that our instance is DOWN.
//!
//! As Mesher's `localHealthCheck`, with two differences. All checks must succeed (there each acts alone, and two that
//! disagree flip the status with every tick). And a check is run at start, not one interval later, and more often
//! while it fails, so that a service which has just come up is called soon.

mod actor;
mod probe;
mod settings;
mod verdict;

pub use probe::{Check, Probe, ProbeError};

pub(crate) use actor::Health;
pub(crate) use verdict::Verdict;
