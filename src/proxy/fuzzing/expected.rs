//! The same connection by the second reading of the RFCs: whole messages at once, sharing no code with what is tested.

use super::play::Outcome;
use crate::codec::fuzzing::naive::{self, Verdict};
use crate::codec::fuzzing::{Facts, payload_of};
use crate::codec::{Framing, RequestKind};

/// What is to become of each request.
pub(super) fn expected(client: &[u8], answers: &[&[u8]]) -> Vec<Outcome> {
    let (mut rest, mut answers, mut outcomes) = (client, answers.iter(), Vec::new());
    loop {
        let facts = match naive::request(rest) {
            Verdict::Incomplete => return outcomes,
            Verdict::Refused => {
                outcomes.push(Outcome::Refused);
                return outcomes;
            }
            Verdict::Accepted(facts) => facts,
        };
        rest = &rest[head_length(rest)..];
        let kind = kind(&facts);
        let answer =
            if kind == RequestKind::Connect || is_at_its_last_hop(&facts) { None } else { answers.next() };
        let Some(answer) = answer else {
            outcomes.push(Outcome::Refused);
            if !facts.keep_alive || !matches!(facts.framing, Framing::None | Framing::Length(0)) {
                return outcomes;
            }
            continue;
        };
        let Some((_, used)) = payload_of(rest, facts.framing, false) else {
            outcomes.push(Outcome::Unsent);
            return outcomes;
        };
        rest = &rest[used..];
        let is_old = facts.start[2] == b"HTTP/1.0";
        let (outcome, has_end) = answered(answer, kind, is_old);
        let goes_on = matches!(outcome, Outcome::Answered { .. }) && facts.keep_alive && has_end;
        outcomes.push(outcome);
        if !goes_on {
            return outcomes;
        }
    }
}

/// What becomes of an answer, and whether a client of this age sees its end without the connection's.
fn answered(mut answer: &[u8], kind: RequestKind, is_old: bool) -> (Outcome, bool) {
    let mut interims = 0;
    loop {
        let Verdict::Accepted(facts) = naive::response(answer, kind) else { return (Outcome::Broken, false) };
        answer = &answer[facts.end..];
        let status: u16 = std::str::from_utf8(&facts.start[1]).unwrap().parse().unwrap();
        match status {
            101 => return (Outcome::Switched, false),
            100..200 => {
                interims += 1;
                // As many as a proxy will pass on of one response.
                if interims > 64 {
                    return (Outcome::Broken, false);
                }
            }
            _ => {
                let has_end = !is_old || matches!(facts.framing, Framing::None | Framing::Length(_));
                let interims = if is_old { 0 } else { interims };
                let Some((payload, _)) = payload_of(answer, facts.framing, false) else {
                    return (Outcome::Broken, false);
                };
                return (Outcome::Answered { interims, status, payload }, has_end);
            }
        }
    }
}

/// Length of the head as it came, empty lines before it included.
fn head_length(input: &[u8]) -> usize {
    let skipped = input.chunks(2).take_while(|pair| pair == b"\r\n").count() * 2;
    skipped + input[skipped..].windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4
}

fn values<'f>(facts: &'f Facts, name: &'f str) -> impl Iterator<Item = &'f [u8]> {
    let named = facts.headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
    named.map(|(_, value)| value.as_slice())
}

fn kind(facts: &Facts) -> RequestKind {
    match facts.start[0].as_slice() {
        b"HEAD" => RequestKind::Head,
        b"CONNECT" => RequestKind::Connect,
        _ if offers_upgrade(facts) => RequestKind::Upgrade,
        _ => RequestKind::Plain,
    }
}

/// An HTTP/1.1 client names the protocol and the option; what concerns its own hop only is no offer to the service.
fn offers_upgrade(facts: &Facts) -> bool {
    let words = |name| values(facts, name).flat_map(|value| value.split(|byte| *byte == b','));
    let is = |word: &[u8], other: &[u8]| word.trim_ascii().eq_ignore_ascii_case(other);
    let mut protocols = values(facts, "upgrade");
    let Some(first) = protocols.next() else { return false };
    let own = |word: &[u8]| is(word, b"h2c") || word.trim_ascii().to_ascii_lowercase().starts_with(b"tls");
    facts.start[2] == b"HTTP/1.1"
        && words("connection").any(|option| is(option, b"upgrade"))
        && !first.split(|byte| *byte == b',').any(own)
}

/// `Max-Forwards: 0` of a method that counts hops.
fn is_at_its_last_hop(facts: &Facts) -> bool {
    let counts = [&b"TRACE"[..], b"OPTIONS"].contains(&facts.start[0].as_slice());
    let hops = values(facts, "max-forwards").next().unwrap_or_default();
    let is_zero = !hops.is_empty() && hops.iter().all(|byte| *byte == b'0');
    counts && is_zero
}
