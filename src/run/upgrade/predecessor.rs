//! The old process as the new one sees it.

use std::env;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesher_actors::registry::RegistrationState;
use mesher_actors::status::Status;

use super::words::{Answer, Line, Offer, Order, Silence};
use crate::net;
use crate::run::node::Node;
use crate::run::signals::Signal;

/// Tells a process that it is to take over from another, and how to reach that.
pub(super) const VARIABLE: &str = "MESHER_UPGRADE";
/// The only way there is: a Unix socket as standard input.
pub(super) const STDIN: &str = "stdin";

/// For the old process to say what it has; it does so at once.
const OFFER_WITHIN: Duration = Duration::from_secs(10);
/// For it to say that we are to serve, once we are ready; it stops its admin first, which takes two seconds at most.
const ORDER_WITHIN: Duration = Duration::from_secs(60);
/// For an instance of our own to be registered before the old process takes out its own.
const REGISTERED_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at what is missing.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The process that serves, and will until we do.
#[derive(Debug)]
pub struct Predecessor {
    line: Line,
    offer: Offer,
    sockets: Vec<TcpListener>,
}

impl Predecessor {
    /// Who has started us to take over, if that is why we run; with everything it leaves to us.
    ///
    /// # Errors
    /// There should be somebody, and is not.
    pub fn find() -> Result<Option<Self>, String> {
        match env::var_os(VARIABLE) {
            None => Ok(None),
            Some(how) if how == STDIN => Self::hear_out().map(Some).map_err(|why| {
                format!("{VARIABLE} says that another mesher leaves its place to this one, but {why}")
            }),
            Some(how) => Err(format!("{VARIABLE} is {how:?}; unset it, mesher sets it for its successor")),
        }
    }

    fn hear_out() -> Result<Self, String> {
        let socket = net::stdin_socket().map_err(|error| format!("the standard input is not it: {error}"))?;
        let given = socket.set_read_timeout(Some(OFFER_WITHIN)).and_then(|()| net::take_over(&socket));
        let sockets = given.map_err(|error| format!("no sockets come from it: {error}"))?;
        let mut line = Line::new(socket);
        let offer = line.hear(OFFER_WITHIN).map_err(|silence| silence.to_string())?;
        Ok(Self { line, offer, sockets: sockets.into_iter().map(TcpListener::from).collect() })
    }

    /// The listening sockets, once.
    pub fn take_sockets(&mut self) -> Vec<TcpListener> {
        std::mem::take(&mut self.sockets)
    }

    /// What else it leaves.
    pub(in crate::run) fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Tells it why we do not take over. It serves on.
    pub fn refuse(mut self, why: &str) {
        // If it is gone there is nobody to tell.
        let _ = self.line.say(&Answer::Refused { why: why.to_owned() });
    }

    /// Gets the node ready and, when the old process says so, has it serve.
    ///
    /// # Errors
    /// Why not: what is missing after `ready_within`, or a signal to end.
    pub fn relieve(
        &mut self,
        node: &mut Node,
        ready_within: Duration,
        signals: &flume::Receiver<Signal>,
    ) -> Result<(), String> {
        let keeps_instance = node.keeps_instance(&self.offer);
        if keeps_instance {
            node.announce();
        }
        // Something to ask, even of a registry of which the old process knows nothing: that it answers is to be seen.
        let mut services = self.offer.services.clone();
        services.extend((!keeps_instance).then(|| node.own_name()));
        node.expect(services);
        let must_register = keeps_instance && self.offer.is_registered;
        wait(node, ready_within, signals, |status| missing(status, &self.offer, must_register))?;
        let order = match self.line.say(&Answer::Ready { keeps_instance }) {
            Ok(()) => self.line.hear(ORDER_WITHIN),
            Err(_) => Err(Silence::Gone),
        };
        match order {
            // Nobody serves any more.
            Ok(Order::TakeOver) | Err(Silence::Gone) => {}
            Err(silence) => return Err(format!("the old process should say when to serve, but {silence}")),
        }
        node.open().map_err(|error| error.to_string())?;
        if !keeps_instance && node.announce() {
            // The old instance goes in any case.
            let _ =
                wait(node, REGISTERED_WITHIN, signals, |status| unregistered(status).into_iter().collect());
        }
        // An old process that is gone need not know.
        let _ = self.line.say(&Answer::Serving);
        Ok(())
    }
}

