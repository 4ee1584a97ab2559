//! The hello service of the demo: an ordinary HTTP/1.1 server that knows nothing of mesher.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::{App, HttpResponse, guard, web};

use crate::web_thread::{Limits, WebThread};

const LIMITS: Limits = Limits {
    // Far more than a demo's sidecar opens.
    connections_max: 10_000,
    head_timeout: Duration::from_secs(5),
    // Longer than a sidecar keeps an idle connection, so that it is never the service that closes first.
    keep_alive: Duration::from_secs(75),
};

/// A running instance. Dropping it stops it.
#[derive(Debug)]
pub struct HelloHandle {
    addr: SocketAddr,
    server: WebThread,
}

impl HelloHandle {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the listener and every connection, as if the instance had died. Returns when done.
    pub fn stop(self) {
        self.server.stop(false);
    }
}

/// Starts an instance on a thread of its own. `GET /sayhello/{name}` greets in the name of `instance`, `POST /stop`
/// calls `on_stop`, anything else is 404.
///
/// # Errors
/// When `addr` cannot be bound.
pub fn start(
    addr: SocketAddr,
    instance: &str,
    on_stop: impl Fn() + Send + Sync + 'static,
) -> io::Result<HelloHandle> {
    let listener = TcpListener::bind(addr)?;
    let addr = listener.local_addr()?;
    let instance: web::Data<str> = web::Data::from(std::sync::Arc::<str>::from(instance));
    let on_stop: web::Data<OnStop> = web::Data::new(Box::new(on_stop));
    let app = move || {
        let hello = web::resource("/sayhello/{name}")
            .route(web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(say_hello))
            .default_service(web::to(HttpResponse::NotFound));
        App::new()
            .app_data(instance)
            .app_data(on_stop)
            .app_data(web::Data::new(addr))
            .service(hello)
            .route("/stop", web::post().to(stop))
    };
    Ok(HelloHandle { addr, server: WebThread::start("hello", listener, LIMITS, None, app)? })
}

type OnStop = Box<dyn Fn() + Send + Sync>;

async fn stop(on_stop: web::Data<OnStop>) -> HttpResponse {
    on_stop();
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("stopping\n")
}

async fn say_hello(
    name: web::Path<String>,
    instance: web::Data<str>,
    addr: web::Data<SocketAddr>,
) -> HttpResponse {
    let text = format!("Hello {name} from {} at {}\n", &**instance, **addr);
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    fn start_one() -> HelloHandle {
        start(SocketAddr::from(([127, 0, 0, 1], 0)), "one", || {}).unwrap()
    }

    fn connect(addr: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Status line and body.
    fn ask(addr: SocketAddr, line: &str) -> (String, String) {
        let mut stream = connect(addr);
        write!(stream, "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    #[test]
    fn it_greets_in_the_name_of_its_instance() {
        let hello = start_one();
        let (status, body) = ask(hello.addr(), "GET /sayhello/p%C3%A9ter?x=1");
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert_eq!(body, format!("Hello péter from one at {}\n", hello.addr()));
    }

    #[test]
    fn everything_else_is_404() {
        let hello = start_one();
        for line in ["GET /", "GET /sayhello", "GET /sayhello/", "GET /sayhello/a/b", "POST /sayhello/peter"]
        {
            assert_eq!(ask(hello.addr(), line).0, "HTTP/1.1 404 Not Found", "{line}");
        }
    }

    #[test]
    fn stopping_closes_its_listener_and_its_connections() {
        let hello = start_one();
        let addr = hello.addr();
        let mut kept = connect(addr);
        for _ in 0..2 {
            kept.write_all(b"GET /sayhello/peter HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            assert!(kept.read(&mut [0; 4096]).unwrap() > 0);
        }
        hello.stop();
        assert!(matches!(kept.read(&mut [0; 64]), Ok(0)));
        assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_address_in_use_is_an_error() {
        let hello = start_one();
        assert_eq!(start(hello.addr(), "other", || {}).unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
