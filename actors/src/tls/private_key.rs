//! Private keys from PEM: PKCS#8, PKCS#1 (RSA) and SEC1 (elliptic curves), each plain or encrypted. Pure: bytes in.
//!
//! | block | form | encrypted as |
//! |---|---|---|
//! | `PRIVATE KEY` | PKCS#8, RFC 5958 | |
//! | `ENCRYPTED PRIVATE KEY` | PKCS#8, RFC 5958 | PBES2, RFC 8018: `openssl pkcs8 -topk8`, `openssl genpkey -aes256` |
//! | the same | the same | PBES1 and schemes of PKCS#12: `openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES` |
//! | `RSA PRIVATE KEY` | PKCS#1, RFC 8017 | RFC 1423, by a header: `openssl genrsa -aes256 -traditional` |
//! | `EC PRIVATE KEY` | SEC1, RFC 5915 | the same |
//!
//! Errors never say anything of the key or the passphrase.

use std::sync::Arc;

use pem::Pem;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{self, Decode as _, Reader as _, SliceReader};
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{Kdf, PBES2_OID};
use pkcs8::spki::AlgorithmIdentifierRef;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

use super::pem::{PemFault, blocks};
use super::{legacy, pbes1};

/// Rounds of a key derivation; two million cost a second, or two the PKCS#12 way. OpenSSL writes 2048, OWASP recommends
/// 600,000.
const ROUNDS_MAX: u32 = 2_000_000;
/// Memory of scrypt, bytes. OpenSSL writes parameters that take 16 MiB.
const SCRYPT_MEMORY_MAX: u64 = 64 << 20;
/// Times that scrypt goes over its memory. OpenSSL writes 1.
const SCRYPT_PASSES_MAX: u16 = 4;

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Not PEM, or no key in it.
    #[error(transparent)]
    Pem(#[from] PemFault),
    /// A key of a kind that is not read.
    #[error("a key of the kind `{0}` is not read; write it anew with `openssl pkcs8 -topk8`")]
    Kind(String),
    /// Encrypted in a way that is not read.
    #[error(
        "it is encrypted with {0}, which is not read; write it anew with `openssl pkcs8 -topk8 -v2 aes256`"
    )]
    Encryption(String),
    /// Encrypted so that reading it would take too long.
    #[error("deriving its encryption key costs more than is allowed; write it anew with fewer rounds")]
    Costly,
    /// Encrypted, and no passphrase is given.
    #[error("it is encrypted and there is no passphrase; name its file in `certPwdFile`")]
    Encrypted,
    /// It cannot be decrypted.
    #[error("it cannot be decrypted: the passphrase is wrong, or the file is damaged")]
    Passphrase,
    /// It is no key that cryptography can work with.
    #[error("it is damaged, or of an algorithm or size that is not served")]
    Damaged,
}

/// The first private key of a PEM file, ready to sign. Other blocks are passed over.
///
/// # Errors
/// See [`KeyFault`].
pub fn load_key(bytes: &[u8], passphrase: Option<&str>) -> Result<Arc<dyn SigningKey>, KeyFault> {
    let mut blocks = blocks(bytes)?.into_iter();
    let block =
        blocks.find(|block| block.tag().ends_with("PRIVATE KEY")).ok_or(PemFault::Missing("PRIVATE KEY"))?;
    let is_encrypted = block.tag() == "ENCRYPTED PRIVATE KEY" || legacy::is_encrypted(&block);
    let key = der(block, passphrase)?;
    // A wrong passphrase sometimes decrypts to something.
    let fault = if is_encrypted { KeyFault::Passphrase } else { KeyFault::Damaged };
    any_supported_type(&key).map_err(|_| fault)
}

/// The key without its encryption.
fn der(block: Pem, passphrase: Option<&str>) -> Result<PrivateKeyDer<'static>, KeyFault> {
    let tag = block.tag().to_owned();
    match tag.as_str() {
        "PRIVATE KEY" => Ok(PrivateKeyDer::Pkcs8(block.into_contents().into())),
        "ENCRYPTED PRIVATE KEY" => {
            let passphrase = passphrase.ok_or(KeyFault::Encrypted)?;
            Ok(PrivateKeyDer::Pkcs8(decrypt(block.contents(), passphrase)?.into()))
        }
        "RSA PRIVATE KEY" => Ok(PrivateKeyDer::Pkcs1(legacy::contents(block, passphrase)?.into())),
        "EC PRIVATE KEY" => Ok(PrivateKeyDer::Sec1(legacy::contents(block, passphrase)?.into())),
        _ => Err(KeyFault::Kind(tag)),
    }
}

/// PKCS#8 without its encryption.
fn decrypt(der: &[u8], passphrase: &str) -> Result<Vec<u8>, KeyFault> {
    let (algorithm, data) = encrypted(der).map_err(|_| KeyFault::Damaged)?;
    if algorithm.oid != PBES2_OID {
        return pbes1::decrypt(&algorithm, data, passphrase);
    }
    let unknown = || KeyFault::Encryption("PBES2 with an unknown cipher or key derivation".to_owned());
    let scheme = EncryptionScheme::try_from(algorithm).map_err(|_| unknown())?;
    affordable(&scheme.pbes2().ok_or_else(unknown)?.kdf)?;
    scheme.decrypt(passphrase, data).map_err(|_| KeyFault::Passphrase)
}

/// How it is encrypted, and what is. The library's own type knows no scheme of PKCS#12.
fn encrypted(der: &[u8]) -> der::Result<(AlgorithmIdentifierRef<'_>, &[u8])> {
    let mut reader = SliceReader::new(der)?;
    let parts = reader.sequence(|reader| {
        Ok::<_, der::Error>((reader.decode()?, <&OctetStringRef>::decode(reader)?.as_bytes()))
    })?;
    reader.finish()?;
    Ok(parts)
}

fn affordable(kdf: &Kdf) -> Result<(), KeyFault> {
    let affordable = match kdf {
        Kdf::Pbkdf2(parameters) => return affordable_rounds(parameters.iteration_count.into()).map(drop),
        Kdf::Scrypt(parameters) => {
            let block = u64::from(parameters.block_size).saturating_mul(128);
            let cost = parameters.cost_parameter;
            // Two at least, by RFC 7914; the library takes its logarithm without a look.
            let valid = cost >= 2 && cost.is_power_of_two();
            let memory = block.saturating_mul(cost);
            valid && memory <= SCRYPT_MEMORY_MAX && parameters.parallelization <= SCRYPT_PASSES_MAX
        }
        _ => false,
    };
    if affordable { Ok(()) } else { Err(KeyFault::Costly) }
}

/// The rounds that a key derivation asks for.
pub(super) fn affordable_rounds(rounds: u64) -> Result<u32, KeyFault> {
    match u32::try_from(rounds) {
        Ok(0) => Err(KeyFault::Damaged),
        Ok(rounds @ ..=ROUNDS_MAX) => Ok(rounds),
        _ => Err(KeyFault::Costly),
    }
}
