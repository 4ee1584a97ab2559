//! Load: the origin that answers and the client that asks.
//!
//! Both run beside each other on the CPUs that the proxies do not get. [`Origin`] answers `/b/N` with N bytes;
//! [`run`] puts one [`Load`] on an address and returns its [`Outcome`]; [`Held`] keeps idle connections open.

mod client;
mod generator;
mod held;
mod origin;
pub(crate) mod plan;
mod response;
mod run;
mod schedule;

pub(crate) use generator::latencies;
pub(crate) use held::Held;
pub(crate) use origin::Origin;
pub(crate) use plan::{Load, Pattern};
pub(crate) use run::{Outcome, run};
