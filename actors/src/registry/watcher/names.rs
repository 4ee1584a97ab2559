//! The names that are watched and the last good answer of each. Pure: time is an argument, what is to be done comes
//! back as [`Step`]s.
//!
//! ```text
//!   lookup --> waiting --- answer: instances ---------------------> good --- not used for IDLE_MAX --> forgotten
//!                 |  ^                                               |
//!                 |  |  lookup again                                 | answer: no such service
//!                 |  +----------------------+                        v
//!                 +- answer: no such service ----------------------> absent, forgotten after ABSENT_TTL
//!                 +- no answer in FIRST_ANSWER_WAIT, or unreachable: the disk's answer if there is one, else
//!                                                                    absent, and silent after ABSENT_TTL
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::one_line::one_line;
use crate::registry::Answer;
use crate::registry::instance::Instance;
use crate::state::Services;
use crate::status::Origin;

/// How long a name that cannot be resolved is said to be so; then the next request asks again. Short, since a
/// service may appear at any time; long enough that a client's retries do not ask the registry each time.
pub(super) const ABSENT_TTL: Duration = Duration::from_secs(3);
/// How long a lookup waits for the registry before the disk's answer, or none, is given. Below the shards' own
/// bound, so that their failure can say why.
pub(super) const FIRST_ANSWER_WAIT: Duration = Duration::from_secs(1);
/// A service not called for this long is forgotten. Longer than the usual intervals of batch jobs and cron lines.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// How often it is looked for services that are no longer called.
pub(super) const IDLE_CHECK_EVERY: Duration = Duration::from_secs(60);
/// A name that has no answer for this long makes room for another one. Not sooner, or a client that makes names up
/// would have the source told to watch and forget faster than it can.
const UNANSWERED_MAX: Duration = Duration::from_secs(30);
/// Longest service name, bytes: service-center's own bound.
const NAME_LEN_MAX: usize = 128;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Ask the source to watch it.
    Watch(Arc<str>),
    /// Ask the source to forget it.
    Forget(Arc<str>),
    /// These are its instances.
    Publish(Arc<str>, Answer, Origin),
    /// It cannot be resolved, and why.
    Absent(Arc<str>, Arc<str>),
    /// Nothing is said of it any more.
    Silence(Arc<str>),
}

/// Names by what is known of them.
#[derive(Debug)]
pub(super) struct Names {
    entries: HashMap<Arc<str>, Entry, foldhash::fast::RandomState>,
    /// Why the registry does not answer; none while it does, or while that is not known yet.
    unreachable: Option<Arc<str>>,
    services_max: usize,
    /// Lookups refused for lack of room.
    pub(super) refused: u64,
    /// The last good answers are not those on disk.
    pub(super) unsaved: bool,
}

#[derive(Debug)]
struct Entry {
    state: State,
    /// When a request last wanted it, as far as is known.
    used_at: Instant,
    /// Requests to it counted by then.
    requests: u64,
}

#[derive(Debug)]
enum State {
    /// No answer yet. `since`: a request waits. `disk`: what to fall back to.
    Waiting { since: Option<Instant>, disk: Option<Vec<Arc<Instance>>> },
    /// The last good answer, published.
    Good(Vec<Arc<Instance>>, Origin),
    /// Said to be absent until then. `finally`: forgotten after that, else still waited for.
    Absent { why: Arc<str>, until: Instant, finally: bool },
}

// === impl Names ===

impl Names {
    pub(super) fn new(services_max: usize) -> Self {
        Self { entries: HashMap::default(), unreachable: None, services_max, refused: 0, unsaved: false }
    }

    /// Takes over what was found on disk. It is asked for right away, so that it is known before the first request,
    /// and forgotten in time if there is none.
    pub(super) fn restore(&mut self, services: Services, now: Instant) {
        for (name, instances) in services.into_iter().take(self.services_max) {
            let state = State::Waiting { since: None, disk: Some(instances) };
            self.entries.insert(name, Entry { state, used_at: now, requests: 0 });
        }
    }

