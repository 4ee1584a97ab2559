//! A service that speaks HTTP/2: answers every request with 200 and the same bytes, whatever it is sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, server};
use http::{Method, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The service. Dropping it closes the listener and every connection.
pub(crate) struct Service {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts on 127.0.0.1.
    pub(crate) fn answering(text: &'static str) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("no free port");
        listener.set_nonblocking(true).expect("not a listener");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::<AtomicUsize>::default();
        let (stop, stopped) = oneshot::channel();
        let counted = requests.clone();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = accept(&listener, text, &counted) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, requests, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests whose heads have come so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(listener: &TcpListener, text: &'static str, requests: &Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        let requests = requests.clone();
        tokio::spawn(async move {
            let Ok(mut connection) = server::handshake(stream).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                requests.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(request, respond, text));
            }
        });
    }
}

/// Takes the whole body before it answers, as most services do. A peer may break off at any point.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    text: &'static str,
) -> Option<()> {
    let is_head = request.method() == Method::HEAD;
    let mut body = request.into_body();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data.ok()?.len()).ok()?;
    }
    body.trailers().await.ok()?;
    let mut stream = respond.send_response(Response::new(()), is_head).ok()?;
    if is_head { Some(()) } else { stream.send_data(Bytes::from_static(text.as_bytes()), true).ok() }
}

#[cfg(test)]
mod tests {
    use super::super::client::{Answer, Client};
    use super::*;

    #[test]
    fn requests_are_answered_and_counted() {
        let service = Service::answering("here");
        let mut client = Client::connect(service.address());
        for _ in 0..2 {
            assert_eq!(client.get("/"), Answer::Response(200, b"here".to_vec()));
        }
        assert_eq!(service.requests(), 2);
    }
}
