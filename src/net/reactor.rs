//! One turn of a shard's event loop: wait for epoll, report to the slots, fire timers and deadlines. Knows no task and no executor.
//!
//! A driver calls [`Reactor::turn`] whenever it has looked through what is runnable: with a time limit of zero while there is more to
//! run, without one when there is nothing.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::polling::Polling;
use super::slot::{Slot, Slots};
use super::timer::Timers;
use super::wheel::Wheel;

/// The unit of a [`Deadline`](super::Deadline): a tenth of a second.
pub(super) const TICK: Duration = Duration::from_nanos(TICK_NANOS as u64);
const TICK_NANOS: u32 = 100_000_000;
const TICKS_PER_SECOND: u64 = 10;
/// Events fetched at once. More only make the batch larger and the answers of its first connections later.
const EVENTS: usize = 256;
/// Socket operations that one poll of a task may do before it has to let the others run. A peer that is as fast as we are would otherwise
/// keep its task going for ever; 32 reads or writes are at most a megabyte or two.
const BUDGET: u32 = 32;
/// Longest single wait. The kernel's milliseconds are 32 bits wide; a turn a day in vain costs nothing.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// The token of the shard's eventfd. Slots never have it: their index would have to be `u32::MAX`.
const WAKE: u64 = u64::MAX;

/// The epoll set of a shard with everything that waits on it.
pub(super) struct Reactor {
    epoll: OwnedFd,
    events: Cell<Vec<epoll::Event>>,
    slots: RefCell<Slots>,
    timers: Timers,
    wheel: RefCell<Wheel>,
    polling: Option<RefCell<Polling>>,
    /// When the shard began: tick 0.
    origin: Instant,
    now: Cell<Instant>,
    /// The last tick that has begun by then.
    tick: Cell<u32>,
    turns: Cell<u64>,
    /// Upstream calls whose answer is outstanding.
    calls: Cell<u32>,
    /// Socket operations left to the task that is being polled.
    budget: Cell<u32>,
}

impl Reactor {
    /// `wake` is the eventfd by which other threads end a wait.
    pub(super) fn new(wake: BorrowedFd<'_>, polling: bool) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // Edge-triggered and never read: each write to it is one event.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, wake, epoll::EventData::new_u64(WAKE), flags)?;
        let now = Instant::now();
        Ok(Reactor {
            epoll,
            events: Cell::new(Vec::with_capacity(EVENTS)),
            slots: RefCell::default(),
            timers: Timers::default(),
            wheel: RefCell::new(Wheel::new()),
            polling: polling.then(|| RefCell::new(Polling::new())),
            origin: now,
            now: Cell::new(now),
            tick: Cell::new(0),
            turns: Cell::new(0),
            calls: Cell::new(0),
            budget: Cell::new(BUDGET),
        })
    }

    /// Waits for at most `max` (`None`: until something happens) and wakes what is ready. Returns the number of socket events.
    pub(super) fn turn(&self, max: Option<Duration>) -> io::Result<usize> {
        self.turns.set(self.turns.get().wrapping_add(1));
        let sockets = if max == Some(Duration::ZERO) { self.fetch(max)?.sockets } else { self.wait(max)? };
        self.timers.fire(self.now.get());
        self.expire_deadlines();
        Ok(sockets)
    }

    /// The time at the end of the last turn.
    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    pub(super) fn turns(&self) -> u64 {
        self.turns.get()
    }

    pub(super) fn timers(&self) -> &Timers {
        &self.timers
    }

    pub(super) fn wheel(&self) -> &RefCell<Wheel> {
        &self.wheel
    }

    pub(super) fn calls(&self) -> &Cell<u32> {
        &self.calls
    }

    /// When a timer or deadline wants the next turn.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        let tick = self.wheel.borrow().next_tick().map(|tick| self.origin + TICK * tick);
        match (self.timers.earliest(), tick) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The last tick that has begun.
    pub(super) fn tick(&self) -> u32 {
        self.tick.get()
    }

    /// The first tick that begins at `at` or later.
    pub(super) fn tick_after(&self, at: Instant) -> u32 {
        ticks(at.saturating_duration_since(self.origin), true)
    }

    // --- for sockets

    /// A task is about to be polled.
    pub(super) fn refill_budget(&self) {
        self.budget.set(BUDGET);
    }

