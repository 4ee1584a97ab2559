//! EchoService by tonic, on a thread and a runtime of its own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::{pending, select};
use futures::stream::{BoxStream, StreamExt, unfold};
use mesher::codec::grpc::parse_timeout;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::codegen::{BoxFuture, Service};
use tonic::metadata::MetadataMap;
use tonic::server::Grpc;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::messages::{EchoReply, EchoRequest, WatchReply, WatchRequest};
use super::party::Party;

/// Largest message that is taken.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What metadata that is to come back begins with.
const ECHOED: &str = "x-echo-";

/// A running server. Dropping it ends it and its connections.
pub(crate) struct EchoServer {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    drain: Mutex<Option<oneshot::Sender<()>>>,
    kill: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Listens on 127.0.0.1.
    pub(crate) fn start() -> Self {
        Self::start_with(None, None)
    }

    /// The same; each connection is asked to end (GOAWAY) at this age, and is TLS if somebody is to be shown.
    pub(crate) fn start_with(connection_age_max: Option<Duration>, party: Option<&Party>) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("cannot listen");
        listener.set_nonblocking(true).expect("cannot be used by tokio");
        let address = listener.local_addr().unwrap();
        let accepted = Arc::<AtomicUsize>::default();
        let (drain, draining) = oneshot::channel();
        let (kill, killed) = oneshot::channel();
        let count = accepted.clone();
        let mut server = tonic::transport::Server::builder();
        if let Some(party) = party {
            server = server.tls_config(party.serving()).unwrap();
        }
        let serve = async move {
            let listener = TcpListener::from_std(listener).expect("no listener");
            let incoming = TcpListenerStream::new(listener).inspect(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            });
            if let Some(age) = connection_age_max {
                server = server.max_connection_age(age);
            }
            let drained = async move {
                if draining.await.is_err() {
                    pending::<()>().await;
                }
            };
            let serving = server.serve_with_incoming_shutdown(EchoService::default(), incoming, drained);
            select(Box::pin(serving), killed).await;
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("no runtime");
        let thread = std::thread::spawn(move || runtime.block_on(serve));
        let drain = Mutex::new(Some(drain));
        Self { address, accepted, drain, kill: Some(kill), thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Takes no new calls (GOAWAY); those in flight go on.
    pub(crate) fn drain(&self) {
        let drain = self.drain.lock().unwrap().take().expect("it drains already");
        drain.send(()).expect("the server has ended");
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        drop(self.kill.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || !matches!(ended, Some(Err(_))), "the server panicked, see above");
    }
}

type Replies = BoxStream<'static, Result<EchoReply, Status>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Unary,
    ClientStream,
    ServerStream,
    Bidi,
}

#[derive(Clone, Default)]
struct EchoService {
    calls: Arc<Calls>,
}

impl Service<http::Request<Body>> for EchoService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let calls = self.calls.clone();
        let method = request.uri().path().strip_prefix("/mesher.peers.EchoService/").and_then(|name| {
            Some(match name {
                "Unary" => Method::Unary,
                "ClientStream" => Method::ClientStream,
                "ServerStream" => Method::ServerStream,
                "Bidi" => Method::Bidi,
                _ => return None,
            })
        });
        let is_watch = request.uri().path() == "/mesher.peers.EchoService/Watch";
        Box::pin(async move {
            Ok(match method {
                Some(method) => {
                    let mut grpc = Grpc::new(ProstCodec::<EchoReply, EchoRequest>::default())
                        .accept_compressed(Gzip)
                        .max_decoding_message_size(MESSAGE_BYTES_MAX);
                    if request.headers().get("grpc-encoding").is_some_and(|encoding| encoding == "gzip") {
                        grpc = grpc.send_compressed(Gzip);
                    }
                    // On the wire every kind of call is a stream both ways.
                    grpc.streaming(Handler(move |request| answer(calls.clone(), method, request)), request)
                        .await
                }
                None if is_watch => {
                    let mut grpc = Grpc::new(ProstCodec::<WatchReply, WatchRequest>::default());
                    grpc.unary(Handler(move |request| watch(calls.clone(), request)), request).await
                }
                None => Status::unimplemented("EchoService has no such method").into_http(),
            })
        })
    }
}

/// A function as what tonic calls.
struct Handler<F>(F);

impl<F, Fut, Req, Reply> Service<Req> for Handler<F>
where
    F: FnMut(Req) -> Fut,
    Fut: Future<Output = Result<Reply, Status>> + Send + 'static,
{
    type Response = Reply;
    type Error = Status;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Fut {
        (self.0)(request)
    }
}

async fn watch(calls: Arc<Calls>, request: Request<WatchRequest>) -> Result<Response<WatchReply>, Status> {
    let WatchRequest { id, ended } = request.into_inner();
    let cancelled = calls.reached(&id, ended).await;
    Ok(Response::new(WatchReply { cancelled }))
}

