//! TLS on a stream: between two shards' ends, and with a plain rustls peer on a thread of its own.

mod ends;
mod handshakes;
mod transfer;

use std::io::{ErrorKind, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned, version,
};

use super::*;

type Blocking<C> = StreamOwned<C, TcpStream>;

/// What both sides need to know each other: one certificate for `orders`, and its own issuer.
#[derive(Clone)]
struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    fn new() -> Self {
        Self::with(&[b"h2", b"http/1.1"], &[b"http/1.1"], &version::TLS13)
    }

    fn with(
        server_alpn: &[&[u8]],
        client_alpn: &[&[u8]],
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Self {
        let made = rcgen::generate_simple_self_signed(["orders".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let owned = |alpn: &[&[u8]]| alpn.iter().map(|name| name.to_vec()).collect();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        server.alpn_protocols = owned(server_alpn);
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = owned(client_alpn);
        Tls { server: server.into(), client: client.into() }
    }

    /// A client and its server, both on this shard.
    async fn pair(&self) -> (Stream, Stream) {
        let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
        let client = Stream::connect(listener.local_addr(), LOST).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (there, here) = futures::join!(
            server.accept_tls(self.server.clone(), LOST),
            client.connect_tls(self.client.clone(), orders(), LOST)
        );
        there.unwrap();
        here.unwrap();
        (client, server)
    }

    /// A client of this shard, and what a blocking server does with its connection.
    async fn client_of(
        &self,
        serve: impl FnOnce(Blocking<ServerConnection>) + Send + 'static,
    ) -> (Stream, JoinHandle<()>) {
        let listener = std::net::TcpListener::bind(loopback()).unwrap();
        let addr = listener.local_addr().unwrap();
        let config = self.server.clone();
        let thread = std::thread::spawn(move || {
            let socket = listener.accept().unwrap().0;
            socket.set_read_timeout(Some(LOST)).unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
            stream.conn.complete_io(&mut stream.sock).unwrap();
            serve(stream);
        });
        let client = Stream::connect(addr, LOST).await.unwrap();
        client.connect_tls(self.client.clone(), orders(), LOST).await.unwrap();
        (client, thread)
    }

    /// A stream that a blocking client has connected to, not secured yet.
    async fn server_of(
        &self,
        call: impl FnOnce(Blocking<ClientConnection>) + Send + 'static,
    ) -> (Stream, JoinHandle<()>) {
        let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
        let (addr, config) = (listener.local_addr(), self.client.clone());
        let thread = std::thread::spawn(move || {
            call(StreamOwned::new(ClientConnection::new(config, orders()).unwrap(), client(addr)));
        });
        (listener.accept().await.unwrap().0, thread)
    }
}

fn orders() -> ServerName<'static> {
    "orders".try_into().unwrap()
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i * 31 % 251) as u8).collect()
}

async fn read_to_end(stream: &Stream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let n = poll_fn(|cx| {
            with_scratch(|scratch| {
                stream.poll_read(cx, scratch).map_ok(|n| {
                    all.extend_from_slice(&scratch[..n]);
                    n
                })
            })
        })
        .await?;
        if n == 0 {
            return Ok(all);
        }
    }
}
