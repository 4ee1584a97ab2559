//! Fills in the configuration files of the bench. Pure.

/// `text` with each `@NAME@` replaced by the value given for it; the caller gives all that are in it.
pub(super) fn fill(text: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}