    /// A request wants this service.
    pub(super) fn lookup(&mut self, name: &Arc<str>, now: Instant) -> Vec<Step> {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.used_at = now;
            match &mut entry.state {
                State::Waiting { since, .. } => since.get_or_insert(now),
                // Who asks has not heard it, or not yet.
                State::Good(..) | State::Absent { .. } => return entry.said(name).into_iter().collect(),
            };
            return self.unreachable.clone().map_or_else(Vec::new, |why| self.settle(name, why, now));
        }
        let Some(mut steps) = self.make_room(now) else {
            // Nothing may be kept of it; the request that waits times out on its shard.
            self.refused += 1;
            return Vec::new();
        };
        let state = if is_service_name(name) {
            steps.push(Step::Watch(name.clone()));
            State::Waiting { since: Some(now), disk: None }
        } else {
            let why: Arc<str> = "it is not a service name".into();
            steps.push(Step::Absent(name.clone(), why.clone()));
            State::Absent { why, until: now + ABSENT_TTL, finally: true }
        };
        self.entries.insert(name.clone(), Entry { state, used_at: now, requests: 0 });
        if let Some(why) = self.unreachable.clone() {
            steps.extend(self.settle(name, why, now));
        }
        steps
    }

    /// The registry answered.
    pub(super) fn answered(&mut self, name: &Arc<str>, answer: Answer, now: Instant) -> Vec<Step> {
        // Answers may be on their way when their name is forgotten.
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        match answer {
            Answer::Instances(instances) => {
                self.unsaved = true;
                entry.state = State::Good(instances.clone(), Origin::Registry);
                vec![Step::Publish(name.clone(), Answer::Instances(instances), Origin::Registry)]
            }
            Answer::NoSuchService => {
                self.unsaved |= entry.kept().is_some();
                let why: Arc<str> = "the registry does not know it".into();
                entry.state = State::Absent { why: why.clone(), until: now + ABSENT_TTL, finally: true };
                vec![Step::Absent(name.clone(), why)]
            }
        }
    }

    /// The registry answers again.
    pub(super) fn reachable(&mut self) {
        self.unreachable = None;
    }

    /// The registry does not answer: what is known from disk is said, and waiting requests are told.
    pub(super) fn unreachable(&mut self, why: &str, now: Instant) -> Vec<Step> {
        let why: Arc<str> = one_line(&format!("no answer from the registry: {why}")).into();
        self.unreachable = Some(why.clone());
        let names: Vec<_> = self.entries.keys().cloned().collect();
        names.iter().flat_map(|name| self.settle(name, why.clone(), now)).collect()
    }

    /// Everything that is due.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Step> {
        let due: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.deadline() <= now)
            .map(|(name, _)| name.clone())
            .collect();
        due.iter().flat_map(|name| self.due(name, now)).collect()
    }

    /// When [`Names::tick`] has something to do next.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.entries.values().map(Entry::deadline).min()
    }

    /// Takes note of the requests counted so far for each service.
    pub(super) fn used(&mut self, requests: impl Fn(&str) -> u64, now: Instant) {
        for (name, entry) in &mut self.entries {
            let requests = requests(name);
            if requests != entry.requests {
                entry.requests = requests;
                entry.used_at = now;
            }
        }
    }

    /// All names that are watched, for a source that starts anew.
    pub(super) fn watched(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.keys().filter(|name| is_service_name(name))
    }

    /// Everything said so far, for listeners that start anew.
    pub(super) fn said(&self) -> Vec<Step> {
        self.entries.iter().filter_map(|(name, entry)| entry.said(name)).collect()
    }

    /// The last good answers.
    pub(super) fn good(&self) -> Services {
        self.entries.iter().filter_map(|(name, entry)| Some((name.clone(), entry.kept()?.clone()))).collect()
    }

    /// Room for one more, made by forgetting the longest not wanted of the names that may be; none if there is none.
    fn make_room(&mut self, now: Instant) -> Option<Vec<Step>> {
        if self.entries.len() < self.services_max {
            return Some(Vec::new());
        }
        let may_go = |entry: &Entry| match entry.state {
            State::Absent { finally: true, .. } => true,
            _ => entry.kept().is_none() && entry.used_at + UNANSWERED_MAX <= now,
        };
        let oldest = self.entries.iter().filter(|(_, entry)| may_go(entry));
        let oldest = oldest.min_by_key(|(_, entry)| entry.used_at)?.0.clone();
        Some(self.remove(&oldest))
    }

    /// Ends the waiting for an answer that will not come soon.
    fn settle(&mut self, name: &Arc<str>, why: Arc<str>, now: Instant) -> Vec<Step> {
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        let State::Waiting { since, disk } = &mut entry.state else { return Vec::new() };
        if let Some(instances) = disk.take() {
            entry.state = State::Good(instances.clone(), Origin::Disk);
            vec![Step::Publish(name.clone(), Answer::Instances(instances), Origin::Disk)]
        } else if since.is_some() {
            entry.state = State::Absent { why: why.clone(), until: now + ABSENT_TTL, finally: false };
            vec![Step::Absent(name.clone(), why)]
        } else {
            Vec::new()
        }
    }

    fn due(&mut self, name: &Arc<str>, now: Instant) -> Vec<Step> {
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        if entry.used_at + IDLE_MAX <= now {
            return self.remove(name);
        }
        match entry.state {
            State::Absent { finally: true, .. } => self.remove(name),
            State::Absent { finally: false, .. } => {
                entry.state = State::Waiting { since: None, disk: None };
                vec![Step::Silence(name.clone())]
            }
            State::Waiting { .. } => self.settle(name, "the registry has not answered yet".into(), now),
            State::Good(..) => Vec::new(),
        }
    }

    fn remove(&mut self, name: &Arc<str>) -> Vec<Step> {
        let removed = self.entries.remove(name);
        self.unsaved |= removed.is_some_and(|entry| entry.kept().is_some());
        vec![Step::Forget(name.clone()), Step::Silence(name.clone())]
    }
}

