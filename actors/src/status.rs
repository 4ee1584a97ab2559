//! What the control plane is doing, for people, probes and the admin: plain, cloneable, serialisable.
//!
//! Actors write to the one [`StatusBoard`] of their control plane; the admin reads it from its own thread. Nothing
//! decides by it. Both sides hold the lock for as long as it takes to change or copy a few values.
//!
//! # What makes mesher unready
//! - It is draining.
//! - The control plane has stopped, or has not begun.
//! - The registry has never answered since start and no last good state was found on disk: there is nothing to
//!   serve with.
//!
//! Nothing else does. A registry that went away leaves the last good answers, which serve on. A registration that is
//! pending, a failing local health check and a service without instances are shown, and are for the registry and for
//! callers to see: taking the whole sidecar out of service would help nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::registry::RegistrationState;
use crate::supervisor::{Lives, Report};
use crate::tls::Expiry;

/// The one place where a control plane's actors put their status.
#[derive(Debug, Default)]
pub struct StatusBoard(Mutex<Status>);

/// Everything the control plane tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Status {
    /// Whether there is a control plane.
    pub running: Running,
    /// Mesher is on its way out.
    pub draining: bool,
    /// The registry.
    pub registry: RegistryStatus,
    /// Our own registration.
    pub registration: RegistrationState,
    /// Services asked for so far.
    pub services: BTreeMap<Arc<str>, ServiceStatus>,
    /// Checks of the local service, in the order of the configuration.
    pub health_checks: Vec<CheckStatus>,
    /// Certificates, and the files that hold those to trust.
    pub certificates: Vec<Expiry>,
    /// Why files of TLS that have changed are not used: what was made of them before is.
    pub certificate_faults: Vec<String>,
    /// What is supervised, by name.
    pub supervised: BTreeMap<&'static str, Lives>,
    /// The last snapshot published to the shards; 0 before the first.
    pub snapshot_version: u64,
    /// Lookups refused because as many services as may be are known.
    pub lookups_refused: u64,
}

/// Whether the control plane runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Running {
    /// Not begun.
    #[default]
    Starting,
    /// Yes.
    Yes,
    /// It was stopped, or its thread died.
    Stopped,
}

/// Where we stand with the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RegistryStatus {
    /// `servicecenter`, `file`.
    pub kind: String,
    /// Its addresses or path.
    pub address: String,
    /// Whether it answers now.
    pub reach: Reach,
    /// When it last said that it is reachable or gave an answer; seconds since 1970.
    pub last_success_s: Option<u64>,
    /// The last good state found on disk at start.
    pub from_disk: Option<DiskStatus>,
}

/// Whether the registry answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Not tried yet.
    #[default]
    Unknown,
    /// Yes.
    Reachable,
    /// No, and why.
    Unreachable(String),
}

/// A last good state read from disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DiskStatus {
    /// When it was written; seconds since 1970.
    pub saved_s: u64,
    /// Services in it.
    pub services: usize,
}

/// One service as the shards see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// Who said so.
    pub origin: Origin,
    /// Version of the endpoints.
    pub version: Arc<str>,
    /// Addresses that are called.
    pub endpoints: Vec<String>,
    /// Instances in the registry, callable or not.
    pub instances_total: u32,
    /// Why `endpoints` has not all of them.
    pub left_out: Arc<str>,
    /// Why there is no such service, if there is none.
    pub absent: Option<Arc<str>>,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The registry, since this mesher started.
    Registry,
    /// The last good state on disk, from before this mesher started.
    Disk,
}

/// One check of the local service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckStatus {
    /// What is checked: `tcp://127.0.0.1:8080`.
    pub target: String,
    /// The last result; none before the first.
    pub healthy: Option<bool>,
    /// Why it failed; empty when it did not.
    pub why: String,
}

// === impl StatusBoard ===

impl StatusBoard {
    /// A board that says nothing yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A copy of everything.
    #[must_use]
    pub fn read(&self) -> Status {
        self.lock().clone()
    }

