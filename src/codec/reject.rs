//! A message that is refused: the status to answer with, the reason in words, and where it went wrong.

use std::fmt;

/// A refused message. Answer with [`Reject::status`], then close the connection: where the next message would start
/// is not known any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// Status for the client: 400, 414, 417, 431, 501 or 505 for a request head, 502 for a response head. For a body it
    /// is 400 and means the sender of that body: of a response, read it as 502.
    pub status: u16,
    /// What is wrong, fit for a log line and for the answer's text.
    pub why: &'static str,
    /// Byte offset in the head (from the first byte of the buffer) or in the body (from its first byte).
    pub at: usize,
}

/// What is wrong in a part of a message, with the offset in that part. Whoever knows the part's place makes a
/// [`Reject`] of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) why: &'static str,
    pub(super) at: usize,
}

impl Reject {
    /// Status 400, the answer to nearly everything.
    pub(super) const fn bad(why: &'static str, at: usize) -> Self {
        Reject { status: 400, why, at }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (byte {})", self.why, self.at)
    }
}

impl std::error::Error for Reject {}

impl Fault {
    pub(super) const fn new(why: &'static str, at: usize) -> Self {
        Fault { why, at }
    }

    /// The same fault, seen from a message in which the part starts at `start`.
    pub(super) const fn within(self, start: usize) -> Reject {
        Reject::bad(self.why, start.saturating_add(self.at))
    }
}
