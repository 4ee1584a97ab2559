//! Which texts may stand in a path, in a header, or as the name of a service.

use super::{ID_LENGTH_MAX, TEXT_LENGTH_MAX};

/// Longest name a find takes: service-center's rule for `serviceName` there, which may be `app:alias`.
const SERVICE_NAME_LENGTH_MAX: usize = 289;

/// Whether a text may be one segment of a path and the value of a header: visible ASCII of bounded length, and
/// not a dot segment, which would change the path.
#[must_use]
pub fn usable_in_path(text: &str) -> bool {
    let length_fits = (1..=ID_LENGTH_MAX).contains(&text.len());
    length_fits && text.bytes().all(|b| b.is_ascii_graphic()) && !matches!(text, "." | "..")
}

/// Whether service-center could know a service of this name. One key that breaks its rules fails a whole find, so
/// such names are not even asked for.
#[must_use]
pub fn could_be_service(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    bytes.len() <= SERVICE_NAME_LENGTH_MAX
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(b))
}

/// A text of the peer made fit to be shown: one line, of bounded length.
pub(super) fn shown(text: &str) -> String {
    text.trim().chars().take(TEXT_LENGTH_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_spaces_and_controls_are_no_ids() {
        for good in ["7062417bf9ebd4c646bb23059003cea42180894a", "a", "a/b?c%", "..."] {
            assert!(usable_in_path(good), "{good:?}");
        }
        for bad in ["", ".", "..", "a b", "a\r\nb", "ä", &"x".repeat(161)] {
            assert!(!usable_in_path(bad), "{bad:?}");
        }
    }

    #[test]
    fn service_names_follow_the_rule_of_service_center() {
        for good in ["RESTServer", "a", "order-api.v2", "app:alias_1", &"x".repeat(289)] {
            assert!(could_be_service(good), "{good:?}");
        }
        for bad in ["", "-a", "a.", "a b", "a/b", "ä", "a\n", "[::1]", &"x".repeat(290)] {
            assert!(!could_be_service(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_shown_text_is_one_short_line() {
        assert_eq!(shown(" no\r\nsuch\tthing "), "no  such thing");
        assert_eq!(shown(&"ä".repeat(10_000)).chars().count(), TEXT_LENGTH_MAX);
    }
}
