//! The control plane of mesher: configuration, registries, balancers, health checks and the admin interface.
//!
//! Everything here runs on the control thread (and the admin on its own); nothing here is on the path of a
//! request. What the data plane may see of it is [`snapshot`], and nothing else.

pub mod admin;
pub mod balancer;
pub mod config;
pub mod control;
pub mod demo;
pub mod health;
pub mod logging;
pub mod registry;
pub mod snapshot;
pub mod state;
pub mod status;
pub mod supervisor;

mod one_line;
mod route;
mod web_thread;
