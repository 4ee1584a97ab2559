//! A connection full of responses, read one after the other as a proxy reads them, each with its body, and sent on to a
//! client that keeps its connection.

use super::super::{
    Body, Forwarded, Framing, Known, Limits, Outgoing, Parse, Reject, RequestKind, ResponseHead, write,
};
use super::{Facts, naive, pieces, response_facts};

/// What became of the bytes.
#[derive(Debug, Default, PartialEq)]
struct Transcript {
    entries: Vec<Entry>,
    refused: Option<Reject>,
}

#[derive(Debug, PartialEq)]
enum Entry {
    /// A head that another one follows.
    Interim(Facts),
    /// A response and its whole payload.
    Whole(Facts, Vec<u8>),
    /// A head, maybe, and then nothing that ends as it should.
    Broken(Option<Facts>),
}

/// Arbitrary bytes as a connection full of responses. The first byte seeds the cuts, the second says in pairs of bits
/// what the requests were. Heads, bodies and the first error do not depend on the cuts; an independent reader finds the
/// same responses; what is sent on reads as the very same responses and nothing besides.
pub fn fuzz_response_sequence(data: &[u8]) {
    let [seed, kinds, data @ ..] = data else { return };
    let (whole, sent) = play(data, data.len().max(1), 0, *kinds);
    assert_reads_the_same(&sent, &whole, *kinds);
    for (step, seed) in [(1, 0), (37, *seed)] {
        let (cut, sent) = play(data, step, seed, *kinds);
        assert_eq!(cut, whole, "the outcome depends on the cuts");
        assert_reads_the_same(&sent, &whole, *kinds);
    }
    assert_eq!(naively(data, *kinds), whole.entries, "read in two ways");
}

/// What the request was that the response of this number answers.
fn kind(kinds: u8, number: usize) -> RequestKind {
    [RequestKind::Plain, RequestKind::Head, RequestKind::Connect, RequestKind::Upgrade]
        [usize::from(kinds >> (number % 4 * 2) & 3)]
}

struct Player {
    kinds: u8,
    /// Final responses so far.
    number: usize,
    head: ResponseHead,
    /// The body once as payload, once as it goes on.
    body: Option<(Body, Body)>,
    payload: Vec<u8>,
    sent: Vec<u8>,
    /// Of `sent`, what belongs to responses that are whole.
    sent_whole: usize,
    entries: Vec<Entry>,
    is_over: bool,
}

fn play(data: &[u8], step: usize, seed: u8, kinds: u8) -> (Transcript, Vec<u8>) {
    let mut player = Player {
        kinds,
        number: 0,
        head: ResponseHead::new(),
        body: None,
        payload: Vec::new(),
        sent: Vec::new(),
        sent_whole: 0,
        entries: Vec::new(),
        is_over: false,
    };
    let mut refused = None;
    for piece in pieces(data, step, seed) {
        player.head.buffer().extend_from_slice(piece);
        if let Err(reject) = player.advance() {
            refused = Some(reject);
            break;
        }
    }
    if refused.is_none() {
        refused = player.close().err();
    }
    let facts = player.body.is_some().then(|| response_facts(&player.head));
    if refused.is_some() || (!player.is_over && player.head.is_started()) {
        player.entries.push(Entry::Broken(facts));
    }
    player.sent.truncate(player.sent_whole);
    (Transcript { entries: player.entries, refused }, player.sent)
}

