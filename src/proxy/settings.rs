//! Bounds of downstream connections.

use std::time::Duration;

use crate::codec::Limits;

/// What a connection may take, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bounds of request and response heads.
    pub limits: Limits,
    /// From the first byte of a request head to its last (`mesher.timeout.headerSeconds`).
    pub header_timeout: Duration,
    /// Between two requests on a connection (`mesher.timeout.idleSeconds`).
    pub idle_timeout: Duration,
    /// Silence within a body, either way (`mesher.timeout.streamIdleSeconds`); zero means none.
    pub stream_idle_timeout: Duration,
    /// Silence, either way, on a connection that is no longer HTTP (`mesher.timeout.tunnelIdleSeconds`); zero means none.
    pub tunnel_idle_timeout: Duration,
    /// How long a request waits for the first lookup of its service.
    pub lookup_timeout: Duration,
    /// Downstream connections of one shard (`mesher.limit.connections`); more wait in the kernel's queue.
    pub connections_max: u64,
    /// Requests of one shard that may be in flight (`mesher.limit.requests`); more are answered 503.
    pub requests_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stream_idle_timeout: Duration::from_secs(300),
            tunnel_idle_timeout: Duration::from_secs(3600),
            lookup_timeout: Duration::from_secs(5),
            connections_max: 65_536,
            requests_max: 65_536,
        }
    }
}
