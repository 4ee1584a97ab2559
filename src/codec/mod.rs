//! HTTP/1.1 as bytes (RFC 9110, RFC 9112): heads, framing, bodies, and the writer of what is forwarded; the same rules for
//! single fields and targets that HTTP/2 delivers already taken apart; and the fields that gRPC adds to HTTP/2 ([`grpc`]).
//!
//! Pure: no I/O, no clock, no randomness, and nothing of the rest of mesher. The connection driver appends bytes,
//! asks whether a head is complete, follows the body piece by piece, and writes heads anew for the next hop.
//!
//! Invariants
//! - **Strict.** What two recipients could read in two ways is a [`Reject`]; there is no lenient mode. After a
//!   reject the connection is answered and closed, never read on.
//! - **Split-invariant.** However the input is cut into pieces, the outcome is the same, to the byte offset of a
//!   reject. A verdict, once given, is never changed by later bytes.
//! - **Never laxer than the grammar on the way out.** The writer adds no byte of its own judgement: what was accepted
//!   can be sent, and what is dropped (chunk extensions, optional white space) never leaves.
//! - **No allocation per message** once buffers have grown to the usual size of a head.

#![deny(clippy::arithmetic_side_effects)]

mod authority;
mod body;
mod bytes;
mod chunked;
mod connection;
mod date;
mod field;
mod first_bytes;
mod frame_budget;
mod frames;
mod framing;
#[doc(hidden)]
pub mod fuzzing;
pub mod grpc;
mod head;
mod limits;
mod line;
mod names;
#[cfg(test)]
mod properties;
mod reject;
mod request;
mod response;
mod status;
mod target;
mod trailers;
pub mod write;

pub use authority::Authority;
pub use body::{Body, Forwarded, Outgoing};
pub use date::{DateText, imf_fixdate};
pub use field::{is_trailer, judge_field, judge_method};
pub use first_bytes::FirstBytes;
pub use frames::{FrameFault, FrameWatch, MESSAGE_BYTES_MIN};
pub use framing::Framing;
pub use head::{Header, HeaderLine, Parse, Span, Version};
pub use limits::Limits;
pub use names::Known;
pub use reject::Reject;
pub use request::RequestHead;
pub use response::{RequestKind, ResponseHead};
pub use status::reason;
pub use target::Target;
