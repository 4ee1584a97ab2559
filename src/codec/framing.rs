//! How long a body is: the rules of RFC 9112 §6, for both directions. Pure; reads an index of header lines.
//!
//! Any message in which two of the fields disagree, or one could be read in two ways, is refused: that is where
//! requests are smuggled.

use super::bytes;
use super::head::{Head, Version};
use super::limits::LENGTH_MAX;
use super::names::Known;
use super::reject::Reject;

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks, the last of which is empty.
    Chunked,
    /// Whatever comes until the sender closes. Responses only.
    UntilClose,
}

impl Framing {
    /// What `Content-Length` and `Transfer-Encoding` say; `None` if there is neither.
    pub(super) fn declared(head: &Head, version: Version) -> Result<Option<Framing>, Reject> {
        match (head.value(Known::ContentLength), head.value(Known::TransferEncoding)) {
            (None, None) => Ok(None),
            (Some((value, at)), None) => match head.repetition(Known::ContentLength) {
                Some(again) => Err(Reject::bad("more than one content-length", again)),
                None => length(value).map(|n| Some(Framing::Length(n))).map_err(|why| Reject::bad(why, at)),
            },
            (Some((_, at)), Some(_)) => Err(Reject::bad("content-length beside transfer-encoding", at)),
            (None, Some((_, at))) if version == Version::Http10 => {
                Err(Reject::bad("transfer-encoding in an HTTP/1.0 message", at))
            }
            (None, Some(_)) => chunked(head).map(|()| Some(Framing::Chunked)),
        }
    }

    /// Whether this is a body with at least one byte, or one whose size is not known.
    #[must_use]
    pub fn has_content(self) -> bool {
        !matches!(self, Framing::None | Framing::Length(0))
    }
}

/// `1*DIGIT`, without leading zeros (an origin might read octal), signs or lists, at most [`LENGTH_MAX`].
fn length(value: &[u8]) -> Result<u64, &'static str> {
    match value {
        [] => return Err("empty content-length"),
        [b'0', _, ..] => return Err("content-length with a leading zero"),
        _ if !value.iter().all(u8::is_ascii_digit) => return Err("content-length is no number"),
        _ => {}
    }
    value
        .iter()
        .try_fold(0u64, |n, &digit| n.checked_mul(10)?.checked_add(u64::from(digit & 15)))
        .filter(|&n| n <= LENGTH_MAX)
        .ok_or("content-length is too large")
}

/// `chunked` alone is understood. Other codings before it are 501 (RFC 9112 §6.1), everything else leaves the length in
/// doubt (§6.3).
fn chunked(head: &Head) -> Result<(), Reject> {
    let (mut chunked, mut others, mut last) = (false, false, 0);
    for (value, at) in head.values(Known::TransferEncoding) {
        last = at;
        for coding in bytes::list(value) {
            let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            match (chunked, is_chunked) {
                (true, true) => return Err(Reject::bad("chunked more than once", at)),
                (true, false) => return Err(Reject::bad("transfer-encoding does not end in chunked", at)),
                (false, true) => chunked = true,
                (false, false) if !bytes::is_token_text(coding) => {
                    return Err(Reject::bad("malformed transfer-encoding", at));
                }
                (false, false) => others = true,
            }
        }
    }
    match (chunked, others) {
        (true, false) => Ok(()),
        (true, true) => Err(Reject { status: 501, why: "transfer coding other than chunked", at: last }),
        (false, _) => Err(Reject::bad("transfer-encoding does not end in chunked", last)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_digits_and_nothing_else() {
        assert_eq!(length(b"0"), Ok(0));
        assert_eq!(length(b"9223372036854775807"), Ok(LENGTH_MAX));
        for text in [
            "", "-1", "+1", "-0", "00", "005", "0x5", "0o5", "1_0", "1 0", "5, 5", "5,5", "1.0", "1e3",
            "\u{665}",
        ] {
            assert!(length(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["9223372036854775808", "18446744073709551616", "99999999999999999999999999"] {
            assert_eq!(length(text.as_bytes()), Err("content-length is too large"), "{text}");
        }
    }
}
