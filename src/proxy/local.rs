//! The local service as a target: one endpoint a port.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use mesher_actors::snapshot::stats::Series;
use mesher_actors::snapshot::{Endpoint, Failure, Policy, Protocol, Service, Strategy, TlsClient};

use crate::balance::Balancer;
use crate::handler::destination::{LocalPort, LocalPorts};
use crate::handler::{Reply, Target};
use crate::upstream::Upstreams;

/// Different ports that callers may name at a time where no service ports are configured. Real services have one or two;
/// beyond the bound the port that was named longest ago is forgotten, its idle connections with it.
pub const PORTS_MAX: usize = 64;

/// The service beside which mesher stands.
#[derive(Debug)]
pub struct Local {
    host: IpAddr,
    ports: LocalPorts,
    clients: Clients,
    name: Arc<str>,
    app: Arc<str>,
    policy: Policy,
    series: Arc<Series>,
    targets: RefCell<HashMap<LocalPort, Known>>,
    /// Counts requests, to tell which port was named longest ago.
    named: Cell<u64>,
    upstreams: Rc<Upstreams>,
}

/// How the local service is called by each protocol: by TLS, or in the clear.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clients {
    /// By HTTP/1.1.
    pub rest: Option<Arc<TlsClient>>,
    /// By HTTP/2.
    pub grpc: Option<Arc<TlsClient>>,
}

/// A port that was named.
#[derive(Debug)]
struct Known {
    target: Rc<Target>,
    /// The last of [`Local::named`] that named it.
    last: u64,
}

impl Local {
    /// The service at `host` (`mesher.service.host`), reachable through `ports`, and by TLS if `clients` say how.
    #[must_use]
    pub fn new(
        (host, ports): (IpAddr, LocalPorts),
        clients: Clients,
        policy: Policy,
        series: Arc<Series>,
        upstreams: Rc<Upstreams>,
    ) -> Self {
        let (name, app) = (series.labels.service.clone(), series.labels.app.clone());
        Self {
            host,
            ports,
            clients,
            name,
            app,
            policy,
            series,
            targets: RefCell::default(),
            named: Cell::new(0),
            upstreams,
        }
    }

    /// The target that a request from outside is for; see [`LocalPorts::resolve`].
    ///
    /// # Errors
    /// The reply to give if the port is unknown or out of bounds.
    pub fn target(
        &self,
        forwarded: Option<&[u8]>,
        listener: Protocol,
        is_grpc: bool,
    ) -> Result<Rc<Target>, Reply> {
        let port = self.ports.resolve(forwarded, listener, is_grpc)?;
        let last = self.named.get().wrapping_add(1);
        self.named.set(last);
        let mut targets = self.targets.borrow_mut();
        if let Some(known) = targets.get_mut(&port) {
            known.last = last;
            return Ok(known.target.clone());
        }
        if targets.len() >= PORTS_MAX && !self.forget_one(&mut targets) {
            return Err(Reply::new(
                Failure::Overloaded,
                "requests to too many different ports are in flight; configure --service-ports",
            ));
        }
        let target = Rc::new(self.make(port));
        targets.insert(port, Known { target: target.clone(), last });
        Ok(target)
    }

    /// Forgets the port that was named longest ago of those that no request uses; false if there is none.
    fn forget_one(&self, targets: &mut HashMap<LocalPort, Known>) -> bool {
        let unused = targets.iter().filter(|(_, known)| Rc::strong_count(&known.target) == 1);
        let Some(port) = unused.min_by_key(|(_, known)| known.last).map(|(port, _)| *port) else {
            return false;
        };
        if let Some(known) = targets.remove(&port) {
            known.target.peers.iter().for_each(|peer| self.upstreams.release(peer.pool));
        }
        true
    }

    /// Counts requests to it.
    #[must_use]
    pub fn series(&self) -> &Arc<Series> {
        &self.series
    }

    fn make(&self, LocalPort { port, protocol }: LocalPort) -> Target {
        let address = SocketAddr::new(self.host, port);
        let tls = match protocol {
            Protocol::Rest => &self.clients.rest,
            Protocol::Grpc => &self.clients.grpc,
        };
        let endpoint = Endpoint { instance: "local".into(), address, protocol, tls: false };
        let service = Service {
            name: self.name.clone(),
            app: self.app.clone(),
            version: self.series.labels.version.clone(),
            strategy: Strategy::RoundRobin,
            endpoints: [endpoint].into(),
            tls_endpoints: Arc::default(),
            instances_total: 1,
            left_out: "".into(),
            policy: self.policy.clone(),
        };
        Target {
            service: Arc::new(service),
            peers: [self.upstreams.acquire(address, protocol, tls.clone())].into(),
            balancer: RefCell::new(Balancer::new(Strategy::RoundRobin, 0)),
            series: self.series.clone(),
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let targets = self.targets.get_mut().values();
        targets
            .flat_map(|known| known.target.peers.iter())
            .for_each(|peer| self.upstreams.release(peer.pool));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use mesher_actors::snapshot::stats::{Board, Direction, Labels};

    use super::*;
    use crate::upstream::Settings;

    fn local() -> Local {
        let board = Board::new().of_shard(0);
        let name: Arc<str> = "orders".into();
        let (app, version) = (name.clone(), name.clone());
        let series = board.series(Labels { direction: Direction::Incoming, app, service: name, version });
        let upstreams = Upstreams::new(&Settings::default(), board.stats().clone());
        Local::new(
            ([127, 0, 0, 1].into(), LocalPorts { configured: Vec::new(), own: Vec::new() }),
            Clients::default(),
            Policy::default(),
            series,
            upstreams,
        )
    }

    fn named(local: &Local, port: usize) -> Result<Rc<Target>, Reply> {
        local.target(Some(port.to_string().as_bytes()), Protocol::Rest, false)
    }

    #[test]
    fn callers_that_name_port_after_port_are_served_at_a_bounded_cost() {
        let local = local();
        for port in 1000..1000 + 3 * PORTS_MAX {
            named(&local, port).unwrap();
            assert!(local.targets.borrow().len() <= PORTS_MAX);
        }
    }

    #[test]
    fn the_port_named_longest_ago_is_forgotten_and_its_pool_with_it() {
        let local = local();
        let first: Vec<_> = (0..PORTS_MAX).map(|n| named(&local, 1000 + n).unwrap().peers[0].pool).collect();
        named(&local, 1000).unwrap();
        named(&local, 3000).unwrap();
        assert_eq!(named(&local, 1000).unwrap().peers[0].pool, first[0], "it was named again");
        assert_ne!(named(&local, 1001).unwrap().peers[0].pool, first[1], "it was forgotten");
    }

    #[test]
    fn a_port_with_a_request_in_flight_is_not_forgotten() {
        let local = local();
        let in_flight: Vec<_> = (0..PORTS_MAX).map(|n| named(&local, 1000 + n).unwrap()).collect();
        assert_eq!(named(&local, 3000).unwrap_err().failure, Failure::Overloaded);
        drop(in_flight);
        named(&local, 3000).unwrap();
    }
}
