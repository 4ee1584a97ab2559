//! What is known about keys, as types: how a key is matched with the table, what a misspelt one may have meant, and
//! how an old spelling is translated. The rows are in [`super::table`].
//!
//! Pure; it never sees a value.

use super::table::{KEYS, RENAMED};
use super::value::Unit;

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any scalar.
    Text,
    /// True or false in any spelling.
    Boolean,
    /// A whole number within these bounds.
    Integer(u64, u64),
    /// A duration; the unit is that of a bare number.
    Duration(Unit),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A comma list or a YAML list of words.
    Words,
    /// A YAML list, whose reader checks the elements.
    List,
    /// `ip:port`.
    Socket,
    /// An IP address.
    Ip,
    /// Anything; checked by whoever reads it, or not at all.
    Any,
    /// Addresses of service-center.
    RegistryAddress,
    /// A kind of registry.
    RegistryType,
    /// Names of handlers.
    Handlers,
    /// A way of choosing an instance.
    Strategy,
}

/// What mesher does about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// What it says happens.
    Served,
    /// Mesher knows it, this mesher does not act on it yet.
    NotServed,
    /// It is accepted and changes nothing, as in Mesher.
    NoEffect,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// The key; `*` stands for one part or more (service names may hold dots).
    pub pattern: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// What holds when it is not set; empty for nothing.
    pub default: &'static str,
    /// What happens about it.
    pub state: State,
}

/// The row of a key.
#[must_use]
pub(super) fn find(key: &str) -> Option<&'static Known> {
    KEYS.iter().find(|known| matches(known.pattern, key))
}

/// Defaults of the keys that are served and have one.
pub(super) fn defaults() -> impl Iterator<Item = (&'static str, &'static str)> {
    let served = KEYS.iter().filter(|known| known.state == State::Served && !known.default.is_empty());
    served.filter(|known| !known.pattern.contains('*')).map(|known| (known.pattern, known.default))
}

