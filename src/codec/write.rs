//! The writer: appends to a buffer what the grammar of a sender allows, in its plainest form.
//!
//! Takes what a parser of this crate accepted, or constants; it does not check again (debug builds do).

use std::io::Write;
use std::net::IpAddr;

use super::bytes;
use super::framing::Framing;
use super::head::Header;

/// `method SP target SP HTTP/1.1`. mesher speaks 1.1 whatever the client spoke (RFC 9112 §2.3).
pub fn request_line(out: &mut Vec<u8>, method: &[u8], target: &[u8]) {
    debug_assert!(bytes::is_token_text(method) && !target.is_empty());
    debug_assert!(target.iter().all(u8::is_ascii_graphic));
    all(out, &[method, b" ", target, b" HTTP/1.1\r\n"]);
}

/// `HTTP/1.1 SP status SP reason`. The status has three digits.
pub fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    debug_assert!((100..=599).contains(&status) && bytes::value_fault(reason).is_none());
    all(out, &[b"HTTP/1.1 ", itoa::Buffer::new().format(status).as_bytes(), b" ", reason, b"\r\n"]);
}

/// `name: value`.
pub fn header(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(bytes::is_token_text(name) && bytes::value_fault(value).is_none());
    all(out, &[name, b": ", value, b"\r\n"]);
}

/// A header line that was parsed, as it came if that is how it is written.
pub fn forwarded(out: &mut Vec<u8>, header: &Header<'_>) {
    match header.plain {
        Some(line) => out.extend_from_slice(line),
        None => self::header(out, header.name, header.value),
    }
}

/// `name: number`.
pub fn number_header(out: &mut Vec<u8>, name: &[u8], value: u64) {
    header(out, name, itoa::Buffer::new().format(value).as_bytes());
}

/// An address as text, in every request: hence without the formatting machinery where that is easy.
pub fn ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (position, octet) in address.octets().into_iter().enumerate() {
                if position > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        // Writing to a vector does not fail.
        IpAddr::V6(address) => write!(out, "{address}").unwrap_or_default(),
    }
}

/// The header line that declares this framing; nothing for bodies without one.
pub fn framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => number_header(out, b"Content-Length", length),
        Framing::Chunked => header(out, b"Transfer-Encoding", b"chunked"),
        Framing::None | Framing::UntilClose => {}
    }
}

/// The empty line that ends a head or a trailer section.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// The line in front of a chunk of so many bytes. Zero begins the trailer section.
pub fn chunk_size(out: &mut Vec<u8>, size: u64) {
    let mut digits = [0u8; 16];
    let (mut rest, mut count) = (size, 0usize);
    for slot in digits.iter_mut().rev() {
        let digit = (rest & 15) as u8;
        *slot = if digit < 10 { digit | b'0' } else { digit.wrapping_sub(10).wrapping_add(b'a') };
        rest >>= 4;
        count = count.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    all(out, &[digits.get(16usize.saturating_sub(count)..).unwrap_or_default(), b"\r\n"]);
}

/// One whole chunk. Nothing for no data: an empty chunk would end the body.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        chunk_size(out, data.len() as u64);
        all(out, &[data, b"\r\n"]);
    }
}

/// The end of a chunked body without trailers.
pub fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

fn all(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.reserve(parts.iter().fold(0, |sum, part| part.len().saturating_add(sum)));
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn heads_are_written_in_the_plainest_form() {
        assert_eq!(written(|out| request_line(out, b"GET", b"/a?b")), "GET /a?b HTTP/1.1\r\n");
        assert_eq!(written(|out| status_line(out, 200, b"")), "HTTP/1.1 200 \r\n");
        assert_eq!(written(|out| header(out, b"X-Empty", b"")), "X-Empty: \r\n");
        assert_eq!(written(|out| number_header(out, b"Age", u64::MAX)), "Age: 18446744073709551615\r\n");
        assert_eq!(written(|out| framing(out, Framing::Chunked)), "Transfer-Encoding: chunked\r\n");
        assert_eq!(written(|out| framing(out, Framing::Length(0))), "Content-Length: 0\r\n");
        assert_eq!(written(|out| framing(out, Framing::UntilClose)), "");
    }

    #[test]
    fn addresses_are_written_as_the_standard_library_writes_them() {
        for address in ["0.0.0.0", "10.2.33.255", "127.0.0.1", "::1", "fd00::5:1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(written(|out| ip(out, address)), address.to_string());
        }
    }

    #[test]
    fn chunk_sizes_are_hexadecimal_without_leading_zeros() {
        for size in [0, 1, 9, 10, 15, 16, 255, 4096, 0xdead_beef, u64::MAX] {
            assert_eq!(written(|out| chunk_size(out, size)), format!("{size:x}\r\n"));
        }
        assert_eq!(written(|out| chunk(out, b"hello")), "5\r\nhello\r\n");
        assert_eq!(written(|out| chunk(out, b"")), "");
    }
}
