//! `${NAME||default}` in values of files: the value of an environment variable, or the default when it is unset or
//! empty. `${NAME^^||default}` in upper case, `${NAME,,||default}` in lower case.
//!
//! Pure: the environment is an argument. What is inserted is not looked at again, so nothing can loop.

/// Bytes of one value after expansion; a value in a file cannot be longer than the file either.
pub(super) const EXPANDED_BYTES_MAX: usize = 1 << 20;

/// Expands every reference of a value and trims the result. `None` if it grows beyond `EXPANDED_BYTES_MAX`.
/// What only looks like a reference (`${NAME}` without `||`) stays as it is.
#[must_use]
pub fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("${") {
        out.push_str(before);
        if let Some((reference, tail)) = Reference::parse(tail) {
            out.push_str(&reference.resolve(&variable));
            rest = tail;
        } else {
            out.push_str("${");
            rest = tail;
        }
        if out.len() > EXPANDED_BYTES_MAX {
            return None;
        }
    }
    out.push_str(rest);
    (out.len() <= EXPANDED_BYTES_MAX).then(|| out.trim().to_owned())
}

struct Reference<'t> {
    name: &'t str,
    case: &'t str,
    default: &'t str,
}

impl<'t> Reference<'t> {
    /// Reads what follows `${` and returns it with what follows `}`.
    fn parse(text: &'t str) -> Option<(Self, &'t str)> {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        let (name, tail) = text.split_at(end);
        if name.len() < 2 || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let (case, tail) = match tail.get(..2) {
            Some(case @ ("^^" | ",,")) => (case, tail.get(2..)?),
            _ => ("", tail),
        };
        let (default, tail) = tail.strip_prefix("||")?.split_once('}')?;
        Some((Self { name, case, default }, tail))
    }

    fn resolve(&self, variable: &impl Fn(&str) -> Option<String>) -> String {
        let value = variable(self.name).filter(|value| !value.is_empty());
        let value = value.unwrap_or_else(|| self.default.to_owned());
        match self.case {
            "^^" => value.to_uppercase(),
            ",," => value.to_lowercase(),
            _ => value,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        let variable = |name: &str| match name {
            "HOST" => Some("Example.org".to_owned()),
            "EMPTY" => Some(String::new()),
            "LOOP" => Some("${HOST||x}".to_owned()),
            _ => None,
        };
        assert_eq!(expand(text, variable).unwrap(), expected);
    }

    #[test]
    fn a_variable_replaces_its_default() {
        check("http://${HOST||127.0.0.1}:${PORT||30100}/", "http://Example.org:30100/");
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        check("${EMPTY||fallback}", "fallback");
        check("${EMPTY||}", "");
    }

    #[test]
    fn case_marks_change_the_value() {
        check("${HOST^^||x} ${HOST,,||x} ${NONE^^||dev}", "EXAMPLE.ORG example.org DEV");
    }

    #[test]
    fn values_are_trimmed() {
        check("  a  ", "a");
    }

    #[test]
    fn what_only_looks_like_a_reference_stays() {
        for text in
            ["${HOST}", "${||x}", "${H||x}", "${HOST||x", "${1A||x}", "$HOST", "${HOST|x}", "${", "${HOST^|"]
        {
            check(text, text);
        }
    }

    #[test]
    fn what_was_inserted_is_not_expanded_again() {
        check("${LOOP||}", "${HOST||x}");
    }

    #[test]
    fn growth_is_bounded() {
        let text = "${BIG||}".repeat(3);
        let big = |_: &str| Some("x".repeat(EXPANDED_BYTES_MAX / 2));
        assert_eq!(expand(&text, big), None);
    }

    proptest! {
        #[test]
        fn any_text_expands_without_a_panic(text in "(\\$|\\{|\\}|\\||\\^|,|[A-Z_é]|[0-9]|.){0,40}") {
            let _ = expand(&text, |name| Some(name.to_owned()));
        }

        #[test]
        fn text_without_references_is_only_trimmed(text in "[^$]{0,60}") {
            prop_assert_eq!(expand(&text, |_| None).unwrap(), text.trim());
        }
    }
}
