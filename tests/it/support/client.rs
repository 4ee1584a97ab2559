//! A raw HTTP/1.1 client: sends the bytes it is given and reads one response at a time, strictly.
//!
//! Strictly means: a response that breaks RFC 9112 framing, or ends early, panics with what was received. Nothing
//! is repaired and no header is added, so a test sees exactly what came.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::wait::PATIENCE;

/// Longest head that is read; a test server never sends more on purpose.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    /// Bytes received and not yet used.
    buffer: Vec<u8>,
    deadline: Duration,
}

/// A response as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub(crate) version: String,
    /// Status code.
    pub(crate) status: u16,
    /// Reason phrase, may be empty.
    pub(crate) reason: String,
    /// Headers in order, doubles kept.
    pub(crate) headers: Vec<(String, String)>,
    /// Body without its framing.
    pub(crate) body: Vec<u8>,
    /// Trailers of a chunked body.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Response {
    /// First value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of a header, in order.
    pub(crate) fn header_all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("body is no text")
    }
}

impl Client {
    /// Connects; panics when that fails.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"))
    }

    /// Connects, or says why not.
    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        Ok(Self::over(stream))
    }

    /// Speaks over a connection that is there already, from either side of it.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("not a TCP connection");
        Self { stream, buffer: Vec::new(), deadline: PATIENCE }
    }

    /// Sets how long one read of a response may take.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Our own address.
    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("peer took no more bytes");
    }

    /// Sends bytes; says when the peer takes no more.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Has the connection end with a reset when it is dropped.
    pub(crate) fn reset_on_drop(&self) {
        super::server::reset_at_end(&self.stream).expect("cannot set a socket option");
    }

    /// The connection itself, for what this client has no words for.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Ends our side of the connection.
    pub(crate) fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads the response to a request of this method (HEAD has no body).
    #[track_caller]
    pub(crate) fn read_response_to(&mut self, method: &str) -> Response {
        self.try_read_response_to(method)
            .unwrap_or_else(|e| panic!("{e}; received {:?}", lossy(&self.buffer)))
    }

    /// Reads the response to a request that is no HEAD.
    #[track_caller]
    pub(crate) fn read_response(&mut self) -> Response {
        self.read_response_to("GET")
    }

    /// Reads a response, or says what is wrong with it.
    pub(crate) fn try_read_response_to(&mut self, method: &str) -> Result<Response, String> {
        let end = Instant::now() + self.deadline;
        let mut response = self.read_head(end)?;
        if method == "HEAD" || response.status < 200 || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        self.read_body(&mut response, end)?;
        Ok(response)
    }

    /// Sends a GET of `target` with this Host and reads the response; the connection stays open.
    #[track_caller]
    pub(crate) fn get(&mut self, host: &str, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.read_response()
    }

    /// Sends a request as it is and reads the response to it.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(&request);
        let method = request.as_ref().split(|byte| *byte == b' ').next().unwrap_or_default();
        self.read_response_to(&lossy(method))
    }

    /// Reads the head of a request or response, blank line included.
    #[track_caller]
    pub(crate) fn read_head_text(&mut self) -> String {
        lossy(&self.read_through(b"\r\n\r\n"))
    }

    /// Has the peer ended the connection, in order or not, with nothing left to read. Waits for it.
    #[track_caller]
    pub(crate) fn is_ended(&mut self) -> bool {
        self.read_to_end().is_empty()
    }

    /// Reads at least one byte of what comes next, whatever it is; empty at the end of the stream.
    #[track_caller]
    pub(crate) fn read_some(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.fill(Instant::now() + self.deadline).expect("nothing came");
        }
        std::mem::take(&mut self.buffer)
    }

    /// Takes what was read from the connection beyond what was asked for.
    pub(crate) fn read_buffered(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Reads up to and including `mark`.
    #[track_caller]
    pub(crate) fn read_through(&mut self, mark: &[u8]) -> Vec<u8> {
        let end = Instant::now() + self.deadline;
        loop {
            if let Some(at) = find(&self.buffer, mark) {
                return self.buffer.drain(..at + mark.len()).collect();
            }
            match self.fill(end) {
                Ok(0) => panic!("stream ended before {:?}: {:?}", lossy(mark), lossy(&self.buffer)),
                Ok(_) => {}
                Err(e) => panic!("{e} before {:?}: {:?}", lossy(mark), lossy(&self.buffer)),
            }
        }
    }

    /// Reads to the end of the stream. A reset counts as the end.
    #[track_caller]
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let end = Instant::now() + self.deadline;
        loop {
            match self.fill(end) {
                Ok(0) => return std::mem::take(&mut self.buffer),
                Ok(_) => {}
                Err(e) if is_reset(&e) => return std::mem::take(&mut self.buffer),
                Err(e) => panic!("{e} before the end of the stream: {:?}", lossy(&self.buffer)),
            }
        }
    }

    fn read_head(&mut self, end: Instant) -> Result<Response, String> {
        let length = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err("head has no end".into());
            }
            if self.fill(end).map_err(|e| format!("no response head: {e}"))? == 0 {
                return Err("stream ended before a response head".into());
            }
        };
        let head: Vec<u8> = self.buffer.drain(..length + 4).collect();
        let head = std::str::from_utf8(&head[..length]).map_err(|_| "head is no text".to_owned())?;
        parse_head(head)
    }

    fn read_body(&mut self, response: &mut Response, end: Instant) -> Result<(), String> {
        let codings = response.header_all("transfer-encoding").join(",");
        let lengths = response.header_all("content-length");
        match (codings.as_str(), lengths.as_slice()) {
            ("", []) => self.read_close_delimited(response, end),
            ("", [length]) => {
                let length = length.parse().map_err(|_| format!("bad content-length {length:?}"))?;
                response.body = self.take(length, end)?;
                Ok(())
            }
            (coding, []) if coding.eq_ignore_ascii_case("chunked") => self.read_chunks(response, end),
            _ => Err(format!("bad framing: transfer-encoding {codings:?}, content-length {lengths:?}")),
        }
    }

    fn read_close_delimited(&mut self, response: &mut Response, end: Instant) -> Result<(), String> {
        while self.fill(end).map_err(|e| format!("body without an end: {e}"))? > 0 {}
        response.body = std::mem::take(&mut self.buffer);
        Ok(())
    }

    fn read_chunks(&mut self, response: &mut Response, end: Instant) -> Result<(), String> {
        loop {
            let line = self.take_line(end)?;
            let digits = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(digits, 16).map_err(|_| format!("bad chunk size {line:?}"))?;
            if size == 0 {
                break;
            }
            response.body.extend(self.take(size, end)?);
            if self.take(2, end)? != b"\r\n" {
                return Err("chunk does not end with CRLF".into());
            }
        }
        loop {
            match self.take_line(end)?.as_str() {
                "" => return Ok(()),
                line => response.trailers.push(parse_header(line)?),
            }
        }
    }

    fn take_line(&mut self, end: Instant) -> Result<String, String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return String::from_utf8(line[..at].to_vec()).map_err(|_| "line is no text".into());
            }
            self.fill_or_end(end)?;
        }
    }

    fn take(&mut self, length: usize, end: Instant) -> Result<Vec<u8>, String> {
        while self.buffer.len() < length {
            self.fill_or_end(end)?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn fill_or_end(&mut self, end: Instant) -> Result<(), String> {
        match self.fill(end) {
            Ok(0) => Err("stream ended inside the body".into()),
            Ok(_) => Ok(()),
            Err(e) => Err(format!("body incomplete: {e}")),
        }
    }

    /// Reads once; 0 at the end of the stream.
    fn fill(&mut self, end: Instant) -> std::io::Result<usize> {
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        let Some(left) = left else { return Err(ErrorKind::TimedOut.into()) };
        self.stream.set_read_timeout(Some(left))?;
        let mut scratch = [0; 16 * 1024];
        let read = self.stream.read(&mut scratch)?;
        self.buffer.extend_from_slice(&scratch[..read]);
        Ok(read)
    }
}

/// Did the peer end the connection the hard way.
pub(crate) fn is_reset(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe)
}

