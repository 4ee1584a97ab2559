//! What request and response heads have in common: the bytes, the search for line ends, the index of header lines.
//!
//! A head is read line by line as bytes arrive. Each byte is searched for a line end once, each line is read once, and
//! lines are judged in the order they came, so the verdict cannot depend on how the bytes were cut. Knows nothing of
//! start lines, framing, or what a field means.

use super::bytes;
use super::limits::{HEAD_BYTES_MAX, Limits, RETAINED_BYTES_MAX, RETAINED_LINES_MAX};
use super::names::{self, Known, KnownSet};
use super::reject::{Fault, Reject};

/// A piece of a head: an offset and a length in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

/// The index entry of a header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderLine {
    /// The name as it came.
    pub name: Span,
    /// The value without white space around it.
    pub value: Span,
    /// Which name it is.
    pub known: Known,
    /// Not to be forwarded: hop-by-hop by its name or because `Connection` names it.
    pub hop_by_hop: bool,
}

/// A header line. Case, order and repetition are those of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'b> {
    /// The name as it came.
    pub name: &'b [u8],
    /// The value without white space around it.
    pub value: &'b [u8],
    /// Which name it is.
    pub known: Known,
    /// Not to be forwarded: hop-by-hop by its name or because `Connection` names it (RFC 9110 §7.6.1).
    pub hop_by_hop: bool,
}

/// Whether a head is all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parse {
    /// More bytes are needed.
    Incomplete,
    /// The head is complete and sound.
    Complete,
}

/// The HTTP version of a message. A minor version above 1 is read as 1.1 (RFC 9110 §2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// How far the reading of a head has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// In the start line, or before it.
    #[default]
    Start,
    /// In the header lines.
    Fields,
    /// Complete.
    Done,
    /// Refused for good.
    Refused(Reject),
}

/// Bytes and index of a head. Recycled from message to message.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) bytes: Vec<u8>,
    pub(super) stage: Stage,
    lines: Vec<HeaderLine>,
    seen: KnownSet,
    repeated: KnownSet,
    /// Start of the line that is not complete yet; once the head is done, its end.
    line_start: usize,
    /// No line end between `line_start` and here.
    searched: usize,
    /// Bytes behind the head that the caller has used.
    consumed: usize,
}

impl Span {
    /// The span of `start..end`. Heads are far smaller than 4 GiB, see [`HEAD_BYTES_MAX`].
    pub(super) fn new(start: usize, end: usize) -> Self {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span { start: narrow(start), len: narrow(end.saturating_sub(start)) }
    }

    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes.get(start..start.saturating_add(self.len as usize)).unwrap_or_default()
    }
}

impl Version {
    /// Reads `HTTP/x.y`. `Ok(None)`: a version of HTTP, but none that is spoken here.
    pub(super) fn read(text: &[u8]) -> Result<Option<Version>, &'static str> {
        match text {
            b"HTTP/1.1" => Ok(Some(Version::Http11)),
            b"HTTP/1.0" => Ok(Some(Version::Http10)),
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                Ok((*major == b'1').then_some(Version::Http11))
            }
            _ => Err("malformed HTTP version"),
        }
    }
}

impl Head {
    pub(super) fn line_start(&self) -> usize {
        self.line_start
    }

    pub(super) fn lines(&self) -> &[HeaderLine] {
        &self.lines
    }

    pub(super) fn lines_mut(&mut self) -> (&[u8], &mut [HeaderLine]) {
        (&self.bytes, &mut self.lines)
    }

    pub(super) fn has(&self, known: Known) -> bool {
        self.seen.contains(known)
    }

    /// Where the second line of this name begins, if there is one.
    pub(super) fn repetition(&self, known: Known) -> Option<usize> {
        if !self.repeated.contains(known) {
            return None;
        }
        self.lines.iter().filter(|line| line.known == known).nth(1).map(|line| line.name.start as usize)
    }

    /// Value and its offset of the first line of this name.
    pub(super) fn value(&self, known: Known) -> Option<(&[u8], usize)> {
        self.values(known).next()
    }

    /// Values and their offsets of all lines of this name.
    pub(super) fn values(&self, known: Known) -> impl Iterator<Item = (&[u8], usize)> {
        let lines = if self.seen.contains(known) { self.lines.as_slice() } else { &[] };
        let lines = lines.iter().filter(move |line| line.known == known);
        lines.map(|line| (line.value.of(&self.bytes), line.value.start as usize))
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.lines.iter().map(|line| Header {
            name: line.name.of(&self.bytes),
            value: line.value.of(&self.bytes),
            known: line.known,
            hop_by_hop: line.hop_by_hop,
        })
    }

