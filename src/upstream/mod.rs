//! Connections to upstreams: made, kept for reuse, let go.
//!
//! Pools belong to a shard and are never shared. `pool` is the bookkeeping, pure and generic over what a
//! connection is; `connections` applies it to sockets. A connection of HTTP/2 carries many calls and is pooled otherwise:
//! [`http2`].

mod connections;
pub mod http2;
mod pool;

pub use connections::{Connection, Settings, Upstreams};
