//! What the files of a tag come to: own certificates with their keys, and the certificates to trust. Pure: bytes in.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};

use super::cipher::Ciphers;
use super::expiry::Expiry;
use super::facts;
use super::fault::Fault;
use super::material::Material;
use super::pem::load_certificates;
use super::private_key::load_key;
use super::settings::{KeyFile, Pair, TagSettings};
use super::verify::Trust;

/// What one tag shows and whom it believes.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    /// Own certificates, the default one first.
    pub(super) own: Vec<Arc<CertifiedKey>>,
    /// Whom to believe, if the peer is verified.
    pub(super) trust: Option<Trust>,
    /// When each file ends to be of use.
    pub(super) expiries: Vec<Expiry>,
}

impl Credentials {
    /// Makes them of the files of a tag.
    ///
    /// # Errors
    /// Every file that cannot be used, and why.
    pub(super) fn load(
        settings: &TagSettings,
        material: &Material,
        ciphers: &Ciphers,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut expiries = Vec::new();
        let passphrase = match passphrase(settings, material, ciphers) {
            Ok(passphrase) => passphrase,
            // Every key would be reported as encrypted.
            Err(fault) => return Err(vec![fault]),
        };
        let mut own = Vec::new();
        for pair in &settings.pairs {
            match certified(pair, material, passphrase.as_deref()) {
                Ok(certified) => {
                    expiries.push(Expiry::first(&pair.certificate.path, &certified.cert));
                    own.push(Arc::new(certified));
                }
                Err(found) => faults.extend(found),
            }
        }
        let mut trust = None;
        if let Some(file) = settings.ca.as_ref().filter(|_| settings.verify_peer) {
            match trusted(file, material) {
                Ok((certificates, found)) => {
                    expiries.push(Expiry::last(&file.path, &certificates));
                    trust = Some(found);
                }
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Self { own, trust, expiries }) } else { Err(faults) }
    }
}

/// The content of `certPwdFile`, decrypted.
fn passphrase(
    settings: &TagSettings,
    material: &Material,
    ciphers: &Ciphers,
) -> Result<Option<String>, Fault> {
    let Some(file) = &settings.passphrase else { return Ok(None) };
    let text = std::str::from_utf8(material.of(file)).map_err(|_| Fault::new(file, "it is not UTF-8"))?;
    let name = &settings.cipher;
    let cipher = ciphers
        .find(name)
        .ok_or_else(|| Fault::new(file, format_args!("there is no cipher plug-in `{name}`")))?;
    let decrypted = cipher
        .decrypt(text.trim())
        .map_err(|why| Fault::new(file, format_args!("the cipher plug-in `{name}` fails: {why}")))?;
    Ok(Some(decrypted))
}

fn certified(pair: &Pair, material: &Material, passphrase: Option<&str>) -> Result<CertifiedKey, Vec<Fault>> {
    let chain =
        load_certificates(material.of(&pair.certificate)).map_err(|why| Fault::new(&pair.certificate, why));
    let key = load_key(material.of(&pair.key), passphrase).map_err(|why| Fault::new(&pair.key, why));
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
    };
    if !is_of(&*key, &chain) {
        let certificate = pair.certificate.path.display();
        let why = format!("the key is not that of the first certificate in {certificate}");
        return Err(vec![Fault::new(&pair.key, why)]);
    }
    Ok(CertifiedKey::new(chain, key))
}

/// The key is that of the leaf. By the public keys, since rustls compares them for certificates of version 3 only.
fn is_of(key: &dyn SigningKey, chain: &[CertificateDer<'_>]) -> bool {
    let leaf = chain.first().and_then(|leaf| facts::public_key(leaf));
    key.public_key().is_none_or(|public| leaf.is_some_and(|leaf| leaf.as_ref() == public.as_ref()))
}

fn trusted(file: &KeyFile, material: &Material) -> Result<(Vec<CertificateDer<'static>>, Trust), Fault> {
    let certificates = load_certificates(material.of(file)).map_err(|why| Fault::new(file, why))?;
    let mut roots = RootCertStore::empty();
    for (at, certificate) in certificates.iter().enumerate() {
        roots.add(certificate.clone()).map_err(|why| {
            Fault::new(file, format_args!("certificate {} in it cannot be trusted: {why}", at + 1))
        })?;
    }
    Ok((certificates.clone(), Trust::new(roots, certificates)))
}
