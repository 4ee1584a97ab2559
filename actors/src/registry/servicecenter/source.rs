//! The loop that joins the machines with the network: one task, in which commands, outcomes, frames and timers are
//! waited for together. Nothing is spawned, so ending the task ends everything.

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use tokio::time::{Instant as Clock, sleep_until};
use tracing::{debug, info, warn};

use super::client::Client;
use super::discovery::{self, Discovery, News, Node};
use super::error::CallError;
use super::reach::{Reach, Work};
use super::registrar::{self, Outcome, Registrar, Verdict};
use super::settings::{ServiceCenterSettings, draw};
use super::socket::{Heard, Socket};
use super::watch::{self, Watch};
use super::watched::Scope;
use super::wire::{FindAnswer, FrameError, watch_frame};
use crate::registry::{Command, Event, RegistrationState, Source, SourceError};

/// A registry source that talks to service-center.
#[derive(Debug)]
pub struct ServiceCenter {
    settings: ServiceCenterSettings,
}

impl ServiceCenter {
    /// A source that connects when it is run.
    #[must_use]
    pub const fn new(settings: ServiceCenterSettings) -> Self {
        Self { settings }
    }
}

impl Source for ServiceCenter {
    fn run(
        &mut self,
        commands: flume::Receiver<Command>,
        events: flume::Sender<Event>,
    ) -> LocalBoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move {
            let client = Client::try_new(&self.settings).map_err(SourceError)?;
            Session::new(&self.settings, &client, events).run(&commands).await;
            Ok(())
        })
    }
}

/// A call under way, with the ticket of its machine.
type UnderWay<'a, T> = Option<(u64, LocalBoxFuture<'a, T>)>;

/// One run of the source.
struct Session<'a> {
    client: &'a Client,
    events: flume::Sender<Event>,
    registrar: Registrar,
    discovery: Discovery,
    watch: Watch,
    registering: UnderWay<'a, Outcome>,
    finding: UnderWay<'a, Result<(Node, FindAnswer), CallError>>,
    link: Link<'a>,
    withdrawals: Vec<oneshot::Sender<Result<(), String>>>,
    reported: RegistrationState,
    reach: Reach,
}

/// The watch socket.
enum Link<'a> {
    Off,
    Opening(watch::Ticket, Node, LocalBoxFuture<'a, Result<Socket, String>>),
    Open(watch::Ticket, Box<Socket>),
}

/// What the loop waits for.
enum Happening {
    Command(Result<Command, flume::RecvError>),
    Registered(registrar::Ticket, Outcome),
    Found(discovery::Ticket, Result<(Node, FindAnswer), CallError>),
    Opened(Result<Socket, String>),
    Heard(Heard),
    Time,
}

/// The watcher hung up.
struct Deaf;

impl<'a> Session<'a> {
    fn new(settings: &ServiceCenterSettings, client: &'a Client, events: flume::Sender<Event>) -> Self {
        let now = now();
        let scope = Scope {
            app: Arc::clone(&settings.app),
            environment: Arc::clone(&settings.environment),
            refresh_interval: settings.refresh_interval,
        };
        Self {
            client,
            events,
            registrar: Registrar::new(Arc::clone(&settings.instance_id), settings.heartbeat_interval, now),
            discovery: Discovery::new(scope, now),
            watch: Watch::new(settings.watch),
            registering: None,
            finding: None,
            link: Link::Off,
            withdrawals: Vec::new(),
            reported: RegistrationState::Absent,
            reach: Reach::default(),
        }
    }

    /// Runs until the commands end or nobody hears the events.
    async fn run(mut self, commands: &flume::Receiver<Command>) {
        while !commands.is_disconnected() || !commands.is_empty() {
            let Ok(()) = self.settle().await else { return };
            let happening = self.happens(commands).await;
            let Ok(()) = self.take(happening).await else { return };
            // Commands come in bursts: one question for many names.
            for command in commands.try_iter().take(crate::registry::COMMANDS_WAITING_MAX) {
                let Ok(()) = self.command(command).await else { return };
            }
        }
    }

