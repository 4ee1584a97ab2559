//! What a certificate says, as far as anybody here asks. Pure.

use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate, X509Version};

/// First and last second in which it is valid, since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from_s: i64,
    pub(super) until_s: i64,
}

/// Why a certificate may be trusted as it is, but not for the one that has signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// `openssl x509 -req` wrote such before version 3.2.
    #[error("it is of X.509 version 1; sign it anew with extensions, as by `openssl x509 -req -extfile`")]
    Version,
    /// The one of Mesher's manual, where the peer does not know it.
    #[error("it is that of an authority, or signs itself, and is none of those in caFile")]
    Authority,
}

/// When it is valid; none if it is no certificate.
pub(super) fn validity(der: &CertificateDer<'_>) -> Option<Validity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some(Validity { from_s: validity.not_before.timestamp(), until_s: validity.not_after.timestamp() })
}

/// Names of DNS among its alternative ones, as written, wildcards included. The common name is not one of them.
pub(super) fn dns_names(der: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(dns).collect()
}

/// What makes it one that no chain of trust can end with, if there is such a thing.
pub(super) fn unfit_for_leaf(der: &CertificateDer<'_>) -> Option<Unfit> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    if certificate.version() != X509Version::V3 {
        return Some(Unfit::Version);
    }
    certificate.is_ca().then_some(Unfit::Authority)
}

/// Its public key with the algorithm's name.
pub(super) fn public_key(der: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.public_key().raw.to_vec().into())
}

/// A name in a certificate names this service. A star stands for one whole label, the first (RFC 6125, section
/// 6.4.3).
pub(super) fn names(presented: &str, service: &str) -> bool {
    match presented.strip_prefix("*.") {
        Some(parent) => service
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => presented.eq_ignore_ascii_case(service),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        assert!(names("*.example.org", "a.example.org"));
        assert!(names("Orders", "orders"));
        for service in ["example.org", "a.b.example.org", ".example.org", "a.example.com"] {
            assert!(!names("*.example.org", service), "{service}");
        }
        assert!(!names("*", "orders"));
        assert!(!names("", "orders"));
    }
}
