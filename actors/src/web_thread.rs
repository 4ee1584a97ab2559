//! A web server on a thread of its own, so that what it does stalls nothing else.
//!
//! ```text
//!   stop       all have asked        all are answered
//!     |              |                      |
//!     +--------------+----------------------+--> ended
//!      accepts no     closes what is idle,
//!      longer         begins no request
//! ```
//!
//! It accepts on the thread that serves, not on another as actix-web's own server does. Once told to stop it takes no
//! connection any more, and knows of each that it has taken: each gets its answer, and what still waits in the queue
//! of the listening socket is left to whoever else holds that socket.
//!
//! What it is secured with may change at any time: it counts for connections accepted from then on, the others stay.
//!
//! Knows HTTP, not what is served: the admin interface and the demo's service bring that. Several may run in one
//! process; each has its own `System`.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::{ConnectionType, HttpService, Protocol, Request};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, apply_fn_factory, map_config};
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::rt::net::TcpStream;
use rustls::ServerConfig;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tracing::{debug, error, warn};

/// For those who have connected to send their first request after the order to stop: as long as a busy machine may
/// leave a client between the two, which a client that means nothing by its connection may not draw out.
const ASKING_TIMEOUT: Duration = Duration::from_secs(1);
/// For answers being written after that.
const ANSWERING_TIMEOUT: Duration = Duration::from_secs(1);
/// For a handshake of TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// For the other side to close a connection too.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);
/// After a failed `accept`, for lack of file descriptors, say: the cause is not gone at once, and the log is not for
/// thousands of lines.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What a server presents; none: it is plain.
pub(crate) type Security = Option<Arc<ServerConfig>>;
/// A connection, plain or secured, on which requests may come.
type Wire = Either<TcpStream, TlsStream<TcpStream>>;
/// The same, as the library takes it: with what it speaks, and the address of the client.
type Accepted = (Wire, Protocol, Option<SocketAddr>);

/// Bounds of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at a time; more wait to be accepted.
    pub(crate) connections_max: usize,
    /// For a request's head to arrive whole.
    pub(crate) head_timeout: Duration,
    /// How long an idle connection is kept.
    pub(crate) keep_alive: Duration,
}

/// A running server. Dropping it stops it too, without patience.
#[derive(Debug)]
pub(crate) struct WebThread {
    /// The order to stop, and whether to do so with patience.
    order: Option<oneshot::Sender<bool>>,
    security: watch::Sender<Security>,
    thread: Option<JoinHandle<()>>,
}

impl WebThread {
    /// Serves the application that `app` makes on a new thread with this name (at most 15 bytes show in `top`).
    ///
    /// # Errors
    /// The listener is unusable, or there is no thread to be had.
    pub(crate) fn start<A, I, S, B>(
        name: &'static str,
        listener: TcpListener,
        limits: Limits,
        security: Security,
        app: A,
    ) -> io::Result<Self>
    where
        A: FnOnce() -> I + Send + 'static,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<
                Request,
                Config = AppConfig,
                Response = ServiceResponse<B>,
                Error = actix_web::Error,
                InitError = (),
            > + 'static,
        B: MessageBody + 'static,
    {
        listener.set_nonblocking(true)?;
        let (order, ordered) = oneshot::channel();
        let (security, present) = watch::channel(security);
        let run = move || {
            actix_web::rt::System::new().block_on(async move {
                let listener = match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => listener,
                    Err(error) => return error!(%error, server = name, "cannot listen"),
                };
                let server = Server { name, listener, present, connections_max: limits.connections_max };
                let (closing, closed) = watch::channel(false);
                let guests = Rc::<Guests>::default();
                let known = guests.clone();
                let app = apply_fn_factory(
                    map_config(app(), |()| AppConfig::default()),
                    move |request: Request, app: &S::Service| {
                        known.has_asked(request.peer_addr());
                        let (answer, known) = (app.call(request), known.clone());
                        async move {
                            let mut answer = answer.await?;
                            if known.are_leaving.get() {
                                answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
                            }
                            Ok(answer)
                        }
                    },
                );
                let http = HttpService::build()
                    .keep_alive(limits.keep_alive)
                    .client_request_timeout(limits.head_timeout)
                    .client_disconnect_timeout(CLOSING_TIMEOUT)
                    .graceful_shutdown_signal(move || is_true(closed.clone()))
                    .finish(app);
                server.run(http, guests, closing, ordered).await;
            });
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { order: Some(order), security, thread: Some(thread) })
    }

    /// From now on it presents this to those who connect.
    pub(crate) fn secure(&self, security: Security) {
        self.security.send_replace(security);
    }

    /// Closes the listener and ends; with `patience`, who has connected is answered first. Returns when the thread
    /// has ended.
    pub(crate) fn stop(mut self, patience: bool) {
        self.end(patience);
    }

    fn end(&mut self, patience: bool) {
        if let Some(order) = self.order.take() {
            // If it has ended, it needs no order.
            let _ = order.send(patience);
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            error!("web server panicked");
        }
    }
}

