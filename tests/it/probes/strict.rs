//! Reads forwarded requests as the strictest recipient would: the grammar of a sender (RFC 9112, RFC 9110) and nothing
//! else. Shares no line with the codec, which it judges.

use std::io::{BufRead, ErrorKind};

/// Longest line that is read.
const LINE_BYTES_MAX: usize = 128 * 1024;
/// Body bytes kept; what comes beyond is read and thrown away.
const BODY_BYTES_KEPT: u64 = 1024 * 1024;

/// A request that broke no rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Strict {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// Why no request was read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The sender closed between two requests.
    End,
    /// The sender closed within a request that broke no rule so far.
    Unfinished,
    /// The sender broke a rule.
    Broken(String),
}

type Read<T> = Result<T, Unread>;

/// Reads one request.
pub(crate) fn read(reader: &mut impl BufRead) -> Read<Strict> {
    let mut request = Strict::default();
    let line = match line(reader) {
        Err(Unread::Unfinished) => return Err(Unread::End),
        line => line?,
    };
    request_line(&line, &mut request)?;
    loop {
        let line = self::line(reader)?;
        if line.is_empty() {
            break;
        }
        request.headers.push(field(&line)?);
    }
    check_head(&request)?;
    read_body(reader, &mut request)?;
    Ok(request)
}

impl Strict {
    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice()).collect()
    }
}

fn broken<T>(what: &str, bytes: &[u8]) -> Read<T> {
    Err(Unread::Broken(format!("{what}: {:?}", String::from_utf8_lossy(bytes))))
}

/// A line without its CRLF.
fn line(reader: &mut impl BufRead) -> Read<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        read_exactly(reader, &mut byte)?;
        line.push(byte[0]);
        match line.as_slice() {
            [before @ .., b'\r', b'\n'] => return Ok(before.to_vec()),
            [.., b'\n'] => return broken("line feed without carriage return", &line),
            [.., b'\r', _] => return broken("carriage return without line feed", &line),
            _ if line.len() > LINE_BYTES_MAX => return broken("endless line", &line[..100]),
            _ => {}
        }
    }
}

fn read_exactly(reader: &mut impl BufRead, bytes: &mut [u8]) -> Read<()> {
    match reader.read_exact(bytes) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::Interrupted => unreachable!("read_exact goes on"),
        Err(_) => Err(Unread::Unfinished),
    }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

fn request_line(line: &[u8], request: &mut Strict) -> Read<()> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = words[..] else { return broken("request line", line) };
    if !is_token(method) {
        return broken("method", method);
    }
    let is_asterisk = method == b"OPTIONS" && target == b"*";
    if !is_asterisk && !is_origin_form(target) {
        return broken("target", target);
    }
    request.method = String::from_utf8_lossy(method).into_owned();
    request.target = String::from_utf8_lossy(target).into_owned();
    Ok(())
}

/// `absolute-path [ "?" query ]` of RFC 3986, and the signs that browsers send as they are: `[ ] |` anywhere, braces,
/// caret, grave accent and a lone percent sign in the query.
fn is_origin_form(target: &[u8]) -> bool {
    let at = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(at);
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/[]|".contains(b);
    let path_is_sound = path.first() == Some(&b'/')
        && path.iter().enumerate().all(|(at, byte)| match byte {
            b'%' => path.len() > at + 2 && path[at + 1..at + 3].iter().all(u8::is_ascii_hexdigit),
            byte => is_plain(byte),
        });
    path_is_sound && query.iter().all(|b| is_plain(b) || b"?%{}^`".contains(b))
}

fn field(line: &[u8]) -> Read<(String, Vec<u8>)> {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return broken("no colon", line) };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) {
        return broken("field name", line);
    }
    let is_sound = |b: &u8| *b == b'\t' || *b == b' ' || (0x21..=0x7e).contains(b) || *b >= 0x80;
    if !value.iter().all(is_sound) {
        return broken("field value", line);
    }
    Ok((String::from_utf8_lossy(name).into_owned(), value.trim_ascii().to_vec()))
}

fn check_head(request: &Strict) -> Read<()> {
    match request.all("host")[..] {
        [host] if is_host(host) => {}
        ref hosts => return broken("host", &hosts.concat()),
    }
    let (lengths, codings) = (request.all("content-length"), request.all("transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) | ([], [b"chunked"]) => {}
        ([length], []) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {}
        _ => return broken("framing", &[lengths, codings].concat().concat()),
    }
    for name in ["keep-alive", "proxy-connection", "proxy-authorization", "te", "http2-settings"] {
        if let [value, ..] = request.all(name)[..] {
            return broken(&format!("hop-by-hop {name}"), value);
        }
    }
    let upgrades = !request.all("upgrade").is_empty();
    for options in request.all("connection") {
        if !(upgrades && options.eq_ignore_ascii_case(b"upgrade")) {
            return broken("connection options", options);
        }
    }
    if upgrades && request.all("connection").is_empty() {
        return broken("upgrade without connection", b"");
    }
    Ok(())
}

/// `uri-host [ ":" port ]`.
fn is_host(host: &[u8]) -> bool {
    let text = String::from_utf8_lossy(host);
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (&*text, None),
    };
    let port_is_sound =
        port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    let name_is_sound = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&b))
        }
    };
    port_is_sound && name_is_sound
}

