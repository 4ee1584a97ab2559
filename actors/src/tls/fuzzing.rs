//! Properties of what is read of certificates and keys, over arbitrary bytes. Panics if one does not hold.
//!
//! Driven by a fuzz target and by a test that replays its seeds. Not part of the control plane, hence free to panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "test support"
)]

use std::fmt::Display;
use std::sync::Arc;

use pem::Pem;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

use super::credentials::Credentials;
use super::settings::TagSettings;
use super::tags::Tag;
use super::{load_certificates, load_key, server};
use crate::snapshot::TlsServer;

const PASSPHRASE: &str = "open sesame";
/// As long as such a thing usually is.
const CERTIFICATE_BYTES: usize = 600;
/// As long as one of an elliptic key.
const SIGNATURE_BYTES: usize = 70;

/// Arbitrary bytes as a PEM file of certificates and of a key, and as what is in an encrypted key. Certificates that are read
/// are read the same when they are written anew, and what is no certificate is passed over; a key is found the same with a
/// block of another kind before it; what is wrong is said in a line, without the passphrase and without anything of the key.
pub fn fuzz_pem_file(data: &[u8]) {
    match load_certificates(data) {
        Ok(certificates) => {
            let block = |der: &rustls::pki_types::CertificateDer<'_>| {
                other_block() + &pem::encode(&Pem::new("CERTIFICATE", der.to_vec()))
            };
            let written: String = certificates.iter().map(block).collect();
            assert_eq!(load_certificates(written.as_bytes()), Ok(certificates), "read in two ways");
        }
        Err(fault) => assert_is_discreet(&fault, data),
    }
    for passphrase in [None, Some(PASSPHRASE)] {
        let read = load_key(data, passphrase);
        if let Err(fault) = &read {
            assert_is_discreet(fault, data);
        }
        if std::str::from_utf8(data).is_ok() && passphrase.is_none() {
            let mut behind = other_block().into_bytes();
            behind.extend_from_slice(data);
            let again = load_key(&behind, passphrase);
            if let (Ok(one), Ok(two)) = (&read, &again) {
                assert_eq!(one.algorithm(), two.algorithm(), "read in two ways");
            }
            assert!(read.is_err() || again.is_ok(), "what is before a key hides it");
        }
    }
    // Without the frame of PEM, which hides from a fuzzer what it changes.
    let encrypted = pem::encode(&Pem::new("ENCRYPTED PRIVATE KEY", data));
    if let Err(fault) = load_key(encrypted.as_bytes(), Some(PASSPHRASE)) {
        assert_is_discreet(&fault, encrypted.as_bytes());
    }
}

fn other_block() -> String {
    pem::encode(&Pem::new("DH PARAMETERS", [1, 2, 3]))
}

fn assert_is_discreet(fault: &impl Display, data: &[u8]) {
    let text = fault.to_string();
    assert!(!text.contains(PASSPHRASE) && !text.chars().any(char::is_control), "{text:?}");
    // Lines of base64, of which a fault has no business to show a part.
    let secret = data.split(|byte| b"\r\n".contains(byte)).filter(|line| {
        line.len() >= 16 && line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
    });
    for line in secret {
        assert!(!text.contains(std::str::from_utf8(line).unwrap()), "a fault shows what it must not: {text}");
    }
}

/// A listener that takes TLS and plain text, configured as by default. For one who looks at the beginning of a handshake:
/// its certificates are none, and what it signs is not signed.
pub fn listener() -> TlsServer {
    let own = [SignatureAlgorithm::ECDSA, SignatureAlgorithm::RSA].map(|algorithm| {
        let certificate = CertificateDer::from(vec![0; CERTIFICATE_BYTES]);
        Arc::new(CertifiedKey::new(vec![certificate], Arc::new(Forger { algorithm })))
    });
    let credentials = Credentials { own: own.to_vec(), trust: None, expiries: Vec::new() };
    let settings = TagSettings::unverified(Tag::External("fuzzed".into()));
    TlsServer { config: Arc::new(server::config(&settings, credentials).unwrap()), plain_too: true }
}

/// Signs nothing, in no time.
#[derive(Debug)]
struct Forger {
    algorithm: SignatureAlgorithm,
}

/// A signature of [`Forger`].
#[derive(Debug)]
struct Forgery(SignatureScheme);

impl SigningKey for Forger {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let mut known = match self.algorithm {
            SignatureAlgorithm::RSA => {
                [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256].iter()
            }
            _ => [SignatureScheme::ECDSA_NISTP256_SHA256].iter(),
        };
        let scheme = known.find(|scheme| offered.contains(scheme))?;
        Some(Box::new(Forgery(*scheme)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

impl Signer for Forgery {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(vec![0; SIGNATURE_BYTES])
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_of_pem_files_hold() {
        crate::seeds::replay("pem_file", fuzz_pem_file);
    }
}
