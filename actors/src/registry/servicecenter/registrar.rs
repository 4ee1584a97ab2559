//! Our own registration: makes it, keeps it alive, makes it again when service-center forgot it, takes it out.
//!
//! Pure: knows no socket and no clock. The source asks [`Registrar::poll`] what to call, carries it out, and tells
//! [`Registrar::finished`] how it went; there is never more than one call under way.
//!
//! ```text
//!                                             ┌── 400012: the service is gone ──┐
//!                                             ▼                                 │
//!   Idle ── register ──► FindService ──► CreateService ──► CreateInstance ──► Alive ◄── heartbeat, status
//!    ▲                        └──────── found ────────────────▲                 │ 400017, or doubt
//!    │                                                        └── service ── Confirm
//!    └────────── Remove ◄── withdraw, from anywhere               there
//! ```
//!
//! Any other failure keeps step and instance id and tries again later: service-center drops an instance only after
//! four missed heartbeats, so a time-out is no reason to register again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::{Backoff, jittered};
use super::call::{Call, Outcome, Ticket, Verdict};
use super::wire::Code;
use crate::registry::RegistrationState;
use crate::registry::instance::{Registration, Status};

/// First pause after a failed registration: a service-center that is just starting is caught early.
const REGISTER_PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Growth of the pauses: after an outage we are back before half of its length has passed again.
const REGISTER_PAUSE_FACTOR: f64 = 1.5;
/// Longest pause, as in Mesher: a large fleet must not beat down a service-center that is in trouble.
const REGISTER_PAUSE_MAX: Duration = Duration::from_secs(180);
/// Pause after a failed heartbeat: there is time for several before the instance expires.
const HEARTBEAT_PAUSE: Duration = Duration::from_secs(10);
/// Pause after a status that could not be set: callers wait for it.
const STATUS_PAUSE: Duration = Duration::from_secs(2);
/// Time after registering in which service-center may still deny the instance: it renews the lease of the one
/// before, until its cache has taken in the end of that, after 2.3 s.
const SETTLE: Duration = Duration::from_secs(3);
/// How long taking the instance out may last: it must not hold up the exit, and four missed heartbeats end the
/// instance anyway.
pub(super) const REMOVE_DEADLINE: Duration = Duration::from_secs(5);
/// How long taking out waits for a registration under way, which could otherwise be carried out after it.
const REMOVE_WAITS_FOR_CREATE: Duration = Duration::from_secs(1);
/// Pause after a failed try to take the instance out.
const REMOVE_PAUSE: Duration = Duration::from_millis(500);

/// The machine.
#[derive(Debug)]
pub(super) struct Registrar {
    heartbeat_interval: Duration,
    /// Chosen by us, kept for good: what is registered again is the same instance.
    instance: Arc<str>,
    /// Somebody else has registered it: its status there is not ours to know before we have set it.
    is_inherited: bool,
    wanted: Option<Arc<Registration>>,
    /// Status asked for by command, which outlives registrations.
    status: Option<Status>,
    /// Status service-center has; `None` when in doubt.
    status_there: Option<Status>,
    service: Option<Arc<str>>,
    /// Service-center may have an instance of ours: a registration was at least sent.
    /// Invariant: then its service is known.
    maybe_there: bool,
    created_at: Option<Instant>,
    step: Step,
    /// When the step may be tried; in [`Step::Alive`] the next heartbeat.
    due: Instant,
    status_due: Instant,
    /// Somebody saw signs that service-center forgot us.
    doubt: bool,
    under_way: Option<UnderWay>,
    tickets: Ticket,
    backoff: Backoff,
    failure: Option<String>,
    removal: Option<Result<(), String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Idle,
    FindService,
    CreateService,
    CreateInstance,
    Alive,
    Confirm { instance_lost: bool },
    Remove { until: Instant },
}

/// The call under way.
#[derive(Debug)]
struct UnderWay {
    ticket: Ticket,
    step: Step,
    /// The status sent with it, if one was.
    status: Option<Status>,
}

