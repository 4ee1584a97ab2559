//! The chunked coding (RFC 9112 §7.1), followed byte by byte in its small parts and in bulk in the data.
//!
//! Knows what a chunked body is, not where its bytes go: that is the [`Sink`]'s part, which hears of each element when
//! it is complete.
//!
//! ```text
//! Size -> (Extension) -> SizeFeed -> Data -> DataReturn -> DataFeed -> Size
//!                           |  size 0
//!                           +-> Trailers -> Done
//! ```

use super::bytes;
use super::limits::{CHUNK_LINE_BYTES_MAX, LENGTH_MAX};
use super::reject::{Fault, Reject};
use super::trailers::Trailers;

/// Hears of the elements of a body, in order. `end` is the offset in the piece behind the element.
pub(super) trait Sink {
    /// A size line is complete. `is_plain`: it was digits without leading zeros and nothing else.
    fn size(&mut self, size: u64, is_plain: bool, end: usize);
    /// Data of the current chunk, `start..end` of the piece.
    fn data(&mut self, start: usize, end: usize);
    /// The line end behind the data of a chunk, or the one that ends the body.
    fn line_end(&mut self, end: usize);
    /// A trailer.
    fn trailer(&mut self, name: &[u8], value: &[u8], end: usize);
}

/// Where in a chunked body we are.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunked {
    state: State,
    /// Size of the current chunk while its line is read, then what is left of it.
    left: u64,
    /// Bytes of the current size line so far.
    line_bytes: usize,
    /// The size line so far is digits without leading zeros.
    is_plain: bool,
    trailers: Trailers,
    /// Bytes of the body before the current piece; where the trailer section began, once there.
    offset: u64,
    trailers_at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Size,
    Extension(Extension),
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    Trailers,
    Done,
}

/// Inside `*( BWS ";" BWS name [ BWS "=" BWS value ] )`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extension {
    BeforeSemicolon,
    BeforeName,
    Name,
    BehindName,
    BeforeValue,
    Value,
    Quoted,
    QuotedPair,
    BehindQuoted,
}

impl Chunked {
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether everything so far has been reported to the sink: no element is half read.
    pub(super) fn is_between_elements(&self) -> bool {
        match self.state {
            State::Size => self.line_bytes == 0,
            State::Data | State::DataReturn | State::Done => true,
            State::Trailers => self.trailers.is_between_lines(),
            State::Extension(_) | State::SizeFeed | State::DataFeed => false,
        }
    }

    /// Bytes of the body so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Follows the body into `piece`. Returns how many bytes of it belong to the body.
    pub(super) fn follow(&mut self, piece: &[u8], sink: &mut impl Sink) -> Result<usize, Reject> {
        let mut at = 0usize;
        while let Some(&byte) = piece.get(at) {
            match self.state {
                State::Done => break,
                State::Data => at = self.data(piece, at, sink),
                State::Trailers => at = self.trailer(piece, at, sink)?,
                _ => {
                    let here = self.offset.saturating_add(at as u64);
                    at = at.saturating_add(1);
                    self.step(byte, at, sink).map_err(|why| Reject::bad(why, narrow(here)))?;
                }
            }
        }
        self.offset = self.offset.saturating_add(at as u64);
        Ok(at)
    }

    fn data(&mut self, piece: &[u8], at: usize, sink: &mut impl Sink) -> usize {
        let here = piece.len().saturating_sub(at);
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(here);
        let end = at.saturating_add(count);
        self.left = self.left.saturating_sub(count as u64);
        if self.left == 0 {
            self.state = State::DataReturn;
        }
        sink.data(at, end);
        end
    }

    fn trailer(&mut self, piece: &[u8], at: usize, sink: &mut impl Sink) -> Result<usize, Reject> {
        let from = self.trailers_at;
        let is_last = self.trailers.read(piece.get(at..).unwrap_or_default(), |line| {
            let end = at.saturating_add(line.used);
            match line.name {
                [] => sink.line_end(end),
                name => sink.trailer(name, line.value, end),
            }
            (line.name.is_empty(), end)
        });
        match is_last.map_err(|fault: Fault| fault.within(narrow(from)))? {
            None => Ok(piece.len()),
            Some((is_last, end)) => {
                if is_last {
                    self.state = State::Done;
                }
                Ok(end)
            }
        }
    }

