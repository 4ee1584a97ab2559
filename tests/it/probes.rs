//! Cases that others wrote, played against the real binary in front of an origin that answers everything 200: each
//! refusal is mesher's own, and what the origin cannot read was forwarded wrongly.
//!
//! The data is not part of this repository. Without it the tests say `skipped` and count nothing.

mod case;
mod forwarded;
mod mutants;
mod play;
mod recorder;
mod strict;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use case::{Case, Verdict};
use play::Played;
use recorder::Recorder;

use crate::codec_vectors::{LEGAL_WITH_HOST, decoded, ids, shared, unescaped, with_host};
use crate::support::conf::Conf;
use crate::support::process::{Mesher, Start};

/// Connections at a time. More than cores: silence costs time, not work.
const PLAYERS: usize = 16;

/// Scored cases that do not pass, in both directions, with the reason.
///
/// None of them is about safety. Some ask for more than the RFCs do, some for what is the origin's to answer.
const LOST: &[(&str, Verdict, &str)] = &[
    ("COMP-LEADING-CRLF", Verdict::Warn, "an empty line before a request is ignored, as RFC 9112 2.2 asks"),
    (
        "COMP-METHOD-CASE",
        Verdict::Warn,
        "methods are case-sensitive; one that is not known is the origin's to judge",
    ),
    ("COMP-UPGRADE-INVALID-VER", Verdict::Warn, "the version of WebSocket is the origin's to judge"),
    ("COMP-UNKNOWN-METHOD", Verdict::Warn, "which methods there are is the origin's to say"),
    ("COMP-405-ALLOW", Verdict::Warn, "the origin allows every method"),
    ("COMP-NO-CL-IN-204", Verdict::Warn, "the origin answers 200"),
    ("COMP-OPTIONS-ALLOW", Verdict::Warn, "the origin names no methods"),
    (
        "SMUG-CL-TRAILING-SPACE",
        Verdict::Warn,
        "blanks around a value are grammar (RFC 9110 5.5) and are not sent on",
    ),
    ("SMUG-CL-EXTRA-LEADING-SP", Verdict::Warn, "the same"),
    ("MAL-H2-PREFACE", Verdict::Fail, "HTTP/2 is spoken on the same port: the preface is answered as such"),
    ("MAL-CL-TAB-BEFORE-VALUE", Verdict::Warn, "the same"),
];

fn mesher(origin: &Recorder, conf: impl FnOnce(Conf) -> Conf) -> Mesher {
    let services: &[(&str, &[_])] = &[("localhost", &[origin.address()])];
    let conf = conf(Conf::sidecar("probed")).services(services);
    Start::new(conf).arg(format!("--service-ports=rest:{}", origin.address().port())).ready()
}

/// Plays all cases, some at a time; results in the order of the cases.
fn play_all<C: Sync, P: Send>(cases: &[C], play: impl Fn(&C) -> P + Sync) -> Vec<P> {
    let (next, played) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(at) else { return };
                    let result = play(case);
                    played.lock().unwrap().insert(at, result);
                }
            });
        }
    });
    let played = played.into_inner().unwrap();
    assert_eq!(played.len(), cases.len(), "a player gave up");
    played.into_values().collect()
}

/// Prints the score by category and the lost cases; returns the lost ones that count.
fn score(cases: &[&Case], played: &[Played]) -> Vec<(String, Verdict)> {
    let mut table = BTreeMap::<&str, [usize; 3]>::new();
    let mut lost = Vec::new();
    // The others are about origins. They are played all the same: what is forwarded of them must be sound.
    for (case, played) in cases.iter().zip(played).filter(|(case, _)| case.is_scored) {
        let verdict = case.judge(played);
        table.entry(&case.category).or_default()[verdict as usize] += 1;
        table.entry("all").or_default()[verdict as usize] += 1;
        if verdict != Verdict::Pass {
            let statuses: Vec<u16> = played.answers.iter().map(|answer| answer.status).collect();
            println!("{verdict:?} {} {statuses:?} {:?}", case.id, played.state);
            lost.push((case.id.clone(), verdict));
        }
    }
    for (category, [pass, warn, fail]) in table {
        println!("{category:15} pass {pass:3}  warn {warn:2}  fail {fail:2}");
    }
    lost
}

fn assert_no_smuggling(cases: &[&Case], played: &[Played]) {
    let smuggled: Vec<&str> = cases
        .iter()
        .zip(played)
        .filter(|(case, _)| case.is_scored && case.is_must && case.category == "Smuggling")
        .filter(|(_, played)| played.answers.iter().any(|answer| (200..300).contains(&answer.status)))
        .map(|(case, _)| case.id.as_str())
        .collect();
    assert!(smuggled.is_empty(), "smuggling answered 2xx: {smuggled:?}");
}

