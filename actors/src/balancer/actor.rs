//! The actor of one upstream.

use std::sync::Arc;

use actix::prelude::*;
use tracing::{debug, info, warn};

use super::Upstream;
use super::select::{Selected, Selection, select};
use crate::registry::Answer;
use crate::registry::endpoint::EndpointError;
use crate::route::Resolved;
use crate::snapshot::{Resolution, Service};
use crate::status::{Origin, ServiceStatus, StatusBoard};

/// Turns what is said of one service into its [`Resolution`] for the shards.
///
/// Guarantee: words are passed on in the order they came, each once, before the next is taken. Dies alone: the
/// shards keep the last resolution, and the next word gets a new balancer.
pub(crate) struct Balancer {
    name: Arc<str>,
    selection: Selection,
    settings: Arc<dyn Fn(&str) -> Upstream + Send + Sync>,
    route: Recipient<Resolved>,
    board: Arc<StatusBoard>,
    /// Addresses complained of already.
    unreadable: Vec<(String, EndpointError)>,
}

/// What is said of a service.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum Word {
    /// The registry's answer.
    Answer {
        /// What it says.
        answer: Answer,
        /// Whether it says so now.
        origin: Origin,
    },
    /// There is nothing to call, for now and for this reason.
    Absent(Arc<str>),
    /// The service is no longer watched: the last word.
    Forgotten,
}

// === impl Balancer ===

impl Balancer {
    pub(crate) fn new(
        name: Arc<str>,
        selection: Selection,
        settings: Arc<dyn Fn(&str) -> Upstream + Send + Sync>,
        route: Recipient<Resolved>,
        board: Arc<StatusBoard>,
    ) -> Self {
        Self { name, selection, settings, route, board, unreadable: Vec::new() }
    }

    fn resolve(&mut self, word: Word) -> Option<Resolution> {
        match word {
            Word::Answer { answer: Answer::Instances(instances), origin } => {
                let selected = select(&self.name, &instances, &self.selection, &(self.settings)(&self.name));
                let service = self.note(selected, origin);
                Some(Resolution::Known(Arc::new(service)))
            }
            Word::Answer { answer: Answer::NoSuchService, origin } => {
                Some(self.absent("the registry does not know it".into(), origin))
            }
            Word::Absent(why) => Some(self.absent(why, Origin::Registry)),
            Word::Forgotten => {
                self.board.update(|status| status.services.remove(&self.name));
                None
            }
        }
    }

    /// Says in status and log what became of an answer.
    fn note(&mut self, selected: Selected, origin: Origin) -> Service {
        let Selected { service, unreadable } = selected;
        for (address, why) in unreadable.iter().filter(|one| !self.unreadable.contains(one)) {
            warn!(service = %self.name, %address, "address of an instance is skipped: {why}");
        }
        self.unreadable = unreadable;
        let status = ServiceStatus {
            origin,
            version: service.version.clone(),
            endpoints: service.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect(),
            instances_total: service.instances_total,
            left_out: service.left_out.clone(),
            absent: None,
        };
        self.show(status);
        service
    }

    fn absent(&self, why: Arc<str>, origin: Origin) -> Resolution {
        let empty: Arc<str> = "".into();
        self.show(ServiceStatus {
            origin,
            version: empty.clone(),
            endpoints: Vec::new(),
            instances_total: 0,
            left_out: empty,
            absent: Some(why.clone()),
        });
        Resolution::Absent(why)
    }

    fn show(&self, new: ServiceStatus) {
        let changed = self.board.update(|status| {
            let old = status.services.insert(self.name.clone(), new.clone());
            old.as_ref() != Some(&new)
        });
        if changed {
            let ServiceStatus { version, endpoints, left_out, absent, .. } = new;
            match absent {
                None => {
                    let endpoints = endpoints.join(", ");
                    info!(service = %self.name, %version, endpoints, %left_out, "service changed");
                }
                // Anybody can ask for any name, so this must not fill a log.
                Some(why) => debug!(service = %self.name, %why, "service cannot be resolved"),
            }
        }
    }
}

impl Actor for Balancer {
    type Context = Context<Self>;
}

impl Handler<Word> for Balancer {
    type Result = ();

    fn handle(&mut self, word: Word, ctx: &mut Self::Context) {
        let resolved = Resolved { service: self.name.clone(), resolution: self.resolve(word) };
        // Waits only while the route table has its hands full. An error means that the table is gone, and us next.
        ctx.wait(self.route.send(resolved).into_actor(self).map(|_, _, _| ()));
    }
}