impl Registrar {
    /// A machine that does nothing until [`Self::register`]; `instance` is the id to register under, and
    /// `is_inherited` says that somebody else has done so.
    pub(super) fn new(
        instance: Arc<str>,
        is_inherited: bool,
        heartbeat_interval: Duration,
        now: Instant,
    ) -> Self {
        Self {
            heartbeat_interval,
            instance,
            is_inherited,
            wanted: None,
            status: None,
            status_there: None,
            service: None,
            maybe_there: false,
            created_at: None,
            step: Step::Idle,
            due: now,
            status_due: now,
            doubt: false,
            under_way: None,
            tickets: 0,
            backoff: Backoff::new(REGISTER_PAUSE_FIRST, REGISTER_PAUSE_FACTOR, REGISTER_PAUSE_MAX),
            failure: None,
            removal: None,
        }
    }

    /// Registers, or registers anew if what is registered differs. The latest command wins.
    pub(super) fn register(&mut self, registration: Arc<Registration>, now: Instant) {
        if self.wanted.as_ref() == Some(&registration) {
            return;
        }
        self.wanted = Some(registration);
        match self.step {
            // What follows the removal is decided at its end.
            Step::Remove { .. } => {}
            // A known instance is not changed by registering it again: it has to go first.
            _ if self.maybe_there => self.remove(now),
            _ => self.start(now),
        }
    }

    /// Sets the status and keeps it over registrations.
    pub(super) fn set_status(&mut self, status: Status, now: Instant) {
        self.status = Some(status);
        self.status_due = now;
    }

    /// Takes the instance out and stays out; [`Self::take_removal`] tells the end of it.
    pub(super) fn withdraw(&mut self, now: Instant) {
        self.wanted = None;
        match self.step {
            Step::Remove { .. } => {}
            _ if self.maybe_there && self.service.is_some() => self.remove(now),
            _ => self.removed(Ok(()), now),
        }
    }

    /// Leaves the instance as it is to whoever has taken it over: no call more, and the service stays known. A removal
    /// that has begun is ended first: somebody waits for it.
    pub(super) fn release(&mut self) {
        self.wanted = None;
        if !matches!(self.step, Step::Remove { .. }) {
            self.under_way = None;
            self.failure = None;
            self.maybe_there = false;
            self.step = Step::Idle;
        }
    }

    /// The outcome of a removal, once.
    pub(super) fn take_removal(&mut self) -> Option<Result<(), String>> {
        self.removal.take()
    }

    /// Service-center seems not to know our service: look soon.
    pub(super) fn suspect(&mut self, now: Instant) {
        match self.step {
            Step::Alive => self.doubt = true,
            Step::CreateInstance if self.under_way.is_none() => self.enter(Step::FindService, now),
            _ => {}
        }
    }

    /// Service-center is back: try now what waits, and see whether the instance is still there, as soon as it says
    /// so truly.
    pub(super) fn hurry(&mut self, now: Instant) {
        let settled = self.created_at.map_or(now, |at| at + SETTLE);
        match self.step {
            Step::Idle | Step::Remove { .. } => {}
            Step::Alive => self.due = self.due.min(settled.max(now)),
            _ => self.due = self.due.min(now),
        }
    }

    /// Our service's id while service-center is believed to know it.
    pub(super) const fn service(&self) -> Option<&Arc<str>> {
        self.service.as_ref()
    }

    /// Where the registration stands.
    pub(super) fn state(&self) -> RegistrationState {
        match self.step {
            Step::Idle => RegistrationState::Absent,
            Step::Alive | Step::Confirm { instance_lost: false } => {
                RegistrationState::Registered(Arc::clone(&self.instance))
            }
            Step::Remove { .. } if self.wanted.is_none() => {
                RegistrationState::Registered(Arc::clone(&self.instance))
            }
            _ => RegistrationState::Pending(self.failure.clone()),
        }
    }

    /// When [`Self::poll`] has something to do, if nothing else happens.
    pub(super) fn next(&self) -> Option<Instant> {
        match self.step {
            Step::Idle => None,
            Step::Remove { until } if self.under_way.is_some() => {
                Some(if self.creating() { self.due } else { until })
            }
            Step::Remove { until } => Some(self.due.min(until)),
            _ if self.under_way.is_some() => None,
            Step::Alive if self.status_pending() => Some(self.due.min(self.status_due)),
            _ => Some(self.due),
        }
    }

