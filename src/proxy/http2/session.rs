//! What the streams of one connection share: who is there, and how the client has behaved.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context as TaskContext, Waker};
use std::time::Instant;

use http::HeaderValue;

use super::limits::{EARLY_RESETS_A_SECOND, EARLY_RESETS_MAX, is_early};
use super::watched::Watch;
use crate::net;
use crate::proxy::context::{Context, Ingress};
use crate::proxy::message::address;
use crate::proxy::tunnel::Tunnel;

/// A client's connection, as its streams see it.
pub(in crate::proxy) struct Session {
    /// Its shard.
    pub(super) ctx: Rc<Context>,
    /// Where it came in.
    pub(super) ingress: Rc<Ingress>,
    /// Address of the client, without port, as the value of a field.
    pub(super) peer: HeaderValue,
    /// `http` or `https`: how it came.
    pub(super) scheme: &'static str,
    /// The service that the client has connected to, if it has.
    pub(super) tunnel: Option<Tunnel>,
    /// The frames that come.
    pub(super) watch: Watch,
    /// Streams whose tasks have not ended.
    open: Cell<u32>,
    /// When there was a stream last.
    used: Cell<Instant>,
    resets: Cell<Resets>,
    task: Cell<Option<Waker>>,
}

/// A stream's place among those open; given back when dropped.
pub(super) struct Place(Rc<Session>);

/// A bucket of resets that the client may still do early.
#[derive(Debug, Clone, Copy)]
struct Resets {
    /// In thousandths, so that they fill up evenly.
    left: u64,
    since: Instant,
}

impl Session {
    /// Nobody has asked anything yet.
    pub(in crate::proxy) fn new(
        (ctx, ingress): (Rc<Context>, Rc<Ingress>),
        peer: IpAddr,
        scheme: &'static str,
        tunnel: Option<Tunnel>,
    ) -> Rc<Self> {
        let now = net::now();
        Rc::new(Self {
            ctx,
            ingress,
            peer: address(peer),
            scheme,
            tunnel,
            watch: Watch::default(),
            open: Cell::new(0),
            used: Cell::new(now),
            resets: Cell::new(Resets::full(now)),
            task: Cell::new(None),
        })
    }

    /// Address of the client, for the log.
    pub(super) fn client(&self) -> &str {
        self.peer.to_str().unwrap_or_default()
    }

    /// A stream begins. It counts from here on.
    pub(super) fn enter(self: &Rc<Self>) -> Place {
        self.open.set(self.open.get() + 1);
        Place(self.clone())
    }

    /// No stream is open, and none has been since then.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.open.get() == 0).then(|| self.used.get())
    }

    /// The client has let a request be answered.
    pub(super) fn note_answered(&self) {
        let mut resets = self.resets.get();
        resets.refund();
        self.resets.set(resets);
    }

    /// The client has reset a stream before anything was answered. Too many of them, soon after their requests, end the
    /// connection. `until` is the deadline of the call, if it has one.
    pub(super) fn note_reset(&self, begun: Instant, until: Option<Instant>) {
        let now = net::now();
        let deadline = until.map(|until| until.saturating_duration_since(begun));
        if !is_early(now.saturating_duration_since(begun), deadline) {
            return;
        }
        let mut resets = self.resets.get();
        resets.spend(now);
        self.resets.set(resets);
        if resets.left == 0
            && let Some(task) = self.task.take()
        {
            task.wake();
        }
    }

    /// True if the client wastes our time; otherwise the connection's task is woken when it does.
    pub(super) fn is_abused(&self, cx: &TaskContext<'_>) -> bool {
        let task = match self.task.take() {
            Some(task) if task.will_wake(cx.waker()) => task,
            _ => cx.waker().clone(),
        };
        self.task.set(Some(task));
        self.resets.get().left == 0
    }
}

impl Place {
    pub(super) fn session(&self) -> &Rc<Session> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.used.set(net::now());
    }
}

const WHOLE: u64 = 1000;

impl Resets {
    fn full(now: Instant) -> Self {
        Self { left: u64::from(EARLY_RESETS_MAX) * WHOLE, since: now }
    }

    /// Puts one back.
    fn refund(&mut self) {
        if self.left > 0 {
            self.left = (self.left + WHOLE).min(u64::from(EARLY_RESETS_MAX) * WHOLE);
        }
    }

    /// Takes one out. Empty means for good: the connection ends then.
    fn spend(&mut self, now: Instant) {
        let passed = u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        let refilled = self.left.saturating_add(passed.saturating_mul(EARLY_RESETS_A_SECOND.into()));
        self.left = refilled.min(u64::from(EARLY_RESETS_MAX) * WHOLE).saturating_sub(WHOLE);
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spent(resets: &mut Resets, now: Instant, times: u32) -> bool {
        (0..times).for_each(|_| resets.spend(now));
        resets.left == 0
    }

    #[test]
    fn a_flood_of_resets_is_too_much_and_as_many_over_minutes_are_not() {
        let begun = Instant::now();
        let mut resets = Resets::full(begun);
        assert!(!spent(&mut resets, begun, EARLY_RESETS_MAX - 1));
        assert!(spent(&mut resets, begun, 1));
        let mut resets = Resets::full(begun);
        for _ in 0..10 * EARLY_RESETS_MAX {
            resets.spend(begun);
            resets.refund();
        }
        assert!(resets.left > 0, "as many were let be answered");
        let mut resets = Resets::full(begun);
        for second in 0..100 {
            assert!(!spent(&mut resets, begun + Duration::from_secs(second), EARLY_RESETS_A_SECOND));
        }
    }
}
