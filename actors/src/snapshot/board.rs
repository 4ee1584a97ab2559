//! Where the numbers of all shards are to be found: one part for each shard to write to, the whole for the admin to read.
//! A lock is taken when a shard begins and when it meets a service, never by a request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stats::{Labels, Series, ShardStats};

/// Series of all shards together: a bound against label explosion in a metrics store. Requests to what comes beyond it
/// are counted all the same, under the service [`OVERFLOW`] of their direction, and [`Board::series_refused`] grows.
pub const SERIES_MAX: usize = 2000;
/// Label of the service in series that stand for all labels beyond [`SERIES_MAX`].
pub const OVERFLOW: &str = "__overflow__";

/// Where shards put their numbers and the admin finds them.
#[derive(Debug, Default)]
pub struct Board {
    shards: Mutex<Vec<Arc<ShardStats>>>,
    series: Mutex<AllSeries>,
}

#[derive(Debug, Default)]
struct AllSeries {
    by_shard: HashMap<(usize, Labels), Arc<Series>>,
    /// Labels that got no series of their own.
    refused: u64,
}

impl Board {
    /// An empty board.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The part of the shard of this index. A shard that has lived before goes on where its last life ended, which must
    /// be over: its counters count on, its gauges begin at nothing.
    #[must_use]
    pub fn of_shard(self: &Arc<Self>, index: usize) -> ShardBoard {
        let mut shards = lock(&self.shards);
        match shards.get(index) {
            Some(stats) => stats.begin_again(),
            None => shards.resize_with(index + 1, Arc::default),
        }
        let stats = shards.get(index).cloned().unwrap_or_default();
        ShardBoard { board: self.clone(), index, stats }
    }

    /// Numbers of every shard, by index.
    #[must_use]
    pub fn shards(&self) -> Vec<Arc<ShardStats>> {
        lock(&self.shards).clone()
    }

    /// All series of all shards; equal labels are to be added up.
    #[must_use]
    pub fn all_series(&self) -> Vec<Arc<Series>> {
        lock(&self.series).by_shard.values().cloned().collect()
    }

    /// How often labels got no series of their own, see [`SERIES_MAX`].
    #[must_use]
    pub fn series_refused(&self) -> u64 {
        lock(&self.series).refused
    }
}

/// The part of a board that one shard writes to.
#[derive(Debug, Clone)]
pub struct ShardBoard {
    board: Arc<Board>,
    index: usize,
    stats: Arc<ShardStats>,
}

impl ShardBoard {
    /// What the shard counts that belongs to no service.
    #[must_use]
    pub fn stats(&self) -> &Arc<ShardStats> {
        &self.stats
    }

    /// The shard's series of these labels. Beyond [`SERIES_MAX`] it is one for all labels of a direction, whose service is
    /// [`OVERFLOW`].
    #[must_use]
    pub fn series(&self, labels: Labels) -> Arc<Series> {
        let mut all = lock(&self.board.series);
        let key = (self.index, labels);
        if let Some(series) = all.by_shard.get(&key) {
            return series.clone();
        }
        let key = if all.by_shard.len() < SERIES_MAX {
            key
        } else {
            all.refused += 1;
            let empty: Arc<str> = "".into();
            let direction = key.1.direction;
            let overflow = Labels { direction, app: empty.clone(), service: OVERFLOW.into(), version: empty };
            (self.index, overflow)
        };
        all.by_shard
            .entry(key)
            .or_insert_with_key(|(_, labels)| Arc::new(Series::new(labels.clone())))
            .clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::snapshot::stats::Direction;

    fn labels(i: usize) -> Labels {
        Labels {
            direction: Direction::Outgoing,
            app: "default".into(),
            service: format!("s{i}").into(),
            version: "".into(),
        }
    }

    #[test]
    fn series_beyond_the_bound_are_counted_together_and_nothing_is_lost() {
        let board = Board::new();
        let shard = board.of_shard(0);
        for i in 0..SERIES_MAX * 3 {
            shard.series(labels(i)).record(200, None, Duration::ZERO);
        }
        let all = board.all_series();
        let counted: u64 = all.iter().flat_map(|series| series.latency.buckets()).sum();
        assert_eq!((all.len(), counted), (SERIES_MAX + 1, SERIES_MAX as u64 * 3));
        assert_eq!(board.series_refused(), SERIES_MAX as u64 * 2);
        assert!(all.iter().any(|series| &*series.labels.service == OVERFLOW));
    }

    #[test]
    fn a_shard_that_is_started_again_counts_on_and_has_nothing_open() {
        let board = Board::new();
        let first = board.of_shard(1);
        first.stats().accepted.add(5);
        first.stats().downstream_open.add(3);
        first.series(labels(1)).retries.add(2);
        let again = board.of_shard(1);
        let stats = again.stats();
        assert_eq!(
            (stats.accepted.value(), stats.downstream_open.value(), stats.restarts.value()),
            (5, 0, 1)
        );
        assert_eq!(again.series(labels(1)).retries.value(), 2);
        assert_eq!((board.shards().len(), board.all_series().len()), (2, 1));
    }

    #[test]
    fn two_shards_share_no_series() {
        let board = Board::new();
        let (one, two) = (board.of_shard(0).series(labels(1)), board.of_shard(1).series(labels(1)));
        one.retries.add(1);
        assert_eq!(two.retries.value(), 0);
    }
}
