//! HTTP/1 as one side of a relay whose other side speaks HTTP/2: bodies out of their framing and into it, heads turned into
//! fields and back. Between two sides of HTTP/1 none of this is used.

mod client;
mod head;
mod origin;
mod payload;
mod request_body;
mod writer;

pub(super) use client::TextClient;
pub(super) use head::{request_of, write_request};
pub(super) use origin::TextOrigin;
pub(super) use request_body::RequestBody;
pub(super) use writer::{Form, TextWriter};
