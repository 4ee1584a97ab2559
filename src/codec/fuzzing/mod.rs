//! Properties of the codec over arbitrary bytes. Each function panics if its property does not hold.
//!
//! Driven by the fuzz targets in `fuzz/`, by proptest with bytes that are nearly HTTP, and by a test that replays the
//! committed seeds. Not part of the data path, hence free to panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "test support"
)]

mod frames;
mod grpc;
pub(crate) mod naive;
mod prologue;
#[cfg(test)]
pub(crate) mod seeds;
mod sequence;

pub use frames::fuzz_http2_frames;
pub use grpc::{fuzz_grpc_frames, fuzz_grpc_message, fuzz_grpc_timeout};
pub use prologue::fuzz_connect_prologue;
pub use sequence::fuzz_response_sequence;
pub(crate) use sequence::payload_of;

use super::{
    Body, FirstBytes, Forwarded, Framing, Limits, Outgoing, Parse, Reject, RequestHead, RequestKind,
    ResponseHead, Version, write,
};

/// Everything a head says, for comparison.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    /// The words of the first line.
    pub(crate) start: Vec<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    /// Bytes of the head.
    pub(crate) end: usize,
}

/// Arbitrary bytes as a request head: the verdict does not depend on how they are cut; a parser written independently
/// comes to the same one; what is accepted is accepted by httparse with the same parts; what is written from it reads
/// the same.
pub fn fuzz_request_head(data: &[u8]) {
    let verdict = incrementally(data, data.len().max(1), request_verdict);
    for step in [1, 7] {
        let cut = incrementally(data, step, request_verdict);
        assert_eq!(cut, verdict, "the verdict depends on the cuts");
    }
    match (naive::request(data), &verdict) {
        (naive::Verdict::Accepted(naive), Ok(Some(facts))) => assert_eq!(&naive, facts, "read in two ways"),
        (naive::Verdict::Incomplete, Ok(None) | Err(_)) | (naive::Verdict::Refused, Err(_)) => {}
        (naive, ours) => panic!("accepted by one only: naive {naive:?}, ours {ours:?}"),
    }
    if let Ok(Some(facts)) = verdict {
        httparse_agrees_on_request(data, &facts);
        request_survives_writing(&facts);
    }
}

/// Arbitrary bytes as a response head; the first byte says what the request was. Properties as of
/// [`fuzz_request_head`].
pub fn fuzz_response_head(data: &[u8]) {
    let [kind, data @ ..] = data else { return };
    let kind = [RequestKind::Plain, RequestKind::Head, RequestKind::Connect, RequestKind::Upgrade]
        [usize::from(kind & 3)];
    let parse = |data: &[u8], step| incrementally(data, step, response_verdict(kind));
    let verdict = parse(data, data.len().max(1));
    for step in [1, 7] {
        assert_eq!(parse(data, step), verdict, "the verdict depends on the cuts");
    }
    match (naive::response(data, kind), &verdict) {
        (naive::Verdict::Accepted(naive), Ok(Some(facts))) => assert_eq!(&naive, facts, "read in two ways"),
        (naive::Verdict::Incomplete, Ok(None) | Err(_)) | (naive::Verdict::Refused, Err(_)) => {}
        (naive, ours) => panic!("accepted by one only: naive {naive:?}, ours {ours:?}"),
    }
    if let Ok(Some(facts)) = verdict {
        httparse_agrees_on_response(data, &facts);
        response_survives_writing(&facts, kind);
    }
}

/// Arbitrary first bytes. What a longer beginning says never takes back what a shorter one has said; TLS and HTTP/2
/// are nothing that the reader of requests would take.
pub fn fuzz_first_bytes(data: &[u8]) {
    let mut decided = FirstBytes::Undecided;
    for end in 0..=data.len() {
        let now = FirstBytes::of(&data[..end]);
        assert!(decided == FirstBytes::Undecided || now == decided, "{decided:?} became {now:?}");
        decided = now;
    }
    if matches!(decided, FirstBytes::Tls | FirstBytes::Http2) {
        let mut head = RequestHead::new();
        head.buffer().extend_from_slice(data);
        assert_ne!(
            head.parse(&Limits::default()),
            Ok(Parse::Complete),
            "{decided:?} was taken for a request"
        );
    }
}