impl Player {
    fn advance(&mut self) -> Result<(), Reject> {
        while !self.is_over {
            match &mut self.body {
                None if self.head.parse(&Limits::default(), kind(self.kinds, self.number))?
                    == Parse::Incomplete =>
                {
                    return Ok(());
                }
                None => self.begin(),
                Some((payload, _)) if payload.is_done() => self.end(),
                Some(_) if self.head.rest().is_empty() => return Ok(()),
                Some((payload, relay)) => {
                    let rest = self.head.rest();
                    let taken = append(payload, rest, &mut self.payload)?;
                    assert_eq!(append(relay, rest, &mut self.sent), Ok(taken), "the form decides on the end");
                    self.head.consume(taken);
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self) {
        let framing = Outgoing::Chunked.framing(self.head.framing());
        write_head(&mut self.sent, &self.head, framing);
        if self.head.is_interim() {
            self.sent_whole = self.sent.len();
            self.entries.push(Entry::Interim(response_facts(&self.head)));
            self.head.take_rest();
        } else {
            self.body = Some((self.head.body(Outgoing::Payload), self.head.body(Outgoing::Chunked)));
        }
    }

    fn end(&mut self) {
        self.body = None;
        self.sent_whole = self.sent.len();
        self.number += 1;
        self.is_over = !self.head.keep_alive();
        self.entries.push(Entry::Whole(response_facts(&self.head), std::mem::take(&mut self.payload)));
        self.head.take_rest();
    }

    /// The origin closes.
    fn close(&mut self) -> Result<(), Reject> {
        let Some((payload, relay)) = &mut self.body else { return Ok(()) };
        payload.at_end_of_input()?;
        relay.forward_end(&mut self.sent)?;
        self.end();
        Ok(())
    }
}

/// Takes what belongs to the body, and appends what is to be sent on of it.
fn append(body: &mut Body, piece: &[u8], out: &mut Vec<u8>) -> Result<usize, Reject> {
    let forwarded = body.forward(piece, out)?;
    if let Forwarded::Verbatim { send, .. } = forwarded {
        out.extend_from_slice(&piece[..send]);
    }
    Ok(forwarded.taken())
}

fn write_head(out: &mut Vec<u8>, head: &ResponseHead, framing: Framing) {
    write::status_line(out, head.status(), head.reason());
    for header in head.headers().filter(|header| !header.hop_by_hop) {
        if header.known != Known::ContentLength || framing == Framing::None {
            write::header(out, header.name, header.value);
        }
    }
    if head.upgrade() {
        write::header(out, b"Connection", b"upgrade");
        write::header(out, b"Upgrade", head.header(Known::Upgrade).unwrap_or_default());
    }
    write::framing(out, framing);
    write::end(out);
}

/// A client of its own finds the same responses in what it is sent, whole ones and nothing else.
fn assert_reads_the_same(sent: &[u8], transcript: &Transcript, kinds: u8) {
    let (mut rest, mut number) = (sent, 0);
    for entry in &transcript.entries {
        let (Entry::Interim(facts) | Entry::Whole(facts, _)) = entry else { break };
        let naive::Verdict::Accepted(read) = naive::response(rest, kind(kinds, number)) else {
            panic!("the client cannot read {:?}", rest.escape_ascii().to_string());
        };
        assert_eq!(read.start[1..], facts.start[1..], "another status");
        rest = &rest[read.end..];
        if let Entry::Whole(_, payload) = entry {
            let Some((read, used)) = payload_of(rest, read.framing, true) else {
                panic!("a body without an end")
            };
            assert_eq!(&read, payload, "another body");
            rest = &rest[used..];
            number += 1;
        }
    }
    assert!(rest.is_empty(), "sent besides: {:?}", rest.escape_ascii().to_string());
}

/// The same by the second reading of the RFCs.
fn naively(data: &[u8], kinds: u8) -> Vec<Entry> {
    let (mut rest, mut number, mut entries) = (data, 0, Vec::new());
    while !rest.is_empty() {
        let naive::Verdict::Accepted(facts) = naive::response(rest, kind(kinds, number)) else {
            entries.push(Entry::Broken(None));
            break;
        };
        rest = &rest[facts.end..];
        let status = &facts.start[1];
        if status[0] == b'1' && status != b"101" {
            entries.push(Entry::Interim(facts));
            continue;
        }
        let Some((payload, used)) = payload_of(rest, facts.framing, false) else {
            entries.push(Entry::Broken(Some(facts)));
            break;
        };
        rest = &rest[used..];
        number += 1;
        let is_last = !facts.keep_alive;
        entries.push(Entry::Whole(facts, payload));
        if is_last {
            break;
        }
    }
    entries
}

/// The payload of a body and how many bytes it is, if it is whole.
pub(crate) fn payload_of(input: &[u8], framing: Framing, canonical: bool) -> Option<(Vec<u8>, usize)> {
    match framing {
        Framing::None => Some((Vec::new(), 0)),
        Framing::Length(length) => {
            let length = usize::try_from(length).ok()?;
            Some((input.get(..length)?.to_vec(), length))
        }
        Framing::Chunked => naive::chunked(input, canonical).map(|decoded| (decoded.payload, decoded.used)),
        Framing::UntilClose => Some((input.to_vec(), input.len())),
    }
}
