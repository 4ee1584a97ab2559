//! One connection of the watch socket: opens it, answers pings, hands on text. Knows nothing of what it says, nor
//! of when to open another.

use futures::StreamExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use reqwest::Url;

use super::client::{CONNECT_TIMEOUT, TENANT, USER_AGENT};
use super::settings::Address;
use super::wire::FRAME_LENGTH_MAX;

/// Bytes read at once: frames are about half a kilobyte.
const READ_LENGTH: usize = 8 << 10;

/// An open connection.
#[derive(Debug)]
pub(super) struct Socket(WebSocketStream<TcpStream>);

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
    /// Connects and upgrades.
    ///
    /// # Errors
    /// No connection within [`CONNECT_TIMEOUT`], or service-center does not upgrade it: with access control on and
    /// no token it answers 200 instead.
    pub(super) async fn open(address: &Address, mut url: Url) -> Result<Self, String> {
        let open = async {
            let stream = TcpStream::connect(address.authority()).await.map_err(Error::Io)?;
            stream.set_nodelay(true).map_err(Error::Io)?;
            // Cannot fail: http and ws are schemes of the same kind.
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
            let (socket, _) =
                tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
            Ok::<_, Error>(socket)
        };
        match timeout(CONNECT_TIMEOUT, open).await {
            Ok(Ok(socket)) => Ok(Self(socket)),
            Ok(Err(error)) => Err(format!("the watch socket to {address} cannot be opened: {error}")),
            Err(_) => Err(format!("the watch socket to {address} does not open within {CONNECT_TIMEOUT:?}")),
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
