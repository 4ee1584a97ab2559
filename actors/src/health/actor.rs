//! The actor that makes the checks.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures::StreamExt as _;
use reqwest::Client;
use tracing::{info, warn};

use super::probe::{Check, client};
use super::verdict::Verdict;
use crate::registry::instance::Status;
use crate::registry::watcher::SetStatus;
use crate::status::{CheckStatus, StatusBoard};

/// From a failed check to the next, at most.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// From one check to the next, at least, whatever the configuration says: a check costs the service, too.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Makes all checks, each at its own pace, and tells the watcher when the verdict changes.
///
/// Guarantee: each check has at most one run under way; every change of the verdict reaches the watcher, in order.
/// Checks that are replaced are heard no more.
pub(crate) struct Health {
    checks: Rc<RefCell<Rc<[Check]>>>,
    /// Outlives the actor, as the checks do, so that a DOWN that was said is taken back.
    verdict: Rc<RefCell<Verdict>>,
    replacements: flume::Receiver<Vec<Check>>,
    /// Counts sets of checks, so that the runs of an earlier one are known by it.
    generation: u64,
    watcher: Recipient<SetStatus>,
    board: Arc<StatusBoard>,
}

/// These are the checks from now on.
#[derive(Message)]
#[rtype(result = "()")]
struct Replace(Vec<Check>);

// === impl Health ===

impl Health {
    pub(crate) fn new(
        checks: Rc<RefCell<Rc<[Check]>>>,
        verdict: Rc<RefCell<Verdict>>,
        replacements: flume::Receiver<Vec<Check>>,
        watcher: Recipient<SetStatus>,
        board: Arc<StatusBoard>,
    ) -> Self {
        Self { checks, verdict, replacements, generation: 0, watcher, board }
    }

    /// Begins with all checks.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        self.generation += 1;
        let checks = self.checks.borrow().clone();
        let shown = |check: &Check| CheckStatus { target: check.target(), healthy: None, why: String::new() };
        self.board.update(|status| status.health_checks = checks.iter().map(shown).collect());
        if checks.is_empty() {
            return;
        }
        let client = client();
        for index in 0..checks.len() {
            self.run(index, client.clone(), ctx);
        }
    }

    fn run(&self, index: usize, client: Result<Client, String>, ctx: &mut Context<Self>) {
        let Some(check) = self.checks.borrow().get(index).cloned() else { return };
        let generation = self.generation;
        let run = async move {
            let result = match &client {
                Ok(client) => check.run(client).await,
                Err(why) => Err(why.clone()),
            };
            (check, client, result)
        };
        ctx.spawn(run.into_actor(self).map(move |(check, client, result), actor, ctx| {
            if actor.generation != generation {
                return;
            }
            let interval = check.interval.max(INTERVAL_MIN);
            let wait = if result.is_ok() { interval } else { interval.min(RETRY_AFTER) };
            actor.result(index, &check, result, ctx);
            ctx.run_later(wait, move |actor, ctx| {
                if actor.generation == generation {
                    actor.run(index, client, ctx);
                }
            });
        }));
    }

    fn result(&self, index: usize, check: &Check, result: Result<(), String>, ctx: &mut Context<Self>) {
        let (healthy, why) = (result.is_ok(), result.err().unwrap_or_default());
        let changed = self.board.update(|status| {
            status.health_checks.get_mut(index).is_some_and(|shown| {
                let changed = shown.healthy != Some(healthy);
                (shown.healthy, shown.why) = (Some(healthy), why.clone());
                changed
            })
        });
        match healthy {
            true if changed => info!(target = %check.target(), "local service is healthy"),
            false if changed => warn!(target = %check.target(), %why, "local service is not healthy"),
            _ => {}
        }
        let status = self.verdict.borrow_mut().result(index, healthy);
        self.say(status, ctx);
    }

    fn say(&self, status: Option<Status>, ctx: &mut Context<Self>) {
        if let Some(status) = status {
            ctx.wait(self.watcher.send(SetStatus(status)).into_actor(self).map(|_, _, _| ()));
        }
    }
}

impl Actor for Health {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_message_stream(self.replacements.clone().into_stream().map(Replace));
        self.begin(ctx);
    }
}

impl Handler<Replace> for Health {
    type Result = ();

    fn handle(&mut self, Replace(checks): Replace, ctx: &mut Self::Context) {
        if *checks == **self.checks.borrow() {
            return;
        }
        info!(checks = checks.len(), "the checks of the local service have changed");
        let status = self.verdict.borrow_mut().renew(checks.len());
        *self.checks.borrow_mut() = checks.into();
        self.begin(ctx);
        self.say(status, ctx);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::cell::Cell;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::probe::Probe;
    use super::*;

    struct Ear(flume::Sender<Status>);

    impl Actor for Ear {
        type Context = Context<Self>;
    }

    impl Handler<SetStatus> for Ear {
        type Result = ();

        fn handle(&mut self, SetStatus(status): SetStatus, _: &mut Self::Context) {
            self.0.send(status).unwrap();
        }
    }

    /// A local service that answers with the status in the cell.
    async fn service(listener: TcpListener, status: Rc<Cell<u16>>) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let head = format!("HTTP/1.1 {} X\r\nContent-Length: 0\r\n\r\n", status.get());
            let _ = stream.write_all(head.as_bytes()).await;
        }
    }

    #[actix::test]
    async fn the_watcher_hears_of_a_service_that_breaks_and_of_its_recovery() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, answered) = (listener.local_addr().unwrap(), Rc::new(Cell::new(500)));
        actix_rt::spawn(service(listener, answered.clone()));
        let (hear, heard) = flume::unbounded();
        let board = StatusBoard::new();
        let check = |probe| Check { address, probe, interval: Duration::ZERO };
        let checks = [check(Probe::Tcp), check(Probe::rest("/", Some(200), None).unwrap())];
        let verdict = Rc::new(RefCell::new(Verdict::new(checks.len())));
        let checks = Rc::new(RefCell::new(Rc::from(checks)));
        let (replace, replacements) = flume::bounded(1);
        let ear = Ear(hear).start().recipient();
        Health::new(checks, verdict, replacements, ear, board.clone()).start();

        let next = || tokio::time::timeout(Duration::from_secs(10), heard.recv_async());
        assert_eq!(next().await.unwrap(), Ok(Status::Down));
        let shown = board.read().health_checks;
        assert_eq!(shown[1].why, "answered 500 instead of 200");
        assert_eq!((shown[1].healthy, &*shown[1].target), (Some(false), &*format!("http://{address}/")));
        answered.set(200);
        assert_eq!(next().await.unwrap(), Ok(Status::Up));
        assert_eq!(board.read().health_checks[1].healthy, Some(true));

        let unmet = Probe::rest("/", Some(204), None).unwrap();
        replace.send(vec![check(unmet)]).unwrap();
        assert_eq!(next().await.unwrap(), Ok(Status::Down));
        assert_eq!(board.read().health_checks.len(), 1);
        replace.send(Vec::new()).unwrap();
        assert_eq!(next().await.unwrap(), Ok(Status::Up), "without checks nothing speaks against it");
    }
}
