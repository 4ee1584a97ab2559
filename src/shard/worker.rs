//! A shard's thread, from its start to its end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use futures::channel::oneshot;
use tracing::{error, info};

use mesher_actors::snapshot::Protocol;
use mesher_actors::snapshot::port::ShardPort;
use mesher_actors::snapshot::stats::{Direction, ShardBoard, ShardStats};

use super::siblings::{Handed, Sibling, Siblings};
use super::{accept, snapshots};
use crate::net::{self, Driver, Listener, ShardOptions, ShardThread};
use crate::proxy::{Context, Ingress, Phase, Policies, Presents};

/// Commands that may wait for a shard: there are only a few in its whole life, and a reload is made by a person.
const COMMANDS_MAX: usize = 64;

/// A listening socket and which way its requests go.
#[derive(Debug)]
pub struct ListenerSpec {
    /// The socket, shared by all shards.
    pub socket: TcpListener,
    /// Which way.
    pub direction: Direction,
    /// What it is for; every listener takes HTTP/1 and HTTP/2.
    pub protocol: Protocol,
    /// What it presents if it speaks TLS.
    pub presents: Presents,
}

impl ListenerSpec {
    /// The same once more, on a duplicate of the socket.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let Self { socket, direction, protocol, presents } = self;
        let (direction, protocol, presents) = (*direction, *protocol, *presents);
        Ok(Self { socket: socket.try_clone()?, direction, protocol, presents })
    }
}

/// Everything a shard is made of.
#[derive(Debug)]
pub struct ShardSpec {
    /// How to run.
    pub options: ShardOptions,
    /// Snapshots in, lookups out.
    pub port: ShardPort,
    /// Where its numbers go.
    pub board: ShardBoard,
    /// How to treat requests.
    pub policies: Policies,
    /// Seed of its random numbers.
    pub seed: u64,
}

/// What a shard can be told.
///
/// ```text
///   started --Listen--> accepting --Drain(Closing) | Unlisten--> not accepting        the others: at any time
/// ```
#[derive(Debug)]
pub enum Command {
    /// Accept from these, too.
    Listen(Vec<ListenerSpec>),
    /// Accept no longer; what the kernel has accepted is served.
    Unlisten,
    /// Treat requests like this from now on.
    Apply(Box<Policies>),
    /// These are all shards now, this one among them.
    Siblings(Arc<[Sibling]>),
    /// Memory is short, or is no longer.
    ShortOfMemory(bool),
    /// Go on to this phase of the shutdown.
    Drain(Phase),
    /// End now, whatever is in flight.
    Cut,
    /// Panic, as by a bug.
    #[cfg(test)]
    Die,
}

/// A running shard, as seen from the outside.
#[derive(Debug)]
pub struct Handle {
    thread: ShardThread,
    commands: flume::Sender<Command>,
    stats: Arc<ShardStats>,
    sibling: Sibling,
}

impl Handle {
    /// Tells the shard something. False if it does not hear it: it is stuck. One that has ended needs to hear nothing.
    pub fn tell(&self, command: Command) -> bool {
        !matches!(self.commands.try_send(command), Err(flume::TrySendError::Full(_)))
    }

    /// What turns its event loop.
    #[must_use]
    pub fn driver(&self) -> Driver {
        self.thread.driver()
    }

    /// Its numbers.
    #[must_use]
    pub fn stats(&self) -> &Arc<ShardStats> {
        &self.stats
    }

    /// The shard as the others are to see it.
    #[must_use]
    pub fn sibling(&self) -> Sibling {
        self.sibling.clone()
    }

    /// What has the shard panic, as by a bug.
    #[cfg(test)]
    pub(crate) fn deadly(&self) -> impl Fn() + Send + use<> {
        let commands = self.commands.clone();
        move || commands.send(Command::Die).unwrap_or_default()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Why it ended, if not in order.
    pub fn join(self) -> Result<(), String> {
        self.thread.join()
    }
}

/// Starts a shard, which accepts nothing until it is told where. Calls `ended` when it ends, in order or not.
///
/// # Errors
/// If the thread or its event loop cannot be made.
pub fn start(spec: ShardSpec, ended: impl FnOnce() + Send + 'static) -> io::Result<Handle> {
    let ShardSpec { options, port, board, policies, seed } = spec;
    let stats = board.stats().clone();
    let (commands, inbox) = flume::bounded(COMMANDS_MAX);
    let (sibling, handed) = Sibling::new(stats.clone());
    let thread = net::spawn_shard(options, move || async move {
        let _ended = OnDrop(Some(ended));
        net::report_to(board.stats().clone());
        let ctx = policies.into_context(port.clone(), &board, seed);
        net::spawn(snapshots::follow(port, board, ctx.clone()));
        net::spawn(accept::take_over(handed.clone(), ctx.clone()));
        work(&inbox, &handed, &ctx).await;
    })?;
    Ok(Handle { thread, commands, stats, sibling })
}

/// Accepts from a listener until the returned sender is dropped.
fn open(spec: ListenerSpec, ctx: &Rc<Context>, siblings: &Rc<Siblings>) -> Option<oneshot::Sender<()>> {
    let address = spec.socket.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    let listener = match Listener::adopt(spec.socket) {
        Ok(listener) => listener,
        Err(error) => {
            error!(%address, %error, "cannot accept connections");
            return None;
        }
    };
    let (closer, closed) = oneshot::channel::<()>();
    let ListenerSpec { direction, presents, protocol, .. } = spec;
    let ingress = Rc::new(Ingress { direction, address, presents, protocol });
    net::spawn(accept::accept(listener, ingress, (ctx.clone(), siblings.clone()), async move {
        let _ = closed.await;
    }));
    Some(closer)
}

/// Follows commands until the shard may end.
async fn work(inbox: &flume::Receiver<Command>, handed: &flume::Receiver<Handed>, ctx: &Rc<Context>) {
    let mut closers = Vec::new();
    let siblings = Rc::<Siblings>::default();
    while let Ok(command) = inbox.recv_async().await {
        match command {
            Command::Listen(listeners) => {
                closers.extend(listeners.into_iter().filter_map(|listener| open(listener, ctx, &siblings)));
            }
            Command::Unlisten => closers.clear(),
            Command::Apply(policies) => ctx.apply(*policies),
            Command::Siblings(all) => siblings.set(all),
            Command::ShortOfMemory(is_short) => ctx.set_short_of_memory(is_short),
            Command::Cut => return,
            #[cfg(test)]
            Command::Die => panic!("killed by a test"),
            Command::Drain(phase) => {
                ctx.drain.advance(phase);
                if phase == Phase::Closing {
                    closers.clear();
                    break;
                }
            }
        }
    }
    let cut = async { while !matches!(inbox.recv_async().await, Ok(Command::Cut) | Err(_)) {} };
    let ended = async {
        loop {
            // What another shard has sent in the last moment would be lost with us.
            handed.try_iter().for_each(|handed| accept::serve_handed(handed, ctx));
            ctx.drain.emptied().await;
            if handed.is_empty() {
                return;
            }
        }
    };
    futures::future::select(pin!(ended), pin!(cut)).await;
    info!(open = ctx.stats.downstream_open.value(), "shard ends");
}

/// Calls when dropped, in the course of a panic too.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}
