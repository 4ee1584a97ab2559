//! Classes of bytes (RFC 9110 §5.6, RFC 3986) and the few scans that everything else is made of.

const TOKEN: u8 = 1;
const PATH: u8 = 2;
const QUERY: u8 = 4;
const HOST: u8 = 8;
const HEX: u8 = 16;

static CLASS: [u8; 256] = classes();

/// `tchar`: letters, digits and fifteen signs; what names and methods are made of.
pub(super) fn is_token(byte: u8) -> bool {
    class(byte) & TOKEN != 0
}

/// A byte that may stand in the path of a request target: RFC 3986, and `[ ] |`, which the URL Standard has browsers
/// send as they are.
pub(super) fn is_path(byte: u8) -> bool {
    class(byte) & PATH != 0
}

/// A byte that may stand in the query: RFC 3986, and those that the URL Standard has browsers send as they are
/// (`[ ] { } | ^` and the grave accent). Quotes, angle brackets, backslash, `#` and everything not ASCII may not.
pub(super) fn is_query(byte: u8) -> bool {
    class(byte) & QUERY != 0
}

/// A byte of a host name. Stricter than RFC 3986 in two: no comma (two hosts in one field), no percent sign (the same
/// host in two spellings).
pub(super) fn is_host(byte: u8) -> bool {
    class(byte) & HOST != 0
}

/// A hexadecimal digit.
pub(super) fn is_hex(byte: u8) -> bool {
    class(byte) & HEX != 0
}

/// Optional white space: space or tab.
pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// A byte of a field value: visible, space, tab, or above ASCII (`obs-text`).
pub(super) fn is_value(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

/// Where the first byte is that no field value has.
pub(super) fn value_fault(value: &[u8]) -> Option<usize> {
    let first = find_control(value)?;
    let behind = value.get(first..).unwrap_or_default();
    // A tab is a control byte, but one that a value may have.
    behind.iter().position(|&byte| !is_value(byte)).map(|at| first.saturating_add(at))
}

/// Where the first control byte of ASCII is, a tab or line end for instance.
pub(super) fn find_control(text: &[u8]) -> Option<usize> {
    let marks = |word| marks_below(word, 0x20) | marks_below(word ^ each(0x7f), 1);
    find(text, marks, |byte| byte.is_ascii_control())
}

/// Where the first colon is.
pub(super) fn find_colon(text: &[u8]) -> Option<usize> {
    find(text, |word| marks_below(word ^ each(b':'), 1), |byte| byte == b':')
}

/// Where the first byte of a kind is: eight bytes at a step by `marks`, what is left one by one by `is_it`. Calls nobody
/// and expects little, which for the few bytes of a header line is faster than a search for long texts.
fn find(text: &[u8], marks: impl Fn(u64) -> u64, is_it: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return Some(index.wrapping_mul(8).wrapping_add(marks.trailing_zeros() as usize / 8));
        }
    }
    let left = rest.iter().position(|&byte| is_it(byte))?;
    Some(words.len().wrapping_mul(8).wrapping_add(left))
}

/// The high bit of the lowest byte that is smaller than `bound` (128 at most), and maybe of some above it: only a byte
/// that is smaller than what is taken from it borrows from the next.
fn marks_below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(each(bound)) & !word & each(0x80)
}

/// Eight times this byte.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Whether this is one token, not empty.
pub(super) fn is_token_text(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token(byte))
}

/// The text without white space at both ends.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_blank(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_blank(*last)
    {
        text = rest;
    }
    text
}

/// Elements of a comma list, trimmed, empty ones included. No quoted strings: only for lists of tokens.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

fn class(byte: u8) -> u8 {
    // Never out of bounds, which the compiler sees: the check is optimised away.
    CLASS.get(usize::from(byte)).copied().unwrap_or(0)
}

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "evaluated at compile time")]
const fn classes() -> [u8; 256] {
    const fn add(mut table: [u8; 256], bytes: &[u8], class: u8) -> [u8; 256] {
        let mut i = 0;
        while i < bytes.len() {
            table[bytes[i] as usize] |= class;
            i += 1;
        }
        table
    }
    let mut table = [0; 256];
    table = add(table, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", TOKEN | PATH | QUERY | HOST);
    table = add(table, b"0123456789", TOKEN | PATH | QUERY | HOST);
    table = add(table, b"0123456789abcdefABCDEF", HEX);
    table = add(table, b"!#$%&'*+-.^_`|~", TOKEN);
    table = add(table, b"-._~!$&'()*+;=", PATH | QUERY | HOST);
    table = add(table, b",:@/%[]|", PATH | QUERY);
    add(table, b"?{}^`", QUERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_holds_exactly_the_bytes_of_its_grammar() {
        for byte in 0..=255u8 {
            let alnum = byte.is_ascii_alphanumeric();
            assert_eq!(is_token(byte), alnum || b"!#$%&'*+-.^_`|~".contains(&byte), "{byte:#x}");
            assert_eq!(is_host(byte), alnum || b"-._~!$&'()*+;=".contains(&byte), "{byte:#x}");
            assert_eq!(is_hex(byte), byte.is_ascii_hexdigit(), "{byte:#x}");
            assert_eq!(is_value(byte), byte == 9 || (32..127).contains(&byte) || byte > 127, "{byte:#x}");
            let refused = !byte.is_ascii_graphic() || b"\"<>\\#".contains(&byte);
            assert_eq!(is_query(byte), !refused, "{byte:#x}");
            assert_eq!(is_path(byte), !refused && !b"?{}^`".contains(&byte), "{byte:#x}");
        }
    }

    #[test]
    fn a_control_byte_is_found_where_it_is() {
        assert_eq!(value_fault(b"tab\t and \xff are fine"), None);
        assert_eq!(value_fault(b"0123456789abcdef0123456789\x7f"), Some(26));
        assert_eq!(value_fault(b"a\rb\n"), Some(1));
    }

    #[test]
    fn the_first_of_the_control_bytes_is_found_wherever_it_stands() {
        for byte in 0..=255u8 {
            for at in 0..20usize {
                let mut text = [b'a', 0x80, b' ', 0xff].repeat(5);
                text[at] = byte;
                assert_eq!(find_control(&text), byte.is_ascii_control().then_some(at), "{byte:#x} at {at}");
                assert_eq!(find_colon(&text), (byte == b':').then_some(at), "{byte:#x} at {at}");
                text[19] = b'\n';
                let first = if byte.is_ascii_control() { at } else { 19 };
                assert_eq!(find_control(&text), Some(first), "{byte:#x} at {at}, line end at 19");
            }
        }
    }

    #[test]
    fn lists_are_split_at_commas_and_trimmed() {
        assert_eq!(list(b" a,\tb ,, c").collect::<Vec<_>>(), [&b"a"[..], b"b", b"", b"c"]);
        assert_eq!(trim(b" \t "), b"");
    }
}
