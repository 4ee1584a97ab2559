//! HTTP/2 frame by frame, as cheap as it can be made: origin and load share CPUs, and what they cost is not the proxy's.
//!
//! `frame`, `fields` and `link` are what both ends need, pure; [`Multiplexed`] is a connection of the load,
//! [`Answering`] one of the origin. Field blocks are never decoded: the load knows an answer by its status, its
//! bytes and the end of its stream, and the origin a call of gRPC by its having a body.

mod answering;
mod fields;
mod frame;
mod link;
mod multiplexed;

pub(super) use answering::Answering;
pub(super) use multiplexed::{Multiplexed, Question};

/// Bytes of the origin's answers to GET: it does not read paths.
pub(crate) const ANSWER_BYTES: u64 = 128;

/// Bytes of the message that answers a call of gRPC, its prefix of five not counted.
pub(crate) const MESSAGE_BYTES: u64 = 23;
