//! The proxies that are compared: one file each, and what they have in common.
//!
//! A [`Peer`] is a proxy that is installed; [`Peer::start`] makes it [`Running`] in front of the origin, one [`Instance`]
//! a protocol, which is the first time that a port is taken. `direct` is no proxy at all: the load goes straight to
//! the origin.

mod certificate;
mod envoy;
mod find;
mod haproxy;
mod mesher;
mod nginx;
mod peer;
mod running;
mod site;
mod template;

pub(crate) use certificate::Certificate;
pub(crate) use find::find;
pub(crate) use peer::Peer;
pub(crate) use running::{Instance, Running};
pub(crate) use site::Site;
