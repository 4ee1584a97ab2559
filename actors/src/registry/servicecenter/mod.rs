//! Apache ServiceComb service-center, API v4, as a registry.
//!
//! Three pure machines decide what to do and when: `registrar` (our own registration), `discovery` (the names
//! asked for) and `watch` (the socket on which service-center tells of changes). They are given time, chance and
//! outcomes, and do no I/O. `client` and `socket` carry out one call or one connection each, [`wire`] alone
//! knows the bytes, and `source` is the loop that joins them.
//!
//! ```text
//!   commands ─► source ─► registrar / discovery / watch ─► call ─► client / socket ─► service-center
//!   events  ◄──── ▲ ◄───────── answers, states ◄──────── outcome ◄──────┘
//! ```
//!
//! Service-center being down never ends the source. What was found stays found: an error keeps it, and an empty
//! answer replaces instances only when it is repeated (`watched`).

mod backoff;
mod call;
mod client;
mod discovery;
mod error;
mod reach;
mod registrar;
mod settings;
mod socket;
mod source;
mod watch;
mod watched;
pub mod wire;

#[cfg(test)]
mod peer;

pub use settings::{Address, ServiceCenterSettings};
pub use source::ServiceCenter;