    /// Says that mesher is on its way out; there is no way back.
    pub fn set_draining(&self) {
        self.lock().draining = true;
    }

    /// Why mesher should get no traffic now, a sentence each; empty when it is ready. See the module.
    #[must_use]
    pub fn readiness(&self) -> Vec<String> {
        self.lock().readiness()
    }

    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut Status) -> R) -> R {
        change(&mut self.lock())
    }

    /// Counts what happened to something supervised.
    pub(crate) fn count(&self, name: &'static str, report: &Report<'_>) {
        self.lock().supervised.entry(name).or_default().count(report);
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Status ===

impl Status {
    /// Why mesher should get no traffic now, a sentence each; empty when it is ready. See the module.
    #[must_use]
    pub fn readiness(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.draining {
            reasons.push("draining".to_owned());
        }
        match self.running {
            Running::Starting => reasons.push("the control plane is starting".to_owned()),
            Running::Stopped => reasons.push("the control plane has stopped".to_owned()),
            Running::Yes => reasons.extend(self.registry.unready()),
        }
        reasons
    }
}

// === impl RegistryStatus ===

impl RegistryStatus {
    fn unready(&self) -> Option<String> {
        let on_disk = self.from_disk.as_ref().is_some_and(|disk| disk.services > 0);
        if self.last_success_s.is_some() || on_disk {
            return None;
        }
        let why = match &self.reach {
            Reach::Unreachable(why) => why,
            Reach::Unknown | Reach::Reachable => "waiting for its first answer",
        };
        Some(format!("registry {} has not answered yet and nothing is kept on disk: {why}", self.address))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    fn status(change: impl FnOnce(&mut Status)) -> Status {
        let mut status = Status { running: Running::Yes, ..Status::default() };
        status.registry.address = "http://10.0.0.1:30100".to_owned();
        change(&mut status);
        status
    }

    #[test]
    fn a_registry_that_never_answered_makes_unready_and_says_why() {
        let status = status(|s| s.registry.reach = Reach::Unreachable("connection refused".to_owned()));
        assert_eq!(
            status.readiness(),
            [
                "registry http://10.0.0.1:30100 has not answered yet and nothing is kept on disk: connection refused"
            ]
        );
    }

    #[test]
    fn a_registry_that_went_away_leaves_mesher_ready() {
        let status = status(|s| {
            s.registry.reach = Reach::Unreachable("connection refused".to_owned());
            s.registry.last_success_s = Some(1);
        });
        assert!(status.readiness().is_empty());
    }

    #[test]
    fn a_last_good_state_on_disk_makes_ready() {
        let with = |services| status(|s| s.registry.from_disk = Some(DiskStatus { saved_s: 1, services }));
        assert!(with(1).readiness().is_empty());
        assert_eq!(with(0).readiness().len(), 1, "unless there is nothing in it");
    }

    #[test]
    fn a_pending_registration_does_not_make_unready() {
        let status = status(|s| {
            s.registry.last_success_s = Some(1);
            s.registration = RegistrationState::Pending(Some("no quota".to_owned()));
        });
        assert!(status.readiness().is_empty());
    }

    #[test]
    fn draining_and_stopping_make_unready() {
        let status = status(|s| {
            s.registry.last_success_s = Some(1);
            s.draining = true;
            s.running = Running::Stopped;
        });
        assert_eq!(status.readiness(), ["draining", "the control plane has stopped"]);
    }

    #[test]
    fn it_serialises_to_plain_values() {
        let value = serde_json::to_value(status(|s| {
            s.registry.reach = Reach::Unreachable("gone".to_owned());
            s.registration = RegistrationState::Registered("i-1".into());
        }))
        .unwrap_or_default();
        assert_eq!(value["registry"]["reach"]["unreachable"], "gone");
        assert_eq!(value["registration"]["registered"], "i-1");
    }
}
