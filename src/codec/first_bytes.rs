//! What a client speaks, by the first bytes it sends.
//!
//! TLS begins with a handshake record, HTTP/2 with its preface, and neither can begin an HTTP/1 request line.

/// A protocol, as far as the first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstBytes {
    /// More bytes are needed.
    Undecided,
    /// A TLS handshake (RFC 8446 section 5.1).
    Tls,
    /// HTTP/2 with prior knowledge (RFC 9113 section 3.4).
    Http2,
    /// Anything else, to be read as HTTP/1.
    Http1,
}

/// Type of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// The connection preface of HTTP/2.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl FirstBytes {
    /// Judges the bytes received so far. Once decided, more bytes never change it.
    #[must_use]
    pub fn of(received: &[u8]) -> Self {
        match received.first() {
            None => Self::Undecided,
            Some(&TLS_HANDSHAKE) => Self::Tls,
            Some(_) if received.starts_with(HTTP2_PREFACE) => Self::Http2,
            Some(_) if HTTP2_PREFACE.starts_with(received) => Self::Undecided,
            Some(_) => Self::Http1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_is_known_by_its_beginning() {
        assert_eq!(FirstBytes::of(b"\x16\x03\x01"), FirstBytes::Tls);
        assert_eq!(FirstBytes::of(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0"), FirstBytes::Http2);
        assert_eq!(FirstBytes::of(b"GET / HTTP/1.1\r\n"), FirstBytes::Http1);
        assert_eq!(FirstBytes::of(b"PRIVATE / HTTP/1.1\r\n"), FirstBytes::Http1);
    }

    #[test]
    fn a_part_of_the_preface_decides_nothing() {
        for received in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            assert_eq!(FirstBytes::of(received), FirstBytes::Undecided);
        }
    }
}
