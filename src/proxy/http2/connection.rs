//! A client's HTTP/2 connection: accepts streams, and ends in order whatever the reason.
//!
//! ```text
//!   preface --> serving --no stream for long, or shutdown--> GOAWAY, streams under way finish --> ended
//!                  |                                                                               ^
//!                  +--broken rules, too many resets or idle frames, a head too slow-------+       |
//!                                                                                        v       |
//!                                     what still comes is thrown away <-- GOAWAY with the error --+
//! ```

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use bytes::Bytes;
use h2::Reason;
use tracing::{debug, warn};

use super::limits::{self, GOODBYE};
use super::session::Session;
use super::stream;
use super::watched::Watched;
use crate::net::{self, Deadline, Stream};
use crate::proxy::connection::Open;

/// Serves a connection whose first bytes are HTTP/2's to its end.
pub(in crate::proxy) async fn serve(stream: Stream, open: Open, session: Rc<Session>) {
    let deadline = Deadline::new();
    let terms = session.ctx.terms();
    deadline.arm(net::now() + terms.settings().header_timeout);
    let builder = limits::builder(&terms.settings().limits);
    drop(terms);
    let handshake = builder.handshake::<_, Bytes>(Watched { stream: &stream, watch: &session.watch });
    let begun = {
        let mut handshake = pin!(handshake);
        poll_fn(|cx| match handshake.as_mut().poll(cx) {
            Poll::Ready(begun) => Poll::Ready(begun.ok()),
            Poll::Pending => deadline.poll_expired(cx).map(|()| None),
        })
        .await
    };
    let Some(h2) = begun else { return };
    let mut connection = Connection {
        h2,
        session: &session,
        deadline,
        head_deadline: Deadline::new(),
        open,
        asked: false,
        hurried: false,
        leaving: false,
        cut: false,
    };
    connection.rearm(net::now());
    let is_clean = poll_fn(|cx| connection.poll(cx)).await;
    let Connection { deadline, h2, .. } = connection;
    drop(h2);
    if !is_clean {
        // Unread bytes of the client would turn the close into a reset, which takes the GOAWAY away.
        net::linger(&stream, &deadline).await;
    }
}

struct Connection<'s> {
    h2: h2::server::Connection<Watched<'s>, Bytes>,
    session: &'s Rc<Session>,
    deadline: Deadline,
    /// That of a header block that has begun: nothing else can come on the connection before it is whole.
    head_deadline: Deadline,
    open: Open,
    /// A stream has come.
    asked: bool,
    /// None has, and there is little time left for one.
    hurried: bool,
    /// A GOAWAY was sent: the connection ends with its last stream.
    leaving: bool,
    /// The client wastes our time or sends what is no frame: the connection ends now.
    cut: bool,
}

