//! A service as one shard uses it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use mesher_actors::snapshot::stats::Series;
use mesher_actors::snapshot::{Protocol, Service, TlsClient};

use crate::balance::Balancer;

/// Names a pool of upstream connections on this shard. A slot is used again for another address with another
/// generation, so an id that outlived its pool finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolId {
    /// Place in the shard's list of pools.
    pub slot: u32,
    /// Which pool at that place.
    pub generation: u32,
}

/// One endpoint as a shard reaches it.
#[derive(Debug)]
pub struct Peer {
    /// Where.
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
    /// By which TLS; none: in the clear.
    pub tls: Option<Arc<TlsClient>>,
    /// Where connections to it are kept.
    pub pool: PoolId,
}

/// A service with everything that a request to it needs, so that it is looked up once.
#[derive(Debug)]
pub struct Target {
    /// The service as the control plane sees it.
    pub service: Arc<Service>,
    /// Each endpoint that is called, in the order of [`Protocol`]; see [`Target::callable`].
    pub peers: Box<[Peer]>,
    /// Chooses among the endpoints; its state outlives a change of the endpoints.
    pub balancer: RefCell<Balancer>,
    /// Where requests to it are counted.
    pub series: Arc<Series>,
}

impl Target {
    /// Which of the [`peers`](Self::peers) a request may go to. A call of gRPC goes to those that speak it; anything else to
    /// those of HTTP/1, or to the others where there is none, since HTTP/2 can carry it too.
    #[must_use]
    pub fn callable(&self, request: Protocol) -> Range<usize> {
        let all = self.peers.len();
        let rest = self.peers.partition_point(|peer| peer.protocol == Protocol::Rest);
        if request == Protocol::Rest && rest > 0 { 0..rest } else { rest..all }
    }
}
