//! A service as one shard uses it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use mesher_actors::snapshot::stats::Series;
use mesher_actors::snapshot::{Service, TlsClient};

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
    /// Each endpoint, in the order of [`Service::endpoints`].
    pub peers: Box<[Peer]>,
    /// Chooses among the endpoints; its state outlives a change of the endpoints.
    pub balancer: RefCell<Balancer>,
    /// Where requests to it are counted.
    pub series: Arc<Series>,
}
