//! Bytes on a secured connection, and what is none of its business.

use super::*;

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
