//! Reload: what of a configuration that was read anew is applied to the running node.
//!
//! ```text
//!   HUP --> read and check --- errors ---> what runs stays; logged, counted, shown by the admin
//!                 | none
//!                 v
//!           shards: terms of requests      a request in flight keeps those it began with
//!           control plane: strategies, time-outs of services, health checks
//!           node: drain settings           the rest waits for a restart or an upgrade; each such key is named
//! ```

use std::sync::PoisonError;

use mesher_actors::config::Effective;
use tracing::{error, info};

use super::node::Node;
use super::settings::Settings;
use crate::handler::destination::LocalPorts;
use crate::proxy::Policies;
use crate::shard::Command;

/// Keys that are read once, at the start; by prefix. A binary upgrade applies them without an interruption.
const READ_ONCE: [&str; 15] = [
    "servicecomb.service.",
    "servicecomb.registry.",
    "servicecomb.protocols.",
    "region.",
    "admin.",
    "mesher.shards",
    "mesher.registry.",
    "mesher.state.",
    "net.",
    "logWriters",
    "logFile",
    "logFormatText",
    "logColorMode",
    "logRotate",
    "logBackupCount",
];

/// The keys that differ and cannot change while mesher runs. Pure.
#[must_use]
pub fn needs_restart(old: &[Effective], new: &[Effective]) -> Vec<String> {
    let value = |all: &[Effective], key: &str| {
        all.binary_search_by(|entry| entry.key.as_str().cmp(key))
            .ok()
            .and_then(|at| all.get(at).map(|entry| entry.value.clone()))
    };
    let mut keys: Vec<&str> = old.iter().chain(new).map(|entry| entry.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter(|key| READ_ONCE.iter().any(|prefix| key.starts_with(prefix)))
        .filter(|key| value(old, key) != value(new, key))
        .map(str::to_owned)
        .collect()
}

impl Node {
    /// Goes over to settings that were read anew, or notes in a sentence why there are none.
    pub fn reload(&mut self, fresh: Result<Settings, String>) {
        let outcome = fresh.map(|fresh| self.apply(fresh));
        if let Err(error) = &outcome {
            error!(error, "the configuration is not reloaded; what ran goes on");
        }
        let config = self.view.reloaded(outcome);
        if config.last_reload_ok {
            info!(generation = config.generation, "configuration reloaded");
        }
    }

    fn apply(&mut self, fresh: Settings) {
        let fresh = self.settings.reloaded(fresh);
        let old = std::mem::replace(&mut self.settings, fresh);
        if self.settings.memory_bytes_max != old.memory_bytes_max {
            self.renew_memory_watch();
        }
        *self.upstreams.lock().unwrap_or_else(PoisonError::into_inner) = self.settings.upstreams.clone();
        self.control.reload(self.settings.checks.clone());
        self.watch_certificates_anew();
        self.renew_admin();
        self.tell_all(|| Command::Apply(Box::new(self.settings.policies.clone())));
    }
}

impl Settings {
    /// These settings, with all of `fresh` that can change while mesher runs.
    pub(super) fn reloaded(&self, fresh: Self) -> Self {
        let own = self.policies.ports.own.clone();
        // Listeners are found by the name of the service, which does not change while mesher runs.
        let renamed = fresh.identity.name != self.identity.name;
        let tls = if renamed { self.tls.clone() } else { fresh.tls.keeping(&self.tls) };
        let mut settings = Self {
            policies: Policies {
                ports: LocalPorts { own, ..fresh.policies.ports },
                local_policy: fresh.upstreams.of(&self.identity.name).policy,
                service: self.policies.service.clone(),
                ..fresh.policies
            },
            memory_bytes_max: fresh.memory_bytes_max,
            drain: fresh.drain,
            upgrade_ready_within: fresh.upgrade_ready_within,
            checks: fresh.checks,
            upstreams: fresh.upstreams,
            ..self.clone()
        };
        settings.secure_by(tls);
        settings
    }
}

#[cfg(test)]
mod tests {
    use mesher_actors::config::Origin;

    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> Vec<Effective> {
        let entry = |(key, value): &(&str, &str)| Effective {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            origin: Origin::Default,
        };
        pairs.iter().map(entry).collect()
    }

    #[test]
    fn only_what_is_read_once_needs_a_restart() {
        let old =
            entries(&[("mesher.drain.graceSeconds", "5"), ("mesher.shards", "1"), ("region.name", "a")]);
        let new = entries(&[
            ("logFile", "x"),
            ("logLevel", "DEBUG"),
            ("mesher.drain.graceSeconds", "6"),
            ("mesher.shards", "2"),
        ]);
        assert_eq!(needs_restart(&old, &new), ["logFile", "mesher.shards", "region.name"]);
        assert_eq!(needs_restart(&new, &new), [""; 0]);
    }
}
