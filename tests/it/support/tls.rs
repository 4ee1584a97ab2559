//! Certificates made on the spot, and a client that speaks TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use mesher::net::Driver;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::conf::Conf;
use super::wait::PATIENCE;

/// Who issues certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) pem: String,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) key: String,
}

/// One connection of a client, over TLS.
pub(crate) struct Secured {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for a name.
    pub(crate) fn issue(&self, name: &str) -> Certificate {
        self.issue_with(name, |_| {})
    }

    /// A certificate that is changed before it is signed.
    pub(crate) fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Certificate { pem, key: key.serialize_pem() }
    }
}

impl Certificate {
    /// What `openssl req -new -x509` makes: an authority that signs itself and names nothing that is called.
    pub(crate) fn of_the_manual() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::OrganizationName, "Internet Widgits Pty Ltd");
        let key = KeyPair::generate().unwrap();
        Self { pem: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }
}

impl Conf {
    /// Sets certificate and key of a tag (`provider.rest.Provider`).
    pub(crate) fn presents(self, tag: &str, certificate: &Certificate) -> Self {
        self.place(tag, certificate);
        let path = |kind: &str| self.path().join(format!("{tag}.{kind}.pem")).display().to_string();
        let (cert, key) = (path("cert"), path("key"));
        self.set("chassis.yaml", &format!("ssl.{tag}.certFile"), cert).set(
            "chassis.yaml",
            &format!("ssl.{tag}.keyFile"),
            key,
        )
    }

    /// Puts a certificate and its key where the tag has its own.
    pub(crate) fn place(&self, tag: &str, certificate: &Certificate) {
        self.replace(&format!("{tag}.key.pem"), &certificate.key);
        self.replace(&format!("{tag}.cert.pem"), &certificate.pem);
    }

    /// Has a tag verify its peers by these certificates.
    pub(crate) fn verifies(self, tag: &str, authorities: &str) -> Self {
        let name = format!("{tag}.ca.pem");
        let path = self.path().join(&name).display().to_string();
        self.file(&name, authorities).set("chassis.yaml", &format!("ssl.{tag}.caFile"), path).set(
            "chassis.yaml",
            &format!("ssl.{tag}.verifyPeer"),
            true,
        )
    }

    /// A sidecar of `provider` on a driver.
    pub(crate) fn provider(driver: Driver, service: SocketAddr) -> Self {
        Self::sidecar("provider").driver(driver).set(
            "mesher.yaml",
            "mesher.service.host",
            service.ip().to_string(),
        )
    }
}

/// How a client trusts and, perhaps, shows itself.
pub(crate) fn trusting(authorities: &str, own: Option<&Certificate>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match own {
        None => config.with_no_client_auth(),
        Some(own) => {
            let chain = CertificateDer::pem_slice_iter(own.pem.as_bytes()).map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

impl Secured {
    /// Connects and does its part of the handshake.
    pub(crate) fn connect(to: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut socket = TcpStream::connect(to)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut tls = ClientConnection::new(config.clone(), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self { stream: StreamOwned::new(tls, socket) })
    }

    /// Sends a request and reads a response that has a length: its head and its body.
    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<(String, Vec<u8>)> {
        self.stream.write_all(request)?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            if self.stream.read(&mut byte)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.stream.read_exact(&mut body)?;
        Ok((head, body))
    }

    /// Gets `/` of a host: the status.
    pub(crate) fn get(&mut self, host: &str) -> io::Result<u16> {
        let (head, _) = self.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
        Ok(head.split(' ').nth(1).unwrap().parse().unwrap())
    }

    /// The certificate that was presented.
    pub(crate) fn presented(&self) -> CertificateDer<'static> {
        self.stream.conn.peer_certificates().unwrap()[0].clone()
    }
}