    /// One byte outside data and trailers; `end` is the offset behind it.
    fn step(&mut self, byte: u8, end: usize, sink: &mut impl Sink) -> Result<(), &'static str> {
        match (self.state, byte) {
            (State::Size | State::Extension(_), _) => self.size_line(byte)?,
            (State::SizeFeed, b'\n') => {
                sink.size(self.left, self.is_plain, end);
                self.line_bytes = 0;
                self.state = if self.left == 0 { State::Trailers } else { State::Data };
                self.trailers_at = self.offset.saturating_add(end as u64);
            }
            (State::DataReturn, b'\r') => self.state = State::DataFeed,
            (State::DataFeed, b'\n') => {
                sink.line_end(end);
                self.state = State::Size;
                self.left = 0;
            }
            (State::DataReturn, b'\n') => return Err("line feed without carriage return"),
            (State::DataReturn, _) => return Err("chunk is longer than its size"),
            _ => return Err("carriage return without line feed"),
        }
        Ok(())
    }

    fn size_line(&mut self, byte: u8) -> Result<(), &'static str> {
        self.line_bytes = self.line_bytes.saturating_add(1);
        if self.line_bytes > CHUNK_LINE_BYTES_MAX {
            return Err("chunk size line is too long");
        }
        self.state = match self.state {
            State::Extension(extension) => extension.step(byte)?,
            _ if bytes::is_hex(byte) => {
                self.digit(byte)?;
                State::Size
            }
            _ if self.line_bytes == 1 => return Err("chunk without a size"),
            _ => Extension::behind_element(byte).ok_or("byte that no chunk size may have")?,
        };
        self.is_plain &= !matches!(self.state, State::Extension(_));
        Ok(())
    }

    fn digit(&mut self, byte: u8) -> Result<(), &'static str> {
        let value = if byte.is_ascii_digit() { byte & 15 } else { (byte & 15).wrapping_add(9) };
        self.is_plain = self.line_bytes == 1 || (self.is_plain && self.left != 0);
        // Seventeen digits overflow, or are zeros that nobody writes in good faith.
        if self.line_bytes > 16 || self.left > LENGTH_MAX >> 4 {
            return Err("chunk size is too large");
        }
        self.left = self.left.wrapping_shl(4) | u64::from(value);
        Ok(())
    }
}

impl Extension {
    fn step(self, byte: u8) -> Result<State, &'static str> {
        let is_blank = bytes::is_blank(byte);
        let next = match (self, byte) {
            (Extension::Quoted, b'"') => Extension::BehindQuoted,
            (Extension::Quoted, b'\\') => Extension::QuotedPair,
            (Extension::Quoted | Extension::QuotedPair, _) if bytes::is_value(byte) => Extension::Quoted,
            (Extension::Quoted | Extension::QuotedPair, _) => {
                return Err("control byte in a chunk extension");
            }
            (Extension::BeforeName | Extension::BeforeValue, _) if is_blank => self,
            (Extension::BeforeName, _) if bytes::is_token(byte) => Extension::Name,
            (Extension::BeforeName, _) => return Err("chunk extension without a name"),
            (Extension::BeforeValue, b'"') => Extension::Quoted,
            (Extension::BeforeValue, _) if bytes::is_token(byte) => Extension::Value,
            (Extension::BeforeValue, _) => return Err("chunk extension with a malformed value"),
            (Extension::Name | Extension::Value, _) if bytes::is_token(byte) => self,
            (Extension::Name | Extension::BehindName, _) if is_blank => Extension::BehindName,
            (Extension::Name | Extension::BehindName, b'=') => Extension::BeforeValue,
            // Blanks announce another extension; at the end of the line they are an error.
            (Extension::BehindName | Extension::BeforeSemicolon, b'\r') => {
                return Err("blank at the end of a chunk size line");
            }
            (Extension::BeforeSemicolon, _) if is_blank => self,
            _ => return Extension::behind_element(byte).ok_or("byte that no chunk extension may have"),
        };
        Ok(State::Extension(next))
    }

    /// What may follow a size, or an extension that is complete.
    fn behind_element(byte: u8) -> Option<State> {
        match byte {
            b';' => Some(State::Extension(Extension::BeforeName)),
            b'\r' => Some(State::SizeFeed),
            b' ' | b'\t' => Some(State::Extension(Extension::BeforeSemicolon)),
            _ => None,
        }
    }
}

fn narrow(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
