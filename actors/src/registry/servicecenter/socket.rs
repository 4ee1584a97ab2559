//! One connection of the watch socket: opens it, answers pings, hands on text. Knows nothing of what it says, nor
//! of when to open another.

use std::sync::Arc;

use futures::StreamExt as _;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use reqwest::Url;

use super::client::{CONNECT_TIMEOUT, TENANT, USER_AGENT};
use super::settings::Address;
use super::wire::FRAME_LENGTH_MAX;
use crate::snapshot::TlsReason;

/// Bytes read at once: frames are about half a kilobyte.
const READ_LENGTH: usize = 8 << 10;

/// An open connection.
#[derive(Debug)]
pub(super) struct Socket(WebSocketStream<Box<dyn Transport>>);

/// What the socket runs on: TCP, or TLS.
trait Transport: AsyncRead + AsyncWrite + Unpin + std::fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + std::fmt::Debug> Transport for T {}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The address does not accept connections: another one may.
    #[error("the watch socket cannot connect to {0}")]
    Unreachable(String),
    /// It does, but does not upgrade them: with access control on and no token service-center answers 200.
    #[error("the watch socket cannot be opened at {0}")]
    NotUpgraded(String),
}

/// What came.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    /// A sign of life.
    Alive,
    /// A text.
    Text(Vec<u8>),
    /// The end, and why.
    Closed(String),
}

impl Socket {
    /// Connects and upgrades, each within [`CONNECT_TIMEOUT`]. `tls` is for an address that says https.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(super) async fn open(address: &Address, url: Url, tls: Arc<ClientConfig>) -> Result<Self, OpenError> {
        let unreachable = |why: String| OpenError::Unreachable(format!("{address}: {why}"));
        let stream = match timeout(CONNECT_TIMEOUT, connect(address, tls)).await {
            Ok(stream) => stream.map_err(unreachable)?,
            Err(_) => return Err(unreachable(format!("no connection within {CONNECT_TIMEOUT:?}"))),
        };
        match timeout(CONNECT_TIMEOUT, upgrade(stream, url)).await {
            Ok(Ok(socket)) => Ok(Self(socket)),
            Ok(Err(error)) => Err(OpenError::NotUpgraded(format!("{address}: {}", why(&error)))),
            Err(_) => Err(OpenError::NotUpgraded(format!("{address}: no answer within {CONNECT_TIMEOUT:?}"))),
        }
    }

    /// Waits for the next thing to come. May be given up at any time without loss. Pings are answered on the way.
    pub(super) async fn next(&mut self) -> Heard {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => Heard::Text(text.as_bytes().to_vec()),
            Some(Ok(Message::Binary(bytes))) => Heard::Text(bytes.to_vec()),
            Some(Ok(Message::Close(frame))) => Heard::Closed(
                frame.map_or_else(|| "closed by service-center".into(), |frame| frame.to_string()),
            ),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Heard::Alive,
            Some(Err(error)) => Heard::Closed(error.to_string()),
            None => Heard::Closed("the connection ended".into()),
        }
    }
}

async fn connect(address: &Address, tls: Arc<ClientConfig>) -> Result<Box<dyn Transport>, String> {
    let stream = TcpStream::connect(address.authority()).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    match address.server_name() {
        None => Ok(Box::new(stream)),
        Some(name) => {
            let secured = TlsConnector::from(tls).connect(name?, stream).await;
            Ok(Box::new(secured.map_err(|e| why(&e))?))
        }
    }
}