/// Arbitrary bytes as a chunked body; the first byte seeds the cuts. The verdict, the payload and the trailers do not
/// depend on the cuts; an independent decoder agrees; what is sent on decodes to the same and is canonical.
pub fn fuzz_chunked_body(data: &[u8]) {
    let [seed, data @ ..] = data else { return };
    let whole = relay(data, data.len().max(1), 0, Outgoing::AsReceived);
    let decoded = naive::chunked(data, false);
    for (step, seed) in [(1, 0), (23, *seed)] {
        let cut = relay(data, step, seed, Outgoing::AsReceived);
        assert_eq!(cut.verdict, whole.verdict, "the verdict depends on the cuts");
        let payload = relay(data, step, seed, Outgoing::Payload);
        assert_eq!(payload.verdict, whole.verdict, "the verdict depends on the form");
        if whole.verdict == Ok(true) {
            let sent = naive::chunked(&cut.sent, true).unwrap();
            let decoded = decoded.as_ref().unwrap();
            assert_eq!(
                (&sent.payload, &sent.trailers),
                (&decoded.payload, &decoded.trailers),
                "changed on the way"
            );
            assert_eq!(sent.used, cut.sent.len(), "sent more than a body");
            assert_eq!(payload.sent, decoded.payload, "payload differs");
        }
    }
    match (decoded, whole.verdict) {
        (Some(decoded), Ok(true)) => assert_eq!(decoded.used, whole.taken, "end in two places"),
        (None, Err(_) | Ok(false)) => {}
        (decoded, ours) => panic!("accepted by one only: naive {decoded:?}, ours {ours:?}"),
    }
}

/// Arbitrary bytes as a connection full of requests; the first byte seeds the cuts. Heads, bodies, and the place and
/// reason of the first error do not depend on the cuts.
pub fn fuzz_split_invariance(data: &[u8]) {
    let [seed, data @ ..] = data else { return };
    let whole = transcript(data, data.len().max(1), 0);
    assert_eq!(transcript(data, 1, 0), whole);
    assert_eq!(transcript(data, 41, *seed), whole);
}

/// Cuts `data` into pieces of 1 to `step` bytes; of `step` bytes when the seed is zero.
pub(crate) fn pieces(data: &[u8], step: usize, seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(seed);
    let mut rest = data;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(if seed == 0 { 0 } else { 1_013_904_223 });
        let size = if seed == 0 { step } else { (state >> 16) as usize % step + 1 };
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

type HeadVerdict = Result<Option<Facts>, Reject>;

fn request_verdict(head: &mut Option<RequestHead>, piece: &[u8]) -> HeadVerdict {
    let head = head.get_or_insert_default();
    head.buffer().extend_from_slice(piece);
    Ok((head.parse(&Limits::default())? == Parse::Complete).then(|| request_facts(head)))
}

fn response_verdict(kind: RequestKind) -> impl Fn(&mut Option<ResponseHead>, &[u8]) -> HeadVerdict {
    move |head, piece| {
        let head = head.get_or_insert_default();
        head.buffer().extend_from_slice(piece);
        Ok((head.parse(&Limits::default(), kind)? == Parse::Complete).then(|| response_facts(head)))
    }
}

/// Feeds pieces of `step` bytes. A verdict must stay what it is whatever follows.
fn incrementally<H>(
    data: &[u8],
    step: usize,
    parse: impl Fn(&mut Option<H>, &[u8]) -> HeadVerdict,
) -> HeadVerdict {
    let mut head = None;
    let mut verdict = Ok(None);
    for piece in pieces(data, step, 0) {
        let next = parse(&mut head, piece);
        assert!(verdict == Ok(None) || verdict == next, "{verdict:?} became {next:?}");
        verdict = next;
    }
    verdict
}

fn owned<'h>(headers: impl Iterator<Item = super::Header<'h>>) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers.map(|header| (header.name.to_vec(), header.value.to_vec())).collect()
}

