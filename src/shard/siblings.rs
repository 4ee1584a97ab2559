//! The shards beside this one: a connection goes to the one that has the least to do.
//!
//! The kernel hands a connection to whichever shard asks first. With many short ones that evens out; four that last for
//! hours, and carry hundreds of streams each, could all sit on one. So who accepts a connection looks at what each shard
//! has open, and sends it on. There is nothing to do, and nothing is done, where there is one shard only.

use std::cell::RefCell;
use std::sync::Arc;

use mesher_actors::snapshot::stats::ShardStats;

use crate::net::Accepted;
use crate::proxy::Ingress;

/// Connections that may wait to be taken over by a shard. It takes all that wait whenever it turns, so more means that it
/// is stuck: they are kept then.
const WAITING_MAX: usize = 1024;

/// A connection on its way to another shard.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) accepted: Accepted,
    pub(super) ingress: Ingress,
}

/// A shard as the others see it.
#[derive(Debug, Clone)]
pub struct Sibling {
    sender: flume::Sender<Handed>,
    stats: Arc<ShardStats>,
}

/// Those that this shard knows, itself among them; none before it is told.
#[derive(Debug, Default)]
pub(super) struct Siblings {
    all: RefCell<Arc<[Sibling]>>,
}

impl Sibling {
    /// A shard with these numbers, and what the others send it.
    pub(super) fn new(stats: Arc<ShardStats>) -> (Self, flume::Receiver<Handed>) {
        let (sender, inbox) = flume::bounded(WAITING_MAX);
        (Self { sender, stats }, inbox)
    }

    /// Connections it has or is about to have, and requests on them.
    fn load(&self) -> u64 {
        let waiting = u64::try_from(self.sender.len()).unwrap_or(u64::MAX);
        let ShardStats { downstream_open, requests_in_flight, .. } = &*self.stats;
        downstream_open.value().saturating_add(requests_in_flight.value()).saturating_add(waiting)
    }
}

impl Siblings {
    /// These are all shards now.
    pub(super) fn set(&self, all: Arc<[Sibling]>) {
        self.all.replace(all);
    }

    /// There are others.
    pub(super) fn are_known(&self) -> bool {
        self.all.borrow().len() > 1
    }

    /// Sends a connection to the shard that has the least to do; gives it back if that is the one with these numbers.
    pub(super) fn hand(&self, own: &Arc<ShardStats>, handed: Handed) -> Option<Handed> {
        let all = self.all.borrow();
        let Some(at) = all.iter().position(|sibling| Arc::ptr_eq(&sibling.stats, own)) else {
            return Some(handed);
        };
        match all.get(least(all.iter().map(Sibling::load), at)) {
            Some(sibling) if !Arc::ptr_eq(&sibling.stats, own) => {
                // One that has died or is stuck takes none.
                sibling.sender.try_send(handed).err().map(flume::TrySendError::into_inner)
            }
            _ => Some(handed),
        }
    }
}

/// The place with the least load; `own` unless another has less.
fn least(loads: impl Iterator<Item = u64>, own: usize) -> usize {
    let all = loads.enumerate().min_by_key(|(at, load)| (*load, *at != own));
    all.map_or(own, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_stays_unless_another_shard_has_less_to_do() {
        assert_eq!(least([0, 0, 0].into_iter(), 1), 1);
        assert_eq!(least([5, 4, 4].into_iter(), 2), 2);
        assert_eq!(least([3, 4, 3].into_iter(), 1), 0);
        assert_eq!(least([].into_iter(), 0), 0);
    }

    #[test]
    fn four_connections_that_one_shard_accepts_are_shared_by_two() {
        let mut loads = [0, 0];
        for _ in 0..4 {
            loads[least(loads.into_iter(), 0)] += 1;
        }
        assert_eq!(loads, [2, 2]);
    }
}
