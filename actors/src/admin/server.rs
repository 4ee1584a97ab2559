//! The server around the pages: HTTP/1.1 on a listener that start-up has bound, on a thread of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::{App, HttpRequest, HttpResponse, web};
use rustls::ServerConfig;

use super::pages::{METHODS, Reply, Site};
use super::view::{Build, Identity, View};
use crate::snapshot::stats::Board;
use crate::web_thread::{Limits, WebThread};

const LIMITS: Limits = Limits {
    // Probes and scrapers need a handful, and file descriptors belong to the traffic.
    connections_max: 64,
    // Short, so that a stuck client does not keep a connection from a probe.
    head_timeout: Duration::from_secs(5),
    // A probe's usual interval is 10 s, Prometheus's is 15 s.
    keep_alive: Duration::from_secs(20),
};

/// What the admin tells of.
#[derive(Clone)]
pub struct AdminOptions {
    /// Whose sidecar this is.
    pub identity: Identity,
    /// What runs.
    pub build: Build,
    /// Counters of the shards.
    pub board: Arc<Board>,
    /// State of the rest.
    pub view: Arc<dyn View>,
    /// What it presents; none: it is plain.
    pub tls: Option<Arc<ServerConfig>>,
}

/// A running admin interface. Dropping it stops it, without waiting for answers being written.
#[derive(Debug)]
pub struct AdminHandle {
    addr: SocketAddr,
    server: WebThread,
}

/// Serves on `listener`, which start-up has bound, until stopped; also while mesher drains. Counts as mesher's start
/// (`start_time_seconds`).
///
/// # Errors
/// When the listener is unusable or there is no thread to be had.
pub fn start(listener: TcpListener, options: AdminOptions) -> io::Result<AdminHandle> {
    let AdminOptions { identity, build, board, view, tls } = options;
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let site = web::Data::new(Site { identity, build, board, view, started });
    let addr = listener.local_addr()?;
    let app = move || App::new().app_data(site).default_service(web::to(serve));
    Ok(AdminHandle { addr, server: WebThread::start("admin", listener, LIMITS, tls, app)? })
}

// === impl AdminHandle ===

impl AdminHandle {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on it presents this to those who connect; none: it is plain to them. What is connected stays.
    pub fn secure(&self, tls: Option<Arc<ServerConfig>>) {
        self.server.secure(tls);
    }

    /// Accepts no longer, answers who has connected and ends. Returns when the thread has ended, after two seconds at
    /// most. What still waits in the queue of the listening socket is left to others who hold it.
    pub fn stop(self) {
        self.server.stop(true);
    }
}

async fn serve(request: HttpRequest, site: web::Data<Site>) -> HttpResponse {
    if has_body(&request) {
        let reply = Reply::error(413, "requests to the admin have no body");
        // The body is not read, so the next request cannot be found.
        return response(reply, true);
    }
    response(site.answer(request.method().as_str(), request.path(), request.query_string()), false)
}

fn has_body(request: &HttpRequest) -> bool {
    let headers = request.headers();
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

fn response(reply: Reply, close: bool) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.content_type(reply.content_type).insert_header((CACHE_CONTROL, "no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.insert_header((ALLOW, METHODS));
    }
    if close {
        response.force_close();
    }
    response.body(reply.body)
}
