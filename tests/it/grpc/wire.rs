//! What stands on the wire: HTTP/2 spoken by hand before and behind the sidecars.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

use super::client::read_head;
use super::mesh::{FAR, Mesh, NEAR};
use super::server::EchoServer;
use super::way::run;

/// A message without content: not compressed, no bytes.
pub(super) const EMPTY_MESSAGE: &[u8] = &[0; 5];
/// Type of the frame SETTINGS (RFC 9113 section 6.5).
const SETTINGS: u8 = 4;

pub(super) type Script =
    Arc<dyn Fn(Request<RecvStream>, SendResponse<Bytes>) -> BoxFuture<'static, ()> + Send + Sync>;

/// Sidecars before a server that does what a script says, and a connection to the first of them for each service.
///
/// `play` is given the connection; it runs once through one sidecar and once through two.
#[track_caller]
pub(super) fn on_the_wire<Fut>(
    script: Script,
    play: impl Fn(h2::client::SendRequest<Bytes>, &'static str) -> Fut,
) where
    Fut: Future<Output = ()>,
{
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("cannot listen");
    listener.set_nonblocking(true).expect("cannot be used by tokio");
    let mesh = Mesh::start(listener.local_addr().unwrap());
    run(async {
        tokio::spawn(serve(TcpListener::from_std(listener).unwrap(), script));
        for service in [NEAR, FAR] {
            println!("{service}");
            play(connect(mesh.outgoing).await, service).await;
        }
    });
}

async fn serve(listener: TcpListener, script: Script) {
    while let Ok((stream, _)) = listener.accept().await {
        let script = script.clone();
        tokio::spawn(async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(script(request, respond));
            }
        });
    }
}

pub(super) async fn connect(address: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.expect("the sidecar does not listen");
    let (send, connection) = h2::client::handshake(stream).await.expect("the sidecar speaks no HTTP/2");
    tokio::spawn(async move { connection.await.ok() });
    send.ready().await.expect("the connection has ended")
}

/// A call with these fields besides the usual ones.
pub(super) fn call(service: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("http://{service}/mesher.peers.EchoService/Unary"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// Sends a call of one empty message; its answer's head, rest and trailers.
pub(super) async fn ask(
    mut connection: h2::client::SendRequest<Bytes>,
    request: Request<()>,
) -> (Response<()>, Vec<u8>, Option<HeaderMap>) {
    let (response, mut body) = connection.send_request(request, false).expect("cannot be sent");
    body.send_data(Bytes::from_static(EMPTY_MESSAGE), true).expect("cannot be sent");
    let (head, mut body) = response.await.expect("no answer").into_parts();
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("the answer ends early");
        body.flow_control().release_capacity(data.len()).unwrap();
        message.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.expect("no end");
    (Response::from_parts(head, ()), message, trailers)
}

fn grpc_response() -> http::response::Builder {
    Response::builder().header("content-type", "application/grpc+proto")
}

/// A server that answers each call with an empty message, and tells what it was asked.
pub(super) fn recording() -> (Script, mpsc::UnboundedReceiver<http::request::Parts>) {
    let (tell, told) = mpsc::unbounded_channel();
    let script: Script = Arc::new(move |request, mut respond| {
        let _ = tell.send(request.into_parts().0);
        async move {
            let mut send = respond.send_response(grpc_response().body(()).unwrap(), false).unwrap();
            send.send_data(Bytes::from_static(EMPTY_MESSAGE), false).unwrap();
            send.send_trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), 0.into())])).unwrap();
        }
        .boxed()
    });
    (script, told)
}

