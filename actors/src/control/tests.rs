//! The actors together, with a scripted source and, but for the last few, a clock that is moved.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use tokio::time::{Instant, timeout};

use super::*;
use crate::balancer::test_instance;
use crate::registry::instance::Status;
use crate::registry::{Answer, Command, Event, RegistrationState, SourceError};
use crate::snapshot::port::{ShardPort, pair};
use crate::snapshot::{Resolution, Service, Snapshot, Strategy};
use crate::status::{Origin, Reach};

/// Longer than anything that is waited for; mostly of the moved clock.
const EVER: Duration = Duration::from_secs(60);

/// How a life of the source ends.
enum End {
    Error,
    Panic,
    Untold,
}

/// A life of the source, in the hands of the test.
struct Life {
    commands: flume::Receiver<Command>,
    events: flume::Sender<Event>,
    end: oneshot::Sender<End>,
}

struct Scripted(flume::Sender<Life>);

/// A control plane with one shard, as the test sees it.
struct World {
    shard: ShardPort,
    lives: flume::Receiver<Life>,
    orders: flume::Sender<Order>,
    status: Arc<StatusBoard>,
}

impl Source for Scripted {
    fn run(
        &mut self,
        commands: flume::Receiver<Command>,
        events: flume::Sender<Event>,
    ) -> LocalBoxFuture<'_, Result<(), SourceError>> {
        let (end, ended) = oneshot::channel();
        let _ = self.0.send(Life { commands, events, end });
        let script = async {
            match ended.await {
                Ok(End::Error) => Err(SourceError("connection lost".to_owned())),
                Ok(End::Panic) => panic!("a bug"),
                Ok(End::Untold) => Ok(()),
                Err(_) => std::future::pending().await,
            }
        };
        script.boxed_local()
    }
}

fn settings(lives: flume::Sender<Life>) -> ControlSettings {
    ControlSettings {
        registry_kind: "scripted".to_owned(),
        registry_address: "here".to_owned(),
        source: Box::new(move || Box::new(Scripted(lives.clone()))),
        identity: identity(),
        upstream: Arc::new(|service| match service {
            "poison" => panic!("no settings for poison"),
            "dice" => Upstream { strategy: Strategy::Random, ..Upstream::default() },
            _ => Upstream::default(),
        }),
        health_checks: Vec::new(),
        state_dir: None,
        services_max: SERVICES_MAX,
        board: Board::new(),
    }
}

fn identity() -> Identity {
    Identity { app: "default".into(), name: "me".into(), version: "1".into(), environment: "".into() }
}

fn registration() -> Registration {
    Registration {
        service: identity(),
        cross_app: false,
        registered_by: "SIDECAR",
        framework_version: "1",
        endpoints: vec!["rest://127.0.0.1:1".to_owned()],
        host_name: "host".to_owned(),
        properties: BTreeMap::new(),
        zone: None,
        status: Status::Up,
    }
}

/// Runs `test` beside a control plane, on a clock that moves when there is nothing to do.
fn with_world(change: impl FnOnce(&mut ControlSettings), test: impl AsyncFnOnce(&World)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    System::with_tokio_rt(|| runtime.unwrap()).block_on(async {
        let (live, lives) = flume::unbounded();
        let (shard, port) = pair();
        let (orders, given) = flume::bounded(16);
        let (stop, stopped) = flume::bounded(1);
        let status = StatusBoard::new();
        let mut settings = settings(live);
        change(&mut settings);
        let (_checks, checks) = flume::bounded(1);
        let given = Given { orders: given, checks };
        let control = run(settings, vec![port], given, status.clone(), stopped);
        let world = World { shard, lives, orders, status };
        let script = async {
            test(&world).await;
            stop.send(()).unwrap();
        };
        futures::join!(control, script);
    });
}

fn answer(service: &str, hosts: &[u8]) -> Event {
    let instance = |host: &u8| test_instance(&host.to_string(), &format!("10.0.0.{host}:80"), |_| {});
    let answer = Answer::Instances(hosts.iter().map(instance).collect());
    Event::Answer { service: service.into(), answer }
}

impl Life {
    async fn command(&self) -> Command {
        timeout(EVER, self.commands.recv_async()).await.expect("no command came").unwrap()
    }

    async fn expect_watch(&self, service: &str) {
        let command = self.command().await;
        assert!(matches!(&command, Command::Watch(name) if &**name == service), "{command:?}");
    }

    fn tell(&self, event: Event) {
        self.events.send(event).unwrap();
    }
}