fn request_facts(head: &RequestHead) -> Facts {
    Facts {
        start: vec![head.method().to_vec(), head.target().to_vec(), version_text(head.version())],
        headers: owned(head.headers()),
        framing: head.framing(),
        keep_alive: head.keep_alive(),
        end: head.end(),
    }
}

fn response_facts(head: &ResponseHead) -> Facts {
    Facts {
        start: vec![
            version_text(head.version()),
            head.status().to_string().into_bytes(),
            head.reason().to_vec(),
        ],
        headers: owned(head.headers()),
        framing: head.framing(),
        keep_alive: head.keep_alive(),
        end: head.end(),
    }
}

fn version_text(version: Version) -> Vec<u8> {
    match version {
        Version::Http10 => b"HTTP/1.0".to_vec(),
        Version::Http11 => b"HTTP/1.1".to_vec(),
    }
}

/// httparse knows two versions only: a higher minor one, the digit at `at`, is lowered for it.
fn with_plain_version(data: &[u8], at: usize) -> Vec<u8> {
    let mut data = data.to_vec();
    if data[at] != b'0' {
        data[at] = b'1';
    }
    data
}

fn httparse_headers(headers: &[httparse::Header<'_>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers.iter().map(|header| (header.name.as_bytes().to_vec(), header.value.to_vec())).collect()
}

fn httparse_agrees_on_request(data: &[u8], facts: &Facts) {
    let start = data.iter().position(|byte| !b"\r\n".contains(byte)).unwrap();
    let line_end = memchr::memmem::find(&data[start..], b"\r\n").unwrap();
    let data = with_plain_version(&data[start..], line_end - 1);
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    assert!(request.parse(&data).is_ok_and(|status| status.is_complete()), "httparse refuses");
    assert_eq!(request.method.unwrap().as_bytes(), facts.start[0]);
    let path = request.path.unwrap();
    let with_slash = path.replacen('?', "/?", 1);
    assert!([path, &with_slash].iter().any(|path| path.as_bytes() == facts.start[1]));
    assert_eq!(httparse_headers(request.headers), facts.headers);
}

fn httparse_agrees_on_response(data: &[u8], facts: &Facts) {
    let data = with_plain_version(data, 7);
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut response = httparse::Response::new(&mut headers);
    assert!(response.parse(&data).is_ok_and(|status| status.is_complete()), "httparse refuses");
    assert_eq!(response.code.unwrap().to_string().as_bytes(), facts.start[1]);
    assert_eq!(httparse_headers(response.headers), facts.headers);
}

fn written(start: impl FnOnce(&mut Vec<u8>), facts: &Facts) -> Vec<u8> {
    let mut out = Vec::new();
    start(&mut out);
    for (name, value) in &facts.headers {
        write::header(&mut out, name, value);
    }
    write::end(&mut out);
    out
}

fn request_survives_writing(facts: &Facts) {
    if facts.start[2] == b"HTTP/1.0" {
        return;
    }
    let out = written(|out| write::request_line(out, &facts.start[0], &facts.start[1]), facts);
    let again = incrementally(&out, out.len(), request_verdict).unwrap().unwrap();
    assert_eq!(again, Facts { end: out.len(), ..facts.clone() }, "reads differently when written");
}

fn response_survives_writing(facts: &Facts, kind: RequestKind) {
    if facts.start[0] == b"HTTP/1.0" {
        return;
    }
    let status = String::from_utf8_lossy(&facts.start[1]).parse().unwrap();
    let out = written(|out| write::status_line(out, status, &facts.start[2]), facts);
    let again = incrementally(&out, out.len(), response_verdict(kind)).unwrap().unwrap();
    assert_eq!(again, Facts { end: out.len(), ..facts.clone() }, "reads differently when written");
}

struct Relayed {
    /// Whether the body is complete, or why it is refused.
    verdict: Result<bool, Reject>,
    taken: usize,
    sent: Vec<u8>,
}

fn relay(data: &[u8], step: usize, seed: u8, outgoing: Outgoing) -> Relayed {
    let mut body = Body::new(Framing::Chunked).outgoing(outgoing);
    let mut judge = Body::new(Framing::Chunked);
    let mut relayed = Relayed { verdict: Ok(false), taken: 0, sent: Vec::new() };
    for piece in pieces(data, step, seed) {
        let forwarded = body.forward(piece, &mut relayed.sent);
        assert_eq!(forwarded.map(Forwarded::taken), judge.take(piece), "forward and take differ");
        match forwarded {
            Ok(Forwarded::Verbatim { taken, send }) => {
                assert!(send <= taken && taken <= piece.len());
                relayed.sent.extend_from_slice(&piece[..send]);
            }
            Ok(Forwarded::Rewritten { taken }) => assert!(taken <= piece.len()),
            Err(reject) => relayed.verdict = Err(reject),
        }
        relayed.taken += forwarded.map_or(0, Forwarded::taken);
        if forwarded.is_err() || body.is_done() {
            break;
        }
    }
    relayed.verdict = relayed.verdict.map(|_| body.is_done());
    relayed
}

#[derive(Debug, PartialEq)]
enum Event {
    Head(Facts),
    Payload(Vec<u8>),
    Refused(Reject),
}

/// What a connection's bytes mean, request after request.
fn transcript(data: &[u8], step: usize, seed: u8) -> Vec<Event> {
    let mut head = RequestHead::new();
    let mut body: Option<Body> = None;
    let mut events = Vec::new();
    for piece in pieces(data, step, seed) {
        head.buffer().extend_from_slice(piece);
        if let Err(reject) = drain(&mut head, &mut body, &mut events) {
            events.push(Event::Refused(reject));
            break;
        }
    }
    events
}

fn drain(head: &mut RequestHead, body: &mut Option<Body>, events: &mut Vec<Event>) -> Result<(), Reject> {
    loop {
        match body {
            None if head.parse(&Limits::default())? == Parse::Incomplete => return Ok(()),
            None => {
                events.extend([Event::Head(request_facts(head)), Event::Payload(Vec::new())]);
                *body = Some(head.body(Outgoing::Payload));
            }
            Some(following) if following.is_done() => {
                head.take_rest();
                *body = None;
            }
            Some(_) if head.rest().is_empty() => return Ok(()),
            Some(following) => {
                let Some(Event::Payload(payload)) = events.last_mut() else {
                    unreachable!("a head has a payload")
                };
                // A refused piece sends nothing, and how much came before it depends on the cuts.
                let forwarded = match following.forward(head.rest(), payload) {
                    Err(reject) => {
                        payload.clear();
                        return Err(reject);
                    }
                    Ok(forwarded) => forwarded,
                };
                if let Forwarded::Verbatim { send, .. } = forwarded {
                    payload.extend_from_slice(&head.rest()[..send]);
                }
                head.consume(forwarded.taken());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::seeds::replay;
    use super::*;

    #[test]
    fn the_seeds_of_first_bytes_hold() {
        replay("first_bytes", fuzz_first_bytes);
    }

    #[test]
    fn the_seeds_of_connect_prologues_hold() {
        replay("connect_prologue", fuzz_connect_prologue);
    }

    #[test]
    fn the_seeds_of_grpc_timeouts_hold() {
        replay("grpc_timeout", fuzz_grpc_timeout);
    }

    #[test]
    fn the_seeds_of_grpc_frames_hold() {
        replay("grpc_frames", fuzz_grpc_frames);
    }

    #[test]
    fn the_seeds_of_grpc_messages_hold() {
        replay("grpc_message", fuzz_grpc_message);
    }

    #[test]
    fn the_seeds_of_http2_frames_hold() {
        replay("http2_frames", fuzz_http2_frames);
    }

    #[test]
    fn the_seeds_of_request_heads_hold() {
        replay("request_head", fuzz_request_head);
    }

    #[test]
    fn the_seeds_of_response_heads_hold() {
        replay("response_head", fuzz_response_head);
    }

    #[test]
    fn the_seeds_of_chunked_bodies_hold() {
        replay("chunked_body", fuzz_chunked_body);
    }

    #[test]
    fn the_seeds_of_response_sequences_hold() {
        replay("response_sequence", fuzz_response_sequence);
    }

    #[test]
    fn the_seeds_of_whole_connections_hold() {
        replay("split_invariance", fuzz_split_invariance);
    }
}