    /// Starts what is due and tells what changed.
    async fn settle(&mut self) -> Result<(), Deaf> {
        let now = now();
        if let Some((ticket, call)) = self.registrar.poll(now) {
            debug!(?call, "calling service-center");
            self.registering = Some((ticket, Box::pin(self.client.register(call))));
        }
        let service = self.registrar.service();
        self.discovery.set_consumer(service, now);
        self.watch.set_service(service, now);
        if let Some((ticket, find)) = self.discovery.poll(now) {
            self.finding = Some((ticket, Box::pin(self.client.find(find))));
        }
        self.settle_link(now);
        if let Some(outcome) = self.registrar.take_removal() {
            for done in self.withdrawals.drain(..) {
                // Who no longer waits for the outcome does not want it.
                let _ = done.send(outcome.clone());
            }
        }
        let state = self.registrar.state();
        if state != self.reported {
            info!(?state, "our registration with service-center changed");
            self.reported = state.clone();
            if state == RegistrationState::Absent {
                self.tell_reachable(Work::Registering, None, None).await?;
            }
            self.tell(Event::Registration(state)).await?;
        }
        Ok(())
    }

    fn settle_link(&mut self, now: Instant) {
        if let Some((ticket, service)) = self.watch.poll(now, draw())
            && let Some((node, address, url)) = self.client.watcher(&service)
        {
            self.link = Link::Opening(ticket, node, Box::pin(Socket::open(address, url)));
        }
        if self.link.ticket() != self.watch.wanted() {
            self.link = Link::Off;
        }
    }

    /// Waits for the next thing to happen.
    async fn happens(&mut self, commands: &flume::Receiver<Command>) -> Happening {
        let wake =
            [self.registrar.next(), self.discovery.next(), self.watch.next()].into_iter().flatten().min();
        tokio::select! {
            command = commands.recv_async() => Happening::Command(command),
            (ticket, outcome) = finished(&mut self.registering) => Happening::Registered(ticket, outcome),
            (ticket, outcome) = finished(&mut self.finding) => Happening::Found(ticket, outcome),
            happening = self.link.happens() => happening,
            () = until(wake) => Happening::Time,
        }
    }

    async fn take(&mut self, happening: Happening) -> Result<(), Deaf> {
        match happening {
            Happening::Command(Ok(command)) => self.command(command).await,
            Happening::Command(Err(_)) | Happening::Time => Ok(()),
            Happening::Registered(ticket, outcome) => self.registered(ticket, outcome).await,
            Happening::Found(ticket, outcome) => self.found(ticket, outcome).await,
            Happening::Opened(Ok(socket)) => {
                if let Link::Opening(ticket, ..) = self.link {
                    debug!("the watch socket is open");
                    self.link = Link::Open(ticket, Box::new(socket));
                    self.watch.opened(now());
                    // Events before this moment are lost; so may be the registration, if service-center restarted.
                    self.discovery.expire_all(now());
                    self.registrar.hurry(now());
                }
                Ok(())
            }
            Happening::Opened(Err(why)) => {
                if let Link::Opening(_, node, _) = self.link {
                    self.client.failed(node);
                }
                self.unwatched(&why);
                Ok(())
            }
            Happening::Heard(heard) => self.heard(heard).await,
        }
    }

    async fn command(&mut self, command: Command) -> Result<(), Deaf> {
        match command {
            Command::Watch(service) => {
                if let Some(answer) = self.discovery.watch(Arc::clone(&service), now()) {
                    self.tell(Event::Answer { service, answer }).await?;
                }
            }
            Command::Forget(service) => {
                self.discovery.forget(&service);
                if self.discovery.is_idle() {
                    self.tell_reachable(Work::Finding, None, None).await?;
                }
            }
            Command::Register(registration) => self.registrar.register(registration, now()),
            Command::SetStatus(status) => self.registrar.set_status(status, now()),
            Command::Withdraw(done) => {
                self.withdrawals.push(done);
                self.registrar.withdraw(now());
            }
        }
        Ok(())
    }