/// Some known key lies below this one, so that it is a group and not a value.
#[must_use]
pub(super) fn is_group(key: &str) -> bool {
    KEYS.iter().any(|known| known.pattern.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// The current spelling of an old one.
#[must_use]
pub(super) fn renamed(key: &str) -> Option<String> {
    /// An old prefix may lead to an old name; nothing is further away than that.
    const STEPS_MAX: usize = 2;
    let mut current = key.to_owned();
    for _ in 0..STEPS_MAX {
        let Some(next) = RENAMED.iter().find_map(|(old, new)| replace_prefix(&current, old, new)) else {
            break;
        };
        current = next;
    }
    (current != key).then_some(current)
}

/// The known key that this one was probably meant to be.
#[must_use]
pub(super) fn suggestion(key: &str) -> Option<String> {
    let parts: Vec<&str> = key.split('.').collect();
    let near = KEYS.iter().filter_map(|known| near(known.pattern, &parts));
    near.min_by_key(|(distance, _)| *distance).map(|(_, key)| key)
}

/// The word that this one was probably meant to be.
#[must_use]
pub(super) fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let near = words.into_iter().filter_map(|known| Some((typing_distance(known, word)?, known)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

fn matches(pattern: &str, key: &str) -> bool {
    match pattern.split_once('.') {
        None => pattern == key || (pattern == "*" && !key.is_empty()),
        Some(("*", pattern)) => key.match_indices('.').any(|(dot, _)| {
            let rest = key.get(dot + 1..).unwrap_or_default();
            dot > 0 && matches(pattern, rest)
        }),
        Some((part, pattern)) => {
            key.split_once('.').is_some_and(|(first, rest)| part == first && matches(pattern, rest))
        }
    }
}

fn replace_prefix(key: &str, old: &str, new: &str) -> Option<String> {
    let rest = key.strip_prefix(old)?;
    (rest.is_empty() || rest.starts_with('.')).then(|| format!("{new}{rest}"))
}

/// How far the parts of a key are from a pattern, and the key that the pattern would have. A star takes as many parts
/// as are left over, the first star if there are several.
fn near(pattern: &str, parts: &[&str]) -> Option<(usize, String)> {
    let mut surplus = parts.len().checked_sub(pattern.split('.').count())?;
    let mut parts = parts.iter();
    let mut distance = 0;
    let mut meant = Vec::new();
    for known in pattern.split('.') {
        if known == "*" {
            distance += 1; // an exact name is nearer than a wildcard
            meant.extend(parts.by_ref().take(1 + std::mem::take(&mut surplus)).copied());
        } else {
            distance += 2 * typing_distance(known, parts.next()?)?;
            meant.push(known);
        }
    }
    parts.next().is_none().then(|| (distance, meant.join(".")))
}

/// Slips between two words, upper and lower case counting as one; `None` if they are not the same word mistyped.
fn typing_distance(known: &str, word: &str) -> Option<usize> {
    if known.eq_ignore_ascii_case(word) {
        return Some(usize::from(known != word));
    }
    let slips = strsim::damerau_levenshtein(known, word);
    (slips <= 1 + known.len() / 5).then_some(slips)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::value;

    #[test]
    fn a_star_stands_for_names_with_dots() {
        assert!(matches("a.*.c", "a.b.c"));
        assert!(matches("a.*.c", "a.b.x.c.c"));
        assert!(matches("a.*", "a.b.c"));
        for key in ["a.c", "a..c", "a.b", "a.b.cc", "x.b.c", "a"] {
            assert!(!matches("a.*.c", key), "{key}");
        }
        assert!(!matches("a.*", "a"));
        assert!(!matches("a.*", "a."));
    }

    #[test]
    fn a_slip_is_understood() {
        let check = |key: &str, meant: Option<&str>| assert_eq!(suggestion(key).as_deref(), meant, "{key}");
        check("cse.loadbalance.retryOnNxt", Some("cse.loadbalance.retryOnNext"));
        check("cse.loadbalance.orders.retryOnNxt", Some("cse.loadbalance.orders.retryOnNext"));
        check("cse.loadbalance.my.orders.retryOnNxt", Some("cse.loadbalance.my.orders.retryOnNext"));
        check("servicecomb.registry.adress", Some("servicecomb.registry.address"));
        check("servicecomb.registery.address", Some("servicecomb.registry.address"));
        check("loglevel", Some("logLevel"));
        check("mesher.drain.grace", None);
        check("something.else.entirely", None);
    }

    #[test]
    fn old_spellings_lead_to_known_keys() {
        let check = |old: &str, new: &str| {
            assert_eq!(renamed(old).as_deref(), Some(new));
            assert!(find(new).is_some(), "{new}");
        };
        check("cse.service.registry.address", "servicecomb.registry.address");
        check("servicecomb.service.registry.scope", "servicecomb.registry.scope");
        check("cse.service.registry.refeshInterval", "servicecomb.registry.refreshInterval");
        check("service_description.name", "servicecomb.service.name");
        check("service_description.instance_properties.zone", "servicecomb.service.instanceProperties.zone");
        check("instance_properties.zone", "servicecomb.service.instanceProperties.zone");
        check("APPLICATION_ID", "servicecomb.service.app");
        check("logger_level", "logLevel");
        assert_eq!(renamed("servicecomb.service.registrar"), None);
        assert_eq!(renamed("servicecomb.registry.address"), None);
    }

    /// A name that fits a pattern: each star is a word.
    fn example(pattern: &str) -> String {
        pattern.replace('*', "some")
    }

    #[test]
    fn every_row_of_the_table_can_be_reached() {
        for known in KEYS {
            assert_eq!(find(&example(known.pattern)), Some(known));
            assert_eq!(renamed(&example(known.pattern)), None, "{} is renamed away", known.pattern);
        }
    }

    #[test]
    fn old_spellings_of_the_table_end_in_something_known() {
        for (old, _) in RENAMED {
            let new = renamed(old).unwrap();
            assert!(find(&new).is_some() || is_group(&new), "{old} leads to {new}");
            assert_eq!(renamed(&new), None, "{old} stops half way at {new}");
        }
    }

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        for known in KEYS.iter().filter(|known| !known.default.is_empty()) {
            let fits = match known.kind {
                Kind::Boolean => value::boolean(known.default).is_some(),
                Kind::Integer(min, max) => known.default.parse().is_ok_and(|n: u64| (min..=max).contains(&n)),
                Kind::Duration(unit) => value::duration(known.default, unit).is_some(),
                Kind::OneOf(words) => words.contains(&known.default),
                Kind::Socket => known.default.parse::<std::net::SocketAddr>().is_ok(),
                Kind::Ip => known.default.parse::<std::net::IpAddr>().is_ok(),
                _ => true,
            };
            assert!(fits, "{known:?}");
            assert_eq!(known.state, State::Served, "{known:?}");
        }
    }
}
