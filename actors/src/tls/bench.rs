//! What tests of TLS share: an authority, certificates in a directory, a configuration that names them, and
//! handshakes in memory.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, Error, HandshakeKind, ServerConfig, ServerConnection};

use super::{Ciphers, Tls, load_certificates, load_key};
use crate::config::{Config, Report, SourceFile, Sources};
use crate::snapshot::TlsClient;

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key, both PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// How a handshake went.
#[derive(Debug)]
pub(crate) struct Shaken {
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) kind: HandshakeKind,
    pub(crate) server_name: Option<String>,
    pub(crate) suite: &'static str,
}

/// A directory with a configuration and certificates.
pub(crate) struct Home(tempfile::TempDir);

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Authorities are found by their names.
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", fastrand::u64(..)));
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_until(names, 2090)
    }

    /// Valid to the beginning of a year.
    pub(crate) fn issue_until(&self, names: &[&str], year: i32) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // As they are: rcgen would take addresses for what they look like.
        let san = |name: &&str| rcgen::SanType::DnsName((*name).try_into().unwrap());
        params.subject_alt_names = names.iter().map(san).collect();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }
}

impl Issued {
    pub(crate) fn certified(&self) -> CertifiedKey {
        let chain = load_certificates(self.certificate.as_bytes()).unwrap();
        CertifiedKey::new(chain, load_key(self.key.as_bytes(), None).unwrap())
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> &Self {
        fs::write(self.path().join(name), text).unwrap();
        self
    }

    /// `<name>.crt` and `<name>.key`.
    pub(crate) fn put(&self, name: &str, issued: &Issued) -> &Self {
        self.write(&format!("{name}.crt"), &issued.certificate).write(&format!("{name}.key"), &issued.key)
    }

    /// What the service `me` makes of these keys; their files are in the directory.
    pub(crate) fn read(&self, yaml: &str) -> (Tls, Report) {
        let file = SourceFile { path: self.path().join("chassis.yaml"), text: yaml.to_owned() };
        let name = SourceFile {
            path: self.path().join("microservice.yaml"),
            text: "servicecomb.service.name: me\n".to_owned(),
        };
        let sources = Sources { cwd: self.path().to_owned(), ..Sources::default() };
        let (config, mut report) = Config::from_files(vec![file, name], &sources);
        let tls = Tls::from_config(&config, &"me".into(), Ciphers::default(), &mut report);
        (tls, report)
    }

    /// The same, with nothing wrong.
    #[track_caller]
    pub(crate) fn good(&self, yaml: &str) -> Tls {
        let (tls, report) = self.read(yaml);
        assert!(!report.has_errors(), "{}", report.render(false));
        tls
    }
}

/// A handshake as the data plane does it.
pub(crate) fn shake(server: &Arc<ServerConfig>, client: &TlsClient) -> Result<Shaken, Error> {
    shake_as(server, &client.config, client.server_name.clone())
}

pub(crate) fn shake_as(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Shaken, Error> {
    let mut client = ClientConnection::new(client.clone(), name)?;
    let mut server = ServerConnection::new(server.clone())?;
    let mut wire = Vec::new();
    while client.wants_write() || server.wants_write() {
        wire.clear();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Shaken {
        alpn: client.alpn_protocol().map(<[u8]>::to_vec),
        kind: client.handshake_kind().unwrap(),
        server_name: server.server_name().map(str::to_owned),
        suite: client.negotiated_cipher_suite().unwrap().suite().as_str().unwrap(),
    })
}
