//! Reading HTTP/1.1 requests as a server does, keeping the bytes they came in.

use std::io::{BufRead, BufReader, ErrorKind, Read};

/// Longest request head a test peer reads.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest request body a test peer reads.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Request {
    /// Method, as sent.
    pub(crate) method: String,
    /// Request target, as sent.
    pub(crate) target: String,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub(crate) version: String,
    /// Headers in order, doubles and case kept.
    pub(crate) headers: Vec<(String, String)>,
    /// Body without its framing.
    pub(crate) body: Vec<u8>,
    /// Every byte of the request.
    pub(crate) raw: Vec<u8>,
}

impl Request {
    /// First value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of a header, in order.
    pub(crate) fn header_all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// Does the client mean to send another request.
    pub(crate) fn keeps_alive(&self) -> bool {
        let connection = self.header("connection").unwrap_or_default().to_ascii_lowercase();
        if self.version == "HTTP/1.0" {
            connection.contains("keep-alive")
        } else {
            !connection.contains("close")
        }
    }
}

/// Reads the next request; none at an end of the stream between requests.
pub(crate) fn read_request<R: Read>(reader: &mut BufReader<R>) -> std::io::Result<Option<Request>> {
    let Some(mut request) = read_head(reader)? else { return Ok(None) };
    let chunked =
        request.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    if chunked {
        read_chunks(reader, &mut request)?;
    } else if let Some(length) = request.header("content-length") {
        let length = length.parse().ok().filter(|length| *length <= BODY_BYTES_MAX);
        let length = length.ok_or_else(|| bad("content-length"))?;
        request.body = read_exactly(reader, length, &mut request.raw)?;
    }
    Ok(Some(request))
}

fn read_head<R: Read>(reader: &mut BufReader<R>) -> std::io::Result<Option<Request>> {
    let mut raw = Vec::new();
    loop {
        let before = raw.len();
        if reader.read_until(b'\n', &mut raw)? == 0 {
            return if raw.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
        if raw.len() > HEAD_BYTES_MAX {
            return Err(bad("head too long"));
        }
        if &raw[before..] == b"\r\n" {
            return parse_head(raw).map(Some);
        }
    }
}

fn parse_head(raw: Vec<u8>) -> std::io::Result<Request> {
    let text = std::str::from_utf8(&raw).map_err(|_| bad("head is no text"))?;
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = first[..] else { return Err(bad("request line")) };
    let mut request = Request {
        method: method.into(),
        target: target.into(),
        version: version.into(),
        ..Request::default()
    };
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| bad("header line"))?;
        request.headers.push((name.into(), value.trim().into()));
    }
    request.raw = raw;
    Ok(request)
}

fn read_chunks<R: Read>(reader: &mut BufReader<R>, request: &mut Request) -> std::io::Result<()> {
    loop {
        let line = read_line(reader, &mut request.raw)?;
        let digits = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(digits.trim(), 16).map_err(|_| bad("chunk size"))?;
        if request.body.len().saturating_add(size) > BODY_BYTES_MAX {
            return Err(bad("body too long"));
        }
        if size == 0 {
            while !read_line(reader, &mut request.raw)?.is_empty() {}
            return Ok(());
        }
        let chunk = read_exactly(reader, size, &mut request.raw)?;
        request.body.extend(chunk);
        read_line(reader, &mut request.raw)?;
    }
}

fn read_line<R: Read>(reader: &mut BufReader<R>, raw: &mut Vec<u8>) -> std::io::Result<String> {
    let before = raw.len();
    if reader.read_until(b'\n', raw)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let line = std::str::from_utf8(&raw[before..]).map_err(|_| bad("line is no text"))?;
    Ok(line.trim_end().to_owned())
}

fn read_exactly<R: Read>(reader: &mut R, length: usize, raw: &mut Vec<u8>) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    raw.extend_from_slice(&bytes);
    Ok(bytes)
}

fn bad(what: &str) -> std::io::Error {
    std::io::Error::new(ErrorKind::InvalidData, format!("bad request: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_one_after_the_other_with_their_bytes() {
        let first: &[u8] =
            b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        let second: &[u8] = b"GET http://x/ HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut reader = BufReader::new([first, second].concat().leak() as &[u8]);
        let request = read_request(&mut reader).unwrap().unwrap();
        assert_eq!((request.body.as_slice(), request.raw.as_slice()), (&b"hi"[..], first));
        let request = read_request(&mut reader).unwrap().unwrap();
        assert_eq!((request.target.as_str(), request.raw.as_slice()), ("http://x/", second));
        assert_eq!(read_request(&mut reader).unwrap(), None);
    }

    #[test]
    fn a_request_cut_off_is_an_error() {
        read_request(&mut BufReader::new(&b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nab"[..]))
            .unwrap_err();
        read_request(&mut BufReader::new(&b"GET / HT"[..])).unwrap_err();
    }
}
