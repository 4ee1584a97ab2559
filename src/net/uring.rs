//! The driver on glommio, by its public interface only.
//!
//! Each task of the shard has a *shell*: a task of glommio that polls it. A shell is woken by us alone, so we know exactly how many are
//! queued and not yet polled: `runnable`. The driver is glommio's root task. It queues itself behind everything that is queued, so each
//! of its polls comes after one pass through the run queue:
//!
//! ```text
//!                     ┌── glommio's own work is due ──> return, glommio turns its reactor
//! HOT:  driver polled ┼── runnable > 0 ──────────────> return; every 4th time look at the sockets first
//!                     └── runnable = 0 ──────────────> block in epoll_wait, here, inside the poll
//!
//! PARKED, after 100 ms without a socket event: await the readability of the epoll set on glommio's ring, and let glommio sleep.
//! ```
//!
//! So while there is traffic glommio never goes to sleep, and its sleep, a dozen system calls each time, is not paid.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::panic::catch_unwind;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::io::AsyncRead;
use glommio::timer::Timer;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, executor};

use super::preflight;
use super::queue::RunQueue;
use super::shard::{Main, Shard, panic_text};
use super::sys;
use super::wake::Key;

/// Entries of glommio's rings. There are no sockets on them, so few will do; they count as locked memory.
pub(super) const RING_DEPTH: usize = 128;
/// How often glommio's reactor runs on a busy shard, and after how much silence the shard parks. A shorter one costs 90 µs each time.
pub(super) const SLICE: Duration = Duration::from_millis(100);
/// Passes through the run queue between two looks at the sockets while tasks keep each other busy.
const PASSES: u32 = 4;

/// glommio's side of the shard's tasks.
pub(super) struct Shells {
    /// Shells queued and not yet polled.
    runnable: Cell<usize>,
    /// By the index of the task.
    states: RefCell<Vec<ShellState>>,
    /// Silence before the shard parks.
    window: Cell<Duration>,
}

/// What the queue knows of a shell from its first poll on.
#[derive(Default)]
struct ShellState {
    waker: Option<Waker>,
    /// Woken since it was last polled, so it is counted in `runnable`.
    woken: bool,
}

/// Polls one task of the shard each time glommio polls it.
struct Shell {
    shard: Rc<Shard>,
    key: Key,
    started: bool,
}

/// The state of the driver while the shard is hot.
struct Hot {
    shard: Rc<Shard>,
    ended: Rc<Cell<bool>>,
    last_event: Instant,
    passes: u32,
}

/// An executor on this thread.
///
/// # Errors
/// Why glommio cannot have one, in words. Whatever glommio would end the process for is found before.
pub(super) fn make_executor(cpu: Option<usize>) -> Result<LocalExecutor, String> {
    preflight::probe(1).map_err(|refusal| refusal.to_string())?;
    let placement = cpu.map_or(Placement::Unbound, Placement::Fixed);
    let made = catch_unwind(|| {
        LocalExecutorBuilder::new(placement)
            .io_memory(0)
            .ring_depth(RING_DEPTH)
            .preempt_timer(SLICE)
            .make()
            .map_err(|error| error.to_string())
    });
    made.unwrap_or_else(|panic| Err(panic_text(&*panic)))
}

/// Runs `main` and whatever it spawns until it has ended.
pub(super) fn run(executor: &LocalExecutor, shard: &Rc<Shard>, main: Main) -> io::Result<()> {
    executor.run(drive(shard.clone(), main))
}

async fn drive(shard: Rc<Shard>, main: Main) -> io::Result<()> {
    shard.enter();
    let last_event = Instant::now();
    let mut hot = Hot { shard: shard.clone(), ended: main.ended.clone(), last_event, passes: 0 };
    shard.spawn(main.task);
    let result = loop {
        let turned = poll_fn(|cx| hot.poll(cx)).await;
        if turned.is_err() || main.ended.get() {
            break turned;
        }
        if let Err(error) = park(&mut hot).await {
            break Err(error);
        }
    };
    shard.leave();
    if let RunQueue::Glommio(shells) = shard.queue() {
        shells.end().await;
    }
    result
}

// === impl Hot ===

impl Hot {
    /// Ready when the shard has ended or shall park.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shard = self.shard.clone();
        let RunQueue::Glommio(shells) = shard.queue() else { return Poll::Ready(Ok(())) };
        if self.ended.get() {
            return Poll::Ready(Ok(()));
        }
        if executor().need_preempt() {
            return requeue(cx);
        }
        if shells.runnable.get() > 0 {
            self.passes += 1;
            if self.passes.is_multiple_of(PASSES) {
                self.turn(Some(Duration::ZERO))?;
                yield_queue(cx);
            }
            return requeue(cx);
        }
        self.passes = 0;
        if shard.reactor().now().saturating_duration_since(self.last_event) >= shells.window.get() {
            return Poll::Ready(Ok(()));
        }
        // glommio's completions end the wait by a signal; the limit is for one that came just before.
        self.turn(Some(SLICE))?;
        requeue(cx)
    }

    fn turn(&mut self, max: Option<Duration>) -> io::Result<()> {
        if self.shard.turn(max)? > 0 {
            self.last_event = self.shard.reactor().now();
        }
        Ok(())
    }
}

