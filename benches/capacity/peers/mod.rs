//! The proxies that are compared: one file each, and what they have in common.
//!
//! A [`Peer`] is a proxy that is installed; [`Peer::start`] makes it [`Running`] in front of the origin, which is the
//! first time that a port is taken. `direct` is no proxy at all: the load goes straight to the origin.

mod envoy;
mod find;
mod haproxy;
mod mesher;
mod nginx;
mod peer;
mod site;
mod template;

pub(crate) use find::find;
pub(crate) use peer::{Peer, Running};
pub(crate) use site::Site;
