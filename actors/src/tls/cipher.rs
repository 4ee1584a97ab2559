//! Plug-ins that decrypt the passphrase of a private key (`ssl.<tag>.cipherPlugin`).
//!
//! Mesher loads them from shared objects written in Go, which cannot be loaded here. A build of mesher that needs one
//! implements [`Cipher`] and registers it by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The plug-in that is used when none is named: passphrases are as they stand in their file.
pub const DEFAULT: &str = "default";

/// Decrypts what stands in the file that `certPwdFile` names.
///
/// ```
/// use std::sync::Arc;
///
/// use mesher_actors::tls::{Cipher, CipherError, Ciphers};
///
/// /// Passphrases written backwards.
/// struct Backwards;
///
/// impl Cipher for Backwards {
///     fn decrypt(&self, text: &str) -> Result<String, CipherError> {
///         if !text.is_ascii() {
///             // It goes into the log: it must say nothing of the text.
///             return Err(CipherError("expected ASCII".to_owned()));
///         }
///         Ok(text.chars().rev().collect())
///     }
/// }
///
/// let mut ciphers = Ciphers::default();
/// ciphers.register("backwards", Arc::new(Backwards)); // ssl.cipherPlugin: backwards
/// assert_eq!(ciphers.find("backwards").unwrap().decrypt("terces").unwrap(), "secret");
/// assert_eq!(ciphers.find("default").unwrap().decrypt("secret").unwrap(), "secret");
/// ```
pub trait Cipher: Send + Sync {
    /// The passphrase that this text stands for. The text comes without blanks and ends of lines around it. Called on
    /// each load of the key, on a thread where it may take its time.
    ///
    /// # Errors
    /// Why it cannot be decrypted, for the log: without the text, and without the passphrase.
    fn decrypt(&self, text: &str) -> Result<String, CipherError>;
}

/// Why a passphrase was not decrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CipherError(pub String);

/// Plug-ins by name. `default` is always among them.
#[derive(Clone)]
pub struct Ciphers(BTreeMap<String, Arc<dyn Cipher>>);

struct Identity;

impl Ciphers {
    /// Adds a plug-in, in the place of one that has the name.
    pub fn register(&mut self, name: impl Into<String>, cipher: Arc<dyn Cipher>) {
        self.0.insert(name.into(), cipher);
    }

    /// The plug-in of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&dyn Cipher> {
        self.0.get(name).map(|cipher| &**cipher)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Default for Ciphers {
    fn default() -> Self {
        let identity: Arc<dyn Cipher> = Arc::new(Identity);
        Self(BTreeMap::from([(DEFAULT.to_owned(), identity)]))
    }
}

impl fmt::Debug for Ciphers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl Cipher for Identity {
    fn decrypt(&self, text: &str) -> Result<String, CipherError> {
        Ok(text.to_owned())
    }
}
