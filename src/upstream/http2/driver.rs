//! The task of a connection: makes it, gives it to its endpoint, drives it until it ends.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use h2::client::SendRequest;
use h2::{Ping, PingPong, Reason};
use mesher_actors::snapshot::stats::ShardStats;

use super::endpoint::{Attempt, Dial};
use super::error::Cause;
use super::link::Link;
use super::pulse::Due;
use super::settings::{STREAMS_UNKNOWN, Settings};
use super::wire::{Io, Wire};
use crate::net::{self, Deadline};

type H2 = h2::client::Connection<Io, Bytes>;

/// How long a peer that is told to calm down may take to make room for that.
const GOODBYE: Duration = Duration::from_secs(1);
/// Why it is, and why the crate does so by itself.
const FLOODED: &str = "it sends frames that ask for no work, without end";
const WASTEFUL: &str = "it wastes streams, or frames within them";
/// How: GOAWAY with ENHANCE_YOUR_CALM; the peer has begun no stream (RFC 9113 section 6.8). The crate has no way to be made
/// to say it to a server.
const CALM: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xb];
/// Why a connection is given up for a frame that the crate took for a fault of one stream.
const LAWLESS: &str = "it broke the rules of HTTP/2";

/// Connects for an endpoint and serves it until the connection ends.
pub(super) async fn run(attempt: Attempt, dial: Dial, settings: Settings, stats: Arc<ShardStats>) {
    let wire = match dial().await {
        Ok(connection) => Wire::new(connection, stats),
        Err(error) => return attempt.failed(Cause::ConnectFailed, &error.to_string()),
    };
    // Calls on one of HTTP/1 that is not there any more take it along; here they would go on to wait, each for its own time.
    wire.stream().expect_signs_of_life(settings.ping_timeout);
    let endpoint = attempt.endpoint();
    let told = match establish(&wire, &settings).await {
        Ok(made) => serve(attempt, made, &wire, &settings).await,
        Err((cause, why)) => {
            attempt.failed(cause, &why);
            None
        }
    };
    let why = told.or(wire.is_flooded().then_some(FLOODED));
    let Some(why) = why else { return };
    if let Some(endpoint) = endpoint.upgrade() {
        endpoint.note_calmed(why);
    }
    if told.is_none() && wire.is_between_frames() {
        say_calm(&wire).await;
    }
    net::linger(wire.stream(), &Deadline::new()).await;
}