async fn answer(
    calls: Arc<Calls>,
    method: Method,
    request: Request<Streaming<EchoRequest>>,
) -> Result<Response<Replies>, Status> {
    let metadata = request.metadata();
    let time_left = metadata.get("grpc-timeout").map(|value| parse_timeout(value.as_bytes()).unwrap());
    let mut response = Response::new(());
    *response.metadata_mut() = echoed(metadata, ECHOED);
    let mut call = Call {
        time_left_ms: time_left.map_or(0, |left| u64::try_from(left.as_millis()).unwrap().max(1)),
        trailing: echoed(metadata, "x-trailer-"),
        requests: request.into_inner(),
        calls,
        guard: None,
        last: EchoRequest::default(),
        count: 0,
        bytes: 0,
    };
    let replies = match method {
        Method::Unary | Method::ClientStream => call.answer_once().await?,
        Method::ServerStream => {
            call.read().await?;
            call.answer_often()
        }
        Method::Bidi => call.converse(),
    };
    Ok(response.map(|()| replies))
}

/// A call that is being answered.
struct Call {
    requests: Streaming<EchoRequest>,
    calls: Arc<Calls>,
    /// From the first request on.
    guard: Option<Guard>,
    time_left_ms: u64,
    trailing: MetadataMap,
    last: EchoRequest,
    count: u32,
    bytes: u64,
}

impl Call {
    /// Reads the next request, if there is one.
    async fn read(&mut self) -> Result<bool, Status> {
        let Some(request) = self.requests.message().await? else { return Ok(false) };
        if self.guard.is_none() {
            self.guard = Some(self.calls.begin(&request.id));
        }
        self.count += 1;
        self.bytes += request.payload.len() as u64;
        self.last = request;
        Ok(true)
    }

    fn reply(&self) -> EchoReply {
        let payload = match self.last.reply_bytes {
            0 => self.last.payload.clone(),
            bytes => vec![0; bytes as usize],
        };
        EchoReply {
            payload,
            requests: self.count,
            request_bytes: self.bytes,
            time_left_ms: self.time_left_ms,
        }
    }

    /// The status that ends the call.
    fn end(&mut self) -> Status {
        if let Some(guard) = &mut self.guard {
            guard.complete = true;
        }
        let code = Code::from_i32(i32::try_from(self.last.fail_code).unwrap());
        Status::with_metadata(code, self.last.fail_message.clone(), self.trailing.clone())
    }

    /// One answer when all has been read. A failure is a block of fields and nothing else.
    async fn answer_once(mut self) -> Result<Replies, Status> {
        while self.read().await? {}
        if self.last.hold {
            pending::<()>().await;
        }
        let reply = self.reply();
        match self.end() {
            status if status.code() == Code::Ok => {
                Ok(futures::stream::iter([Ok(reply), Err(status)]).boxed())
            }
            status => Err(status),
        }
    }

    /// As many answers as asked for.
    fn answer_often(self) -> Replies {
        let next = |(mut call, left): (Self, Option<u32>)| async move {
            let left = left?;
            if let Some(less) = left.checked_sub(1) {
                return Some((Ok(call.reply()), (call, Some(less))));
            }
            if call.last.hold {
                pending::<()>().await;
            }
            Some((Err(call.end()), (call, None)))
        };
        let replies = self.last.replies;
        unfold((self, Some(replies)), next).boxed()
    }

    /// An answer for each request, before the next is read.
    fn converse(self) -> Replies {
        let next = |(mut call, is_over): (Self, bool)| async move {
            if is_over {
                return None;
            }
            if call.last.hold {
                pending::<()>().await;
            }
            Some(match call.read().await {
                Ok(true) => (Ok(call.reply()), (call, false)),
                Ok(false) => (Err(call.end()), (call, true)),
                Err(status) => (Err(status), (call, true)),
            })
        };
        unfold((self, false), next).boxed()
    }
}

/// The metadata that is to come back, under another beginning of its names.
fn echoed(metadata: &MetadataMap, prefix: &str) -> MetadataMap {
    let mut echoed = http::HeaderMap::new();
    for (name, value) in &metadata.clone().into_headers() {
        if let Some(rest) = name.as_str().strip_prefix(ECHOED) {
            let name: http::HeaderName = format!("{prefix}{rest}").parse().unwrap();
            echoed.append(name, value.clone());
        }
    }
    MetadataMap::from_headers(echoed)
}

/// What Watch tells about.
#[derive(Default)]
struct Calls {
    /// Of a call that has begun, whether it was cancelled, once it has ended.
    ended: Mutex<HashMap<String, Option<bool>>>,
    changed: Notify,
}

impl Calls {
    fn begin(self: &Arc<Self>, id: &str) -> Guard {
        self.set(id, None);
        Guard { calls: self.clone(), id: id.to_owned(), complete: false }
    }

    fn set(&self, id: &str, ended: Option<bool>) {
        self.ended.lock().unwrap().insert(id.to_owned(), ended);
        self.changed.notify_waiters();
    }

    /// Waits until a call has begun, or ended; whether it was cancelled.
    async fn reached(&self, id: &str, end: bool) -> bool {
        loop {
            let changed = self.changed.notified();
            match self.ended.lock().unwrap().get(id) {
                Some(Some(cancelled)) => return *cancelled,
                Some(None) if !end => return false,
                _ => {}
            }
            changed.await;
        }
    }
}

/// Tells when a call has ended: dropped before it is complete, it was cancelled.
struct Guard {
    calls: Arc<Calls>,
    id: String,
    complete: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.calls.set(&self.id, Some(!self.complete));
    }
}
