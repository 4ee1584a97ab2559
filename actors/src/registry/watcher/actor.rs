//! The actor around the names: owns the source, feeds the balancers, keeps the last good state on disk.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures::StreamExt as _;
use futures::channel::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::memory::{Memory, Settings, now_s, requests};
use super::names::{IDLE_CHECK_EVERY, Names, Step};
use crate::balancer::{Balancer, Word};
use crate::one_line::one_line;
use crate::registry::instance::{Registration, Status};
use crate::registry::{COMMANDS_WAITING_MAX, Command, EVENTS_WAITING_MAX, Event, RegistrationState};
use crate::route::{Resolved, Wanted};
use crate::status::{Reach, StatusBoard};
use crate::supervisor::{Backoff, Report, Together, supervise};

/// Between two lives of a source. It reconnects by itself where its protocol says how, so a death is rare.
const SOURCE_BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(30) };
/// From a change to its being written: changes come in bursts, and the file is only for the next start.
const SAVE_AFTER: Duration = Duration::from_secs(1);

/// Owns the source and knows what is watched.
///
/// Guarantee: a source that fails, panics or ends is started again, and told everything it has to know. The last
/// good answer of a name stays until the registry gives another, or nobody calls the service any more. Answers of
/// one service reach its balancer in order; while a balancer is busy the watcher waits, and so does the source.
pub(crate) struct Watcher {
    settings: Rc<Settings>,
    memory: Rc<RefCell<Memory>>,
    orders: flume::Receiver<Order>,
    route: Recipient<Resolved>,
    board: Arc<StatusBoard>,
    balancers: HashMap<Arc<str>, Addr<Balancer>>,
    source: Option<flume::Sender<Command>>,
    /// The source's task, which ends with this actor; its own, so that the source runs while the actor waits.
    task: JoinSet<()>,
    tick: Option<(Instant, SpawnHandle)>,
    save_due: bool,
}

/// What the rest of mesher wants.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum Order {
    /// Make our own instance known and keep it known.
    Announce(Arc<Registration>),
    /// Take our own instance out and keep it out; the sender hears the outcome.
    Withdraw(flume::Sender<Result<(), String>>),
    /// Leave our own instance to another process.
    Release,
    /// Watch these services although no request wants them yet.
    Expect(Vec<Arc<str>>),
    /// The settings of upstreams have changed: say again what is known.
    Resolve,
}

impl Order {
    /// For logs.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Announce(_) => "announce",
            Self::Withdraw(_) => "withdraw",
            Self::Release => "release",
            Self::Expect(_) => "expect",
            Self::Resolve => "resolve",
        }
    }
}

/// The local service is healthy, or is not.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SetStatus(pub(crate) Status);

#[derive(Message)]
#[rtype(result = "()")]
enum FromSource {
    Began(flume::Sender<Command>),
    Event(Event),
    Died(String),
}

// === impl Watcher ===

impl Watcher {
    pub(crate) fn new(
        settings: Rc<Settings>,
        memory: Rc<RefCell<Memory>>,
        orders: flume::Receiver<Order>,
        route: Recipient<Resolved>,
        board: Arc<StatusBoard>,
    ) -> Self {
        Self {
            settings,
            memory,
            orders,
            route,
            board,
            balancers: HashMap::new(),
            source: None,
            task: JoinSet::new(),
            tick: None,
            save_due: false,
        }
    }

    /// Changes the names and does what follows.
    fn change(&mut self, ctx: &mut Context<Self>, change: impl FnOnce(&mut Names, Instant) -> Vec<Step>) {
        let (steps, refused) = {
            let names = &mut self.memory.borrow_mut().names;
            let steps = change(names, Instant::now());
            (steps, names.refused)
        };
        self.board.update(|status| status.lookups_refused = refused);
        for step in steps {
            self.take(step, ctx);
        }
        self.arm(ctx);
        self.save_soon(ctx);
    }

    fn take(&mut self, step: Step, ctx: &mut Context<Self>) {
        match step {
            Step::Watch(name) => self.command(Command::Watch(name)),
            Step::Forget(name) => self.command(Command::Forget(name)),
            Step::Publish(name, answer, origin) => self.tell(&name, Word::Answer { answer, origin }, ctx),
            Step::Absent(name, why) => self.tell(&name, Word::Absent(why), ctx),
            Step::Silence(name) => {
                self.tell(&name, Word::Forgotten, ctx);
                self.balancers.remove(&name);
            }
        }
    }

