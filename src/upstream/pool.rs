//! Which idle connection to use next, and which to let go. Pure: a connection is anything, so is what names a pool, and time is
//! an argument.
//!
//! Last in, first out: under falling load the connections at the bottom stay unused and expire, and the one on top
//! is the one least likely to have been closed by its peer. Those put back at this very moment come last, though: nothing
//! can be known of them yet without asking the kernel.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::handler::PoolId;

/// Bounds of all pools of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Idle connections kept for one endpoint.
    pub idle_per_endpoint: usize,
    /// How long a connection may be idle before it is closed: shorter than the keep-alive time of common servers,
    /// so that they rarely close one that is just being used.
    pub idle_timeout: Duration,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    since: Instant,
}

#[derive(Debug)]
struct Pool<K, C> {
    key: Option<K>,
    generation: u32,
    users: u32,
    idle: Vec<Idle<C>>,
}

/// The pools of a shard, one a key: what all connections of a pool have in common, so that each may stand for another.
#[derive(Debug)]
pub struct Pools<K, C> {
    bounds: Bounds,
    slots: Vec<Pool<K, C>>,
    free: Vec<u32>,
    by_key: HashMap<K, u32, foldhash::fast::RandomState>,
    idle: usize,
}

impl<K: Eq + Hash + Clone, C> Pools<K, C> {
    /// No pools yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, slots: Vec::new(), free: Vec::new(), by_key: HashMap::default(), idle: 0 }
    }

    /// From now on these bounds hold.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Idle connections in all pools.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle
    }

    /// The pool of a key, made if there is none. Counts one more user; see [`Pools::release`].
    pub fn acquire(&mut self, key: K) -> PoolId {
        if let Some(&slot) = self.by_key.get(&key)
            && let Some(pool) = self.slots.get_mut(slot as usize)
        {
            pool.users += 1;
            return PoolId { slot, generation: pool.generation };
        }
        let slot = self.free.pop().unwrap_or_else(|| u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        let generation = match self.slots.get_mut(slot as usize) {
            Some(pool) => {
                pool.key = Some(key.clone());
                pool.users = 1;
                pool.generation
            }
            None => {
                self.slots.push(Pool { key: Some(key.clone()), generation: 0, users: 1, idle: Vec::new() });
                0
            }
        };
        self.by_key.insert(key, slot);
        PoolId { slot, generation }
    }

    /// Whether the id still names a pool.
    #[must_use]
    pub fn contains(&self, id: PoolId) -> bool {
        self.slots.get(id.slot as usize).is_some_and(|pool| pool.generation == id.generation)
    }

    /// One user less. Without users a pool is gone, its idle connections with it; ids that name it find nothing.
    pub fn release(&mut self, id: PoolId) {
        let Some(pool) = Self::find(&mut self.slots, id) else { return };
        pool.users = pool.users.saturating_sub(1);
        if pool.users == 0 {
            self.idle -= pool.idle.len();
            pool.idle = Vec::new();
            pool.generation = pool.generation.wrapping_add(1);
            if let Some(key) = pool.key.take() {
                self.by_key.remove(&key);
            }
            self.free.push(id.slot);
        }
    }

    /// The idle connection used last before `now`, or else one of those put back at this very moment, if it may still be
    /// used: younger than the idle time-out and, by `is_usable`, alive. Those that are not are dropped on the way.
    /// `is_usable` is also told whether the connection was put back at this very moment.
    pub fn take(&mut self, id: PoolId, now: Instant, is_usable: impl Fn(&C, bool) -> bool) -> Option<C> {
        let timeout = self.bounds.idle_timeout;
        let pool = Self::find(&mut self.slots, id)?;
        while let Some(top) = pool.idle.len().checked_sub(1) {
            let used_last = pool.idle.iter().rposition(|idle| idle.since != now);
            // What takes the place was put back no earlier than what lies above it.
            let idle = pool.idle.swap_remove(used_last.unwrap_or(top));
            self.idle -= 1;
            if now.saturating_duration_since(idle.since) >= timeout {
                // All before it have been idle for longer; those behind it have only just come.
                let expired = used_last.unwrap_or(0);
                self.idle -= expired;
                pool.idle.drain(..expired);
                continue;
            }
            if is_usable(&idle.connection, idle.since == now) {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Keeps a connection for reuse. Beyond the bound, or if the pool is gone, it is dropped.
    pub fn put(&mut self, id: PoolId, connection: C, now: Instant) {
        let bound = self.bounds.idle_per_endpoint;
        let Some(pool) = Self::find(&mut self.slots, id) else { return };
        if pool.idle.len() < bound {
            pool.idle.push(Idle { connection, since: now });
            self.idle += 1;
        }
    }

    /// Drops every idle connection that has expired or is no longer usable.
    pub fn sweep(&mut self, now: Instant, is_usable: impl Fn(&C) -> bool) {
        let timeout = self.bounds.idle_timeout;
        for pool in &mut self.slots {
            let before = pool.idle.len();
            pool.idle.retain(|idle| {
                now.saturating_duration_since(idle.since) < timeout && is_usable(&idle.connection)
            });
            self.idle -= before - pool.idle.len();
        }
    }

    /// Drops every idle connection.
    pub fn let_go(&mut self) {
        for pool in &mut self.slots {
            pool.idle = Vec::new();
        }
        self.idle = 0;
    }

    fn find(slots: &mut [Pool<K, C>], id: PoolId) -> Option<&mut Pool<K, C>> {
        slots.get_mut(id.slot as usize).filter(|pool| pool.generation == id.generation)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(4);

    fn pools(idle_per_endpoint: usize) -> Pools<SocketAddr, u32> {
        Pools::new(Bounds { idle_per_endpoint, idle_timeout: TIMEOUT })
    }

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn the_connection_used_last_is_used_next() {
        let (mut pools, now) = (pools(8), Instant::now());
        let id = pools.acquire(address(1));
        pools.put(id, 1, now);
        pools.put(id, 2, now);
        assert_eq!(pools.take(id, now, |_, _| true), Some(2));
        assert_eq!(pools.take(id, now, |_, _| true), Some(1));
        assert_eq!(pools.take(id, now, |_, _| true), None);
    }

    #[test]
    fn a_dead_connection_is_passed_over() {
        let (mut pools, now) = (pools(8), Instant::now());
        let id = pools.acquire(address(1));
        pools.put(id, 1, now);
        pools.put(id, 2, now);
        assert_eq!(pools.take(id, now, |connection, _| *connection == 1), Some(1));
        assert_eq!(pools.idle(), 0);
    }

    #[test]
    fn a_connection_put_back_at_this_moment_is_said_to_be_so() {
        let (mut pools, now) = (pools(8), Instant::now());
        let id = pools.acquire(address(1));
        pools.put(id, 1, now);
        pools.put(id, 2, now + TIMEOUT / 2);
        assert_eq!(pools.take(id, now + TIMEOUT / 2, |_, just_now| !just_now), Some(1));
    }

    #[test]
    fn one_put_back_at_this_moment_is_used_only_if_there_is_no_other() {
        let (mut pools, now) = (pools(8), Instant::now());
        let id = pools.acquire(address(1));
        let later = now + TIMEOUT / 2;
        pools.put(id, 1, now);
        pools.put(id, 2, now);
        [3, 4, 5].into_iter().for_each(|connection| pools.put(id, connection, later));
        assert_eq!(pools.take(id, later, |_, just_now| !just_now), Some(2));
        assert_eq!(pools.take(id, later, |_, just_now| !just_now), Some(1));
        assert!(matches!(pools.take(id, later, |_, just_now| just_now), Some(3..=5)));
        assert_eq!(pools.idle(), 2);
    }

    #[test]
    fn those_put_back_just_now_outlive_those_that_expired() {
        let (mut pools, now) = (pools(8), Instant::now());
        let id = pools.acquire(address(1));
        pools.put(id, 1, now);
        pools.put(id, 2, now);
        pools.put(id, 3, now + TIMEOUT);
        assert_eq!(pools.take(id, now + TIMEOUT, |_, _| true), Some(3));
        assert_eq!(pools.idle(), 0);
    }

    #[test]
    fn an_expired_connection_is_not_used() {
        let (mut pools, now) = (pools(8), Instant::now());
        let id = pools.acquire(address(1));
        pools.put(id, 1, now);
        pools.put(id, 2, now);
        assert_eq!(pools.take(id, now + TIMEOUT, |_, _| true), None);
        assert_eq!(pools.idle(), 0);
    }

    #[test]
    fn no_more_are_kept_than_the_bound() {
        let (mut pools, now) = (pools(1), Instant::now());
        let id = pools.acquire(address(1));
        pools.put(id, 1, now);
        pools.put(id, 2, now);
        assert_eq!(pools.idle(), 1);
    }

    #[test]
    fn a_pool_lives_as_long_as_it_has_users_and_its_id_finds_nothing_afterwards() {
        let (mut pools, now) = (pools(8), Instant::now());
        let id = pools.acquire(address(1));
        assert_eq!(pools.acquire(address(1)), id);
        pools.put(id, 1, now);
        pools.release(id);
        assert_eq!((pools.idle(), pools.contains(id)), (1, true));
        pools.release(id);
        assert_eq!((pools.idle(), pools.contains(id)), (0, false));
        let other = pools.acquire(address(2));
        pools.put(id, 9, now);
        assert_eq!(other.slot, id.slot);
        assert_eq!(pools.take(other, now, |_, _| true), None);
    }

    #[test]
    fn all_are_let_go_at_once_and_the_pools_stay() {
        let (mut pools, now) = (pools(8), Instant::now());
        let id = pools.acquire(address(1));
        pools.put(id, 1, now);
        pools.let_go();
        assert_eq!((pools.idle(), pools.take(id, now, |_, _| true)), (0, None));
        pools.put(id, 2, now);
        assert_eq!(pools.take(id, now, |_, _| true), Some(2));
    }

    #[test]
    fn a_sweep_lets_go_of_what_expired_or_died() {
        let (mut pools, now) = (pools(8), Instant::now());
        let id = pools.acquire(address(1));
        pools.put(id, 1, now);
        pools.put(id, 2, now + TIMEOUT / 2);
        pools.put(id, 3, now + TIMEOUT / 2);
        pools.sweep(now + TIMEOUT, |connection| *connection != 3);
        assert_eq!(pools.take(id, now + TIMEOUT, |_, _| true), Some(2));
        assert_eq!(pools.idle(), 0);
    }
}
