//! Requests that others labelled, played against the codec: what they call invalid is never accepted.
//!
//! The data is not part of this repository. Without it the tests say `skipped` and count nothing.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::PathBuf;

use mesher::codec::{Limits, Outgoing, Parse, Reject, RequestHead};
use serde_json::Value;

/// Cases that are called invalid for exceeding the limits that their authors set, not ours.
const LIMITS: Limits = Limits { request_line: 4094, head_bytes: 8190, headers: 100 };

/// Cases that are called valid and that we refuse on purpose, with the reason.
const STRICTER: &[(&str, &str)] = &[
    ("005", "a fragment is never sent"),
    ("009", "a fragment is never sent"),
    ("012", "content-type as a trailer"),
    ("014", "quotes are no part of a target"),
    ("025", "gzip as transfer coding is not understood: 501"),
    ("025_line", "the same"),
    ("027", "bytes above ASCII in a target"),
    ("029", "identity is no transfer coding any more"),
    ("030", "the same"),
    ("040", "Transfer_Encoding, which some origins read as the real one"),
    ("rfc9112_smuggle_gzip_chunked_01", "gzip as transfer coding is not understood: 501"),
    ("rfc9112_smuggle_te_identity_chunked_01", "identity is no transfer coding any more"),
    ("rfc9112_target_absolute_userinfo_01", "user information in http URIs is to be treated as an error"),
];

/// Cases that are called invalid for other reasons than a rule of HTTP; only the `Host` they lack makes them so.
pub(crate) const LEGAL_WITH_HOST: &[(&str, &str)] =
    &[("003c", "a method in lower case is one that we need not know")];

/// Probes of the must level that the codec accepts, with the reason. The others are refused or incomplete.
const ACCEPTED: &[(&str, &str)] =
    &[("COMP-METHOD-CONNECT", "a proxy may serve it; whoever handles the request decides")];

/// How a whole connection's input is judged.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// So many requests, and nothing behind them.
    Accepted(usize),
    /// The last request is not complete.
    Incomplete,
    Refused(Reject),
}

pub(crate) fn shared(file: &str) -> Option<Vec<Value>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("MESHER_SHARED").map_or_else(beside, PathBuf::from);
    let path = folder.join("conformance").join(file);
    if !path.exists() {
        println!("skipped: no {}", path.display());
        return None;
    }
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

fn play(input: &[u8], limits: &Limits) -> Verdict {
    match try_play(input, limits) {
        Ok(verdict) => verdict,
        Err(reject) => Verdict::Refused(reject),
    }
}

fn try_play(input: &[u8], limits: &Limits) -> Result<Verdict, Reject> {
    let mut head = RequestHead::new();
    head.buffer().extend_from_slice(input);
    let mut count = 0;
    while !head.buffer().is_empty() {
        if head.parse(limits)? == Parse::Incomplete {
            return Ok(Verdict::Incomplete);
        }
        let mut body = head.body(Outgoing::AsReceived);
        let taken = body.take(head.rest())?;
        if !body.is_done() {
            return Ok(Verdict::Incomplete);
        }
        head.consume(taken);
        head.take_rest();
        count += 1;
    }
    Ok(if count == 0 { Verdict::Incomplete } else { Verdict::Accepted(count) })
}

/// The labels were written for a loader that reads `\xNN` as a byte.
pub(crate) fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind.strip_prefix(b"x").and_then(|hex| std::str::from_utf8(hex.get(..2)?).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| byte == b'\\') {
            Some(escaped) => {
                out.push(escaped);
                rest = &rest[4..];
            }
            None => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    out
}

pub(crate) fn decoded(base64: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in base64.bytes().filter(|byte| *byte != b'=') {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digit = alphabet.iter().position(|other| *other == byte).unwrap();
        bits = bits << 6 | u32::try_from(digit).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 255) as u8);
        }
    }
    out
}

/// Many labelled requests are about something else and have no `Host`, which would hide what they are about.
pub(crate) fn with_host(input: &[u8]) -> Vec<u8> {
    let is_there = |window: &[u8]| window.eq_ignore_ascii_case(b"\nhost:");
    if input.windows(6).any(is_there) {
        return input.to_vec();
    }
    // A body of known length must not grow.
    let has_length = input.windows(16).any(|window| window.eq_ignore_ascii_case(b"\ncontent-length:"));
    let mut out = Vec::new();
    for (i, byte) in input.iter().enumerate() {
        out.push(*byte);
        if has_length && out.len() > i + 1 {
            continue;
        }
        if input[..=i].ends_with(b" HTTP/1.1\r\n") || input[..=i].ends_with(b" HTTP/1.0\r\n") {
            out.extend_from_slice(b"Host: svc\r\n");
        }
    }
    out
}

#[test]
fn what_others_label_invalid_is_never_accepted() {
    let Some(cases) = shared("h1_labelled_requests.json") else { return };
    let mut accepted = Vec::new();
    for case in cases.iter().filter(|case| case["label"] == "invalid") {
        let id = case["id"].as_str().unwrap();
        let limits =
            if matches!(id, "006" | "007" | "008" | "009" | "017") { LIMITS } else { Limits::default() };
        let input = unescaped(&decoded(case["b64"].as_str().unwrap()));
        let is_accepted = |input: &[u8]| matches!(play(input, &limits), Verdict::Accepted(_));
        assert!(!is_accepted(&input), "{id}");
        if is_accepted(&with_host(&input)) {
            accepted.push(id);
        }
    }
    assert_eq!(accepted, ids(LEGAL_WITH_HOST), "accepted once they have a host");
}

#[test]
fn what_others_label_valid_is_accepted_but_for_a_list_with_reasons() {
    let Some(cases) = shared("h1_labelled_requests.json") else { return };
    let mut refused = Vec::new();
    for case in cases.iter().filter(|case| case["label"] == "valid") {
        let verdict =
            play(&with_host(&unescaped(&decoded(case["b64"].as_str().unwrap()))), &Limits::default());
        if let Verdict::Refused(reject) = verdict {
            println!("{}: {reject}", case["id"]);
            refused.push(case["id"].as_str().unwrap());
        }
    }
    assert_eq!(refused, ids(STRICTER));
}

#[test]
fn probes_that_must_be_refused_are_refused() {
    let Some(cases) = shared("http11_vectors.json") else { return };
    let (mut judged, mut accepted) = (0, Vec::new());
    for case in &cases {
        let outcomes =
            |key: &str| case[key].as_array().unwrap().iter().map(|outcome| outcome.as_str().unwrap());
        let may_answer_well =
            outcomes("pass").chain(outcomes("warn")).any(|outcome| outcome.starts_with('2'));
        let Some(input) = case["steps"][0][0]["b64"].as_str() else { continue };
        // Smuggling probes judge by more than a status and list no outcomes.
        let id = case["id"].as_str().unwrap();
        let is_smuggling = id.starts_with("SMUG-") && case["level"] == "Must" && case["scored"] == true;
        if may_answer_well || (outcomes("pass").next().is_none() && !is_smuggling) {
            continue;
        }
        judged += 1;
        if let Verdict::Accepted(_) = play(&decoded(input), &Limits::default()) {
            accepted.push(id);
        }
    }
    assert_eq!(accepted, ids(ACCEPTED), "of {judged}");
    assert!(judged > 60, "only {judged} probes tell at this level");
}

pub(crate) fn ids(list: &[(&'static str, &str)]) -> Vec<&'static str> {
    list.iter().map(|(id, _)| *id).collect()
}
