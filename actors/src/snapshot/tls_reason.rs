//! Why a TLS handshake failed, in a sentence for people. Pure.
//!
//! For whoever speaks TLS: the data plane with its clients and services, the control plane with the registry. It speaks of
//! keys by their last name only, since it knows no tag.

use std::error::Error as Cause;
use std::fmt;
use std::io;

use rustls::{AlertDescription as Alert, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// Names of a foreign certificate that an error repeats.
const NAMES_MAX: usize = 4;
/// Characters of each: a name of DNS has no more (RFC 1035 section 2.3.4), but a certificate may hold anything.
const NAME_CHARACTERS_MAX: usize = 255;

/// What an error of rustls means and who it is that objects.
#[derive(Debug)]
pub struct TlsReason<'a>(pub &'a Error);

impl<'a> TlsReason<'a> {
    /// Of the first error of rustls among the causes of an error, itself included.
    #[must_use]
    pub fn among(error: &'a (dyn Cause + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(cause) = next {
            if let Some(found) = cause.downcast_ref() {
                return Some(Self(found));
            }
            // An error of the system does not name what it wraps among its causes.
            let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = inner.map_or_else(|| cause.source(), |inner| Some(inner));
        }
        None
    }

    /// The peer does not take our certificate, or wants one. It says so in its handshake: of what we sent behind ours it has
    /// looked at nothing.
    #[must_use]
    pub const fn is_refused_certificate(&self) -> bool {
        matches!(self.0, Error::AlertReceived(alert) if is_of_certificate(*alert))
    }
}

impl fmt::Display for TlsReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                f.write_str("what the peer speaks is not TLS")
            }
            Error::NoCertificatesPresented => {
                f.write_str("the peer presents no certificate, and verifyPeer wants one")
            }
            Error::InvalidCertificate(error) => certificate(error, f),
            Error::NoApplicationProtocol => {
                f.write_str("the peer speaks none of the protocols offered (ALPN)")
            }
            Error::PeerIncompatible(why) => incompatible(why, f),
            Error::AlertReceived(alert) => refused(*alert, f),
            error => error.fmt(f),
        }
    }
}

/// What we have against the peer's certificate.
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
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            f.write_str("is not for this side of a connection; see its extendedKeyUsage")
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
        CertificateError::Other(why) => write!(f, "is not accepted: {why}"),
        error => write!(f, "is not accepted ({error})"),
    }
}

fn incompatible(why: &PeerIncompatible, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match why {
        // Every client hello of TLS 1.2 and later has the extension that the last one misses (RFC 8446 section 9.2), and
        // it is looked for first.
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            f.write_str("the peer speaks older versions only than `protocol` allows; TLSv1.2 is the least")
        }
        PeerIncompatible::NoCipherSuitesInCommon => f.write_str(
            "no cipher suite is spoken by both and fits the certificate; see `cipherSuits` and its kind of key",
        ),
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            f.write_str("the peer cannot verify signatures by the kind of key that the certificate has")
        }
        PeerIncompatible::NoKxGroupsInCommon => f.write_str(
            "the peer agrees on keys by none of the groups that are spoken here; X25519, P-256 and P-384 are",
        ),
        why => write!(f, "the peer has nothing in common with what is allowed here ({why:?})"),
    }
}

/// What the peer has against us.
fn refused(alert: Alert, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match alert {
        Alert::CertificateRequired => {
            f.write_str("the peer wants a certificate of ours; set `certFile` and `keyFile`")
        }
        alert if is_of_certificate(alert) => {
            write!(f, "the peer does not accept our certificate (alert {alert:?})")
        }
        Alert::ProtocolVersion => {
            f.write_str("the peer speaks none of the versions that `protocol` allows (alert ProtocolVersion)")
        }
        alert => write!(f, "the peer refuses (alert {alert:?})"),
    }
}

/// Alerts about certificates (RFC 8446 section 6.2).
const fn is_of_certificate(alert: Alert) -> bool {
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(error: impl Into<Error>) -> String {
        TlsReason(&error.into()).to_string()
    }

    #[test]
    fn a_wrong_name_is_said_with_the_right_one() {
        let expected = "orders".try_into().unwrap();
        let presented = ["stock", "*.shop"].map(str::to_owned).to_vec();
        let said = said(CertificateError::NotValidForNameContext { expected, presented });
        assert_eq!(said, "the peer's certificate does not name the service \"orders\" but stock, *.shop");
    }

    #[test]
    fn what_stands_in_a_foreign_certificate_is_neither_long_nor_a_line_of_its_own() {
        let expected = "orders".try_into().unwrap();
        let presented = vec!["a\r\nERROR forged \u{1b}[2J".to_owned(), "x".repeat(60_000)];
        let said = said(CertificateError::NotValidForNameContext { expected, presented });
        assert!(!said.contains(char::is_control) && said.contains("a\\r\\nERROR forged"), "{said}");
        assert!(said.len() < 400, "{} bytes", said.len());
    }

    #[test]
    fn a_peer_that_is_too_old_is_told_from_one_with_other_suites() {
        for old in [PeerIncompatible::SignatureAlgorithmsExtensionRequired, PeerIncompatible::Tls12NotOffered]
        {
            assert!(said(old).contains("older versions"));
        }
        assert!(said(PeerIncompatible::NoCipherSuitesInCommon).contains("`cipherSuits`"));
    }

    #[test]
    fn what_the_peer_has_against_us_is_told_apart_from_what_we_have_against_it() {
        let refused = said(Error::AlertReceived(Alert::UnknownCA));
        assert!(refused.contains("does not accept our certificate"), "{refused}");
        assert!(TlsReason(&Error::AlertReceived(Alert::CertificateRequired)).is_refused_certificate());
        assert!(!TlsReason(&Error::AlertReceived(Alert::InternalError)).is_refused_certificate());
        let refused = said(CertificateError::UnknownIssuer);
        assert!(refused.starts_with("the peer's certificate is not from an issuer"), "{refused}");
    }

    #[test]
    fn it_is_found_below_what_others_wrap_around_it() {
        let wrapped = io::Error::other(io::Error::other(Error::NoCertificatesPresented));
        assert!(TlsReason::among(&wrapped).is_some());
        assert!(TlsReason::among(&io::Error::other("no reason")).is_none());
    }
}
