//! How requests are treated, as a shard works with it: made of [`Policies`], and replaced whole by a reload.
//!
//! A request keeps the terms under which its first byte came. What a reload leaves as it was (a chain and what its
//! handlers remember, connections to the local service) goes over into the new terms.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use mesher_actors::snapshot::stats::{Direction, Series};
use mesher_actors::snapshot::{Protocol, Tls};

use super::local::{Clients, Local};
use super::policies::Policies;
use super::settings::Settings;
use crate::handler::Chain;
use crate::upstream::Upstreams;

/// The terms of requests, the same for all that began under them.
#[derive(Debug)]
pub struct Terms {
    policies: Policies,
    outgoing: Rc<RefCell<Chain>>,
    incoming: Rc<RefCell<Chain>>,
    local: Rc<Local>,
}

impl Terms {
    /// The first terms of a shard. `series` counts requests to the local service.
    #[must_use]
    pub fn new(policies: Policies, upstreams: &Rc<Upstreams>, series: Arc<Series>) -> Self {
        Self {
            outgoing: chain(&policies.outgoing),
            incoming: chain(&policies.incoming),
            local: Rc::new(local(&policies, upstreams, series)),
            policies,
        }
    }

    /// The terms that follow these.
    #[must_use]
    pub fn renewed(&self, policies: Policies, upstreams: &Rc<Upstreams>) -> Self {
        let old = &self.policies;
        let keep = |chain: &Rc<RefCell<Chain>>, names, old_names| {
            if names == old_names { chain.clone() } else { self::chain(names) }
        };
        let place = |p: &Policies| (p.service_host, p.ports.clone(), p.local_policy.clone(), clients(p));
        let local = if place(old) == place(&policies) {
            self.local.clone()
        } else {
            Rc::new(local(&policies, upstreams, self.local.series().clone()))
        };
        Self {
            outgoing: keep(&self.outgoing, &policies.outgoing, &old.outgoing),
            incoming: keep(&self.incoming, &policies.incoming, &old.incoming),
            local,
            policies,
        }
    }

    /// Bounds of downstream connections.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.policies.settings
    }

    /// What listeners present, and how services are called.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        &self.policies.tls
    }

    /// The handlers of a direction.
    #[must_use]
    pub fn chain(&self, direction: Direction) -> &RefCell<Chain> {
        match direction {
            Direction::Outgoing => &self.outgoing,
            Direction::Incoming => &self.incoming,
        }
    }

    /// The service beside which mesher stands.
    #[must_use]
    pub fn local(&self) -> &Local {
        &self.local
    }
}

fn chain(names: &[String]) -> Rc<RefCell<Chain>> {
    Rc::new(RefCell::new(Chain::new(names.iter().map(String::as_str))))
}

fn local(policies: &Policies, upstreams: &Rc<Upstreams>, series: Arc<Series>) -> Local {
    let Policies { service_host, ports, local_policy, .. } = policies;
    let place = (*service_host, ports.clone());
    Local::new(place, clients(policies), local_policy.clone(), series, upstreams.clone())
}

fn clients(policies: &Policies) -> Clients {
    let client = |protocol| policies.tls.client(&policies.service.name, protocol);
    Clients { rest: client(Protocol::Rest), grpc: client(Protocol::Grpc) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::time::Duration;

    use mesher_actors::snapshot::stats::{Board, Labels};
    use mesher_actors::snapshot::{Policy, Protocol};

    use super::*;
    use crate::handler::destination::{LocalPort, LocalPorts};
    use crate::proxy::ServiceLabels;
    use crate::upstream;

    fn ports(configured: &[u16]) -> LocalPorts {
        let port = |&port| LocalPort { port, protocol: Protocol::Rest };
        LocalPorts { configured: configured.iter().map(port).collect(), own: Vec::new() }
    }

    fn policies() -> Policies {
        Policies {
            settings: Settings::default(),
            upstream: upstream::Settings::default(),
            outgoing: vec!["router".into(), "loadbalance".into(), "transport".into()],
            incoming: vec!["transport".into()],
            service_host: [127, 0, 0, 1].into(),
            ports: ports(&[8080]),
            local_policy: Policy::default(),
            service: ServiceLabels { app: "default".into(), name: "orders".into(), version: "1".into() },
            tls: Tls::default(),
        }
    }

    fn terms() -> (Terms, Rc<Upstreams>) {
        let board = Board::new().of_shard(0);
        let upstreams = Upstreams::new(&upstream::Settings::default(), board.stats().clone());
        let name: Arc<str> = "orders".into();
        let labels = Labels {
            direction: Direction::Incoming,
            app: name.clone(),
            service: name.clone(),
            version: name,
        };
        (Terms::new(policies(), &upstreams, board.series(labels)), upstreams)
    }

    #[test]
    fn what_a_reload_leaves_as_it_was_goes_over() {
        let (old, upstreams) = terms();
        let settings = Settings { idle_timeout: Duration::from_secs(1), ..Settings::default() };
        let new =
            old.renewed(Policies { settings, outgoing: vec!["transport".into()], ..policies() }, &upstreams);
        assert_eq!(new.settings().idle_timeout, Duration::from_secs(1));
        assert_ne!(
            old.settings().idle_timeout,
            Duration::from_secs(1),
            "a request in flight has the old ones"
        );
        assert!(Rc::ptr_eq(&old.incoming, &new.incoming) && Rc::ptr_eq(&old.local, &new.local));
        assert!(!Rc::ptr_eq(&old.outgoing, &new.outgoing));
    }

    #[test]
    fn connections_to_the_local_service_are_kept_until_the_last_request_to_it_has_ended() {
        let (old, upstreams) = terms();
        let target = old.local().target(None, Protocol::Rest, false).unwrap();
        let ports = ports(&[8080, 8081]);
        let new = old.renewed(Policies { ports, ..policies() }, &upstreams);
        let again = new.local().target(None, Protocol::Rest, false).unwrap();
        let (address, pool) = (again.peers[0].address, again.peers[0].pool);
        assert_eq!(pool, target.peers[0].pool, "one pool an address");
        drop(old);
        assert_eq!(upstreams.acquire(address, Protocol::Rest, None).pool, pool);
        upstreams.release(pool);
        drop(new);
        assert_ne!(upstreams.acquire(address, Protocol::Rest, None).pool, pool, "it was let go");
    }
}
