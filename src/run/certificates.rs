//! Certificates while mesher runs: a thread watches their files, and what it makes of new ones goes to the shards. New handshakes use
//! them; what is connected stays connected.

use std::io;

use mesher_actors::tls::{Keeper, Tls};
use tracing::error;

use super::node::Node;
use super::settings::Settings;
use crate::shard::Command;

impl Node {
    /// Watches the files of the settings in force. Does nothing while there are none.
    pub(super) fn watch_certificates(&mut self) -> io::Result<()> {
        let tls = &self.settings.tls;
        match &self.certificates {
            Some(keeper) => keeper.replace(tls.clone()),
            None if tls.is_empty() => {}
            None => {
                let renewed = self.renewals.0.clone();
                let changed = move |tls| {
                    // Nobody listens any more once the node is being dropped.
                    let _ = renewed.send(tls);
                };
                let status = self.control.status();
                self.certificates = Some(Keeper::start(tls.clone(), status, Box::new(changed))?);
            }
        }
        Ok(())
    }

    /// As [`watch_certificates`](Self::watch_certificates), for a node that runs anyhow.
    pub(super) fn watch_certificates_anew(&mut self) {
        if let Err(error) = self.watch_certificates() {
            error!(%error, "cannot watch certificates; they are read again by a reload only (SIGHUP)");
        }
    }

    /// Goes over to what was made of new files. What was under way when the configuration was reloaded is of no use.
    pub(super) fn renew_certificates(&mut self, fresh: Tls) {
        if fresh.is_renewal_of(&self.settings.tls) {
            self.settings.secure_by(fresh);
            self.tell_all(|| Command::Apply(Box::new(self.settings.policies.clone())));
            self.renew_admin();
        }
    }

    /// The admin presents what the settings say. Who is connected to it stays connected.
    pub(super) fn renew_admin(&self) {
        if let Some(admin) = &self.admin {
            admin.secure(self.settings.tls.admin());
        }
    }
}

impl Settings {
    /// From now on TLS is this.
    pub(super) fn secure_by(&mut self, tls: Tls) {
        self.policies.tls = tls.table();
        self.registry.secure(&tls);
        self.tls = tls;
    }
}
