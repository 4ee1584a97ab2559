//! One header line: its name, its value, and what is wrong with it (RFC 9112 §5).
//!
//! It is read in two ways that agree. [`read_plain`] goes over it once and takes what nearly every line is: sound, in one
//! piece, without a tab. Whatever it does not take, [`read_field`] judges, which needs the end of the line and knows a
//! reason for each fault.

use super::bytes;
use super::names::{self, Known};
use super::reject::Fault;

/// A header line taken apart; offsets in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name_end: usize,
    pub(super) value: (usize, usize),
    pub(super) known: Known,
    /// As a sender writes it: one space before the value, none behind it.
    pub(super) plain: bool,
}

/// Reads the line at the front of `text` if it is all there and [`Field::plain`], and not empty. Returns how many bytes it
/// has with its end, too.
pub(super) fn read_plain(text: &[u8]) -> Option<(Field, usize)> {
    let name_end = bytes::find_colon(text)?;
    let (name, rest) = text.split_at_checked(name_end)?;
    let rest = rest.strip_prefix(b": ")?;
    let (value, end) = rest.split_at_checked(bytes::find_control(rest)?)?;
    let known = Known::of(name);
    let (Some(first), Some(last)) = (value.first(), value.last()) else { return None };
    // A name that is known is a token, too.
    let is_name = known != Known::Other || bytes::is_token_text(name) && !names::is_framing_lookalike(name);
    let is_sound = is_name && end.starts_with(b"\r\n") && *first != b' ' && *last != b' ';
    let start = name_end.saturating_add(2);
    let end = start.saturating_add(value.len());
    let field = Field { name_end, value: (start, end), known, plain: true };
    is_sound.then(|| (field, end.saturating_add(2)))
}

/// Reads `name: value` without its line end (RFC 9112 §5).
pub(super) fn read_field(line: &[u8]) -> Result<Field, Fault> {
    let name_end = line.iter().position(|&byte| !bytes::is_token(byte)).unwrap_or(line.len());
    if name_end == 0 || line.get(name_end) != Some(&b':') {
        return Err(name_fault(line, name_end));
    }
    let (name, value) = line.split_at_checked(name_end).unwrap_or_default();
    let value = value.get(1..).unwrap_or_default();
    if let Some(at) = bytes::value_fault(value) {
        let why = match value.get(at) {
            Some(b'\r') => "carriage return without line feed",
            Some(0) => "NUL in a header value",
            _ => "control byte in a header value",
        };
        return Err(Fault::new(why, at.saturating_add(name_end).saturating_add(1)));
    }
    let known = Known::of(name);
    if known == Known::Other && names::is_framing_lookalike(name) {
        return Err(Fault::new("underscore in the name of a framing field", 0));
    }
    let end = value.iter().rposition(|&byte| !bytes::is_blank(byte)).map_or(0, |last| last.saturating_add(1));
    let start = value.iter().position(|&byte| !bytes::is_blank(byte)).unwrap_or(0);
    let plain = start == 1 && end == value.len() && value.starts_with(b" ");
    let offset = name_end.saturating_add(1);
    Ok(Field { name_end, value: (offset.saturating_add(start), offset.saturating_add(end)), known, plain })
}

/// Why the name of this line is none; `at` is its first byte that is not of a token.
fn name_fault(line: &[u8], at: usize) -> Fault {
    let why = match line.get(at) {
        None => "header line without colon",
        Some(b':') => "empty header name",
        Some(b' ' | b'\t') if at == 0 => "folded header line",
        Some(b' ' | b'\t') => "white space in or after a header name",
        Some(b'\r') => "carriage return without line feed",
        Some(_) => "byte that no header name may have",
    };
    Fault::new(why, at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn field(line: &str) -> Result<(usize, (usize, usize)), &'static str> {
        read_field(line.as_bytes()).map(|f| (f.name_end, f.value)).map_err(|f| f.why)
    }

    #[test]
    fn white_space_around_a_value_is_not_part_of_it() {
        assert_eq!(field("Name:value"), Ok((4, (5, 10))));
        assert_eq!(field("Name: \t a b \t"), Ok((4, (8, 11))));
        assert_eq!(field("Name:"), Ok((4, (5, 5))));
        assert_eq!(field("Name:  ").map(|f| f.1.0 == f.1.1), Ok(true));
    }

    #[test]
    fn each_malformed_line_has_its_own_reason() {
        assert_eq!(field(": v"), Err("empty header name"));
        assert_eq!(field(" v: folded"), Err("folded header line"));
        assert_eq!(field("Name : v"), Err("white space in or after a header name"));
        assert_eq!(field("Name"), Err("header line without colon"));
        assert_eq!(field("Na[me: v"), Err("byte that no header name may have"));
        assert_eq!(field("N: a\rb"), Err("carriage return without line feed"));
        assert_eq!(field("N: a\0b"), Err("NUL in a header value"));
        assert_eq!(field("N: a\x7fb"), Err("control byte in a header value"));
        assert_eq!(field("Content_Length: 1"), Err("underscore in the name of a framing field"));
    }

    fn plain(text: &str) -> Option<usize> {
        read_plain(text.as_bytes()).map(|(_, length)| length)
    }

    #[test]
    fn a_plain_line_is_taken_with_its_end_and_others_are_left_to_be_judged() {
        assert_eq!(plain("Name: value\r\nrest"), Some(13));
        assert_eq!(plain("N: \u{e9}\r\n"), Some(7));
        for left in [
            "",
            "Name",
            "Name: value",
            "Name: value\r",
            "Name: value\n",
            "Name: \r\n",
            "Name:value\r\n",
            "Name:  v\r\n",
            "Name: v \r\n",
            "Name: a\tb\r\n",
            ": v\r\n",
            "Content_Length: 1\r\n",
            "\r\n",
        ] {
            assert_eq!(plain(left), None, "{left:?}");
        }
    }

    proptest! {
        #[test]
        fn both_ways_of_reading_agree(line in "[A-Za-z_:-]{0,18}:?[ \\t]{0,2}[ -~\\t\u{7f}\u{0}\\r]{0,20}") {
            let judged = read_field(line.as_bytes());
            match read_plain(format!("{line}\r\n").as_bytes()) {
                Some((field, length)) => {
                    prop_assert_eq!(Some(field), judged.ok());
                    prop_assert_eq!(length.checked_sub(2), Some(line.len()));
                }
                // A tab within a value is left to be judged, too.
                None => prop_assert!(line.contains('\t') || !judged.is_ok_and(|field| field.plain)),
            }
        }
    }
}
