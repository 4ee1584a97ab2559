//! Order of service versions, to find the latest. Pure.
//!
//! Numeric and dotted, missing parts are zero, a `v` before and `+build` behind do not matter, `-suffix` makes it
//! older than the same without: as Semantic Versioning 2.0.0 §11, for any number of parts. Mesher never takes
//! `0.0.0` or a version that it cannot read for the latest, and then finds nothing to call. Here they are the last
//! resort instead: the latest only where there is no other, so that a service whose every instance is versioned
//! badly is still found.

use std::cmp::Ordering;

/// A version that can be compared. Equal versions may be spelt differently (`1.0`, `v1.0.0`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version<'t> {
    /// Cannot be read; by its text.
    Unreadable(&'t str),
    /// All zeros.
    Zero,
    /// A proper one.
    Proper(Proper<'t>),
}

/// Parts without trailing zeros, and what follows the `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proper<'t> {
    parts: Vec<u64>,
    suffix: &'t str,
}

/// Parts a version may have; more are not a version but somebody's mistake.
const PARTS_MAX: usize = 16;

// === impl Version ===

impl<'t> Version<'t> {
    /// Reads any text.
    pub(super) fn new(text: &'t str) -> Self {
        match Proper::parse(text.trim()) {
            None => Self::Unreadable(text),
            Some(proper) if proper.parts.is_empty() => Self::Zero,
            Some(proper) => Self::Proper(proper),
        }
    }
}

// === impl Proper ===

impl<'t> Proper<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let text = text.split_once('+').map_or(text, |(version, _build)| version);
        let (numbers, suffix) = text.split_once('-').unwrap_or((text, ""));
        let mut parts = Vec::new();
        for part in numbers.split('.') {
            if parts.len() == PARTS_MAX || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            parts.push(part.parse().ok()?);
        }
        while parts.last() == Some(&0) {
            parts.pop();
        }
        Some(Self { parts, suffix })
    }
}

impl Ord for Proper<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Without trailing zeros the order of the parts is that of the lists.
        self.parts.cmp(&other.parts).then_with(|| match (self.suffix, other.suffix) {
            ("", "") => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (one, two) => compare_suffixes(one, two),
        })
    }
}

impl PartialOrd for Proper<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// "Identifiers consisting of only digits are compared numerically. […] Numeric identifiers always have lower
/// precedence than non-numeric identifiers. A larger set of pre-release fields has a higher precedence than a
/// smaller set" (§11.4).
fn compare_suffixes(one: &str, two: &str) -> Ordering {
    let identifier = |text: &str| match text.parse::<u64>() {
        Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => (0, number, String::new()),
        _ => (1, 0, text.to_owned()),
    };
    // The text decides between spellings of one number (`01`, `1`), so that only equal suffixes are equal.
    one.split('.').map(identifier).cmp(two.split('.').map(identifier)).then_with(|| one.cmp(two))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_ordered_by_number_not_by_text() {
        let ascending = [
            "nonsense",
            "0.0.0",
            "0.0.1-alpha.2",
            "0.0.1-alpha.10",
            "0.0.1-alpha.x",
            "0.0.1-beta",
            "0.0.1",
            "0.0.2",
            "0.0.10",
            "0.1",
            "1",
            "1.0.1",
            "2.0.0.1",
            "10.0.0",
        ];
        for (i, older) in ascending.iter().enumerate() {
            for newer in &ascending[i + 1..] {
                assert!(Version::new(older) < Version::new(newer), "{older} < {newer}");
            }
        }
    }

    #[test]
    fn spellings_of_one_version_are_equal() {
        for spelling in ["1.0", "v1", "1.0.0+build.7", " 1.0.0.0 "] {
            assert_eq!(Version::new(spelling), Version::new("1.0.0"), "{spelling}");
        }
    }

    #[test]
    fn what_is_no_version_is_unreadable() {
        for text in ["", "latest", "1..2", "1.x", "0+", "-1", "99999999999999999999", "1.+2"] {
            let unreadable = matches!(Version::new(text), Version::Unreadable(_));
            // `0+` is how a registry is asked for all versions; without its build part it is all zeros.
            assert_eq!(unreadable, text != "0+", "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[v0-2.+a-]{0,6}", b in "[v0-2.+a-]{0,6}", c in "[v0-2.+a-]{0,6}") {
            let (a, b, c) = (Version::new(&a), Version::new(&b), Version::new(&c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
