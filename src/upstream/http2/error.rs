//! What a failed call means: whose fault it was and whether it may be repeated. Pure.

use h2::Reason;
use mesher_actors::snapshot::Failure;

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There was no connection, and none could be made.
    ConnectFailed,
    /// All connections are full and too many calls wait already.
    Overflow,
    /// The peer has certainly not looked at the request: it said REFUSED_STREAM (RFC 9113 section 8.7), its GOAWAY named
    /// an earlier stream as its last (section 6.8), or it ended the connection before the request was sent, when that was
    /// being set up at the earliest.
    Refused,
    /// The peer reset the stream.
    Reset(Reason),
    /// The connection ended in the middle of the call.
    Closed,
    /// What the peer sent breaks the rules of HTTP/2.
    Protocol,
    /// The request, or what followed it, cannot be said in HTTP/2 (a `Connection` header, say), or came after the end of
    /// its stream; the answer tells then what that end was.
    Unsendable,
}

/// A failed call: the cause, and what to tell people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct CallError {
    /// Why.
    pub cause: Cause,
    /// The same in words, with the peer's address.
    pub detail: String,
}

impl Cause {
    /// The peer has certainly not acted on the request: it may be repeated whatever its method is.
    #[must_use]
    pub fn is_unprocessed(self) -> bool {
        matches!(self, Self::ConnectFailed | Self::Overflow | Self::Refused)
    }

    /// What the client is told; `begun`: the answer had begun to arrive.
    #[must_use]
    pub fn failure(self, begun: bool) -> Failure {
        match self {
            Self::ConnectFailed => Failure::ConnectFailed,
            Self::Overflow => Failure::Overloaded,
            Self::Refused | Self::Reset(_) | Self::Closed if begun => Failure::UpstreamReset,
            Self::Refused | Self::Reset(_) | Self::Closed => Failure::UpstreamClosed,
            Self::Protocol => Failure::UpstreamProtocolError,
            Self::Unsendable => Failure::ClientProtocolError,
        }
    }
}

impl From<&h2::Error> for Cause {
    /// The cause of an error that a stream reported. (The end of a whole connection is reported differently: there a
    /// GOAWAY says nothing about any one stream.)
    fn from(error: &h2::Error) -> Self {
        if error.is_io() {
            return Self::Closed;
        }
        match error.reason() {
            // h2 gives a peer's GOAWAY only to streams above its last one.
            Some(_) if error.is_go_away() && error.is_remote() => Self::Refused,
            Some(_) if error.is_library() => Self::Protocol,
            Some(Reason::REFUSED_STREAM) => Self::Refused,
            Some(reason) => Self::Reset(reason),
            None => Self::Unsendable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_peer_never_saw_may_be_repeated_whatever_it_is() {
        let all = [
            (Cause::ConnectFailed, true),
            (Cause::Overflow, true),
            (Cause::Refused, true),
            (Cause::Reset(Reason::CANCEL), false),
            (Cause::Reset(Reason::ENHANCE_YOUR_CALM), false),
            (Cause::Closed, false),
            (Cause::Protocol, false),
            (Cause::Unsendable, false),
        ];
        for (cause, unprocessed) in all {
            assert_eq!(cause.is_unprocessed(), unprocessed, "{cause:?}");
        }
    }

    #[test]
    fn an_end_is_a_close_before_the_answer_and_a_reset_within_it() {
        for cause in [Cause::Refused, Cause::Reset(Reason::CANCEL), Cause::Closed] {
            assert_eq!(cause.failure(false), Failure::UpstreamClosed);
            assert_eq!(cause.failure(true), Failure::UpstreamReset);
        }
        assert_eq!(Cause::Overflow.failure(false), Failure::Overloaded);
    }

    #[test]
    fn a_bare_reason_is_read_as_a_reset() {
        assert_eq!(Cause::from(&h2::Error::from(Reason::REFUSED_STREAM)), Cause::Refused);
        assert_eq!(Cause::from(&h2::Error::from(Reason::CANCEL)), Cause::Reset(Reason::CANCEL));
    }
}