#[test]
fn a_call_arrives_with_the_fields_that_grpc_relies_on() {
    const FIELDS: [(&str, &str); 4] = [
        ("grpc-accept-encoding", "identity,deflate,gzip"),
        ("grpc-encoding", "identity"),
        ("user-agent", "grpc-raw/1"),
        ("x-trace-bin", "AAEC/w"),
    ];
    let (script, told) = recording();
    let told = tokio::sync::Mutex::new(told);
    on_the_wire(script, |connection, service| {
        let told = &told;
        async move {
            let (head, message, trailers) = ask(connection, call(service, &FIELDS)).await;
            assert_eq!((head.status().as_u16(), &*message), (200, EMPTY_MESSAGE));
            assert_eq!(head.headers()["content-type"], "application/grpc+proto");
            assert_eq!(trailers.unwrap()["grpc-status"], "0");
            let seen = told.lock().await.recv().await.unwrap();
            assert_eq!((seen.method.as_str(), seen.uri.path()), ("POST", "/mesher.peers.EchoService/Unary"));
            assert_eq!(seen.uri.authority().unwrap().host(), service);
            assert_eq!(seen.headers["te"], "trailers");
            assert_eq!(seen.headers["content-type"], "application/grpc+proto");
            for (name, value) in FIELDS {
                assert_eq!(seen.headers[name], value, "{name}");
            }
            assert!(!seen.headers.contains_key("grpc-timeout"), "a deadline that nobody has set");
        }
    });
}

#[test]
fn a_timeout_that_cannot_be_read_is_for_the_server_to_judge() {
    let (script, told) = recording();
    let told = tokio::sync::Mutex::new(told);
    on_the_wire(script, |connection, service| {
        let told = &told;
        async move {
            let (head, _, trailers) = ask(connection, call(service, &[("grpc-timeout", "soon")])).await;
            assert_eq!((head.status().as_u16(), &trailers.unwrap()["grpc-status"]), (200, &0.into()));
            let seen = told.lock().await.recv().await.unwrap();
            assert_eq!(seen.headers["grpc-timeout"], "soon");
        }
    });
}

#[test]
fn an_answer_of_trailers_only_stays_one_block_of_fields() {
    let script: Script = Arc::new(|_, mut respond| {
        let response =
            grpc_response().header("grpc-status", "5").header("grpc-message", "gone%21").body(()).unwrap();
        respond.send_response(response, true).unwrap();
        async {}.boxed()
    });
    on_the_wire(script, |mut connection, service| async move {
        let (response, mut body) = connection.send_request(call(service, &[]), false).unwrap();
        body.send_data(Bytes::from_static(EMPTY_MESSAGE), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(
            (&response.headers()["grpc-status"], &response.headers()["grpc-message"]),
            (&5.into(), &"gone%21".parse().unwrap())
        );
        assert!(response.body().is_end_stream(), "something follows the fields");
    });
}

#[test]
fn a_plain_answer_comes_through_and_libraries_make_a_status_of_it() {
    let script: Script = Arc::new(|_, mut respond| {
        let response = Response::builder().status(503).header("content-type", "text/plain").body(()).unwrap();
        let mut send = respond.send_response(response, false).unwrap();
        send.send_data(Bytes::from_static(b"go away"), true).unwrap();
        async {}.boxed()
    });
    on_the_wire(script, |connection, service| async move {
        let (head, body, trailers) = ask(connection, call(service, &[])).await;
        let status = trailers.as_ref().unwrap_or(head.headers()).get("grpc-status");
        match (head.status().as_u16(), status) {
            (503, None) => assert_eq!(body, b"go away"),
            (200, Some(status)) => assert_eq!(status, "14"),
            other => panic!("{other:?}"),
        }
    });
}

/// A server that does not look at the clock: it reads, answers `messages` times, and then nothing until the call is
/// reset, which it tells.
pub(super) fn patient(messages: usize) -> (Script, mpsc::UnboundedReceiver<Reason>) {
    let (tell, told) = mpsc::unbounded_channel();
    let script: Script = Arc::new(move |_, mut respond| {
        let tell = tell.clone();
        async move {
            let reset = match messages {
                0 => futures::future::poll_fn(|cx| respond.poll_reset(cx)).await,
                _ => {
                    let mut send = respond.send_response(grpc_response().body(()).unwrap(), false).unwrap();
                    for _ in 0..messages {
                        send.send_data(Bytes::from_static(EMPTY_MESSAGE), false).unwrap();
                    }
                    futures::future::poll_fn(|cx| send.poll_reset(cx)).await
                }
            };
            let _ = tell.send(reset.expect("the connection ended, not the call"));
        }
        .boxed()
    });
    (script, told)
}

#[test]
fn a_call_that_is_reset_is_reset_at_the_server_too() {
    let (script, told) = patient(1);
    let told = tokio::sync::Mutex::new(told);
    on_the_wire(script, |mut connection, service| {
        let told = &told;
        async move {
            let (response, mut body) = connection.send_request(call(service, &[]), false).unwrap();
            response.await.unwrap();
            body.send_reset(Reason::CANCEL);
            assert_eq!(told.lock().await.recv().await, Some(Reason::CANCEL));
        }
    });
}

#[test]
fn a_reset_by_the_server_comes_through_with_its_code() {
    let seen = Arc::new(Notify::new());
    let (seen_by_client, script): (_, Script) = (
        seen.clone(),
        Arc::new(move |_, mut respond| {
            let seen = seen.clone();
            async move {
                let mut send = respond.send_response(grpc_response().body(()).unwrap(), false).unwrap();
                send.send_data(Bytes::from_static(EMPTY_MESSAGE), false).unwrap();
                seen.notified().await;
                send.send_reset(Reason::ENHANCE_YOUR_CALM);
            }
            .boxed()
        }),
    );
    on_the_wire(script, |mut connection, service| {
        let seen = &seen_by_client;
        async move {
            let (response, _body) = connection.send_request(call(service, &[]), false).unwrap();
            let mut body = response.await.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), EMPTY_MESSAGE);
            seen.notify_one();
            let ended = body.data().await.expect("ended in order").expect_err("it goes on");
            assert_eq!(ended.reason(), Some(Reason::ENHANCE_YOUR_CALM));
        }
    });
}

