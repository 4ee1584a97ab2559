//! The response on its way to the client: interim heads, the head, the body, each passed on as soon as it is there.
//!
//! Nothing is read from the upstream while the client has not taken what was read before: that is the whole
//! back-pressure. A piece of body goes from the shard's scratch buffer straight to the client; only what the client
//! does not take at once is copied.

use std::io::IoSlice;
use std::task::{Context, Poll, ready};

use mesher_actors::snapshot::Failure;

use super::dates::Dates;
use super::drain::Drain;
use super::forward::{self, Delivery};
use super::interims::Interims;
use crate::codec::{Body, Forwarded, Framing, Limits, Parse, RequestKind, ResponseHead, Version};
use crate::handler::Fault;
use crate::net::{Stream, with_scratch};

/// How much of a piece the parser is given at once while it wants a head: more than most heads have, and little to copy
/// in vain if it is body.
const HEAD_PIECE: usize = 512;

/// A body of so many bytes at most is copied behind its head, and sent from there: that is cheaper than to have the kernel
/// gather them from two places.
const JOINED_MAX: usize = 1024;

/// Why a response could not be delivered whole.
#[derive(Debug)]
pub enum DownloadError {
    /// The upstream's fault; nothing or only a part has reached the client, see [`Download::is_begun`].
    Upstream(Fault),
    /// The client does not take it.
    ClientGone,
}

/// What is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    Body,
    Done,
}

/// A response being delivered.
#[derive(Debug)]
pub struct Download<'a> {
    down: &'a Stream,
    up: &'a Stream,
    limits: &'a Limits,
    dates: &'a Dates,
    drain: &'a Drain,
    head: &'a mut ResponseHead,
    /// What the client has not taken yet.
    out: &'a mut Vec<u8>,
    sent: usize,
    phase: Phase,
    body: Body,
    delivery: Delivery,
    request: RequestKind,
    interims: Interims,
    begun: bool,
    out_of_step: bool,
    /// The client is still sending its request.
    sending: bool,
    moved: u64,
}

impl<'a> Download<'a> {
    /// Nothing has come yet. `delivery.keep_alive` is what the client wishes; the response or a shutdown may end it.
    pub fn new(
        (down, up): (&'a Stream, &'a Stream),
        (limits, dates, drain): (&'a Limits, &'a Dates, &'a Drain),
        head: &'a mut ResponseHead,
        out: &'a mut Vec<u8>,
        delivery: Delivery,
        request: RequestKind,
    ) -> Self {
        Self {
            down,
            up,
            limits,
            dates,
            drain,
            head,
            out,
            sent: 0,
            phase: Phase::Head,
            body: Body::new(Framing::None),
            delivery,
            request,
            interims: Interims::default(),
            begun: false,
            out_of_step: false,
            sending: false,
            moved: 0,
        }
    }

    /// Bytes of the upstream have arrived: the request has run.
    #[must_use]
    pub fn has_arrived(&self) -> bool {
        self.phase != Phase::Head || self.interims.count() > 0 || self.head.is_started()
    }

    /// The head of the final response is on its way to the client: nothing else can be answered any more.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.begun
    }

    /// Bytes that the client has taken so far: tells whether something moved.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// The client has not taken what is there for it.
    #[must_use]
    pub fn is_waiting_for_client(&self) -> bool {
        !self.out.is_empty()
    }

    /// The protocol changes with this response: what follows is no HTTP.
    #[must_use]
    pub fn is_switched(&self) -> bool {
        self.phase == Phase::Done && self.head.upgrade()
    }

    /// Status of the final response; meaningful once it has begun.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The connection to the client can carry another request after this response.
    #[must_use]
    pub fn keeps_client(&self) -> bool {
        self.phase == Phase::Done && self.delivery.keep_alive
    }

    /// The connection to the upstream can carry another request after this response.
    #[must_use]
    pub fn keeps_upstream(&self) -> bool {
        self.phase == Phase::Done && !self.out_of_step && self.head.keep_alive()
    }

    /// Whether the client is still sending its request. A refusal that begins now ends the connection, as does any
    /// response after which the upstream closes: the rest of the request will not be taken.
    pub fn note_sending(&mut self, sending: bool) {
        self.sending = sending;
    }

