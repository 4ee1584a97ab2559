//! What the admin needs to know of the rest of mesher, and nothing more.

use serde::Serialize;

use crate::memory::Memory;
use crate::tls::Expiry;

/// The rest of mesher, as the admin sees it. Asked for each request on the admin's thread: answers from memory, at
/// once.
pub trait View: Send + Sync + 'static {
    /// Why mesher should get no traffic now, a sentence each; empty when it is ready. True to the moment: while
    /// starting, draining, or without a registry.
    fn readiness(&self) -> Vec<String>;

    /// How reloading the configuration went.
    fn config(&self) -> ConfigState;

    /// Certificates, and the files that hold those to trust.
    fn certificates(&self) -> Vec<Expiry>;

    /// The shards, by index.
    fn shards(&self) -> Vec<Shard>;

    /// The memory of the process; none while it is not watched.
    fn memory(&self) -> Option<Memory>;

    /// Everything else a person who looks for a fault may want to see (`/ready?verbose`). No secrets.
    fn details(&self) -> serde_json::Value;
}

/// Which configuration is in force, and how the last attempt to change it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigState {
    /// Counts configurations in force; 1 is the one of the start.
    pub generation: u64,
    /// Attempts to reload it since the start.
    pub reloads: u64,
    /// The last attempt succeeded, or there was none.
    pub last_reload_ok: bool,
    /// Why it did not; empty if it did.
    pub error: String,
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shard {
    /// Its thread runs.
    pub alive: bool,
    /// I/O driver it runs on: `uring` or `epoll`.
    pub driver: String,
    /// Why this driver and not the better one; empty when there is nothing to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl Default for ConfigState {
    /// As at the start.
    fn default() -> Self {
        Self { generation: 1, reloads: 0, last_reload_ok: true, error: String::new() }
    }
}

/// The service this mesher stands for, as registered.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Application.
    pub app: String,
    /// Service name.
    pub service: String,
    /// Version of the service.
    pub version: String,
}

/// The program that runs.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// Version of mesher.
    pub version: String,
    /// Revision it was built from; empty if unknown.
    pub commit: String,
    /// When it was built; empty if unknown.
    pub built: String,
}
