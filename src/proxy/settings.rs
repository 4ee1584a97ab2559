//! Bounds of downstream connections.

use std::time::Duration;

use crate::codec::Limits;

/// What a connection may take, and for how long.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bounds of request and response heads.
    pub limits: Limits,
    /// From the first byte of a request head to its last (`mesher.timeout.headerSeconds`).
    pub header_timeout: Duration,
    /// Between two requests on a connection (`mesher.timeout.idleSeconds`).
    pub idle_timeout: Duration,
    /// Silence within a body, either way (`mesher.timeout.streamIdleSeconds`); zero means none.
    pub stream_idle_timeout: Duration,
    /// How long a request waits for the first lookup of its service.
    pub lookup_timeout: Duration,
    /// Downstream connections of one shard (`mesher.limit.connections`); more wait in the kernel's queue.
    pub connections_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stream_idle_timeout: Duration::from_secs(300),
            lookup_timeout: Duration::from_secs(5),
            connections_max: 65_536,
        }
    }
}
