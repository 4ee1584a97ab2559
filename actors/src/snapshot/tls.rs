//! TLS as the data plane uses it: what a listener presents, and how a service is called.
//!
//! Built whole by the control plane from the keys `ssl.*` and their files, and swapped whole when one of them
//! changes: what has begun keeps the configuration it began with. Knows no key and no file. What did not change is
//! the same `Arc` in the old and in the new one, and compares equal.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use super::Protocol;

/// Clients kept that were made on demand: as many as services are known at a time. Beyond that one is made for each
/// question, and sessions are resumed less often.
const CLIENTS_MAX: usize = 1024;

/// All TLS of one mesher. The default is none: everything is plain.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tls {
    /// Listeners of a sidecar on the loopback address, HTTP and gRPC; the gRPC listener of an edge
    /// (`ssl.mesher.Provider.*`).
    pub local: Option<Arc<TlsServer>>,
    /// Listeners that others call, HTTP and gRPC; the HTTP listener of an edge (`ssl.<self>.rest.Provider.*`).
    pub external: Option<Arc<TlsServer>>,
    /// Services that are called by HTTP/1.1 (`ssl.<target>.rest.Consumer.*`), the local one included.
    pub rest: TlsClients,
    /// Services that are called by gRPC (`ssl.<target>.grpc.Consumer.*`), the local one included.
    pub grpc: TlsClients,
}

/// What a listener presents.
#[derive(Debug)]
pub struct TlsServer {
    /// Offers `h2` and `http/1.1`.
    pub config: Arc<ServerConfig>,
    /// Connections that do not begin with a client hello are served in the clear (`ssl.<tag>.mode: permissive`).
    pub plain_too: bool,
}

/// How one service is called.
#[derive(Debug)]
pub struct TlsClient {
    /// Knows the name to verify by itself, whatever `server_name` is. Offers `http/1.1` for REST, `h2` for gRPC.
    pub config: Arc<ClientConfig>,
    /// For `rustls::ClientConnection::new`: the name of the service, or a stand-in (which is not sent) where the name
    /// cannot be one of DNS.
    pub server_name: ServerName<'static>,
}

/// Services of one protocol.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TlsClients {
    /// Services that have keys of their own; `None` for one that is called in the clear all the same.
    pub named: HashMap<Arc<str>, Option<Arc<TlsClient>>>,
    /// All others, if they are called by TLS.
    pub others: Option<Arc<TlsFamily>>,
}

/// Services that are called in the same way, but each by its own name.
pub struct TlsFamily {
    make: Make,
    made: Mutex<HashMap<Arc<str>, Arc<TlsClient>>>,
}

type Make = Box<dyn Fn(&str) -> TlsClient + Send + Sync>;

// === impl Tls ===

impl Tls {
    /// How to call a service; none: in the clear. The same answer each time, while this table lives. Takes a lock: ask
    /// once for a service, not for a request, and for services only that the registry knows.
    #[must_use]
    pub fn client(&self, service: &str, protocol: Protocol) -> Option<Arc<TlsClient>> {
        let clients = match protocol {
            Protocol::Rest => &self.rest,
            Protocol::Grpc => &self.grpc,
        };
        match clients.named.get(service) {
            Some(named) => named.clone(),
            None => clients.others.as_ref().map(|others| others.client(service)),
        }
    }
}

// === impl TlsServer ===

impl PartialEq for TlsServer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.plain_too == other.plain_too
    }
}

// === impl TlsClient ===

impl PartialEq for TlsClient {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.server_name == other.server_name
    }
}

// === impl TlsFamily ===

impl TlsFamily {
    /// A family whose members are made by `make`, from their names.
    #[must_use]
    pub fn new(make: impl Fn(&str) -> TlsClient + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), made: Mutex::default() }
    }

    fn client(&self, service: &str) -> Arc<TlsClient> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(service) {
            return client.clone();
        }
        let client = Arc::new((self.make)(service));
        if made.len() < CLIENTS_MAX {
            made.insert(service.into(), client.clone());
        }
        client
    }
}

impl PartialEq for TlsFamily {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl fmt::Debug for TlsFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFamily").finish_non_exhaustive()
    }
}
