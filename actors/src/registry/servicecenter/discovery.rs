//! The names asked for: when to ask for which, and what the answers and events mean for them.
//!
//! Pure: knows no socket and no clock. One question is under way at a time, for up to [`NAMES_MAX_PER_CALL`] names.
//! A name is asked for at once when it is new, and then each refresh interval; names due soon go along. An error
//! keeps what is known, drops the revisions, and tries again soon. A question that service-center will not take as
//! a whole is halved until the name at fault stands alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use super::backoff::Backoff;
use super::error::CallError;
use super::watched::{Scope, Watched};
use super::wire::{Code, Failed, FindAnswer, Frame, Updated, could_be_service};
use crate::registry::Answer;

/// Most names that are asked for. Each may stand for an upstream that somebody made up in a request.
const NAMES_MAX: usize = 10_000;
/// Most names in one question: a hundred services of a few dozen instances stay well below the largest answer.
const NAMES_MAX_PER_CALL: usize = 100;
/// First pause after an error, and growth of the ones that follow, up to the refresh interval.
const ERROR_PAUSE_FIRST: Duration = Duration::from_secs(1);
const ERROR_PAUSE_FACTOR: f64 = 1.5;

/// Which address of service-center answered; revisions of one mean nothing to another.
pub(super) type Node = usize;

/// Ties an answer to its question: answers to questions given up are ignored.
pub(super) type Ticket = u64;

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Find {
    /// Who asks: our service's id, if we are registered.
    pub(super) consumer: Option<Arc<str>>,
    /// Application of the names.
    pub(super) app: Arc<str>,
    /// Environment of the names.
    pub(super) environment: Arc<str>,
    /// What for, each with the revision we have.
    pub(super) names: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// The address that gave the revisions.
    pub(super) node: Node,
}

/// What came of an answer or event.
#[derive(Debug, Default, PartialEq)]
pub(super) struct News {
    /// Names whose answer changed.
    pub(super) answers: Vec<(Arc<str>, Answer)>,
    /// Service-center may have forgotten us: [`Discovery::consumer_known`] or [`Discovery::set_consumer`] settles it.
    pub(super) doubt: bool,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Discovery {
    scope: Scope,
    consumer: Option<Arc<str>>,
    names: BTreeMap<Arc<str>, Watched>,
    under_way: Option<(Ticket, Vec<Arc<str>>)>,
    tickets: Ticket,
    not_before: Instant,
    names_max_per_call: usize,
    node: Node,
    backoff: Backoff,
}

impl Discovery {
    /// A machine that asks for nothing yet.
    pub(super) const fn new(scope: Scope, now: Instant) -> Self {
        let backoff = Backoff::new(ERROR_PAUSE_FIRST, ERROR_PAUSE_FACTOR, scope.refresh_interval);
        Self {
            scope,
            consumer: None,
            names: BTreeMap::new(),
            under_way: None,
            tickets: 0,
            not_before: now,
            names_max_per_call: NAMES_MAX_PER_CALL,
            node: 0,
            backoff,
        }
    }

    /// Asks for a name from now on; what is known of it already, or cannot be otherwise, is returned.
    pub(super) fn watch(&mut self, name: Arc<str>, now: Instant) -> Option<Answer> {
        if let Some(known) = self.names.get(&name) {
            return known.answer();
        }
        if !could_be_service(&name) {
            return Some(Answer::NoSuchService);
        }
        if self.names.len() >= NAMES_MAX {
            warn!(service = %name, limit = NAMES_MAX, "too many services are looked for; this one is not");
            return Some(Answer::NoSuchService);
        }
        self.names.insert(name, Watched::new(&self.scope, now));
        None
    }

    /// No longer asks for a name.
    pub(super) fn forget(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// Whether there is no name to ask for.
    pub(super) fn is_idle(&self) -> bool {
        self.names.is_empty()
    }

    /// Asks as this service from now on, or as nobody. What we may see depends on it, so everything is asked anew.
    pub(super) fn set_consumer(&mut self, consumer: Option<&Arc<str>>, now: Instant) {
        if self.consumer.as_ref() != consumer {
            self.consumer = consumer.cloned();
            self.under_way = None;
            self.names.values_mut().for_each(|watched| watched.doubted = false);
            self.expire_all(now);
        }
    }

    /// Asks for everything anew, now.
    pub(super) fn expire_all(&mut self, now: Instant) {
        self.names.values_mut().for_each(|watched| watched.expire(now));
    }

    /// Service-center is back: ask now what waits for the end of an error.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.not_before = self.not_before.min(now);
    }

