//! Calls of EchoService by tonic.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::codegen::tokio_stream::{self, Stream};
use tonic::codegen::{BoxFuture, Service};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{IntoRequest, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::messages::{EchoReply, EchoRequest, WatchReply, WatchRequest};
use super::server::MESSAGE_BYTES_MAX;
use super::way::Way;

/// Longest answer to CONNECT that is read.
const TUNNEL_HEAD_BYTES_MAX: usize = 4096;

/// A channel to the service.
#[derive(Clone)]
pub(crate) struct EchoClient {
    grpc: Grpc<Channel>,
}

impl EchoClient {
    /// Opens a channel that connects with its first call.
    pub(crate) fn new(way: &Way) -> Self {
        let scheme = if way.tls.is_some() { "https" } else { "http" };
        let origin: Uri = format!("{scheme}://{}", way.authority).parse().unwrap();
        let mut endpoint = Endpoint::new(format!("{scheme}://{}", way.dial)).unwrap().origin(origin);
        if let Some(party) = &way.tls {
            endpoint = endpoint.tls_config(party.calling(way.service())).unwrap();
        }
        // TLS is inside the tunnel.
        let channel = if way.is_tunnel {
            endpoint.connect_with_connector_lazy(Tunnel { proxy: way.dial, authority: way.authority.clone() })
        } else {
            endpoint.connect_lazy()
        };
        let grpc = Grpc::new(channel).accept_compressed(Gzip).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Self { grpc }
    }

    /// The same channel; requests are compressed.
    pub(crate) fn compressing(self) -> Self {
        Self { grpc: self.grpc.send_compressed(Gzip) }
    }

    /// Calls with one request; the answers follow.
    pub(crate) async fn call(
        &self,
        method: &str,
        request: impl IntoRequest<EchoRequest>,
    ) -> Result<Response<Streaming<EchoReply>>, Status> {
        self.converse(method, request.into_request().map(tokio_stream::once)).await
    }

    /// Calls with many requests; the answers follow.
    pub(crate) async fn converse<S>(
        &self,
        method: &str,
        requests: Request<S>,
    ) -> Result<Response<Streaming<EchoReply>>, Status>
    where
        S: Stream<Item = EchoRequest> + Send + 'static,
    {
        let mut grpc = self.ready().await?;
        let path = format!("/mesher.peers.EchoService/{method}").parse().unwrap();
        grpc.streaming(requests, path, ProstCodec::default()).await
    }

    /// Calls Unary; its one answer.
    pub(crate) async fn unary(&self, request: impl IntoRequest<EchoRequest>) -> Result<EchoReply, Status> {
        self.once("/mesher.peers.EchoService/Unary", request.into_request()).await
    }

    /// Waits until the call of this id has begun at the server.
    pub(crate) async fn begun(&self, id: &str) -> Result<(), Status> {
        self.watch(id, false).await.map(drop)
    }

    /// Waits until the call of this id has ended at the server; whether it was cancelled.
    pub(crate) async fn was_cancelled(&self, id: &str) -> Result<bool, Status> {
        self.watch(id, true).await
    }

    async fn watch(&self, id: &str, ended: bool) -> Result<bool, Status> {
        let request = Request::new(WatchRequest { id: id.to_owned(), ended });
        let reply: WatchReply = self.once("/mesher.peers.EchoService/Watch", request).await?;
        Ok(reply.cancelled)
    }

    /// A call of any method with one request and one answer.
    pub(crate) async fn once<Asked, Told>(
        &self,
        path: &'static str,
        request: Request<Asked>,
    ) -> Result<Told, Status>
    where
        Asked: prost::Message + Send + Sync + 'static,
        Told: prost::Message + Default + Send + Sync + 'static,
    {
        let path = http::uri::PathAndQuery::from_static(path);
        let response = self.ready().await?.unary(request, path, ProstCodec::<Asked, Told>::default()).await?;
        Ok(response.into_inner())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = self.grpc.clone();
        let ready = grpc.ready().await;
        ready.map(|()| grpc).map_err(|error| Status::from_error(Box::new(error)))
    }
}

/// A name of a call that no other has.
pub(crate) fn call_id() -> String {
    static IDS: AtomicU32 = AtomicU32::new(0);
    format!("call-{}", IDS.fetch_add(1, Ordering::Relaxed))
}

/// Connects through a proxy by CONNECT, as gRPC libraries do that find `http_proxy` in the environment.
struct Tunnel {
    proxy: SocketAddr,
    authority: String,
}

impl Service<Uri> for Tunnel {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = BoxFuture<Self::Response, io::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (proxy, authority) = (self.proxy, self.authority.clone());
        Box::pin(async move {
            let mut stream = TcpStream::connect(proxy).await?;
            stream.set_nodelay(true)?;
            stream
                .write_all(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes())
                .await?;
            let head = read_head(&mut stream).await?;
            match head.starts_with("HTTP/1.1 200 ") {
                true => Ok(TokioIo::new(stream)),
                false => Err(io::Error::other(format!("the proxy answers {head:?}"))),
            }
        })
    }
}

/// Reads a head to its empty line and not a byte further.
pub(crate) async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
        assert!(head.len() < TUNNEL_HEAD_BYTES_MAX, "a head without an end");
    }
    Ok(String::from_utf8(head).expect("a head that is no text"))
}
