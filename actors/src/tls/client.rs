//! How services are called, as configurations of rustls: one template a tag, one client a service.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{DnsName, ServerName};
use rustls::sign::SingleCertAndKey;

use super::credentials::Credentials;
use super::settings::TagSettings;
use super::suites;
use super::tags::Tag;
use super::verify::{Credulous, Name, Proof, ServiceVerifier, Trust};
use crate::snapshot::{Protocol, TlsClient};

/// Services whose sessions are kept, eight tickets each at most; as many as are known at a time. The oldest gives
/// way.
const SESSIONS_MAX: usize = 1024;
/// Stands for a name that DNS does not have, where rustls wants one. Not sent.
const STAND_IN: &str = "service.invalid";

/// Everything but the name.
#[derive(Debug)]
pub(super) struct Template {
    base: ClientConfig,
    trust: Option<Trust>,
    proof: Proof,
}

impl Template {
    /// Of the settings of a tag.
    ///
    /// # Errors
    /// Settings that rustls does not take together.
    pub(super) fn try_new(settings: &TagSettings, credentials: Credentials) -> Result<Self, String> {
        let provider = suites::provider(&settings.suites);
        let proof = Proof::new(&provider);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(suites::versions(settings.tls13_only))
            .map_err(|why| why.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous(proof)));
        let mut base = match credentials.own.into_iter().next() {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
            None => builder.with_no_client_auth(),
        };
        base.alpn_protocols = alpn(&settings.tag).iter().map(|name| name.to_vec()).collect();
        base.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(Self { base, trust: credentials.trust, proof })
    }

    /// The client of a service.
    pub(super) fn of_service(&self, service: &str) -> TlsClient {
        let mut config = self.base.clone();
        let server_name = ServerName::try_from(service.to_owned()).unwrap_or_else(|_| {
            config.enable_sni = false;
            // The store goes by the stand-in, which is no name to share sessions under.
            config.resumption = Resumption::in_memory_sessions(1);
            stand_in()
        });
        self.verify(&mut config, Name::Of(service.to_owned()), service);
        TlsClient { config: Arc::new(config), server_name }
    }

    /// The client of whoever is connected to, or of a server that goes by another name than its address.
    pub(super) fn of_address(&self, server_name: Option<&str>, target: &str) -> ClientConfig {
        let mut config = self.base.clone();
        self.verify(&mut config, server_name.map_or(Name::Called, |name| Name::Of(name.to_owned())), target);
        config
    }

    fn verify(&self, config: &mut ClientConfig, name: Name, target: &str) {
        let Some(trust) = self.trust.clone() else { return };
        let (target, is_told) = (target.to_owned(), AtomicBool::new(false));
        let verifier: Arc<dyn ServerCertVerifier> =
            Arc::new(ServiceVerifier { trust, name, proof: self.proof, target, is_told });
        config.dangerous().set_certificate_verifier(verifier);
    }
}

/// What is spoken behind TLS. Nothing is offered to the registry: its client has its own mind.
const fn alpn(tag: &Tag) -> &'static [&'static [u8]] {
    match tag {
        Tag::Service(_, Protocol::Grpc) | Tag::Own(_, Protocol::Grpc) | Tag::Others(Protocol::Grpc) => {
            &[b"h2"]
        }
        Tag::Service(..) | Tag::Own(..) | Tag::Others(_) => &[b"http/1.1"],
        Tag::Registry | Tag::Local | Tag::External(_) | Tag::Admin => &[],
    }
}

fn stand_in() -> ServerName<'static> {
    #[expect(clippy::expect_used, reason = "a constant, and tested")]
    let name = DnsName::try_from(STAND_IN).expect("a name of DNS");
    ServerName::DnsName(name)
}
