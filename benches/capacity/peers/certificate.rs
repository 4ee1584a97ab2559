//! The certificate that every proxy shows: of the same kind for all, made for this run.

use std::path::Path;

use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::site::write;

/// A certificate for `origin` with a key on P-256, signed by itself.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    certificate: String,
    key: String,
}

impl Certificate {
    /// A new one.
    pub(crate) fn new() -> Result<Self, String> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["origin".to_owned()])
            .map_err(|error| format!("no certificate: {error}"))?;
        Ok(Self { certificate: cert.pem(), key: signing_key.serialize_pem() })
    }

    /// Writes `certificate.pem`, `key.pem` and, for those that want one file, `both.pem`.
    pub(super) fn write(&self, dir: &Path) -> Result<(), String> {
        write(dir, "certificate.pem", &self.certificate)?;
        write(dir, "key.pem", &self.key)?;
        write(dir, "both.pem", &format!("{}{}", self.certificate, self.key))?;
        Ok(())
    }
}
