//! A second reading of the RFCs, to compare with: slow, whole input at once, allocating, and sharing no code with the
//! codec but its result types. When the two disagree one of them is wrong.

use super::super::{Framing, RequestKind};
use super::Facts;

#[derive(Debug)]
pub(crate) enum Verdict {
    Incomplete,
    Refused,
    Accepted(Facts),
}

#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) payload: Vec<u8>,
    pub(super) trailers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) used: usize,
}

type Headers = Vec<(Vec<u8>, Vec<u8>)>;

const LINE_MAX: usize = 8192;
const HEAD_MAX: usize = 65536;
const LINES_MAX: usize = 128;

pub(crate) fn request(input: &[u8]) -> Verdict {
    let mut skipped = 0;
    while input[skipped..].starts_with(b"\r\n") {
        skipped += 2;
    }
    if skipped > 8 {
        return Verdict::Refused;
    }
    let Some(length) = find(&input[skipped..], b"\r\n\r\n") else {
        return Verdict::Incomplete;
    };
    let end = skipped + length + 4;
    match accept_request(&input[skipped..skipped + length]) {
        Some(facts) if end <= HEAD_MAX => {
            // The slash that an absolute target lacked was added.
            let added = facts.start.iter().map(Vec::len).sum::<usize>() + 2
                - find(&input[skipped..], b"\r\n").unwrap();
            Verdict::Accepted(Facts { end: end + added, ..facts })
        }
        _ => Verdict::Refused,
    }
}

pub(crate) fn response(input: &[u8], kind: RequestKind) -> Verdict {
    let Some(length) = find(input, b"\r\n\r\n") else {
        return Verdict::Incomplete;
    };
    match accept_response(&input[..length], kind) {
        Some(facts) if length + 4 <= HEAD_MAX => Verdict::Accepted(Facts { end: length + 4, ..facts }),
        _ => Verdict::Refused,
    }
}

/// Decodes a chunked body that is complete; `canonical`: nothing that a plain sender would not write.
pub(super) fn chunked(input: &[u8], canonical: bool) -> Option<Decoded> {
    let mut decoded = Decoded { payload: Vec::new(), trailers: Vec::new(), used: 0 };
    loop {
        let line = line_of(input, &mut decoded.used)?;
        let (digits, extension) = match line.iter().position(|byte| b" \t;".contains(byte)) {
            Some(at) => line.split_at(at),
            None => (line, &b""[..]),
        };
        let text = std::str::from_utf8(digits).ok()?;
        if text.is_empty() || text.len() > 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        if line.len() >= 1024 || !extensions_are_sound(extension) {
            return None;
        }
        if canonical && (!extension.is_empty() || (text.len() > 1 && text.starts_with('0'))) {
            return None;
        }
        let size = usize::try_from(i64::from_str_radix(text, 16).ok()?).ok()?;
        if size == 0 {
            break;
        }
        decoded.payload.extend_from_slice(input.get(decoded.used..decoded.used.checked_add(size)?)?);
        decoded.used += size;
        if !line_of(input, &mut decoded.used)?.is_empty() {
            return None;
        }
    }
    let start = decoded.used;
    loop {
        let line = line_of(input, &mut decoded.used)?;
        if decoded.used - start > 8192 {
            return None;
        }
        if line.is_empty() {
            return Some(decoded);
        }
        let (name, value) = header(line)?;
        if decoded.trailers.len() == 32 || is_steering(&name) {
            return None;
        }
        decoded.trailers.push((name, value));
    }
}

fn accept_request(head: &[u8]) -> Option<Facts> {
    let lines = lines(head)?;
    let (first, rest) = lines.split_first()?;
    let words: Vec<&[u8]> = first.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return None };
    let version = version_of(version)?;
    if !token(method) || method.len() > 32 || first.len() > LINE_MAX || rest.len() > LINES_MAX {
        return None;
    }
    let headers = headers(rest)?;
    let (target, authority_in_target) = target_of(method, target)?;
    let hosts = values(&headers, "host");
    match hosts[..] {
        [host] if is_authority(host, false) => {}
        [] if version == "HTTP/1.0" => {}
        _ => return None,
    }
    if values(&headers, "content-type").len() > 1 {
        return None;
    }
    if !values(&headers, "expect").iter().all(|value| lower(value) == "100-continue") {
        return None;
    }
    let framing = declared(&headers, version)?.unwrap_or(Framing::None);
    if [&b"CONNECT"[..], b"TRACE"].contains(&method) && !matches!(framing, Framing::None | Framing::Length(0))
    {
        return None;
    }
    let options = options(&headers)?;
    let wanted = if version == "HTTP/1.1" {
        true
    } else {
        options.contains(&"keep-alive".into()) && !authority_in_target
    };
    Some(Facts {
        start: vec![method.to_vec(), target, version.as_bytes().to_vec()],
        headers,
        framing,
        keep_alive: wanted && !options.contains(&"close".into()),
        end: 0,
    })
}

