//! The trailer section of a chunked body (RFC 9112 §7.1.2): header lines after the last chunk.

use super::limits::{TRAILER_BYTES_MAX, TRAILER_LINES_MAX};
use super::line;
use super::names;
use super::reject::Fault;

/// What is known of a trailer section while it is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Trailers {
    /// The beginning of a line that came in an earlier piece. Lines that come whole are judged where they lie.
    partial: Vec<u8>,
    /// Bytes of the section so far.
    bytes: usize,
    lines: usize,
}

/// A sound line of the section. The empty one ends it.
pub(super) struct TrailerLine<'l> {
    pub(super) name: &'l [u8],
    pub(super) value: &'l [u8],
    /// How many bytes of the piece it used.
    pub(super) used: usize,
}

impl Trailers {
    /// Whether the last line is complete.
    pub(super) fn is_between_lines(&self) -> bool {
        self.partial.is_empty()
    }

    /// Reads the next line and hands it to `f`. None: the whole piece is the beginning of a line, kept for later. A
    /// fault is placed by its offset in the section.
    pub(super) fn read<R>(
        &mut self,
        piece: &[u8],
        f: impl FnOnce(TrailerLine<'_>) -> R,
    ) -> Result<Option<R>, Fault> {
        let feed = memchr::memchr(b'\n', piece);
        let used = feed.map_or(piece.len(), |feed| feed.saturating_add(1));
        let piece = piece.get(..used).unwrap_or(piece);
        let line_start = self.bytes.saturating_sub(self.partial.len());
        self.bytes = self.bytes.saturating_add(used);
        if self.bytes > TRAILER_BYTES_MAX {
            return Err(Fault::new("trailers have too many bytes", TRAILER_BYTES_MAX));
        }
        if feed.is_none() {
            self.partial.extend_from_slice(piece);
            return Ok(None);
        }
        let mut joined = std::mem::take(&mut self.partial);
        let line = if joined.is_empty() {
            piece
        } else {
            joined.extend_from_slice(piece);
            joined.as_slice()
        };
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err(Fault::new("line feed without carriage return", self.bytes.saturating_sub(1)));
        };
        let (name, value) =
            self.check(line).map_err(|fault| Fault::new(fault.why, fault.at.saturating_add(line_start)))?;
        Ok(Some(f(TrailerLine { name, value, used })))
    }

    fn check<'l>(&mut self, line: &'l [u8]) -> Result<(&'l [u8], &'l [u8]), Fault> {
        if line.is_empty() {
            return Ok((line, line));
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines > TRAILER_LINES_MAX {
            return Err(Fault::new("too many trailers", 0));
        }
        let field = line::read_field(line)?;
        let name = line.get(..field.name_end).unwrap_or_default();
        if names::is_forbidden_in_trailers(name) {
            return Err(Fault::new("field that must not come as a trailer", 0));
        }
        Ok((name, line.get(field.value.0..field.value.1).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(section: &str) -> Result<Option<String>, &'static str> {
        let line = |l: TrailerLine<'_>| format!("{}={}", l.name.escape_ascii(), l.value.escape_ascii());
        Trailers::default().read(section.as_bytes(), line).map_err(|fault| fault.why)
    }

    #[test]
    fn a_trailer_is_read_as_a_header_line() {
        assert_eq!(first("X-Checksum:\tabc \r\nrest"), Ok(Some("X-Checksum=abc".into())));
        assert_eq!(first("X-Checksum: ab"), Ok(None));
        assert_eq!(first("\r\n"), Ok(Some("=".into())));
    }

    #[test]
    fn fields_that_steer_the_message_are_refused() {
        for name in ["Content-Length", "Transfer-Encoding", "Host", "Authorization", "Trailer"] {
            assert_eq!(first(&format!("{name}: 1\r\n")), Err("field that must not come as a trailer"));
        }
        assert_eq!(first("\n"), Err("line feed without carriage return"));
        assert_eq!(first(" folded: x\r\n"), Err("folded header line"));
    }

    #[test]
    fn a_section_is_bounded_in_bytes_and_in_lines() {
        let mut trailers = Trailers::default();
        for _ in 0..TRAILER_LINES_MAX {
            assert!(matches!(trailers.read(b"A: b\r\n", |_| ()), Ok(Some(()))));
        }
        assert!(trailers.read(b"A: b\r\n", |_| ()).is_err_and(|fault| fault.why == "too many trailers"));
        let mut trailers = Trailers::default();
        assert!(matches!(trailers.read(&[b'a'; TRAILER_BYTES_MAX], |_| ()), Ok(None)));
        assert!(trailers.read(b"a", |_| ()).is_err_and(|fault| fault.at == TRAILER_BYTES_MAX));
    }
}