#[test]
fn a_failure_of_mesher_is_one_block_of_fields_with_an_encoded_message() {
    let (script, _told) = recording();
    on_the_wire(script, |mut connection, _| async move {
        let (response, _) = connection.send_request(call("nobody", &[]), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let fields = response.headers();
        assert_eq!(
            (&fields["content-type"], &fields["grpc-status"]),
            (&"application/grpc".parse().unwrap(), &14.into())
        );
        let message = fields["grpc-message"].to_str().expect("not encoded");
        assert!(message.contains("nobody"), "{message}");
        assert!(response.body().is_end_stream(), "something follows the fields");
    });
}

/// Opens a tunnel, sends `then` with it, and reads the answer to CONNECT.
async fn tunnel(mesh: &Mesh, authority: &str, then: &[u8]) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(mesh.outgoing).await.unwrap();
    let head =
        format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: grpc-httpcli/0.0\r\n\r\n");
    stream.write_all(&[head.as_bytes(), then].concat()).await.unwrap();
    let answer = read_head(&mut stream).await.unwrap();
    (stream, answer)
}

#[test]
fn bytes_that_follow_connect_at_once_are_not_lost() {
    let server = EchoServer::start();
    let mesh = Mesh::start(server.address());
    run(async {
        let settings = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
        let greeting = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat();
        let authority = format!("{NEAR}:{}", server.address().port());
        let (mut stream, answer) = tunnel(&mesh, &authority, &greeting).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("transfer-encoding"), "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("content-length"), "{answer}");
        // The sidecar's own SETTINGS, and that it has read ours.
        let (mut has_settings, mut has_acknowledged) = (false, false);
        while !(has_settings && has_acknowledged) {
            let mut frame = [0; 9];
            stream.read_exact(&mut frame).await.unwrap();
            let mut content = vec![0; u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize];
            stream.read_exact(&mut content).await.unwrap();
            has_settings |= frame[3] == SETTINGS && frame[4] == 0;
            has_acknowledged |= frame[3] == SETTINGS && frame[4] == 1;
        }
    });
}

#[test]
fn a_tunnel_to_a_service_that_nobody_knows_is_refused_before_it_is_open() {
    let server = EchoServer::start();
    let mesh = Mesh::start(server.address());
    let (_, answer) = run(tunnel(&mesh, "nobody:21001", b""));
    let status = answer.split(' ').nth(1).unwrap();
    assert!(matches!(status, "404" | "502" | "503"), "{answer}");
}
