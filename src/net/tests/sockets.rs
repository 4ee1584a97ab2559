//! Listeners and streams.

use std::cell::Cell;
use std::io::{ErrorKind, IoSlice};
use std::rc::Rc;
use std::task::{Poll, ready};

use super::*;

#[test]
fn connections_are_accepted_and_echoed() {
    on_both(|driver| {
        let listener = bind(loopback(), false).unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = flume::bounded::<()>(1);
        let thread = start(driver, async move || {
            spawn(serve(Listener::adopt(listener).unwrap()));
            let _ = stopped.recv_async().await;
        });
        let mut clients: Vec<_> = (0..20).map(|_| client(addr)).collect();
        for round in 0..20u8 {
            for client in &mut clients {
                ping(client, &[round; 300]);
            }
        }
        stop.send(()).unwrap();
        thread.join().unwrap();
        for client in &mut clients {
            assert_eq!(client.read(&mut [0]).unwrap_or(0), 0, "the shard closed what it held");
        }
    });
}

#[test]
fn a_shard_talks_to_itself_through_connect() {
    on_both(|driver| {
        on_shard(driver, async || {
            let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
            let addr = listener.local_addr();
            spawn(serve(listener));
            let stream = Stream::connect(addr, LOST).await.unwrap();
            assert_eq!(stream.peer_addr(), addr);
            assert_eq!(stream.local_addr().unwrap().ip(), addr.ip());
            for _ in 0..500 {
                write_all(&stream, b"hello").await.unwrap();
                let mut buf = [0; 16];
                let n = read(&stream, &mut buf).await.unwrap();
                assert_eq!(&buf[..n], b"hello");
            }
        });
    });
}

#[test]
fn bytes_given_back_are_read_again_before_those_that_came_later() {
    on_both(|driver| {
        on_shard(driver, async || {
            let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
            let addr = listener.local_addr();
            spawn(serve(listener));
            let mut stream = Stream::connect(addr, LOST).await.unwrap();
            write_all(&stream, b"later").await.unwrap();
            stream.unread(b"second ".to_vec());
            stream.unread(b"first ".to_vec());
            let mut all = Vec::new();
            while all.len() < b"first second later".len() {
                let mut buf = [std::mem::MaybeUninit::uninit(); 4];
                let mut buf = tokio::io::ReadBuf::uninit(&mut buf);
                std::future::poll_fn(|cx| {
                    tokio::io::AsyncRead::poll_read(std::pin::Pin::new(&mut stream), cx, &mut buf)
                })
                .await
                .unwrap();
                assert!(!buf.filled().is_empty(), "it has not ended");
                all.extend_from_slice(buf.filled());
            }
            assert_eq!(all, b"first second later");
        });
    });
}

#[test]
fn ipv6_is_served_too() {
    let here = "[::1]:0".parse().unwrap();
    if let Err(why) = bind(here, false) {
        println!("skipped: {here}: {why}");
        return;
    }
    on_both(move |driver| {
        on_shard(driver, async move || {
            let listener = Listener::adopt(bind(here, false).unwrap()).unwrap();
            let addr = listener.local_addr();
            spawn(serve(listener));
            let stream = Stream::connect(addr, LOST).await.unwrap();
            write_all(&stream, b"six").await.unwrap();
            let mut buf = [0; 16];
            assert_eq!(read(&stream, &mut buf).await.unwrap(), 3);
        });
    });
}

#[test]
fn a_large_transfer_survives_full_buffers_in_both_directions() {
    const BYTES: usize = 8 << 20;
    on_both(|driver| {
        on_shard(driver, async || {
            let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
            let addr = listener.local_addr();
            spawn(serve(listener));
            let stream = Rc::new(Stream::connect(addr, LOST).await.unwrap());
            let sent: Rc<Vec<u8>> = Rc::new((0..BYTES).map(|i| (i * 31 % 251) as u8).collect());
            let (writer, bytes) = (stream.clone(), sent.clone());
            spawn(async move {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let half = rest.len() / 2;
                    let slices = [IoSlice::new(&rest[..half]), IoSlice::new(&rest[half..])];
                    let n = poll_fn(|cx| writer.poll_write_vectored(cx, &slices)).await.unwrap();
                    rest = &rest[n..];
                }
                writer.shutdown_write();
            });
            let mut received = Vec::new();
            loop {
                let n = poll_fn(|cx| {
                    with_scratch(|buf| {
                        let n = ready!(stream.poll_read(cx, buf))?;
                        received.extend_from_slice(&buf[..n]);
                        Poll::Ready(std::io::Result::Ok(n))
                    })
                })
                .await
                .unwrap();
                if n == 0 {
                    break;
                }
            }
            assert!(received == *sent, "{} bytes came back", received.len());
        });
    });
}

