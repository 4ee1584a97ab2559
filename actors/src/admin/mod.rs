//! The admin interface: what people, probes and Prometheus ask mesher, on a port and a thread of its own, so that
//! a slow scrape never stalls traffic.
//!
//! ```text
//!   GET|HEAD  /v1/mesher/version              version, commit, date and I/O driver
//!             /v1/mesher/health               green (200) or red (500), with the reasons
//!             /v1/mesher/metrics  /metrics    Prometheus text format 0.0.4
//!             /live   /livez  /healthz        503 when a shard has died
//!             /ready  /readyz                 503 with reasons while mesher should get no traffic; ?verbose
//! ```
//!
//! Only reads: there is nothing here that a page in somebody's browser could change, and no answer allows another
//! origin to see it. Whoever adds a path that changes something must check `Host` and `Origin` first.
//!
//! Knows no configuration, registry or actor: it asks a [`View`] and reads the counters of a
//! [`Board`](crate::snapshot::stats::Board).

mod exposition;
mod metrics;
mod pages;
mod process;
mod server;
mod view;

#[cfg(test)]
mod tests;

pub use server::{AdminHandle, AdminOptions, start};
pub use view::{Build, ConfigState, Identity, Shard, View};
