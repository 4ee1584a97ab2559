//! The connection as mesher keeps it.

use mesher_actors::snapshot::Failure;
use mesher_actors::snapshot::stats::Direction;

use super::super::forward::{self, Additions, Delivery};
use super::super::interims::Interims;
use super::super::reply::{self, Wanted};
use super::super::upload;
use crate::codec::fuzzing::{naive, payload_of, pieces};
use crate::codec::{
    Body, Forwarded, Framing, Limits, Outgoing, Parse, RequestHead, RequestKind, ResponseHead, Version,
    imf_fixdate,
};
use crate::handler::Reply;
use crate::handler::context::SourceContext;

/// What became of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// The client has the service's response.
    Answered { interims: u32, status: u16, payload: Vec<u8> },
    /// The protocol has changed.
    Switched,
    /// The service's response made no sense, or broke off: the client is told so, or sees it cut.
    Broken,
    /// Mesher answered itself, and the request went nowhere.
    Refused,
    /// The client's body made no sense, or broke off.
    Unsent,
}

/// Plays a connection whose bytes come in pieces of up to `step`.
pub(super) fn play(client: &[u8], answers: &[&[u8]], step: usize, seed: u8) -> Vec<Outcome> {
    let mut answers = answers.iter();
    let mut input = Input { pieces: Box::new(pieces(client, step, seed)), piece_max: step.min(client.len()) };
    let mut head = RequestHead::new();
    let mut outcomes = Vec::new();
    loop {
        match input.next_head(&mut head) {
            None => break,
            Some(Err(())) => {
                outcomes.push(Outcome::Refused);
                break;
            }
            Some(Ok(())) => {}
        }
        let mut exchange = Exchange::of(&head);
        let answer = if exchange.is_refused(&head) { None } else { answers.next() };
        let Some(answer) = answer else {
            exchange.reply(Reply::new(Failure::NoHealthyInstance, "nobody is there"));
            outcomes.push(exchange.as_seen(Outcome::Refused));
            if !exchange.keeps || head.framing().has_content() {
                break;
            }
            head.take_rest();
            continue;
        };
        let Some(payload) = exchange.send(&mut head, &mut input) else {
            outcomes.push(Outcome::Unsent);
            break;
        };
        exchange.check_forwarded(&payload);
        let outcome = exchange.receive(pieces(answer, step, seed));
        let outcome = exchange.as_seen(outcome);
        let goes_on = exchange.keeps && matches!(outcome, Outcome::Answered { .. });
        outcomes.push(outcome);
        if !goes_on {
            break;
        }
        head.take_rest();
    }
    outcomes
}

/// What the client sends.
struct Input<'a> {
    pieces: Box<dyn Iterator<Item = &'a [u8]> + 'a>,
    piece_max: usize,
}

impl Input<'_> {
    /// Reads until a head is whole. None if the client ends before.
    fn next_head(&mut self, head: &mut RequestHead) -> Option<Result<(), ()>> {
        let limits = Limits::default();
        loop {
            if !head.buffer().is_empty() {
                match head.parse(&limits) {
                    Ok(Parse::Complete) => return Some(Ok(())),
                    Ok(Parse::Incomplete) => {}
                    Err(_) => return Some(Err(())),
                }
            }
            head.buffer().extend_from_slice(self.pieces.next()?);
            assert!(
                head.buffer().len() <= limits.head_bytes + 2 * self.piece_max,
                "more is held than a head"
            );
        }
    }
}

/// One request on its way.
struct Exchange {
    kind: RequestKind,
    delivery: Delivery,
    wanted: Wanted,
    /// The client's connection carries another request.
    keeps: bool,
    to_service: Vec<u8>,
    to_client: Vec<u8>,
}

impl Exchange {
    fn of(head: &RequestHead) -> Self {
        let kind = match head.method() {
            b"HEAD" => RequestKind::Head,
            b"CONNECT" => RequestKind::Connect,
            _ if forward::offered_upgrade(head).is_some() => RequestKind::Upgrade,
            _ => RequestKind::Plain,
        };
        let keeps = head.keep_alive();
        Self {
            kind,
            delivery: Delivery { version: head.version(), keep_alive: keeps },
            wanted: Wanted { head: kind == RequestKind::Head, close: !keeps, ..Wanted::default() },
            keeps,
            to_service: Vec::new(),
            to_client: Vec::new(),
        }
    }

    fn is_refused(&self, head: &RequestHead) -> bool {
        self.kind == RequestKind::Connect || forward::hops_left(head) == Some(0)
    }

    fn reply(&mut self, reply: Reply) {
        reply::render(&mut self.to_client, &reply, self.wanted, &imf_fixdate(0));
    }

    /// Sends the request to the service; its payload. None if the client's body does not come to a good end.
    fn send(&mut self, head: &mut RequestHead, input: &mut Input<'_>) -> Option<Vec<u8>> {
        let additions = Additions {
            direction: Direction::Outgoing,
            peer: [10, 0, 0, 1].into(),
            scheme: "http",
            port: Some(80),
            source: &SourceContext::new("caller"),
            upstream: Some(([127, 0, 0, 1], 8080).into()),
        };
        forward::request(&mut self.to_service, head, &additions);
        let (mut body, mut judge) = (head.body(Outgoing::AsReceived), head.body(Outgoing::Payload));
        let mut payload = Vec::new();
        let taken = self.upload(&mut body, &mut judge, head.rest(), &mut payload)?;
        head.consume(taken);
        while !body.is_done() {
            let piece = input.pieces.next()?;
            let taken = self.upload(&mut body, &mut judge, piece, &mut payload)?;
            head.buffer().extend_from_slice(&piece[taken..]);
        }
        Some(payload)
    }