/// Waits until nothing is missing.
fn wait(
    node: &Node,
    within: Duration,
    signals: &flume::Receiver<Signal>,
    missing: impl Fn(&Status) -> Vec<String>,
) -> Result<(), String> {
    let deadline = Instant::now() + within;
    loop {
        let missing = missing(&node.status());
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("not ready within {within:?}: {}", missing.join("; ")));
        }
        if let Ok(Signal::Terminate | Signal::Interrupt) = signals.recv_timeout(LOOK_EVERY) {
            return Err("told to end by a signal".to_owned());
        }
    }
}

/// What keeps the new process from being as good as the old one, a sentence each.
fn missing(status: &Status, offer: &Offer, must_register: bool) -> Vec<String> {
    let mut missing = status.readiness();
    let why_unknown = |name: &Arc<str>| match status.services.get(name) {
        Some(service) => service.absent.as_ref().map(|why| format!("service {name} is not known: {why}")),
        None => Some(format!("service {name} is not known yet")),
    };
    // One stands for all: there may be a thousand.
    missing.extend(offer.services.iter().find_map(why_unknown));
    missing.extend(unregistered(status).filter(|_| must_register));
    missing
}

fn unregistered(status: &Status) -> Option<String> {
    match &status.registration {
        RegistrationState::Registered(_) => None,
        RegistrationState::Pending(Some(why)) => Some(format!("our instance is not registered: {why}")),
        RegistrationState::Pending(None) | RegistrationState::Absent => {
            Some("our instance is not registered yet".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use mesher_actors::status::{Origin, Reach, Running, ServiceStatus};

    use super::*;

    fn ready() -> Status {
        let mut status = Status { running: Running::Yes, ..Status::default() };
        status.registry.last_success_s = Some(1);
        status
    }

    fn known() -> ServiceStatus {
        ServiceStatus {
            origin: Origin::Registry,
            version: "1".into(),
            endpoints: Vec::new(),
            instances_total: 0,
            left_out: "".into(),
            absent: None,
        }
    }

    #[test]
    fn every_service_that_the_old_process_knew_is_waited_for() {
        let offer = Offer { services: vec!["orders".into(), "users".into()], ..Offer::default() };
        let mut status = ready();
        assert_eq!(missing(&status, &offer, false), ["service orders is not known yet"]);
        status.services.insert("orders".into(), known());
        let late = ServiceStatus { absent: Some("no answer".into()), ..known() };
        status.services.insert("users".into(), late);
        assert_eq!(missing(&status, &offer, false), ["service users is not known: no answer"]);
        status.services.insert("users".into(), known());
        assert!(missing(&status, &offer, false).is_empty());
    }

    #[test]
    fn a_registration_is_waited_for_where_the_old_process_had_one() {
        let mut status = ready();
        status.registration = RegistrationState::Pending(Some("no quota".into()));
        assert!(missing(&status, &Offer::default(), false).is_empty());
        assert_eq!(missing(&status, &Offer::default(), true), ["our instance is not registered: no quota"]);
        status.registration = RegistrationState::Registered("i1".into());
        assert!(missing(&status, &Offer::default(), true).is_empty());
    }

    #[test]
    fn a_registry_that_does_not_answer_is_the_reason_given() {
        let mut status = ready();
        status.registry.reach = Reach::Unreachable("connection refused".into());
        status.registry.last_success_s = None;
        assert!(missing(&status, &Offer::default(), false).first().unwrap().contains("connection refused"));
    }
}
