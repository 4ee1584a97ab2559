//! An answer that mesher makes up itself.

use std::borrow::Cow;

use mesher_actors::snapshot::Failure;

/// Why, and in which words.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Kind; gives flag, name and status.
    pub failure: Failure,
    /// Status, where it is more precise than the kind's.
    pub status: u16,
    /// One sentence for people: what is wrong and what helps. No control characters reach the wire.
    pub detail: Cow<'static, str>,
}

impl Reply {
    /// An answer with the kind's own status.
    pub fn new(failure: Failure, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { failure, status: failure.face().status, detail: detail.into() }
    }

    /// An answer with a more precise status.
    pub fn with_status(failure: Failure, status: u16, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, ..Self::new(failure, detail) }
    }
}
