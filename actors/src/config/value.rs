//! Lenient reading of one value: users' files say `"8080"` and `8080`, `yes` and `"false"`, `30s` and `30`.
//!
//! Pure. What a key means, its range and its default are the business of whoever reads it.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::origin::Origin;
use super::yaml::{Kind, Node};

/// The longest duration read: a hundred years. Longer is a slip of the pen and would overflow a clock.
pub(super) const SECONDS_MAX: u64 = 100 * 365 * 86_400;

/// What a bare number means where a duration is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Where the value stands.
    pub origin: Origin,
    /// Where its key stands, for problems of the key itself.
    pub key_origin: Origin,
    node: Node,
}

impl Entry {
    pub(super) const fn new(node: Node, key_origin: Origin, origin: Origin) -> Self {
        Self { origin, key_origin, node }
    }

    /// The text of a scalar as written, without quotes, trimmed; `None` for lists and maps.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.node.text()
    }

    /// Elements of a list; a scalar is a list with one element, as YAML writers often mean it.
    #[must_use]
    pub fn items(&self) -> Vec<Self> {
        match &self.node.kind {
            Kind::List(items) => items.iter().map(|node| self.inner(node)).collect(),
            Kind::Scalar { .. } | Kind::Map(_) => vec![self.clone()],
        }
    }

    /// The value of a key, if this is a map (an element of a list may be one).
    #[must_use]
    pub fn child(&self, key: &str) -> Option<Self> {
        self.node.get(key).filter(|node| !node.is_null()).map(|node| self.inner(node))
    }

    /// The keys of a map, each with the place where it stands.
    #[must_use]
    pub fn children(&self) -> Vec<(&str, Origin)> {
        match &self.node.kind {
            Kind::Map(pairs) => {
                pairs.iter().map(|(key, _)| (key.text.as_str(), self.origin.at(key.mark))).collect()
            }
            Kind::Scalar { .. } | Kind::List(_) => Vec::new(),
        }
    }

    /// Text elements of a list or of a comma list, trimmed, without empty ones.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let items = self.items();
        let texts = items.iter().filter_map(Self::text).flat_map(|text| text.split(','));
        texts.map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// The value as typed YAML, for documents with a structure of their own. Numbers with a leading zero and
    /// numbers with a fraction stay text, since they are mostly versions.
    #[must_use]
    pub fn value(&self) -> serde_yaml::Value {
        typed(&self.node)
    }

    fn inner(&self, node: &Node) -> Self {
        let origin = self.origin.at(node.mark);
        Self { key_origin: origin.clone(), origin, node: node.clone() }
    }

    /// A boolean in any of YAML's spellings, quoted or not.
    ///
    /// # Errors
    /// What was expected and what stands there.
    pub fn boolean(&self) -> Result<bool, String> {
        let text = self.scalar("true or false")?;
        boolean(text).ok_or_else(|| unexpected("true or false", text))
    }

    /// A whole number within a range.
    ///
    /// # Errors
    /// What was expected and what stands there.
    pub fn integer(&self, range: &RangeInclusive<u64>) -> Result<u64, String> {
        let wanted = || match (*range.start(), *range.end()) {
            (0, u64::MAX) => "a whole number".to_owned(),
            (start, u64::MAX) => format!("a whole number of at least {start}"),
            (start, end) => format!("a whole number from {start} to {end}"),
        };
        let text = self.scalar(&wanted())?;
        let number = text.replace('_', "").parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| unexpected(&wanted(), text))
    }

    /// A duration: `1m30s`, `250ms`, or a bare number of `unit`.
    ///
    /// # Errors
    /// What was expected and what stands there.
    pub fn duration(&self, unit: Unit) -> Result<Duration, String> {
        let wanted = match unit {
            Unit::Milliseconds => "a duration like 500 (milliseconds) or 1m30s",
            Unit::Seconds => "a duration like 30 (seconds) or 1m30s",
        };
        let text = self.scalar(wanted)?;
        duration(text, unit).ok_or_else(|| unexpected(wanted, text))
    }

    pub(super) fn scalar(&self, wanted: &str) -> Result<&str, String> {
        self.text().ok_or_else(|| {
            let found = if matches!(self.node.kind, Kind::List(_)) { "a list" } else { "a group of keys" };
            format!("expected {wanted}, found {found}")
        })
    }
}

/// The message for a scalar that does not say what it should.
#[must_use]
pub(super) fn unexpected(wanted: &str, text: &str) -> String {
    /// A longer value is named by its start.
    const SHOWN_MAX: usize = 60;
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("expected {wanted}, found `{}{more}`", shown.escape_debug())
}

/// YAML 1.1 booleans, and the 1 and 0 that Mesher takes for them.
#[must_use]
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "t" | "1" => Some(true),
        "false" | "no" | "off" | "n" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// `1h2m3.5s`, or a bare number of `unit`; at most `SECONDS_MAX`.
#[must_use]
pub fn duration(text: &str, unit: Unit) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (name, tail) = tail.split_at(letters);
        let scale = match (name, unit) {
            ("", _) if number.len() != text.trim().len() => return None,
            ("", Unit::Milliseconds) | ("ms", _) => 1_000_000,
            ("", Unit::Seconds) | ("s", _) => 1_000_000_000,
            ("ns", _) => 1,
            ("us" | "µs" | "μs", _) => 1_000,
            ("m", _) => 60_000_000_000,
            ("h", _) => 3_600_000_000_000,
            _ => return None,
        };
        nanos = nanos.checked_add(scaled(number, scale)?)?;
        rest = tail;
    }
    Some(Duration::from_nanos(nanos)).filter(|d| d.as_secs() <= SECONDS_MAX)
}