/// Of TLS in words of our own.
fn why(error: &(dyn std::error::Error + 'static)) -> String {
    TlsReason::among(error).map_or_else(|| error.to_string(), |reason| format!("TLS: {reason}"))
}

async fn upgrade(
    stream: Box<dyn Transport>,
    mut url: Url,
) -> Result<WebSocketStream<Box<dyn Transport>>, Error> {
    // Cannot fail: http, https and ws are schemes of the same kind. TLS is below already.
    let _ = url.set_scheme("ws");
    let mut request = url.as_str().into_client_request()?;
    request.headers_mut().insert(TENANT.0, HeaderValue::from_static(TENANT.1));
    request.headers_mut().insert("user-agent", HeaderValue::from_static(USER_AGENT));
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_LENGTH)
        .write_buffer_size(0)
        .max_write_buffer_size(READ_LENGTH)
        .max_message_size(Some(FRAME_LENGTH_MAX))
        .max_frame_size(Some(FRAME_LENGTH_MAX));
    let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::TcpListener;

    use tokio_tungstenite::tungstenite::accept;

    use super::super::peer::{Peer, nobody};
    use super::*;
    use crate::tls::bench::{Authority, Home};

    async fn open(address: &str) -> Result<Socket, OpenError> {
        let url =
            Url::parse(&format!("http://{address}/v4/default/registry/microservices/s1/watcher")).unwrap();
        let tls = crate::tls::SharedClient::default().current();
        Socket::open(&Address::try_new(address).unwrap(), url, tls).await
    }

    #[tokio::test]
    async fn texts_are_handed_on_pings_answered_and_the_end_reported() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let mut socket = accept(listener.accept().unwrap().0).unwrap();
            socket.send(Message::Ping(Vec::new().into())).unwrap();
            socket.send(Message::text("one")).unwrap();
            let pong = socket.read().unwrap();
            socket.send(Message::text("two")).unwrap();
            pong
        });
        let mut socket = open(&address).await.unwrap();
        let mut heard = Vec::new();
        while heard.len() < 4 {
            heard.push(socket.next().await);
        }
        assert_eq!(
            heard.drain(..3).collect::<Vec<_>>(),
            [Heard::Alive, Heard::Text(b"one".into()), Heard::Text(b"two".into())]
        );
        assert!(matches!(heard.pop(), Some(Heard::Closed(_))));
        assert!(server.join().unwrap().is_pong());
    }

    #[tokio::test]
    async fn a_frame_beyond_the_limit_ends_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let mut socket = accept(listener.accept().unwrap().0).unwrap();
            // The client may hang up before all of it is written.
            let _ = socket.send(Message::text("x".repeat(FRAME_LENGTH_MAX + 1)));
        });
        let mut socket = open(&address).await.unwrap();
        assert!(matches!(socket.next().await, Heard::Closed(_)));
        drop(socket);
        server.join().unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_is_no_upgrade_is_a_failure() {
        let peer = Peer::start(|_| (200, String::new()));
        let error = open(&peer.address).await.unwrap_err();
        assert!(matches!(error, OpenError::NotUpgraded(_)), "{error}");
        let why = error.to_string();
        assert!(why.contains(&peer.address) && why.contains("200"), "{why}");
        let request = peer.request();
        assert!(
            request.starts_with("GET /v4/default/registry/microservices/s1/watcher HTTP/1.1"),
            "{request}"
        );
        assert!(request.contains("x-domain-name: default"), "{request}");
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_is_told_from_a_failed_upgrade() {
        let address = nobody();
        let error = open(&address).await.unwrap_err();
        assert!(
            matches!(error, OpenError::Unreachable(_)) && error.to_string().contains(&address),
            "{error}"
        );
    }

    #[tokio::test]
    async fn it_opens_behind_tls() {
        let (home, authority) = (Home::new(), Authority::new());
        home.put("sc", &authority.issue(&["localhost"])).write("ca.crt", &authority.pem);
        let tls = home.good(
            "ssl.me.rest.Provider: {certFile: sc.crt, keyFile: sc.key}\n\
             ssl.registrator.Consumer: {verifyPeer: 'true', caFile: ca.crt}\n",
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let config = tls.table().external.unwrap().config.clone();
        let server = std::thread::spawn(move || {
            let session = rustls::ServerConnection::new(config).unwrap();
            let stream = rustls::StreamOwned::new(session, listener.accept().unwrap().0);
            accept(stream).unwrap().send(Message::text("one")).unwrap();
        });
        let url = Url::parse(&format!("{address}/v4/default/registry/microservices/s1/watcher")).unwrap();
        let address = Address::try_new(&address).unwrap();
        let mut socket = Socket::open(&address, url, tls.registry().unwrap()).await.unwrap();
        assert_eq!(socket.next().await, Heard::Text(b"one".into()));
        server.join().unwrap();
    }
}
