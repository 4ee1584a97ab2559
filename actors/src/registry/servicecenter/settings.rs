//! Where service-center is and how to talk to it. Knows no configuration file: others read the keys, this checks
//! the values.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rustls::pki_types::ServerName;

use super::wire;
use crate::registry::instance::Identity;
use crate::tls::SharedClient;

/// Shortest time between two pulls or two heartbeats: below it a slip of the pen (`1` for `1m`) is a flood.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Longest: service-center takes an interval of some days and would list our instance as long after our death.
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// How to talk to service-center.
#[derive(Debug, Clone)]
pub struct ServiceCenterSettings {
    /// Its addresses, at least one; the first that answers is used.
    pub addresses: Vec<Address>,
    /// Project in the path of every call, `default` unless set.
    pub project: Arc<str>,
    /// Application whose services are looked for: our own.
    pub app: Arc<str>,
    /// Environment whose services are looked for: our own.
    pub environment: Arc<str>,
    /// Time between two pulls.
    pub refresh_interval: Duration,
    /// Time between two heartbeats. Service-center is told to drop the instance after four of them are missed.
    pub heartbeat_interval: Duration,
    /// Listen for changes on a socket, besides pulling.
    pub watch: bool,
    /// Id of our instance, made here by chance: each restart of the source registers the same instance, and
    /// registering twice is harmless.
    pub instance_id: Arc<str>,
    /// The id is that of an instance which another process has registered and leaves to us.
    pub is_inherited: bool,
    /// How addresses that say https are called. Made here to believe everybody.
    pub tls: SharedClient,
}

/// One address of service-center.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    base: Url,
    authority: String,
}

impl ServiceCenterSettings {
    /// Checks the values and says of each wrong one which key it belongs to.
    ///
    /// # Errors
    /// Every problem found, each naming its key.
    pub fn try_new(
        addresses: &str,
        project: &str,
        service: &Identity,
        refresh_interval: Duration,
        heartbeat_interval: Duration,
        watch: bool,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let addresses = read_addresses(addresses, &mut problems);
        if !wire::usable_in_path(project) {
            problems.push(format!(
                "CSE_PROJECT_ID: {project:?} cannot be a project name; leave it out for `default`"
            ));
        }
        check_interval("servicecomb.registry.refreshInterval", refresh_interval, &mut problems);
        check_interval("servicecomb.registry.heartbeat.interval", heartbeat_interval, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            addresses,
            project: project.into(),
            app: Arc::clone(&service.app),
            environment: Arc::clone(&service.environment),
            refresh_interval,
            heartbeat_interval,
            watch,
            instance_id: fresh_id(),
            is_inherited: false,
            tls: SharedClient::default(),
        })
    }
}

impl Address {
    /// Reads `host:port`, `http://host:port` or `https://host:port`.
    pub(super) fn try_new(text: &str) -> Result<Self, String> {
        const KEY: &str = "servicecomb.registry.address";
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return Err(format!("{KEY}: {text:?}: unknown scheme {scheme:?}; use http or https"));
        }
        let base = Url::parse(&format!("{scheme}://{rest}")).map_err(|e| format!("{KEY}: {text:?}: {e}"))?;
        let extra = !matches!(base.path(), "" | "/") || base.query().is_some() || base.fragment().is_some();
        if extra || !base.username().is_empty() || base.password().is_some() {
            return Err(format!("{KEY}: {text:?}: give only host and port, such as 127.0.0.1:30100"));
        }
        // The URL parser drops the port 80 of http and 443 of https; we want to see that one was written.
        let written =
            rest.trim_end_matches('/').rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let (Some(host), true) = (base.host_str(), written) else {
            return Err(format!("{KEY}: {text:?} has no port; service-center listens on 30100 by default"));
        };
        let authority = format!("{host}:{}", base.port_or_known_default().unwrap_or(80));
        Ok(Self { base, authority })
    }

    /// The root of the server's paths.
    pub(super) const fn base(&self) -> &Url {
        &self.base
    }

    /// Whom to expect there, if it is called by TLS.
    pub(super) fn server_name(&self) -> Option<Result<ServerName<'static>, String>> {
        if self.base.scheme() != "https" {
            return None;
        }
        let host = self.base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned());
        Some(name.map_err(|_| format!("{host:?} is no name that TLS can verify")))
    }

    /// `host:port`, for connecting and for messages.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

