//! What a node does to hand over to another process, and to take over from one.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mesher_actors::registry::RegistrationState;
use mesher_actors::registry::instance::{Registration, Status as InstanceStatus};
use mesher_actors::status::Status;
use tracing::{error, info, warn};

use super::predecessor::Predecessor;
use super::successor::{NotReady, Prepared, Successor};
use super::words::Offer;
use crate::run::drain::HandedOver;
use crate::run::node::Node;
use crate::run::settings::Settings;

/// The process whose end is the end of its container.
const INIT: u32 = 1;

impl Node {
    /// Starts a process that is to take over. [`Node::supervise`] follows it; whatever goes wrong is logged, and this
    /// node serves on.
    pub fn begin_upgrade(&mut self) {
        if let Some(successor) = &self.successor {
            warn!(pid = successor.id(), "an upgrade is under way already; this signal is ignored");
            return;
        }
        match self.start_successor() {
            Ok(successor) => {
                let program = successor.program().display().to_string();
                info!(pid = successor.id(), program, "upgrade: a new process gets ready to take over");
                self.successor = Some(successor);
            }
            Err(why) => refused(&why),
        }
    }

    fn start_successor(&self) -> Result<Successor, String> {
        if std::process::id() == INIT {
            return Err(
                "mesher is process 1, with which its container ends; replace the container".to_owned()
            );
        }
        let sockets: io::Result<Vec<OwnedFd>> = self.sockets.duplicates();
        let sockets =
            sockets.map_err(|error| format!("the listening sockets cannot be duplicated: {error}"))?;
        Successor::start(self.offer(), sockets, self.settings.upgrade_ready_within)
    }

    /// Has the new process serve, if it can. None if it does not, and this node goes on.
    pub(in crate::run) fn hand_over(&mut self, answer: Result<Prepared, NotReady>) -> Option<HandedOver> {
        let successor = self.successor.take()?;
        let pid = successor.id();
        let prepared = match answer {
            Ok(prepared) => prepared,
            Err(why) => {
                refused(&successor.end(why));
                return None;
            }
        };
        let keeps_instance = prepared.keeps_instance;
        self.close_admin();
        match successor.take_over(prepared) {
            Ok(()) => Some(HandedOver { pid, keeps_instance }),
            Err(why) => {
                refused(&why);
                if let Err(error) = self.open_admin() {
                    error!(%error, "the admin cannot be opened again");
                }
                None
            }
        }
    }

    fn offer(&self) -> Offer {
        let status = self.status();
        let (instance, is_registered) = match &status.registration {
            RegistrationState::Registered(id) => (Some(id.clone()), true),
            _ => (self.settings.registry.instance(), false),
        };
        let known = status.services.iter().filter(|(_, service)| service.absent.is_none());
        Offer {
            instance,
            registration: self.settings.registration_in_words(),
            is_registered,
            services: known.map(|(name, _)| name.clone()).collect(),
        }
    }

    pub(super) fn status(&self) -> Status {
        self.control.status().read()
    }

    pub(super) fn own_name(&self) -> Arc<str> {
        self.settings.identity.name.clone()
    }

    /// Has these services known before anybody asks for them.
    pub(super) fn expect(&self, services: Vec<Arc<str>>) {
        self.control.expect(services);
    }

    /// Whether the instance of the other process is ours, too.
    pub(super) fn keeps_instance(&self, offer: &Offer) -> bool {
        self.settings.keeps_instance(offer)
    }
}

impl Settings {
    /// All that is registered and where, in words to be compared with those of another process. Neither the version of
    /// mesher nor the status is among it: those can change without a new registration.
    pub(super) fn registration_in_words(&self) -> Option<String> {
        let registration = Registration {
            framework_version: "",
            status: InstanceStatus::default(),
            ..self.registration.clone()?
        };
        Some(format!("{:?}", (self.registry.name(), self.registry.project(), registration)))
    }

    /// Takes on the instance that another process has registered, if this one would register the same.
    pub fn inherit(&mut self, predecessor: &Predecessor) {
        let offer = predecessor.offer();
        if let Some(instance) = &offer.instance
            && self.keeps_instance(offer)
        {
            self.registry.inherit(instance.clone());
        }
    }

    /// Whether this process registers what the other has registered.
    pub(super) fn keeps_instance(&self, offer: &Offer) -> bool {
        offer.registration.is_some() && offer.registration == self.registration_in_words()
    }
}

fn refused(why: &str) {
    error!(why, "upgrade failed; this process serves on");
}
