//! Services and instances in mesher's own words; each registry's wire format is translated into these.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Who we are: `servicecomb.service.*` of microservice.yaml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Application, `default` unless set.
    pub app: Arc<str>,
    /// Service name.
    pub name: Arc<str>,
    /// Version, `a.b.c`.
    pub version: Arc<str>,
    /// Environment; empty unless set.
    pub environment: Arc<str>,
}

/// Everything a registry is told about our own instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The service.
    pub service: Identity,
    /// Callable from other applications (`servicecomb.registry.scope: full`).
    pub cross_app: bool,
    /// `SIDECAR` or `SDK`, as Mesher says it.
    pub registered_by: &'static str,
    /// Version of this mesher.
    pub framework_version: &'static str,
    /// `rest://ip:port`, …
    pub endpoints: Vec<String>,
    /// Host name, 1..=64 characters.
    pub host_name: String,
    /// Instance properties.
    pub properties: BTreeMap<String, String>,
    /// `region.*`, if set.
    pub zone: Option<Zone>,
    /// Status to start with.
    pub status: Status,
}

/// Where an instance stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Data centre or region name.
    pub region: Arc<str>,
    /// Availability zone.
    pub zone: Arc<str>,
}

/// What a registry says about whether an instance may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Status {
    /// Callable.
    #[default]
    Up,
    /// Not callable.
    Down,
    /// Not yet callable.
    Starting,
    /// Callable, as in Mesher.
    Testing,
    /// Taken out by hand.
    OutOfService,
}

impl Status {
    /// Mesher calls instances that are UP or TESTING.
    #[must_use]
    pub const fn callable(self) -> bool {
        matches!(self, Self::Up | Self::Testing)
    }
}

/// One instance of a service as a registry lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Id the registry gave it; unique within the registry.
    pub id: Arc<str>,
    /// Application of its service.
    pub app: Arc<str>,
    /// Version of its service.
    pub version: Arc<str>,
    /// Environment of its service.
    pub environment: Arc<str>,
    /// May it be called.
    pub status: Status,
    /// Addresses as registered, `scheme://host:port?flags`; those that cannot be read are skipped later, one by one.
    pub endpoints: Vec<String>,
    /// Properties of the instance.
    pub properties: BTreeMap<String, String>,
    /// Where it stands.
    pub zone: Option<Zone>,
}
