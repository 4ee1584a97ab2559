//! Differential forwarding: what is judged are the bytes that reach the origin, not the status that the client sees.
//!
//! Each mutant is followed by a sound request, the canary. Whatever mesher makes of the mutant: the origin is sent
//! nothing that the grammar of a sender does not allow, no more requests than answers come back, and each answer is
//! that to its own request.

use super::mesher;
use super::mutants::{Dice, mutant};
use super::play::{Answer, play_silently};
use super::recorder::Recorder;
use super::strict::Strict;

/// Mutants of one direction. Enough to find each hole that was put into the codec on trial.
const MUTANTS: usize = 480;

struct Tally {
    refused: usize,
    forwarded: usize,
    canaries: usize,
}

#[test]
fn what_reaches_the_local_service_is_sound_and_no_more_than_was_answered() {
    let tally = run(false);
    println!("refused {}, forwarded {}, canaries {}", tally.refused, tally.forwarded, tally.canaries);
    assert!(tally.refused > 100 && tally.forwarded > 100, "the mutants no longer probe both sides");
}

#[test]
fn what_reaches_other_services_is_sound_and_no_more_than_was_answered() {
    let tally = run(true);
    println!("refused {}, forwarded {}, canaries {}", tally.refused, tally.forwarded, tally.canaries);
    assert!(tally.refused > 100 && tally.forwarded > 100, "the mutants no longer probe both sides");
}

/// Some lanes at a time, each with an origin of its own, so that every request is known to be of its mutant.
fn run(is_forward: bool) -> Tally {
    const LANES: usize = 4;
    let lanes: Vec<usize> = (0..LANES).collect();
    let tallies = super::play_all(&lanes, |lane| run_lane(*lane as u64, MUTANTS / LANES, is_forward));
    tallies.into_iter().fold(Tally { refused: 0, forwarded: 0, canaries: 0 }, |sum, tally| Tally {
        refused: sum.refused + tally.refused,
        forwarded: sum.forwarded + tally.forwarded,
        canaries: sum.canaries + tally.canaries,
    })
}

fn run_lane(seed: u64, count: usize, is_forward: bool) -> Tally {
    let origin = Recorder::start();
    let mesher = mesher(&origin, |conf| conf);
    let address = if is_forward { mesher.conf().outgoing } else { mesher.conf().incoming };
    let prefix = if is_forward { "http://localhost" } else { "" };
    let mut dice = Dice(seed);
    let mut tally = Tally { refused: 0, forwarded: 0, canaries: 0 };
    for number in 0..count {
        let mut input = mutant(&mut dice, "localhost", is_forward);
        let canary =
            format!("GET {prefix}/canary-{number} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let sent = String::from_utf8_lossy(&input).into_owned();
        input.extend_from_slice(canary.as_bytes());
        let played = play_silently(address, &input);
        let answers: Vec<&Answer> = played.answers.iter().filter(|answer| answer.status >= 200).collect();
        let (ours, theirs): (Vec<&Answer>, Vec<&Answer>) =
            answers.into_iter().partition(|answer| answer.header("x-mesher-error").is_some());
        let seen = origin.take();
        assert_eq!(origin.broken(), [""; 0], "forwarded against the grammar, of {sent:?}");
        let closing = ours.iter().filter(|answer| answer.closes()).count();
        assert!(closing <= 1, "answers after the last one: {sent:?}");
        assert_belongs(&seen, &theirs, &sent);
        tally.refused += ours.len();
        tally.forwarded += seen.len();
        tally.canaries +=
            usize::from(seen.last().is_some_and(|last| last.target == format!("/canary-{number}")));
    }
    assert!(!mesher.output().contains("panicked"), "{}", mesher.output());
    tally
}

/// Each answer is that to its own request, and there is one for each.
fn assert_belongs(seen: &[Strict], answers: &[&Answer], sent: &str) {
    assert_eq!(seen.len(), answers.len(), "requests and answers: {seen:?} {answers:?} of {sent:?}");
    for (request, answer) in seen.iter().zip(answers) {
        assert_eq!(answer.header("x-target"), Some(request.target.as_str()), "{sent:?}");
        if request.method != "HEAD" {
            assert_eq!(answer.body, request.body, "{sent:?}");
        }
    }
}
