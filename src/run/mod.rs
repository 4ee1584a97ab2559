//! A whole mesher: configuration in, control plane, admin and shards started, signals followed, drained at the end.
//!
//! ```text
//!   Settings (from the configuration) -> Sockets (bound, all or nothing) -> Node (everything running)
//!                                                                             |  supervise: shards that die start again
//!                                                                             |  reload: new settings for what runs
//!                                                                             |  upgrade: hand over to another process
//!                                                                             |  drain: withdraw, announce, close, cut
//! ```
//!
//! A process may run several nodes; the demo does.

pub mod about;
mod certificates;
mod drain;
mod memory;
mod node;
mod registration;
mod registry;
mod reload;
mod service_ports;
mod settings;
mod signals;
mod sockets;
mod upgrade;
mod view;

pub use drain::{Drained, HandedOver};
pub use node::{Happening, Node, StartError};
pub use reload::needs_restart;
pub use service_ports::{ServicePort, ServicePorts, ServicePortsError};
pub use settings::{DrainSettings, Given, Mode, Settings};
pub use signals::{Signal, Signals};
pub use sockets::{BindError, Sockets};
pub use upgrade::Predecessor;

#[cfg(test)]
mod tests;
