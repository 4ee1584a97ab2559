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

/// Where the first control byte is. Written so that the compiler checks 16 bytes at a time.
pub(super) fn value_fault(value: &[u8]) -> Option<usize> {
    if value.iter().fold(true, |good, &byte| good & is_value(byte)) {
        return None;
    }
    value.iter().position(|&byte| !is_value(byte))
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
    fn lists_are_split_at_commas_and_trimmed() {
        assert_eq!(list(b" a,\tb ,, c").collect::<Vec<_>>(), [&b"a"[..], b"b", b"", b"c"]);
        assert_eq!(trim(b" \t "), b"");
    }
}
