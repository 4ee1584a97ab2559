//! The origin behind every proxy: answers at once and does as little else as it can.
//!
//! `server` is the loop, `outlet` what a socket has not taken yet; what is spoken on a connection is a [`Served`]:
//! HTTP/1 here, HTTP/2 beside the load's own.

mod http1;
mod outlet;
mod server;

use std::io;
use std::net::SocketAddr;

pub(super) use outlet::Outlet;
pub(super) use server::Served;

use super::http2::Answering;
use super::spec::Wire;
use http1::Http1;

/// A running origin. Its threads end with the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    http1: SocketAddr,
    http2: SocketAddr,
}

impl Origin {
    /// Starts threads on each of `cpus`.
    pub(crate) fn start(cpus: &[usize]) -> io::Result<Self> {
        Ok(Self { http1: server::start::<Http1>(cpus)?, http2: server::start::<Answering>(cpus)? })
    }

    /// Where it takes what a proxy sends on.
    pub(crate) fn address(&self, wire: Wire) -> SocketAddr {
        match wire {
            Wire::Http1 | Wire::Tls | Wire::Http2ToHttp1 => self.http1,
            Wire::Http2 => self.http2,
        }
    }
}