    /// What to call now. A call that is still under way is to be given up when this returns another.
    pub(super) fn poll(&mut self, now: Instant) -> Option<(Ticket, Call)> {
        if let Step::Remove { until } = self.step {
            if now >= until {
                self.removal_failed(now);
            } else if self.under_way.is_some() && self.creating() && now >= self.due {
                self.under_way = None;
            }
        }
        if self.under_way.is_some() {
            return None;
        }
        let call = self.choose(now)?;
        let status = match &call {
            // An instance that is there already keeps the status it has, so only the first is sure to be taken.
            Call::CreateInstance { status, .. } => {
                let is_first = !std::mem::replace(&mut self.maybe_there, true);
                Some(*status).filter(|_| is_first && !self.is_inherited)
            }
            Call::SetStatus { status, .. } => Some(*status),
            _ => None,
        };
        self.tickets += 1;
        self.under_way = Some(UnderWay { ticket: self.tickets, step: self.step, status });
        Some((self.tickets, call))
    }

    /// How a call went; `draw` is a random number of 0 to 1. A verdict comes of [`Call::Confirm`], or of any call
    /// that shows the service to be gone.
    pub(super) fn finished(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        now: Instant,
        draw: f64,
    ) -> Option<Verdict> {
        let UnderWay { step, status, .. } = self.under_way.take_if(|under_way| under_way.ticket == ticket)?;
        self.failure = outcome.as_ref().err().map(ToString::to_string);
        match (self.step, step) {
            (Step::Remove { .. }, Step::Remove { .. }) => self.remove_finished(&outcome, now),
            (Step::Remove { .. }, _) => self.due = now,
            (Step::FindService | Step::CreateService, _) => self.service_finished(outcome, now, draw),
            (Step::CreateInstance, _) => return self.create_finished(outcome, status, now, draw),
            (Step::Confirm { instance_lost }, _) => {
                return self.confirm_finished(instance_lost, &outcome, now, draw);
            }
            (Step::Alive, _) => self.alive_finished(&outcome, status, now, draw),
            (Step::Idle, _) => {}
        }
        None
    }

    fn choose(&mut self, now: Instant) -> Option<Call> {
        let instance = Arc::clone(&self.instance);
        if self.step == Step::Alive {
            let service = Arc::clone(self.service.as_ref()?);
            if std::mem::take(&mut self.doubt) {
                self.enter(Step::Confirm { instance_lost: false }, now);
                return Some(Call::Confirm { service });
            }
            if self.due <= now {
                return Some(Call::Heartbeat { service, instance });
            }
            let status = self.wanted_status().filter(|_| self.status_pending() && self.status_due <= now)?;
            return Some(Call::SetStatus { service, instance, status });
        }
        if self.due > now {
            return None;
        }
        match (self.step, self.wanted.clone(), self.service.clone()) {
            (Step::FindService, Some(registration), _) => Some(Call::FindService(registration)),
            (Step::CreateService, Some(registration), _) => Some(Call::CreateService(registration)),
            (Step::CreateInstance, Some(registration), Some(service)) => {
                let status = self.wanted_status().unwrap_or_default();
                Some(Call::CreateInstance { service, instance, registration, status })
            }
            (Step::Confirm { .. }, _, Some(service)) => Some(Call::Confirm { service }),
            (Step::Remove { .. }, _, Some(service)) => Some(Call::Remove { service, instance }),
            _ => None,
        }
    }

    fn service_finished(&mut self, outcome: Outcome, now: Instant, draw: f64) {
        match outcome {
            Ok(Some(id)) => {
                self.service = Some(id);
                self.enter(Step::CreateInstance, now);
            }
            Ok(None) => {
                self.service = None;
                self.maybe_there = false;
                self.enter(Step::CreateService, now);
            }
            Err(_) => self.due = now + self.backoff.pause(draw),
        }
    }

