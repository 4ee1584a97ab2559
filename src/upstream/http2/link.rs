//! One connection as its users and its task see it: how full it is, whether it still takes calls, and why it ended.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::select;
use h2::client::{ResponseFuture, SendRequest};
use mesher_actors::snapshot::stats::ShardStats;

use super::call::{Lease, Ready};
use super::choice::Load;
use super::endpoint::Endpoint;
use super::error::{CallError, Cause};
use super::pace::Pace;
use super::pulse::{Due, Pulse, View};
use super::wire::Wire;
use crate::net::{self, Deadline};

/// The shared state of a connection. Its task drives it and ends it; calls count themselves in and out.
pub(super) struct Link {
    peer: SocketAddr,
    endpoint: Weak<Endpoint>,
    /// Weak, so that the socket is closed when the task ends, whoever still holds a call.
    wire: Weak<Wire>,
    /// None once the connection is retired: without it the `h2` crate says GOAWAY and closes after the last stream.
    sender: RefCell<Option<SendRequest<Bytes>>>,
    /// Calls under way.
    open: Cell<u32>,
    /// How many there may be.
    limit: Cell<u32>,
    /// Since when there are calls, or since when there are none.
    since: Cell<Instant>,
    /// It has carried a call.
    used: Cell<bool>,
    retired: Cell<Option<Instant>>,
    pulse: RefCell<Pulse>,
    pace: RefCell<Pace>,
    deadline: Deadline,
    /// Why its task gave it up: the `h2` crate does not know and cannot tell its streams.
    epitaph: Cell<Option<&'static str>>,
    stats: Arc<ShardStats>,
}

impl Link {
    pub(super) fn new(
        (endpoint, peer): (Weak<Endpoint>, SocketAddr),
        wire: &Rc<Wire>,
        sender: SendRequest<Bytes>,
        streams_max: u32,
        pulse: Pulse,
        stats: Arc<ShardStats>,
    ) -> Rc<Self> {
        Rc::new(Self {
            peer,
            endpoint,
            wire: Rc::downgrade(wire),
            sender: RefCell::new(Some(sender)),
            open: Cell::new(0),
            limit: Cell::new(streams_max),
            since: Cell::new(net::now()),
            used: Cell::new(false),
            retired: Cell::new(None),
            pulse: RefCell::new(pulse),
            pace: RefCell::new(Pace::new(net::now())),
            deadline: Deadline::new(),
            epitaph: Cell::new(None),
            stats,
        })
    }

    pub(super) fn load(&self) -> Load {
        let resting = !self.pace.borrow().wait(net::now()).is_zero();
        Load { open: self.open.get(), limit: self.limit.get(), resting }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.get() == 0
    }

    /// It carries nothing, and something has come from its peer that its task has not seen yet: the end, perhaps.
    pub(super) fn may_have_ended(&self) -> bool {
        self.is_empty() && self.wire.upgrade().is_none_or(|wire| wire.is_stale())
    }

    /// One place more is taken. None if the connection is retired.
    pub(super) fn lease(self: &Rc<Self>) -> Option<Ready> {
        let sender = self.sender.borrow().clone()?;
        self.stats.upstream_reused.add(u64::from(self.used.replace(true)));
        Some(Ready::new(sender, self.occupy()))
    }

    fn occupy(self: &Rc<Self>) -> Lease {
        let open = self.open.get();
        self.open.set(open + 1);
        self.stats.upstream_http2_streams.add(1);
        if open == 0 {
            self.since.set(net::now());
        }
        Lease::new(self.clone())
    }

    /// Nobody waits for an answer any more, which has not begun. Its stream is reset when it is its turn, and keeps a place
    /// until then; at once if there can be no other connection, since the place is worth more.
    pub(super) fn abandon(self: &Rc<Self>, mut response: ResponseFuture) {
        if (&mut response).now_or_never().is_some() || self.endpoint.upgrade().is_some_and(|e| !e.may_grow())
        {
            return;
        }
        let wait = self.pace.borrow_mut().cancel(net::now());
        if wait.is_zero() {
            return;
        }
        let lease = self.occupy();
        net::spawn(async move {
            select(response, net::sleep(wait)).await;
            drop(lease);
        });
    }

    /// One place less is taken.
    pub(super) fn release(&self) {
        let open = self.open.get();
        self.open.set(open.saturating_sub(1));
        self.stats.upstream_http2_streams.sub(1);
        if open == 1 {
            self.since.set(net::now());
            self.rearm();
        }
        if let Some(endpoint) = self.endpoint.upgrade() {
            endpoint.dispatch();
        }
    }

