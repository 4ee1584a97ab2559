//! What a shard on glommio tries before it serves: whether the wake-ups, timers and sockets that the driver promises really come in time.
//!
//! The driver relies on habits of glommio's scheduler (first in, first out; blocking inside a poll is harmless; a descriptor of ours can be
//! polled on its ring). All are public, none is promised. A few milliseconds here find out; the shard then runs on epoll instead.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::shard::{self, set_window, spawn, yield_now};
use super::stream::Stream;
use super::timer::sleep;
use super::uring::SLICE;

/// What takes longer has waited for glommio's next slice (100 ms), or for nothing at all.
const LATE: Duration = Duration::from_millis(20);
/// A busy machine can be late once. A driver that does not work is late every time.
const ATTEMPTS: usize = 3;
const SLEEP: Duration = Duration::from_millis(2);

/// Tests the shard of this task. Takes about ten milliseconds.
///
/// # Errors
/// What did not come in time.
pub(super) async fn run() -> Result<(), String> {
    let mut result = Ok(());
    for _ in 0..ATTEMPTS {
        result = attempt().await;
        if result.is_ok() {
            break;
        }
    }
    set_window(SLICE);
    result
}

async fn attempt() -> Result<(), String> {
    set_window(SLICE);
    wakes("while the shard is hot", 100).await?;
    sockets("while the shard is hot", 20).await?;
    timer("while the shard is hot").await?;
    beside_a_busy_task().await?;
    set_window(Duration::ZERO);
    wakes("while the shard is parked", 5).await?;
    sockets("while the shard is parked", 5).await?;
    timer("while the shard is parked").await
}

/// Another thread answers each request, so each answer is a foreign wake-up.
async fn wakes(state: &str, rounds: usize) -> Result<(), String> {
    let (ask, asked) = flume::bounded::<()>(1);
    let (answer, answered) = flume::bounded::<()>(1);
    std::thread::Builder::new()
        .name("selftest".to_owned())
        .spawn(move || while asked.recv().is_ok() && answer.send(()).is_ok() {})
        .map_err(|error| format!("no thread for the self-test: {error}"))?;
    for _ in 0..rounds {
        let started = Instant::now();
        let gone = |_| "the self-test's thread ended".to_owned();
        ask.send_async(()).await.map_err(|_| gone(()))?;
        answered.recv_async().await.map_err(|_| gone(()))?;
        in_time("a wake-up from another thread", state, started)?;
    }
    Ok(())
}

/// A task echoes what this one sends.
async fn sockets(state: &str, rounds: usize) -> Result<(), String> {
    let (near, far) = pair().map_err(|error| format!("no socket pair: {error}"))?;
    spawn(async move { while exchange_back(&far).await.is_ok() {} });
    for _ in 0..rounds {
        let started = Instant::now();
        let exchanged = exchange(&near).await;
        exchanged.map_err(|error| format!("a byte through a socket pair failed {state}: {error}"))?;
        in_time("a byte through a socket pair", state, started)?;
    }
    Ok(())
}

async fn timer(state: &str) -> Result<(), String> {
    let started = Instant::now();
    sleep(SLEEP).await;
    in_time("a timer", state, started + SLEEP)
}

/// A task that is always runnable must keep neither the sockets nor the timers waiting.
async fn beside_a_busy_task() -> Result<(), String> {
    let stop = Rc::new(Cell::new(false));
    let stopped = stop.clone();
    spawn(async move {
        while !stopped.get() {
            yield_now().await;
        }
    });
    let sockets = sockets("beside a busy task", 5).await;
    let timer = timer("beside a busy task").await;
    stop.set(true);
    sockets.and(timer)
}

fn in_time(what: &str, state: &str, started: Instant) -> Result<(), String> {
    let took = started.elapsed();
    if took < LATE { Ok(()) } else { Err(format!("{what} {state} came after {} ms", took.as_millis())) }
}

fn pair() -> io::Result<(Stream, Stream)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    Ok((Stream::new(near, nowhere, shard::reactor()), Stream::new(far, nowhere, shard::reactor())))
}

async fn exchange(stream: &Stream) -> io::Result<()> {
    poll_fn(|cx| stream.poll_write(cx, b"?")).await?;
    byte(stream).await
}

async fn exchange_back(stream: &Stream) -> io::Result<()> {
    byte(stream).await?;
    poll_fn(|cx| stream.poll_write(cx, b"!")).await?;
    Ok(())
}

async fn byte(stream: &Stream) -> io::Result<()> {
    match poll_fn(|cx| stream.poll_read(cx, &mut [0])).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Driver, ShardOptions, spawn_shard};
    use super::*;

    fn on_shard(driver: Driver, test: impl AsyncFnOnce() + Send + 'static) {
        let options = ShardOptions { name: "selftest".to_owned(), driver, cpu: None, polling: true };
        let thread = spawn_shard(options, async move || test().await).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn both_drivers_pass_quickly() {
        for driver in [Driver::Epoll, Driver::Uring] {
            on_shard(driver, async || {
                let started = Instant::now();
                run().await.unwrap();
                assert!(started.elapsed() < Duration::from_secs(1), "took {:?}", started.elapsed());
            });
        }
    }

    #[test]
    fn what_comes_late_is_named() {
        let long_ago = Instant::now().checked_sub(Duration::from_millis(100)).unwrap();
        let error = in_time("a timer", "while the shard is hot", long_ago).unwrap_err();
        assert_eq!(error, "a timer while the shard is hot came after 100 ms");
    }

    #[test]
    fn a_dead_peer_fails_the_socket_test() {
        on_shard(Driver::Epoll, async || {
            let (near, far) = pair().unwrap();
            drop(far);
            assert!(exchange(&near).await.is_err());
        });
    }
}
