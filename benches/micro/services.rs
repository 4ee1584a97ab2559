//! Services as the control plane publishes them, and as a shard knows them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use mesher::balance::Balancer;
use mesher::handler::{Directory, Peer, PoolId, Target};
use mesher_actors::snapshot::stats::{Board, Direction, Labels, Series};
use mesher_actors::snapshot::{Endpoint, Policy, Protocol, Resolution, Service, Snapshot, Strategy};

/// `services` services of `endpoints` endpoints each, of which the first `changed` are new.
pub(super) fn snapshot(services: usize, endpoints: usize, changed: usize) -> Snapshot {
    let names: Vec<Arc<str>> = (0..services).map(|number| format!("service-{number}").into()).collect();
    let known = |name: &Arc<str>| (name.clone(), Resolution::Known(service(name.clone(), endpoints)));
    Snapshot {
        version: 1,
        services: Arc::new(names.iter().map(known).collect()),
        changed: names[..changed].into(),
    }
}

fn service(name: Arc<str>, endpoints: usize) -> Arc<Service> {
    let endpoint = |number: usize| Endpoint {
        instance: format!("instance-{number}").into(),
        address: ([10, 0, (number >> 8) as u8, number as u8], 8080).into(),
        protocol: Protocol::Rest,
        tls: false,
    };
    Arc::new(Service {
        name,
        app: "default".into(),
        version: "0.0.1".into(),
        strategy: Strategy::RoundRobin,
        endpoints: (0..endpoints).map(endpoint).collect(),
        tls_endpoints: Arc::default(),
        instances_total: endpoints as u32,
        left_out: Arc::default(),
        policy: Policy::default(),
    })
}

/// A shard's part in a publication, without its connections.
pub(super) struct Shard {
    /// What it knows.
    pub(super) directory: Directory,
    series: Arc<Series>,
}

impl Shard {
    /// One that knows what is in `snapshot`.
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let name: Arc<str> = "default".into();
        let labels = Labels {
            direction: Direction::Outgoing,
            app: name.clone(),
            service: name.clone(),
            version: name,
        };
        let mut shard =
            Self { directory: Directory::default(), series: Board::new().of_shard(0).series(labels) };
        let all: Vec<Arc<str>> = snapshot.services.keys().cloned().collect();
        shard.apply(snapshot, &all);
        shard
    }

    /// Brings what it knows of `changed` up to date.
    pub(super) fn apply(&mut self, snapshot: &Snapshot, changed: &[Arc<str>]) {
        let series = &self.series;
        self.directory.apply(snapshot, changed, |service, old| target(service, old, series));
    }
}

fn target(service: &Arc<Service>, old: Option<&Target>, series: &Arc<Series>) -> Rc<Target> {
    let fresh = Balancer::new(service.strategy, 0);
    let balancer = match old {
        Some(old) => old.balancer.replace(fresh),
        None => fresh,
    };
    let peer = |(slot, endpoint): (usize, &Endpoint)| Peer {
        address: endpoint.address,
        protocol: endpoint.protocol,
        tls: None,
        pool: PoolId { slot: slot as u32, generation: 0 },
    };
    Rc::new(Target {
        service: service.clone(),
        peers: service.endpoints.iter().enumerate().map(peer).collect(),
        balancer: RefCell::new(balancer),
        series: series.clone(),
    })
}
