//! A service-center for tests, faithful to recordings of Apache ServiceComb service-center 2.x on etcd.
//!
//! [`Fake`] is the core: a request and the time go in, an answer comes out, and nothing else happens. It reads no
//! clock, opens no socket and draws its random choices (ids, order of lists) from a seed. [`Shell`] puts it on a TCP
//! port, with the real time or with a clock that the test moves, and adds [`Fault`]s.
//!
//! The real server answers from layers that lag behind one another, and clients must live with that. The layers are
//! here one file each, named after what they do:
//!
//! ```text
//!   write --> store (etcd: leases, revisions)          the truth; single reads and noCache see it at once
//!               |  events
//!             cache (0.3 s quiet; deletions 2 s more)   lists and finds; also drives watch sockets
//!               |  found instances, kept until an event
//!             finder                                    find, list and single reads, with revisions
//! ```
//!
//! Catalogue data (services, tags, schemas, dependencies) has no lag. Heartbeats are renewed at most once a second
//! and repeat the last result in between ([`renewals`]).
//!
//! Deliberate gaps: RBAC, gzip, quotas, dependencies and relations by API, KIE, a second node, the store failing.
//! `EXPIRE` frames can be sent by hand ([`Fake::push_expire`]); no recording ever saw the real server send one.

mod cache;
mod catalog;
mod fake;
mod find;
mod finder;
pub(crate) mod frame;
mod govern;
mod instances;
mod model;
mod own;
mod renewals;
mod reply;
mod router;
mod rules;
mod services;
mod shell;
mod sockets;
mod store;

pub(crate) use fake::{Answer, Config, Fake, Stop};
pub(crate) use reply::{Request, Response};
#[allow(unused_imports, reason = "themes that drive mesher use them")]
pub(crate) use shell::{Clock, Fault, Shell};
pub(crate) use sockets::{Output, SocketId};