fn read_body(reader: &mut impl BufRead, request: &mut Strict) -> Read<()> {
    if let [length] = request.all("content-length")[..] {
        let length = std::str::from_utf8(length).ok().and_then(|length| length.parse::<u64>().ok());
        let Some(length) = length else { return broken("content-length", b"too large") };
        return read_data(reader, length, &mut request.body);
    }
    if request.all("transfer-encoding").is_empty() {
        return Ok(());
    }
    loop {
        let line = line(reader)?;
        let size = std::str::from_utf8(&line).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let size = size.and_then(|text| u64::from_str_radix(text, 16).ok());
        let Some(size) = size else { return broken("chunk size", &line) };
        if size == 0 {
            return read_trailers(reader);
        }
        read_data(reader, size, &mut request.body)?;
        match self::line(reader)?.as_slice() {
            b"" => {}
            rest => return broken("chunk longer than its size", rest),
        }
    }
}

fn read_data(reader: &mut impl BufRead, mut left: u64, body: &mut Vec<u8>) -> Read<()> {
    let mut scratch = [0; 4096];
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(scratch.len());
        read_exactly(reader, &mut scratch[..part])?;
        left -= part as u64;
        if (body.len() as u64) < BODY_BYTES_KEPT {
            body.extend_from_slice(&scratch[..part]);
        }
    }
    Ok(())
}

fn read_trailers(reader: &mut impl BufRead) -> Read<()> {
    const STEERING: [&str; 8] = [
        "content-length",
        "transfer-encoding",
        "host",
        "trailer",
        "connection",
        "authorization",
        "cookie",
        "expect",
    ];
    loop {
        let line = line(reader)?;
        if line.is_empty() {
            return Ok(());
        }
        let (name, _) = field(&line)?;
        if STEERING.contains(&name.to_ascii_lowercase().as_str()) {
            return broken("field that must not be a trailer", &line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(request: &str) -> Read<Strict> {
        read(&mut request.as_bytes())
    }

    #[test]
    fn a_sound_request_is_read_whole() {
        let mut bytes: &[u8] = b"POST /a?b HTTP/1.1\r\nHost: h:1\r\nTransfer-Encoding: chunked\r\n\r\n\
            2\r\nhi\r\n0\r\nSum: 1\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let request = read(&mut bytes).unwrap();
        assert_eq!((request.target.as_str(), request.body.as_slice()), ("/a?b", &b"hi"[..]));
        assert_eq!(read(&mut bytes).unwrap().method, "GET");
        assert!(matches!(read(&mut bytes), Err(Unread::End)));
        assert!(matches!(judged("GET / HTTP/1.1\r\nHost"), Err(Unread::Unfinished)));
    }

    #[test]
    fn each_rule_is_held() {
        let head = |lines: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let chunks = |chunks: &str| head("Transfer-Encoding: chunked\r\n") + chunks;
        for bad in [
            "GET /  HTTP/1.1\r\n".to_owned(),
            "GET / HTTP/1.0\r\n".to_owned(),
            "GET http://h/ HTTP/1.1\r\n".to_owned(),
            "GET /\" HTTP/1.1\r\n".to_owned(),
            "GET / HTTP/1.1\n".to_owned(),
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            head("Host: h\r\n"),
            head("Name : v\r\n"),
            head(" folded\r\n"),
            head("Name: a\u{1}\r\n"),
            head("Name: a\rb\r\n"),
            head("Content-Length: 1\r\nContent-Length: 1\r\n"),
            head("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
            head("Content-Length: +1\r\n"),
            head("Transfer-Encoding: chunked, chunked\r\n"),
            head("Connection: close\r\n"),
            head("TE: trailers\r\n"),
            head("Upgrade: x\r\n"),
            chunks("2;x\r\nhi\r\n0\r\n\r\n"),
            chunks("2\r\nhi!\r\n0\r\n\r\n"),
            chunks("0x2\r\nhi\r\n0\r\n\r\n"),
            chunks("0\r\nHost: h\r\n\r\n"),
        ] {
            assert!(matches!(judged(&bad), Err(Unread::Broken(_))), "{bad:?}");
        }
    }
}