impl Drop for WebThread {
    fn drop(&mut self) {
        self.end(false);
    }
}

async fn is_true(mut value: watch::Receiver<bool>) {
    // The sender outlives what is served.
    let _ = value.wait_for(|is_true| *is_true).await;
}

struct Server {
    name: &'static str,
    listener: tokio::net::TcpListener,
    present: watch::Receiver<Security>,
    connections_max: usize,
}

impl Server {
    /// Serves until ordered to stop. What is still connected then is cut when this thread's runtime ends.
    async fn run<S>(
        self,
        http: S,
        guests: Rc<Guests>,
        closing: watch::Sender<bool>,
        ordered: oneshot::Receiver<bool>,
    ) where
        S: ServiceFactory<Accepted, Config = (), Response = ()>,
        S::Service: 'static,
        S::Error: std::fmt::Debug,
    {
        let Ok(http) = http.new_service(()).await else {
            return error!(server = self.name, "cannot serve");
        };
        let with_patience = tokio::select! {
            biased;
            ordered = ordered => ordered.unwrap_or(false),
            never = self.accept(Rc::new(http), &guests) => match never {},
        };
        drop(self.listener);
        if with_patience {
            guests.are_leaving.set(true);
            let _ = timeout(ASKING_TIMEOUT, guests.until(Guests::have_all_asked)).await;
            closing.send_replace(true);
            let _ = timeout(ANSWERING_TIMEOUT, guests.until(|guests| guests.present() == 0)).await;
        }
    }

    async fn accept<S>(&self, http: Rc<S>, guests: &Rc<Guests>) -> Infallible
    where
        S: Service<Accepted, Response = ()> + 'static,
        S::Error: std::fmt::Debug,
    {
        loop {
            guests.until(|guests| guests.present() < self.connections_max).await;
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                // Of that connection only.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) =>
                {
                    continue;
                }
                Err(error) => {
                    warn!(%error, server = self.name, "cannot accept a connection; trying again");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                    continue;
                }
            };
            let guest = Guest::enter(guests, peer);
            let (http, name, security) = (http.clone(), self.name, self.present.borrow().clone());
            actix_web::rt::spawn(async move {
                match secure(stream, security).await {
                    Ok(wire) => {
                        if let Err(error) = http.call((wire, Protocol::Http1, Some(peer))).await {
                            debug!(?error, server = name, %peer, "a connection failed");
                        }
                    }
                    Err(error) => debug!(%error, server = name, %peer, "a TLS handshake failed"),
                }
                drop(guest);
            });
        }
    }
}

async fn secure(stream: TcpStream, security: Security) -> io::Result<Wire> {
    let Some(config) = security else { return Ok(Either::Left(stream)) };
    let shaken = timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await;
    Ok(Either::Right(shaken.map_err(io::Error::from)??))
}

/// Who is connected.
#[derive(Default)]
struct Guests {
    present: Cell<usize>,
    /// Those of them whose first request has not arrived.
    newcomers: RefCell<HashSet<SocketAddr>>,
    /// Each answer is the last on its connection.
    are_leaving: Cell<bool>,
    changed: Notify,
}

impl Guests {
    fn present(&self) -> usize {
        self.present.get()
    }

    fn have_all_asked(&self) -> bool {
        self.newcomers.borrow().is_empty()
    }

    fn has_asked(&self, peer: Option<SocketAddr>) {
        if peer.is_some_and(|peer| self.newcomers.borrow_mut().remove(&peer)) {
            self.changed.notify_waiters();
        }
    }

    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            self.changed.notified().await;
        }
    }
}

/// One of the [`Guests`], until dropped.
struct Guest {
    guests: Rc<Guests>,
    peer: SocketAddr,
}

impl Guest {
    fn enter(guests: &Rc<Guests>, peer: SocketAddr) -> Self {
        guests.present.set(guests.present.get().saturating_add(1));
        guests.newcomers.borrow_mut().insert(peer);
        Self { guests: guests.clone(), peer }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.present.set(self.guests.present.get().saturating_sub(1));
        self.guests.newcomers.borrow_mut().remove(&self.peer);
        self.guests.changed.notify_waiters();
    }
}
