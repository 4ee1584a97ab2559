//! What is known of one service name, and what replaces it. Pure.
//!
//! Service-center's answers are not all worth the same. It says "empty" or "no such service" for a while after it
//! lost its data, and it may list what was removed a moment ago. So instances are replaced by nothing only when
//! [`EMPTY_ANSWERS_MIN`] answers in a row say so, half a refresh interval apart at least, or when each was deleted
//! by an event; and an answer that was overtaken by an event is thrown away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::{Backoff, jittered};
use super::wire::{Change, Offer, Updated};
use crate::registry::Answer;
use crate::registry::instance::Instance;

/// Empty answers in a row that are believed. With the default refresh interval this leaves other sidecars a minute
/// to register again with a service-center that lost its data; they notice within 30 s.
pub(super) const EMPTY_ANSWERS_MIN: u32 = 3;
/// Most instances of one service that events may add: above it only answers count.
const INSTANCES_MAX: usize = 10_000;
/// First pause before a service without instances is asked for again: it is about to start, often.
const ABSENT_PAUSE_FIRST: Duration = Duration::from_secs(1);
/// How long after an event the answer of service-center may still be without it: it reads from a cache.
const CACHE_LAG: Duration = Duration::from_millis(500);

/// What all names have in common.
#[derive(Debug)]
pub(super) struct Scope {
    /// Application asked for.
    pub(super) app: Arc<str>,
    /// Environment asked for.
    pub(super) environment: Arc<str>,
    /// Time between two questions.
    pub(super) refresh_interval: Duration,
}

/// One name.
#[derive(Debug)]
pub(super) struct Watched {
    /// When to ask for it.
    pub(super) due: Instant,
    /// Revision of what is known, if it is service-center's last word.
    pub(super) revision: Option<Arc<str>>,
    /// Service-center says that it knows no such service, or that it does not know us.
    pub(super) doubted: bool,
    known: Known,
    empty_answers: u32,
    empty_counted: Option<Instant>,
    /// An event came since the question was asked.
    overtaken: bool,
    absent_pauses: Backoff,
}

#[derive(Debug, PartialEq)]
enum Known {
    Nothing,
    NoSuchService,
    Instances(BTreeMap<Arc<str>, Arc<Instance>>),
}

impl Watched {
    /// A name nothing is known of, to be asked for at once.
    pub(super) fn new(scope: &Scope, now: Instant) -> Self {
        Self {
            due: now,
            revision: None,
            doubted: false,
            known: Known::Nothing,
            empty_answers: 0,
            empty_counted: None,
            overtaken: false,
            absent_pauses: Backoff::new(ABSENT_PAUSE_FIRST, 2.0, scope.refresh_interval),
        }
    }

    /// What is known, once something is.
    pub(super) fn answer(&self) -> Option<Answer> {
        match &self.known {
            Known::Nothing => None,
            Known::NoSuchService => Some(Answer::NoSuchService),
            Known::Instances(instances) => Some(Answer::Instances(instances.values().cloned().collect())),
        }
    }

    /// A question for it was sent.
    pub(super) const fn asked(&mut self) {
        self.overtaken = false;
    }

    /// What is known may be out of date: ask anew, in full.
    pub(super) fn expire(&mut self, now: Instant) {
        self.revision = None;
        self.due = now;
    }

    /// Sets when to ask next, after a question that was answered.
    pub(super) fn schedule(&mut self, scope: &Scope, now: Instant, draw: f64) {
        self.due = now
            + if self.overtaken {
                CACHE_LAG
            } else if self.has_instances() {
                self.absent_pauses.reset();
                jittered(scope.refresh_interval, draw)
            } else {
                self.absent_pauses.pause(draw)
            };
    }

    /// Takes a new answer. True if it changes what is known.
    pub(super) fn updated(&mut self, updated: Updated, scope: &Scope, now: Instant) -> bool {
        if self.overtaken || (updated.offers.is_empty() && !updated.unreadable.is_empty()) {
            self.revision = None;
            return false;
        }
        if updated.offers.is_empty() {
            return self.emptied(Known::Instances(BTreeMap::new()), updated.revision, scope, now);
        }
        let instances = updated.offers.into_iter().map(|offer| self.instance(offer, scope));
        let instances = instances.map(|instance| (Arc::clone(&instance.id), instance)).collect();
        self.replace(Known::Instances(instances), updated.revision)
    }

    /// Takes the answer that there is no such service. True if it changes what is known.
    pub(super) fn no_such_service(&mut self, scope: &Scope, now: Instant) -> bool {
        self.doubted = false;
        !self.overtaken && self.emptied(Known::NoSuchService, None, scope, now)
    }

