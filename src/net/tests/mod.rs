//! Behaviours of a whole shard, each on both drivers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod linger;
mod process;
mod sockets;
mod tasks;
mod timers;
mod tls;
mod wakes;

use std::future::Future;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::*;

/// Nothing on loopback takes as long; whatever does has been lost.
const LOST: Duration = Duration::from_secs(30);

/// Runs `main` on a shard of its own and hands its result out.
pub(crate) fn on_shard<F, Fut, R>(driver: Driver, main: F) -> R
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = R> + 'static,
    R: Send + 'static,
{
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = start(driver, async move || {
        let _ = sender.send(main().await);
    });
    match receiver.recv_timeout(6 * LOST) {
        Ok(result) => {
            thread.join().expect("the shard ends without a panic");
            result
        }
        Err(RecvTimeoutError::Disconnected) => panic!("{driver}: {:?}", thread.join()),
        Err(RecvTimeoutError::Timeout) => panic!("{driver}: the shard hangs"),
    }
}

fn start<F, Fut>(driver: Driver, main: F) -> ShardThread
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let thread = spawn_shard(options(driver), main).expect("a shard starts");
    assert_eq!(thread.driver(), driver, "the driver that was asked for runs");
    thread
}

fn options(driver: Driver) -> ShardOptions {
    ShardOptions { name: format!("test-{driver}"), driver, cpu: None, polling: true }
}

/// Runs a behaviour on each driver that can be had here.
pub(crate) fn on_both(behaviour: impl Fn(Driver)) {
    behaviour(Driver::Epoll);
    if has_io_uring() {
        behaviour(Driver::Uring);
    }
}

/// Whether io_uring can be had here; the output says why not.
pub(crate) fn has_io_uring() -> bool {
    preflight(DriverChoice::Uring, 1).inspect_err(|why| println!("skipped on uring: {why}")).is_ok()
}

pub(crate) fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A blocking client that does not wait for ever.
fn client(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LOST)).unwrap();
    stream.set_write_timeout(Some(LOST)).unwrap();
    stream
}

async fn read(stream: &Stream, buf: &mut [u8]) -> std::io::Result<usize> {
    poll_fn(|cx| stream.poll_read(cx, buf)).await
}

async fn write_all(stream: &Stream, mut buf: &[u8]) -> std::io::Result<()> {
    while !buf.is_empty() {
        let n = poll_fn(|cx| stream.poll_write(cx, buf)).await?;
        buf = &buf[n..];
    }
    Ok(())
}

/// Sends back what comes, until the end.
async fn echo(stream: Stream) {
    let mut buf = [0; 4096];
    while let Ok(n @ 1..) = read(&stream, &mut buf).await {
        if write_all(&stream, &buf[..n]).await.is_err() {
            return;
        }
    }
}

/// Accepts for ever and echoes.
async fn serve(listener: Listener) {
    while let Ok((stream, _)) = listener.accept().await {
        spawn(echo(stream));
    }
}

/// Asks a blocking client's server for one echo.
fn ping(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text);
}

/// Waits, on the shard, until a condition holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LOST;
    while !condition() {
        assert!(Instant::now() < end, "never happened: {what}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Tries, on the shard, until an attempt succeeds: for what a busy machine spoils now and then, and a fault always.
pub(crate) async fn at_last(mut attempt: impl AsyncFnMut() -> Result<(), String>) {
    let end = Instant::now() + LOST;
    while let Err(why) = attempt().await {
        assert!(Instant::now() < end, "{why}");
    }
}
