//! mesher: a service-mesh sidecar and API gateway.
//!
//! This crate is the data plane and the wiring; the control plane is `mesher-actors`. Rooms, lowest first; each may
//! use those before it and none after it (a test holds this):
//!
//! | room | what it is |
//! |---|---|
//! | [`codec`] | HTTP/1 as bytes; pure |
//! | [`balance`] | choosing an endpoint; pure |
//! | [`handler`] | the chain that decides what becomes of a request; pure |
//! | [`net`] | sockets, drivers, timers, tasks: the only room that knows I/O |
//! | [`upstream`] | connections to upstreams |
//! | [`proxy`] | one downstream connection, from its first byte to its last |
//! | [`shard`] | one thread: listeners, snapshots in, numbers out |
//! | [`run`] | a whole mesher: control plane, shards, signals, drain |
//! | [`cmd`] | the command line |

pub mod balance;
pub mod cmd;
pub mod codec;
pub mod handler;
pub mod net;
pub mod proxy;
pub mod run;
pub mod shard;
pub mod upstream;