impl World {
    async fn life(&self) -> Life {
        timeout(EVER, self.lives.recv_async()).await.expect("no source was started").unwrap()
    }

    async fn snapshot(&self) -> Arc<Snapshot> {
        timeout(EVER, self.shard.snapshots.recv_async()).await.expect("no snapshot came").unwrap()
    }

    fn ask(&self, service: &str) {
        assert!(self.shard.ask(service.into()));
    }

    /// Asks for a service and has it answered.
    async fn learn(&self, life: &Life, service: &str, hosts: &[u8]) -> Arc<Snapshot> {
        self.ask(service);
        life.expect_watch(service).await;
        life.tell(answer(service, hosts));
        self.snapshot().await
    }
}

fn known(snapshot: &Snapshot, service: &str) -> Arc<Service> {
    match snapshot.services.get(service) {
        Some(Resolution::Known(service)) => service.clone(),
        other => panic!("{service} is {other:?}"),
    }
}

fn absent(snapshot: &Snapshot, service: &str) -> Arc<str> {
    match snapshot.services.get(service) {
        Some(Resolution::Absent(why)) => why.clone(),
        other => panic!("{service} is {other:?}"),
    }
}

#[test]
fn an_answer_reaches_the_shard_with_the_settings_of_its_service() {
    with_world(
        |_| {},
        async |world| {
            let life = world.life().await;
            let snapshot = world.learn(&life, "dice", &[2, 1]).await;
            let service = known(&snapshot, "dice");
            let addresses: Vec<_> = service.endpoints.iter().map(|e| e.address.to_string()).collect();
            assert_eq!(addresses, ["10.0.0.1:80", "10.0.0.2:80"]);
            assert_eq!((service.strategy, snapshot.version), (Strategy::Random, 1));
            assert_eq!(&*snapshot.changed, ["dice".into()]);
            let status = world.status.read();
            assert_eq!(status.services["dice"].endpoints, addresses);
            assert_eq!((status.registry.reach, status.snapshot_version), (Reach::Reachable, 1));
            assert!(world.status.readiness().is_empty());
        },
    );
}

/// The source dies in this way; says what was counted.
fn check_death(end: End, why: &str) -> crate::supervisor::Lives {
    let mut counted = Default::default();
    with_world(
        |_| {},
        async |world| {
            let first = world.life().await;
            world.learn(&first, "orders", &[1]).await;
            world.orders.send(Order::Announce(Arc::new(registration()))).unwrap();
            assert!(matches!(first.command().await, Command::Register(_)));
            first.tell(Event::Registration(RegistrationState::Registered("i".into())));
            assert!(first.end.send(end).is_ok());

            let second = world.life().await;
            second.expect_watch("orders").await;
            assert!(matches!(second.command().await, Command::Register(_)));
            let status = world.status.read();
            assert_eq!(status.registry.reach, Reach::Unreachable(why.to_owned()));
            assert_eq!(status.registration, RegistrationState::Pending(Some(why.to_owned())));
            assert_eq!(status.services["orders"].endpoints.len(), 1, "the last good answer stays");
            assert!(world.shard.snapshots.is_empty(), "and nothing new is said of it");
            assert!(world.status.readiness().is_empty());
            second.tell(answer("orders", &[1, 2]));
            assert_eq!(known(&*world.snapshot().await, "orders").endpoints.len(), 2);
            assert_eq!(world.status.read().supervised["actors"].started, 1);
            counted = world.status.read().supervised["registry source"].clone();
        },
    );
    counted
}

#[test]
fn a_source_that_fails_is_started_again_and_told_everything() {
    let lives = check_death(End::Error, "connection lost");
    assert_eq!((lives.started, lives.errors, lives.panics, lives.ended), (2, 1, 0, 0));
}

#[test]
fn a_source_that_panics_is_started_again_and_told_everything() {
    let lives = check_death(End::Panic, "panicked: a bug");
    assert_eq!((lives.started, lives.errors, lives.panics, lives.ended), (2, 0, 1, 0));
}

#[test]
fn a_source_that_ends_is_started_again_and_told_everything() {
    let lives = check_death(End::Untold, "ended without being told to");
    assert_eq!((lives.started, lives.errors, lives.panics, lives.ended), (2, 0, 0, 1));
}

