//! What the tests of the whole binary share: peers to talk to it, and a way to start and watch it.
//!
//! - [`conf`] writes a configuration directory, [`process`] runs the binary on it;
//! - [`mesh`] starts the usual sidecars, on each I/O driver; [`fleet`] is a service-center with sidecars around it;
//! - [`client`] speaks raw HTTP/1.1 to it, [`load`] calls it at a steady rate;
//! - [`origin`] is a scripted service behind it, [`hand`] one that is played by hand;
//! - [`tls`] makes certificates and a client that speaks TLS;
//! - [`servicecenter`] is a service-center with a clock one can move, [`replay`] holds it to recordings;
//! - [`net`] finds free addresses, [`wait`] waits for conditions: nothing else here may pause;
//! - [`server`] and [`wire`] are what the peers have in common.
//!
//! Every helper that waits has a deadline and panics with what it waited for. Everything started is ended on drop.
#![allow(dead_code, reason = "a theme uses what it needs; not every helper has a user in every build")]

pub(crate) mod client;
pub(crate) mod conf;
pub(crate) mod fleet;
pub(crate) mod hand;
pub(crate) mod load;
pub(crate) mod mesh;
pub(crate) mod net;
pub(crate) mod origin;
pub(crate) mod process;
pub(crate) mod replay;
pub(crate) mod server;
pub(crate) mod servicecenter;
pub(crate) mod tls;
pub(crate) mod wait;
pub(crate) mod wire;
