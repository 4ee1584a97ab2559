//! One downstream connection: requests in, through the chain, to an upstream and back, in order.
//!
//! Reading order: `connection` finds whole request heads and keeps a connection going, `secure` is for those that come
//! over TLS; `exchange` carries one request: `route` finds its target, each attempt is a `transfer` of an `upload` and a
//! `download`, `tunnel` is for what is no longer HTTP; `forward` and `reply` write heads, pure. Where HTTP/2 is on either
//! side, `http2` takes the streams of clients, `crossover` the requests of HTTP/1; `attempts` carry both, each a `relay`
//! of two pumps (`flow`) between the sources and sinks of `http2` and `text`; `message` judges and changes heads,
//! `interims` counts those before the last, and `grpc` knows what a call asks for, pure. `drain`, `lookup`, `terms` (with `local`) and `recycle` are what a shard's
//! connections share, gathered in [`Context`].

mod account;
mod attempts;
mod connection;
mod context;
mod crossover;
mod dates;
mod download;
mod drain;
mod exchange;
mod flow;
mod forward;
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod handshakes;
mod http2;
mod interims;
mod local;
mod lookup;
mod message;
mod policies;
mod recycle;
mod relay;
mod reply;
mod route;
mod secure;
mod settings;
mod terms;
mod text;
mod transfer;
mod tunnel;
mod upload;

pub use connection::serve;
pub use context::{Context, Ingress, Presents};
pub use drain::Phase;
pub use policies::{Policies, ServiceLabels};
pub use settings::Settings;