#[test]
fn the_first_change_is_published_at_once_and_a_burst_after_it_as_one() {
    with_world(
        |_| {},
        async |world| {
            let life = world.life().await;
            let begin = Instant::now();
            let first = world.learn(&life, "orders", &[1]).await;
            assert_eq!(begin.elapsed(), Duration::ZERO);
            for hosts in [&[1, 2][..], &[2], &[2, 3]] {
                life.tell(answer("orders", hosts));
            }
            let second = world.snapshot().await;
            // The timer's resolution is a millisecond.
            let (waited, every) = (begin.elapsed(), crate::route::PUBLISH_EVERY);
            assert!(waited >= every && waited <= every + Duration::from_millis(2), "{waited:?}");
            assert_eq!((first.version, second.version), (1, 2));
            assert_eq!(&*known(&second, "orders").endpoints[1].instance, "3");
            life.tell(answer("orders", &[3, 2]));
            let nothing = timeout(EVER, world.shard.snapshots.recv_async()).await;
            assert!(nothing.is_err(), "the same instances in another order are no change");
        },
    );
}

#[test]
fn an_unknown_service_is_said_to_be_so_for_a_while_and_then_asked_for_again() {
    with_world(
        |_| {},
        async |world| {
            let life = world.life().await;
            world.ask("typo");
            life.expect_watch("typo").await;
            life.tell(Event::Answer { service: "typo".into(), answer: Answer::NoSuchService });
            assert_eq!(&*absent(&*world.snapshot().await, "typo"), "the registry does not know it");
            let begin = Instant::now();
            let silence = world.snapshot().await;
            assert!(silence.services.is_empty() && *silence.changed == ["typo".into()]);
            assert!((2..=4).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
            assert!(matches!(life.command().await, Command::Forget(_)));
            assert!(world.status.read().services.is_empty());
            world.learn(&life, "typo", &[1]).await;
        },
    );
}

#[test]
fn a_registry_that_cannot_be_reached_is_named_in_the_resolution() {
    with_world(
        |_| {},
        async |world| {
            let life = world.life().await;
            life.tell(Event::Reachable(Err("connection refused".to_owned())));
            world.ask("orders");
            let why = absent(&*world.snapshot().await, "orders");
            assert_eq!(&*why, "no answer from the registry: connection refused");
            let reasons = world.status.readiness();
            assert!(reasons[0].ends_with("nothing is kept on disk: connection refused"), "{reasons:?}");
            // When it is there again the answer comes without another lookup.
            life.tell(answer("orders", &[1]));
            known(&*world.snapshot().await, "orders");
        },
    );
}

#[test]
fn a_shard_that_has_lost_a_service_is_given_it_again() {
    with_world(
        |_| {},
        async |world| {
            let life = world.life().await;
            let first = world.learn(&life, "orders", &[1]).await;
            world.shard.retire(first.clone());
            world.ask("orders");
            let again = world.snapshot().await;
            assert!(Arc::ptr_eq(&known(&first, "orders"), &known(&again, "orders")));
            assert_eq!((again.version, &*again.changed), (1, &["orders".into()][..]));
        },
    );
}

#[test]
fn the_last_good_state_on_disk_serves_when_the_registry_is_down_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let with_disk = |settings: &mut ControlSettings| settings.state_dir = Some(path.clone());
    with_world(with_disk, async |world| {
        world.learn(&world.life().await, "orders", &[1]).await;
    });
    with_world(with_disk, async |world| {
        let life = world.life().await;
        assert!(world.status.readiness().is_empty(), "there is something to serve with");
        life.expect_watch("orders").await;
        life.tell(Event::Reachable(Err("connection refused".to_owned())));
        assert_eq!(known(&*world.snapshot().await, "orders").endpoints.len(), 1);
        let status = world.status.read();
        assert_eq!(status.services["orders"].origin, Origin::Disk);
        assert_eq!(status.registry.from_disk.unwrap().services, 1);
        life.tell(answer("orders", &[1, 2]));
        assert_eq!(known(&*world.snapshot().await, "orders").endpoints.len(), 2);
        assert_eq!(world.status.read().services["orders"].origin, Origin::Registry);
    });
    let other_app = |settings: &mut ControlSettings| {
        with_disk(settings);
        settings.identity.app = "other".into();
    };
    with_world(other_app, async |world| {
        world.life().await;
        assert_eq!(world.status.read().registry.from_disk, None);
    });
}

#[test]
fn a_burst_of_changes_is_on_disk_a_moment_later() {
    let dir = tempfile::tempdir().unwrap();
    let with_disk = |settings: &mut ControlSettings| settings.state_dir = Some(dir.path().to_owned());
    with_world(with_disk, async |world| {
        let life = world.life().await;
        world.learn(&life, "orders", &[1]).await;
        world.learn(&life, "users", &[2]).await;
        let file = dir.path().join(crate::state::FILE_NAME);
        assert!(!file.exists(), "not with each change");
        tokio::time::sleep(Duration::from_secs(2)).await;
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("\"orders\"") && text.contains("10.0.0.2:80"), "{text}");
        let written = std::fs::metadata(&file).unwrap().modified().unwrap();
        life.tell(Event::Reachable(Ok(())));
        tokio::time::sleep(EVER).await;
        assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), written, "and not without one");
    });
}

