//! Interim (1xx) responses to one request (RFC 9110 section 15.2), as they are counted. Pure.
//!
//! They need no answer and no room in a window: an upstream can send them without end, and a client that does not read makes
//! nobody wait.

use http::HeaderMap;

/// Interim responses before the final one; an upstream that sends more is broken. Work that takes minutes tells so each
/// second at most, and hints come once or twice.
const COUNT_MAX: u32 = 64;
/// Bytes of their heads, all together. That is many times what browsers are sent as hints; and what a hundred streams whose
/// client does not read make mesher keep of them stays below a megabyte or two.
const BYTES_MAX: usize = 16 * 1024;
/// What a field takes beside its bytes (RFC 9113 section 6.5.2).
const FIELD_BYTES: usize = 32;

/// How much has come.
#[derive(Debug, Default)]
pub(super) struct Interims {
    count: u32,
    bytes: usize,
}

impl Interims {
    /// One more with a head of so many bytes. False if that is too much.
    pub(super) fn admit(&mut self, bytes: usize) -> bool {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.count <= COUNT_MAX && self.bytes <= BYTES_MAX
    }

    /// How many have come.
    pub(super) fn count(&self) -> u32 {
        self.count
    }
}

/// Bytes of a head that consists of these fields.
pub(super) fn bytes_of(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn neither_many_small_ones_nor_few_large_ones_come_through() {
        let admitted = |bytes| {
            let mut interims = Interims::default();
            (0..1000).take_while(|_| interims.admit(bytes)).count()
        };
        assert_eq!((admitted(40), admitted(4096), admitted(BYTES_MAX + 1)), (64, 4, 0));
        assert_eq!(admitted(usize::MAX), 0);
    }

    #[test]
    fn a_field_counts_beyond_its_bytes() {
        let mut fields = HeaderMap::new();
        assert_eq!(bytes_of(&fields), 0);
        for value in ["1234", ""] {
            fields.append("link", HeaderValue::from_static(value));
        }
        assert_eq!(bytes_of(&fields), 4 + 4 + 32 + 4 + 32);
    }
}
