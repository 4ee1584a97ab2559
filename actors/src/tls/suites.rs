//! Cipher suites by their names in IANA's registry, which are also Go's, and the provider that has just those.
//!
//! The suites of TLS 1.3 are always on: Go does not let them be chosen either.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, SupportedProtocolVersion};

/// Suites of TLS 1.2, in the order in which they are offered to upstreams; among those of a client its own order counts.
/// Mesher knows the two with RSA and AES only; a certificate with an elliptic key needs the others.
const SUITES: [(&str, CipherSuite); 6] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];
/// Go's old names without the hash.
const SHORT: &str = "_CHACHA20_POLY1305";

/// Names that may be chosen.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SUITES.iter().map(|(name, _)| *name)
}

/// All that may be chosen.
pub(super) fn all() -> Vec<CipherSuite> {
    SUITES.iter().map(|(_, suite)| *suite).collect()
}

/// The suite of a name.
pub(super) fn by_name(name: &str) -> Option<CipherSuite> {
    let whole = if name.ends_with(SHORT) { format!("{name}_SHA256") } else { name.to_owned() };
    SUITES.iter().find(|(known, _)| *known == whole).map(|(_, suite)| *suite)
}

/// Cryptography with these suites of TLS 1.2, in the order of the configuration, after those of 1.3. Never the
/// default of the process, which others may have set.
pub(super) fn provider(chosen: &[CipherSuite]) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    let rank = |suite: CipherSuite| chosen.iter().position(|chosen| *chosen == suite);
    provider.cipher_suites.retain(|suite| suite.tls13().is_some() || rank(suite.suite()).is_some());
    // Stable, so that those of 1.3 stay in their order, in front.
    provider.cipher_suites.sort_by_key(|suite| (suite.tls13().is_none(), rank(suite.suite())));
    Arc::new(provider)
}

/// Versions that are spoken.
pub(super) fn versions(tls13_only: bool) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    static NEW: [&SupportedProtocolVersion; 1] = [&TLS13];
    if tls13_only { &NEW } else { &BOTH }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn suites_are_known_by_their_old_names() {
        for (name, suite) in SUITES {
            assert_eq!(by_name(name), Some(suite));
            assert_eq!(suite.as_str(), Some(name));
        }
        assert_eq!(
            by_name("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"),
            Some(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256)
        );
        assert_eq!(by_name("TLS_RSA_WITH_AES_128_GCM_SHA256"), None);
        assert_eq!(by_name(""), None);
    }

    #[test]
    fn a_provider_has_those_chosen_and_always_those_of_tls_1_3() {
        let chosen = by_name("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256").unwrap();
        let provider = provider(&[chosen]);
        let suites = |is_new: bool| -> Vec<CipherSuite> {
            let of_kind = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_some() == is_new);
            of_kind.map(rustls::SupportedCipherSuite::suite).collect()
        };
        assert_eq!(suites(false), [chosen]);
        assert_eq!(suites(true).len(), 3);
    }
}
