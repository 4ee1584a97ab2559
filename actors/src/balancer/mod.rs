//! From a registry's answer to what the shards call: one small actor for each upstream service around a pure
//! function.
//!
//! The shards balance by themselves among [`Service::endpoints`](crate::snapshot::Service::endpoints); here it is
//! decided who is on that list, and said who is not and why.

mod actor;
mod select;
mod version;

pub(crate) use actor::{Balancer, Word};
pub(crate) use select::Selection;
#[cfg(test)]
pub(crate) use select::tests::instance as test_instance;

use crate::snapshot::{Policy, Strategy};

/// What the configuration says of one upstream service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upstream {
    /// How to choose among its endpoints.
    pub strategy: Strategy,
    /// Bounds of a request to it.
    pub policy: Policy,
}