fn accept_response(head: &[u8], kind: RequestKind) -> Option<Facts> {
    let lines = lines(head)?;
    let (first, rest) = lines.split_first()?;
    let version = version_of(first.get(..8)?)?;
    let status = first.get(8..12)?.strip_prefix(b" ")?;
    let reason = match &first[12..] {
        [] => &b""[..],
        [b' ', reason @ ..] => reason,
        _ => return None,
    };
    let code: u16 = std::str::from_utf8(status).ok()?.parse().ok()?;
    if !status.iter().all(u8::is_ascii_digit) || !(100..600).contains(&code) || !text(reason) {
        return None;
    }
    if first.len() > LINE_MAX || rest.len() > LINES_MAX {
        return None;
    }
    let headers = headers(rest)?;
    let options = options(&headers)?;
    let upgrades = options.contains(&"upgrade".into()) && !values(&headers, "upgrade").is_empty();
    if code == 101 && !(kind == RequestKind::Upgrade && upgrades) {
        return None;
    }
    let declared = declared(&headers, version)?;
    let never = code < 200 || code == 204 || (kind == RequestKind::Connect && code < 300);
    let framing = match declared {
        _ if never || code == 304 || kind == RequestKind::Head => Framing::None,
        Some(framing) => framing,
        None => Framing::UntilClose,
    };
    let doubtful = never && declared.is_some_and(|framing| framing != Framing::Length(0));
    let wanted = version == "HTTP/1.1" || options.contains(&"keep-alive".into());
    let closes =
        options.contains(&"close".into()) || framing == Framing::UntilClose || doubtful || code == 101;
    Some(Facts {
        start: vec![version.as_bytes().to_vec(), status.to_vec(), reason.to_vec()],
        headers,
        framing,
        keep_alive: wanted && !closes,
        end: 0,
    })
}

fn find(input: &[u8], what: &[u8]) -> Option<usize> {
    input.windows(what.len()).position(|window| window == what)
}

fn line_of<'i>(input: &'i [u8], used: &mut usize) -> Option<&'i [u8]> {
    let rest = &input[*used..];
    let length = rest.iter().position(|byte| *byte == b'\n')?;
    *used += length + 1;
    rest[..length].strip_suffix(b"\r")
}

/// Lines between CRLFs; a CR or LF anywhere else spoils all.
fn lines(head: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    for line in head.split(|byte| *byte == b'\n') {
        lines.push(line);
    }
    let last = lines.pop()?;
    let mut stripped = Vec::new();
    for line in lines {
        stripped.push(line.strip_suffix(b"\r")?);
    }
    stripped.push(last);
    stripped.iter().all(|line| !line.contains(&b'\r')).then_some(stripped)
}

fn token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn text(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'\t' || (*byte >= 32 && *byte != 127))
}

fn lower(value: &[u8]) -> String {
    value.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

fn version_of(version: &[u8]) -> Option<&'static str> {
    match version.strip_prefix(b"HTTP/1.")? {
        [b'0'] => Some("HTTP/1.0"),
        [b'1'..=b'9'] => Some("HTTP/1.1"),
        _ => None,
    }
}

fn header(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let value = &value[value.iter().take_while(|byte| b" \t".contains(byte)).count()..];
    let value = &value[..value.len() - value.iter().rev().take_while(|byte| b" \t".contains(byte)).count()];
    let name_lower = lower(name);
    let dashed = name_lower.replace('_', "-");
    let is_disguised =
        name_lower != dashed && ["content-length", "transfer-encoding"].contains(&dashed.as_str());
    (token(name) && text(value) && !is_disguised).then(|| (name.to_vec(), value.to_vec()))
}

fn headers(lines: &[&[u8]]) -> Option<Headers> {
    lines.iter().map(|line| header(line)).collect()
}

fn values<'h>(headers: &'h Headers, name: &str) -> Vec<&'h [u8]> {
    headers.iter().filter(|(other, _)| lower(other) == name).map(|(_, value)| value.as_slice()).collect()
}

fn elements(headers: &Headers, name: &str) -> Vec<String> {
    let joined = values(headers, name).iter().map(|value| lower(value)).collect::<Vec<_>>().join(",");
    joined.split(',').map(|element| element.trim_matches([' ', '\t']).to_owned()).collect()
}

fn options(headers: &Headers) -> Option<Vec<String>> {
    let options: Vec<String> =
        elements(headers, "connection").into_iter().filter(|option| !option.is_empty()).collect();
    (options.len() <= 32 && options.iter().all(|option| option.is_ascii() && token(option.as_bytes())))
        .then_some(options)
}

