//! Starts a shard on a thread of its own, tests it, and falls back to the epoll driver if the io_uring one does not keep its promises.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::thread::JoinHandle;

use futures::FutureExt;

use super::driver::Driver;
use super::epoll;
use super::queue::RunQueue;
use super::shard::{Shard, panic_text};

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
pub struct ShardThread {
    thread: JoinHandle<Result<(), String>>,
    driver: Driver,
}

/// Runs `main` on its own reactor in a new thread. The shard ends when `main` does; all its tasks are dropped then, on its thread.
///
/// # Errors
/// The thread or its epoll set cannot be made.
pub fn spawn_shard<F, Fut>(options: ShardOptions, main: F) -> io::Result<ShardThread>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let driver = Driver::Epoll;
    let (started, start) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(options.name.clone()).spawn(move || {
        let shard = match Shard::new(&options.name, RunQueue::own(), options.polling) {
            Ok(shard) => shard,
            Err(error) => {
                let text = error.to_string();
                let _ = started.send(Err(error));
                return Err(text);
            }
        };
        let _ = started.send(Ok(()));
        let outcome = Rc::new(Cell::new(None));
        shard.enter();
        let result = outcome.clone();
        let ended = Rc::new(Cell::new(false));
        let end = ended.clone();
        shard.spawn(Box::pin(async move {
            let main = AssertUnwindSafe(async move { main().await });
            result.set(Some(main.catch_unwind().await));
            end.set(true);
        }));
        let run = epoll::run(&shard, || ended.get());
        shard.leave();
        run.map_err(|error| format!("epoll_wait failed: {error}"))?;
        match outcome.take() {
            Some(Err(panic)) => Err(panic_text(&*panic)),
            _ => Ok(()),
        }
    })?;
    start.recv().map_err(|_| io::Error::other("the shard's thread ended before it began"))??;
    Ok(ShardThread { thread, driver })
}

impl ShardThread {
    /// What turns the shard's loop, after a fall-back if there was one.
    #[must_use]
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// Whether the shard has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of the shard.
    ///
    /// # Errors
    /// The text of the panic that ended `main`, or what broke the event loop.
    pub fn join(self) -> Result<(), String> {
        self.thread.join().unwrap_or_else(|panic| Err(panic_text(&*panic)))
    }
}
