//! Whom a peer is believed to be.
//!
//! A certificate is good if it is one of those in `caFile` itself, which is called pinned, or if it leads to one of
//! them and bears the name that is called. The first is what Mesher's manual has its readers do with one certificate
//! that signs itself: such a one is an authority, and has often no name, so that by the rules it could be no leaf.
//! Whatever is believed of a certificate, the peer must prove that it has the key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use tracing::warn;

use super::facts;

/// The certificates of a `caFile`.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    roots: Arc<RootCertStore>,
    pinned: Arc<[CertificateDer<'static>]>,
}

/// The name that a service's certificate must bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// The one that is connected to.
    Called,
    /// This one. It need not be one of DNS: registries allow `orders.1`.
    Of(String),
}

/// Verifies services.
#[derive(Debug)]
pub(super) struct ServiceVerifier {
    pub(super) trust: Trust,
    pub(super) name: Name,
    pub(super) proof: Proof,
    /// For the log.
    pub(super) target: String,
    pub(super) is_told: AtomicBool,
}

/// Believes every service.
#[derive(Debug)]
pub(super) struct Credulous(pub(super) Proof);

/// Verifies those who call a listener.
#[derive(Debug)]
pub(super) struct CallerVerifier {
    trust: Trust,
    chain: Arc<dyn ClientCertVerifier>,
    proof: Proof,
    target: String,
    is_told: AtomicBool,
}

/// Checks that the peer has the key of the certificate it shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof(WebPkiSupportedAlgorithms);

/// What all verifiers have in common: the peer proves that it has the key, in the field of this name.
macro_rules! proves_by_key {
    ($proof:tt) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.$proof.tls12(message, leaf, signature)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.$proof.tls13(message, leaf, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.$proof.schemes()
        }
    };
}

// === impl Trust ===

impl Trust {
    pub(super) fn new(roots: RootCertStore, certificates: Vec<CertificateDer<'static>>) -> Self {
        Self { roots: Arc::new(roots), pinned: certificates.into() }
    }

    /// Whether it is one of ours. One that has ended, or has not begun, is not believed all the same.
    fn pins(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.pinned.contains(leaf) {
            return Ok(false);
        }
        let validity = facts::validity(leaf).ok_or(CertificateError::BadEncoding)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < validity.from_s {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > validity.until_s {
            return Err(CertificateError::Expired.into());
        }
        Ok(true)
    }
}

// === impl Name ===

impl Name {
    /// By the rules of RFC 6125, section 6.4, as Go has them: letter by letter, or a star for the first label.
    fn verify(&self, leaf: &CertificateDer<'_>, called: &ServerName<'_>) -> Result<(), Error> {
        let expected = match self {
            Self::Called => called.to_owned(),
            Self::Of(name) => match ServerName::try_from(name.clone()) {
                Ok(expected) => expected,
                Err(_) if bears(leaf, name) => return Ok(()),
                Err(_) => return Err(CertificateError::NotValidForName.into()),
            },
        };
        match &expected {
            ServerName::DnsName(name) if bears(leaf, name.as_ref()) => Ok(()),
            ServerName::DnsName(_) => {
                let presented = facts::dns_names(leaf);
                Err(CertificateError::NotValidForNameContext { expected, presented }.into())
            }
            // An address, which is none of a certificate's names.
            _ => verify_server_name(&ParsedCertificate::try_from(leaf)?, &expected),
        }
    }
}

fn bears(leaf: &CertificateDer<'_>, name: &str) -> bool {
    facts::dns_names(leaf).iter().any(|presented| facts::names(presented, name))
}

// === impl Proof ===

impl Proof {
    pub(super) fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }

    fn tls12(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.0)
    }

    /// By the bare key, so that certificates of version 1 may prove it, too: that is what `openssl x509 -req` made
    /// before version 3.2 of it.
    fn tls13(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = facts::public_key(leaf).ok_or(CertificateError::BadEncoding)?;
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.0)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

// === impl ServiceVerifier ===

impl ServerCertVerifier for ServiceVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        called: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.trust.pins(leaf, now)? {
            tell_pinned(&self.is_told, &self.target);
            return Ok(ServerCertVerified::assertion());
        }
        let (roots, algorithms) = (&self.trust.roots, self.proof.0.all);
        ParsedCertificate::try_from(leaf)
            .and_then(|parsed| {
                verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)
            })
            .map_err(|error| explained(error, leaf))?;
        self.name.verify(leaf, called)?;
        Ok(ServerCertVerified::assertion())
    }

    proves_by_key!(proof);
}

// === impl Credulous ===

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _called: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    proves_by_key!(0);
}

// === impl CallerVerifier ===

impl CallerVerifier {
    /// Verifies by these certificates.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn try_new(
        trust: Trust,
        provider: &Arc<CryptoProvider>,
        target: String,
    ) -> Result<Self, VerifierBuilderError> {
        let chain =
            WebPkiClientVerifier::builder_with_provider(trust.roots.clone(), provider.clone()).build()?;
        Ok(Self { trust, chain, proof: Proof::new(provider), target, is_told: AtomicBool::new(false) })
    }
}

impl ClientCertVerifier for CallerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.trust.pins(leaf, now)? {
            tell_pinned(&self.is_told, &self.target);
            return Ok(ClientCertVerified::assertion());
        }
        self.chain.verify_client_cert(leaf, intermediates, now).map_err(|error| explained(error, leaf))
    }

    proves_by_key!(proof);
}

/// The library's own word for it, where that is a word of the library alone.
fn explained(error: Error, leaf: &CertificateDer<'_>) -> Error {
    let is_other = matches!(error, Error::InvalidCertificate(CertificateError::Other(_)));
    match facts::unfit_for_leaf(leaf).filter(|_| is_other) {
        Some(unfit) => CertificateError::Other(OtherError(Arc::new(unfit))).into(),
        None => error,
    }
}

/// Once for each target: it is said of a configuration, not of a connection.
fn tell_pinned(is_told: &AtomicBool, target: &str) {
    if !is_told.swap(true, Ordering::Relaxed) {
        warn!(
            target,
            "the peer shows a certificate that stands in caFile itself: it is accepted, whatever its name; \
             better give each peer a certificate of its own, signed by an authority, and put that into caFile"
        );
    }
}
