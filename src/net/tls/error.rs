//! Why TLS failed on a connection: in a sentence for people, and as a kind to count by.

use std::fmt;
use std::io;

use mesher_actors::snapshot::TlsReason;
use mesher_actors::snapshot::handshakes::TlsFailure;
use rustls::{Error, InvalidMessage};

/// Why TLS failed on a connection.
#[derive(Debug)]
pub enum TlsError {
    /// The handshake was not complete in time.
    TimedOut,
    /// The connection ended without `close_notify`.
    Truncated,
    /// The connection ended in the middle of the handshake, and what the socket has to say of it.
    Unfinished(Option<io::Error>),
    /// The socket failed.
    Io(io::Error),
    /// What the peer sent, or what it is, is not accepted; or it does not accept us.
    Protocol(Error),
}

impl TlsError {
    /// What the end of a connection is before there is a session.
    pub(super) fn in_handshake(self) -> Self {
        match self {
            Self::Truncated => Self::Unfinished(None),
            Self::Io(error) => Self::Unfinished(Some(error)),
            other => other,
        }
    }

    /// See [`TlsReason::is_refused_certificate`].
    pub(super) fn is_refused_certificate(&self) -> bool {
        matches!(self, Self::Protocol(error) if TlsReason(error).is_refused_certificate())
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn failure(&self) -> TlsFailure {
        match self {
            Self::TimedOut => TlsFailure::TimedOut,
            Self::Truncated | Self::Unfinished(_) | Self::Io(_) => TlsFailure::Closed,
            Self::Protocol(error) => match error {
                Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsFailure::NotTls,
                Error::NoCertificatesPresented => TlsFailure::NoCertificate,
                Error::InvalidCertificate(_) => TlsFailure::BadCertificate,
                Error::NoApplicationProtocol | Error::PeerIncompatible(_) => TlsFailure::Incompatible,
                Error::AlertReceived(_) => TlsFailure::Refused,
                _ => TlsFailure::Protocol,
            },
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS: ")?;
        match self {
            Self::TimedOut => f.write_str("the handshake was not complete in time"),
            Self::Truncated => f.write_str("the peer ended the connection without ending TLS"),
            Self::Unfinished(None) => {
                f.write_str("the peer ended the connection in the middle of the handshake")
            }
            Self::Unfinished(Some(error)) => {
                write!(f, "the connection broke in the middle of the handshake: {error}")
            }
            Self::Io(error) => error.fmt(f),
            Self::Protocol(error) => TlsReason(error).fmt(f),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for TlsError {
    fn from(error: Error) -> Self {
        Self::Protocol(error)
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Io(error) => error,
            TlsError::TimedOut => io::Error::new(io::ErrorKind::TimedOut, error),
            TlsError::Unfinished(Some(ref why)) => io::Error::new(why.kind(), error),
            TlsError::Truncated | TlsError::Unfinished(None) => {
                io::Error::new(io::ErrorKind::UnexpectedEof, error)
            }
            TlsError::Protocol(_) => io::Error::new(io::ErrorKind::InvalidData, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError};

    use super::*;

    #[test]
    fn each_error_is_of_a_kind() {
        let failure = |error| TlsError::Protocol(error).failure();
        assert_eq!(failure(Error::AlertReceived(AlertDescription::UnknownCA)), TlsFailure::Refused);
        assert_eq!(failure(CertificateError::Expired.into()), TlsFailure::BadCertificate);
        assert_eq!(failure(Error::NoCertificatesPresented), TlsFailure::NoCertificate);
        assert_eq!(failure(Error::DecryptError), TlsFailure::Protocol);
    }

    #[test]
    fn the_kind_survives_in_an_error_of_the_system() {
        let error = io::Error::from(TlsError::Truncated);
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(error.to_string().starts_with("TLS: "), "{error}");
        let reset = || TlsError::Io(io::ErrorKind::ConnectionReset.into());
        assert!(!io::Error::from(reset()).to_string().contains("TLS"), "of a stream it is the socket's");
        let unfinished = io::Error::from(reset().in_handshake());
        assert_eq!(unfinished.kind(), io::ErrorKind::ConnectionReset);
        assert!(
            unfinished.to_string().starts_with("TLS: the connection broke in the middle"),
            "{unfinished}"
        );
        let ended = io::Error::from(TlsError::Truncated.in_handshake());
        assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
        assert!(ended.to_string().contains("in the middle of the handshake"), "{ended}");
    }
}
