//! The end of a connection whose peer has not read, or not heard, everything yet.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::{Deadline, SCRATCH_BYTES, Stream, now, with_scratch};

/// This long the peer may still send. One that has got the last word stops within a few round trips.
const TIME: Duration = Duration::from_secs(1);
/// And this long if it is still taking what waits before the last word: some megabytes, which a slow line takes long for.
const SLOW_MAX: Duration = Duration::from_secs(30);
/// So much it may still send. That is far more than the sockets of both ends hold, which it cannot take back (some 10 MiB by
/// default), and as much as most bodies of a client that reads nothing before it has sent all. To throw it away takes some
/// ten milliseconds; beside a fast peer that never listens, a second alone would be gigabytes.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// Lets the peer read what was sent last, before the connection is closed: says the end, then throws away what still comes,
/// until the peer ends it too or has sent too much or for too long. Closing at once would reset the connection if bytes of
/// the peer are unread or still to come, and take the last word away from it (RFC 9112 section 9.6), and all that waits before
/// it: a client of HTTP/2 says something for each few kilobytes that it reads.
pub async fn linger(stream: &Stream, deadline: &Deadline) {
    stream.shutdown_write();
    let end = now() + SLOW_MAX;
    let (mut left, mut unsent) = (BYTES_MAX, stream.unsent());
    deadline.arm(now() + TIME);
    poll_fn(|cx| {
        while left > 0 {
            let most = left.min(SCRATCH_BYTES);
            let read =
                with_scratch(|scratch| stream.poll_read(cx, scratch.get_mut(..most).unwrap_or_default()));
            match read {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(n)) => left = left.saturating_sub(n),
                Poll::Pending if deadline.poll_expired(cx).is_pending() => return Poll::Pending,
                Poll::Pending => {
                    let before = std::mem::replace(&mut unsent, stream.unsent());
                    if unsent == 0 || unsent >= before || now() >= end {
                        break;
                    }
                    deadline.arm(now() + TIME);
                }
            }
        }
        Poll::Ready(())
    })
    .await;
}
