//! TLS on a stream: between two shards' ends, and with a plain rustls peer on a thread of its own.

use std::io::{ErrorKind, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned, version,
};

use super::*;

type Blocking<C> = StreamOwned<C, TcpStream>;

/// What both sides need to know each other: one certificate for `orders`, and its own issuer.
#[derive(Clone)]
struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    fn new() -> Self {
        Self::with(&[b"h2", b"http/1.1"], &[b"http/1.1"], &version::TLS13)
    }

    fn with(
        server_alpn: &[&[u8]],
        client_alpn: &[&[u8]],
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Self {
        let made = rcgen::generate_simple_self_signed(["orders".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let owned = |alpn: &[&[u8]]| alpn.iter().map(|name| name.to_vec()).collect();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        server.alpn_protocols = owned(server_alpn);
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = owned(client_alpn);
        Tls { server: server.into(), client: client.into() }
    }

    /// A client and its server, both on this shard.
    async fn pair(&self) -> (Stream, Stream) {
        let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
        let client = Stream::connect(listener.local_addr(), LOST).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (there, here) = futures::join!(
            server.accept_tls(self.server.clone(), LOST),
            client.connect_tls(self.client.clone(), orders(), LOST)
        );
        there.unwrap();
        here.unwrap();
        (client, server)
    }

    /// A client of this shard, and what a blocking server does with its connection.
    async fn client_of(
        &self,
        serve: impl FnOnce(Blocking<ServerConnection>) + Send + 'static,
    ) -> (Stream, JoinHandle<()>) {
        let listener = std::net::TcpListener::bind(loopback()).unwrap();
        let addr = listener.local_addr().unwrap();
        let config = self.server.clone();
        let thread = std::thread::spawn(move || {
            let socket = listener.accept().unwrap().0;
            socket.set_read_timeout(Some(LOST)).unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
            stream.conn.complete_io(&mut stream.sock).unwrap();
            serve(stream);
        });
        let client = Stream::connect(addr, LOST).await.unwrap();
        client.connect_tls(self.client.clone(), orders(), LOST).await.unwrap();
        (client, thread)
    }

    /// A stream that a blocking client has connected to, not secured yet.
    async fn server_of(
        &self,
        call: impl FnOnce(Blocking<ClientConnection>) + Send + 'static,
    ) -> (Stream, JoinHandle<()>) {
        let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
        let (addr, config) = (listener.local_addr(), self.client.clone());
        let thread = std::thread::spawn(move || {
            call(StreamOwned::new(ClientConnection::new(config, orders()).unwrap(), client(addr)));
        });
        (listener.accept().await.unwrap().0, thread)
    }
}

fn orders() -> ServerName<'static> {
    "orders".try_into().unwrap()
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i * 31 % 251) as u8).collect()
}

async fn read_to_end(stream: &Stream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let n = poll_fn(|cx| {
            with_scratch(|scratch| {
                stream.poll_read(cx, scratch).map_ok(|n| {
                    all.extend_from_slice(&scratch[..n]);
                    n
                })
            })
        })
        .await?;
        if n == 0 {
            return Ok(all);
        }
    }
}

#[test]
fn both_sides_learn_what_was_agreed() {
    on_both(|driver| {
        on_shard(driver, async || {
            let tls = Tls::new();
            let (client, server) = tls.pair().await;
            for side in [&client, &server] {
                assert!(side.is_tls() && !side.is_resumed());
                assert_eq!(side.alpn(), Some(&b"http/1.1"[..]));
            }
            assert_eq!((client.server_name(), server.server_name()), (None, Some("orders")));
            // A ticket arrives with the first bytes; the next connection makes use of it.
            write_all(&server, b"hello").await.unwrap();
            assert_eq!(read(&client, &mut [0; 16]).await.unwrap(), 5);
            let (client, server) = tls.pair().await;
            assert!(client.is_resumed() && server.is_resumed());
        });
    });
}

