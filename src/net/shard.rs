//! What belongs to one shard, and the functions its tasks call: [`spawn`], [`now`], [`yield_now`]. Who turns the loop is the drivers'
//! business (`epoll`, `uring`).

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use mesher_actors::snapshot::stats::ShardStats;

use super::queue::RunQueue;
use super::reactor::Reactor;
use super::task::{Running, Tasks};
use super::wake::{Key, Remote};

thread_local! {
    static CURRENT: RefCell<Option<Rc<Shard>>> = const { RefCell::new(None) };
}

/// Runs `f` as a task of this shard: it is queued, not polled at once. A panic in it is caught, logged and counted; it ends the task and
/// nothing else. The task is dropped, on this thread, when it ends or when the shard does.
///
/// # Panics
/// Outside of a shard.
#[inline]
pub fn spawn(f: impl Future<Output = ()> + 'static) {
    spawn_with(|| f);
}

/// As [`spawn`], for a future that is large: it is made where it will stay, where handing it over would copy it.
///
/// # Panics
/// Outside of a shard.
#[inline]
pub fn spawn_with<F: Future<Output = ()> + 'static>(make: impl FnOnce() -> F) {
    let place = Box::new_uninit();
    let task = Box::into_pin(Box::write(place, make()));
    with_current(|shard| shard.spawn(task));
}

/// Panics caught in tasks of this shard since it began.
///
/// # Panics
/// Outside of a shard.
#[must_use]
pub fn panics() -> u64 {
    with_current(|shard| shard.panics.get())
}

/// From now on the shard keeps its turns and the panics caught here, too, for other threads to see.
///
/// # Panics
/// Outside of a shard.
pub fn report_to(stats: Arc<ShardStats>) {
    with_current(|shard| {
        // Told once, by who started it; a second time changes nothing.
        let _ = shard.stats.set(stats);
    });
}

/// Turns of this shard's event loop since it began.
///
/// # Panics
/// Outside of a shard.
#[must_use]
pub fn turns() -> u64 {
    with_current(|shard| shard.reactor.turns())
}

/// The time at the end of the last turn of the event loop, so one reading of the clock serves all tasks of a turn.
///
/// # Panics
/// Outside of a shard.
#[must_use]
pub fn now() -> Instant {
    with_current(|shard| shard.reactor.now())
}

/// Lets the other runnable tasks, and the sockets, have their turn.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The first task of a shard and how to see that it has ended, which ends the shard.
pub(super) struct Main {
    pub(super) task: Pin<Box<dyn Future<Output = ()>>>,
    pub(super) ended: Rc<Cell<bool>>,
}

/// One thread's tasks, sockets and timers.
pub(super) struct Shard {
    name: String,
    reactor: Rc<Reactor>,
    tasks: RefCell<Tasks>,
    queue: RunQueue,
    remote: Arc<Remote>,
    /// Receives the foreign wake-ups; kept so that it is allocated once.
    woken: Cell<Vec<Key>>,
    panics: Cell<u64>,
    stats: OnceCell<Arc<ShardStats>>,
    /// Nothing is spawned any more.
    closing: Cell<bool>,
}

impl Shard {
    pub(super) fn new(name: &str, queue: RunQueue, polling: bool) -> io::Result<Rc<Self>> {
        let remote = Arc::new(Remote::new()?);
        Ok(Rc::new(Shard {
            name: name.to_owned(),
            reactor: Rc::new(Reactor::new(remote.as_fd(), polling)?),
            tasks: RefCell::default(),
            queue,
            remote,
            woken: Cell::default(),
            panics: Cell::new(0),
            stats: OnceCell::new(),
            closing: Cell::new(false),
        }))
    }

    /// Makes it the shard of this thread.
    pub(super) fn enter(self: &Rc<Self>) {
        CURRENT.with(|current| *current.borrow_mut() = Some(self.clone()));
    }

    /// Drops all tasks and leaves the thread.
    pub(super) fn leave(&self) {
        self.closing.set(true);
        loop {
            // Dropping a task may wake or try to spawn others.
            let all = self.tasks.borrow_mut().take_all();
            if all.is_empty() {
                break;
            }
            for task in all {
                self.discard(task);
            }
        }
        let left = CURRENT.with(|current| current.borrow_mut().take());
        drop(left);
    }