fn declared(headers: &Headers, version: &str) -> Option<Option<Framing>> {
    let (lengths, codings) = (values(headers, "content-length"), values(headers, "transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) => Some(None),
        ([length], []) => {
            let length = std::str::from_utf8(length).ok()?;
            let number: i64 = length.parse().ok()?;
            (number >= 0 && number.to_string() == length)
                .then_some(Some(Framing::Length(number.unsigned_abs())))
        }
        ([], _) if version == "HTTP/1.1" => {
            (elements(headers, "transfer-encoding") == ["chunked"]).then_some(Some(Framing::Chunked))
        }
        _ => None,
    }
}

/// The target as it is to be understood, and whether it is not in origin form.
fn target_of(method: &[u8], target: &[u8]) -> Option<(Vec<u8>, bool)> {
    if method == b"CONNECT" {
        return is_authority(target, true).then(|| (target.to_vec(), true));
    }
    if target.starts_with(b"/") {
        return is_path_and_query(target).then(|| (target.to_vec(), false));
    }
    if target == b"*" {
        return (method == b"OPTIONS").then(|| (target.to_vec(), true));
    }
    let text = String::from_utf8(target.to_vec()).ok()?;
    let (scheme, rest) = text.split_once("://")?;
    if !["http", "https"].contains(&scheme.to_lowercase().as_str()) {
        return None;
    }
    let path_start = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_start);
    if !is_authority(authority.as_bytes(), false) {
        return None;
    }
    let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
    (path.is_empty() || is_path_and_query(path.as_bytes()))
        .then(|| (format!("{scheme}://{authority}{path}").into_bytes(), true))
}

fn is_path_and_query(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let visible = |text: &str, not: &str| text.chars().all(|c| ('!'..='~').contains(&c) && !not.contains(c));
    let mut escapes = path.split('%').skip(1);
    let sound = |escape: &str| match escape.get(..2).map(|digits| (digits, u8::from_str_radix(digits, 16))) {
        Some((digits, Ok(byte))) => !digits.starts_with('+') && ![0, 10, 13].contains(&byte),
        _ => false,
    };
    visible(path, "\"<>\\#{}^`") && visible(query, "\"<>\\#") && escapes.all(sound)
}

fn is_authority(text: &[u8], needs_port: bool) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let (host, port) = match text.rfind(':').filter(|at| !text[*at..].contains(']')) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let port_is_sound = match port {
        Some(port) => {
            port.len() <= 5 && !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        None => !needs_port,
    };
    let host_is_sound = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._~!$&'()*+;=".contains(c))
        }
    };
    port_is_sound && host_is_sound
}

/// Eats `*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )` from the front until nothing is left.
fn extensions_are_sound(mut rest: &[u8]) -> bool {
    fn blanks(text: &[u8]) -> &[u8] {
        &text[text.iter().take_while(|byte| b" \t".contains(byte)).count()..]
    }
    fn word(text: &[u8]) -> Option<&[u8]> {
        let length = text.iter().take_while(|byte| token(&[**byte])).count();
        (length > 0).then(|| &text[length..])
    }
    fn quoted(text: &[u8]) -> Option<&[u8]> {
        let mut rest = text.strip_prefix(b"\"")?;
        loop {
            rest = match rest {
                [b'"', rest @ ..] => return Some(rest),
                [b'\\', escaped, rest @ ..] if self::text(&[*escaped]) => rest,
                [b'\\', ..] | [] => return None,
                [byte, rest @ ..] if self::text(&[*byte]) => rest,
                _ => return None,
            };
        }
    }
    while !rest.is_empty() {
        let Some(behind) = blanks(rest).strip_prefix(b";").and_then(|rest| word(blanks(rest))) else {
            return false;
        };
        rest = behind;
        if let Some(value) = blanks(rest).strip_prefix(b"=") {
            let value = blanks(value);
            let Some(behind) = word(value).or_else(|| quoted(value)) else { return false };
            rest = behind;
        }
    }
    true
}

fn is_steering(name: &[u8]) -> bool {
    const NAMES: &str = "accept accept-encoding age authorization cache-control connection content-encoding \
        content-length content-location content-range content-type cookie date expect expires forwarded host \
        http2-settings if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive location \
        max-forwards origin pragma proxy-authenticate proxy-authorization proxy-connection range referer retry-after \
        set-cookie te trailer transfer-encoding upgrade upgrade-insecure-requests user-agent vary via warning \
        www-authenticate x-cse-context x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto \
        x-http-method-override x-original-url x-rewrite-url";
    let name = lower(name);
    NAMES.split_whitespace().any(|other| other == name)
}