/// A random number of 0 to 1. The hasher's keys are seeded by the system and differ with every call.
pub(super) fn draw() -> f64 {
    f64::from((RandomState::new().hash_one(0_u8) >> 32) as u32) / f64::from(u32::MAX)
}

fn fresh_id() -> Arc<str> {
    let part = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", part(), part()).into()
}

fn read_addresses(text: &str, problems: &mut Vec<String>) -> Vec<Address> {
    let mut addresses = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match Address::try_new(entry) {
            Ok(address) if addresses.contains(&address) => {}
            Ok(address) => addresses.push(address),
            Err(problem) => problems.push(problem),
        }
    }
    if addresses.is_empty() && problems.is_empty() {
        problems.push(
            "servicecomb.registry.address is empty; give the address of service-center, such as 127.0.0.1:30100"
                .into(),
        );
    }
    addresses
}

fn check_interval(key: &str, interval: Duration, problems: &mut Vec<String>) {
    if interval < INTERVAL_MIN || interval > INTERVAL_MAX {
        problems.push(format!("{key}: {interval:?} is out of range; give a time from 1s to 1h"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn settings(addresses: &str, project: &str, refresh: u64) -> Result<ServiceCenterSettings, Vec<String>> {
        let service =
            Identity { app: "shop".into(), name: "a".into(), version: "1.0".into(), environment: "".into() };
        let refresh = Duration::from_secs(refresh);
        ServiceCenterSettings::try_new(addresses, project, &service, refresh, Duration::from_secs(30), true)
    }

    #[track_caller]
    fn addresses(text: &str, expected: &[&str]) {
        let settings = settings(text, "default", 30).unwrap();
        let read: Vec<_> = settings.addresses.iter().map(Address::authority).collect();
        assert_eq!(read, expected);
    }

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let problems = settings(text, "default", 30).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].contains("servicecomb.registry.address") && problems[0].contains(why),
            "{problems:?}"
        );
    }

    #[test]
    fn addresses_are_a_comma_list_with_or_without_scheme() {
        addresses("127.0.0.1:30100", &["127.0.0.1:30100"]);
        addresses("http://sc-1:30100/, HTTP://sc-2:80 ,sc-1:30100", &["sc-1:30100", "sc-2:80"]);
        addresses("[::1]:30100", &["[::1]:30100"]);
        addresses("https://sc:443,https://[::1]:30100", &["sc:443", "[::1]:30100"]);
    }

    #[test]
    fn a_wrong_address_is_refused_with_the_reason() {
        refused("", "is empty");
        refused(" , ", "is empty");
        refused("ftp://sc:30100", "unknown scheme");
        refused("sc", "no port");
        refused("[::1]", "no port");
        refused("sc:30100/v4", "only host and port");
        refused("me:secret@sc:30100", "only host and port");
        refused("sc:99999", "port");
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let problems = settings("sc,ftp://sc:1", "..", 0).unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems.iter().any(|p| p.starts_with("CSE_PROJECT_ID")), "{problems:?}");
        assert!(
            problems.iter().any(|p| p.starts_with("servicecomb.registry.refreshInterval")),
            "{problems:?}"
        );
    }

    #[test]
    fn every_instance_gets_an_id_of_its_own() {
        let (one, other) =
            (settings("sc:1", "default", 30).unwrap(), settings("sc:1", "default", 30).unwrap());
        assert_eq!(one.instance_id.len(), 32);
        assert_ne!(one.instance_id, other.instance_id);
    }
}
