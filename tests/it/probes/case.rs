//! The public cases and how an outcome is judged: by the outcomes a case lists, or, where it lists none, by what its
//! text expects.

use serde_json::Value;

use super::play::{Answer, Played, State};
use crate::codec_vectors::{decoded, shared};

/// A case of `http11_vectors.json`.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) category: String,
    pub(crate) is_must: bool,
    pub(crate) is_scored: bool,
    /// What is sent, each step once the one before is answered; empty for cases that depend on earlier answers.
    pub(crate) steps: Vec<Vec<u8>>,
    expected: String,
    pass: Vec<String>,
    warn: Vec<String>,
}

/// What an outcome is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Pass,
    Warn,
    Fail,
}

/// All cases, or none if the data is not there.
pub(crate) fn load() -> Option<Vec<Case>> {
    let cases: Vec<Case> = shared("http11_vectors.json")?.iter().map(Case::read).collect();
    assert_eq!(cases.iter().filter(|case| case.is_scored).count(), 161, "other data than that of the table");
    Some(cases)
}

impl Case {
    fn read(case: &Value) -> Self {
        let text = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
        let list = |key: &str| {
            case[key].as_array().unwrap().iter().map(|outcome| outcome.as_str().unwrap().to_owned()).collect()
        };
        Self {
            id: text("id"),
            category: text("category"),
            is_must: case["level"] == "Must",
            is_scored: case["scored"] == true,
            steps: case["steps"].as_array().into_iter().flatten().map(step).collect(),
            expected: text("expected"),
            pass: list("pass"),
            warn: list("warn"),
        }
    }

    /// Whether it passes that nothing is answered. Otherwise an answer is waited for.
    pub(crate) fn may_be_silent(&self) -> bool {
        self.pass.iter().any(|outcome| outcome == "None/TimedOut")
    }

    /// The same case as it is sent to a forward proxy: `http://localhost` in front of the target of each step. None
    /// for the forms that have no absolute one.
    pub(crate) fn in_absolute_form(&self) -> Option<Vec<Vec<u8>>> {
        let has_none = ["COMP-METHOD-CONNECT", "COMP-OPTIONS-STAR", "COMP-ABSOLUTE-FORM"]
            .contains(&self.id.as_str())
            || self.id.starts_with("COMP-ASTERISK-");
        (!has_none).then(|| self.steps.iter().map(|step| with_absolute_target(step)).collect())
    }

    /// What this outcome is worth. An answer nobody asked for is never worth anything.
    pub(crate) fn judge(&self, played: &Played) -> Verdict {
        let first = played.answers.first();
        if !played.stray.is_empty() || (played.answers.len() > self.steps.len() && !self.is_multiple(first)) {
            return Verdict::Fail;
        }
        let state = match played.state {
            State::Open => "Open",
            State::ClosedByServer => "ClosedByServer",
            State::TimedOut => "TimedOut",
        };
        let status = first.map_or("None".to_owned(), |answer| answer.status.to_string());
        let outcome = format!("{status}/{state}");
        if self.pass.contains(&outcome) || self.expectation_is_met(first, played) {
            Verdict::Pass
        } else if self.warn.contains(&outcome) {
            Verdict::Warn
        } else {
            Verdict::Fail
        }
    }

    /// An interim answer, or requests in what a case calls a body: its lists say what may come first.
    fn is_multiple(&self, first: Option<&Answer>) -> bool {
        first.is_some_and(|answer| answer.status < 200) || self.id.ends_with("-PIPELINE")
    }

    /// For the cases that look at more than status and state, or at several answers.
    fn expectation_is_met(&self, first: Option<&Answer>, played: &Played) -> bool {
        let Some(answer) = first else {
            return self.expected.starts_with("400")
                && self.pass.is_empty()
                && played.state == State::ClosedByServer;
        };
        let is_good = (200..300).contains(&answer.status);
        match self.expected.as_str() {
            "2xx + echo" => is_good && answer.body.starts_with(b"hello"),
            "2xx preferred; 400 warns" if self.pass.is_empty() => {
                is_good && answer.body.starts_with(b"hello")
            }
            "2xx with Date header" => is_good && answer.header("date").is_some_and(is_imf_date),
            "IMF-fixdate format" => answer.header("date").is_some_and(is_imf_date),
            "2xx with Allow header" => is_good && answer.header("allow").is_some(),
            "2xx with Content-Type" => is_good && answer.header("content-type").is_some(),
            "405 + Allow header" => answer.status == 405 && answer.header("allow").is_some(),
            "204 without CL" => answer.status == 204 && answer.header("content-length").is_none(),
            "400, or 2xx + close" if is_good => {
                played.answers.len() == 1 && played.state == State::ClosedByServer
            }
            "2xx + 2xx" => {
                played.answers.len() == 2 && played.answers.iter().all(|answer| answer.status == 200)
            }
            text if text.contains("pass-through") && is_good => {
                played.answers.iter().all(|a| a.status == 200)
            }
            text => self.pass.is_empty() && text.starts_with("400") && answer.status == 400,
        }
    }
}

fn step(step: &Value) -> Vec<u8> {
    let parts = step.as_array().unwrap().iter();
    parts
        .flat_map(|part| {
            // The format knows delays between parts; the data has none, and this player honours none.
            assert_eq!(part["delay"], 0, "a delay that is not played");
            decoded(part["b64"].as_str().unwrap())
        })
        .collect()
}

/// Puts `http://localhost` in front of the first target that is a path.
pub(crate) fn with_absolute_target(step: &[u8]) -> Vec<u8> {
    let line_end = step.iter().position(|byte| *byte == b'\n').unwrap_or(step.len());
    let start = step.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(0).min(step.len());
    let line_end = if line_end < start { step.len() } else { line_end };
    let slash = step[start..line_end].windows(2).position(|two| matches!(two, [b' ' | b'\t', b'/']));
    let Some(at) = slash.map(|slash| start + slash + 1) else { return step.to_vec() };
    [&step[..at], b"http://localhost", &step[at..]].concat()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn is_imf_date(text: &str) -> bool {
    const SHAPE: &[u8] = b"Aaa, 00 Aaa 0000 00:00:00 GMT";
    text.len() == SHAPE.len()
        && text.bytes().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'A' => byte.is_ascii_uppercase(),
            b'a' => byte.is_ascii_lowercase(),
            other => byte == *other,
        })
}