    /// Says something to a service's balancer, a new one if there is none or it died.
    fn tell(&mut self, name: &Arc<str>, word: Word, ctx: &mut Context<Self>) {
        let living = self.balancers.get(name).filter(|balancer| balancer.connected()).cloned();
        let balancer = living.unwrap_or_else(|| self.start_balancer(name));
        ctx.wait(balancer.send(word).into_actor(self).map(|_, _, _| ()));
    }

    fn start_balancer(&mut self, name: &Arc<str>) -> Addr<Balancer> {
        let balancer = Balancer::new(
            name.clone(),
            self.settings.selection.clone(),
            self.settings.upstream.clone(),
            self.route.clone(),
            self.board.clone(),
        );
        let ctx = Context::new();
        let address = ctx.address();
        let (board, service) = (self.board.clone(), name.clone());
        actix_rt::spawn(Together::alone(ctx, balancer, move |report| {
            if let Report::Died { death, .. } = &report {
                error!(%service, %death, "a balancer died; its last word stays until there is a new one");
            }
            board.count("balancer", &report);
        }));
        self.balancers.insert(name.clone(), address.clone());
        address
    }

    fn command(&mut self, command: Command) {
        let Some(source) = &self.source else { return };
        if source.try_send(command).is_err() {
            // Its successor is told everything. A source that still runs sees its commands end, and ends.
            error!(
                waiting_max = COMMANDS_WAITING_MAX,
                "the registry source takes no more commands; it is let go"
            );
            self.source = None;
        }
    }

    /// Tells a source that has just begun everything it has to know.
    fn begin(&mut self, source: flume::Sender<Command>) {
        self.source = Some(source);
        let memory = self.memory.clone();
        let memory = memory.borrow();
        for name in memory.names.watched() {
            self.command(Command::Watch(name.clone()));
        }
        if let Some(registration) = &memory.registration {
            self.command(Command::Register(registration.clone()));
        }
    }

    fn event(&mut self, event: Event, ctx: &mut Context<Self>) {
        match event {
            Event::Answer { service, answer } => {
                self.reached();
                self.change(ctx, |names, now| names.answered(&service, answer, now));
            }
            Event::Reachable(Ok(())) => self.reached(),
            Event::Reachable(Err(why)) => self.unreachable(why, ctx),
            Event::Registration(state) => {
                let changed = self
                    .board
                    .update(|status| std::mem::replace(&mut status.registration, state.clone()) != state);
                match state {
                    RegistrationState::Registered(id) if changed => info!(%id, "registered"),
                    RegistrationState::Pending(Some(why)) if changed => warn!(%why, "not registered yet"),
                    RegistrationState::Absent if changed => info!("no longer registered"),
                    _ => {}
                }
            }
        }
    }

    fn reached(&mut self) {
        self.memory.borrow_mut().names.reachable();
        let was = self.board.update(|status| {
            status.registry.last_success_s = Some(now_s());
            std::mem::replace(&mut status.registry.reach, Reach::Reachable)
        });
        if was != Reach::Reachable {
            info!("the registry answers");
        }
    }

    fn unreachable(&mut self, why: String, ctx: &mut Context<Self>) {
        let reach = Reach::Unreachable(why.clone());
        let was = self.board.update(|status| std::mem::replace(&mut status.registry.reach, reach.clone()));
        if was != reach {
            warn!(why = one_line(&why), "no answers from the registry; the last good ones stay");
        }
        self.change(ctx, |names, now| names.unreachable(&why, now));
    }