    /// Whether service-center says that there is nothing, and is not believed yet.
    pub(super) const fn protected(&self) -> bool {
        self.empty_answers > 0
    }

    /// Takes an event. True if it changes what is known.
    pub(super) fn changed(&mut self, change: Change, scope: &Scope, now: Instant) -> bool {
        self.overtaken = true;
        let put = match change {
            Change::Put(offer) => Ok(self.instance(offer, scope)),
            Change::Delete(id) => Err(id),
            Change::Expire => {
                self.expire(now);
                return false;
            }
        };
        match (&mut self.known, put) {
            (Known::Instances(instances), Ok(instance))
                if instances.len() < INSTANCES_MAX || instances.contains_key(&instance.id) =>
            {
                let before = instances.insert(Arc::clone(&instance.id), Arc::clone(&instance));
                before.is_none_or(|before| before != instance)
            }
            (Known::Instances(instances), Err(id)) => instances.remove(&id).is_some(),
            // An event alone does not tell the whole.
            _ => {
                self.expire(now);
                false
            }
        }
    }

    fn emptied(&mut self, empty: Known, revision: Option<Arc<str>>, scope: &Scope, now: Instant) -> bool {
        if self.has_instances() {
            let apart = scope.refresh_interval / 2;
            if self.empty_counted.is_none_or(|counted| counted + apart <= now) {
                self.empty_counted = Some(now);
                self.empty_answers += 1;
            }
            if self.empty_answers < EMPTY_ANSWERS_MIN {
                self.revision = None;
                return false;
            }
        }
        self.replace(empty, revision)
    }

    fn replace(&mut self, known: Known, revision: Option<Arc<str>>) -> bool {
        self.revision = revision;
        self.doubted = false;
        self.empty_answers = 0;
        self.empty_counted = None;
        let changed = self.known != known;
        self.known = known;
        changed
    }

    /// The instance of this offer; the very one we have if nothing differs.
    fn instance(&self, offer: Offer, scope: &Scope) -> Arc<Instance> {
        let instance = offer.into_instance(&scope.app, &scope.environment);
        let Known::Instances(instances) = &self.known else { return Arc::new(instance) };
        match instances.get(&instance.id) {
            Some(same) if **same == instance => Arc::clone(same),
            _ => Arc::new(instance),
        }
    }

