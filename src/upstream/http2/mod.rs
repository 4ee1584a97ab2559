//! Upstream HTTP/2: few connections that carry many calls each.
//!
//! Think of lifts in a house. A caller asks an [`Endpoint`] for a place and gets it at once in the first lift that has one
//! ([`Endpoint::ready`]); only when all are full is another lift built, and only one at a time; who finds none waits in a
//! bounded queue and is served first come, first served. A [`Ready`] place becomes a [`Call`] by sending a request; its
//! [`Lease`] is the place itself, given back when dropped.
//!
//! A connection serves until its peer says GOAWAY, it is too old, or nobody has used it for a while (at once if
//! memory is short). From then on it is
//! *retired*: no new calls, those under way finish, then GOAWAY(NO_ERROR) and the end. A connection whose peer does not
//! answer a PING is dropped, and its calls fail.
//!
//! A call that is given up is cancelled by RST_STREAM. Peers count those that come before they have answered, so only a few
//! are sent at once; the others keep their places until they are answered or it is their turn, and the connection *rests*:
//! as long as there may be another, new calls do not go to it.
//!
//! What is decided is pure and takes time as an argument: `choice` (which connection), `pulse` (age, idleness, pings),
//! `pace` (when to cancel), `error` (what a failure means). `queue` is who waits. `wire` (the socket), `link` (one connection as its users see it),
//! `driver` (its task), `call`, `endpoint` and `endpoints` apply them. The `h2` crate speaks the protocol; it has no clock, so every
//! time-out is here.

mod call;
mod choice;
mod driver;
mod endpoint;
mod endpoints;
mod error;
mod link;
mod pace;
mod pulse;
mod queue;
mod settings;
mod wire;

pub use call::{Answer, Call, Lease, Ready};
pub use choice::ABREAST;
pub use endpoint::{Dial, Endpoint};
pub use error::{CallError, Cause};
pub use settings::Settings;

pub(super) use endpoints::Endpoints;

#[cfg(test)]
mod tests;