    fn create_finished(
        &mut self,
        outcome: Outcome,
        taken: Option<Status>,
        now: Instant,
        draw: f64,
    ) -> Option<Verdict> {
        match outcome {
            Ok(id) => {
                self.instance = id.unwrap_or_else(|| Arc::clone(&self.instance));
                self.status_there = taken;
                self.status_due = now + SETTLE;
                self.created_at = Some(now);
                self.doubt = false;
                self.backoff.reset();
                self.enter(Step::Alive, now + jittered(self.heartbeat_interval, draw));
                None
            }
            Err(error) if error.is(Code::NO_SERVICE) => {
                let due = now + self.backoff.pause(draw);
                self.lost_service(due);
                Some(Verdict::Lost)
            }
            Err(_) => {
                self.due = now + self.backoff.pause(draw);
                None
            }
        }
    }

    fn alive_finished(&mut self, outcome: &Outcome, sent: Option<Status>, now: Instant, draw: f64) {
        match (outcome, sent) {
            (Ok(_), None) => self.due = now + jittered(self.heartbeat_interval, draw),
            (Ok(_), Some(status)) => self.status_there = Some(status),
            (Err(error), _) if error.is(Code::NO_INSTANCE) => match self.created_at.map(|at| at + SETTLE) {
                Some(settled) if now < settled => {
                    self.due = settled;
                    self.status_due = settled;
                }
                _ => self.enter(Step::Confirm { instance_lost: true }, now),
            },
            (Err(_), None) => self.due = now + HEARTBEAT_PAUSE.min(self.heartbeat_interval),
            (Err(_), Some(_)) => self.status_due = now + STATUS_PAUSE,
        }
    }

    fn confirm_finished(
        &mut self,
        instance_lost: bool,
        outcome: &Outcome,
        now: Instant,
        draw: f64,
    ) -> Option<Verdict> {
        match outcome {
            Ok(_) => {
                // Not lost: a heartbeat tells at once whether the instance is there.
                self.enter(if instance_lost { Step::CreateInstance } else { Step::Alive }, now);
                Some(Verdict::Known)
            }
            Err(error) if error.is(Code::NO_SERVICE) => {
                self.lost_service(now);
                Some(Verdict::Lost)
            }
            Err(_) => {
                self.due = now + jittered(HEARTBEAT_PAUSE.min(self.heartbeat_interval), draw);
                None
            }
        }
    }

    fn remove_finished(&mut self, outcome: &Outcome, now: Instant) {
        match outcome {
            Ok(_) => self.removed(Ok(()), now),
            Err(error) if error.is(Code::NO_INSTANCE) || error.is(Code::NO_SERVICE) => {
                self.removed(Ok(()), now)
            }
            Err(_) => self.due = now + REMOVE_PAUSE,
        }
    }

    fn lost_service(&mut self, due: Instant) {
        self.service = None;
        self.maybe_there = false;
        self.failure = Some("service-center lost our registration; registering again".into());
        self.enter(Step::FindService, due);
    }

    fn remove(&mut self, now: Instant) {
        let creating = self.creating();
        self.step = Step::Remove { until: now + REMOVE_DEADLINE };
        self.failure = None;
        if creating {
            self.due = now + REMOVE_WAITS_FOR_CREATE;
        } else {
            self.under_way = None;
            self.due = now;
        }
    }

    fn removed(&mut self, outcome: Result<(), String>, now: Instant) {
        self.removal = Some(outcome);
        self.is_inherited = false;
        self.maybe_there = false;
        self.status_there = None;
        self.created_at = None;
        self.service = None;
        self.under_way = None;
        self.failure = None;
        if self.wanted.is_some() { self.start(now) } else { self.step = Step::Idle }
    }

    /// Out of time. What is to be registered anew is tried on: registering over it would keep the old data.
    fn removal_failed(&mut self, now: Instant) {
        let why = self.failure.take().unwrap_or_else(|| "no answer".into());
        let outcome = Err(format!("the instance is not taken out, it expires by itself: {why}"));
        if self.wanted.is_some() {
            self.removal = Some(outcome);
            self.under_way = None;
            self.enter(Step::Remove { until: now + REMOVE_DEADLINE }, now);
        } else {
            self.removed(outcome, now);
        }
    }

    fn start(&mut self, now: Instant) {
        self.under_way = None;
        self.failure = None;
        self.backoff.reset();
        self.enter(Step::FindService, now);
    }

    const fn enter(&mut self, step: Step, due: Instant) {
        self.step = step;
        self.due = due;
    }

