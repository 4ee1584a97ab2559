//! HTTP/2 from clients: one connection, a task for it and one for each stream.
//!
//! `connection` accepts streams and watches over time, shutdown and abuse, `watched` over frames that are bad in themselves; `limits` are its bounds, each with its reason;
//! `session` is what the streams share. `stream` carries one request from its head to its end; `tunnel` is CONNECT. `body`,
//! `responder` and `callee` are the streams of the `h2` crate as the sources and sinks of a relay: beside `connection` the
//! only files that know that crate.

mod ahead;
mod body;
mod callee;
mod connection;
mod limits;
mod responder;
mod saved;
mod session;
mod stream;
mod tunnel;
mod watched;

pub(super) use callee::call;
pub(super) use connection::serve;
pub(super) use saved::{restore, save};
pub(super) use session::Session;
