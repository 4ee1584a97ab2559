//! Blocks of PEM and the certificates among them (RFC 7468). Pure: bytes in.
//!
//! Errors say what is wrong and never what stands there: the bytes may be those of a private key.

use pem::{Pem, PemError};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Blocks of one file: a bundle of all public authorities has about 150.
const BLOCKS_MAX: usize = 1000;

/// What every block begins with.
const BEGIN: &[u8] = b"-----BEGIN ";

/// Why bytes are no certificates or no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemFault {
    /// Not PEM, and why.
    #[error("it is not PEM: {0}")]
    Malformed(&'static str),
    /// More blocks than anybody needs.
    #[error("it has more than {BLOCKS_MAX} blocks")]
    TooMany,
    /// PEM, but not what is looked for.
    #[error("it has no block `-----BEGIN {0}-----`")]
    Missing(&'static str),
    /// A certificate that is none; counted from 1.
    #[error("certificate {0} in it is damaged")]
    Damaged(usize),
}

/// All certificates of a PEM file, at least one, in their order. Other blocks are passed over.
///
/// # Errors
/// See [`PemFault`].
pub fn load_certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    let blocks = blocks(bytes)?.into_iter();
    let certificates: Vec<_> = blocks
        .filter(|block| matches!(block.tag(), "CERTIFICATE" | "X509 CERTIFICATE"))
        .map(|block| CertificateDer::from(block.into_contents()))
        .collect();
    if certificates.is_empty() {
        return Err(PemFault::Missing("CERTIFICATE"));
    }
    let is_whole =
        |der: &CertificateDer<'_>| X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty());
    match certificates.iter().position(|der| !is_whole(der)) {
        Some(at) => Err(PemFault::Damaged(at.saturating_add(1))),
        None => Ok(certificates),
    }
}

/// All blocks of a PEM file. Of one that was cut off none is used: nobody could tell what is missing.
pub(super) fn blocks(bytes: &[u8]) -> Result<Vec<Pem>, PemFault> {
    let begun = bytes.windows(BEGIN.len()).filter(|window| *window == BEGIN).count();
    if begun == 0 {
        return Err(PemFault::Malformed("nothing in it begins with -----BEGIN"));
    }
    let blocks = pem::parse_many(bytes).map_err(|error| PemFault::Malformed(why(&error)))?;
    // The library passes over what begins and does not end.
    if blocks.len() < begun {
        return Err(PemFault::Malformed("a block does not end"));
    }
    if blocks.len() > BLOCKS_MAX { Err(PemFault::TooMany) } else { Ok(blocks) }
}

const fn why(error: &PemError) -> &'static str {
    match error {
        PemError::MismatchedTags(..) => "a block ends with another name than it begins with",
        PemError::MissingEndTag => "a block does not end",
        PemError::InvalidData(_) => "a block is not base64",
        PemError::InvalidHeader(_) => "a block has a header without a colon",
        PemError::NotUtf8(_) => "it is not text",
        PemError::MalformedFraming | PemError::MissingBeginTag | PemError::MissingData => {
            "a block is not framed by -----BEGIN and -----END"
        }
    }
}