    /// Delivers on. Ready when the client has taken the last byte.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DownloadError>> {
        loop {
            while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
                match ready!(self.down.poll_write(cx, rest)) {
                    Ok(n) => {
                        self.sent += n;
                        self.moved += n as u64;
                    }
                    Err(_) => return Poll::Ready(Err(DownloadError::ClientGone)),
                }
            }
            self.out.clear();
            self.sent = 0;
            if self.phase == Phase::Done {
                return Poll::Ready(Ok(()));
            }
            ready!(with_scratch(|scratch| {
                let n = match ready!(self.up.poll_read(cx, scratch)) {
                    Ok(0) => return Poll::Ready(self.end_of_input()),
                    Ok(n) => n,
                    Err(error) => return Poll::Ready(Err(self.broken(&error.to_string()))),
                };
                Poll::Ready(self.take(cx, scratch.get(..n).unwrap_or_default()))
            }))?;
        }
    }

    /// Takes what the upstream sent. A response that proves broken before any of it has left has not begun: the client
    /// can still be told.
    fn take(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Result<(), DownloadError> {
        let was_begun = self.begun;
        let taken = self.take_piece(cx, piece);
        if !was_begun && self.sent == 0 && matches!(taken, Err(DownloadError::Upstream(_))) {
            self.begun = false;
            self.out.clear();
        }
        taken
    }

    fn take_piece(&mut self, cx: &mut Context<'_>, mut piece: &[u8]) -> Result<(), DownloadError> {
        while self.phase == Phase::Head && !piece.is_empty() {
            piece = self.take_head(piece)?;
        }
        if self.phase == Phase::Head {
            return Ok(());
        }
        if !self.body.is_done() {
            piece = self.take_body(cx, piece)?;
        }
        if self.body.is_done() {
            self.phase = Phase::Done;
            // Bytes behind the end belong to no request.
            self.out_of_step |= !piece.is_empty();
        }
        Ok(())
    }

    /// Takes bytes of a head; returns the rest of the piece.
    fn take_head<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], DownloadError> {
        // A large body that comes with its head is not copied along with it.
        let taken = piece.len().min(HEAD_PIECE);
        self.head.buffer().extend_from_slice(piece.get(..taken).unwrap_or(piece));
        match self.head.parse(self.limits, self.request) {
            Ok(Parse::Incomplete) => return Ok(piece.get(taken..).unwrap_or_default()),
            Ok(Parse::Complete) => {}
            Err(reject) => return Err(self.malformed(reject.why, reject.at)),
        }
        let behind = self.head.rest().len();
        let rest = piece.get(taken.saturating_sub(behind)..).unwrap_or_default();
        match self.head.status() {
            101 => {
                // Asked for, else the parser had refused it. What stands behind it is the first of the new protocol.
                forward::switching(self.out, self.head);
                self.out.extend_from_slice(rest);
                (self.begun, self.phase) = (true, Phase::Done);
                return Ok(&[]);
            }
            100..200 => {
                if !self.interims.admit(self.head.end()) {
                    return Err(self.malformed("too many interim responses, or too large ones", 0));
                }
                if self.delivery.version == Version::Http11 {
                    forward::interim(self.out, self.head);
                }
                self.head.reset();
            }
            _ => self.begin(),
        }
        Ok(rest)
    }

    fn begin(&mut self) {
        let form = self.delivery.form();
        let refuses = self.sending && (self.head.status() >= 400 || !self.head.keep_alive());
        let ends_by_itself = form.framing(self.head.framing()) != Framing::UntilClose;
        self.delivery.keep_alive &= !refuses && ends_by_itself && self.drain.keeps_connections();
        forward::response(self.out, self.head, self.delivery, || self.dates.now());
        self.body = self.head.body(form);
        self.phase = Phase::Body;
        self.begun = true;
    }

    /// Passes body bytes on; returns those behind its end.
    fn take_body<'p>(&mut self, cx: &mut Context<'_>, piece: &'p [u8]) -> Result<&'p [u8], DownloadError> {
        let forwarded = match self.body.forward(piece, self.out) {
            Ok(forwarded) => forwarded,
            Err(reject) => return Err(self.malformed(reject.why, reject.at)),
        };
        if let Forwarded::Verbatim { send, .. } = forwarded {
            self.write_through(cx, piece.get(..send).unwrap_or_default())?;
        }
        Ok(piece.get(forwarded.taken()..).unwrap_or_default())
    }

    /// One send for what is waiting (the head, at the beginning) and the piece behind it.
    fn write_through(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Result<(), DownloadError> {
        let waiting = self.out.get(self.sent..).unwrap_or_default();
        if !waiting.is_empty() && body.len() <= JOINED_MAX {
            self.out.extend_from_slice(body);
            return Ok(());
        }
        let slices = [IoSlice::new(waiting), IoSlice::new(body)];
        let written = match (waiting.is_empty(), body.is_empty()) {
            (_, true) => return Ok(()),
            (true, false) => self.down.poll_write(cx, body),
            (false, false) => self.down.poll_write_vectored(cx, &slices),
        };
        let written = match written {
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(_)) => return Err(DownloadError::ClientGone),
            Poll::Pending => 0,
        };
        self.moved += written as u64;
        let of_body = written.saturating_sub(waiting.len());
        self.sent += written - of_body;
        self.out.extend_from_slice(body.get(of_body..).unwrap_or_default());
        Ok(())
    }

    fn end_of_input(&mut self) -> Result<(), DownloadError> {
        if self.phase == Phase::Body && self.body.forward_end(self.out).is_ok() {
            self.phase = Phase::Done;
            self.out_of_step = true;
            return Ok(());
        }
        Err(self.broken("closed"))
    }

    fn broken(&self, what: &str) -> DownloadError {
        let (failure, when) = if self.phase == Phase::Body {
            (Failure::UpstreamReset, "in the middle of its response")
        } else if self.has_arrived() {
            (Failure::UpstreamReset, "in the middle of its response head")
        } else if let Some(refusal) = self.up.tls_refusal() {
            return DownloadError::Upstream(Fault::unconnected(self.up.peer_addr(), &refusal));
        } else {
            (Failure::UpstreamClosed, "before its response")
        };
        let detail = format!("{} ended the connection {when} ({what})", self.up.peer_addr());
        DownloadError::Upstream(Fault { failure, repeatable: false, detail })
    }

    fn malformed(&self, why: &str, at: usize) -> DownloadError {
        let detail = format!("{} sent a malformed response: {why} (byte {at})", self.up.peer_addr());
        DownloadError::Upstream(Fault { failure: Failure::UpstreamProtocolError, repeatable: false, detail })
    }
}
