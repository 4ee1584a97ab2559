//! The endpoints of a shard's pools, as far as they are called by HTTP/2.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use mesher_actors::snapshot::stats::ShardStats;

use super::endpoint::{Dial, Endpoint};
use super::settings::Settings;
use crate::handler::PoolId;

/// Endpoints by their pool.
#[derive(Debug)]
pub(in crate::upstream) struct Endpoints {
    by_pool: RefCell<HashMap<PoolId, Rc<Endpoint>, foldhash::fast::RandomState>>,
    settings: Rc<RefCell<Settings>>,
    stats: Arc<ShardStats>,
}

impl Endpoints {
    pub(in crate::upstream) fn new(settings: Settings, stats: Arc<ShardStats>) -> Self {
        Self { by_pool: RefCell::default(), settings: Rc::new(RefCell::new(settings)), stats }
    }

    /// Changes the bounds; connections that exist keep their windows and times.
    pub(in crate::upstream) fn apply(&self, settings: Settings) {
        self.settings.replace(settings);
    }

    pub(in crate::upstream) fn find(&self, id: PoolId) -> Option<Rc<Endpoint>> {
        self.by_pool.borrow().get(&id).cloned()
    }

    /// A new endpoint that no pool knows: its connections last as long as the caller keeps it, then finish what they do.
    pub(in crate::upstream) fn make(&self, address: SocketAddr, dial: Dial) -> Rc<Endpoint> {
        Endpoint::new(address, dial, self.settings.clone(), self.stats.clone())
    }

    /// The pool keeps it, until [`Endpoints::remove`].
    pub(in crate::upstream) fn keep(&self, id: PoolId, endpoint: Rc<Endpoint>) {
        self.by_pool.borrow_mut().insert(id, endpoint);
    }

    /// Retires all connections that carry nothing.
    pub(in crate::upstream) fn let_go(&self) {
        let all: Vec<_> = self.by_pool.borrow().values().cloned().collect();
        all.iter().for_each(|endpoint| endpoint.let_go());
    }

    /// The pool is gone.
    pub(in crate::upstream) fn remove(&self, id: PoolId) {
        let removed = self.by_pool.borrow_mut().remove(&id);
        drop(removed); // outside of the borrow: its connections are retired
    }
}
