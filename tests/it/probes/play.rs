//! Plays bytes on a connection and reads what comes back, strictly and without repairing anything.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::recorder::BYSTANDER;
use crate::support::client::{Client, find, is_reset};
use crate::support::wait::PATIENCE;

/// Nothing for so long is silence, where a case allows for it, if others are answered in the meantime. Where an answer must
/// come, it is waited for.
const SILENCE: Duration = Duration::from_millis(400);
/// Requests of others that are answered before silence is believed in.
const OTHERS: usize = 3;

/// What a peer did with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Played {
    /// Its answers in order.
    pub(crate) answers: Vec<Answer>,
    /// How it left the connection.
    pub(crate) state: State,
    /// What came and is no answer, or no whole one.
    pub(crate) stray: Vec<u8>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// How a connection was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    ClosedByServer,
    TimedOut,
}

impl Answer {
    /// First value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// It is the last on its connection.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|options| options.to_ascii_lowercase().contains("close"))
    }
}

/// Sends each step once the one before is answered, then ends our side and reads to the end, so that an answer too
/// many is seen without waiting for it. With `may_be_silent`, silence in place of an answer is an outcome.
pub(crate) fn play(address: SocketAddr, steps: &[Vec<u8>], may_be_silent: bool) -> Played {
    let methods: Vec<&[u8]> = steps.iter().map(|step| method(step)).collect();
    let mut peer = Peer::connect(address);
    for count in 1..=steps.len() {
        peer.send(&steps[count - 1]);
        let enough = |raw: &[u8], ended| ended || parse(raw, &methods, ended).0.len() >= count;
        let silent = if may_be_silent { peer.is_silent(enough) } else { !peer.read_until(PATIENCE, enough) };
        if silent || peer.ended {
            let (answers, stray) = peer.answers(&methods);
            let state = if silent { State::TimedOut } else { State::ClosedByServer };
            return Played { answers, state, stray };
        }
    }
    let (answers, _) = peer.answers(&methods);
    let closes = answers.last().is_some_and(Answer::closes);
    if !closes {
        peer.finish();
    }
    peer.read_until(PATIENCE, |_, ended| ended);
    let (answers, stray) = peer.answers(&methods);
    Played { answers, state: if closes { State::ClosedByServer } else { State::Open }, stray }
}

/// Sends everything at once and reads what comes until the peer closes, or is silent: then it waits for more, and our
/// side is ended.
pub(crate) fn play_silently(address: SocketAddr, input: &[u8]) -> Played {
    let mut peer = Peer::connect(address);
    peer.send(input);
    let closes = !peer.is_silent(|_, ended| ended);
    if !closes {
        peer.finish();
        peer.read_until(PATIENCE, |_, ended| ended);
    }
    let (answers, stray) = peer.answers(&[method(input)]);
    Played { answers, state: if closes { State::ClosedByServer } else { State::TimedOut }, stray }
}

struct Peer {
    address: SocketAddr,
    stream: TcpStream,
    raw: Vec<u8>,
    ended: bool,
}

impl Peer {
    fn connect(address: SocketAddr) -> Self {
        let stream =
            TcpStream::connect(address).unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"));
        stream.set_nodelay(true).unwrap();
        Self { address, stream, raw: Vec::new(), ended: false }
    }

    /// A peer that takes no more has said why, or closed: both are read.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads until `enough`; true if there is silence instead. A busy machine is no reason for it: others have to be answered
    /// that ask later.
    fn is_silent(&mut self, enough: impl Fn(&[u8], bool) -> bool) -> bool {
        if self.read_until(SILENCE, &enough) {
            return false;
        }
        for _ in 0..OTHERS {
            let ask = format!("GET http://localhost{BYSTANDER} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(Client::connect(self.address).ask(ask).status, 200, "nobody is answered any more");
        }
        !self.read_until(Duration::ZERO, enough)
    }

    /// Reads until `enough`; false if that is not within `patience`.
    fn read_until(&mut self, patience: Duration, enough: impl Fn(&[u8], bool) -> bool) -> bool {
        let end = Instant::now() + patience;
        let mut scratch = [0; 16 * 1024];
        while !enough(&self.raw, self.ended) {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut scratch) {
                Ok(0) => self.ended = true,
                Ok(read) => self.raw.extend_from_slice(&scratch[..read]),
                Err(e) if is_reset(&e) => self.ended = true,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
                Err(e) => panic!("cannot read: {e}"),
            }
        }
        true
    }

    fn answers(&self, methods: &[&[u8]]) -> (Vec<Answer>, Vec<u8>) {
        let (answers, used) = parse(&self.raw, methods, self.ended);
        (answers, self.raw[used..].to_vec())
    }
}

fn method(step: &[u8]) -> &[u8] {
    let start = step.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(0);
    let end = step[start..].iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(0);
    &step[start..start + end]
}

/// The whole answers in `raw`, and how many bytes they are. Answers beyond the methods are to something that nobody
/// asked for, and read as that to a GET.
fn parse(raw: &[u8], methods: &[&[u8]], ended: bool) -> (Vec<Answer>, usize) {
    let (mut answers, mut used) = (Vec::<Answer>::new(), 0);
    loop {
        let finals = answers.iter().filter(|answer| answer.status >= 200).count();
        let is_head = methods.get(finals) == Some(&b"HEAD".as_slice());
        let Some((answer, length)) = parse_one(&raw[used..], is_head, ended) else { return (answers, used) };
        answers.push(answer);
        used += length;
    }
}

fn parse_one(raw: &[u8], is_head: bool, ended: bool) -> Option<(Answer, usize)> {
    let end = find(raw, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&raw[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next()?;
    let status: u16 = status_line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let headers: Option<Vec<(String, String)>> = lines
        .map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    let mut answer = Answer { status, headers: headers?, body: Vec::new() };
    let behind = &raw[end + 4..];
    if is_head || status < 200 || matches!(status, 204 | 304) {
        return Some((answer, end + 4));
    }
    let length = match (answer.header("content-length"), answer.header("transfer-encoding")) {
        (Some(length), None) => {
            let length = length.parse().ok()?;
            answer.body = behind.get(..length)?.to_vec();
            length
        }
        (None, Some("chunked")) => {
            let (body, length) = dechunked(behind)?;
            answer.body = body;
            length
        }
        (None, None) if ended => {
            answer.body = behind.to_vec();
            behind.len()
        }
        _ => return None,
    };
    Some((answer, end + 4 + length))
}

fn dechunked(raw: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = find(&raw[at..], b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&raw[at..at + line]).ok()?, 16).ok()?;
        at += line + 2;
        if size == 0 {
            let trailers = find(&raw[at - 2..], b"\r\n\r\n")?;
            return Some((body, at - 2 + trailers + 4));
        }
        body.extend_from_slice(raw.get(at..at + size)?);
        if raw.get(at + size..at + size + 2)? != b"\r\n" {
            return None;
        }
        at += size + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_and_what_is_none_is_stray() {
        let raw =
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 400 Bad\r\nContent-Length: 9\r\n\r\nx";
        let (answers, used) = parse(raw, &[b"POST"], true);
        assert_eq!((answers.len(), answers[0].body.as_slice()), (1, &b"abc"[..]));
        assert!(raw[used..].starts_with(b"HTTP/1.1 400"));
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(parse(head, &[b"HEAD"], true).0.len(), 1);
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: v\r\n\r\n";
        assert_eq!(parse(chunked, &[], false), (parse(chunked, &[], true).0, chunked.len()));
        assert_eq!(method(b"\r\nget / HTTP/1.1"), b"get");
    }
}
