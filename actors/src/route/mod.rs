//! The route table: every resolution there is, published to the shards as snapshots, and the shards' lookups.
//!
//! ```text
//!   change       x  x x x      x
//!   published    1      2      3        the first at once, then at most one in PUBLISH_EVERY; the latest wins
//!   time         0     100    200 ms
//! ```

mod actor;
mod outlet;
mod table;

#[cfg(test)]
pub(crate) use actor::PUBLISH_EVERY;
pub(crate) use actor::{Ledger, Resolved, RouteTable, Wanted};
