//! A whole mesher: configuration in, control plane, admin and shards started, signals followed, drained at the end.
//!
//! ```text
//!   Settings (from the configuration) -> Sockets (bound, all or nothing) -> Node (everything running)
//!                                                                             |  supervise: shards that die start again
//!                                                                             |  drain: withdraw, announce, close, cut
//! ```
//!
//! A process may run several nodes; the demo does.

mod drain;
mod node;
mod registry;
mod service_ports;
mod settings;
mod signals;
mod sockets;
mod view;

pub use drain::Drained;
pub use node::{Node, StartError};
pub use service_ports::{ServicePort, ServicePorts, ServicePortsError};
pub use settings::{DrainSettings, Given, Mode, Settings};
pub use signals::{Signal, Signals};
pub use sockets::{BindError, Sockets};
