//! Why a call to service-center failed, sorted by what the caller can do about it.

use super::wire::{Code, ErrorAnswer};

/// A failed call.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum CallError {
    /// Service-center answered and said no: asking another address will not help.
    #[error("service-center refuses: {0}")]
    Refused(ErrorAnswer),
    /// No answer, one that cannot be used, or a fault inside service-center: another address or a later try may
    /// help.
    #[error("{0}")]
    Unavailable(String),
    /// The answer is larger than [`super::wire::ANSWER_LENGTH_MAX`]: asking for less may help.
    #[error("{0}")]
    TooLarge(String),
}

impl CallError {
    /// Whether service-center refused with this code.
    pub(super) fn is(&self, code: Code) -> bool {
        matches!(self, Self::Refused(answer) if answer.code == code)
    }

    /// Whether the failure says that we cannot work with service-center at all, whatever we ask.
    pub(super) fn unreachable(&self) -> bool {
        match self {
            Self::Refused(answer) => answer.code.denies_us(),
            Self::Unavailable(_) => true,
            Self::TooLarge(_) => false,
        }
    }
}