#[test]
fn megabytes_go_both_ways_past_a_reader_that_is_slow() {
    const BYTES: usize = 3 << 20;
    for version in [&version::TLS13, &version::TLS12] {
        on_both(|driver| {
            on_shard(driver, async move || {
                let (client, server) = Tls::with(&[], &[], version).pair().await;
                let client = Rc::new(client);
                let writer = client.clone();
                spawn(async move {
                    let sent = pattern(BYTES);
                    let mut rest = &sent[..];
                    while !rest.is_empty() {
                        let (one, two) = rest.split_at(rest.len() / 3);
                        let slices = [IoSlice::new(one), IoSlice::new(two)];
                        let n = poll_fn(|cx| writer.poll_write_vectored(cx, &slices)).await.unwrap();
                        rest = &rest[n..];
                    }
                    writer.shutdown_write();
                });
                spawn(async move {
                    sleep(Duration::from_millis(20)).await;
                    let mut buf = [0; 5000];
                    while let n @ 1.. = read(&server, &mut buf).await.unwrap() {
                        write_all(&server, &buf[..n]).await.unwrap();
                    }
                });
                sleep(Duration::from_millis(20)).await;
                assert!(read_to_end(&client).await.unwrap() == pattern(BYTES), "every byte, in order");
            });
        });
    }
}

#[test]
fn a_write_that_is_reported_whole_has_left() {
    on_both(|driver| {
        on_shard(driver, async || {
            let (client, server) = Tls::new().pair().await;
            // Fill what the two sockets hold.
            let piece = pattern(100_000);
            let (mut written, mut rest) = (0, &piece[..]);
            let full = |stream: &Stream, rest: &[u8]| {
                let mut cx = Context::from_waker(Waker::noop());
                stream.poll_write(&mut cx, rest)
            };
            while let Poll::Ready(n) = full(&client, rest) {
                written += n.as_ref().unwrap();
                rest = &rest[n.unwrap()..];
                if rest.is_empty() {
                    rest = &piece[..];
                }
                yield_now().await; // each poll of a task has a budget
            }
            // Refused, not lost: the reader gets all that was reported and then what is written on.
            let client = Rc::new(client);
            let (writer, rest) = (client.clone(), rest.to_vec());
            let more = rest.len();
            spawn(async move {
                write_all(&writer, &rest).await.unwrap();
                let flushed = poll_fn(|cx| Poll::Ready(writer.poll_flush(cx))).await;
                assert!(flushed.is_ready(), "nothing is left to flush");
                writer.shutdown_write();
            });
            let all = read_to_end(&server).await.unwrap();
            assert_eq!(all.len(), written + more);
            assert!(all.chunks(piece.len()).all(|chunk| chunk == &piece[..chunk.len()]));
        });
    });
}

#[test]
fn an_end_is_an_end_only_if_it_was_said() {
    on_both(|driver| {
        on_shard(driver, async || {
            for says_it in [true, false] {
                let serve = move |mut stream: Blocking<ServerConnection>| {
                    stream.write_all(b"half").unwrap();
                    if says_it {
                        stream.conn.send_close_notify();
                    }
                    stream.flush().unwrap();
                };
                let (client, server) = Tls::new().client_of(serve).await;
                let ended = read_to_end(&client).await;
                server.join().unwrap();
                match ended {
                    Ok(all) => assert!(says_it && all == b"half"),
                    Err(error) => assert!(!says_it && error.kind() == ErrorKind::UnexpectedEof, "{error}"),
                }
                assert!(client.is_stale());
            }
        });
    });
}