#[test]
fn probes_of_the_incoming_listener_score_what_the_table_says() {
    let Some(cases) = case::load() else { return };
    let cases: Vec<&Case> = cases.iter().filter(|case| !case.steps.is_empty()).collect();
    let origin = Recorder::start();
    let mesher = mesher(&origin, |conf| conf);
    let played =
        play_all(&cases, |case| play::play(mesher.conf().incoming, &case.steps, case.may_be_silent()));
    let lost = score(&cases, &played);
    assert_no_smuggling(&cases, &played);
    assert_eq!(origin.broken(), [""; 0], "forwarded against the grammar");
    assert!(!mesher.output().contains("panicked"), "{}", mesher.output());
    let table: Vec<_> = LOST.iter().map(|(id, verdict, _)| ((*id).to_owned(), *verdict)).collect();
    assert_eq!(lost, table);
}

#[test]
fn probes_of_the_forward_proxy_score_what_the_table_says() {
    let Some(cases) = case::load() else { return };
    let forms: Vec<(&Case, Vec<Vec<u8>>)> = cases
        .iter()
        .filter(|case| !case.steps.is_empty())
        .filter_map(|case| Some((case, case.in_absolute_form()?)))
        .collect();
    let origin = Recorder::start();
    let mesher = mesher(&origin, |conf| conf);
    let played =
        play_all(&forms, |(case, steps)| play::play(mesher.conf().outgoing, steps, case.may_be_silent()));
    let cases: Vec<&Case> = forms.iter().map(|(case, _)| *case).collect();
    let lost = score(&cases, &played);
    assert_no_smuggling(&cases, &played);
    assert_eq!(origin.broken(), [""; 0], "forwarded against the grammar");
    assert!(!mesher.output().contains("panicked"), "{}", mesher.output());
    let is_played = |id: &str| cases.iter().any(|case| case.id == id);
    let table: Vec<_> =
        LOST.iter().filter(|(id, ..)| is_played(id)).map(|(id, v, _)| ((*id).to_owned(), *v)).collect();
    assert_eq!(lost, table);
}

#[test]
fn requests_that_others_label_invalid_are_refused_in_both_directions() {
    let Some(cases) = shared("h1_labelled_requests.json") else { return };
    let invalid: Vec<(&str, Vec<u8>)> = cases
        .iter()
        .filter(|case| case["label"] == "invalid")
        .flat_map(|case| {
            let input = unescaped(&decoded(case["b64"].as_str().unwrap()));
            // Many have no `Host`, which would hide what they are about.
            let whole = with_host(&input);
            [(case["id"].as_str().unwrap(), input), (case["id"].as_str().unwrap(), whole)]
        })
        .collect();
    assert!(invalid.len() > 50, "only {} cases", invalid.len());
    let origin = Recorder::start();
    // Some are invalid for exceeding the bounds that their authors set.
    let mesher = mesher(&origin, |conf| {
        conf.set("mesher.yaml", "mesher.limit.requestLineBytes", 4094)
            .set("mesher.yaml", "mesher.limit.headBytes", 8190)
            .set("mesher.yaml", "mesher.limit.headers", 100)
    });
    let played = play_all(&invalid, |(_, input)| {
        let absolute = case::with_absolute_target(input);
        [
            play::play_silently(mesher.conf().incoming, input),
            play::play_silently(mesher.conf().outgoing, &absolute),
        ]
    });
    let is_accepted = |played: &Played| {
        let mut statuses = played.answers.iter().map(|answer| answer.status);
        played.stray.is_empty() && statuses.len() > 0 && statuses.all(|status| status < 400)
    };
    let accepted: Vec<&str> = invalid
        .iter()
        .zip(&played)
        .filter(|(_, played)| played.iter().any(is_accepted))
        .map(|((id, _), _)| *id)
        .collect();
    assert_eq!(accepted, ids(LEGAL_WITH_HOST));
}

#[test]
fn a_request_whose_hops_are_used_up_does_not_reach_the_origin() {
    let origin = Recorder::start();
    let mesher = mesher(&origin, |conf| conf);
    let ask = |hops: u32| {
        let request = format!("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: {hops}\r\n\r\n");
        play::play(mesher.conf().incoming, &[request.into_bytes()], false).answers[0].status
    };
    assert_eq!((ask(0), ask(1)), (501, 200));
    let seen = origin.take();
    assert_eq!((seen.len(), seen[0].all("max-forwards")), (1, vec![&b"0"[..]]));
}
