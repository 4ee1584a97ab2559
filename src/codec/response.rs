//! Response heads: what an origin answers, judged as a proxy must (RFC 9112 §4, §6.3). Every fault is a 502.

use super::body::{Body, Outgoing};
use super::bytes;
use super::connection::Options;
use super::framing::Framing;
use super::head::{Head, Header, HeaderLine, Parse, Span, Stage, Version};
use super::limits::{HEAD_BYTES_MAX, Limits};
use super::names::Known;
use super::reject::Reject;

/// What the request was, as far as the meaning of the response depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestKind {
    /// None of the others.
    #[default]
    Plain,
    /// HEAD: the response has no body, whatever it declares.
    Head,
    /// CONNECT: after a 2xx the connection is a tunnel.
    Connect,
    /// A request that offered to change the protocol: 101 is an answer to it and to nothing else.
    Upgrade,
}

/// A response head: the raw bytes and an index over them. Used as a [`RequestHead`](super::RequestHead) is.
#[derive(Debug, Default)]
pub struct ResponseHead {
    head: Head,
    version: Version,
    status: u16,
    reason: Span,
    framing: Framing,
    options: Options,
    /// Declares a body that a response of its status does not have: more may follow than we know of.
    is_doubtful: bool,
}

impl ResponseHead {
    /// An empty head; allocates with the first bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The buffer to append raw bytes to, and only to append. Holds the head, and after it whatever came behind it.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.head.bytes
    }

    /// Looks for a complete head at the front of the buffer. Cheap to call again after more bytes: nothing is searched
    /// twice. `request` must be the same in all calls for one head. Once complete or refused, the answer stays the same
    /// until [`take_rest`](Self::take_rest) or [`reset`](Self::reset).
    pub fn parse(&mut self, limits: &Limits, request: RequestKind) -> Result<Parse, Reject> {
        match self.head.stage {
            Stage::Done => return Ok(Parse::Complete),
            Stage::Refused(reject) => return Err(reject),
            Stage::Start | Stage::Fields => {}
        }
        let parsed = self.advance(limits, request).map_err(|reject| Reject { status: 502, ..reject });
        match parsed {
            Ok(Parse::Complete) => self.head.stage = Stage::Done,
            Ok(Parse::Incomplete) => {}
            Err(reject) => self.head.stage = Stage::Refused(reject),
        }
        parsed
    }

    /// Whether any byte of it has come.
    pub fn is_started(&self) -> bool {
        !self.head.bytes.is_empty()
    }

    /// Length of the head in bytes: what lies behind it in the buffer is body or the next response.
    pub fn end(&self) -> usize {
        self.head.line_start()
    }

    /// The status, 100 to 599.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether another head follows this one (RFC 9110 §15.2). 101 is final: no HTTP follows it.
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// The reason phrase, maybe empty.
    pub fn reason(&self) -> &[u8] {
        self.reason.of(&self.head.bytes)
    }

    /// The version the origin spoke.
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

    /// True for lines that a proxy must not forward (RFC 9110 §7.6.1), and for a `Content-Length` that a response of
    /// this status must not have (§8.6).
    pub fn is_hop_by_hop(&self, header: &Header<'_>) -> bool {
        header.hop_by_hop
    }

    /// How long the body is, given what the request was.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// A follower for the body of this response. Trailers are dropped when `Connection` names fields, since one of them
    /// might be a trailer.
    pub fn body(&self, outgoing: Outgoing) -> Body {
        Body::new(self.framing).outgoing(outgoing).keep_trailers(!self.options.names_fields)
    }

    /// Whether the connection may carry another request after this response (RFC 9112 §9.3). Never after a body that
    /// ends with the connection, nor when a response without a body declares one all the same.
    pub fn keep_alive(&self) -> bool {
        let wanted = match self.version {
            Version::Http11 => !self.options.close,
            Version::Http10 => self.options.keep_alive && !self.options.close,
        };
        wanted && self.framing != Framing::UntilClose && !self.is_doubtful && self.status != 101
    }

    /// Whether the protocol changes with this response.
    pub fn upgrade(&self) -> bool {
        self.status == 101
    }

    /// Bytes behind the head that were not consumed yet.
    pub fn rest(&self) -> &[u8] {
        self.head.rest()
    }

    /// Marks `count` bytes of [`rest`](Self::rest) as used: they were body.
    pub fn consume(&mut self, count: usize) {
        self.head.consume(count);
    }

    /// Forgets this response; unused bytes behind it move to the front as the start of the next one, which after an
    /// interim response is the one waited for. Keeps the buffers, up to a bound.
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
        *self = ResponseHead { head: std::mem::take(&mut self.head), ..ResponseHead::default() };
    }

    fn advance(&mut self, limits: &Limits, request: RequestKind) -> Result<Parse, Reject> {
        if self.head.stage == Stage::Start {
            check_start(&self.head.bytes)?;
            let limit = limits.request_line.saturating_add(2).min(limits.head_bytes).min(HEAD_BYTES_MAX);
            let Some((start, end)) =
                self.head.next_line(limit, Reject::bad("status line is too long", limit))?
            else {
                return Ok(Parse::Incomplete);
            };
            self.status_line(start, end)?;
            self.head.stage = Stage::Fields;
        }
        if !self.head.read_fields(limits)? {
            return Ok(Parse::Incomplete);
        }
        self.judge(request)?;
        Ok(Parse::Complete)
    }

    /// `version SP status SP [reason]` (RFC 9112 §4). The space before an empty reason may be missing, as many origins
    /// have it.
    fn status_line(&mut self, start: usize, end: usize) -> Result<(), Reject> {
        let line = self.head.bytes.get(start..end).unwrap_or_default();
        let (version, rest) = line.split_at_checked(8).unwrap_or((line, &[]));
        self.version = match Version::read(version) {
            Ok(Some(version)) => version,
            Ok(None) => return Err(Reject::bad("HTTP version other than 1", start)),
            Err(why) => return Err(Reject::bad(why, start)),
        };
        let (status, reason) = match rest {
            [b' ', a, b, c] => ([*a, *b, *c], &[][..]),
            [b' ', a, b, c, b' ', reason @ ..] => ([*a, *b, *c], reason),
            _ => return Err(Reject::bad("malformed status line", start.saturating_add(8))),
        };
        self.status =
            read_status(status).ok_or(Reject::bad("status is not 100 to 599", start.saturating_add(9)))?;
        let reason_start = end.saturating_sub(reason.len());
        if let Some(at) = bytes::value_fault(reason) {
            return Err(Reject::bad("control byte in the reason", reason_start.saturating_add(at)));
        }
        self.reason = Span::new(reason_start, end);
        Ok(())
    }

    /// The rules that need the whole head.
    fn judge(&mut self, request: RequestKind) -> Result<(), Reject> {
        if self.head.has(Known::Connection) {
            self.options = Options::read(&mut self.head)?;
        }
        if self.status == 101
            && (request != RequestKind::Upgrade || !self.options.upgrade || !self.head.has(Known::Upgrade))
        {
            return Err(Reject::bad("101 that nobody asked for", 9));
        }
        let declared = Framing::declared(&self.head, self.version)?;
        let is_bodyless = matches!(self.status, 100..=199 | 204)
            || (request == RequestKind::Connect && matches!(self.status, 200..=299));
        self.framing = if is_bodyless || self.status == 304 || request == RequestKind::Head {
            Framing::None
        } else {
            declared.unwrap_or(Framing::UntilClose)
        };
        if is_bodyless && declared.is_some() {
            self.is_doubtful = declared != Some(Framing::Length(0));
            self.drop_length();
        }
        Ok(())
    }

    /// RFC 9110 §8.6: no `Content-Length` in 1xx, 204, or 2xx to CONNECT.
    fn drop_length(&mut self) {
        let (_, lines) = self.head.lines_mut();
        for line in lines.iter_mut().filter(|line| line.known == Known::ContentLength) {
            line.hop_by_hop = true;
        }
    }
}

/// Refuses what does not begin like HTTP/1 at its first wrong byte, so that garbage is not waited for.
fn check_start(bytes: &[u8]) -> Result<(), Reject> {
    match b"HTTP/".iter().zip(bytes).position(|(expected, byte)| expected != byte) {
        Some(at) => Err(Reject::bad("answer is not HTTP", at)),
        None => Ok(()),
    }
}

fn read_status(digits: [u8; 3]) -> Option<u16> {
    let [hundreds @ b'1'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = digits else {
        return None;
    };
    let digit = |byte: u8| u16::from(byte & 15);
    Some(
        digit(hundreds)
            .wrapping_mul(100)
            .wrapping_add(digit(tens).wrapping_mul(10))
            .wrapping_add(digit(ones)),
    )
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
