//! What the data plane sees of the world: plain, immutable values built whole by the control plane and swapped whole.
//!
//! This is the only module of the control plane that the data plane may name. Nothing here knows an actor, a
//! runtime, a socket or a clock. A shard receives an `Arc<Snapshot>` over a channel ([`port`]), wraps it in an
//! `Rc` once, and a request keeps the snapshot it started with to its end.
//!
//! Invariants
//! - A [`Service`] that did not change between two snapshots is the same `Arc` in both, so a shard can compare by
//!   pointer and touch only what changed ([`Snapshot::changed`]).
//! - [`Service::endpoints`] lists what may be called now: right version, right application, in a callable status.
//!   Balancing strategies choose among them and never filter again.

mod board;
pub mod failure;
pub mod handshakes;
pub mod port;
pub mod stats;
pub mod tls;
mod tls_reason;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use failure::Failure;
pub use tls::{Tls, TlsClient, TlsServer};
pub use tls_reason::TlsReason;

/// Services by name, as written in a request's authority (case is significant, as in service-center).
pub type ServiceMap = HashMap<Arc<str>, Resolution, foldhash::fast::RandomState>;

/// The world as of one publication.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Counts publications, from 1; 0 is the empty snapshot a shard starts with.
    pub version: u64,
    /// Every service asked for so far and what is known of it.
    pub services: Arc<ServiceMap>,
    /// Names whose entry differs from the previous snapshot's (added, removed or replaced).
    pub changed: Arc<[Arc<str>]>,
}

/// What is known of a service name.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// The registry knows it; there may be no usable endpoint all the same.
    Known(Arc<Service>),
    /// The registry answered that there is no such service. The entry disappears after a while, so that the next
    /// request asks again.
    Absent(Arc<str>),
}

/// One upstream service.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Name as requests spell it.
    pub name: Arc<str>,
    /// Application it belongs to.
    pub app: Arc<str>,
    /// Version of the endpoints below; empty when they are of several versions or there is none.
    pub version: Arc<str>,
    /// How to choose among [`Service::endpoints`].
    pub strategy: Strategy,
    /// What may be called now, in the clear, in the order of [`Protocol`].
    pub endpoints: Arc<[Endpoint]>,
    /// What declares `sslEnabled=true`: TLS of clients is passed through to it.
    pub tls_endpoints: Arc<[Endpoint]>,
    /// Instances the registry lists, usable or not: for explaining an empty `endpoints`.
    pub instances_total: u32,
    /// One sentence why `endpoints` is shorter than the registry's list; empty when it is not.
    pub left_out: Arc<str>,
    /// Bounds of a request to it.
    pub policy: Policy,
}

/// One address of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Id the registry gave the instance.
    pub instance: Arc<str>,
    /// Where to connect.
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Declared `sslEnabled=true`.
    pub tls: bool,
}

/// Application protocol of an endpoint, by the scheme of its registered address; and of a request, by what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Protocol {
    /// `rest://`: HTTP/1.1.
    #[default]
    Rest,
    /// `grpc://`: HTTP/2 with prior knowledge.
    Grpc,
}

/// How an endpoint is chosen (`cse.loadbalance.strategy.name`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Each in turn, from a random start.
    #[default]
    RoundRobin,
    /// Uniformly at random.
    Random,
}

/// Bounds of a request to one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// From the request being sent to the response head having arrived
    /// (`cse.isolation.Consumer[.svc].timeoutInMilliseconds`); zero means none.
    pub response_timeout: Duration,
}

impl Default for Policy {
    /// Mesher's default: 30 s.
    fn default() -> Self {
        Self { response_timeout: Duration::from_secs(30) }
    }
}
