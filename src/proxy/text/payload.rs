//! What has come of a body in text, out of its framing. Pure.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::codec::{Body, Reject};
use crate::proxy::flow::Piece;

/// A body being read, and what of it was not asked for yet: one read at most.
#[derive(Debug)]
pub(super) struct Payload {
    body: Body,
    data: Vec<u8>,
    trailers: HeaderMap,
}

impl Payload {
    /// Nothing has come yet.
    pub(super) fn new(body: Body) -> Self {
        Self { body, data: Vec::new(), trailers: HeaderMap::new() }
    }

    /// Takes what belongs to the body. Returns how many bytes that is.
    ///
    /// # Errors
    /// What is wrong with the framing.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, Reject> {
        let (data, trailers) = (&mut self.data, &mut self.trailers);
        self.body.unframe(
            bytes,
            |payload| data.extend_from_slice(payload),
            |name, value| {
                if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
                {
                    trailers.append(name, value);
                }
            },
        )
    }

    /// The next piece; nothing while more has to come.
    pub(super) fn piece(&mut self) -> Option<Piece> {
        if !self.data.is_empty() {
            return Some(Piece::Data(std::mem::take(&mut self.data).into()));
        }
        if !self.body.is_done() {
            return None;
        }
        let trailers = std::mem::take(&mut self.trailers);
        Some(if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) })
    }

    /// The sender has closed.
    ///
    /// # Errors
    /// The body is not whole.
    pub(super) fn at_end_of_input(&mut self) -> Result<(), Reject> {
        self.body.at_end_of_input()
    }

    /// The whole body has come.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_done()
    }

    /// It has, and everything was asked for.
    pub(super) fn is_ended(&self) -> bool {
        self.body.is_done() && self.data.is_empty() && self.trailers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::Framing;

    #[test]
    fn a_body_in_chunks_comes_as_data_trailers_and_nothing_behind_them() {
        let mut payload = Payload::new(Body::new(Framing::Chunked));
        assert!(payload.piece().is_none());
        assert_eq!(payload.take(b"2\r\nhe\r\n3\r\nllo\r\n0\r\nx-sum: 5\r\n").unwrap(), 28);
        assert!(matches!(payload.piece(), Some(Piece::Data(data)) if data == "hello"));
        assert!(payload.piece().is_none() && !payload.is_done());
        assert_eq!(payload.take(b"\r\nGET /").unwrap(), 2);
        assert!(payload.is_done() && !payload.is_ended());
        assert!(
            matches!(payload.piece(), Some(Piece::Trailers(fields)) if fields.get("x-sum").unwrap() == "5")
        );
        assert!(payload.is_ended() && matches!(payload.piece(), Some(Piece::End)));
    }
}