    /// The peer allows this many streams at a time.
    pub(super) fn set_limit(&self, limit: u32) {
        if self.limit.replace(limit) == limit {
            return;
        }
        if let Some(endpoint) = self.endpoint.upgrade() {
            endpoint.dispatch();
        }
    }

    /// It takes no more calls; once it carries none it ends.
    pub(super) fn retire(&self) {
        drop(self.close()); // wakes the task if it was the last
    }

    /// The same, and it does not end as long as what is returned is kept. None if it was retired before.
    pub(super) fn close(&self) -> Option<SendRequest<Bytes>> {
        let sender = self.sender.take()?;
        self.retired.set(Some(net::now()));
        self.rearm();
        if let Some(endpoint) = self.endpoint.upgrade() {
            endpoint.forget(self);
            endpoint.dispatch();
        }
        Some(sender)
    }

    /// Retires the connection if it opens no more streams: its peer said GOAWAY, or stream ids have run out.
    pub(super) fn check_open(&self, cx: &mut Context<'_>) {
        let refused = match &mut *self.sender.borrow_mut() {
            Some(sender) => matches!(sender.poll_ready(cx), Poll::Ready(Err(_))),
            None => false,
        };
        if refused {
            self.retire();
        }
    }

    /// A request was sent on it.
    pub(super) fn note_asked(&self) {
        if let Some(wire) = self.wire.upgrade() {
            wire.note_asked();
        }
    }

    /// So many bytes of a request's body are sent on it.
    pub(super) fn note_sent(&self, bytes: usize) {
        if let Some(wire) = self.wire.upgrade() {
            wire.note_sent(bytes);
        }
    }

    /// A frame of next to nothing that came on it was of use.
    pub(super) fn note_used(&self) {
        if let Some(wire) = self.wire.upgrade() {
            wire.note_used();
        }
    }

    /// Its task ends it because of what the peer does: what its calls are told.
    pub(super) fn condemn(&self, why: &'static str) {
        self.epitaph.set(Some(why));
    }

    /// Its task gives it up: what its calls are told. What was not sent will not be.
    pub(super) fn give_up(&self, why: &'static str) {
        self.condemn(why);
        if let Some(wire) = self.wire.upgrade() {
            wire.reset_on_close();
        }
    }

    // --- time

    pub(super) fn is_pinging(&self) -> bool {
        self.pulse.borrow().is_pinging()
    }

    pub(super) fn ping_answered(&self) {
        self.pulse.borrow_mut().answered();
    }

    /// What time asks for now.
    pub(super) fn due(&self, now: Instant) -> Due {
        self.pulse.borrow_mut().due(now, self.view())
    }

    /// Ready when [`Link::due`] is to be asked again.
    pub(super) fn poll_due(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.rearm();
        self.deadline.poll_expired(cx)
    }

    fn rearm(&self) {
        match self.pulse.borrow().next(self.view()) {
            Some(at) => self.deadline.arm(at),
            None => self.deadline.disarm(),
        }
    }

    fn view(&self) -> View {
        let (since, wire) = (self.since.get(), self.wire.upgrade());
        View {
            busy: !self.is_empty(),
            since,
            heard: wire.as_ref().map_or(since, |wire| wire.heard()),
            retired: self.retired.get(),
            block: wire.and_then(|wire| wire.block_since()),
        }
    }

    // --- words

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// What an error of one of its streams means.
    pub(super) fn explain(&self, error: &h2::Error) -> CallError {
        self.describe(Cause::from(error), error)
    }

    /// What it means that a request could not even be handed to the connection.
    pub(super) fn explain_unsent(&self, error: &h2::Error) -> CallError {
        let cause = match Cause::from(error) {
            Cause::Unsendable => Cause::Unsendable,
            _ => Cause::Refused,
        };
        self.describe(cause, error)
    }

    fn describe(&self, cause: Cause, error: &h2::Error) -> CallError {
        let peer = self.peer;
        let detail = match (cause, self.epitaph.get()) {
            (Cause::Closed, Some(why)) => format!("the connection to {peer} was closed: {why}"),
            (Cause::Closed, None) => format!("{peer} closed the connection: {error}"),
            (Cause::Refused, _) => format!("{peer} did not take the request: {error}"),
            (Cause::Reset(_), _) => format!("{peer} reset the stream: {error}"),
            (Cause::Protocol, _) => format!("{peer} broke the rules of HTTP/2: {error}"),
            (Cause::Unsendable, _) => format!("the request cannot be sent to {peer} by HTTP/2: {error}"),
            (Cause::ConnectFailed | Cause::Overflow, _) => error.to_string(),
        };
        CallError { cause, detail }
    }
}
