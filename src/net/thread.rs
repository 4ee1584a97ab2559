//! Starts a shard on a thread of its own, tests it, and falls back to the epoll driver if the io_uring one does not keep its promises.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::FutureExt;

use super::driver::Driver;
use super::queue::RunQueue;
use super::shard::{Main, Shard, panic_text};
use super::{epoll, selftest, uring};

/// A shard that has not reported after this time hangs in its self-test, which takes milliseconds even on a busy machine.
const START_MAX: Duration = Duration::from_secs(5);

/// How a shard is to run.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// Name of the thread and of the shard in logs.
    pub name: String,
    /// What [`preflight`](super::preflight) chose.
    pub driver: Driver,
    /// The CPU to stay on; unpinned without one.
    pub cpu: Option<usize>,
    /// Ask epoll for some microseconds before sleeping, while that pays.
    pub polling: bool,
}

/// A running shard.
#[derive(Debug)]
pub struct ShardThread {
    thread: JoinHandle<Result<(), String>>,
    driver: Driver,
}

/// Runs `main` on its own reactor in a new thread. The shard ends when `main` does; all its tasks are dropped then, on its thread.
///
/// Returns when `main` is about to run. A shard on io_uring is tested first, which takes some ten milliseconds. If it fails, that is logged and the shard runs on epoll; see [`ShardThread::driver`].
///
/// # Errors
/// The thread or its epoll set cannot be made.
pub fn spawn_shard<F, Fut>(options: ShardOptions, main: F) -> io::Result<ShardThread>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    if options.driver == Driver::Epoll {
        return launch(&options, Driver::Epoll, main, START_MAX).map_err(|failure| failure.error);
    }
    let failure = match launch(&options, Driver::Uring, main, START_MAX) {
        Ok(thread) => return Ok(thread),
        Err(failure) => failure,
    };
    let Some(main) = failure.main else { return Err(failure.error) };
    tracing::warn!(shard = %options.name, error = %failure.error, "io_uring does not work as it should, the shard runs on epoll");
    launch(&options, Driver::Epoll, main, START_MAX).map_err(|failure| failure.error)
}

/// The shard did not start: `main` has not run and is handed back.
struct Failure<F> {
    main: Option<F>,
    error: io::Error,
}

/// Where `main` waits until the shard has passed its test. Whoever takes it runs it.
type Waiting<F> = Arc<Mutex<Option<F>>>;

/// Starts a shard that has to report within `start_max`.
fn launch<F, Fut>(
    options: &ShardOptions,
    driver: Driver,
    main: F,
    start_max: Duration,
) -> Result<ShardThread, Failure<F>>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let waiting: Waiting<F> = Arc::new(Mutex::new(Some(main)));
    let (started, start) = sync_channel(1);
    let (theirs, shard_options) = (waiting.clone(), options.clone());
    let spawned = std::thread::Builder::new()
        .name(options.name.clone())
        .spawn(move || serve(&shard_options, driver, theirs, started));
    let (error, thread) = match spawned {
        Err(error) => (error, None),
        Ok(thread) => match start.recv_timeout(start_max) {
            Ok(()) => return Ok(ShardThread { thread, driver }),
            Err(RecvTimeoutError::Disconnected) => (io::Error::other(ending(thread)), None),
            // The thread cannot be ended from outside. It stays behind, blocked, without a `main`.
            Err(RecvTimeoutError::Timeout) => (io::Error::from(io::ErrorKind::TimedOut), Some(thread)),
        },
    };
    match (take(&waiting), thread) {
        // It took `main` in the very last moment.
        (None, Some(thread)) => Ok(ShardThread { thread, driver }),
        (main, _) => Err(Failure { main, error }),
    }
}