// === impl Entry ===

impl Entry {
    /// The last good answer, said or not.
    fn kept(&self) -> Option<&Vec<Arc<Instance>>> {
        match &self.state {
            State::Good(instances, _) => Some(instances),
            State::Waiting { disk, .. } => disk.as_ref(),
            State::Absent { .. } => None,
        }
    }

    /// What was said of it last.
    fn said(&self, name: &Arc<str>) -> Option<Step> {
        match &self.state {
            State::Good(instances, origin) => {
                Some(Step::Publish(name.clone(), Answer::Instances(instances.clone()), *origin))
            }
            State::Absent { why, .. } => Some(Step::Absent(name.clone(), why.clone())),
            State::Waiting { .. } => None,
        }
    }

    /// When something about it is due.
    fn deadline(&self) -> Instant {
        let idle = self.used_at + IDLE_MAX;
        match self.state {
            State::Waiting { since: Some(since), .. } => idle.min(since + FIRST_ANSWER_WAIT),
            State::Absent { until, .. } => idle.min(until),
            State::Waiting { since: None, .. } | State::Good(..) => idle,
        }
    }
}

/// What service-center takes for a name. Anything else cannot be in a registry, and one such name spoils the whole
/// of a batch query.
fn is_service_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let outer = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.len() <= NAME_LEN_MAX
        && name.bytes().all(inner)
        && outer(name.bytes().next())
        && outer(name.bytes().next_back())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    fn instances(n: usize) -> Answer {
        let one = crate::balancer::test_instance("1", "10.0.0.1:80", |_| {});
        Answer::Instances(vec![one; n])
    }

    fn on_disk(n: usize) -> Services {
        let Answer::Instances(instances) = instances(n) else { unreachable!() };
        Services::from([("orders".into(), instances)])
    }

    fn orders() -> Arc<str> {
        "orders".into()
    }

    fn why_absent(steps: &[Step]) -> &str {
        match steps {
            [.., Step::Absent(_, why)] => why,
            other => panic!("not absent: {other:?}"),
        }
    }

    #[test]
    fn a_name_is_watched_once_and_its_answer_published() {
        let (mut names, now) = (Names::new(10), Instant::now());
        assert_eq!(names.lookup(&orders(), now), [Step::Watch(orders())]);
        assert_eq!(names.lookup(&orders(), now), []);
        let steps = names.answered(&orders(), instances(1), now);
        assert_eq!(steps, [Step::Publish(orders(), instances(1), Origin::Registry)]);
        assert!(names.unsaved);
        assert_eq!(names.lookup(&orders(), now), steps, "who asks again has not heard it");
    }

    #[test]
    fn an_unknown_service_is_forgotten_after_a_while_so_that_the_next_request_asks_again() {
        let (mut names, now) = (Names::new(10), Instant::now());
        names.lookup(&orders(), now);
        let steps = names.answered(&orders(), Answer::NoSuchService, now);
        assert_eq!(why_absent(&steps), "the registry does not know it");
        assert_eq!(names.next_tick(), Some(now + ABSENT_TTL));
        assert_eq!(names.tick(now + ABSENT_TTL), [Step::Forget(orders()), Step::Silence(orders())]);
        assert_eq!(names.lookup(&orders(), now + ABSENT_TTL), [Step::Watch(orders())]);
    }

    #[test]
    fn a_lookup_without_an_answer_is_told_after_a_second_and_may_ask_again() {
        let (mut names, now) = (Names::new(10), Instant::now());
        names.lookup(&orders(), now);
        let later = now + FIRST_ANSWER_WAIT;
        assert_eq!(names.next_tick(), Some(later));
        assert_eq!(why_absent(&names.tick(later)), "the registry has not answered yet");
        assert_eq!(names.tick(later + ABSENT_TTL), [Step::Silence(orders())]);
        // It is still watched: an answer that comes at last is used.
        assert_eq!(names.answered(&orders(), instances(1), later).len(), 1);
    }

    #[test]
    fn an_unreachable_registry_is_named_at_once() {
        let (mut names, now) = (Names::new(10), Instant::now());
        names.lookup(&orders(), now);
        let steps = names.unreachable("connection refused", now);
        assert_eq!(why_absent(&steps), "no answer from the registry: connection refused");
        let steps = names.lookup(&"users".into(), now);
        assert_eq!(why_absent(&steps), "no answer from the registry: connection refused");
        names.reachable();
        assert_eq!(names.lookup(&"carts".into(), now).len(), 1);
    }

    #[test]
    fn an_unreachable_registry_takes_no_good_answer_away() {
        let (mut names, now) = (Names::new(10), Instant::now());
        names.lookup(&orders(), now);
        names.answered(&orders(), instances(1), now);
        assert_eq!(names.unreachable("gone", now), []);
        assert_eq!(names.said(), [Step::Publish(orders(), instances(1), Origin::Registry)]);
    }

    #[test]
    fn the_disk_answers_when_the_registry_does_not() {
        let (mut names, now) = (Names::new(10), Instant::now());
        names.restore(on_disk(1), now);
        assert_eq!(
            names.watched().collect::<Vec<_>>(),
            [&orders()],
            "it is asked for before the first request"
        );
        let steps = names.unreachable("gone", now);
        assert_eq!(steps, [Step::Publish(orders(), instances(1), Origin::Disk)]);
        // And for a lookup when it is merely slow.
        let mut names = Names::new(10);
        names.restore(on_disk(1), now);
        assert_eq!(names.lookup(&orders(), now), []);
        let steps = names.tick(now + FIRST_ANSWER_WAIT);
        assert_eq!(steps, [Step::Publish(orders(), instances(1), Origin::Disk)]);
        let steps = names.answered(&orders(), instances(2), now);
        assert_eq!(steps, [Step::Publish(orders(), instances(2), Origin::Registry)]);
    }

    #[test]
    fn what_the_disk_knows_is_not_lost_before_the_registry_has_spoken() {
        let (mut names, now) = (Names::new(10), Instant::now());
        names.restore(on_disk(1), now);
        names.lookup(&"users".into(), now);
        names.answered(&"users".into(), instances(1), now);
        assert_eq!(names.good().len(), 2);
    }

    #[test]
    fn a_service_not_called_is_forgotten_one_that_is_called_stays() {
        let (mut names, now) = (Names::new(10), Instant::now());
        for name in ["busy", "idle"] {
            names.lookup(&name.into(), now);
            names.answered(&name.into(), instances(1), now);
        }
        names.used(|name| u64::from(name == "busy"), now + IDLE_MAX / 2);
        let steps = names.tick(now + IDLE_MAX);
        assert_eq!(steps, [Step::Forget("idle".into()), Step::Silence("idle".into())]);
        assert!(names.tick(now + IDLE_MAX).is_empty());
    }

    #[test]
    fn when_full_names_without_instances_make_room_and_others_do_not() {
        let (mut names, mut now) = (Names::new(2), Instant::now());
        names.lookup(&orders(), now);
        names.answered(&orders(), instances(1), now);
        names.lookup(&"slow".into(), now);
        assert_eq!((names.lookup(&"typo".into(), now), names.refused), (vec![], 1), "an answer may come yet");
        now += UNANSWERED_MAX;
        assert_eq!(names.lookup(&"typo".into(), now).len(), 3);
        names.answered(&"typo".into(), Answer::NoSuchService, now);
        let steps = names.lookup(&"users".into(), now);
        let expected =
            [Step::Forget("typo".into()), Step::Silence("typo".into()), Step::Watch("users".into())];
        assert_eq!(steps, expected);
        names.answered(&"users".into(), instances(1), now);
        now += UNANSWERED_MAX;
        assert_eq!((names.lookup(&"carts".into(), now), names.refused), (vec![], 2));
    }

    #[test]
    fn what_no_registry_can_hold_is_never_asked_for() {
        let (mut names, now) = (Names::new(10), Instant::now());
        let long = "x".repeat(NAME_LEN_MAX + 1);
        for name in ["", "a b", "-a", "a.", "[::1]", "ä", &long] {
            assert_eq!(why_absent(&names.lookup(&name.into(), now)), "it is not a service name", "{name}");
        }
        assert_eq!(names.watched().count(), 0);
        assert_eq!(names.lookup(&"a.b_c-1".into(), now).len(), 1);
    }

    proptest! {
        /// Whatever happens, the bound holds, and what was published and what is said to a new listener agree.
        #[test]
        fn steps_add_up_to_what_is_said(events in prop::collection::vec((0..6_u8, 0..4_u8, 0..3000_u64), 1..60)) {
            let (mut names, mut now) = (Names::new(3), Instant::now());
            let mut heard: HashMap<Arc<str>, Step> = HashMap::new();
            for (what, name, wait) in events {
                now += Duration::from_millis(wait);
                let name: Arc<str> = format!("s{name}").into();
                let steps = match what {
                    0 => names.lookup(&name, now),
                    1 => names.answered(&name, instances(1), now),
                    2 => names.answered(&name, Answer::NoSuchService, now),
                    3 => names.unreachable("x", now),
                    4 => { names.reachable(); Vec::new() }
                    _ => names.tick(now),
                };
                for step in steps {
                    match &step {
                        Step::Publish(name, ..) | Step::Absent(name, _) => { heard.insert(name.clone(), step); }
                        Step::Silence(name) => { heard.remove(name); }
                        Step::Watch(_) | Step::Forget(_) => {}
                    }
                }
                prop_assert!(names.watched().count() <= 3);
                let said: HashMap<_, _> = names.said().into_iter().map(|step| match &step {
                    Step::Publish(name, ..) | Step::Absent(name, _) => (name.clone(), step.clone()),
                    other => panic!("{other:?} is not something said"),
                }).collect();
                prop_assert_eq!(&said, &heard);
            }
        }
    }
}
