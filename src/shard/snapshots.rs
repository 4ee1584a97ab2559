//! Applies snapshots of the control plane to a shard: the newest wins, and only what changed is touched.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use mesher_actors::snapshot::port::ShardPort;
use mesher_actors::snapshot::stats::{Direction, Labels, Series, ShardBoard};
use mesher_actors::snapshot::{Service, Snapshot};

use crate::balance::Balancer;
use crate::handler::{PoolId, Target};
use crate::proxy::Context;

/// Keeps a shard's directory in step with the control plane, until that ends.
pub(super) async fn follow(port: ShardPort, board: ShardBoard, ctx: Rc<Context>) {
    let targets = Targets { board, ctx: ctx.clone() };
    let mut current = Arc::new(Snapshot::default());
    while let Ok(first) = port.snapshots.recv_async().await {
        let mut changed = first.changed.to_vec();
        let mut newest = first;
        for later in port.snapshots.try_iter() {
            changed.extend_from_slice(&later.changed);
            port.retire(std::mem::replace(&mut newest, later));
        }
        targets.apply(&newest, &changed);
        ctx.stats.snapshot.set(newest.version);
        port.retire(std::mem::replace(&mut current, newest));
        ctx.lookups.answered(&changed);
    }
}

/// Makes targets of services.
struct Targets {
    board: ShardBoard,
    ctx: Rc<Context>,
}

impl Targets {
    fn apply(&self, snapshot: &Snapshot, changed: &[Arc<str>]) {
        let ctx = self.ctx.clone();
        let mut directory = ctx.directory.borrow_mut();
        // A pool stays open while the new target uses it too, so the old ones are let go last.
        let mut replaced: Vec<PoolId> = Vec::new();
        for name in changed {
            if let Some(crate::handler::Entry::Known(old)) = directory.find(name) {
                let same = matches!(
                    snapshot.services.get(name),
                    Some(mesher_actors::snapshot::Resolution::Known(service)) if Arc::ptr_eq(service, &old.service)
                );
                if !same {
                    replaced.extend(old.peers.iter().map(|peer| peer.pool));
                }
            }
            directory.apply(snapshot, std::slice::from_ref(name), |service, old| self.make(service, old));
        }
        replaced.into_iter().for_each(|pool| ctx.upstreams.release(pool));
    }

    fn make(&self, service: &Arc<Service>, old: Option<&Target>) -> Rc<Target> {
        let kept = old.filter(|old| old.service.strategy == service.strategy);
        let balancer = match kept {
            Some(old) => old.balancer.replace(Balancer::new(service.strategy, 0)),
            None => Balancer::new(service.strategy, self.ctx.random.next()),
        };
        Rc::new(Target {
            service: service.clone(),
            peers: self.ctx.peers(service),
            balancer: RefCell::new(balancer),
            series: self.series(service),
        })
    }

    /// The series of a service outlives the target: its numbers must not start again when the service's endpoints
    /// change.
    fn series(&self, service: &Service) -> Arc<Series> {
        self.board.series(Labels {
            direction: Direction::Outgoing,
            app: service.app.clone(),
            service: service.name.clone(),
            version: service.version.clone(),
        })
    }
}
