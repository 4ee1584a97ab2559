//! Follows a body through consecutive pieces: what belongs to it, whether it is sound, and what to send on.
//!
//! Bodies pass in whatever pieces the network cuts them. Pieces that may be sent as they are, and nearly all may, are
//! said to be so and not copied; the others are written anew into a buffer.

use super::chunked::{Chunked, Sink};
use super::framing::Framing;
use super::reject::Reject;
use super::write;

/// A body on its way through.
#[derive(Debug, Clone, Default)]
pub struct Body {
    follow: Follow,
    outgoing: Outgoing,
    drops_trailers: bool,
    refused: Option<Reject>,
}

/// In which form a body leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outgoing {
    /// As it came, chunk extensions dropped.
    #[default]
    AsReceived,
    /// A chunked body as its payload alone, ended by closing: for a receiver that speaks HTTP/1.0. Others as they came.
    Payload,
    /// A body that ends with the connection as chunks: the receiver's connection stays usable, and it sees a body that
    /// was cut short. Others as they came.
    Chunked,
}

/// What [`Body::forward`] made of a piece. `taken` bytes of it belong to the body; the rest is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// Send the first `send` bytes of the piece as they are. Those up to `taken` are kept in mind: an element that is
    /// not complete yet.
    Verbatim {
        /// Bytes of the piece that belong to the body.
        taken: usize,
        /// Bytes of the piece to send; at most `taken`.
        send: usize,
    },
    /// What is to be sent, maybe nothing, was appended to the buffer.
    Rewritten {
        /// Bytes of the piece that belong to the body.
        taken: usize,
    },
}

#[derive(Debug, Clone)]
enum Follow {
    Length { left: u64, offset: u64 },
    Chunked(Chunked),
    UntilClose { is_ended: bool },
}

impl Outgoing {
    /// The framing to declare for a body that came in this one.
    pub fn framing(self, incoming: Framing) -> Framing {
        match (self, incoming) {
            (Outgoing::Payload, Framing::Chunked) => Framing::UntilClose,
            (Outgoing::Chunked, Framing::UntilClose) => Framing::Chunked,
            _ => incoming,
        }
    }
}

impl Forwarded {
    /// Bytes of the piece that belong to the body.
    pub fn taken(self) -> usize {
        match self {
            Forwarded::Verbatim { taken, .. } | Forwarded::Rewritten { taken } => taken,
        }
    }
}

impl Body {
    /// A body that has not begun, to be sent on as it comes.
    pub fn new(framing: Framing) -> Self {
        let follow = match framing {
            Framing::None => Follow::default(),
            Framing::Length(left) => Follow::Length { left, offset: 0 },
            Framing::Chunked => Follow::Chunked(Chunked::default()),
            Framing::UntilClose => Follow::UntilClose { is_ended: false },
        };
        Body { follow, ..Body::default() }
    }

    /// The same body, to be sent on in this form.
    #[must_use]
    pub fn outgoing(self, outgoing: Outgoing) -> Self {
        Body { outgoing, ..self }
    }

    /// The same body with its trailers sent on (the default) or dropped. They are judged in any case.
    #[must_use]
    pub fn keep_trailers(self, keep: bool) -> Self {
        Body { drops_trailers: !keep, ..self }
    }

    /// Says how many bytes at the front of `piece` belong to the body. For bodies that end here; what is accepted may
    /// not be sent on unchanged, see [`forward`](Self::forward). A reject is final.
    pub fn take(&mut self, piece: &[u8]) -> Result<usize, Reject> {
        self.follow(piece, &mut Ignore)
    }