/// A decimal number times a scale, exactly, dropping what is below one.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut total = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.checked_mul(scale)? };
    let mut digit_scale = scale;
    for digit in fraction.chars() {
        digit_scale /= 10;
        total = total.checked_add(u64::from(digit.to_digit(10)?).checked_mul(digit_scale)?)?;
    }
    Some(total)
}

fn typed(node: &Node) -> serde_yaml::Value {
    use serde_yaml::Value;
    match &node.kind {
        _ if node.is_null() => Value::Null,
        Kind::Scalar { text, plain: false } => Value::String(text.clone()),
        Kind::Scalar { text, plain: true } => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Value::Bool(true),
            "false" | "no" | "off" => Value::Bool(false),
            "0" => Value::Number(0.into()),
            _ if text.starts_with(['0', '+']) => Value::String(text.clone()),
            _ => {
                text.parse::<i64>().map_or_else(|_| Value::String(text.clone()), |n| Value::Number(n.into()))
            }
        },
        Kind::List(items) => Value::Sequence(items.iter().map(typed).collect()),
        Kind::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, node)| (Value::String(key.text.clone()), typed(node)));
            Value::Mapping(pairs.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn entry(yaml: &str) -> Entry {
        let (root, _) = super::super::yaml::parse(yaml);
        Entry::new(root.unwrap(), Origin::Default, Origin::Default)
    }

    #[test]
    fn booleans_are_read_in_every_spelling() {
        for text in ["true", "yes", "ON", "'true'", "\"Yes\"", "1"] {
            assert_eq!(entry(text).boolean(), Ok(true), "{text}");
        }
        for text in ["false", "no", "Off", "'false'", "0"] {
            assert_eq!(entry(text).boolean(), Ok(false), "{text}");
        }
        assert_eq!(entry("maybe").boolean(), Err("expected true or false, found `maybe`".to_owned()));
        assert_eq!(entry("[yes]").boolean(), Err("expected true or false, found a list".to_owned()));
    }

    #[test]
    fn numbers_may_be_quoted_and_must_be_in_range() {
        assert_eq!(entry("'8080'").integer(&(0..=65_535)), Ok(8080));
        assert_eq!(entry("1_000").integer(&(0..=65_535)), Ok(1000));
        let wrong = Err("expected a whole number from 1 to 9, found `10`".to_owned());
        assert_eq!(entry("10").integer(&(1..=9)), wrong);
        assert!(entry("-1").integer(&(0..=9)).is_err());
        assert!(entry("99999999999999999999").integer(&(0..=u64::MAX)).is_err());
    }

    #[test]
    fn durations_have_units_or_the_one_of_their_key() {
        let check = |text: &str, unit, expected: Option<u64>| {
            assert_eq!(duration(text, unit), expected.map(Duration::from_millis), "{text}");
        };
        check("30", Unit::Seconds, Some(30_000));
        check("30", Unit::Milliseconds, Some(30));
        check("0.5", Unit::Seconds, Some(500));
        check("1h2m3.5s", Unit::Milliseconds, Some(3_723_500));
        check("250ms", Unit::Seconds, Some(250));
        for text in ["", "s", "1x", "1s2", "-1s", "1..2s", ".s", "99999999999h", "1e3s"] {
            check(text, Unit::Seconds, None);
        }
    }

    #[test]
    fn words_come_from_lists_of_both_kinds() {
        for yaml in ["a, b,,c ", "[a, b, c]", "- a\n- b,c\n"] {
            assert_eq!(entry(yaml).words(), ["a", "b", "c"], "{yaml}");
        }
    }

    #[test]
    fn elements_of_a_list_are_entries_of_their_own() {
        let list = entry("- port: 8080\n  match: {status: '200'}\n- port:\n");
        let items = list.items();
        let first = items.first().unwrap();
        assert_eq!(first.child("port").unwrap().integer(&(1..=65_535)), Ok(8080));
        assert_eq!(first.child("match").and_then(|m| m.child("status")).unwrap().text(), Some("200"));
        assert!(items.get(1).unwrap().child("port").is_none(), "null is absent");
        let keys: Vec<&str> = first.children().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["port", "match"]);
    }

    #[test]
    fn typed_values_keep_versions_as_text() {
        let value = entry("{a: 1, b: 1.10, c: 010, d: yes, e: '1', f: }").value();
        assert_eq!(
            serde_json::to_string(&value).unwrap(),
            r#"{"a":1,"b":"1.10","c":"010","d":true,"e":"1","f":null}"#
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_duration_or_not(text in "[0-9.]{0,25}[a-zµ]{0,2}[0-9]{0,3}.{0,3}") {
            if let Some(duration) = duration(&text, Unit::Seconds) {
                prop_assert!(duration.as_secs() <= SECONDS_MAX);
            }
        }

        #[test]
        fn whole_milliseconds_survive(ms in 0u64..1_000_000_000) {
            prop_assert_eq!(duration(&format!("{ms}ms"), Unit::Seconds), Some(Duration::from_millis(ms)));
        }
    }
}