    /// The next line, `start..end` without its CRLF, if its end lies before `limit`. Beyond that, `over`.
    pub(super) fn next_line(&mut self, limit: usize, over: Reject) -> Result<Option<(usize, usize)>, Reject> {
        let window = self.bytes.get(self.searched..self.bytes.len().min(limit)).unwrap_or_default();
        let Some(found) = memchr::memchr(b'\n', window) else {
            self.searched = self.searched.saturating_add(window.len());
            return if self.bytes.len() >= limit { Err(over) } else { Ok(None) };
        };
        let feed = self.searched.saturating_add(found);
        let start = self.line_start;
        let end = feed.saturating_sub(1);
        if feed == start || self.bytes.get(end) != Some(&b'\r') {
            return Err(Reject::bad("line feed without carriage return", feed));
        }
        self.line_start = feed.saturating_add(1);
        self.searched = self.line_start;
        Ok(Some((start, end)))
    }

    /// Puts a byte into a line that was read already. Used for the slash that an absolute target may lack.
    pub(super) fn insert(&mut self, at: usize, byte: u8) {
        if at <= self.bytes.len() {
            self.bytes.insert(at, byte);
            self.line_start = self.line_start.saturating_add(1);
            self.searched = self.line_start;
        }
    }

    /// Reads header lines. True: the empty line that ends the head has been read.
    pub(super) fn read_fields(&mut self, limits: &Limits) -> Result<bool, Reject> {
        let limit = limits.head_bytes.min(HEAD_BYTES_MAX);
        let over = Reject { status: 431, why: "head has too many bytes", at: limit };
        while let Some((start, end)) = self.next_line(limit, over)? {
            if start == end {
                return Ok(true);
            }
            if self.lines.len() >= limits.headers {
                return Err(Reject { status: 431, why: "head has too many header lines", at: start });
            }
            let line = self.bytes.get(start..end).unwrap_or_default();
            let field = read_field(line).map_err(|fault| fault.within(start))?;
            self.push(field, start);
        }
        Ok(false)
    }

    fn push(&mut self, field: Field, start: usize) {
        let (name, value) = (field.name_end, field.value);
        let at = |offset: usize| start.saturating_add(offset);
        if self.seen.contains(field.known) {
            self.repeated.insert(field.known);
        }
        self.seen.insert(field.known);
        self.lines.push(HeaderLine {
            name: Span::new(start, at(name)),
            value: Span::new(at(value.0), at(value.1)),
            known: field.known,
            hop_by_hop: field.known.is_hop_by_hop(),
        });
    }

    /// Bytes behind the head that were not used yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.line_start.saturating_add(self.consumed)..).unwrap_or_default()
    }

    pub(super) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.rest().len(), "more consumed than there is");
        self.consumed = self.consumed.saturating_add(count.min(self.rest().len()));
    }

    /// Forgets the head and what was consumed; the rest moves to the front.
    pub(super) fn take_rest(&mut self) {
        let used = self.line_start.saturating_add(self.consumed).min(self.bytes.len());
        self.bytes.drain(..used);
        self.restart();
    }

    pub(super) fn reset(&mut self) {
        self.bytes.clear();
        self.restart();
    }

    fn restart(&mut self) {
        self.lines.clear();
        if self.bytes.capacity() > RETAINED_BYTES_MAX {
            self.bytes.shrink_to(RETAINED_BYTES_MAX);
        }
        if self.lines.capacity() > RETAINED_LINES_MAX {
            self.lines.shrink_to(RETAINED_LINES_MAX);
        }
        self.seen = KnownSet::default();
        self.repeated = KnownSet::default();
        self.stage = Stage::Start;
        (self.line_start, self.searched, self.consumed) = (0, 0, 0);
    }
}

/// A header line taken apart; offsets in the line.
pub(super) struct Field {
    pub(super) name_end: usize,
    pub(super) value: (usize, usize),
    pub(super) known: Known,
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
    let offset = name_end.saturating_add(1);
    Ok(Field { name_end, value: (offset.saturating_add(start), offset.saturating_add(end)), known })
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

    #[test]
    fn versions_other_than_one_are_told_from_garbage() {
        assert_eq!(Version::read(b"HTTP/1.7"), Ok(Some(Version::Http11)));
        assert_eq!(Version::read(b"HTTP/2.0"), Ok(None));
        for text in ["http/1.1", "HTTP/1", "HTTP/01.01", "HTTP/ 1.1", "HTTP/1.1 ", "FTP/1.1", "HTTP/1.x", ""]
        {
            Version::read(text.as_bytes()).unwrap_err();
        }
    }
}
