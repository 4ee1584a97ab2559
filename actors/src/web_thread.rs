//! A web server on a thread of its own, so that what it does stalls nothing else.
//!
//! Knows actix-web's server, not what is served: the admin interface and the demo's service bring that. Several
//! may run in one process; each has its own `System`.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use tracing::error;

/// From the order to accept no longer to the end of what was accepted by then: a server that is told to stop drops
/// connections that its accepting thread has just taken and not yet passed on, and nobody says when it has.
const SETTLE: Duration = Duration::from_millis(50);

/// A running server. Dropping it stops it too, without patience.
#[derive(Debug)]
pub(crate) struct WebThread {
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl WebThread {
    /// Starts the server that `build` makes, on a new thread with this name (at most 15 bytes show in `top`).
    ///
    /// # Errors
    /// What `build` answers, or that there is no thread to be had.
    pub(crate) fn start<F>(name: &'static str, build: F) -> io::Result<Self>
    where
        F: FnOnce() -> io::Result<Server> + Send + 'static,
    {
        let (started_tx, started) = flume::bounded(1);
        let run = move || {
            actix_web::rt::System::new().block_on(async move {
                let server = match build() {
                    Ok(server) => server,
                    Err(error) => return drop(started_tx.send(Err(error))),
                };
                let _ = started_tx.send(Ok(server.handle()));
                if let Err(error) = server.await {
                    error!(%error, server = name, "web server ended");
                }
            });
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        let server =
            started.recv().unwrap_or_else(|_| Err(io::Error::other("web server died at its start")))?;
        Ok(Self { server, thread: Some(thread) })
    }

    /// Closes the listener and ends; with `patience`, requests being answered are finished first. Returns when the
    /// thread has ended.
    pub(crate) fn stop(mut self, patience: bool) {
        self.end(patience);
    }

    fn end(&mut self, patience: bool) {
        if let Some(thread) = self.thread.take() {
            if patience {
                drop(self.server.pause());
                #[expect(clippy::disallowed_methods, reason = "there is no condition to wait for")]
                std::thread::sleep(SETTLE);
            }
            // The command is sent by the call; the future would only wait for what the join waits for.
            drop(self.server.stop(patience));
            if thread.join().is_err() {
                error!("web server panicked");
            }
        }
    }
}

impl Drop for WebThread {
    fn drop(&mut self) {
        self.end(false);
    }
}
