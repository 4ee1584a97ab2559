//! A client and a service of HTTP/2 on the `h2` crate, each on a runtime of its own.

use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use crate::support::wait::PATIENCE;

/// One stream, played by a script.
pub(crate) type Played = Pin<Box<dyn Future<Output = ()>>>;

/// A service. Dropping it closes every connection.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    _end: oneshot::Sender<()>,
}

/// What a service has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// A stream as its script has it.
pub(crate) struct Stream {
    pub(crate) head: http::request::Parts,
    pub(crate) body: RecvStream,
    pub(crate) respond: SendResponse<Bytes>,
    /// Which request this is, over all connections, from 0.
    pub(crate) number: usize,
    /// Has the connection say GOAWAY.
    pub(crate) leave: Rc<tokio::sync::Notify>,
}

impl Service {
    /// Starts on 127.0.0.1; each stream is played by the script.
    pub(crate) fn start(script: impl Fn(Stream) -> Played + Send + 'static) -> Self {
        let (end, ended) = oneshot::channel();
        let (told, address) = std::sync::mpsc::channel();
        let seen = Arc::<Seen>::default();
        let shared = seen.clone();
        std::thread::spawn(move || {
            local(async move {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                let script = Rc::new(script);
                let accept = async {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        stream.set_nodelay(true).unwrap();
                        shared.connections.fetch_add(1, Ordering::SeqCst);
                        spawn_local(serve(stream, shared.clone(), script.clone()));
                    }
                };
                tokio::select! { () = accept => {}, _ = ended => {} }
            });
        });
        Self { address: address.recv_timeout(PATIENCE).unwrap(), seen, _end: end }
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Requests seen so far.
    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, seen: Arc<Seen>, script: Rc<impl Fn(Stream) -> Played + 'static>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let leave = Rc::new(tokio::sync::Notify::new());
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = leave.notified() => {
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else { return };
        let (head, body) = request.into_parts();
        let number = seen.requests.fetch_add(1, Ordering::SeqCst);
        spawn_local(script(Stream { head, body, respond, number, leave: leave.clone() }));
    }
}

impl Stream {
    /// Answers with these fields and a body.
    pub(crate) fn answer(&mut self, fields: &[(&str, &str)], body: impl Into<Bytes>) {
        let mut stream = self.begin(fields, false);
        stream.send_data(body.into(), true).unwrap();
    }

    /// Begins a response of status 200.
    pub(crate) fn begin(&mut self, fields: &[(&str, &str)], end: bool) -> SendStream<Bytes> {
        let response = fields.iter().fold(Response::builder(), |r, (name, value)| r.header(*name, *value));
        self.respond.send_response(response.body(()).unwrap(), end).unwrap()
    }

    /// The value of a field of the request.
    pub(crate) fn field(&self, name: &str) -> String {
        self.head.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
    }
}

/// Runs something on this thread that may spawn tasks.
pub(crate) fn local<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

/// A client's connection.
pub(crate) struct Client {
    pub(crate) sender: SendRequest<Bytes>,
    /// Resolves with the end of the connection, and why if not in order.
    pub(crate) ended: oneshot::Receiver<Result<(), h2::Error>>,
}

/// What came back, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(crate) async fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        let (tell, ended) = oneshot::channel();
        spawn_local(async move {
            let _ = tell.send(connection.await);
        });
        Self { sender, ended }
    }

    /// Sends the head of a request.
    pub(crate) async fn send(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        poll_fn(|cx| self.sender.poll_ready(cx)).await.unwrap();
        self.sender.send_request(request, end).unwrap()
    }

    /// Sends a request with a body, or without one, and reads the answer.
    pub(crate) async fn ask(&mut self, request: Request<()>, body: Option<Bytes>) -> Answer {
        let (response, mut stream) = self.send(request, body.is_none()).await;
        if let Some(body) = body {
            stream.send_data(body, true).unwrap();
        }
        whole(response).await.unwrap()
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// The whole answer, or why it broke off.
pub(crate) async fn whole(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut body) = in_time(response).await?.into_parts();
    let body_text = rest(&mut body).await?;
    let trailers = in_time(body.trailers()).await?.unwrap_or_default();
    Ok(Answer { head, body: body_text, trailers })
}

/// What is left of a body.
pub(crate) async fn rest(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = in_time(body.data()).await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok(all)
}

/// The next piece of a body.
pub(crate) async fn piece(body: &mut RecvStream) -> Bytes {
    let data = in_time(body.data()).await.unwrap().unwrap();
    body.flow_control().release_capacity(data.len()).unwrap();
    data
}

/// Waits for something that must not take long.
pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("it took too long")
}

/// What another thread tells next. Tasks of this one go on meanwhile.
pub(crate) async fn heard<T>(told: &Receiver<T>) -> T {
    in_time(async {
        loop {
            match told.try_recv() {
                Ok(word) => break word,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

/// The code by which a stream was reset.
pub(crate) fn reason(error: &h2::Error) -> Reason {
    error.reason().unwrap_or_else(|| panic!("no reset: {error}"))
}