/// The life of a shard's thread.
fn serve<F, Fut>(
    options: &ShardOptions,
    driver: Driver,
    waiting: Waiting<F>,
    started: SyncSender<()>,
) -> Result<(), String>
where
    F: FnOnce() -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let ended = Rc::new(Cell::new(false));
    let outcome = Rc::new(Cell::new(Ok(())));
    let (end, result) = (EndOnDrop(ended.clone()), outcome.clone());
    let task = Box::pin(async move {
        let _end = end;
        result.set(test_and_run(driver, waiting, started).await);
    });
    let main = Main { task, ended };
    match driver {
        Driver::Epoll => {
            if let Some(cpu) = options.cpu {
                epoll::pin(cpu).map_err(|error| format!("cannot stay on cpu {cpu}: {error}"))?;
            }
            let shard = make_shard(options, RunQueue::own())?;
            let _leave = LeaveOnDrop(&shard);
            epoll::run(&shard, main).map_err(wait_failed)?;
        }
        Driver::Uring => {
            let executor = uring::make_executor(options.cpu)?;
            let shard = make_shard(options, RunQueue::glommio())?;
            let _leave = LeaveOnDrop(&shard);
            uring::run(&executor, &shard, main).map_err(wait_failed)?;
        }
    }
    outcome.replace(Ok(()))
}

/// `started` is told once `main` is about to run, and dropped untold if it never will.
async fn test_and_run<F, Fut>(
    driver: Driver,
    waiting: Waiting<F>,
    started: SyncSender<()>,
) -> Result<(), String>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = ()>,
{
    if driver == Driver::Uring {
        selftest::run().await?;
    }
    let Some(main) = take(&waiting) else { return Ok(()) };
    let _ = started.send(());
    let main = AssertUnwindSafe(async move { main().await });
    main.catch_unwind().await.map_err(|panic| panic_text(&*panic))
}

/// Ends the shard with its first task, in whatever way that goes.
struct EndOnDrop(Rc<Cell<bool>>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// A driver that panics has not dropped its tasks: that happens here, while there still is a shard for them.
struct LeaveOnDrop<'s>(&'s Shard);

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn make_shard(options: &ShardOptions, queue: RunQueue) -> Result<Rc<Shard>, String> {
    Shard::new(&options.name, queue, options.polling)
        .map_err(|error| format!("no epoll set for a shard: {error}"))
}

fn wait_failed(error: io::Error) -> String {
    format!("waiting for events failed: {error}")
}

fn take<F>(waiting: &Waiting<F>) -> Option<F> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Why a thread that never told that it started has ended.
fn ending(thread: JoinHandle<Result<(), String>>) -> String {
    match thread.join() {
        Ok(Err(text)) => text,
        Ok(Ok(())) => "the shard ended before it began".to_owned(),
        Err(panic) => panic_text(&*panic),
    }
}

impl ShardThread {
    /// What turns the shard's loop, after a fall-back if there was one.
    #[must_use]
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// Waits for the end of the shard.
    ///
    /// # Errors
    /// The text of the panic that ended `main`, or what broke the event loop.
    pub fn join(self) -> Result<(), String> {
        self.thread.join().unwrap_or_else(|panic| Err(panic_text(&*panic)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_shard_that_does_not_report_in_time_gives_its_main_back() {
        let options =
            ShardOptions { name: "slow".to_owned(), driver: Driver::Uring, cpu: None, polling: true };
        let (failure, receiver) = loop {
            let (sender, receiver) = std::sync::mpsc::channel();
            let main = async move || sender.send("main ran once").unwrap();
            match launch(&options, Driver::Uring, main, Duration::ZERO) {
                Err(failure) => break (failure, receiver),
                // This thread itself was slower than the shard.
                Ok(thread) => thread.join().unwrap(),
            }
        };
        assert_eq!(failure.error.kind(), io::ErrorKind::TimedOut);
        let thread = launch(&options, Driver::Epoll, failure.main.unwrap(), START_MAX).ok().unwrap();
        thread.join().unwrap();
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["main ran once"]);
    }
}