impl Connection<'_> {
    /// Ready at the end; false if the client may still be sending.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<bool> {
        if self.session.is_abused(cx) {
            self.cut(Reason::ENHANCE_YOUR_CALM, "it resets too many requests");
        }
        if self.open.is_draining(cx) {
            self.prepare_to_leave(cx);
        }
        loop {
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let place = self.session.enter();
                    net::spawn_with(|| stream::serve(place, request, respond));
                    let was_last = self.session.watch.was_last();
                    let is_first = !std::mem::replace(&mut self.asked, true);
                    if is_first && self.open.is_draining(cx) {
                        self.leave();
                        continue;
                    }
                    if self.session.watch.is_turn_over() {
                        // The crate would read on for each stream that waits here.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    // The crate has looked at all that has come: asking it again costs as much as that.
                    if !was_last {
                        continue;
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    debug!(client = self.session.client(), %error, "an HTTP/2 connection has ended");
                    let is_calmed = error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
                    if is_calmed && !self.cut {
                        self.note_calmed("it wastes streams, or frames within them");
                    }
                    return Poll::Ready(error.is_io());
                }
                Poll::Ready(None) => return Poll::Ready(!self.cut && !self.leaving),
                Poll::Pending => self.session.watch.note_none(),
            }
            if let Some((reason, why)) = self.fault(cx)
                && self.cut(reason, why)
            {
                continue;
            }
            if self.deadline.poll_expired(cx).is_pending() {
                return Poll::Pending;
            }
            if self.is_over(net::now()) {
                return Poll::Ready(true);
            }
        }
    }

    /// What the client has done, or failed to do, for which the connection has to end; the words are for what it is told to calm
    /// down for.
    fn fault(&self, cx: &mut TaskContext<'_>) -> Option<(Reason, &'static str)> {
        if let Some(begun) = self.session.watch.block_since() {
            let timeout = self.session.ctx.terms.borrow().settings().header_timeout;
            self.head_deadline.arm(begun + timeout);
        } else {
            self.head_deadline.disarm();
        }
        let late = (Reason::ENHANCE_YOUR_CALM, "a head that it has begun does not come to an end");
        let is_late = self.head_deadline.poll_expired(cx).is_ready();
        let bad = self.session.watch.fault().map(|reason| (reason, "it sends frames that ask for no work"));
        bad.or(is_late.then_some(late))
    }

    /// Ends it now; false if that has begun already. `why` it has to calm down, if that is the reason.
    fn cut(&mut self, reason: Reason, why: &str) -> bool {
        if self.cut {
            return false;
        }
        if reason == Reason::ENHANCE_YOUR_CALM {
            self.note_calmed(why);
        }
        self.cut = true;
        self.h2.abrupt_shutdown(reason);
        self.deadline.arm(net::now() + GOODBYE);
        true
    }

    /// Counts a client that is told to calm down, and tells of it, though not of each one in a flood.
    fn note_calmed(&self, why: &str) {
        let Session { ctx, ingress, .. } = &**self.session;
        ctx.stats.downstream_http2_calmed.add(1);
        if let Some(untold) = ctx.calmed_told.tell(net::now()) {
            warn!(
                client = self.session.client(),
                listener = %ingress.address,
                why,
                untold,
                "a client's HTTP/2 connection was ended: it was told to calm down"
            );
        }
    }

    /// The shard is on its way out, or wants fewer connections. GOAWAY before the first stream would be taken for a connection
    /// that cannot be used, and tried again and again: who has asked nothing yet hears of it with what it asks. Once
    /// nothing new is taken on, that is waited for shortly only.
    fn prepare_to_leave(&mut self, cx: &TaskContext<'_>) {
        if self.asked {
            self.leave();
        } else if !self.hurried && self.open.is_closing(cx) {
            self.hurried = true;
            self.deadline.arm(net::now() + GOODBYE);
        }
    }

    /// Takes no more streams; those under way finish.
    fn leave(&mut self) {
        if !self.leaving && !self.cut {
            self.leaving = true;
            self.h2.graceful_shutdown();
            self.deadline.arm(net::now() + GOODBYE);
        }
    }

    /// The time is up: what for?
    fn is_over(&mut self, now: Instant) -> bool {
        if self.cut {
            return true;
        }
        if self.leaving {
            self.deadline.arm(now + GOODBYE);
            if self.session.idle_since().is_some() && !self.is_read(now) {
                // It has not acknowledged its GOAWAY, and may have asked more meanwhile: it is told what was not looked at.
                self.cut(Reason::NO_ERROR, "");
            }
            return false;
        }
        if self.hurried || self.rearm(now) {
            self.leave();
        }
        false
    }

    /// The client is still taking what was answered: streams end when the last of it is put.
    fn is_read(&self, now: Instant) -> bool {
        let timeout = self.session.ctx.terms.borrow().settings().stream_idle_timeout;
        let is_patient = |since| timeout.is_zero() || now.saturating_duration_since(since) < timeout;
        self.session.watch.stuck_since().is_some_and(is_patient)
    }

    /// Looks again when no stream has been there for too long; true if that is now.
    fn rearm(&self, now: Instant) -> bool {
        let timeout = self.session.ctx.terms.borrow().settings().idle_timeout;
        let due = self.session.idle_since().unwrap_or(now) + timeout;
        self.deadline.arm(due);
        due <= now
    }
}