#[test]
fn a_refused_connection_fails_at_once() {
    on_both(|driver| {
        on_shard(driver, async || {
            // Bound, so that it is given to no other test, and not listening.
            use rustix::net::{AddressFamily, SocketType};
            let taken = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            rustix::net::bind(&taken, &loopback()).unwrap();
            let addr: SocketAddr = rustix::net::getsockname(&taken).unwrap().try_into().unwrap();
            let error = Stream::connect(addr, LOST).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        });
    });
}

#[test]
fn a_connection_that_nobody_answers_times_out() {
    on_both(|driver| {
        on_shard(driver, async || {
            // A queue of one that nobody empties: further handshakes are dropped.
            let full =
                rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)
                    .unwrap();
            rustix::net::bind(&full, &loopback()).unwrap();
            rustix::net::listen(&full, 0).unwrap();
            let addr: SocketAddr = rustix::net::getsockname(&full).unwrap().try_into().unwrap();
            let mut held = Vec::new();
            let started = Instant::now();
            let error = loop {
                match Stream::connect(addr, Duration::from_millis(50)).await {
                    Ok(stream) => held.push(stream),
                    Err(error) => break error,
                }
                assert!(held.len() < 16, "the queue is never full");
            };
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(started.elapsed() >= Duration::from_millis(50));
        });
    });
}