    /// Takes what belongs to the body from the front of `piece` and says what to send on. `out` is only appended to,
    /// and left as it was by a reject, which is final.
    pub fn forward(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<Forwarded, Reject> {
        match (&self.follow, self.outgoing) {
            (Follow::Length { .. }, _)
            | (Follow::UntilClose { .. }, Outgoing::AsReceived | Outgoing::Payload) => {
                self.take(piece).map(|taken| Forwarded::Verbatim { taken, send: taken })
            }
            (Follow::UntilClose { .. }, Outgoing::Chunked) => {
                let taken = self.take(piece)?;
                write::chunk(out, piece.get(..taken).unwrap_or_default());
                Ok(Forwarded::Rewritten { taken })
            }
            (Follow::Chunked(chunked), outgoing) => {
                let before = out.len();
                let payload_only = outgoing == Outgoing::Payload;
                let mut relay = Relay {
                    piece,
                    verbatim: 0,
                    is_rewriting: !payload_only && !chunked.is_between_elements(),
                    payload_only,
                    drops_trailers: self.drops_trailers,
                    out,
                };
                let followed = self.follow(piece, &mut relay);
                if followed.is_err() {
                    relay.out.truncate(before);
                }
                let taken = followed?;
                Ok(match relay.is_rewriting {
                    true => Forwarded::Rewritten { taken },
                    false => Forwarded::Verbatim { taken, send: relay.verbatim },
                })
            }
        }
    }

    /// Takes what belongs to the body from the front of `piece` and hands on its payload and its trailers: for a
    /// receiver that has a framing of its own. Returns how many bytes of the piece belong to the body. A reject is final;
    /// what was handed on before it is sound.
    pub fn unframe(
        &mut self,
        piece: &[u8],
        data: impl FnMut(&[u8]),
        trailer: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize, Reject> {
        let mut sink = Unframe { piece, data, trailer, drops_trailers: self.drops_trailers };
        let is_chunked = matches!(self.follow, Follow::Chunked(_));
        let taken = self.follow(piece, &mut sink)?;
        if !is_chunked && taken > 0 {
            (sink.data)(piece.get(..taken).unwrap_or_default());
        }
        Ok(taken)
    }

    /// True once nothing more belongs to the body. A body until close is done by
    /// [`at_end_of_input`](Self::at_end_of_input) only.
    pub fn is_done(&self) -> bool {
        match &self.follow {
            Follow::Length { left, .. } => *left == 0,
            Follow::Chunked(chunked) => chunked.is_done(),
            Follow::UntilClose { is_ended } => *is_ended,
        }
    }

    /// The sender has closed: the end of a body until close; anything else must be done by now.
    pub fn at_end_of_input(&mut self) -> Result<(), Reject> {
        if let Some(reject) = self.refused {
            return Err(reject);
        }
        if let Follow::UntilClose { is_ended } = &mut self.follow {
            *is_ended = true;
        }
        if self.is_done() {
            return Ok(());
        }
        let at = usize::try_from(self.offset()).unwrap_or(usize::MAX);
        Err(*self.refused.insert(Reject::bad("body ended early", at)))
    }

    /// [`at_end_of_input`](Self::at_end_of_input) for a body that is sent on: appends what ends it for the receiver,
    /// if anything does.
    pub fn forward_end(&mut self, out: &mut Vec<u8>) -> Result<(), Reject> {
        let was_done = self.is_done();
        self.at_end_of_input()?;
        if !was_done && self.outgoing == Outgoing::Chunked {
            write::last_chunk(out);
        }
        Ok(())
    }

    /// What is still to come of a body with a length; 0 if there is none. Nothing if that is not known.
    pub fn remaining_length(&self) -> Option<u64> {
        match self.follow {
            Follow::Length { left, .. } => Some(left),
            Follow::Chunked(_) | Follow::UntilClose { .. } => None,
        }
    }

    fn offset(&self) -> u64 {
        match &self.follow {
            Follow::Length { offset, .. } => *offset,
            Follow::Chunked(chunked) => chunked.offset(),
            Follow::UntilClose { .. } => 0,
        }
    }

    fn follow(&mut self, piece: &[u8], sink: &mut impl Sink) -> Result<usize, Reject> {
        if let Some(reject) = self.refused {
            return Err(reject);
        }
        match &mut self.follow {
            Follow::Length { left, offset } => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                *left = left.saturating_sub(taken as u64);
                *offset = offset.saturating_add(taken as u64);
                Ok(taken)
            }
            Follow::UntilClose { is_ended } => Ok(if *is_ended { 0 } else { piece.len() }),
            Follow::Chunked(chunked) => {
                chunked.follow(piece, sink).inspect_err(|reject| self.refused = Some(*reject))
            }
        }
    }
}

impl Default for Follow {
    fn default() -> Self {
        Follow::Length { left: 0, offset: 0 }
    }
}

/// For a body that ends here.
struct Ignore;

impl Sink for Ignore {
    fn size(&mut self, _: u64, _: bool, _: usize) {}
    fn data(&mut self, _: usize, _: usize) {}
    fn line_end(&mut self, _: usize) {}
    fn trailer(&mut self, _: &[u8], _: &[u8], _: usize) {}
}

/// For a receiver that has a framing of its own.
struct Unframe<'a, D, T> {
    piece: &'a [u8],
    data: D,
    trailer: T,
    drops_trailers: bool,
}

impl<D: FnMut(&[u8]), T: FnMut(&[u8], &[u8])> Sink for Unframe<'_, D, T> {
    fn size(&mut self, _: u64, _: bool, _: usize) {}

    fn data(&mut self, start: usize, end: usize) {
        (self.data)(self.piece.get(start..end).unwrap_or_default());
    }

    fn line_end(&mut self, _: usize) {}

    fn trailer(&mut self, name: &[u8], value: &[u8], _: usize) {
        if !self.drops_trailers {
            (self.trailer)(name, value);
        }
    }
}

/// Sends a piece on as it is for as long as it may, and from then on writes it anew.
struct Relay<'a> {
    piece: &'a [u8],
    /// The piece up to here may go as it is.
    verbatim: usize,
    is_rewriting: bool,
    payload_only: bool,
    drops_trailers: bool,
    out: &'a mut Vec<u8>,
}

impl Relay<'_> {
    fn rewrite(&mut self) -> &mut Vec<u8> {
        if !self.is_rewriting {
            self.is_rewriting = true;
            self.out.extend_from_slice(self.piece.get(..self.verbatim).unwrap_or_default());
        }
        self.out
    }
}

impl Sink for Relay<'_> {
    fn size(&mut self, size: u64, is_plain: bool, end: usize) {
        if self.payload_only {
            return;
        }
        if is_plain && !self.is_rewriting {
            self.verbatim = end;
        } else {
            write::chunk_size(self.rewrite(), size);
        }
    }

    fn data(&mut self, start: usize, end: usize) {
        if !self.is_rewriting && start == self.verbatim {
            self.verbatim = end;
        } else {
            let data = self.piece.get(start..end).unwrap_or_default();
            self.rewrite().extend_from_slice(data);
        }
    }

    fn line_end(&mut self, end: usize) {
        if self.payload_only {
            return;
        }
        if !self.is_rewriting {
            self.verbatim = end;
        } else {
            write::end(self.out);
        }
    }

    fn trailer(&mut self, name: &[u8], value: &[u8], end: usize) {
        if self.payload_only {
            return;
        }
        if self.drops_trailers {
            self.rewrite();
        } else if !self.is_rewriting {
            self.verbatim = end;
        } else {
            write::header(self.out, name, value);
        }
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
