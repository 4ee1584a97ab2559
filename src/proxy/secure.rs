//! What a fresh connection is, TLS or in the clear, and the handshake. Everything behind it is the same for both.
//!
//! ```text
//!   first byte \ listener    without TLS           permissive              strict
//!   client hello             closed, and said      handshake               handshake
//!   anything else            requests              requests                400, closed
//! ```
//!
//! Who presents what is in [`Tls`](mesher_actors::snapshot::Tls); a connection takes the configuration of the moment in which its first
//! byte comes, so a renewed certificate is for the next one.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use mesher_actors::snapshot::handshakes::TlsFailure;
use mesher_actors::snapshot::{Failure, TlsServer};
use tracing::warn;

use super::connection::Downstream;
use super::context::Presents;
use crate::codec::{FirstBytes, RequestHead};
use crate::handler::Reply;
use crate::net;

/// After the last word of a connection this long it may take to leave.
const END_WAIT: Duration = Duration::from_secs(1);

/// What the first bytes of a connection are for.
pub(super) enum Opening {
    /// Requests.
    Clear,
    /// A handshake.
    Tls,
    /// Nothing: this is to be answered.
    Refused(Reply),
    /// Nothing, and no answer would be understood.
    Misplaced,
}

/// What the first bytes of a connection are, where a listener presents this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Requests.
    Clear,
    /// A handshake.
    Tls,
    /// Something else, and a handshake is wanted.
    NotTls,
    /// A handshake, and there is nothing to present.
    NotConfigured,
}

impl Beginning {
    /// One byte is enough, and more say the same.
    pub(super) fn of(first: &[u8], presents: Option<&TlsServer>) -> Self {
        let is_hello = FirstBytes::of(first) == FirstBytes::Tls;
        match (presents, is_hello) {
            (None, false) => Self::Clear,
            (None, true) => Self::NotConfigured,
            (Some(_), true) => Self::Tls,
            (Some(tls), false) if tls.plain_too => Self::Clear,
            (Some(_), false) => Self::NotTls,
        }
    }
}

/// Judges the first bytes of a connection; one is enough.
pub(super) fn opening(down: &Downstream, first: &[u8]) -> Opening {
    match Beginning::of(first, presented(down).as_deref()) {
        Beginning::Clear => Opening::Clear,
        Beginning::Tls => Opening::Tls,
        Beginning::NotTls => {
            fail(down, TlsFailure::NotTls, "it speaks in the clear, and the listener wants TLS");
            Opening::Refused(Reply::new(
                Failure::ClientProtocolError,
                "this is an HTTPS listener, and the client sent an HTTP request in the clear: use https",
            ))
        }
        Beginning::NotConfigured => {
            let key = match down.ingress.presents {
                Presents::Local => "ssl.mesher.Provider.certFile and keyFile",
                Presents::External => "ssl.<service>.rest.Provider.certFile and keyFile",
            };
            fail(
                down,
                TlsFailure::NotConfigured,
                &format!("TLS is not configured on this listener; {key} turn it on"),
            );
            Opening::Misplaced
        }
    }
}

/// Does the handshake that begins with the bytes in `head`. False if it failed, and nothing is left to do with the connection.
pub(super) async fn handshake(down: &Downstream, mut head: Box<RequestHead>) -> bool {
    down.stream.unread(std::mem::take(head.buffer()));
    down.ctx.spare.put_request(head);
    // A reload may have turned it off since the first byte came.
    let Some(tls) = presented(down) else { return false };
    let Some(under_way) = down.ctx.handshakes.begin(net::now(), &down.ctx.stats) else {
        fail(down, TlsFailure::Overloaded, "as many handshakes as allowed are under way");
        return false;
    };
    let timeout = down.terms().settings().header_timeout;
    let accepted = {
        let mut accepting = pin!(down.stream.accept_tls(tls.config.clone(), timeout));
        poll_fn(|cx| match under_way.poll_gives_way(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => accepting.as_mut().poll(cx).map(Some),
        })
        .await
    };
    drop(under_way);
    let Some(accepted) = accepted else {
        fail(
            down,
            TlsFailure::Overloaded,
            "it was slow, and gave way to a new one where there was no more room",
        );
        return false;
    };
    match accepted {
        Ok(()) => {
            down.ctx.stats.handshakes_downstream.count(Ok(down.stream.is_resumed()));
            true
        }
        Err(error) => {
            fail(down, error.failure(), &error.to_string());
            down.linger().await;
            false
        }
    }
}

/// Says the end on a connection that is about to be closed, if that is something to say. A response without a length of its own is
/// whole only if it was.
pub(super) async fn end(down: &Downstream) {
    if down.stream.is_tls() {
        down.deadline.arm(net::now() + END_WAIT);
        poll_fn(|cx| match down.stream.poll_close(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => down.deadline.poll_expired(cx),
        })
        .await;
    }
}

/// What the listener presents now.
fn presented(down: &Downstream) -> Option<Arc<TlsServer>> {
    let terms = down.ctx.terms.borrow();
    match down.ingress.presents {
        Presents::Local => terms.tls().local.clone(),
        Presents::External => terms.tls().external.clone(),
    }
}

/// Counts, and tells, though not of each one in a flood.
fn fail(down: &Downstream, failure: TlsFailure, why: &str) {
    down.ctx.stats.handshakes_downstream.count(Err(failure));
    if let Some(untold) = down.ctx.tls_failures_told.tell(net::now()) {
        warn!(
            peer = %down.stream.peer_addr(),
            listener = %down.ingress.address,
            reason = failure.label(),
            why,
            untold,
            "a connection was refused at its TLS handshake"
        );
    }
}