#[test]
fn a_dropped_stream_says_its_end_and_a_reset_one_does_not() {
    on_both(|driver| {
        on_shard(driver, async || {
            let (client, server) = Tls::new().pair().await;
            write_all(&server, b"whole").await.unwrap();
            drop(server);
            assert_eq!(read_to_end(&client).await.unwrap(), b"whole");
            let (client, server) = Tls::new().pair().await;
            server.reset_on_close();
            drop(server);
            assert_eq!(read_to_end(&client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        });
    });
}

#[test]
fn a_secured_side_that_has_said_its_end_still_reads() {
    on_both(|driver| {
        on_shard(driver, async || {
            let (client, server) = Tls::new().pair().await;
            client.shutdown_write();
            assert_eq!(read_to_end(&server).await.unwrap(), b"");
            assert!(poll_fn(|cx| Poll::Ready(server.poll_gone(cx))).await.is_ready());
            write_all(&server, b"answer").await.unwrap();
            assert_eq!(read(&client, &mut [0; 16]).await.unwrap(), 6);
            assert_eq!(write_all(&client, b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn tickets_and_new_keys_do_not_make_an_idle_connection_stale() {
    on_both(|driver| {
        on_shard(driver, async || {
            let (orders, served) = flume::unbounded::<&'static str>();
            let (rekeys, rekeyed) = flume::unbounded::<()>();
            let serve = move |mut stream: Blocking<ServerConnection>| {
                while let Ok(order) = served.recv() {
                    match order {
                        "rekey" => stream.conn.refresh_traffic_keys().unwrap(),
                        "speak" => drop(stream.write(b"!").unwrap()),
                        _ => stream.conn.send_close_notify(),
                    }
                    stream.flush().unwrap();
                    let _ = rekeys.send(());
                }
            };
            // Two tickets follow the handshake at once.
            let (client, server) = Tls::new().client_of(serve).await;
            for _ in 0..8 {
                orders.send("rekey").unwrap();
                until("the records are sent", || rekeyed.try_recv().is_ok()).await;
                assert!(!client.is_stale() && !client.is_stale_now(), "they concern TLS alone");
            }
            orders.send("speak").unwrap();
            until("the word", || client.is_stale()).await;
            assert!(poll_fn(|cx| Poll::Ready(client.poll_gone(cx))).await.is_pending(), "it is there still");
            assert_eq!(read(&client, &mut [0; 8]).await.unwrap(), 1);
            assert!(!client.is_stale());
            orders.send("end").unwrap();
            poll_fn(|cx| client.poll_gone(cx)).await;
            assert!(client.is_stale());
            drop(orders);
            server.join().unwrap();
        });
    });
}

#[test]
fn a_handshake_that_comes_byte_by_byte_is_waited_for_and_one_that_stops_is_not() {
    on_both(|driver| {
        on_shard(driver, async || {
            let call = |mut stream: Blocking<ClientConnection>| {
                let mut hello = Vec::new();
                stream.conn.write_tls(&mut hello).unwrap();
                for byte in hello {
                    stream.sock.write_all(&[byte]).unwrap();
                }
                assert_eq!(stream.read(&mut [0; 8]).unwrap(), 2);
            };
            let tls = Tls::new();
            let (server, thread) = tls.server_of(call).await;
            server.accept_tls(tls.server.clone(), LOST).await.unwrap();
            write_all(&server, b"ok").await.unwrap();
            thread.join().unwrap();
            let stops = |mut stream: Blocking<ClientConnection>| {
                stream.sock.write_all(b"\x16\x03\x01\x02").unwrap();
                while let Ok(1..) = stream.sock.read(&mut [0; 64]) {}
            };
            let (server, thread) = tls.server_of(stops).await;
            let error = server.accept_tls(tls.server, Duration::from_millis(50)).await.unwrap_err();
            assert!(matches!(error, TlsError::TimedOut), "{error}");
            drop(server);
            thread.join().unwrap();
        });
    });
}

#[test]
fn what_is_not_accepted_is_told_by_an_alert() {
    on_both(|driver| {
        on_shard(driver, async || {
            let tls = Tls::with(&[b"h2"], &[b"spdy/1"], &version::TLS13);
            let agrees_on_nothing = |mut stream: Blocking<ClientConnection>| {
                let error = stream.conn.complete_io(&mut stream.sock).unwrap_err();
                assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
            };
            let (server, thread) = tls.server_of(agrees_on_nothing).await;
            refused(&server, &tls).await;
            thread.join().unwrap();
            let speaks_in_the_clear = |mut stream: Blocking<ClientConnection>| {
                stream.sock.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                let mut answer = Vec::new();
                stream.sock.read_to_end(&mut answer).unwrap();
                assert_eq!(answer, b"\x15\x03\x03\0\x02\x02\x32", "decode_error");
            };
            let (server, thread) = tls.server_of(speaks_in_the_clear).await;
            refused(&server, &tls).await;
            thread.join().unwrap();
        });
    });
}

/// The handshake fails, and the peer has time to read why.
async fn refused(server: &Stream, tls: &Tls) {
    let error = server.accept_tls(tls.server.clone(), LOST).await.unwrap_err();
    assert!(matches!(error, TlsError::Protocol(_)), "{error}");
    server.shutdown_write();
    while let Ok(1..) = read(server, &mut [0; 64]).await {}
}

#[test]
fn the_first_bytes_may_be_looked_at_before_the_handshake() {
    on_both(|driver| {
        on_shard(driver, async || {
            let call = |mut stream: Blocking<ClientConnection>| {
                stream.write_all(b"secret").unwrap();
                assert_eq!(stream.read(&mut [0; 8]).unwrap(), 4);
                stream.conn.send_close_notify();
                stream.flush().unwrap();
            };
            let tls = Tls::new();
            let (mut server, thread) = tls.server_of(call).await;
            let mut first = vec![0; 3];
            let n = read(&server, &mut first).await.unwrap();
            assert_eq!(first[0], 0x16);
            first.truncate(n);
            server.unread(first);
            server.accept_tls(tls.server, LOST).await.unwrap();
            // By way of the traits, into memory that is not initialised, two bytes at a time.
            let mut all = Vec::new();
            while all.len() < 6 {
                let mut buf = [std::mem::MaybeUninit::uninit(); 2];
                let mut buf = tokio::io::ReadBuf::uninit(&mut buf);
                poll_fn(|cx| tokio::io::AsyncRead::poll_read(std::pin::Pin::new(&mut server), cx, &mut buf))
                    .await
                    .unwrap();
                all.extend_from_slice(buf.filled());
            }
            assert_eq!(all, b"secret");
            write_all(&server, b"told").await.unwrap();
            assert_eq!(read_to_end(&server).await.unwrap(), b"");
            thread.join().unwrap();
        });
    });
}

#[test]
fn records_that_were_tampered_with_end_the_connection_for_good() {
    on_both(|driver| {
        on_shard(driver, async || {
            let call = |mut stream: Blocking<ClientConnection>| {
                stream.write_all(b"fine").unwrap();
                assert_eq!(stream.read(&mut [0; 8]).unwrap(), 2);
                stream.write_all(b" still").unwrap();
                stream.sock.write_all(b"\x17\x03\x03\x00\x20 this was encrypted by nobody at all").unwrap();
                let error = stream.read(&mut [0; 8]).unwrap_err();
                assert!(error.to_string().contains("BadRecordMac"), "{error}");
            };
            let tls = Tls::new();
            let (server, thread) = tls.server_of(call).await;
            server.accept_tls(tls.server, LOST).await.unwrap();
            write_all(&server, b"go").await.unwrap();
            let mut all = Vec::new();
            let error = loop {
                let mut buf = [0; 8];
                match read(&server, &mut buf).await {
                    Ok(n) => all.extend_from_slice(&buf[..n]),
                    Err(error) => break error,
                }
            };
            assert_eq!((&all[..], error.kind()), (&b"fine still"[..], ErrorKind::InvalidData), "{error}");
            assert!(server.is_stale());
            read(&server, &mut [0; 8]).await.unwrap_err();
            server.shutdown_write();
            thread.join().unwrap();
        });
    });
}
