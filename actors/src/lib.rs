//! The control plane of mesher: configuration, registries, balancers, health checks and the admin interface.
//!
//! Everything here runs on the control thread (and the admin on its own); nothing here is on the path of a
//! request. What the data plane may see of it is [`snapshot`], and nothing else.
//!
//! | room | what it is |
//! |---|---|
//! | [`snapshot`] | what shards see: services and their endpoints, failures, counters, the port between the two planes |
//! | [`config`] | files, environment and flags as one space of keys, each with its origin; what is wrong with them |
//! | [`registry`] | sources of instances: service-center, a file; the watcher that keeps one of them alive |
//! | [`balancer`] | which instances of a service are called, and how one of them is chosen |
//! | [`tls`] | the keys `ssl.*` and their files, as configurations of TLS that follow them |
//! | [`health`] | checks of the local service |
//! | [`control`] | all of it as one thread, started and stopped as a whole |
//! | [`supervisor`] | starts what died again |
//! | [`status`] | what all of it is doing, for people and probes |
//! | [`state`] | the last good answers, on disk |
//! | [`admin`] | pages and metrics on a port of their own |
//! | [`memory`] | whether memory is short |
//! | [`logging`] | the log, its files and their rotation |
//! | [`demo`] | the service of `mesher demo` |

pub mod admin;
pub mod balancer;
pub mod config;
pub mod control;
pub mod demo;
pub mod health;
pub mod logging;
pub mod memory;
pub mod registry;
pub mod snapshot;
pub mod state;
pub mod status;
pub mod supervisor;
pub mod tls;

mod file_watch;
mod one_line;
mod route;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod seeds;
mod web_thread;