#[test]
fn services_that_are_no_longer_called_are_forgotten() {
    let board = Board::new();
    let series = board.of_shard(0).series(crate::snapshot::stats::Labels {
        direction: crate::snapshot::stats::Direction::Outgoing,
        app: "default".into(),
        service: "busy".into(),
        version: "".into(),
    });
    with_world(
        |settings| settings.board = board.clone(),
        async |world| {
            let life = world.life().await;
            world.learn(&life, "busy", &[1]).await;
            world.learn(&life, "idle", &[2]).await;
            let minute = Duration::from_secs(60);
            let mut last = None;
            for _ in 0..40 {
                series.latency.record(Duration::ZERO);
                tokio::time::sleep(minute).await;
                last = world.shard.snapshots.try_recv().ok().or(last);
            }
            let last = last.expect("something was forgotten");
            assert_eq!(last.services.keys().collect::<Vec<_>>(), [&"busy".into()]);
            assert!(matches!(life.command().await, Command::Forget(name) if &*name == "idle"));
        },
    );
}

#[test]
fn a_withdrawal_is_carried_out_and_survives_the_source() {
    with_world(
        |_| {},
        async |world| {
            let life = world.life().await;
            world.orders.send(Order::Announce(Arc::new(registration()))).unwrap();
            assert!(matches!(life.command().await, Command::Register(_)));
            let (done, outcome) = flume::bounded(1);
            world.orders.send(Order::Withdraw(done)).unwrap();
            match life.command().await {
                Command::Withdraw(heard) => heard.send(Ok(())).unwrap(),
                other => panic!("{other:?}"),
            }
            assert_eq!(outcome.recv_async().await, Ok(Ok(())));
            assert!(life.end.send(End::Error).is_ok());
            let second = world.life().await;
            assert!(timeout(EVER, second.commands.recv_async()).await.is_err(), "it is not registered again");
        },
    );
}

#[test]
fn a_withdrawal_that_dies_with_its_source_is_reported() {
    with_world(
        |_| {},
        async |world| {
            let life = world.life().await;
            world.orders.send(Order::Announce(Arc::new(registration()))).unwrap();
            let (done, outcome) = flume::bounded(1);
            world.orders.send(Order::Withdraw(done)).unwrap();
            assert!(matches!(life.command().await, Command::Register(_)));
            assert!(matches!(life.command().await, Command::Withdraw(_)));
            assert!(life.end.send(End::Error).is_ok());
            let why = outcome.recv_async().await.unwrap().unwrap_err();
            assert_eq!(why, "the connection to the registry ended before it had answered");
        },
    );
}

#[test]
fn a_released_registration_is_neither_withdrawn_nor_told_of_again() {
    with_world(
        |_| {},
        async |world| {
            let life = world.life().await;
            world.orders.send(Order::Announce(Arc::new(registration()))).unwrap();
            assert!(matches!(life.command().await, Command::Register(_)));
            world.orders.send(Order::Release).unwrap();
            assert!(matches!(life.command().await, Command::Release));
            let (done, outcome) = flume::bounded(1);
            world.orders.send(Order::Withdraw(done)).unwrap();
            assert_eq!(outcome.recv_async().await, Ok(Ok(())));
            life.end.send(End::Error).ok().unwrap();
            let second = world.life().await;
            world.ask("orders");
            second.expect_watch("orders").await;
            assert_eq!(world.status.read().registration, RegistrationState::Absent);
        },
    );
}

#[test]
fn services_that_are_expected_are_known_before_anybody_asks() {
    with_world(
        |_| {},
        async |world| {
            let life = world.life().await;
            world.orders.send(Order::Expect(vec!["orders".into()])).unwrap();
            life.expect_watch("orders").await;
            life.tell(answer("orders", &[1]));
            assert_eq!(known(&*world.snapshot().await, "orders").endpoints.len(), 1);
        },
    );
}