    fn upload(
        &mut self,
        body: &mut Body,
        judge: &mut Body,
        piece: &[u8],
        payload: &mut Vec<u8>,
    ) -> Option<usize> {
        let before = self.to_service.len();
        let taken = upload::take(body, piece, &mut self.to_service).ok()?;
        assert_eq!(upload::take(judge, piece, payload).ok(), Some(taken), "the form decides on the end");
        // Framing that is written anew costs a few bytes for each one of the piece, at worst; trailers come all at once.
        assert!(self.to_service.len() - before <= 16 * piece.len() + (16 << 10), "more is held than a piece");
        Some(taken)
    }

    /// Delivers what the service answers.
    fn receive<'a>(&mut self, mut pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
        let mut head = ResponseHead::new();
        let mut interims = Interims::default();
        loop {
            match head.parse(&Limits::default(), self.kind) {
                Ok(Parse::Complete) if !head.is_interim() => break,
                Ok(Parse::Complete) => {
                    if !interims.admit(head.end()) {
                        return self.broken();
                    }
                    if self.delivery.version == Version::Http11 {
                        forward::interim(&mut self.to_client, &head);
                    }
                    head.take_rest();
                }
                Ok(Parse::Incomplete) => match pieces.next() {
                    Some(piece) => head.buffer().extend_from_slice(piece),
                    None => return self.broken(),
                },
                Err(_) => return self.broken(),
            }
        }
        if head.status() == 101 {
            forward::switching(&mut self.to_client, &head);
            return Outcome::Switched;
        }
        let form = self.delivery.form();
        self.delivery.keep_alive &= form.framing(head.framing()) != Framing::UntilClose;
        self.keeps = self.delivery.keep_alive;
        forward::response(&mut self.to_client, &head, self.delivery, || imf_fixdate(0));
        let mut body = head.body(form);
        let first = head.rest().to_vec();
        if self.download(&mut body, &first).is_err() {
            return Outcome::Broken;
        }
        while !body.is_done() {
            let outcome = match pieces.next() {
                Some(piece) => self.download(&mut body, piece),
                None => body.forward_end(&mut self.to_client).map_err(|_| ()),
            };
            if outcome.is_err() {
                return Outcome::Broken;
            }
        }
        let interims = if self.delivery.version == Version::Http11 { interims.count() } else { 0 };
        Outcome::Answered { interims, status: head.status(), payload: Vec::new() }
    }

    /// Passes a piece of body on; what stands behind the body is nobody's.
    fn download(&mut self, body: &mut Body, piece: &[u8]) -> Result<(), ()> {
        let forwarded = body.forward(piece, &mut self.to_client).map_err(|_| ())?;
        if let Forwarded::Verbatim { send, .. } = forwarded {
            self.to_client.extend_from_slice(&piece[..send]);
        }
        Ok(())
    }

    fn broken(&mut self) -> Outcome {
        self.reply(Reply::new(Failure::UpstreamProtocolError, "it makes no sense"));
        Outcome::Broken
    }

    /// A strict service reads one request with this payload, and nothing else.
    fn check_forwarded(&self, payload: &[u8]) {
        let sent = &self.to_service;
        let naive::Verdict::Accepted(read) = naive::request(sent) else {
            panic!("no strict service takes {:?}", sent.escape_ascii().to_string());
        };
        let (body, used) = payload_of(&sent[read.end..], read.framing, true).expect("a body without an end");
        assert_eq!(body, payload, "another payload");
        assert_eq!(read.end + used, sent.len(), "sent besides");
    }

    /// The outcome as a strict client reads it, and it reads nothing besides.
    fn as_seen(&self, outcome: Outcome) -> Outcome {
        let mut rest: &[u8] = &self.to_client;
        let mut seen = 0;
        loop {
            let naive::Verdict::Accepted(read) = naive::response(rest, self.kind) else {
                panic!("the client cannot read {:?}", rest.escape_ascii().to_string());
            };
            rest = &rest[read.end..];
            let status: u16 = std::str::from_utf8(&read.start[1]).unwrap().parse().unwrap();
            if (100..200).contains(&status) && status != 101 {
                seen += 1;
                continue;
            }
            let body = payload_of(rest, read.framing, true);
            let is_alone = body.as_ref().is_some_and(|(_, used)| *used == rest.len());
            return match (outcome, body) {
                (Outcome::Answered { interims, status: sent, .. }, Some((payload, _))) if is_alone => {
                    assert_eq!((seen, status), (interims, sent), "another response");
                    Outcome::Answered { interims, status, payload }
                }
                (Outcome::Switched, _) if status == 101 && rest.is_empty() => Outcome::Switched,
                (Outcome::Refused, _) if status >= 400 && is_alone => Outcome::Refused,
                (Outcome::Broken, None) => Outcome::Broken,
                (Outcome::Broken, _) if status == 502 && is_alone => Outcome::Broken,
                // Without a length the end of the connection ends it; a reset tells the client that it is none.
                (Outcome::Broken, _) if read.framing == Framing::UntilClose => Outcome::Broken,
                (outcome, body) => panic!("the client sees {status} and {body:?} for {outcome:?}"),
            };
        }
    }
}
