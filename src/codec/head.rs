//! What request and response heads have in common: the bytes, the search for line ends, the index of header lines.
//!
//! A head is read line by line as bytes arrive. Each byte is searched for a line end once, each line is read once, and
//! lines are judged in the order they came, so the verdict cannot depend on how the bytes were cut. Knows nothing of
//! start lines, framing, or what a field means.

use super::limits::{HEAD_BYTES_MAX, Limits, RETAINED_BYTES_MAX, RETAINED_LINES_MAX};
use super::line::{self, Field};
use super::names::{Known, KnownSet};
use super::reject::Reject;

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
    /// It stands as a sender writes it, see [`Header::plain`].
    pub plain: bool,
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
    /// The whole line with its end, if it stands as [`write::header`](super::write::header) would write it.
    pub plain: Option<&'b [u8]>,
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

impl HeaderLine {
    /// From the name to the line end, which is there.
    fn whole(&self) -> Span {
        let end = self.value.start.saturating_add(self.value.len).saturating_add(2);
        Span { start: self.name.start, len: end.saturating_sub(self.name.start) }
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
            plain: line.plain.then(|| line.whole().of(&self.bytes)),
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
        loop {
            if self.lines.len() < limits.headers && self.take_plain(limit) {
                continue;
            }
            let Some((start, end)) = self.next_line(limit, over)? else { return Ok(false) };
            if start == end {
                return Ok(true);
            }
            if self.lines.len() >= limits.headers {
                return Err(Reject { status: 431, why: "head has too many header lines", at: start });
            }
            let line = self.bytes.get(start..end).unwrap_or_default();
            let field = line::read_field(line).map_err(|fault| fault.within(start))?;
            self.push(field, start);
        }
    }

    /// Takes the next line if it is a plain one that ends before `limit`. A line that was looked at before is not looked at
    /// in this way again: it would be for each byte that comes.
    fn take_plain(&mut self, limit: usize) -> bool {
        let start = self.line_start;
        let text = self.bytes.get(start..self.bytes.len().min(limit)).unwrap_or_default();
        if self.searched != start {
            return false;
        }
        let Some((field, length)) = line::read_plain(text) else { return false };
        self.push(field, start);
        self.line_start = start.saturating_add(length);
        self.searched = self.line_start;
        true
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
            plain: field.plain,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
