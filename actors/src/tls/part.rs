//! What is made of the keys of one tag, and of the bytes of their files at one time.

use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};

use super::cipher::Ciphers;
use super::client::Template;
use super::credentials::Credentials;
use super::expiry::Expiry;
use super::fault::Fault;
use super::material::Material;
use super::server;
use super::settings::TagSettings;
use super::tags::Tag;
use crate::snapshot::tls::{TlsClient, TlsFamily, TlsServer};

/// One tag that is TLS.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) settings: TagSettings,
    material: Material,
    pub(super) made: Made,
    pub(super) expiries: Vec<Expiry>,
}

/// What it came to.
#[derive(Debug, Clone)]
pub(super) enum Made {
    Listener(Arc<TlsServer>),
    Admin(Arc<ServerConfig>),
    Service(Arc<TlsClient>),
    Family(Arc<TlsFamily>),
    Registry(Arc<ClientConfig>),
}

impl Part {
    /// Reads the files, and makes of them what is to be made. If nothing has changed it is the old one.
    ///
    /// # Errors
    /// Everything that cannot be used.
    pub(super) fn load(
        settings: &TagSettings,
        ciphers: &Ciphers,
        old: Option<&Self>,
    ) -> Result<Self, Vec<Fault>> {
        let material = Material::read(settings)?;
        if let Some(old) = old.filter(|old| old.settings == *settings && old.material == material) {
            return Ok(old.clone());
        }
        let credentials = Credentials::load(settings, &material, ciphers)?;
        let expiries = credentials.expiries.clone();
        let made = make(settings, credentials).map_err(|why| vec![Fault::of_tag(&settings.tag, why)])?;
        Ok(Self { settings: settings.clone(), material, made, expiries })
    }

    /// Says the same as another, so that one may stand for the other.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.settings == other.settings && self.material == other.material
    }
}

fn make(settings: &TagSettings, credentials: Credentials) -> Result<Made, String> {
    if settings.tag.is_server() {
        let config = Arc::new(server::config(settings, credentials)?);
        return Ok(match settings.tag {
            Tag::Admin => Made::Admin(config),
            _ => Made::Listener(Arc::new(TlsServer { config, plain_too: settings.permissive })),
        });
    }
    let template = Template::try_new(settings, credentials)?;
    Ok(match &settings.tag {
        Tag::Service(name, _) | Tag::Own(name, _) => Made::Service(Arc::new(template.of_service(name))),
        Tag::Registry => {
            let config = template.of_address(settings.server_name.as_deref(), &settings.tag.name());
            Made::Registry(Arc::new(config))
        }
        _ => Made::Family(Arc::new(TlsFamily::new(move |service| template.of_service(service)))),
    })
}