#[test]
fn new_settings_of_upstreams_reach_what_is_known_already() {
    let strategy = Arc::new(std::sync::Mutex::new(Strategy::RoundRobin));
    let configured = strategy.clone();
    with_world(
        |settings| {
            settings.upstream =
                Arc::new(move |_| Upstream { strategy: *configured.lock().unwrap(), ..Upstream::default() });
        },
        async |world| {
            let life = world.life().await;
            let before = known(&*world.learn(&life, "orders", &[1]).await, "orders");
            *strategy.lock().unwrap() = Strategy::Random;
            world.orders.send(Order::Resolve).unwrap();
            let after = known(&*world.snapshot().await, "orders");
            assert_eq!((before.strategy, after.strategy), (Strategy::RoundRobin, Strategy::Random));
            assert_eq!(after.endpoints, before.endpoints);
        },
    );
}

#[test]
fn a_balancer_that_panics_takes_nobody_with_it() {
    with_world(
        |_| {},
        async |world| {
            let life = world.life().await;
            for _ in 0..2 {
                world.ask("poison");
                life.expect_watch("poison").await;
                life.tell(answer("poison", &[1]));
                life.tell(Event::Answer { service: "poison".into(), answer: Answer::NoSuchService });
                absent(&*world.snapshot().await, "poison");
                world.snapshot().await;
                assert!(matches!(life.command().await, Command::Forget(_)));
            }
            known(&*world.learn(&life, "orders", &[1]).await, "orders");
            let supervised = world.status.read().supervised;
            assert_eq!(supervised["balancer"].panics, 2);
            assert_eq!((supervised["actors"].panics, supervised["registry source"].started), (0, 1));
        },
    );
}

#[test]
fn a_second_life_of_the_actors_remembers_everything() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    System::with_tokio_rt(|| runtime.unwrap()).block_on(async {
        let (live, lives) = flume::unbounded();
        let (shard, port) = pair();
        let (orders, given) = flume::bounded(16);
        let status = StatusBoard::new();
        let (_checks, checks) = flume::bounded(1);
        let given = Given { orders: given, checks };
        let roots = Roots::new(settings(live), vec![port], given, status.clone());
        let world = World { shard, lives, orders, status };
        let first = roots.grow();
        let mut life = world.life().await;
        let known_first = known(&*world.learn(&life, "orders", &[1]).await, "orders");
        world.orders.send(Order::Announce(Arc::new(registration()))).unwrap();
        assert!(matches!(life.command().await, Command::Register(_)));
        drop(first);

        let _second = roots.grow();
        let before = std::mem::replace(&mut life, world.life().await);
        assert!(before.end.is_canceled(), "the source of the first life is gone");
        life.expect_watch("orders").await;
        assert!(matches!(life.command().await, Command::Register(_)));
        let snapshot = world.learn(&life, "users", &[2]).await;
        assert_eq!((snapshot.version, &*snapshot.changed), (2, &["users".into()][..]));
        assert!(Arc::ptr_eq(&known(&snapshot, "orders"), &known_first));
    });
}

#[test]
fn a_control_plane_on_its_own_thread_registers_withdraws_and_stops() {
    let (live, lives) = flume::unbounded();
    let (_shard, port) = pair();
    let control = Control::start(settings(live), vec![port]).unwrap();
    let life = lives.recv_timeout(EVER).unwrap();
    assert_eq!(control.withdraw().recv_timeout(EVER), Ok(Ok(())), "nothing was announced");
    control.announce(registration());
    assert!(matches!(life.commands.recv_timeout(EVER), Ok(Command::Register(_))));
    let outcome = control.withdraw();
    let Ok(Command::Withdraw(done)) = life.commands.recv_timeout(EVER) else { panic!("no withdrawal") };
    assert!(outcome.is_empty(), "the registry has not answered yet");
    done.send(Err("no".to_owned())).unwrap();
    assert_eq!(outcome.recv_timeout(EVER), Ok(Err("no".to_owned())));
    let status = control.status();
    control.stop();
    assert_eq!(status.readiness(), ["the control plane has stopped"]);
}

#[test]
fn two_control_planes_in_one_process_do_not_meet() {
    let start = || {
        let (live, lives) = flume::unbounded();
        let (shard, port) = pair();
        (Control::start(settings(live), vec![port]).unwrap(), lives.recv_timeout(EVER).unwrap(), shard)
    };
    let (one, two) = (start(), start());
    assert!(one.2.ask("orders".into()) && two.2.ask("users".into()));
    assert!(matches!(one.1.commands.recv_timeout(EVER), Ok(Command::Watch(name)) if &*name == "orders"));
    assert!(matches!(two.1.commands.recv_timeout(EVER), Ok(Command::Watch(name)) if &*name == "users"));
    drop(one.0);
    two.1.tell(answer("users", &[1]));
    known(&two.2.snapshots.recv_timeout(EVER).unwrap(), "users");
}
