//! How secured connections end.

use super::*;

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