/// To the back of the run queue, behind everything runnable.
fn requeue<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Ends the run queue's turn after this poll, so that glommio looks at its other queues and its clock.
fn yield_queue(cx: &mut Context<'_>) {
    let executor = executor();
    let _ = pin!(executor.yield_task_queue_now()).poll(cx);
}

/// Lets glommio sleep until a socket event, a wake-up from another thread (its eventfd is in the set) or the next timer. A shard that was
/// only woken or ticked stays silent and parks again; one with a socket event is hot.
async fn park(hot: &mut Hot) -> io::Result<()> {
    let shard = hot.shard.clone();
    let Ok(set) = shard.reactor().as_fd().try_clone_to_owned() else {
        // Out of descriptors: a slice in epoll_wait does as well.
        return hot.turn(Some(SLICE));
    };
    let mut set = sys::glommio_poll(set);
    let mut timer =
        shard.reactor().next_wakeup().map(|at| Timer::new(at.saturating_duration_since(Instant::now())));
    poll_fn(|cx| {
        if Pin::new(&mut set).poll_read(cx, &mut []).is_ready() {
            return Poll::Ready(());
        }
        shard.remote().announce_sleep();
        if shard.drain() {
            return Poll::Ready(());
        }
        timer.as_mut().map_or(Poll::Pending, |timer| Pin::new(timer).poll(cx).map(drop))
    })
    .await;
    shard.remote().announce_awake();
    drop(set);
    hot.turn(Some(Duration::ZERO))
}

// === impl Shells ===

impl Shells {
    pub(super) fn new() -> Self {
        Shells { runnable: Cell::new(0), states: RefCell::default(), window: Cell::new(SLICE) }
    }

    /// After how much silence the shard parks; zero parks whenever nothing is runnable.
    pub(super) fn set_window(&self, window: Duration) {
        self.window.set(window);
    }

    pub(super) fn spawn(&self, shard: &Rc<Shard>, key: Key) {
        let shell = Shell { shard: shard.clone(), key, started: false };
        // Queued: one pass serves a batch. glommio::spawn_local would poll it at once.
        match glommio::spawn_local_into(shell, executor().current_task_queue()) {
            Ok(task) => drop(task.detach()),
            Err(error) => return tracing::error!(%error, "glommio has no task queue for a new task"),
        }
        self.runnable.set(self.runnable.get() + 1);
    }

    pub(super) fn wake(&self, key: Key) {
        let mut states = self.states.borrow_mut();
        let Some(ShellState { waker: Some(waker), woken }) = states.get_mut(key.index as usize) else {
            return;
        };
        *woken = true;
        self.runnable.set(self.runnable.get() + 1);
        waker.wake_by_ref();
    }

    /// A shell is being polled, for the first time if it tells its `waker`.
    fn polled(&self, key: Key, waker: Option<&Waker>) {
        self.runnable.set(self.runnable.get().saturating_sub(1));
        let mut states = self.states.borrow_mut();
        let index = key.index as usize;
        if states.len() <= index {
            states.resize_with(index + 1, ShellState::default);
        }
        if let Some(state) = states.get_mut(index) {
            state.woken = false;
            if let Some(waker) = waker {
                state.waker = Some(waker.clone());
            }
        }
    }

    /// A shell's task has ended. If the task woke itself before, glommio will not poll the shell for it.
    fn ended(&self, key: Key) {
        let state = self.states.borrow_mut().get_mut(key.index as usize).map(std::mem::take);
        if state.is_some_and(|state| state.woken) {
            self.runnable.set(self.runnable.get().saturating_sub(1));
        }
    }

    /// All tasks are gone: lets every shell find that out and end, so that glommio leaks none.
    async fn end(&self) {
        let states = std::mem::take(&mut *self.states.borrow_mut());
        states.into_iter().filter_map(|state| state.waker).for_each(Waker::wake);
        // The first in, first out: when the root task has its turn again the shells have had theirs.
        executor().yield_now().await;
    }
}

// === impl Shell ===

impl Future for Shell {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Shell { shard, key, started } = self.get_mut();
        let RunQueue::Glommio(shells) = shard.queue() else { return Poll::Ready(()) };
        let first = !std::mem::replace(started, true);
        shells.polled(*key, first.then(|| cx.waker()));
        if shard.run(*key) {
            return Poll::Pending;
        }
        shells.ended(*key);
        Poll::Ready(())
    }
}
