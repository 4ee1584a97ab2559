//! Takes new connections from one listener.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use tracing::warn;

use super::siblings::{Handed, Siblings};
use crate::net::{self, Accepted, Listener};
use crate::proxy::{self, Context, Ingress, Phase};

/// How long accepting pauses when the process is out of file descriptors or memory, or at its bound of
/// connections: waiting clients stay in the kernel's queue, and those served have time to leave.
const PAUSE: Duration = Duration::from_millis(20);
/// Pauses are logged this often at most.
const PAUSES_LOGGED_EVERY: u32 = 500;

/// Accepts until `closed` resolves, then takes what the kernel has accepted already and lets go of the listener. The
/// shard does not end before that: a listener has a seat among the connections that a shutdown waits for.
pub(super) async fn accept(
    listener: Listener,
    ingress: Rc<Ingress>,
    (ctx, siblings): (Rc<Context>, Rc<Siblings>),
    closed: impl Future<Output = ()>,
) {
    let mut closed = pin!(closed);
    let seat = ctx.drain.enter();
    let pauses = Cell::new(0);
    loop {
        let connection = {
            let mut next = pin!(next(&listener, &ctx, &pauses));
            poll_fn(|cx| match next.as_mut().poll(cx) {
                Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
                Poll::Pending => closed.as_mut().poll(cx).map(|()| None),
            })
            .await
        };
        match connection {
            Some(accepted) => place(accepted, &ingress, &ctx, &siblings),
            None => break,
        }
    }
    // What the kernel has accepted would be reset with the listener.
    while let Some(Ok(accepted)) = listener.accepted().now_or_never() {
        serve(accepted, ingress.clone(), &ctx);
    }
    ctx.drain.leave(seat);
}

/// Serves what other shards have accepted and sent here, until there is none any more that could.
pub(super) async fn take_over(inbox: flume::Receiver<Handed>, ctx: Rc<Context>) {
    while let Ok(handed) = inbox.recv_async().await {
        serve_handed(handed, &ctx);
    }
}

/// Serves a connection that another shard has accepted.
pub(super) fn serve_handed(Handed { accepted, ingress }: Handed, ctx: &Rc<Context>) {
    serve(accepted, Rc::new(ingress), ctx);
}

/// Serves a connection here, or has a shard do it that has less to do. At the end each shard looks after itself.
fn place(accepted: Accepted, ingress: &Rc<Ingress>, ctx: &Rc<Context>, siblings: &Siblings) {
    if siblings.are_known() && ctx.drain.phase() == Phase::Serving {
        let handed = Handed { accepted, ingress: Ingress::clone(ingress) };
        if let Some(kept) = siblings.hand(&ctx.stats, handed) {
            serve(kept.accepted, ingress.clone(), ctx);
        }
    } else {
        serve(accepted, ingress.clone(), ctx);
    }
}

fn serve(accepted: Accepted, ingress: Rc<Ingress>, ctx: &Rc<Context>) {
    ctx.stats.accepted.add(1);
    net::spawn(proxy::serve(accepted.open(), ingress, ctx.clone()));
}

async fn next(listener: &Listener, ctx: &Context, pauses: &Cell<u32>) -> Accepted {
    loop {
        let connections_max = ctx.terms.borrow().settings().connections_max;
        let why = if ctx.drain.is_short_of_memory() {
            "memory is short".to_owned()
        } else if ctx.stats.downstream_open.value() >= connections_max {
            format!("{connections_max} connections are open (mesher.limit.connections)")
        } else {
            match listener.accepted().await {
                Ok(accepted) => return accepted,
                Err(error) => error.to_string(),
            }
        };
        if pauses.get().is_multiple_of(PAUSES_LOGGED_EVERY) {
            warn!(listener = %listener.local_addr(), why, "not accepting connections for the moment");
        }
        pauses.set(pauses.get().wrapping_add(1));
        ctx.stats.accept_pauses.add(1);
        net::sleep(PAUSE).await;
    }
}
