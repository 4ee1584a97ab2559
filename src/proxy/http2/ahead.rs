//! What of a body has come while nothing could go on: bytes, where the `h2` crate would keep frames, some 260 bytes for each,
//! however little is in it. It has no bound of its own: its peer gets no credit for it, so it is a window of the stream at most.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::proxy::flow::{Lost, Piece};

/// Pieces of fewer bytes are put together; copying larger ones would cost more than it saves.
const SMALL: usize = 256;

/// Pieces in their order.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    whole: VecDeque<Bytes>,
    /// Behind them.
    tail: BytesMut,
    /// What ends the body.
    pub(super) last: Option<Result<Piece, Lost>>,
}

impl Ahead {
    /// Takes what came next. Nothing comes behind what ends the body.
    pub(super) fn push(&mut self, piece: Result<Piece, Lost>) {
        match piece {
            Ok(Piece::Data(data)) if data.len() < SMALL => self.tail.extend_from_slice(&data),
            Ok(Piece::Data(data)) => {
                if !self.tail.is_empty() {
                    self.whole.push_back(self.tail.split().freeze());
                }
                self.whole.push_back(data);
            }
            last => self.last = Some(last),
        }
    }

    /// Gives what came first.
    pub(super) fn pop(&mut self) -> Option<Result<Piece, Lost>> {
        let data = self.whole.pop_front();
        let data = data.or_else(|| (!self.tail.is_empty()).then(|| self.tail.split().freeze()));
        data.map(|data| Ok(Piece::Data(data))).or_else(|| self.last.take())
    }

    /// Nothing but the end is there.
    pub(super) fn is_at_end(&self) -> bool {
        self.whole.is_empty() && self.tail.is_empty() && matches!(self.last, Some(Ok(Piece::End)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.tail.is_empty() && self.last.is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data(of: usize, byte: u8) -> Result<Piece, Lost> {
        Ok(Piece::Data(Bytes::from(vec![byte; of])))
    }

    proptest! {
        #[test]
        fn everything_comes_out_in_order_and_small_pieces_together(
            lengths in prop::collection::vec(prop_oneof![0_usize..20, 250_usize..400], 0..200)
        ) {
            let mut ahead = Ahead::default();
            let mut wanted = Vec::new();
            for (number, length) in lengths.iter().enumerate() {
                let byte = u8::try_from(number % 251).unwrap_or_default();
                ahead.push(data(*length, byte));
                wanted.extend(vec![byte; *length]);
            }
            prop_assert!(!ahead.is_at_end());
            ahead.push(Ok(Piece::End));
            let (mut came, mut pieces, mut is_ended) = (Vec::new(), 0, false);
            while let Some(piece) = ahead.pop() {
                prop_assert!(!is_ended);
                match piece {
                    Ok(Piece::Data(piece)) => {
                        came.extend_from_slice(&piece);
                        prop_assert_eq!(ahead.is_at_end(), came.len() == wanted.len());
                    }
                    _ => is_ended = true,
                }
                pieces += 1;
            }
            prop_assert!(is_ended && ahead.is_empty() && came == wanted);
            let large = lengths.iter().filter(|length| **length >= SMALL).count();
            prop_assert!(pieces <= 2 * large + 2);
        }
    }
}