    /// Whether the call under way makes the instance.
    const fn creating(&self) -> bool {
        matches!(self.under_way, Some(UnderWay { step: Step::CreateInstance, .. }))
    }

    fn wanted_status(&self) -> Option<Status> {
        self.status.or_else(|| self.wanted.as_ref().map(|registration| registration.status))
    }

    fn status_pending(&self) -> bool {
        self.wanted_status() != self.status_there
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;

    use super::super::error::CallError;
    use super::super::wire::ErrorAnswer;
    use super::*;
    use crate::registry::instance::Identity;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn registration(endpoint: &str) -> Arc<Registration> {
        Arc::new(Registration {
            service: Identity {
                app: "default".into(),
                name: "a".into(),
                version: "1.0.0".into(),
                environment: "".into(),
            },
            cross_app: false,
            registered_by: "SIDECAR",
            framework_version: "1",
            endpoints: vec![endpoint.into()],
            host_name: "node1".into(),
            properties: Default::default(),
            zone: None,
            status: Status::Up,
        })
    }

    fn refused(code: Code) -> Outcome {
        Err(CallError::Refused(ErrorAnswer { code, text: "no".into() }))
    }

    fn unavailable() -> Outcome {
        Err(CallError::Unavailable("connection refused".into()))
    }

    /// A registrar with a clock that only the test moves.
    struct Bench {
        registrar: Registrar,
        now: Instant,
        last: Option<Ticket>,
    }

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            Self { registrar: Registrar::new("i1".into(), false, INTERVAL, now), now, last: None }
        }

        fn registered() -> Self {
            let mut bench = Self::new();
            bench.registrar.register(registration("rest://10.0.0.5:1"), bench.now);
            bench.expect(0, "FindService", Ok(Some("s1".into())));
            bench.expect(0, "CreateInstance", Ok(Some("i1".into())));
            assert_eq!(bench.registrar.state(), RegistrationState::Registered("i1".into()));
            bench
        }

        /// The next call, however long it takes to come, must be `name`, after `seconds`.
        #[track_caller]
        fn call(&mut self, seconds: u64, name: &str) -> Call {
            let started = self.now;
            let (ticket, call) = loop {
                if let Some(next) = self.registrar.poll(self.now) {
                    break next;
                }
                self.now =
                    self.registrar.next().unwrap_or_else(|| panic!("nothing to wait for, expected {name}"));
            };
            self.last = Some(ticket);
            assert!(format!("{call:?}").starts_with(name), "expected {name}, got {call:?}");
            let waited = (self.now - started).as_millis();
            assert_eq!((waited + 500) / 1000, u128::from(seconds), "{name} after {waited} ms");
            call
        }

        #[track_caller]
        fn expect(&mut self, seconds: u64, name: &str, outcome: Outcome) -> Option<Verdict> {
            self.call(seconds, name);
            self.answer(outcome)
        }

