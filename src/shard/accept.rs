//! Takes new connections from one listener.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use tracing::warn;

use crate::net::{self, Listener, Stream};
use crate::proxy::{self, Context, Ingress};

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
    ctx: Rc<Context>,
    closed: impl Future<Output = ()>,
) {
    let mut closed = pin!(closed);
    let seat = ctx.drain.enter();
    let pauses = Cell::new(0);
    loop {
        let connection = {
            let mut next = pin!(next(&listener, &ctx, &pauses));
            poll_fn(|cx| match next.as_mut().poll(cx) {
                Poll::Ready(stream) => Poll::Ready(Some(stream)),
                Poll::Pending => closed.as_mut().poll(cx).map(|()| None),
            })
            .await
        };
        match connection {
            Some(stream) => serve(stream, &ingress, &ctx),
            None => break,
        }
    }
    // What the kernel has accepted would be reset with the listener.
    while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
        serve(stream, &ingress, &ctx);
    }
    ctx.drain.leave(seat);
}

fn serve(stream: Stream, ingress: &Rc<Ingress>, ctx: &Rc<Context>) {
    ctx.stats.accepted.add(1);
    net::spawn(proxy::serve(stream, ingress.clone(), ctx.clone()));
}

async fn next(listener: &Listener, ctx: &Context, pauses: &Cell<u32>) -> Stream {
    loop {
        let connections_max = ctx.terms.borrow().settings().connections_max;
        let why = if ctx.drain.is_short_of_memory() {
            "memory is short".to_owned()
        } else if ctx.stats.downstream_open.value() >= connections_max {
            format!("{connections_max} connections are open (mesher.limit.connections)")
        } else {
            match listener.accept().await {
                Ok((stream, _)) => return stream,
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
