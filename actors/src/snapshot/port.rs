//! The two ends of the wire between a shard and the control plane.
//!
//! ```text
//!   control plane                                  shard
//!   ControlPort::publish(Arc<Snapshot>)  ------->  ShardPort::snapshots   (latest wins: the shard drains it)
//!   ControlPort::lookups                 <-------  ShardPort::ask(name)   (bounded; first use of a service)
//!   ControlPort::retired                 <-------  ShardPort::retire(old) (dropped on the control thread)
//! ```

use std::sync::Arc;

use super::Snapshot;

/// Snapshots that may wait for a shard; the publisher never blocks and drops none (it publishes ten a second at
/// most and a shard that is this far behind is stuck).
pub const SNAPSHOTS_WAITING_MAX: usize = 64;
/// Lookups of all services that may wait for the control plane; beyond it a request is answered `Overloaded`.
pub const LOOKUPS_WAITING_MAX: usize = 1024;

/// The shard's end.
#[derive(Debug, Clone)]
pub struct ShardPort {
    /// Snapshots in order of publication; use the newest.
    pub snapshots: flume::Receiver<Arc<Snapshot>>,
    lookups: flume::Sender<Arc<str>>,
    retired: flume::Sender<Arc<Snapshot>>,
}

/// The control plane's end.
#[derive(Debug)]
pub struct ControlPort {
    snapshots: flume::Sender<Arc<Snapshot>>,
    /// Names of services that a request wants and no snapshot has an entry for.
    pub lookups: flume::Receiver<Arc<str>>,
    /// Snapshots a shard is done with.
    pub retired: flume::Receiver<Arc<Snapshot>>,
}

/// A connected pair of ends.
#[must_use]
pub fn pair() -> (ShardPort, ControlPort) {
    let (snapshot_tx, snapshots) = flume::bounded(SNAPSHOTS_WAITING_MAX);
    let (lookups_tx, lookups) = flume::bounded(LOOKUPS_WAITING_MAX);
    let (retired_tx, retired) = flume::bounded(SNAPSHOTS_WAITING_MAX);
    (
        ShardPort { snapshots, lookups: lookups_tx, retired: retired_tx },
        ControlPort { snapshots: snapshot_tx, lookups, retired },
    )
}

impl ShardPort {
    /// Asks for a service to be looked up; the answer is an entry in a later snapshot. False if the control plane
    /// has too much to do already, or is gone.
    #[must_use]
    pub fn ask(&self, service: Arc<str>) -> bool {
        self.lookups.try_send(service).is_ok()
    }

    /// Hands back a snapshot, so that the control thread pays for dropping it.
    pub fn retire(&self, snapshot: Arc<Snapshot>) {
        // A full channel only means that the drop happens here.
        let _ = self.retired.try_send(snapshot);
    }
}

impl ControlPort {
    /// Hands a snapshot to the shard. False if the shard is stuck or gone.
    #[must_use]
    pub fn publish(&self, snapshot: Arc<Snapshot>) -> bool {
        self.snapshots.try_send(snapshot).is_ok()
    }
}
