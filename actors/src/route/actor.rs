//! The actor of the route table.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures::StreamExt as _;
use tokio::time::Instant;

use super::outlet::Outlet;
use super::table::Table;
use crate::snapshot::port::ControlPort;
use crate::snapshot::{Resolution, Snapshot};
use crate::status::StatusBoard;

/// Shortest time between two publications. A roll-out changes a service many times a second; a shard pays for each
/// publication, and a tenth of a second later is early enough.
pub(crate) const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// What of the route table outlives the actor: what is known, and the wires to the shards.
#[derive(Debug)]
pub(crate) struct Ledger {
    table: Table,
    outlets: Vec<Outlet>,
}

/// Publishes what the balancers say and passes the shards' lookups on.
///
/// Guarantee: each shard is given every change, in order, at most one snapshot in [`PUBLISH_EVERY`]; changes in
/// between come together, the last of each service wins. A lookup that the watcher has no room for is dropped; the
/// request that waits for it times out on its shard, and the next one asks again.
pub(crate) struct RouteTable {
    ledger: Rc<RefCell<Ledger>>,
    wanted: Recipient<Wanted>,
    board: Arc<StatusBoard>,
    published_at: Option<Instant>,
    publication_due: bool,
}

/// What is known of a service now; none: nothing any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Resolved {
    pub(crate) service: Arc<str>,
    pub(crate) resolution: Option<Resolution>,
}

/// A request wants this service and no snapshot has it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Wanted(pub(crate) Arc<str>);

/// Something came from the shard of this index.
#[derive(Debug, Message)]
#[rtype(result = "()")]
enum FromShard {
    Lookup(usize, Arc<str>),
    /// A snapshot to be dropped on this thread.
    Retired(Arc<Snapshot>),
}

// === impl Ledger ===

impl Ledger {
    pub(crate) fn new(ports: Vec<ControlPort>) -> Self {
        Self { table: Table::default(), outlets: ports.into_iter().map(Outlet::new).collect() }
    }

    /// True if there is something that a shard has not been given.
    fn has_news(&self) -> bool {
        self.table.has_changed() || self.outlets.iter().any(Outlet::is_behind)
    }

    /// Offers every shard what it has not been given.
    fn publish(&mut self) {
        if self.table.has_changed() {
            let snapshot = self.table.publish();
            for outlet in &mut self.outlets {
                outlet.owe(&snapshot.changed, &snapshot.services);
            }
        }
        let latest = Arc::new(self.table.published.clone());
        for outlet in &mut self.outlets {
            outlet.offer(&latest);
        }
    }
}

// === impl RouteTable ===

impl RouteTable {
    pub(crate) fn new(
        ledger: Rc<RefCell<Ledger>>,
        wanted: Recipient<Wanted>,
        board: Arc<StatusBoard>,
    ) -> Self {
        Self { ledger, wanted, board, published_at: None, publication_due: false }
    }

    /// Publishes now, or when the last publication is long enough ago.
    fn publish_soon(&mut self, ctx: &mut Context<Self>) {
        if self.publication_due || !self.ledger.borrow().has_news() {
            return;
        }
        let since = self.published_at.map_or(PUBLISH_EVERY, |at| at.elapsed());
        match PUBLISH_EVERY.checked_sub(since) {
            None | Some(Duration::ZERO) => self.publish(ctx),
            Some(wait) => self.publish_in(wait, ctx),
        }
    }

    fn publish_in(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        self.publication_due = true;
        ctx.run_later(wait, |actor, ctx| {
            actor.publication_due = false;
            actor.publish(ctx);
        });
    }

    fn publish(&mut self, ctx: &mut Context<Self>) {
        self.published_at = Some(Instant::now());
        let mut ledger = self.ledger.borrow_mut();
        ledger.publish();
        let (version, behind) = (ledger.table.published.version, ledger.has_news());
        drop(ledger);
        self.board.update(|status| status.snapshot_version = version);
        if behind {
            self.publish_in(PUBLISH_EVERY, ctx);
        }
    }

    /// A shard asks for a service. If it has been published the shard has lost it, with a life before this one, say,
    /// and is given it again.
    fn lookup(&mut self, shard: usize, service: Arc<str>, ctx: &mut Context<Self>) {
        let mut ledger = self.ledger.borrow_mut();
        let Ledger { table, outlets } = &mut *ledger;
        if table.published.services.contains_key(&service) {
            if let Some(outlet) = outlets.get_mut(shard) {
                outlet.owe(&[service], &table.published.services);
            }
            drop(ledger);
            self.publish_soon(ctx);
        } else {
            drop(ledger);
            let _ = self.wanted.try_send(Wanted(service));
        }
    }
}

impl Actor for RouteTable {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for (index, outlet) in self.ledger.borrow().outlets.iter().enumerate() {
            let port = outlet.port();
            let lookups = port.lookups.clone().into_stream();
            ctx.add_message_stream(lookups.map(move |service| FromShard::Lookup(index, service)));
            ctx.add_message_stream(port.retired.clone().into_stream().map(FromShard::Retired));
        }
        self.publish_soon(ctx);
    }
}

impl Handler<Resolved> for RouteTable {
    type Result = ();

    fn handle(&mut self, resolved: Resolved, ctx: &mut Self::Context) {
        self.ledger.borrow_mut().table.set(&resolved.service, resolved.resolution);
        self.publish_soon(ctx);
    }
}

impl Handler<FromShard> for RouteTable {
    type Result = ();

    fn handle(&mut self, message: FromShard, ctx: &mut Self::Context) {
        match message {
            FromShard::Lookup(shard, service) => self.lookup(shard, service, ctx),
            FromShard::Retired(snapshot) => drop(snapshot),
        }
    }
}
