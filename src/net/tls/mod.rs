//! TLS on a TCP connection: plaintext on one side, records on the other. rustls does the protocol; `records` moves bytes between it, the
//! socket and the caller, and `session` is that as a connection's two ends see it. Knows no HTTP and no configuration;
//! [`Stream`](super::Stream) drives it.
//!
//! ```text
//!   socket --recv--> the shard's wire buffer --> rustls --> caller's buffer      what the caller has no room for stays in rustls
//!   caller's buffer --> rustls --> records --one send--> socket                  what the socket does not take stays in rustls
//! ```
//!
//! Two rules make a secured connection look like a plain one:
//!
//! - **A write that is reported whole has left.** While records of a write wait for the socket its last byte is not reported as written,
//!   so whoever has written all of a message has nothing to flush before the connection is pooled, closed or forgotten.
//! - **Only plaintext counts as input.** Tickets and key updates on an idle connection are taken in by whoever asks whether it is stale.

mod error;
pub mod fuzzing;
mod records;
mod session;

pub use error::TlsError;
pub(super) use session::Session;
