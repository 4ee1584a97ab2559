//! Why TLS failed on a connection: in a sentence for people, and as a kind to count by.

use std::fmt::{self, Display};
use std::io;

use mesher_actors::snapshot::handshakes::TlsFailure;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// Names of a foreign certificate that an error repeats.
const NAMES_MAX: usize = 4;
/// Characters of each: a name of DNS has no more (RFC 1035 section 2.3.4), but a certificate may hold anything.
const NAME_CHARACTERS_MAX: usize = 255;

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

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS: ")?;
        match self {
            Self::TimedOut => f.write_str("the handshake was not complete in time"),
            Self::Truncated => f.write_str("the peer ended the connection without ending TLS"),
            Self::Io(error) => error.fmt(f),
            Self::Protocol(error) => protocol(error, f),
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

fn protocol(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use AlertDescription as Alert;
    match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            f.write_str("what the peer speaks is not TLS")
        }
        Error::NoCertificatesPresented => {
            f.write_str("the peer presents no certificate, and verifyPeer wants one")
        }
        Error::InvalidCertificate(error) => certificate(error, f),
        Error::NoApplicationProtocol => f.write_str("the peer speaks none of the protocols offered (ALPN)"),
        Error::PeerIncompatible(why) => write!(f, "the peer has no version or cipher in common ({why:?})"),
        Error::AlertReceived(Alert::CertificateRequired) => {
            f.write_str("the peer wants a certificate of ours")
        }
        Error::AlertReceived(
            alert @ (Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied),
        ) => write!(f, "the peer does not accept our certificate (alert {alert:?})"),
        Error::AlertReceived(alert) => write!(f, "the peer refuses (alert {alert:?})"),
        error => error.fmt(f),
    }
}

fn certificate(error: &CertificateError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("the peer's certificate ")?;
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => f.write_str("has expired"),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            f.write_str("is not valid yet; are both clocks right?")
        }
        // The second: from one of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            f.write_str("is not from an issuer in caFile")
        }
        CertificateError::NotValidForName => f.write_str("does not name the service"),
        CertificateError::NotValidForNameContext { expected, presented } => {
            write!(f, "does not name the service {:?}", expected.to_str())?;
            match presented.get(..NAMES_MAX).unwrap_or(presented) {
                [] => f.write_str(" or any other"),
                names => {
                    let shown = |name: &String| -> String {
                        name.chars().take(NAME_CHARACTERS_MAX).flat_map(char::escape_debug).collect()
                    };
                    write!(f, " but {}", names.iter().map(shown).collect::<Vec<_>>().join(", "))
                }
            }
        }
        error => write!(f, "is not accepted ({error})"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_wrong_name_is_said_with_the_right_one() {
        let expected = "orders".try_into().unwrap();
        let presented = ["stock", "*.shop"].map(str::to_owned).to_vec();
        let error = CertificateError::NotValidForNameContext { expected, presented };
        let error = TlsError::from(Error::InvalidCertificate(error));
        let said = "TLS: the peer's certificate does not name the service \"orders\" but stock, *.shop";
        assert_eq!((error.to_string().as_str(), error.failure()), (said, TlsFailure::BadCertificate));
    }

    #[test]
    fn what_stands_in_a_foreign_certificate_is_neither_long_nor_a_line_of_its_own() {
        let expected = "orders".try_into().unwrap();
        let presented = vec!["a\r\nERROR forged \u{1b}[2J".to_owned(), "x".repeat(60_000)];
        let error = CertificateError::NotValidForNameContext { expected, presented };
        let said = TlsError::from(Error::InvalidCertificate(error)).to_string();
        assert!(!said.contains(char::is_control) && said.contains("a\\r\\nERROR forged"), "{said}");
        assert!(said.len() < 400, "{} bytes", said.len());
    }

    #[test]
    fn what_the_peer_has_against_us_is_told_apart_from_what_we_have_against_it() {
        let alert = TlsError::from(Error::AlertReceived(AlertDescription::UnknownCA));
        assert_eq!(alert.failure(), TlsFailure::Refused);
        assert!(alert.to_string().contains("does not accept our certificate"), "{alert}");
        assert_eq!(TlsError::from(Error::NoCertificatesPresented).failure(), TlsFailure::NoCertificate);
        assert_eq!(TlsError::from(Error::DecryptError).failure(), TlsFailure::Protocol);
    }

    #[test]
    fn the_kind_survives_in_an_error_of_the_system() {
        let error = io::Error::from(TlsError::Truncated);
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(error.to_string().starts_with("TLS: "), "{error}");
    }
}
