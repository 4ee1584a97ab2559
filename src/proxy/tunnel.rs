//! What is not HTTP requests and responses: bytes both ways after an upgrade, and CONNECT to a service of the mesh.
//!
//! A client that is told of a proxy sends CONNECT for what it takes for another protocol. The first bytes behind the
//! answer decide what it is:
//!
//! ```text
//!   CONNECT orders:443 -> known? -- no --> 503, nothing opened
//!                           | yes
//!                          200 -> first byte 0x16 (TLS)  -> to an instance that declares sslEnabled, untouched
//!                                 preface of HTTP/2      -> streams for the service, whatever they name
//!                                 anything else          -> requests for the service, as if it were named in each
//! ```

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use mesher_actors::snapshot::Failure;
use mesher_actors::snapshot::stats::Direction;
use tracing::warn;

use super::connection::Downstream;
use crate::handler::destination::{self, Destination};
use crate::handler::{Call, Reply, Target};
use crate::net::{self, Stream, with_scratch};
use crate::upstream::Connection;

/// The service that a client has connected to.
#[derive(Debug)]
pub(super) struct Tunnel {
    service: Box<str>,
    port: Option<u16>,
    target: Rc<Target>,
}

impl Tunnel {
    /// To the service that the chain has found.
    ///
    /// # Errors
    /// The reply to give if it found none.
    fn new(call: &Call, port: Option<u16>) -> Result<Self, Reply> {
        let Some(target) = call.target.clone() else {
            return Err(Reply::new(Failure::NoRoute, "the handler chain chose no service"));
        };
        Ok(Self { service: (&*target.service.name).into(), port, target })
    }

    /// Where requests inside go that name no service themselves.
    pub(super) fn destination(&self) -> Destination<'_> {
        Destination { service: &self.service, port: self.port }
    }
}

/// From now on the client's connection is a tunnel to the service that the chain has found for `authority`.
///
/// # Errors
/// The reply to give instead.
pub(super) fn open(down: &Downstream, authority: Option<&[u8]>, call: &Call) -> Result<(), Reply> {
    if down.ingress.direction == Direction::Incoming {
        let why = "CONNECT is for what the local service sends, not for what it is sent";
        return Err(Reply::with_status(Failure::NoRoute, 405, why));
    }
    let destination = destination::outgoing(authority, down.ingress.address)?;
    if down.enter(Tunnel::new(call, destination.port)?) {
        return Ok(());
    }
    Err(Reply::new(Failure::ClientProtocolError, "CONNECT inside a tunnel is not served"))
}

/// Carries a TLS connection to an instance that takes one, untouched. `first` are the bytes read so far.
pub(super) async fn pass_tls(down: &Downstream, tunnel: &Tunnel, first: &mut Vec<u8>) {
    let mut secure: Vec<_> = tunnel.target.service.tls_endpoints.iter().map(|e| e.address).collect();
    if !secure.is_empty() {
        let start = usize::try_from(down.ctx.random.next() >> 33).unwrap_or(0) % secure.len();
        secure.rotate_left(start);
    }
    for address in &secure {
        match down.ctx.upstreams.connect(*address, None).await {
            Ok(up) => return splice(down, &up, first).await,
            Err(error) => {
                warn!(service = &*tunnel.service, %address, %error, "cannot connect for a TLS tunnel")
            }
        }
    }
    let why =
        if secure.is_empty() { "no instance declares sslEnabled=true" } else { "none could be reached" };
    warn!(service = &*tunnel.service, client = %down.peer(), why, "TLS inside a tunnel is closed");
}

/// Moves bytes both ways until both sides have ended, one of them breaks, or nothing moves for too long. `first` goes
/// to the upstream before anything else.
pub(super) async fn splice(down: &Downstream, up: &Connection, first: &mut Vec<u8>) {
    let mut there = Pump { ended: false, pending: std::mem::take(first), sent: 0 };
    let mut back = Pump { ended: false, pending: down.ctx.spare.buffer(), sent: 0 };
    let timeout = down.terms().settings().tunnel_idle_timeout;
    let arm = || {
        if timeout.is_zero() {
            down.deadline.disarm();
        } else {
            down.deadline.arm(net::now() + timeout);
        }
    };
    arm();
    poll_fn(|cx| {
        let mut moved = false;
        let there_ended = there.poll(cx, &down.stream, up, &mut moved);
        let back_ended = back.poll(cx, up, &down.stream, &mut moved);
        if moved {
            arm();
        }
        match (there_ended, back_ended) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(())))
            | (Poll::Ready(Err(())), _)
            | (_, Poll::Ready(Err(()))) => Poll::Ready(()),
            _ => down.deadline.poll_expired(cx),
        }
    })
    .await;
    *first = there.pending;
    down.ctx.spare.put_buffer(back.pending);
}

/// One direction of a splice.
struct Pump {
    ended: bool,
    pending: Vec<u8>,
    sent: usize,
}

impl Pump {
    /// Ready when the end of `from` was passed on to `to`.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &Stream,
        to: &Stream,
        moved: &mut bool,
    ) -> Poll<Result<(), ()>> {
        loop {
            while let Some(rest) = self.pending.get(self.sent..).filter(|rest| !rest.is_empty()) {
                match to.poll_write(cx, rest) {
                    Poll::Ready(Ok(n)) => {
                        self.sent += n;
                        *moved = true;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(())),
                    Poll::Pending => return Poll::Pending,
                }
            }
            self.pending.clear();
            self.sent = 0;
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            let read = with_scratch(|scratch| {
                from.poll_read(cx, scratch).map_ok(|n| {
                    self.pending.extend_from_slice(scratch.get(..n).unwrap_or_default());
                    n
                })
            });
            match read {
                Poll::Ready(Ok(0)) => {
                    self.ended = true;
                    to.shutdown_write();
                }
                Poll::Ready(Ok(_)) => *moved = true,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
