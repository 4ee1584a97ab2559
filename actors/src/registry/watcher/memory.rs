//! What the watcher works with and what outlives it: names, answers, and what the registry is to know of us.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use tracing::{info, warn};

use super::names::Names;
use crate::balancer::{Selection, Upstream};
use crate::registry::Source;
use crate::registry::instance::{Registration, Status};
use crate::snapshot::stats::{Board, Direction, OVERFLOW};
use crate::state::{self, Key, Saved, StateError};
use crate::status::{DiskStatus, StatusBoard};

/// How a watcher works.
pub(crate) struct Settings {
    /// Makes a source.
    pub(crate) source: Box<dyn Fn() -> Box<dyn Source>>,
    /// Whose instances are called.
    pub(crate) selection: Selection,
    /// What the configuration says of a service.
    pub(crate) upstream: Arc<dyn Fn(&str) -> Upstream + Send + Sync>,
    /// Where and under which key the last good state is kept.
    pub(crate) state: Option<(PathBuf, Key)>,
    /// Most names to know at a time.
    pub(crate) services_max: usize,
    /// Tells which services are called.
    pub(crate) requests: Arc<Board>,
}

/// What outlives the actor: names, their last good answers, and what the registry is to know of us.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(super) names: Names,
    pub(super) registration: Option<Arc<Registration>>,
    /// The status our instance is to have, if anybody has said so.
    pub(super) status: Option<Status>,
    /// The last failure to write, so that it is not said each second.
    save_failure: Option<String>,
}

// === impl Memory ===

impl Memory {
    /// Begins with what is on disk.
    pub(crate) fn load(settings: &Settings, board: &StatusBoard) -> Self {
        let mut names = Names::new(settings.services_max);
        match settings.state.as_ref().map(|(dir, key)| state::load(dir, key)) {
            Some(Ok(Some(Saved { saved_s, services }))) => {
                info!(services = services.len(), saved_s, "last good state found on disk");
                let from_disk = DiskStatus { saved_s, services: services.len() };
                board.update(|status| status.registry.from_disk = Some(from_disk));
                names.restore(services, Instant::now());
            }
            Some(Err(error)) => warn!(%error, "last good state on disk is ignored"),
            Some(Ok(None)) | None => {}
        }
        Self { names, registration: None, status: None, save_failure: None }
    }

    /// Writes the last good state to disk, if it is not there already.
    pub(crate) fn save(&mut self, settings: &Settings) {
        let Some((dir, key)) = settings.state.as_ref().filter(|_| self.names.unsaved) else { return };
        self.names.unsaved = false;
        let saved = Saved { saved_s: now_s(), services: self.names.good() };
        let failure = state::save(dir, key, &saved).err().as_ref().map(StateError::to_string);
        if let Some(error) = failure.as_ref().filter(|_| failure != self.save_failure) {
            warn!(%error, "last good state cannot be written; a start without the registry will know nothing");
        }
        self.save_failure = failure;
    }
}

/// The time of day, seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Requests counted so far, as a function of the service.
pub(super) fn requests(board: &Board) -> impl Fn(&str) -> u64 + use<> {
    let mut counts = HashMap::<Arc<str>, u64>::new();
    for series in board.all_series().iter().filter(|series| series.labels.direction == Direction::Outgoing) {
        let requests: u64 = series.latency.buckets().iter().sum();
        *counts.entry(series.labels.service.clone()).or_default() += requests;
    }
    // Services beyond the bound are counted together, and are called if any of them is.
    let overflow = counts.get(OVERFLOW).copied().unwrap_or(0);
    move |service| counts.get(service).copied().unwrap_or(0) + overflow
}
