//! Requests and answers of the core, and the ways service-center words them.

use serde::Serialize;

/// Bodies longer than this are sent in chunks: what Go's server buffers before it knows the length.
const BUFFERED_BYTES_MAX: usize = 2048;

/// A request as the core takes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// Method.
    pub(crate) method: String,
    /// Path, not decoded; with the `?` of a query that is empty.
    pub(crate) path: String,
    /// Query without `?`, not decoded; empty if there is none.
    pub(crate) query: String,
    /// Headers in order.
    pub(crate) headers: Vec<(String, String)>,
    /// Body.
    pub(crate) body: Vec<u8>,
}

/// An answer, complete with the headers that frame it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    /// Status code.
    pub(crate) status: u16,
    /// Reason phrase.
    pub(crate) reason: &'static str,
    /// Headers in order.
    pub(crate) headers: Vec<(String, String)>,
    /// Body, not chunked.
    pub(crate) body: Vec<u8>,
}

/// A refusal in service-center's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Error {
    pub(super) code: Code,
    pub(super) detail: String,
}

/// Error codes and their texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Code {
    InvalidParameters = 400_001,
    ServiceExists = 400_010,
    NoSuchService = 400_012,
    HasInstances = 400_013,
    NoSuchSchema = 400_016,
    NoSuchInstance = 400_017,
    NoSuchTag = 400_018,
    HasConsumers = 400_023,
    NoSuchVersion = 400_026,
}

/// How far a request came before its answer began; each stage adds headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Go's own router.
    Router,
    /// The check of the target; the answer begins without a type, which Go adds last.
    Access,
    /// A handler.
    Handler,
}

/// What an answer is made of, before framing.
pub(super) struct Reply {
    status: u16,
    stage: Stage,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Request {
    /// First value of a header.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// First value of a query parameter, decoded; a pair that cannot be decoded does not count.
    pub(super) fn parameter(&self, name: &str) -> String {
        let pairs = self.query.split('&').filter(|pair| !pair.contains(';'));
        let mut decoded = pairs.filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((percent_decode(key)?, percent_decode(value)?))
        });
        decoded.find(|(key, _)| key == name).map(|(_, value)| value).unwrap_or_default()
    }
}

impl Response {
    /// First value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("body is no JSON")
    }
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Self::InvalidParameters => "Invalid parameter(s)",
            Self::ServiceExists => "Micro-service already exists",
            Self::NoSuchService => "Micro-service does not exist",
            Self::HasInstances => "Micro-service has deployed instance(s)",
            Self::NoSuchSchema => "Schema does not exist",
            Self::NoSuchInstance => "Instance does not exist",
            Self::NoSuchTag => "Tag does not exist",
            Self::HasConsumers => "Consumer(s) depends on this micro-service",
            Self::NoSuchVersion => "Micro-service version does not exist",
        }
    }
}

impl Error {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameters, detail)
    }

    /// The object that stands for it in a body.
    pub(super) fn json(&self) -> ErrorBody {
        let (code, message) = ((self.code as u32).to_string(), self.code.text());
        ErrorBody { error_code: code, error_message: message, detail: self.detail.clone() }
    }
}

/// One line, as it appears inside other answers.
impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.code.text(), self.detail)
    }
}

/// An error as JSON.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorBody {
    error_code: String,
    error_message: &'static str,
    detail: String,
}

impl Reply {
    /// 200 with an object.
    pub(super) fn json(object: &impl Serialize) -> Self {
        Self { headers: vec![json_type()], body: go_json(object), ..Self::bare(200) }
    }

    /// 200 with an object of one field.
    pub(super) fn named(name: &str, value: &impl Serialize) -> Self {
        Self::json(&std::collections::BTreeMap::from([(name, value)]))
    }

    /// 200 with a list under its name, left out when it is empty.
    pub(super) fn listed(name: &str, list: &[impl Serialize]) -> Self {
        if list.is_empty() { Self::json(&serde_json::Map::new()) } else { Self::named(name, &list) }
    }

