//! Header blocks (RFC 7541): a writer that can write anything, legal or not, and as much of a reader as a status needs.

/// Service that requests of the tests name; the sidecar before it does not look at it.
pub(crate) const AUTHORITY: &str = "attacked";

/// Static table entries that carry a status, from index 8 on (RFC 7541 appendix A).
const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
const STATUS_INDEX: usize = 8;
/// Huffman codes of the digits (RFC 7541 appendix B): 0 to 2 have five bits, 3 to 9 have six, beginning here.
const SIX_BITS_FROM: u32 = 0b01_1001;

/// A header block as it is put together. Nothing is Huffman coded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block {
    bytes: Vec<u8>,
}

impl Block {
    /// A request: all four pseudo-header fields.
    pub(crate) fn request(method: &str, path: &str) -> Self {
        Self::default()
            .field(":method", method)
            .field(":scheme", "http")
            .field(":authority", AUTHORITY)
            .field(":path", path)
    }

    /// The same, of another service.
    pub(crate) fn request_of(authority: &str, method: &str) -> Self {
        Self::default()
            .field(":method", method)
            .field(":scheme", "http")
            .field(":authority", authority)
            .field(":path", "/")
    }

    /// A GET.
    pub(crate) fn get(path: &str) -> Self {
        Self::request("GET", path)
    }

    /// A field that the table does not remember.
    pub(crate) fn field(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.literal(0, name.as_ref(), value.as_ref())
    }

    /// A field that the table remembers: index 62 from then on.
    pub(crate) fn remembered(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.literal(0x40, name.as_ref(), value.as_ref())
    }

    /// A field from the table, static or dynamic.
    pub(crate) fn indexed(self, index: usize) -> Self {
        self.integer(0x80, 7, index)
    }

    /// A change of the size of the table.
    pub(crate) fn table_size(self, size: usize) -> Self {
        self.integer(0x20, 5, size)
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn literal(self, mark: u8, name: &[u8], value: &[u8]) -> Self {
        let mut block = self.integer(mark, if mark == 0 { 4 } else { 6 }, 0);
        for text in [name, value] {
            block = block.integer(0, 7, text.len());
            block.bytes.extend(text);
        }
        block
    }

    /// An integer behind a mark, with a prefix of so many bits (RFC 7541 section 5.1).
    fn integer(mut self, mark: u8, bits: u32, value: usize) -> Self {
        let most = (1 << bits) - 1;
        if value < most {
            self.bytes.push(mark | u8::try_from(value).expect("less than a byte"));
            return self;
        }
        self.bytes.push(mark | u8::try_from(most).expect("at most seven bits"));
        let mut rest = value - most;
        while rest >= 0x80 {
            self.bytes.push(0x80 | u8::try_from(rest & 0x7f).expect("seven bits"));
            rest >>= 7;
        }
        self.bytes.push(u8::try_from(rest).expect("seven bits"));
        self
    }
}

/// Status of a response, written by an encoder that was told to keep no table. None for trailers.
pub(crate) fn status(block: &[u8]) -> Option<u16> {
    let mut rest = block;
    while rest.first().is_some_and(|byte| byte & 0xe0 == 0x20) {
        take_integer(&mut rest, 5)?;
    }
    let first = *rest.first()?;
    if first & 0x80 != 0 {
        let index = take_integer(&mut rest, 7)?;
        return STATUSES.get(index.checked_sub(STATUS_INDEX)?).copied();
    }
    let index = take_integer(&mut rest, if first & 0x40 != 0 { 6 } else { 4 })?;
    // Every status in the static table names the field.
    if !(STATUS_INDEX..STATUS_INDEX + STATUSES.len()).contains(&index) {
        return None;
    }
    let is_huffman = rest.first()? & 0x80 != 0;
    let length = take_integer(&mut rest, 7)?;
    let value = rest.get(..length)?;
    if is_huffman { huffman_number(value) } else { std::str::from_utf8(value).ok()?.parse().ok() }
}

/// Three digits in Huffman code.
fn huffman_number(bytes: &[u8]) -> Option<u16> {
    let bits: Vec<u32> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| u32::from(byte >> bit & 1))).collect();
    let (mut at, mut number) = (0, 0);
    let code = |at: usize, length: usize| {
        Some(bits.get(at..at + length)?.iter().fold(0, |code, bit| code << 1 | bit))
    };
    for _ in 0..3 {
        let short = code(at, 5)?;
        let (digit, length) =
            if short < 3 { (short, 5) } else { (code(at, 6)?.checked_sub(SIX_BITS_FROM)? + 3, 6) };
        number = number * 10 + digit;
        at += length;
    }
    u16::try_from(number).ok()
}

fn take_integer(from: &mut &[u8], bits: u32) -> Option<usize> {
    let (first, mut rest) = from.split_first()?;
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(*first) & most;
    if value == most {
        let mut shift = 0;
        loop {
            let (byte, behind) = rest.split_first()?;
            rest = behind;
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *from = rest;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_as_the_rfc_shows() {
        // RFC 7541 appendix C.1: 10 and 1337 behind a prefix of five bits.
        assert_eq!(Block::default().integer(0, 5, 10).bytes(), [0x0a]);
        assert_eq!(Block::default().integer(0, 5, 1337).bytes(), [0x1f, 0x9a, 0x0a]);
        let mut written = &[0x1f, 0x9a, 0x0a, 7][..];
        assert_eq!((take_integer(&mut written, 5), written), (Some(1337), &[7][..]));
    }

    #[test]
    fn a_status_is_read_however_it_is_written() {
        // RFC 7541 appendices C.5 and C.6: 302 plain and in Huffman code, 307 likewise.
        for (block, expected) in [
            (&b"\x48\x03302\x58\x07private"[..], Some(302)),
            (b"\x48\x82\x64\x02", Some(302)),
            (b"\x48\x83\x64\x0e\xff", Some(307)),
            (b"\x88\xc1", Some(200)),
            (b"\x20\x8d", Some(404)),
            (b"\x08\x03431", Some(431)),
            (b"\x00\x0bgrpc-status\x010", None),
        ] {
            assert_eq!(status(block), expected, "{block:x?}");
        }
    }

    #[test]
    fn a_field_is_written_with_its_lengths() {
        assert_eq!(
            Block::default().field("te", "x").remembered("a", "b").bytes(),
            b"\x00\x02te\x01x\x40\x01a\x01b"
        );
        assert_eq!(Block::default().indexed(62).table_size(0).bytes(), [0xbe, 0x20]);
    }
}