    /// Takes one socket operation off the task's budget. Pending, and the task queued again, if there is none left.
    pub(super) fn spend(&self, cx: &Context<'_>) -> Poll<()> {
        match self.budget.get().checked_sub(1) {
            Some(left) => {
                self.budget.set(left);
                Poll::Ready(())
            }
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    pub(super) fn open(&self) -> (u64, Rc<Slot>) {
        self.slots.borrow_mut().insert()
    }

    pub(super) fn close(&self, token: u64) {
        let slot = self.slots.borrow_mut().remove(token);
        drop(slot); // outside of the borrow: dropping its wakers may run code of others
    }

    pub(super) fn add(&self, fd: BorrowedFd<'_>, token: u64, flags: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), flags)?)
    }

    pub(super) fn modify(&self, fd: BorrowedFd<'_>, token: u64, flags: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token), flags)?)
    }

    pub(super) fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    // --- one turn

    fn wait(&self, max: Option<Duration>) -> io::Result<usize> {
        let start = Instant::now();
        if let Some(polling) = &self.polling {
            let until = polling.borrow_mut().before_wait(start, self.calls.get());
            if let Some(until) = until {
                let fetched = self.poll_until(until.min(self.next_wakeup().unwrap_or(until)))?;
                polling.borrow_mut().polled(fetched.any);
                if fetched.any {
                    polling.borrow_mut().after_wait(self.now.get());
                    return Ok(fetched.sockets);
                }
            }
        }
        let timer = self.next_wakeup().map(|at| at.saturating_duration_since(self.now.get().max(start)));
        let max = match (max, timer) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let fetched = self.fetch(max)?;
        if let Some(polling) = &self.polling {
            polling.borrow_mut().after_wait(self.now.get());
        }
        Ok(fetched.sockets)
    }

    fn poll_until(&self, until: Instant) -> io::Result<Fetched> {
        loop {
            let fetched = self.fetch(Some(Duration::ZERO))?;
            if fetched.any || self.now.get() >= until {
                return Ok(fetched);
            }
        }
    }

    /// One epoll_wait. The kernel counts whole milliseconds: a wait is rounded up.
    fn fetch(&self, max: Option<Duration>) -> io::Result<Fetched> {
        let timeout = max
            .map(|max| max.min(WAIT_MAX))
            .map(|max| Timespec { tv_sec: max.as_secs().cast_signed(), tv_nsec: max.subsec_nanos().into() });
        let mut events = self.events.take();
        events.clear();
        let result = epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref());
        let now = Instant::now();
        self.now.set(now);
        self.tick.set(ticks(now.saturating_duration_since(self.origin), false));
        let mut fetched = Fetched { any: !events.is_empty(), sockets: 0 };
        for event in &events {
            fetched.sockets += usize::from(self.report(event));
        }
        self.events.set(events);
        match result {
            // A signal, or work that the kernel does for a ring in this thread.
            Ok(_) | Err(Errno::INTR) => Ok(fetched),
            Err(error) => Err(error.into()),
        }
    }

    fn report(&self, event: &epoll::Event) -> bool {
        let token = event.data.u64();
        if token == WAKE {
            return false;
        }
        let slot = self.slots.borrow().find(token).cloned();
        let Some(slot) = slot else { return false };
        let flags = event.flags;
        let end =
            flags.intersects(epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR);
        slot.report(flags.contains(epoll::EventFlags::IN), flags.contains(epoll::EventFlags::OUT), end);
        true
    }

    fn expire_deadlines(&self) {
        let tick = self.tick();
        loop {
            let waker = self.wheel.borrow_mut().expire(tick);
            match waker {
                Some(waker) => waker.wake(),
                None => return,
            }
        }
    }
}

impl AsFd for Reactor {
    /// The epoll set itself: readable while an event waits to be fetched.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

#[derive(Clone, Copy)]
struct Fetched {
    /// Anything at all, a wake-up from another thread included.
    any: bool,
    sockets: usize,
}

/// In whole numbers of 64 bits: this is asked in every turn.
fn ticks(since: Duration, up: bool) -> u32 {
    let nanos = since.subsec_nanos();
    let part = if up { nanos.div_ceil(TICK_NANOS) } else { nanos / TICK_NANOS };
    let ticks = since.as_secs().saturating_mul(TICKS_PER_SECOND).saturating_add(part.into());
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_rounded_up_and_the_present_down() {
        assert_eq!(ticks(Duration::from_millis(299), false), 2);
        assert_eq!(ticks(Duration::from_nanos(200_000_001), true), 3);
        assert_eq!((ticks(TICK, false), ticks(TICK, true)), (1, 1));
        assert_eq!(ticks(Duration::from_millis(2_950), true), 30);
        assert_eq!(ticks(Duration::from_secs(u64::MAX), true), u32::MAX);
    }
}