    /// Sees to it that [`Names::tick`] is called when it is due.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let Some(next) = self.memory.borrow().names.next_tick() else { return };
        if self.tick.as_ref().is_some_and(|(at, _)| *at <= next) {
            return;
        }
        if let Some((_, later)) = self.tick.take() {
            ctx.cancel_future(later);
        }
        let wait = next.saturating_duration_since(Instant::now());
        let handle = ctx.run_later(wait, |actor, ctx| {
            actor.tick = None;
            actor.change(ctx, |names, now| names.tick(now));
        });
        self.tick = Some((next, handle));
    }

    fn save_soon(&mut self, ctx: &mut Context<Self>) {
        if self.save_due || self.settings.state.is_none() || !self.memory.borrow().names.unsaved {
            return;
        }
        self.save_due = true;
        ctx.run_later(SAVE_AFTER, |actor, _| {
            actor.save_due = false;
            actor.memory.borrow_mut().save(&actor.settings);
        });
    }

    fn start_source(&mut self, ctx: &mut Context<Self>) {
        let (events, received) = flume::bounded(EVENTS_WAITING_MAX);
        ctx.add_message_stream(received.into_stream().map(FromSource::Event));
        let (settings, me, board) = (self.settings.clone(), ctx.address(), self.board.clone());
        let began = me.clone();
        let life = move || {
            let (commands, given) = flume::bounded(COMMANDS_WAITING_MAX);
            let (settings, events) = (settings.clone(), events.clone());
            // Beyond the mailbox's bound if need be: at most one for each life.
            began.do_send(FromSource::Began(commands));
            async move {
                let mut source = (settings.source)();
                source.run(given, events).await.map_err(|error| error.0)
            }
        };
        let report = move |report: Report<'_>| {
            if let Report::Died { death, wait } = &report {
                error!(%death, ?wait, "the registry source died and is started again");
                me.do_send(FromSource::Died(death.to_string()));
            }
            board.count("registry source", &report);
        };
        self.task.spawn_local(supervise(SOURCE_BACKOFF, report, life));
    }

    fn withdraw(&mut self, done: flume::Sender<Result<(), String>>, ctx: &mut Context<Self>) {
        let was_announced = self.memory.borrow_mut().registration.take().is_some();
        if !was_announced {
            // Nobody may be waiting any more, here and below.
            let _ = done.try_send(Ok(()));
            return;
        }
        let (heard, outcome) = oneshot::channel();
        // Without a source the sender is dropped here, and with a source that dies there.
        self.command(Command::Withdraw(heard));
        let wait = async move {
            let gone = || Err("the connection to the registry ended before it had answered".to_owned());
            let _ = done.try_send(outcome.await.unwrap_or_else(|_| gone()));
        };
        ctx.spawn(wait.into_actor(self));
    }
}

impl Actor for Watcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_message_stream(self.orders.clone().into_stream());
        ctx.run_interval(IDLE_CHECK_EVERY, |actor, ctx| {
            let requests = requests(&actor.settings.requests);
            actor.change(ctx, |names, now| {
                names.used(requests, now);
                Vec::new()
            });
        });
        self.change(ctx, |names, _| names.said());
        self.start_source(ctx);
    }
}

impl Handler<Wanted> for Watcher {
    type Result = ();

    fn handle(&mut self, Wanted(service): Wanted, ctx: &mut Self::Context) {
        self.change(ctx, |names, now| names.lookup(&service, now));
    }
}

impl Handler<FromSource> for Watcher {
    type Result = ();

    fn handle(&mut self, message: FromSource, ctx: &mut Self::Context) {
        match message {
            FromSource::Began(commands) => self.begin(commands),
            FromSource::Event(event) => self.event(event, ctx),
            FromSource::Died(why) => {
                self.source = None;
                if self.memory.borrow().registration.is_some() {
                    let pending = RegistrationState::Pending(Some(why.clone()));
                    self.board.update(|status| status.registration = pending);
                }
                self.unreachable(why, ctx);
            }
        }
    }
}

impl Handler<SetStatus> for Watcher {
    type Result = ();

    fn handle(&mut self, SetStatus(new): SetStatus, _: &mut Self::Context) {
        let announced = {
            let memory = &mut *self.memory.borrow_mut();
            memory.status = Some(new);
            if let Some(registration) = &mut memory.registration {
                Arc::make_mut(registration).status = new;
            }
            memory.registration.is_some()
        };
        if announced {
            self.command(Command::SetStatus(new));
        }
    }
}

impl Handler<Order> for Watcher {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Self::Context) {
        match order {
            Order::Announce(mut registration) => {
                let memory = self.memory.clone();
                let mut memory = memory.borrow_mut();
                if let Some(status) = memory.status {
                    Arc::make_mut(&mut registration).status = status;
                }
                memory.registration = Some(registration.clone());
                self.board.update(|status| status.registration = RegistrationState::Pending(None));
                self.command(Command::Register(registration));
            }
            Order::Withdraw(done) => self.withdraw(done, ctx),
            Order::Release => {
                self.memory.borrow_mut().registration = None;
                self.board.update(|status| status.registration = RegistrationState::Absent);
                self.command(Command::Release);
            }
            Order::Expect(services) => self.change(ctx, |names, now| {
                services.iter().flat_map(|service| names.lookup(service, now)).collect()
            }),
            Order::Resolve => self.change(ctx, |names, _| names.said()),
        }
    }
}
