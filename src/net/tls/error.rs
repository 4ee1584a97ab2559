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
    /// The connection ended without `close_notify`, or in the middle of the handshake.
    Truncated,
    /// The socket failed.
    Io(io::Error),
    /// What the peer sent, or what it is, is not accepted; or it does not accept us.
    Protocol(Error),
}

impl TlsError {
    /// What kind of failure it is.
    #[must_use]
    pub fn failure(&self) -> TlsFailure {
        match self {
            Self::TimedOut => TlsFailure::TimedOut,
            Self::Truncated | Self::Io(_) => TlsFailure::Closed,
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

impl TlsError {
    /// As an error of the system that speaks of TLS even where it was the socket that failed: whoever reads it sees that there
    /// was a connection, and what was made of it.
    #[must_use]
    pub fn in_handshake(self) -> io::Error {
        match self {
            Self::Io(error) => io::Error::new(error.kind(), Self::Io(error)),
            other => other.into(),
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS: ")?;
        match self {
            Self::TimedOut => f.write_str("the handshake was not complete in time"),
            Self::Truncated => f.write_str("the peer ended the connection without ending TLS"),
            Self::Io(error) => write!(f, "the connection broke: {error}"),
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
            TlsError::Truncated => io::Error::new(io::ErrorKind::UnexpectedEof, error),
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
        assert_eq!(reset().in_handshake().kind(), io::ErrorKind::ConnectionReset);
        assert!(reset().in_handshake().to_string().starts_with("TLS: "));
        assert!(!io::Error::from(reset()).to_string().contains("TLS"), "of a stream it is the socket's");
    }
}