    /// Service-center knows us: what it did not know were the services.
    pub(super) fn consumer_known(&mut self, now: Instant) -> News {
        let mut news = News::default();
        for (name, watched) in self.names.iter_mut().filter(|(_, watched)| watched.doubted) {
            if watched.no_such_service(&self.scope, now) {
                news.add(name, watched);
            }
        }
        news
    }

    /// When [`Self::poll`] has something to do, if nothing else happens.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.under_way.is_some() {
            return None;
        }
        self.names.values().map(|watched| watched.due).min().map(|due| due.max(self.not_before))
    }

    /// What to ask now.
    pub(super) fn poll(&mut self, now: Instant) -> Option<(Ticket, Find)> {
        if self.next().is_none_or(|next| next > now) {
            return None;
        }
        let soon = now + self.scope.refresh_interval / 4;
        let mut names: Vec<_> = self.names.iter_mut().filter(|(_, watched)| watched.due <= soon).collect();
        names.sort_by_key(|(_, watched)| watched.due);
        names.truncate(self.names_max_per_call);
        let asked = names.iter().map(|(name, _)| Arc::clone(name)).collect();
        let ask = |(name, watched): (&Arc<str>, &mut Watched)| {
            watched.asked();
            (Arc::clone(name), watched.revision.clone())
        };
        let find = Find {
            consumer: self.consumer.clone(),
            app: Arc::clone(&self.scope.app),
            environment: Arc::clone(&self.scope.environment),
            names: names.into_iter().map(ask).collect(),
            node: self.node,
        };
        self.tickets += 1;
        self.under_way = Some((self.tickets, asked));
        Some((self.tickets, find))
    }

    /// How a question went; `draw` is a random number of 0 to 1.
    pub(super) fn finished(
        &mut self,
        ticket: Ticket,
        outcome: Result<(Node, FindAnswer), CallError>,
        now: Instant,
        draw: f64,
    ) -> News {
        let Some((_, names)) = self.under_way.take_if(|(under_way, _)| *under_way == ticket) else {
            return News::default();
        };
        match outcome {
            Ok((node, answer)) => self.answered(&names, node, answer, now, draw),
            Err(error) if error.is(Code::INVALID) || matches!(error, CallError::TooLarge(_)) => {
                self.not_taken(&names, &error, now, draw)
            }
            Err(error) => {
                if matches!(error, CallError::Refused(_)) {
                    warn!(%error, "services cannot be looked up; what is known of them is kept");
                }
                self.not_before = now + self.backoff.pause(draw);
                self.names.values_mut().for_each(|watched| watched.revision = None);
                News::default()
            }
        }
    }

    /// Takes an event of the watch socket.
    pub(super) fn changed(&mut self, frame: Frame, now: Instant) -> News {
        let mut news = News::default();
        let Some((name, watched)) = self
            .names
            .get_key_value(frame.service.as_str())
            .map(|(name, _)| Arc::clone(name))
            .filter(|_| *frame.app == *self.scope.app)
            .and_then(|name| self.names.get_mut(&name).map(|watched| (name, watched)))
        else {
            return news;
        };
        if watched.changed(frame.change, &self.scope, now) {
            news.add(&name, watched);
        }
        news
    }

    fn answered(
        &mut self,
        names: &[Arc<str>],
        node: Node,
        answer: FindAnswer,
        now: Instant,
        draw: f64,
    ) -> News {
        self.backoff.reset();
        self.names_max_per_call = self.names_max_per_call.saturating_mul(2).min(NAMES_MAX_PER_CALL);
        if node != self.node {
            self.node = node;
            self.names.values_mut().for_each(|watched| watched.revision = None);
        }
        if let Some(example) = answer.unreadable.first() {
            warn!(
                count = answer.unreadable.len(),
                example, "parts of an answer of service-center cannot be read"
            );
        }
        let mut outcomes: Vec<Option<Found>> = names.iter().map(|_| None).collect();
        sort(answer, &mut outcomes);
        let mut news = News::default();
        for (name, found) in names.iter().zip(outcomes) {
            if let Some(watched) = self.names.get_mut(name) {
                let asker = self.consumer.is_some();
                found_one(name, watched, found, asker, &self.scope, now, &mut news);
                watched.schedule(&self.scope, now, draw);
            }
        }
        news
    }

    /// The question was refused, or its answer would be too large, for one of the names.
    fn not_taken(&mut self, names: &[Arc<str>], error: &CallError, now: Instant, draw: f64) -> News {
        let mut news = News::default();
        if names.len() > 1 {
            self.names_max_per_call = names.len() / 2;
            return news;
        }
        self.names_max_per_call = 2;
        for name in names {
            warn!(service = %name, %error, "service-center cannot be asked for this service");
            let Some(watched) = self.names.get_mut(name) else { continue };
            if error.is(Code::INVALID) && watched.no_such_service(&self.scope, now) {
                news.add(name, watched);
            }
            watched.schedule(&self.scope, now, draw);
        }
        news
    }
}