    /// 200 without one.
    pub(super) fn empty() -> Self {
        Self::bare(200).header("Content-Type", "text/plain; charset=UTF-8")
    }

    /// A status and nothing else.
    pub(super) fn bare(status: u16) -> Self {
        Self { status, stage: Stage::Handler, headers: Vec::new(), body: Vec::new() }
    }

    /// What Go's own error function writes.
    pub(super) fn plain_error(status: u16, text: &str) -> Self {
        Self::bare(status)
            .body(format!("{text}\n"))
            .header("Content-Type", "text/plain; charset=utf-8")
            .header("X-Content-Type-Options", "nosniff")
    }

    /// Sets how far the request came.
    pub(super) fn stage(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    /// Replaces the body.
    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Puts another answer's start before it: its status, and its text in front of the body.
    pub(super) fn preceded_by(self, status: u16, text: &str) -> Self {
        let body = [text.as_bytes(), &self.body].concat();
        Self::bare(status).body(body).stage(Stage::Access)
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds what every answer carries and frames it, in the order of Go's server: names sorted, then date and length.
    pub(super) fn finish(mut self, date: String, head_only: bool) -> Response {
        let ours = [
            (Stage::Router, "Vary", "Accept-Encoding"),
            (Stage::Access, "Server", "SERVICECENTER/0.0.1"),
            (Stage::Handler, "Vary", "Origin"),
        ];
        let ours = ours.iter().filter(|(stage, ..)| *stage <= self.stage);
        let given = std::mem::take(&mut self.headers);
        self.headers.extend(ours.map(|(_, name, value)| (*name, (*value).to_owned())));
        self.headers.extend(given);
        self.headers.sort_by_key(|(name, _)| *name);
        self.headers.push(("Date", date));
        if self.stage == Stage::Access {
            self.headers.push(("Content-Type", "text/plain; charset=utf-8".into()));
        }
        if self.body.len() > BUFFERED_BYTES_MAX {
            self.headers.push(("Transfer-Encoding", "chunked".into()));
        } else if self.status != 304 {
            self.headers.push(("Content-Length", self.body.len().to_string()));
        }
        let body = if head_only { Vec::new() } else { self.body };
        let headers = self.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Response { status: self.status, reason: reason(self.status), headers, body }
    }
}

impl From<Error> for Reply {
    fn from(error: Error) -> Self {
        let status = u16::try_from(error.code as u32 / 1000).unwrap();
        Self { headers: vec![json_type()], body: go_json(&error.json()), ..Self::bare(status) }
    }
}

fn json_type() -> (&'static str, String) {
    ("Content-Type", "application/json; charset=UTF-8".to_owned())
}

/// JSON as Go writes it: `&`, `<` and `>` are escaped. They occur in strings only, so replacing them is safe.
pub(super) fn go_json(object: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_string(object).expect("cannot be JSON");
    text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e").into_bytes()
}

fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        301 => "Moved Permanently",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        500 => "Internal Server Error",
        _ => "",
    }
}

/// A part of a path, decoded; as it stands when it cannot be.
pub(super) fn path_decode(part: &str) -> String {
    percent_decode(&part.replace('+', "%2B")).unwrap_or_else(|| part.to_owned())
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

/// A date as HTTP writes it (RFC 9110, section 5.6.7), from seconds since 1970.
pub(super) fn http_date(unix_s: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    let (weekday, month) = (DAYS[usize::try_from(days % 7).unwrap()], MONTHS[month]);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT", left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_has_them() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(1_709_208_000), "Thu, 29 Feb 2024 12:00:00 GMT");
    }

    #[test]
    fn parameters_are_decoded_and_bad_ones_skipped() {
        let request = Request { query: "a=1%2B&b=%zz&c=x;d=1&e".into(), ..Request::default() };
        assert_eq!(["a", "b", "c", "d", "e"].map(|name| request.parameter(name)), ["1+", "", "", "", ""]);
    }
}
