//! The configuration of a client that lives longer than it.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;

use super::client::Template;
use super::credentials::Credentials;
use super::settings::TagSettings;
use super::tags::Tag;

/// A place for a configuration: connections made from now on use what stands there now. A clone is the same place.
#[derive(Debug, Clone)]
pub struct SharedClient(Arc<Mutex<Arc<ClientConfig>>>);

/// A client that encrypts and believes everybody; also what an HTTP client is given that never speaks TLS, since it
/// would look for the default of the process.
#[must_use]
pub fn unverified() -> ClientConfig {
    let nothing = Credentials { own: Vec::new(), trust: None, expiries: Vec::new() };
    #[expect(clippy::expect_used, reason = "constants that rustls takes together, and tested")]
    let template = Template::try_new(&TagSettings::unverified(Tag::Registry), nothing).expect("constants");
    template.of_address(None, "")
}

impl SharedClient {
    /// What stands there now.
    #[must_use]
    pub fn current(&self) -> Arc<ClientConfig> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another there.
    pub fn replace(&self, config: Arc<ClientConfig>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

impl Default for SharedClient {
    /// One that believes everybody.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Arc::new(unverified()))))
    }
}