fn parse_head(head: &str) -> Result<Response, String> {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let bad = || format!("bad status line {first:?}");
    let (version, rest) = first.split_once(' ').ok_or_else(bad)?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || status.len() != 3 {
        return Err(bad());
    }
    let status = status.parse().map_err(|_| bad())?;
    let headers = lines.map(parse_header).collect::<Result<_, _>>()?;
    let (version, reason) = (version.to_owned(), reason.to_owned());
    Ok(Response { version, status, reason, headers, body: Vec::new(), trailers: Vec::new() })
}

fn parse_header(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("bad header line {line:?}"))?;
    if name.is_empty() || name.contains([' ', '\t']) {
        return Err(format!("bad header name {name:?}"));
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

/// Where `needle` starts in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Feeds `bytes` to a client and closes.
    fn fed(bytes: &'static [u8]) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::connect(listener.local_addr().unwrap());
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(bytes).unwrap();
        client
    }

    #[test]
    fn one_response_is_read_and_the_next_stays() {
        let mut client =
            fed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(client.read_response().body, b"hi");
        assert_eq!(client.read_response().status, 204);
    }

    #[test]
    fn chunks_and_trailers_are_put_together() {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nt: v\r\n\r\n";
        let response = fed(head).read_response();
        assert_eq!(response.text(), "abcd");
        assert_eq!(response.trailers, [("t".to_owned(), "v".to_owned())]);
    }

    #[test]
    fn wrong_framing_and_early_ends_are_errors() {
        let short: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi";
        let both: &[u8] =
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        let size: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
        for bytes in [short, both, size, b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 200 OK\r\n"] {
            fed(bytes).try_read_response_to("GET").unwrap_err();
        }
    }
}
