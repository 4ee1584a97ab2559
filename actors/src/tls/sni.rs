//! Which of several certificates a listener shows: the first whose names have the one that is asked for.

use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::facts;

/// Certificates with their names, the default one first.
pub(super) struct ByName(Vec<(Vec<String>, Arc<CertifiedKey>)>);

impl ByName {
    /// Takes the names from the certificates.
    pub(super) fn new(certificates: Vec<Arc<CertifiedKey>>) -> Self {
        let names = |key: &CertifiedKey| key.cert.first().map(facts::dns_names).unwrap_or_default();
        Self(certificates.into_iter().map(|key| (names(&key), key)).collect())
    }

    /// The first that bears the name and whose key the caller can verify; else the first for a caller that can
    /// verify it, else the default.
    fn choose(&self, asked: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let fits = |key: &CertifiedKey| key.key.choose_scheme(schemes).is_some();
        let bears =
            |names: &[String]| asked.is_some_and(|asked| names.iter().any(|name| facts::names(name, asked)));
        let named = self.0.iter().find(|(names, key)| bears(names) && fits(key));
        let usable = || self.0.iter().find(|(_, key)| fits(key));
        named.or_else(usable).or(self.0.first()).map(|(_, key)| key)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes()).cloned()
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(names, _)| names)).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tls::bench::Authority;

    #[test]
    fn the_first_that_bears_the_name_is_shown_and_else_the_default() {
        let authority = Authority::new();
        let [first, second, third] = [&["orders"][..], &["users", "*.shop"], &["users"]]
            .map(|names| Arc::new(authority.issue(names).certified()));
        let by_name = ByName::new(vec![first.clone(), second.clone(), third]);
        let schemes = [SignatureScheme::ECDSA_NISTP256_SHA256];
        let chosen = |asked| by_name.choose(asked, &schemes).unwrap();
        assert!(Arc::ptr_eq(chosen(Some("users")), &second));
        assert!(Arc::ptr_eq(chosen(Some("a.shop")), &second));
        assert!(Arc::ptr_eq(chosen(Some("nobody")), &first));
        assert!(Arc::ptr_eq(chosen(None), &first));
        assert!(Arc::ptr_eq(by_name.choose(Some("users"), &[]).unwrap(), &first));
    }
}
