//! Request heads: what a client asks for, judged as a proxy must (RFC 9112 §3, §6.3; RFC 9110 §7.2, §10.1.1).

use super::authority::Authority;
use super::body::{Body, Outgoing};
use super::bytes;
use super::connection::Options;
use super::framing::Framing;
use super::head::{Head, Header, HeaderLine, Parse, Span, Stage, Version};
use super::limits::{EMPTY_LINES_MAX, HEAD_BYTES_MAX, Limits, METHOD_BYTES_MAX};
use super::names::Known;
use super::reject::Reject;
use super::target::{Form, Target};

/// A request head: the raw bytes and an index over them.
///
/// Over its life: bytes are appended to [`buffer`](Self::buffer), [`parse`](Self::parse) is asked after each read until
/// it says complete, the body behind the head is used through [`rest`](Self::rest) and [`consume`](Self::consume), and
/// [`take_rest`](Self::take_rest) makes it ready for the next request. The accessors mean something after
/// [`Parse::Complete`] only.
#[derive(Debug, Default)]
pub struct RequestHead {
    head: Head,
    empty_lines: usize,
    method: Span,
    target: Span,
    form: Form,
    version: Version,
    framing: Framing,
    options: Options,
}

impl RequestHead {
    /// An empty head; allocates with the first bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The buffer to append raw bytes to, and only to append. Holds the head, and after it whatever came behind it.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.head.bytes
    }

    /// Looks for a complete head at the front of the buffer. Cheap to call again after more bytes: nothing is searched
    /// twice. Once complete or refused, the answer stays the same until [`take_rest`](Self::take_rest) or
    /// [`reset`](Self::reset).
    pub fn parse(&mut self, limits: &Limits) -> Result<Parse, Reject> {
        match self.head.stage {
            Stage::Done => return Ok(Parse::Complete),
            Stage::Refused(reject) => return Err(reject),
            Stage::Start | Stage::Fields => {}
        }
        let parsed = self.advance(limits);
        match parsed {
            Ok(Parse::Complete) => self.head.stage = Stage::Done,
            Ok(Parse::Incomplete) => {}
            Err(reject) => self.head.stage = Stage::Refused(reject),
        }
        parsed
    }

    /// Length of the head in bytes: what lies behind it in the buffer is body or the next request.
    pub fn end(&self) -> usize {
        self.head.line_start()
    }

    /// The method, never empty. Methods are case-sensitive.
    pub fn method(&self) -> &[u8] {
        self.method.of(&self.head.bytes)
    }

    /// The request target as it came. (One byte may be added: the slash that `http://host?query` lacks.)
    pub fn target(&self) -> &[u8] {
        self.target.of(&self.head.bytes)
    }

    /// The request target, taken apart.
    pub fn target_form(&self) -> Target<'_> {
        self.form.parts(self.method(), self.target())
    }

    /// The version the client spoke.
    pub fn version(&self) -> Version {
        self.version
    }

    /// All header lines in order.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.head.headers()
    }

    /// The index of the header lines, in order.
    pub fn lines(&self) -> &[HeaderLine] {
        self.head.lines()
    }

    /// Value of the first line of this name.
    pub fn header(&self, known: Known) -> Option<&[u8]> {
        self.head.value(known).map(|(value, _)| value)
    }

    /// True for lines that a proxy must not forward (RFC 9110 §7.6.1).
    pub fn is_hop_by_hop(&self, header: &Header<'_>) -> bool {
        header.hop_by_hop
    }

    /// How long the body is. [`Framing::None`] or [`Framing::Length`] or [`Framing::Chunked`].
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// A follower for the body of this request. Trailers are dropped when `Connection` names fields, since one of them
    /// might be a trailer.
    pub fn body(&self, outgoing: Outgoing) -> Body {
        Body::new(self.framing).outgoing(outgoing).keep_trailers(!self.options.names_fields)
    }

    /// Whether the client wants to keep the connection (RFC 9112 §9.3). An HTTP/1.0 client that talks to us as to a
    /// proxy, with an absolute target, does not get to: its `keep-alive` may have come through a proxy that does not
    /// know it.
    pub fn keep_alive(&self) -> bool {
        match self.version {
            Version::Http11 => !self.options.close,
            Version::Http10 => self.options.keep_alive && !self.options.close && self.form == Form::Origin,
        }
    }

    /// Whether the client offers to change the protocol: `Upgrade` is there and `Connection` names it, on HTTP/1.1.
    pub fn upgrade(&self) -> bool {
        self.options.upgrade && self.version == Version::Http11 && self.head.has(Known::Upgrade)
    }

    /// Host and port that the request is for: of the target if that has one, else of `Host`; always valid for
    /// [`Authority::parse`]. None only on HTTP/1.0. The forwarded `Host` is to be written from this, as the target wins
    /// over a `Host` that differs (RFC 9112 §3.2.2).
    pub fn authority(&self) -> Option<&[u8]> {
        match self.target_form() {
            Target::Absolute { authority, .. } | Target::Authority(authority) => Some(authority),
            Target::Origin(_) | Target::Asterisk => self.header(Known::Host),
        }
    }

    /// Bytes behind the head that were not consumed yet.
    pub fn rest(&self) -> &[u8] {
        self.head.rest()
    }

    /// Marks `count` bytes of [`rest`](Self::rest) as used: they were body.
    pub fn consume(&mut self, count: usize) {
        self.head.consume(count);
    }

    /// Forgets this request; unused bytes behind it move to the front as the start of the next one. Keeps the buffers,
    /// up to a bound.
    pub fn take_rest(&mut self) {
        self.head.take_rest();
        self.forget();
    }

    /// Forgets everything. Keeps the buffers, up to a bound.
    pub fn reset(&mut self) {
        self.head.reset();
        self.forget();
    }

    fn forget(&mut self) {
        *self = RequestHead { head: std::mem::take(&mut self.head), ..RequestHead::default() };
    }

    fn advance(&mut self, limits: &Limits) -> Result<Parse, Reject> {
        if self.head.stage == Stage::Start {
            if !self.start_line(limits)? {
                return Ok(Parse::Incomplete);
            }
            self.head.stage = Stage::Fields;
        }
        if !self.head.read_fields(limits)? {
            return Ok(Parse::Incomplete);
        }
        self.judge()?;
        Ok(Parse::Complete)
    }

    /// Reads the request line. False: it is not complete yet.
    fn start_line(&mut self, limits: &Limits) -> Result<bool, Reject> {
        loop {
            let start = self.head.line_start();
            let line = self.head.bytes.get(start..).unwrap_or_default();
            if !matches!(line, [] | [b'\r'] | [b'\r', b'\n', ..]) {
                check_method(line).map_err(|(why, at)| Reject::bad(why, start.saturating_add(at)))?;
            }
            let limit = start.saturating_add(limits.request_line).saturating_add(2);
            let limit = limit.min(limits.head_bytes).min(HEAD_BYTES_MAX);
            let over = Reject { status: 414, why: "request line is too long", at: limit };
            let Some((start, end)) = self.head.next_line(limit, over)? else {
                return Ok(false);
            };
            if start < end {
                return self.request_line(start, end).map(|()| true);
            }
            self.empty_lines = self.empty_lines.saturating_add(1);
            if self.empty_lines > EMPTY_LINES_MAX {
                return Err(Reject::bad("empty lines instead of a request", start));
            }
        }
    }

    /// `method SP target SP version`, one space each (RFC 9112 §3).
    fn request_line(&mut self, start: usize, end: usize) -> Result<(), Reject> {
        let line = self.head.bytes.get(start..end).unwrap_or_default();
        let method_end = memchr::memchr(b' ', line).unwrap_or(line.len());
        let (method, rest) = line.split_at_checked(method_end).unwrap_or_default();
        let rest = rest.get(1..).unwrap_or_default();
        let target_start = start.saturating_add(method_end).saturating_add(1);
        let Some(length) = memchr::memchr(b' ', rest) else {
            return Err(Reject::bad("request line without a version", end));
        };
        let (target, version) = rest.split_at_checked(length).unwrap_or_default();
        let target_end = target_start.saturating_add(length);
        let version_start = target_end.saturating_add(1);
        self.version = match Version::read(version.get(1..).unwrap_or_default()) {
            Ok(Some(version)) => version,
            Ok(None) => {
                return Err(Reject { status: 505, why: "HTTP version other than 1", at: version_start });
            }
            Err(why) => return Err(Reject::bad(why, version_start)),
        };
        self.form = Form::read(method, target).map_err(|fault| fault.within(target_start))?;
        let missing_slash = self.form.missing_slash(target);
        self.method = Span::new(start, start.saturating_add(method_end));
        self.target = Span::new(target_start, target_end);
        if let Some(at) = missing_slash {
            self.head.insert(target_start.saturating_add(at), b'/');
            self.target.len = self.target.len.saturating_add(1);
        }
        Ok(())
    }

    /// The rules that need the whole head.
    fn judge(&mut self) -> Result<(), Reject> {
        self.check_host()?;
        self.framing = Framing::declared(&self.head, self.version)?.unwrap_or(Framing::None);
        if let Some(at) = self.head.repetition(Known::ContentType) {
            return Err(Reject::bad("more than one content-type", at));
        }
        if self.framing.has_content() && matches!(self.method(), b"CONNECT" | b"TRACE") {
            return Err(Reject::bad("body with a method that has none", self.end()));
        }
        self.check_expect()?;
        if self.head.has(Known::Connection) {
            self.options = Options::read(&mut self.head)?;
        }
        Ok(())
    }

    /// Exactly one valid `Host`; HTTP/1.0 may do without (RFC 9112 §3.2).
    fn check_host(&self) -> Result<(), Reject> {
        if let Some(at) = self.head.repetition(Known::Host) {
            return Err(Reject::bad("more than one host header", at));
        }
        match self.head.value(Known::Host) {
            Some((value, at)) => Authority::read(value).map(|_| ()).map_err(|fault| fault.within(at)),
            None if self.version == Version::Http10 => Ok(()),
            None => Err(Reject::bad("no host header", self.end())),
        }
    }

    /// `100-continue` is the only expectation there is; it is ignored where nobody may act on it (RFC 9110 §10.1.1).
    fn check_expect(&self) -> Result<(), Reject> {
        for (value, at) in self.head.values(Known::Expect) {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Reject { status: 417, why: "expectation other than 100-continue", at });
            }
        }
        Ok(())
    }
}

/// Judges a method while the line is still coming, so that garbage is refused at once instead of waited for.
fn check_method(line: &[u8]) -> Result<(), (&'static str, usize)> {
    let window = line.get(..METHOD_BYTES_MAX.saturating_add(1)).unwrap_or(line);
    let why = match window.iter().position(|&byte| !bytes::is_token(byte)) {
        None if window.len() > METHOD_BYTES_MAX => return Err(("method is too long", METHOD_BYTES_MAX)),
        None => return Ok(()),
        Some(at) => match (at, window.get(at)) {
            (0, Some(0x16)) => ("TLS where plain HTTP is spoken", at),
            (1.., Some(b' ')) => return Ok(()),
            (_, Some(b'\n')) => ("line feed without carriage return", at),
            (_, Some(b'\r')) => ("request line without a target", at),
            (_, Some(b' ' | b'\t')) => ("white space before or in the method", at),
            _ => ("byte that no method may have", at),
        },
    };
    Err(why)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