    async fn registered(&mut self, ticket: registrar::Ticket, outcome: Outcome) -> Result<(), Deaf> {
        let error = outcome.as_ref().err().cloned();
        let verdict = self.registrar.finished(ticket, outcome, now(), draw());
        match verdict {
            Some(Verdict::Lost) => {
                warn!("service-center does not know our service any more; registering again")
            }
            Some(Verdict::Known) => {
                let news = self.discovery.consumer_known(now());
                self.tell_news(news).await?;
            }
            None => {}
        }
        let next = self.registrar.next();
        self.tell_reachable(Work::Registering, error, next).await
    }

    async fn found(
        &mut self,
        ticket: discovery::Ticket,
        outcome: Result<(Node, FindAnswer), CallError>,
    ) -> Result<(), Deaf> {
        let error = outcome.as_ref().err().cloned();
        let news = self.discovery.finished(ticket, outcome, now(), draw());
        self.tell_news(news).await?;
        let next = self.discovery.next();
        self.tell_reachable(Work::Finding, error, next).await
    }

    async fn heard(&mut self, heard: Heard) -> Result<(), Deaf> {
        let text = match heard {
            Heard::Alive => {
                self.watch.heard(now());
                return Ok(());
            }
            Heard::Text(text) => text,
            Heard::Closed(why) => {
                self.unwatched(&why);
                return Ok(());
            }
        };
        self.watch.heard(now());
        match watch_frame(&text) {
            Ok(frame) => {
                let news = self.discovery.changed(frame, now());
                self.tell_news(news).await
            }
            Err(refusal @ FrameError::Refusal(_)) => {
                self.registrar.suspect(now());
                self.unwatched(&refusal.to_string());
                Ok(())
            }
            Err(FrameError::Unreadable(why)) => {
                warn!(%why, "the watch socket said something unreadable; asking for everything anew");
                self.discovery.expire_all(now());
                Ok(())
            }
        }
    }

    fn unwatched(&mut self, why: &str) {
        if matches!(self.link, Link::Open(..)) {
            info!(%why, "the watch socket of service-center is closed; it will be opened again");
        } else {
            debug!(%why, "the watch socket of service-center does not open; it will be tried again");
        }
        self.link = Link::Off;
        self.watch.closed(now(), draw());
    }

    async fn tell_news(&mut self, news: News) -> Result<(), Deaf> {
        if news.doubt {
            self.registrar.suspect(now());
        }
        for (service, answer) in news.answers {
            self.tell(Event::Answer { service, answer }).await?;
        }
        Ok(())
    }

    /// Notes how a call went and tells whether service-center answers, when that changes. Once it is back, it is
    /// asked at once for whatever waits.
    async fn tell_reachable(
        &mut self,
        work: Work,
        error: Option<CallError>,
        next: Option<Instant>,
    ) -> Result<(), Deaf> {
        let failure = error.filter(CallError::unreachable).map(|error| error.to_string());
        if self.reach.note(work, failure) {
            self.registrar.hurry(now());
            self.discovery.hurry(now());
        }
        let Some(reachable) = self.reach.news() else { return Ok(()) };
        let pause = next.map(|next| next.saturating_duration_since(now()).as_secs_f64());
        let told = reachable.map_err(|why| match pause {
            Some(pause) => format!("{why}; next try in {pause:.1} s"),
            None => why,
        });
        self.tell(Event::Reachable(told)).await
    }

    async fn tell(&self, event: Event) -> Result<(), Deaf> {
        self.events.send_async(event).await.map_err(|_| Deaf)
    }
}

impl Link<'_> {
    const fn ticket(&self) -> Option<watch::Ticket> {
        match self {
            Link::Off => None,
            Link::Opening(ticket, ..) | Link::Open(ticket, _) => Some(*ticket),
        }
    }

    async fn happens(&mut self) -> Happening {
        match self {
            Link::Off => pending().await,
            Link::Opening(_, _, opening) => Happening::Opened(opening.await),
            Link::Open(_, socket) => Happening::Heard(socket.next().await),
        }
    }
}

/// The outcome of a call, once it is there; forgets the call.
async fn finished<T>(under_way: &mut UnderWay<'_, T>) -> (u64, T) {
    let Some((ticket, call)) = under_way else { return pending().await };
    let outcome = (*ticket, call.await);
    *under_way = None;
    outcome
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(Clock::from_std(wake)).await,
        None => pending().await,
    }
}

fn now() -> Instant {
    Clock::now().into_std()
}
