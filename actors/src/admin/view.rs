//! What the admin needs to know of the rest of mesher, and nothing more.

use serde::Serialize;

/// The rest of mesher, as the admin sees it. Asked for each request on the admin's thread: answers from memory, at
/// once.
pub trait View: Send + Sync + 'static {
    /// Why mesher should get no traffic now, a sentence each; empty when it is ready. True to the moment: while
    /// starting, draining, or without a registry.
    fn readiness(&self) -> Vec<String>;

    /// The shards, by index.
    fn shards(&self) -> Vec<Shard>;

    /// Everything else a person who looks for a fault may want to see (`/ready?verbose`). No secrets.
    fn details(&self) -> serde_json::Value;
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
