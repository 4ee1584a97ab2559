//! How a connection becomes a secured one, or not.

use super::*;

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
            // A ticket arrives with the first bytes; the next connection makes use of it.
            write_all(&server, b"hello").await.unwrap();
            assert_eq!(read(&client, &mut [0; 16]).await.unwrap(), 5);
            let (client, server) = tls.pair().await;
            assert!(client.is_resumed() && server.is_resumed());
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