    fn has_instances(&self) -> bool {
        matches!(&self.known, Known::Instances(instances) if !instances.is_empty())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::super::wire::find_answer;
    use super::*;

    fn scope() -> Scope {
        Scope { app: "default".into(), environment: "".into(), refresh_interval: Duration::from_secs(30) }
    }

    fn updated(revision: &str, instances: &str) -> Updated {
        let body = format!(
            r#"{{"services":{{"updated":[{{"index":0,"rev":"{revision}","instances":[{instances}]}}]}}}}"#
        );
        find_answer(body.as_bytes()).unwrap().updated.pop().unwrap()
    }

    fn one(id: &str, port: u16) -> String {
        format!(
            r#"{{"instanceId":"{id}","version":"1.0.0","status":"UP","endpoints":["rest://10.0.0.5:{port}"]}}"#
        )
    }

    fn put(id: &str, port: u16) -> Change {
        Change::Put(updated("r", &one(id, port)).offers.pop().unwrap())
    }

    fn ids(watched: &Watched) -> Vec<String> {
        let Some(Answer::Instances(instances)) = watched.answer() else { panic!("{:?}", watched.answer()) };
        instances.iter().map(|instance| instance.id.to_string()).collect()
    }

    /// A name with the instances a and b, right after the answer.
    fn known(now: Instant) -> Watched {
        let mut watched = Watched::new(&scope(), now);
        watched.asked();
        assert!(watched.updated(updated("r1", &[one("b", 1), one("a", 1)].join(",")), &scope(), now));
        assert_eq!(ids(&watched), ["a", "b"]);
        watched
    }

    #[test]
    fn order_in_an_answer_is_no_change_and_unchanged_instances_are_kept() {
        let now = Instant::now();
        let mut watched = known(now);
        let Some(Answer::Instances(before)) = watched.answer() else { panic!() };
        assert!(!watched.updated(updated("r2", &[one("a", 1), one("b", 1)].join(",")), &scope(), now));
        assert_eq!(watched.revision.as_deref(), Some("r2"));
        assert!(watched.updated(updated("r3", &[one("a", 1), one("b", 2)].join(",")), &scope(), now));
        let Some(Answer::Instances(after)) = watched.answer() else { panic!() };
        let same: Vec<_> =
            before.iter().zip(&after).map(|(before, after)| Arc::ptr_eq(before, after)).collect();
        assert_eq!(same, [true, false]);
    }

    #[test]
    fn instances_survive_empty_answers_until_they_repeat_over_time() {
        let mut now = Instant::now();
        let mut watched = known(now);
        for _ in 0..10 {
            assert!(
                !watched.updated(updated("e", ""), &scope(), now),
                "answers in a row at once count as one"
            );
        }
        assert_eq!(watched.revision, None, "what is not believed is asked for in full again");
        now += Duration::from_secs(27);
        assert!(!watched.no_such_service(&scope(), now));
        assert_eq!(ids(&watched), ["a", "b"]);
        now += Duration::from_secs(27);
        assert!(watched.updated(updated("e", ""), &scope(), now));
        assert_eq!(watched.answer(), Some(Answer::Instances(Vec::new())));
        assert_eq!(watched.revision.as_deref(), Some("e"));
    }

    #[test]
    fn a_full_answer_starts_the_count_of_empty_ones_again() {
        let mut now = Instant::now();
        let mut watched = known(now);
        for _ in 0..10 {
            for _ in 1..EMPTY_ANSWERS_MIN {
                now += Duration::from_secs(30);
                assert!(!watched.updated(updated("e", ""), &scope(), now));
            }
            assert!(!watched.updated(updated("r", &[one("a", 1), one("b", 1)].join(",")), &scope(), now));
        }
        assert_eq!(ids(&watched), ["a", "b"]);
    }

    #[test]
    fn a_first_empty_answer_is_believed() {
        let now = Instant::now();
        let mut watched = Watched::new(&scope(), now);
        assert!(watched.no_such_service(&scope(), now));
        assert_eq!(watched.answer(), Some(Answer::NoSuchService));
        assert!(watched.updated(updated("e", ""), &scope(), now), "the service is there, without instances");
        assert!(watched.updated(updated("r", &one("a", 1)), &scope(), now));
    }

    #[test]
    fn an_answer_of_which_nothing_can_be_read_changes_nothing() {
        let now = Instant::now();
        let mut watched = known(now);
        assert!(!watched.updated(updated("r2", r#"{"instanceId":""}"#), &scope(), now));
        assert_eq!((ids(&watched), watched.revision.as_deref()), (vec!["a".into(), "b".into()], None));
        assert_eq!(watched.empty_answers, 0);
    }

    #[test]
    fn events_add_replace_and_delete_instances() {
        let now = Instant::now();
        let mut watched = known(now);
        assert!(watched.changed(put("c", 1), &scope(), now));
        assert!(!watched.changed(put("c", 1), &scope(), now), "the same again is no change");
        assert!(watched.changed(put("c", 2), &scope(), now));
        assert!(watched.changed(Change::Delete("a".into()), &scope(), now));
        assert!(!watched.changed(Change::Delete("a".into()), &scope(), now));
        assert_eq!(ids(&watched), ["b", "c"]);
        watched.changed(Change::Delete("b".into()), &scope(), now);
        assert!(
            watched.changed(Change::Delete("c".into()), &scope(), now),
            "explicit deletes empty the list"
        );
        assert_eq!(watched.answer(), Some(Answer::Instances(Vec::new())));
    }

    #[test]
    fn an_answer_overtaken_by_an_event_is_asked_for_again() {
        let now = Instant::now();
        let mut watched = known(now);
        watched.asked();
        watched.changed(Change::Delete("a".into()), &scope(), now);
        assert!(!watched.updated(updated("r1", &[one("a", 1), one("b", 1)].join(",")), &scope(), now));
        watched.schedule(&scope(), now, 0.5);
        assert_eq!((ids(&watched), watched.due), (vec!["b".into()], now + CACHE_LAG));
    }

    #[test]
    fn an_event_before_the_first_answer_only_makes_us_ask() {
        let now = Instant::now();
        let mut watched = Watched::new(&scope(), now);
        watched.no_such_service(&scope(), now);
        watched.schedule(&scope(), now, 1.0);
        assert!(!watched.changed(put("a", 1), &scope(), now));
        assert_eq!((watched.due, watched.answer()), (now, Some(Answer::NoSuchService)));
    }

    #[test]
    fn a_service_without_instances_is_asked_for_soon_and_then_more_rarely() {
        let now = Instant::now();
        let mut watched = Watched::new(&scope(), now);
        watched.no_such_service(&scope(), now);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            watched.schedule(&scope(), now, 1.0);
            pauses.push((watched.due - now).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }
}