#[test]
fn a_reset_is_an_error_and_not_an_end() {
    on_both(|driver| {
        on_shard(driver, async || {
            let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
            let stream = Stream::connect(listener.local_addr(), LOST).await.unwrap();
            let (peer, _) = listener.accept().await.unwrap();
            peer.reset_on_close();
            drop(peer);
            let error = read(&stream, &mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert!(stream.is_stale());
            let error = write_all(&stream, b"x").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn a_half_closed_connection_still_answers() {
    on_both(|driver| {
        on_shard(driver, async || {
            let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
            let stream = Stream::connect(listener.local_addr(), LOST).await.unwrap();
            let (peer, _) = listener.accept().await.unwrap();
            write_all(&stream, b"request").await.unwrap();
            stream.shutdown_write();
            let mut buf = [0; 16];
            assert_eq!(read(&peer, &mut buf).await.unwrap(), 7);
            assert_eq!(read(&peer, &mut buf).await.unwrap(), 0);
            write_all(&peer, b"answer").await.unwrap();
            assert_eq!(read(&stream, &mut buf).await.unwrap(), 6);
        });
    });
}

#[test]
fn a_pooled_connection_is_stale_once_its_peer_closes_or_speaks() {
    on_both(|driver| {
        on_shard(driver, async || {
            let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
            for speaks in [false, true] {
                let stream = Stream::connect(listener.local_addr(), LOST).await.unwrap();
                let (peer, _) = listener.accept().await.unwrap();
                assert!(!stream.is_stale(), "fresh");
                write_all(&stream, b"ask").await.unwrap();
                assert_eq!(read(&peer, &mut [0; 16]).await.unwrap(), 3);
                write_all(&peer, b"told").await.unwrap();
                // A read that is filled exactly leaves open whether there is more.
                assert_eq!(read(&stream, &mut [0; 4]).await.unwrap(), 4);
                assert!(!stream.is_stale(), "used and idle");
                if speaks {
                    write_all(&peer, b"!").await.unwrap();
                } else {
                    peer.shutdown_write();
                }
                until("the edge", || stream.is_stale()).await;
            }
        });
    });
}

#[test]
fn expecting_nothing_yet_loses_nothing_that_is_there() {
    on_both(|driver| {
        on_shard(driver, async || {
            let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
            let stream = Stream::connect(listener.local_addr(), LOST).await.unwrap();
            let (peer, _) = listener.accept().await.unwrap();
            for _ in 0..50 {
                write_all(&stream, b"early").await.unwrap();
                peer.expect_nothing_yet();
                assert_eq!(read(&peer, &mut [0; 16]).await.unwrap(), 5);
                write_all(&peer, b"early").await.unwrap();
                yield_now().await;
                stream.expect_nothing_yet();
                assert_eq!(read(&stream, &mut [0; 16]).await.unwrap(), 5);
            }
        });
    });
}

#[test]
fn reading_and_writing_wait_in_different_tasks() {
    // More than both sockets' buffers ever take (tcp_wmem and tcp_rmem reach some 40 MiB at most).
    const PIECES: usize = 1024;
    on_both(|driver| {
        on_shard(driver, async || {
            let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
            let stream = Rc::new(Stream::connect(listener.local_addr(), LOST).await.unwrap());
            let (peer, _) = listener.accept().await.unwrap();
            let (reader, read_bytes) = (stream.clone(), Rc::new(Cell::new(0)));
            let count = read_bytes.clone();
            spawn(async move { count.set(read(&reader, &mut [0; 16]).await.unwrap()) });
            // The writer waits for room, the reader for a byte: each gets its own wake-up.
            let writer = stream.clone();
            let written = Rc::new(Cell::new(0));
            let total = written.clone();
            spawn(async move {
                for _ in 0..PIECES {
                    write_all(&writer, &[7; 65536]).await.unwrap();
                    total.set(total.get() + 65536);
                }
            });
            sleep(Duration::from_millis(5)).await;
            assert!(written.get() < PIECES * 65536, "the buffers are full");
            write_all(&peer, b"byte").await.unwrap();
            until("the reader's wake-up", || read_bytes.get() == 4).await;
            let mut received = 0;
            while received < PIECES * 65536 {
                received += read(&peer, &mut [0; 65536]).await.unwrap();
            }
            until("the writer's end", || written.get() == PIECES * 65536).await;
        });
    });
}

#[test]
fn a_shared_port_spreads_over_two_shards() {
    on_both(|driver| {
        let first = bind(loopback(), true).unwrap();
        let addr = first.local_addr().unwrap();
        let second = bind(addr, true).unwrap();
        let shards: Vec<_> = [first, second]
            .into_iter()
            .map(|listener| {
                let (stop, stopped) = flume::bounded::<()>(1);
                let (count, counted) = flume::unbounded();
                let thread = start(driver, async move || {
                    let listener = Listener::adopt(listener).unwrap();
                    spawn(async move {
                        while let Ok((stream, _)) = listener.accept().await {
                            let _ = count.send(());
                            spawn(echo(stream));
                        }
                    });
                    let _ = stopped.recv_async().await;
                });
                (thread, stop, counted)
            })
            .collect();
        for _ in 0..60 {
            ping(&mut client(addr), b"x");
        }
        let counts: Vec<_> = shards
            .into_iter()
            .map(|(thread, stop, counted)| {
                stop.send(()).unwrap();
                thread.join().unwrap();
                counted.try_iter().count()
            })
            .collect();
        assert_eq!(counts.iter().sum::<usize>(), 60);
        assert!(counts.iter().all(|&n| n > 0), "{counts:?}");
    });
}

#[test]
fn an_unshared_port_belongs_to_one() {
    let first = bind(loopback(), false).unwrap();
    let error = bind(first.local_addr().unwrap(), true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_pump_that_never_waits_lets_others_run() {
    on_both(|driver| {
        on_shard(driver, async || {
            let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
            let near = Stream::connect(listener.local_addr(), LOST).await.unwrap();
            let (far, _) = listener.accept().await.unwrap();
            let stop = Rc::new(Cell::new(false));
            let stopped = stop.clone();
            spawn(async move {
                // Never registered, never drained: each byte is there when it is read.
                while !stopped.get() {
                    write_all(&near, b"x").await.unwrap();
                    read(&far, &mut [0]).await.unwrap();
                }
            });
            let started = Instant::now();
            sleep(Duration::from_millis(1)).await;
            stop.set(true);
            assert!(started.elapsed() < LOST);
        });
    });
}

#[test]
fn a_peer_that_takes_nothing_any_more_is_given_up_in_time() {
    on_both(|driver| {
        let (error, elapsed) = on_shard(driver, async || {
            let listener = bind(loopback(), false).unwrap();
            // In the queue of the kernel, where nobody reads.
            let stream = Stream::connect(listener.local_addr().unwrap(), LOST).await.unwrap();
            stream.expect_signs_of_life(Duration::from_millis(300));
            let begun = Instant::now();
            let error = loop {
                if let Err(error) = write_all(&stream, &[0; 64 * 1024]).await {
                    break error.kind();
                }
            };
            drop(listener);
            (error, begun.elapsed())
        });
        assert_eq!(error, ErrorKind::TimedOut);
        assert!((Duration::from_millis(300)..LOST).contains(&elapsed), "{elapsed:?}");
    });
}
