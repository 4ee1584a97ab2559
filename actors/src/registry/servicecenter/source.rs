//! The loop that joins the machines with the network: one task, in which commands, outcomes, frames and timers are
//! waited for together. Nothing is spawned, so ending the task ends everything.

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use tokio::time::{Instant as Clock, sleep_until};
use tracing::{debug, info, warn};

use super::call::{self, Outcome, Verdict};
use super::client::Client;
use super::discovery::{self, Discovery, News, Node};
use super::error::CallError;
use super::reach::{Reach, Work};
use super::registrar::Registrar;
use super::settings::{ServiceCenterSettings, draw};
use super::socket::{Heard, OpenError, Socket};
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
    /// Who waits for the end of a withdrawal. A handful, for five seconds at most.
    withdrawals: Vec<oneshot::Sender<Result<(), String>>>,
    reported: RegistrationState,
    reach: Reach,
}

/// The watch socket.
enum Link<'a> {
    Off,
    Opening(watch::Ticket, Node, LocalBoxFuture<'a, Result<Socket, OpenError>>),
    Open(watch::Ticket, Box<Socket>),
}

/// What the loop waits for.
enum Happening {
    Command(Result<Command, flume::RecvError>),
    Registered(call::Ticket, Outcome),
    Found(discovery::Ticket, Result<(Node, FindAnswer), CallError>),
    Opened(Result<Socket, OpenError>),
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
            registrar: Registrar::new(
                Arc::clone(&settings.instance_id),
                settings.is_inherited,
                settings.heartbeat_interval,
                now,
            ),
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
            debug!(call = call.name(), "calling service-center");
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
            self.reported = state.clone();
            if state == RegistrationState::Absent {
                self.reach.note(Work::Registering, None);
            }
            self.tell(Event::Registration(state)).await?;
        }
        Ok(())
    }

    fn settle_link(&mut self, now: Instant) {
        if let Some((ticket, service)) = self.watch.poll(now, draw())
            && let Some((node, address, url)) = self.client.watcher(&service)
        {
            self.link = Link::Opening(ticket, node, Box::pin(Socket::open(address, url, self.client.tls())));
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
                if let (Link::Opening(_, node, _), OpenError::Unreachable(_)) = (&self.link, &why) {
                    self.client.failed(*node);
                }
                self.unwatched(&why.to_string());
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
                    self.reach.note(Work::Finding, None);
                }
            }
            Command::Register(registration) => self.registrar.register(registration, now()),
            Command::SetStatus(status) => self.registrar.set_status(status, now()),
            Command::Withdraw(done) => {
                self.withdrawals.push(done);
                self.registrar.withdraw(now());
            }
            Command::Release => {
                self.registrar.release();
            }
        }
        Ok(())
    }

    async fn registered(&mut self, ticket: call::Ticket, outcome: Outcome) -> Result<(), Deaf> {
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
        if let (Err(why), Some(next)) = (&reachable, next) {
            // Not for the event, which is shown long after.
            debug!(why, next_try = ?next.saturating_duration_since(now()), "service-center does not answer");
        }
        self.tell(Event::Reachable(reachable)).await
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::peer::{DEADLINE, Peer, nobody};
    use super::*;
    use crate::registry::Answer;
    use crate::registry::instance::{Identity, Registration, Status};

    struct Bench {
        source: ServiceCenter,
        commands: flume::Sender<Command>,
        receiver: flume::Receiver<Command>,
        sender: flume::Sender<Event>,
        events: flume::Receiver<Event>,
    }

    fn identity() -> Identity {
        Identity { app: "default".into(), name: "a".into(), version: "1".into(), environment: "".into() }
    }

    fn bench(address: &str) -> Bench {
        let interval = Duration::from_secs(30);
        let settings =
            ServiceCenterSettings::try_new(address, "default", &identity(), interval, interval, false)
                .unwrap();
        let (commands, receiver) = flume::bounded(16);
        let (sender, events) = flume::bounded(16);
        Bench { source: ServiceCenter::new(settings), commands, receiver, sender, events }
    }

    fn registration() -> Command {
        Command::Register(Arc::new(Registration {
            service: identity(),
            cross_app: false,
            registered_by: "SIDECAR",
            framework_version: "1",
            endpoints: vec!["rest://10.0.0.5:1".into()],
            host_name: "node1".into(),
            properties: Default::default(),
            zone: None,
            status: Status::Up,
        }))
    }

    /// Answers as a healthy service-center that knows one provider.
    fn healthy(request: &str) -> (u16, String) {
        let instances =
            r#"{"services":{"updated":[{"index":0,"rev":"r1","instances":[{"instanceId":"p1"}]}]}}"#;
        let body = match request.split_whitespace().nth(1).unwrap() {
            path if path.contains("/existence?") => r#"{"serviceId":"s1"}"#,
            path if path.contains("/action?") => instances,
            path if path.ends_with("/instances") => r#"{"instanceId":"i1"}"#,
            _ => "",
        };
        (200, body.into())
    }

    async fn event(events: &flume::Receiver<Event>, wanted: impl Fn(&Event) -> bool) -> Event {
        let next = async {
            loop {
                let event = events.recv_async().await.unwrap();
                if wanted(&event) {
                    return event;
                }
            }
        };
        timeout(DEADLINE, next).await.unwrap()
    }

    #[tokio::test]
    async fn it_registers_finds_withdraws_and_ends_with_its_commands() {
        let peer = Peer::start(healthy);
        let Bench { mut source, commands, receiver, sender, events } = bench(&peer.address);
        let drive = async move {
            commands.send(registration()).unwrap();
            event(
                &events,
                |e| matches!(e, Event::Registration(RegistrationState::Registered(id)) if &**id == "i1"),
            )
            .await;
            commands.send(Command::Watch("p".into())).unwrap();
            let Event::Answer { service, answer } =
                event(&events, |e| matches!(e, Event::Answer { .. })).await
            else {
                panic!()
            };
            assert!(matches!(answer, Answer::Instances(instances) if instances.len() == 1));
            assert_eq!(&*service, "p");
            let (done, outcome) = oneshot::channel();
            commands.send(Command::Withdraw(done)).unwrap();
            assert_eq!(timeout(DEADLINE, outcome).await.unwrap(), Ok(Ok(())));
            event(&events, |e| matches!(e, Event::Registration(RegistrationState::Absent))).await;
        };
        let (ended, ()) = futures::join!(source.run(receiver, sender), drive);
        ended.unwrap();
        let calls: Vec<_> =
            (0..4).map(|_| peer.request().split('?').next().unwrap_or_default().to_string()).collect();
        assert!(calls.last().is_some_and(|call| call.starts_with("DELETE ")), "{calls:?}");
    }

    #[tokio::test]
    async fn service_center_being_away_is_reported_and_does_not_end_it() {
        let address = nobody();
        let Bench { mut source, commands, receiver, sender, events } = bench(&address);
        let drive = async move {
            commands.send(Command::Watch("p".into())).unwrap();
            let Event::Reachable(Err(why)) = event(&events, |e| matches!(e, Event::Reachable(_))).await
            else {
                panic!()
            };
            assert!(why.contains(&address) && why.contains("refused"), "{why}");
            assert!(!why.contains("next try"), "it is shown when that is long over: {why}");
            drop(commands);
        };
        let (ended, ()) = futures::join!(source.run(receiver, sender), drive);
        ended.unwrap();
    }

    #[tokio::test]
    async fn it_ends_when_nobody_hears_it() {
        let Bench { mut source, commands, receiver, sender, events } = bench(&nobody());
        commands.send(Command::Watch("p".into())).unwrap();
        drop(events);
        timeout(DEADLINE, source.run(receiver, sender)).await.unwrap().unwrap();
    }
}
