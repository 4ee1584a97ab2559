//! Binary upgrade: on SIGUSR2 a new process takes everything over from the running one, and no request fails.
//!
//! ```text
//!   old                                              new: same arguments and environment, perhaps another binary
//!    |  USR2
//!    |--- start; the listening sockets; Offer ------> |  reads the configuration, checks it whole, starts its shards,
//!    |    serves on                                   |  asks for the services known, registers under the same
//!    |                                                |  instance id; accepts nothing yet
//!    |<-- Ready, or Refused and why ------------------|
//!    |    admin stops
//!    |--- TakeOver ---------------------------------> |  admin starts, shards accept
//!    |<-- Serving ------------------------------------|
//!    |    accepts no longer, makes no more calls for
//!    |    the instance, answers `Connection: close`   |
//!    |    for the grace, ends with its last request
//!    x
//! ```
//!
//! - A listening socket is one for both: what waits in its queue is accepted by whoever asks next, so that between
//!   the two none is lost. Each address asked for that is not among them is bound anew; one that the new
//!   configuration no longer has ends with the old process.
//! - The instance goes over if both would register the same. If not, the new process registers one of its own once it
//!   serves, and the old one takes its own out as in any shutdown.
//! - Until `Serving`, whatever goes wrong (no such program, a broken configuration, a registry that does not answer, a
//!   crash, time) ends the new process and nothing else: the old one says why and serves on.
//! - If the old process dies before `TakeOver`, nobody serves: the new one takes over.
//! - At most one of the two answers on the admin port: a request that comes between waits in the socket's queue.
//!
//! The two talk over a Unix socket, the new process's standard input: first the listening sockets, then JSON, a line
//! each. Unknown members are ignored and missing ones have defaults, since the two may be of different versions.

mod executable;
mod handover;
mod predecessor;
mod successor;
mod words;

pub use predecessor::Predecessor;
pub(super) use successor::{NotReady, Prepared, Successor};
