//! Load: the origin that answers and the client that asks.
//!
//! Both run beside each other on the CPUs that the proxies do not get. [`Origin`] answers; [`run`] puts one [`Load`] on
//! an address and returns its [`Outcome`]; [`Held`] keeps idle connections open. A `generator` drives `client`s, which
//! a `dialer` makes: `http1`, in the clear or in `tls`, or `http2`.

mod client;
mod dialer;
mod generator;
mod held;
mod http1;
mod http2;
mod origin;
pub(crate) mod plan;
mod response;
mod run;
mod schedule;
mod spec;
mod tls;

pub(crate) use dialer::probe;
pub(crate) use generator::latencies;
pub(crate) use held::Held;
pub(crate) use origin::Origin;
pub(crate) use run::{Outcome, run};
pub(crate) use spec::{Load, Pattern, Wire};