/// Tells the peer to calm down, if it makes room for that.
async fn say_calm(wire: &Wire) {
    let deadline = Deadline::new();
    deadline.arm(net::now() + GOODBYE);
    let mut rest = &CALM[..];
    poll_fn(|cx| {
        while !rest.is_empty() {
            match wire.stream().poll_write(cx, rest) {
                Poll::Ready(Ok(n)) => rest = rest.get(n..).unwrap_or_default(),
                Poll::Ready(Err(_)) => break,
                Poll::Pending => return deadline.poll_expired(cx),
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// Drives a connection until it ends. Why the crate has told the peer to calm down, if it has.
async fn serve(
    attempt: Attempt,
    (sender, mut h2): (SendRequest<Bytes>, H2),
    wire: &Rc<Wire>,
    settings: &Settings,
) -> Option<&'static str> {
    let mut pings = h2.ping_pong();
    let link = attempt.succeeded(sender, wire, streams_max(&h2, settings), settings)?;
    let link = RetireOnDrop(link);
    let told = poll_fn(|cx| poll((&link.0, wire), &mut h2, pings.as_mut(), settings, cx)).await;
    if wire.is_flooded() {
        link.0.condemn(FLOODED);
        // Kept for now: without it the crate would say goodbye by itself.
        let _sender = link.0.close();
        finish_frame(&mut h2, wire).await;
    }
    told
}

/// Lets what the crate has begun to say leave whole, so that something else can be said behind it: a peer that does not read
/// is not told.
async fn finish_frame(h2: &mut H2, wire: &Wire) {
    let deadline = Deadline::new();
    deadline.arm(net::now() + GOODBYE);
    poll_fn(|cx| match Pin::new(&mut *h2).poll(cx) {
        Poll::Pending if !wire.is_between_frames() => deadline.poll_expired(cx),
        _ => Poll::Ready(()),
    })
    .await;
}

/// A connection without its task takes no calls, in whatever way the task ended.
struct RetireOnDrop(Rc<Link>);

impl Drop for RetireOnDrop {
    fn drop(&mut self) {
        self.0.retire();
    }
}

/// Why there is no connection, and the same in words.
type Unmade = (Cause, String);

/// A connection whose peer has sent its SETTINGS: it speaks HTTP/2, and how many streams it takes is known. Until then no
/// request is risked on it.
async fn establish(wire: &Rc<Wire>, settings: &Settings) -> Result<(SendRequest<Bytes>, H2), Unmade> {
    let handshake = async {
        let (mut sender, mut h2) = settings.builder().handshake(Io(wire.clone())).await.map_err(unmade)?;
        poll_fn(|cx| poll_settings(&mut sender, &mut h2, wire, cx)).await?;
        Ok((sender, h2))
    };
    let timeout = if settings.settings_timeout.is_zero() { Duration::MAX } else { settings.settings_timeout };
    match select(pin!(handshake), net::sleep(timeout)).await {
        Either::Left((made, _)) => made,
        Either::Right(_) => {
            let why =
                format!("it sent no SETTINGS frame within {timeout:?}; does it speak HTTP/2 on this port?");
            Err((Cause::ConnectFailed, why))
        }
    }
}

fn poll_settings(
    sender: &mut SendRequest<Bytes>,
    h2: &mut H2,
    wire: &Wire,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Unmade>> {
    match Pin::new(&mut *h2).poll(cx) {
        Poll::Ready(Ok(())) => {
            return Poll::Ready(Err((Cause::Refused, "the peer ended it at once".to_owned())));
        }
        Poll::Ready(Err(error)) => return Poll::Ready(Err(unmade(error))),
        Poll::Pending if wire.is_flooded() => {
            return Poll::Ready(Err((Cause::ConnectFailed, FLOODED.to_owned())));
        }
        Poll::Pending if wire.is_broken() => {
            return Poll::Ready(Err((Cause::ConnectFailed, LAWLESS.to_owned())));
        }
        // The crate is about to hear of it.
        Poll::Pending if wire.has_ended() => return Poll::Pending,
        Poll::Pending if h2.max_concurrent_send_streams() == STREAMS_UNKNOWN => return Poll::Pending,
        Poll::Pending => {}
    }
    match sender.poll_ready(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(unmade(error))),
        _ => Poll::Ready(Ok(())),
    }
}

/// A peer that goes without saying why may be about to start or to stop, or was taken for another by its load balancer: that
/// is no word against the next connection. One that says why, or speaks something else, will do so again.
fn unmade(error: h2::Error) -> Unmade {
    match error.reason() {
        Some(Reason::NO_ERROR) => (Cause::Refused, error.to_string()),
        Some(_) if error.is_remote() => (Cause::ConnectFailed, format!("the peer refuses it: {error}")),
        None if error.is_io() => (Cause::Refused, error.to_string()),
        _ => (Cause::ConnectFailed, format!("it does not speak HTTP/2: {error}")),
    }
}

/// One turn of the connection. Ready when it has ended, or has to; see [`serve`] for what with.
fn poll(
    (link, wire): (&Link, &Wire),
    h2: &mut H2,
    pings: Option<&mut PingPong>,
    settings: &Settings,
    cx: &mut Context<'_>,
) -> Poll<Option<&'static str>> {
    if let Poll::Ready(ended) = Pin::new(&mut *h2).poll(cx) {
        let Err(error) = ended else { return Poll::Ready(None) };
        tracing::debug!(peer = %link.peer(), %error, "an upstream HTTP/2 connection broke");
        let is_calmed = error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
        return Poll::Ready(is_calmed.then_some(WASTEFUL));
    }
    if wire.is_flooded() {
        return Poll::Ready(None);
    }
    if wire.is_broken() {
        // Nobody follows its frames any more.
        link.give_up(LAWLESS);
        return Poll::Ready(None);
    }
    if wire.has_ended() {
        link.retire();
    }
    link.set_limit(streams_max(h2, settings));
    link.check_open(cx);
    let Some(pings) = pings else { return Poll::Ready(None) };
    if link.is_pinging() && pings.poll_pong(cx).is_ready() {
        link.ping_answered();
    }
    loop {
        match link.due(net::now()) {
            Due::Nothing => {}
            Due::Ping => {
                // Fails only while another is under way.
                let _ = pings.send_ping(Ping::opaque());
                // Nobody else asks to be woken for the answer.
                if pings.poll_pong(cx).is_ready() {
                    link.ping_answered();
                }
            }
            Due::Retire => link.retire(),
            Due::Drop(why) => {
                tracing::debug!(peer = %link.peer(), why, "an upstream HTTP/2 connection is given up");
                link.give_up(why);
                return Poll::Ready(None);
            }
        }
        if link.poll_due(cx).is_pending() {
            return Poll::Pending;
        }
    }
}

/// Streams that both sides want.
fn streams_max(h2: &H2, settings: &Settings) -> u32 {
    u32::try_from(h2.max_concurrent_send_streams())
        .unwrap_or(u32::MAX)
        .min(settings.streams_per_connection.max(1))
}