        fn answer(&mut self, outcome: Outcome) -> Option<Verdict> {
            self.registrar.finished(self.last.unwrap(), outcome, self.now, 0.0)
        }
    }

    #[test]
    fn an_unknown_service_is_registered_before_the_instance() {
        let mut bench = Bench::new();
        assert_eq!(bench.registrar.state(), RegistrationState::Absent);
        bench.registrar.register(registration("rest://10.0.0.5:1"), bench.now);
        assert_eq!(bench.registrar.state(), RegistrationState::Pending(None));
        bench.expect(0, "FindService", Ok(None));
        bench.expect(0, "CreateService", Ok(Some("s1".into())));
        bench.expect(0, "CreateInstance", Ok(Some("i1".into())));
        assert_eq!(bench.registrar.state(), RegistrationState::Registered("i1".into()));
        bench.expect(30, "Heartbeat", Ok(None));
        bench.expect(30, "Heartbeat", Ok(None));
    }

    #[test]
    fn a_registration_that_fails_is_tried_again_soon_and_then_more_rarely() {
        let mut bench = Bench::new();
        bench.registrar.register(registration("rest://10.0.0.5:1"), bench.now);
        for pause in [0, 1, 1, 1, 2, 3, 4, 6, 9, 13, 19, 29, 43, 65, 90, 90] {
            bench.expect(pause, "FindService", unavailable());
        }
        assert_eq!(bench.registrar.state(), RegistrationState::Pending(Some("connection refused".into())));
        bench.registrar.hurry(bench.now);
        bench.expect(0, "FindService", Ok(Some("s1".into())));
    }

    #[test]
    fn a_failed_heartbeat_keeps_the_registration_and_is_repeated_in_ten_seconds() {
        let mut bench = Bench::registered();
        bench.expect(30, "Heartbeat", unavailable());
        bench.expect(10, "Heartbeat", refused(Code(500_011)));
        assert_eq!(bench.registrar.state(), RegistrationState::Registered("i1".into()));
        bench.expect(10, "Heartbeat", Ok(None));
    }

    #[test]
    fn a_lost_instance_is_registered_again_under_the_same_id_with_its_status() {
        let mut bench = Bench::registered();
        bench.registrar.set_status(Status::Down, bench.now);
        bench.expect(0, "SetStatus", Ok(None));
        bench.expect(30, "Heartbeat", refused(Code::NO_INSTANCE));
        assert_eq!(bench.expect(0, "Confirm", Ok(None)), Some(Verdict::Known));
        let Call::CreateInstance { instance, status, .. } = bench.call(0, "CreateInstance") else { panic!() };
        assert_eq!((&*instance, status), ("i1", Status::Down));
        bench.answer(Ok(Some("i1".into())));
        let Call::SetStatus { status, .. } = bench.call(3, "SetStatus") else { panic!() };
        assert_eq!(status, Status::Down, "a living instance would have kept its status");
    }

    #[test]
    fn a_lost_service_is_registered_whole() {
        let mut bench = Bench::registered();
        bench.expect(30, "Heartbeat", refused(Code::NO_INSTANCE));
        assert_eq!(bench.expect(0, "Confirm", refused(Code::NO_SERVICE)), Some(Verdict::Lost));
        assert_eq!(bench.registrar.service(), None);
        assert!(matches!(bench.registrar.state(), RegistrationState::Pending(Some(_))));
        bench.expect(0, "FindService", Ok(None));
        bench.expect(0, "CreateService", Ok(Some("s1".into())));
        bench.expect(0, "CreateInstance", Ok(Some("i1".into())));
        assert_eq!(bench.registrar.state(), RegistrationState::Registered("i1".into()));
    }

    #[test]
    fn a_heartbeat_refused_right_after_registering_is_repeated_before_anything_else() {
        let mut bench = Bench::registered();
        bench.registrar.due = bench.now;
        bench.expect(0, "Heartbeat", refused(Code::NO_INSTANCE));
        bench.expect(3, "Heartbeat", refused(Code::NO_INSTANCE));
        bench.expect(0, "Confirm", Ok(None));
    }

    #[test]
    fn a_service_center_that_is_back_is_asked_for_the_instance_once_it_tells_the_truth() {
        let mut bench = Bench::registered();
        bench.registrar.hurry(bench.now);
        bench.expect(3, "Heartbeat", Ok(None));
        bench.registrar.hurry(bench.now);
        bench.expect(0, "Heartbeat", Ok(None));
    }

    #[test]
    fn a_suspicion_is_confirmed_before_anything_is_registered() {
        let mut bench = Bench::registered();
        bench.registrar.suspect(bench.now);
        assert_eq!(bench.expect(0, "Confirm", Ok(None)), Some(Verdict::Known));
        bench.expect(0, "Heartbeat", Ok(None));
        bench.registrar.suspect(bench.now);
        assert_eq!(bench.expect(0, "Confirm", unavailable()), None);
        assert_eq!(bench.expect(10, "Confirm", refused(Code::NO_SERVICE)), Some(Verdict::Lost));
        bench.call(0, "FindService");
    }

    #[test]
    fn a_status_asked_for_early_is_registered_and_a_failed_one_repeated() {
        let mut bench = Bench::new();
        bench.registrar.set_status(Status::Starting, bench.now);
        bench.registrar.register(registration("rest://10.0.0.5:1"), bench.now);
        bench.expect(0, "FindService", Ok(Some("s1".into())));
        let Call::CreateInstance { status, .. } = bench.call(0, "CreateInstance") else { panic!() };
        assert_eq!(status, Status::Starting);
        bench.answer(Ok(Some("i1".into())));
        bench.registrar.set_status(Status::Up, bench.now);
        bench.expect(0, "SetStatus", unavailable());
        bench.expect(2, "SetStatus", Ok(None));
        bench.expect(28, "Heartbeat", Ok(None));
    }

    #[test]
    fn a_changed_registration_replaces_the_old_one() {
        let mut bench = Bench::registered();
        bench.registrar.register(registration("rest://10.0.0.5:1"), bench.now);
        assert_eq!(bench.registrar.poll(bench.now), None, "the same again is nothing to do");
        bench.registrar.register(registration("rest://10.0.0.5:2"), bench.now);
        bench.expect(0, "Remove", unavailable());
        bench.expect(1, "Remove", Ok(None));
        bench.expect(0, "FindService", Ok(Some("s1".into())));
        let Call::CreateInstance { registration, .. } = bench.call(0, "CreateInstance") else { panic!() };
        assert_eq!(registration.endpoints, ["rest://10.0.0.5:2"]);
    }

    #[test]
    fn withdrawing_stops_heartbeats_and_removes_the_instance() {
        for outcome in [Ok(None), refused(Code::NO_INSTANCE)] {
            let mut bench = Bench::registered();
            bench.registrar.withdraw(bench.now);
            bench.expect(0, "Remove", outcome);
            assert_eq!(bench.registrar.take_removal(), Some(Ok(())));
            assert_eq!(bench.registrar.state(), RegistrationState::Absent);
            assert_eq!(
                (bench.registrar.next(), bench.registrar.poll(bench.now + INTERVAL * 10)),
                (None, None)
            );
        }
    }

    #[test]
    fn an_inherited_instance_is_taken_on_and_told_its_status() {
        let mut bench = Bench::new();
        bench.registrar = Registrar::new("i1".into(), true, INTERVAL, bench.now);
        bench.registrar.register(registration("rest://10.0.0.5:1"), bench.now);
        bench.expect(0, "FindService", Ok(Some("s1".into())));
        bench.expect(0, "CreateInstance", Ok(Some("i1".into())));
        assert_eq!(bench.registrar.state(), RegistrationState::Registered("i1".into()));
        let Call::SetStatus { status, .. } = bench.call(3, "SetStatus") else { panic!() };
        assert_eq!(status, Status::Up, "it may be DOWN since before");
        bench.answer(Ok(None));
        bench.expect(27, "Heartbeat", Ok(None));
    }

    #[test]
    fn a_released_instance_is_left_alone() {
        let mut bench = Bench::registered();
        bench.call(30, "Heartbeat");
        bench.registrar.release();
        bench.answer(refused(Code::NO_INSTANCE));
        bench.registrar.set_status(Status::Down, bench.now);
        assert_eq!((bench.registrar.next(), bench.registrar.poll(bench.now + INTERVAL * 10)), (None, None));
        assert!(bench.registrar.service().is_some(), "it is still asked for others");
        bench.registrar.withdraw(bench.now);
        assert_eq!(bench.registrar.take_removal(), Some(Ok(())));
        assert_eq!(bench.registrar.poll(bench.now), None);
    }

    #[test]
    fn withdrawing_before_anything_was_registered_calls_nobody() {
        let mut bench = Bench::new();
        bench.registrar.register(registration("rest://10.0.0.5:1"), bench.now);
        bench.call(0, "FindService");
        bench.registrar.withdraw(bench.now);
        assert_eq!(bench.registrar.take_removal(), Some(Ok(())));
        assert_eq!(bench.answer(Ok(Some("s1".into()))), None);
        assert_eq!(bench.registrar.next(), None);
    }

    #[test]
    fn withdrawing_waits_a_moment_for_a_registration_under_way() {
        let mut bench = Bench::new();
        bench.registrar.register(registration("rest://10.0.0.5:1"), bench.now);
        bench.expect(0, "FindService", Ok(Some("s1".into())));
        bench.call(0, "CreateInstance");
        bench.registrar.withdraw(bench.now);
        bench.call(1, "Remove");
        bench.answer(Ok(None));
        assert_eq!(bench.registrar.take_removal(), Some(Ok(())));
    }

    #[test]
    fn withdrawing_gives_up_after_its_deadline() {
        let mut bench = Bench::registered();
        bench.registrar.withdraw(bench.now);
        bench.call(0, "Remove");
        assert_eq!(bench.registrar.next(), Some(bench.now + REMOVE_DEADLINE));
        assert_eq!(bench.registrar.poll(bench.now + REMOVE_DEADLINE), None);
        let outcome = bench.registrar.take_removal().unwrap();
        assert!(outcome.unwrap_err().contains("no answer"));
        assert_eq!(bench.registrar.state(), RegistrationState::Absent);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Register(u8),
        SetStatus(Status),
        Withdraw,
        Suspect,
        Hurry,
        Answer(u8),
        Wait(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0..2_u8).prop_map(Event::Register),
            prop_oneof![Just(Status::Up), Just(Status::Down)].prop_map(Event::SetStatus),
            Just(Event::Withdraw),
            Just(Event::Suspect),
            Just(Event::Hurry),
            (0..6_u8).prop_map(Event::Answer),
            (0..6_u8).prop_map(Event::Answer),
            (0..40_000_u64).prop_map(Event::Wait),
        ]
    }

    fn outcome(kind: u8) -> Outcome {
        match kind {
            0 | 1 => Ok(Some("x".into())),
            2 => Ok(None),
            3 => refused(Code::NO_INSTANCE),
            4 => refused(Code::NO_SERVICE),
            _ => unavailable(),
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_it_neither_stalls_nor_forgets_a_withdrawal(events in proptest::collection::vec(event(), 0..60)) {
            let mut bench = Bench::new();
            let mut call = None;
            for event in events {
                let (registrar, now) = (&mut bench.registrar, bench.now);
                match event {
                    Event::Register(n) => registrar.register(registration(&format!("rest://10.0.0.5:{n}")), now),
                    Event::SetStatus(status) => registrar.set_status(status, now),
                    Event::Withdraw => registrar.withdraw(now),
                    Event::Suspect => registrar.suspect(now),
                    Event::Hurry => registrar.hurry(now),
                    Event::Answer(kind) => if let Some(ticket) = call.take() {
                        registrar.finished(ticket, outcome(kind), now, 0.5);
                    },
                    Event::Wait(ms) => bench.now += Duration::from_millis(ms),
                }
                match bench.registrar.poll(bench.now) {
                    Some((ticket, _)) => call = Some(ticket),
                    None => prop_assert!(bench.registrar.next().is_none_or(|next| next > bench.now), "spins"),
                }
                let registrar = &bench.registrar;
                prop_assert!(!registrar.maybe_there || registrar.service.is_some());
                let resting = matches!(registrar.step, Step::Idle | Step::Remove { .. });
                prop_assert!(registrar.wanted.is_some() || resting);
                if registrar.wanted.is_some() && registrar.under_way.is_none() {
                    prop_assert!(registrar.next().is_some(), "stalled in {:?}", registrar.step);
                }
            }
            bench.registrar.take_removal();
            bench.registrar.withdraw(bench.now);
            bench.registrar.poll(bench.now + REMOVE_DEADLINE);
            prop_assert!(bench.registrar.take_removal().is_some());
            prop_assert_eq!(bench.registrar.state(), RegistrationState::Absent);
        }

        #[test]
        fn service_center_answering_again_ends_in_a_registration(kinds in proptest::collection::vec(0..6_u8, 0..40)) {
            let mut bench = Bench::new();
            bench.registrar.register(registration("rest://10.0.0.5:1"), bench.now);
            for kind in kinds.into_iter().map(Some).chain(std::iter::repeat_n(None, 8)) {
                let (ticket, call) = loop {
                    if let Some(next) = bench.registrar.poll(bench.now) {
                        break next;
                    }
                    bench.now = bench.registrar.next().unwrap();
                };
                let healthy = || if matches!(call, Call::Heartbeat { .. } | Call::SetStatus { .. }) { Ok(None) } else { Ok(Some("x".into())) };
                bench.registrar.finished(ticket, kind.map_or_else(healthy, outcome), bench.now, 0.5);
            }
            prop_assert!(matches!(bench.registrar.state(), RegistrationState::Registered(_)));
        }
    }
}
