//! The hello service of the demo: an ordinary HTTP/1.1 server that knows nothing of mesher.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, guard, web};

use crate::web_thread::WebThread;

/// Longer than a sidecar keeps an idle connection, so that it is never the service that closes first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

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

/// Starts an instance on a thread of its own. `GET /sayhello/{name}` greets in the name of `instance`, anything else
/// is 404.
///
/// # Errors
/// When `addr` cannot be bound.
pub fn start(addr: SocketAddr, instance: &str) -> io::Result<HelloHandle> {
    let listener = TcpListener::bind(addr)?;
    let addr = listener.local_addr()?;
    let instance: web::Data<str> = web::Data::from(std::sync::Arc::<str>::from(instance));
    let build = move || {
        let app = move || {
            let hello = web::resource("/sayhello/{name}")
                .route(web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(say_hello))
                .default_service(web::to(HttpResponse::NotFound));
            App::new().app_data(instance.clone()).app_data(web::Data::new(addr)).service(hello)
        };
        let server = HttpServer::new(app).workers(1).keep_alive(KEEP_ALIVE).disable_signals();
        Ok(server.listen(listener)?.run())
    };
    Ok(HelloHandle { addr, server: WebThread::start("hello", build)? })
}

async fn say_hello(
    name: web::Path<String>,
    instance: web::Data<str>,
    addr: web::Data<SocketAddr>,
) -> HttpResponse {
    let text = format!("Hello {name} from {} at {}\n", &**instance, **addr);
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text)
}