impl News {
    fn add(&mut self, name: &Arc<str>, watched: &Watched) {
        self.answers.extend(watched.answer().map(|answer| (Arc::clone(name), answer)));
    }
}

/// What an answer says of one name.
enum Found {
    Updated(Updated),
    NotModified,
    Failed(Arc<Failed>),
}

/// Puts each part of an answer at the place of the name it is about; places that were not asked for are dropped.
fn sort(answer: FindAnswer, outcomes: &mut [Option<Found>]) {
    let mut put = |index: usize, found| {
        if let Some(place) = outcomes.get_mut(index) {
            *place = Some(found);
        }
    };
    for failed in answer.failed.into_iter().map(Arc::new) {
        failed.indexes.iter().for_each(|index| put(*index, Found::Failed(Arc::clone(&failed))));
    }
    answer.not_modified.into_iter().for_each(|index| put(index, Found::NotModified));
    answer.updated.into_iter().for_each(|updated| put(updated.index, Found::Updated(updated)));
}

fn found_one(
    name: &Arc<str>,
    watched: &mut Watched,
    found: Option<Found>,
    asker: bool,
    scope: &Scope,
    now: Instant,
    news: &mut News,
) {
    let changed = match found {
        Some(Found::Updated(updated)) => {
            if let Some(example) = updated.unreadable.first() {
                warn!(service = %name, count = updated.unreadable.len(), example, "instances cannot be read");
            }
            watched.updated(updated, scope, now)
        }
        Some(Found::NotModified) => false,
        Some(Found::Failed(failed)) if failed.error.code == Code::NO_SERVICE => {
            if asker && !failed.error.names_provider() {
                watched.doubted = true;
                news.doubt = true;
                false
            } else {
                watched.no_such_service(scope, now)
            }
        }
        Some(Found::Failed(failed)) => {
            warn!(service = %name, error = %failed.error, "service-center cannot answer for this service");
            watched.revision = None;
            false
        }
        None => {
            watched.revision = None;
            false
        }
    };
    if watched.protected() {
        warn!(service = %name, "service-center lists no instances any more; those known are kept for now");
    }
    if changed {
        news.add(name, watched);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::super::watched::EMPTY_ANSWERS_MIN;
    use super::super::wire::{ErrorAnswer, find_answer, watch_frame};
    use super::*;

    const REFRESH: Duration = Duration::from_secs(30);

    struct Bench {
        discovery: Discovery,
        now: Instant,
        ticket: Ticket,
    }

    impl Bench {
        fn new(names: &[&str]) -> Self {
            let now = Instant::now();
            let scope = Scope { app: "default".into(), environment: "".into(), refresh_interval: REFRESH };
            let mut bench = Self { discovery: Discovery::new(scope, now), now, ticket: 0 };
            bench.discovery.set_consumer(Some(&"c1".into()), now);
            for name in names {
                assert_eq!(bench.discovery.watch((*name).into(), now), None);
            }
            bench
        }

        /// The next question, after waiting for it.
        fn find(&mut self) -> Find {
            self.now = self.now.max(self.discovery.next().unwrap());
            let (ticket, find) = self.discovery.poll(self.now).unwrap();
            self.ticket = ticket;
            assert_eq!(self.discovery.next(), None, "one question at a time");
            find
        }

        fn outcome(&mut self, outcome: Result<(Node, FindAnswer), CallError>) -> News {
            self.discovery.finished(self.ticket, outcome, self.now, 0.0)
        }

        fn answer(&mut self, lists: &str) -> News {
            let answer = find_answer(format!(r#"{{"services":{{{lists}}}}}"#).as_bytes()).unwrap();
            self.outcome(Ok((0, answer)))
        }

        fn event(&mut self, action: &str, app: &str, service: &str, id: &str) -> News {
            let frame = format!(
                r#"{{"action":"{action}","key":{{"appId":"{app}","serviceName":"{service}"}},"instance":{{"instanceId":"{id}","status":"DOWN"}}}}"#
            );
            self.discovery.changed(watch_frame(frame.as_bytes()).unwrap(), self.now)
        }
    }

    fn names(find: &Find) -> Vec<(&str, Option<&str>)> {
        find.names.iter().map(|(name, revision)| (&**name, revision.as_deref())).collect()
    }

    fn told(news: &News) -> Vec<(&str, Vec<&str>)> {
        let ids = |answer| match answer {
            &Answer::NoSuchService => vec!["none"],
            Answer::Instances(instances) => instances.iter().map(|instance| &*instance.id).collect(),
        };
        news.answers.iter().map(|(name, answer)| (&**name, ids(answer))).collect()
    }

    fn updated(index: usize, revision: &str, ids: &[&str]) -> String {
        let ids: Vec<_> = ids.iter().map(|id| format!(r#"{{"instanceId":"{id}"}}"#)).collect();
        format!(r#"{{"index":{index},"rev":"{revision}","instances":[{}]}}"#, ids.join(","))
    }

    fn missing(index: usize, detail: &str) -> String {
        format!(
            r#"{{"indexes":[{index}],"error":{{"errorCode":"400012","errorMessage":"m","detail":"{detail}"}}}}"#
        )
    }

    const NO_PROVIDER: &str =
        "m(Consumer[c1][/default/c/1.0.0] find provider[/default/b] failed, provider does not exist)";
    const NO_CONSUMER: &str = "m(Consumer[c1] does not exist.)";

    #[test]
    fn new_names_are_asked_for_at_once_and_then_each_interval_with_their_revision() {
        let mut bench = Bench::new(&["a", "b"]);
        let find = bench.find();
        assert_eq!((find.consumer.as_deref(), names(&find)), (Some("c1"), vec![("a", None), ("b", None)]));
        let lists =
            format!(r#""updated":[{},{}]"#, updated(1, "r2", &["b1"]), updated(0, "r1", &["a1", "a2"]));
        assert_eq!(told(&bench.answer(&lists)), [("a", vec!["a1", "a2"]), ("b", vec!["b1"])]);
        let asked = bench.now;
        assert_eq!(names(&bench.find()), [("a", Some("r1")), ("b", Some("r2"))]);
        assert_eq!(bench.now - asked, REFRESH);
        let lists = format!(r#""notModified":[0],"updated":[{}]"#, updated(1, "r3", &["b2"]));
        assert_eq!(told(&bench.answer(&lists)), [("b", vec!["b2"])]);
        assert_eq!(bench.discovery.watch("c".into(), bench.now), None);
        assert_eq!(names(&bench.find()), [("c", None)], "a new name does not wait for the others");
    }

    #[test]
    fn a_name_asked_for_again_is_answered_from_what_is_known() {
        let mut bench = Bench::new(&["a"]);
        bench.find();
        bench.answer(&format!(r#""updated":[{}]"#, updated(0, "r1", &["a1"])));
        assert!(matches!(bench.discovery.watch("a".into(), bench.now), Some(Answer::Instances(_))));
        bench.discovery.forget("a");
        assert_eq!(bench.discovery.next(), None);
    }

    #[test]
    fn a_name_that_cannot_be_one_is_never_asked_for() {
        let mut bench = Bench::new(&[]);
        for name in ["", "a b", "../x", "ä"] {
            assert_eq!(bench.discovery.watch(name.into(), bench.now), Some(Answer::NoSuchService));
        }
        assert_eq!(bench.discovery.next(), None);
    }

    #[test]
    fn an_error_keeps_what_is_known_drops_the_revision_and_asks_again_soon() {
        let mut bench = Bench::new(&["a"]);
        bench.find();
        bench.answer(&format!(r#""updated":[{}]"#, updated(0, "r1", &["a1"])));
        bench.find();
        let failed = bench.now;
        assert_eq!(bench.outcome(Err(CallError::Unavailable("gone".into()))), News::default());
        assert_eq!(names(&bench.find()), [("a", None)]);
        assert_eq!(bench.now - failed, ERROR_PAUSE_FIRST / 2);
        assert_eq!(bench.answer(&format!(r#""updated":[{}]"#, updated(0, "r1", &["a1"]))), News::default());
    }

    #[test]
    fn service_center_being_back_ends_the_pause_after_an_error() {
        let mut bench = Bench::new(&["a"]);
        for _ in 0..9 {
            bench.find();
            bench.outcome(Err(CallError::Unavailable("gone".into())));
        }
        assert!(bench.discovery.next().unwrap() - bench.now > REFRESH / 3);
        bench.discovery.hurry(bench.now);
        assert_eq!(bench.discovery.next(), Some(bench.now));
    }

    #[test]
    fn a_name_left_out_of_the_answer_keeps_what_is_known() {
        let mut bench = Bench::new(&["a"]);
        bench.find();
        bench.answer(&format!(r#""updated":[{}]"#, updated(0, "r1", &["a1"])));
        bench.find();
        assert_eq!(
            bench.answer(r#""notModified":[7],"failed":[{"indexes":[0],"error":{"errorCode":"500003"}}]"#),
            News::default()
        );
        assert_eq!(names(&bench.find()), [("a", None)]);
        assert_eq!(bench.answer(""), News::default());
    }

    #[test]
    fn another_address_answering_makes_the_revisions_void() {
        let mut bench = Bench::new(&["a", "b"]);
        bench.find();
        bench.answer(&format!(r#""updated":[{},{}]"#, updated(0, "r1", &["a1"]), updated(1, "r2", &["b1"])));
        assert_eq!(bench.find().node, 0);
        let answer = find_answer(
            format!(r#"{{"services":{{"updated":[{}]}}}}"#, updated(0, "x1", &["a1"])).as_bytes(),
        );
        bench.outcome(Ok((1, answer.unwrap())));
        let find = bench.find();
        assert_eq!((find.node, names(&find)), (1, vec![("a", Some("x1")), ("b", None)]));
    }

    #[test]
    fn an_unknown_provider_is_no_such_service() {
        let mut bench = Bench::new(&["b"]);
        bench.find();
        let news = bench.answer(&format!(r#""failed":[{}]"#, missing(0, NO_PROVIDER)));
        assert_eq!((told(&news), news.doubt), (vec![("b", vec!["none"])], false));
    }

    #[test]
    fn an_unknown_consumer_is_first_confirmed() {
        let mut bench = Bench::new(&["b"]);
        bench.find();
        let news = bench.answer(&format!(r#""failed":[{}]"#, missing(0, NO_CONSUMER)));
        assert_eq!((told(&news), news.doubt), (vec![], true));
        assert_eq!(told(&bench.discovery.consumer_known(bench.now)), [("b", vec!["none"])]);
        assert_eq!(bench.discovery.consumer_known(bench.now), News::default());
    }

    #[test]
    fn a_lost_consumer_asks_as_nobody_and_then_as_its_new_self() {
        let mut bench = Bench::new(&["b"]);
        bench.find();
        bench.answer(&format!(r#""failed":[{}]"#, missing(0, NO_CONSUMER)));
        bench.discovery.set_consumer(None, bench.now);
        let started = bench.now;
        assert_eq!(bench.find().consumer, None);
        let news = bench.answer(&format!(r#""failed":[{}]"#, missing(0, "m(Consumer[][///] …)")));
        assert_eq!((told(&news), news.doubt), (vec![("b", vec!["none"])], false), "nobody cannot be unknown");
        bench.discovery.set_consumer(Some(&"c2".into()), bench.now);
        assert_eq!(bench.find().consumer.as_deref(), Some("c2"));
        assert_eq!(bench.now, started, "without waiting");
    }

    #[test]
    fn data_lost_in_service_center_leaves_the_instances_known() {
        let mut bench = Bench::new(&["a"]);
        bench.find();
        bench.answer(&format!(r#""updated":[{}]"#, updated(0, "r1", &["a1"])));
        for _ in 1..EMPTY_ANSWERS_MIN {
            bench.discovery.expire_all(bench.now);
            for _ in 0..5 {
                bench.find();
                assert_eq!(
                    bench.answer(&format!(r#""failed":[{}]"#, missing(0, NO_PROVIDER))),
                    News::default()
                );
                bench.discovery.expire_all(bench.now);
            }
            bench.now += REFRESH;
        }
        bench.find();
        assert_eq!(
            told(&bench.answer(&format!(r#""failed":[{}]"#, missing(0, NO_PROVIDER)))),
            [("a", vec!["none"])]
        );
    }

    #[test]
    fn a_question_refused_as_a_whole_is_halved_down_to_the_name_at_fault() {
        let all: Vec<_> = (0..8).map(|n| format!("n{n}")).collect();
        let mut bench = Bench::new(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let mut found = Vec::new();
        let started = bench.now;
        while found.len() < all.len() {
            let find = bench.find();
            let asked: Vec<_> = find.names.iter().map(|(name, _)| name.to_string()).collect();
            let news = if asked.contains(&"n5".to_string()) {
                let error = ErrorAnswer { code: Code::INVALID, text: "no".into() };
                bench.outcome(Err(CallError::Refused(error)))
            } else {
                let lists: Vec<_> = (0..asked.len()).map(|index| updated(index, "r", &["i"])).collect();
                bench.answer(&format!(r#""updated":[{}]"#, lists.join(",")))
            };
            for (name, ids) in told(&news) {
                assert_eq!(ids, [if name == "n5" { "none" } else { "i" }]);
                found.push(name.to_string());
            }
        }
        assert_eq!(bench.now, started, "without waiting");
    }

    #[test]
    fn many_names_are_asked_for_in_parts() {
        let all: Vec<_> = (0..NAMES_MAX_PER_CALL + 1).map(|n| format!("n{n}")).collect();
        let mut bench = Bench::new(&all.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(bench.find().names.len(), NAMES_MAX_PER_CALL);
        bench.answer("");
        assert_eq!(names(&bench.find())[0], ("n99", None), "the one left out comes first");
    }

    #[test]
    fn an_answer_to_a_question_given_up_is_ignored() {
        let mut bench = Bench::new(&["a"]);
        bench.find();
        bench.discovery.set_consumer(None, bench.now);
        assert_eq!(bench.answer(&format!(r#""updated":[{}]"#, updated(0, "r1", &["a1"]))), News::default());
        assert_eq!(names(&bench.find()), [("a", None)]);
    }

    #[test]
    fn events_change_the_names_of_our_application_only() {
        let mut bench = Bench::new(&["a"]);
        bench.find();
        bench.answer(&format!(r#""updated":[{}]"#, updated(0, "r1", &["a1"])));
        let news = bench.event("UPDATE", "default", "a", "a2");
        assert_eq!(told(&news), [("a", vec!["a1", "a2"])]);
        let Answer::Instances(instances) = &news.answers[0].1 else { panic!() };
        assert!(!instances[1].status.callable(), "the status is passed on as it is");
        assert_eq!(told(&bench.event("DELETE", "default", "a", "a1")), [("a", vec!["a2"])]);
        assert_eq!(bench.event("DELETE", "other", "a", "a2"), News::default());
        assert_eq!(bench.event("CREATE", "default", "b", "b1"), News::default());
        let before = bench.now;
        bench.event("EXPIRE", "default", "a", "x");
        assert_eq!((names(&bench.find()), bench.now), (vec![("a", None)], before));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_stall_or_panic(answers in proptest::collection::vec(("[a-z\"\\[\\]{}:,0-9]{0,60}", 0..4_usize, 0..3_u8), 0..30)) {
            let mut bench = Bench::new(&["a", "b"]);
            for (junk, index, kind) in answers {
                bench.find();
                let body = format!(r#"{{"services":{{"notModified":[{index}],"updated":[{}],"failed":[{}]}}}}"#,
                    updated(index, "r", &["i"]), missing(index, NO_CONSUMER));
                let outcome = match kind {
                    0 => find_answer(body.as_bytes()),
                    1 => find_answer(junk.as_bytes()),
                    _ => Err("gone".into()),
                };
                bench.outcome(outcome.map(|answer| (index, answer)).map_err(CallError::Unavailable));
                prop_assert!(bench.discovery.next().is_some());
            }
        }
    }
}
