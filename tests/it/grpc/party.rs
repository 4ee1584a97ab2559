//! Who takes part in TLS: everybody shows a certificate, and trusts those of one authority.

use rcgen::SanType;
use serde_json::{Value, json};
use tonic::transport::{self, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::support::conf::Conf;
use crate::support::tls::{Authority, Certificate};

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Party {
    /// Certificates that it trusts.
    trusted: String,
    own: Certificate,
}

impl Party {
    /// One that goes by these names.
    pub(crate) fn new(authority: &Authority, names: &[&str]) -> Self {
        let (first, others) = names.split_first().expect("a party without a name");
        let own = authority.issue_with(first, |params| {
            let names = others.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
            params.subject_alt_names.extend(names);
        });
        Self { trusted: authority.pem.clone(), own }
    }

    /// As a client of tonic that calls a service.
    pub(crate) fn calling(&self, service: &str) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .domain_name(service)
            .ca_certificate(transport::Certificate::from_pem(&self.trusted))
            .identity(self.identity())
    }

    /// As a server of tonic; its clients have to prove who they are.
    pub(crate) fn serving(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .client_ca_root(transport::Certificate::from_pem(&self.trusted))
            .identity(self.identity())
    }

    fn identity(&self) -> Identity {
        Identity::from_pem(&self.own.pem, &self.own.key)
    }

    /// As a script is told of it.
    pub(crate) fn description(&self) -> Value {
        json!({"trusted": self.trusted, "certificate": self.own.pem, "key": self.own.key})
    }

    /// As a tag of a sidecar.
    pub(crate) fn configure(&self, conf: Conf, tag: &str) -> Conf {
        conf.presents(tag, &self.own).verifies(tag, &self.trusted)
    }
}