    pub(super) fn reactor(&self) -> &Rc<Reactor> {
        &self.reactor
    }

    pub(super) fn remote(&self) -> &Remote {
        &self.remote
    }

    pub(super) fn queue(&self) -> &RunQueue {
        &self.queue
    }

    pub(super) fn spawn(self: &Rc<Self>, future: Pin<Box<dyn Future<Output = ()>>>) {
        if self.closing.get() {
            return;
        }
        let key = self.tasks.borrow_mut().insert(future, &self.remote);
        self.queue.push_new(self, key);
    }

    /// Polls a task once. Returns whether it is still there.
    pub(super) fn run(&self, key: Key) -> bool {
        let Some(mut running) = self.tasks.borrow_mut().start(key) else { return false };
        self.reactor.refill_budget();
        let poll = || running.future.as_mut().poll(&mut Context::from_waker(&running.waker));
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => {
                self.tasks.borrow_mut().park(key, running);
                return true;
            }
            Ok(Poll::Ready(())) => {}
            Err(panic) => self.report(&*panic),
        }
        self.tasks.borrow_mut().remove(key);
        self.discard(running);
        false
    }

    /// Waits for at most `max` (`None`: until something happens) unless another thread has woken a task. Returns the number of socket
    /// events.
    pub(super) fn turn(&self, max: Option<Duration>) -> io::Result<usize> {
        if let Some(stats) = self.stats.get() {
            stats.turns.add(1);
        }
        if max == Some(Duration::ZERO) {
            self.drain();
            return self.reactor.turn(max);
        }
        self.remote.announce_sleep();
        let max = if self.drain() { Some(Duration::ZERO) } else { max };
        let sockets = self.reactor.turn(max);
        self.remote.announce_awake();
        self.drain();
        sockets
    }

    /// Queues the tasks that other threads have woken. Returns whether there was one.
    pub(super) fn drain(&self) -> bool {
        let mut woken = self.woken.take();
        let any = self.remote.drain(&mut woken);
        for key in woken.drain(..) {
            self.enqueue(key);
        }
        self.woken.set(woken);
        any
    }

    /// Queues a woken task, unless it has ended since.
    fn enqueue(&self, key: Key) {
        if self.tasks.borrow().contains(key) {
            self.queue.push(key);
        }
    }

    /// A future may panic while it is dropped, too.
    fn discard(&self, running: Running) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(move || drop(running))) {
            self.report(&*panic);
        }
    }

    fn report(&self, panic: &(dyn Any + Send)) {
        self.panics.set(self.panics.get().saturating_add(1));
        if let Some(stats) = self.stats.get() {
            stats.panics.add(1);
        }
        tracing::error!(shard = %self.name, panic = %panic_text(panic), "a task panicked and was ended, the shard goes on");
    }
}

/// The reactor of this thread's shard.
pub(super) fn reactor() -> Rc<Reactor> {
    with_current(|shard| shard.reactor.clone())
}

/// After how much silence this thread's shard parks in glommio. Means nothing to the epoll driver.
pub(super) fn set_window(window: Duration) {
    with_current(|shard| {
        if let RunQueue::Glommio(shells) = &shard.queue {
            shells.set_window(window);
        }
    });
}

/// Queues a woken task if `remote`'s shard is the one of this thread.
pub(super) fn enqueue_here(remote: &Arc<Remote>, key: Key) -> bool {
    let here = CURRENT.try_with(|current| match &*current.borrow() {
        Some(shard) if Arc::ptr_eq(&shard.remote, remote) => {
            shard.enqueue(key);
            true
        }
        _ => false,
    });
    here.unwrap_or(false)
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a panic without a text".to_owned(),
    }
}

fn with_current<R>(f: impl FnOnce(&Rc<Shard>) -> R) -> R {
    CURRENT.with(|current| match &*current.borrow() {
        Some(shard) => f(shard),
        None => panic!(
            "called outside of a shard: only tasks of net::spawn_shard may use sockets, timers and net::spawn"
        ),
    })
}
