//! Judges a field that arrived already split into name and value, as HTTP/2 has it, by the rules of a text head: what
//! passes here may be written into one. Whether it may also be forwarded is not its business.

use super::bytes;
use super::limits::METHOD_BYTES_MAX;
use super::names;

/// RFC 9113 section 8.2.1: names are lower-case tokens, values have no control bytes and no white space at their ends.
///
/// # Errors
/// What is wrong with the field.
pub fn judge_field(name: &[u8], value: &[u8]) -> Result<(), &'static str> {
    if !bytes::is_token_text(name) {
        return Err("byte that no header name may have");
    }
    if name.iter().any(u8::is_ascii_uppercase) {
        return Err("upper case in a header name");
    }
    if names::is_framing_lookalike(name) {
        return Err("underscore in the name of a framing field");
    }
    if bytes::value_fault(value).is_some() {
        return Err("control byte in a header value");
    }
    match (value.first(), value.last()) {
        (Some(first), Some(last)) if bytes::is_blank(*first) || bytes::is_blank(*last) => {
            Err("white space at the end of a header value")
        }
        _ => Ok(()),
    }
}

/// A method is a token (RFC 9110 section 9.1), and no longer than one that came as text may be.
///
/// # Errors
/// What is wrong with it.
pub fn judge_method(method: &[u8]) -> Result<(), &'static str> {
    match method {
        long if long.len() > METHOD_BYTES_MAX => Err("method is too long"),
        method if !bytes::is_token_text(method) => Err("byte that no method may have"),
        _ => Ok(()),
    }
}

/// Whether a field may stand in a trailer section of text (RFC 9110 section 6.5.1).
#[must_use]
pub fn is_trailer(name: &[u8]) -> bool {
    !names::is_forbidden_in_trailers(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_head_could_not_carry_is_refused() {
        assert_eq!(judge_field(b"x-a", b"b c\t\xff"), Ok(()));
        assert_eq!(judge_field(b"x-a", b""), Ok(()));
        let refused: [(&[u8], &[u8]); 10] = [
            (b"", b"v"),
            (b"X-a", b"v"),
            (b"x a", b"v"),
            (b"x:a", b"v"),
            (b"x-a", b"a\rb"),
            (b"x-a", b"a\nb"),
            (b"x-a", b"a\0b"),
            (b"x-a", b" v"),
            (b"x-a", b"v\t"),
            (b"content_length", b"5"),
        ];
        for (name, value) in refused {
            assert!(judge_field(name, value).is_err(), "{}: {}", name.escape_ascii(), value.escape_ascii());
        }
    }

    #[test]
    fn a_method_is_a_token_of_some_length() {
        assert_eq!(judge_method(&[b'M'; METHOD_BYTES_MAX]), Ok(()));
        for refused in [&[b'M'; METHOD_BYTES_MAX + 1][..], b"", b"GET /"] {
            assert!(judge_method(refused).is_err(), "{}", refused.escape_ascii());
        }
    }

    #[test]
    fn the_status_of_a_call_may_be_a_trailer_and_its_length_may_not() {
        assert!(is_trailer(b"grpc-status") && !is_trailer(b"content-length"));
    }
}
