//! A node in this process, one of whose shards dies as by a bug: what serves on, what is started again, what is counted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mesher_actors::config::{Config, Sources};
use mesher_actors::snapshot::stats::ShardStats;
use mesher_actors::tls::Ciphers;
use tracing::field::{Field, Visit};
use tracing::span;

use super::*;
use crate::net::{Driver, DriverChoice, preflight};
use crate::shard::Handle;

/// For what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service whose answer to `/slow` waits for [`Origin::release`].
struct Origin {
    address: SocketAddr,
    release: flume::Sender<()>,
}

impl Origin {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (release, released) = flume::unbounded();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, released) = (stream.unwrap(), released.clone());
                std::thread::spawn(move || answer(stream, &released));
            }
        });
        Self { address, release }
    }
}

/// Answers one request after the other.
fn answer(mut stream: TcpStream, released: &flume::Receiver<()>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut target) = (String::new(), String::new());
    while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
        if target.is_empty() {
            target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        }
        if line == "\r\n" {
            if target == "/slow" {
                let _ = released.recv();
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            target.clear();
        }
        line.clear();
    }
}

/// A client's connection.
struct Client(TcpStream);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("refused");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn send(&mut self, target: &str) {
        write!(self.0, "GET http://orders{target} HTTP/1.1\r\nHost: orders\r\n\r\n").unwrap();
    }

    /// The whole answer; empty if the connection ends instead. A read may be interrupted, by what the kernel has still to do
    /// for the ring that this thread has probed, and goes on.
    fn answer(&mut self) -> String {
        let (mut text, mut byte) = (Vec::new(), [0]);
        while !text.ends_with(b"\r\n\r\nok") && self.0.read_exact(&mut byte).is_ok() {
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }

    #[track_caller]
    fn is_served(&mut self) {
        self.send("/");
        let answer = self.answer();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
    }
}

#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Keeps the messages of the log of one thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{field}={value:?} ");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// A running node and what a test needs of it while it is supervised.
struct World {
    address: SocketAddr,
    origin: Origin,
    stats: Vec<Arc<ShardStats>>,
    view: Arc<dyn mesher_actors::admin::View>,
    kill: Vec<Box<dyn Fn() + Send>>,
    log: Log,
}

impl World {
    fn sum(&self, counter: impl Fn(&ShardStats) -> u64) -> u64 {
        self.stats.iter().map(|stats| counter(stats)).sum()
    }

    /// Kills a shard and waits until it is dead.
    fn kill(&self, shard: usize) {
        self.kill[shard]();
        let is_over = || self.stats[shard].restarts.value() > 0;
        wait_until("the death to be noticed", || !self.view.shards()[shard].alive || is_over());
    }

    fn wait_for_restart(&self, shard: usize) {
        wait_until("the shard to run again", || self.view.shards()[shard].alive);
    }
}

/// Runs a node of so many shards on each driver.
fn with_node(shards: usize, play: impl Fn(&World)) {
    for driver in [Driver::Epoll, Driver::Uring] {
        if driver == Driver::Uring && preflight(DriverChoice::Uring, 1).is_err() {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let origin = Origin::start();
        let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
        write(
            "registry.yaml",
            format!("services: {{orders: [{{endpoints: [\"rest://{}\"]}}]}}", origin.address),
        );
        write("microservice.yaml", "servicecomb: {service: {name: caller}}".to_owned());
        write("mesher.yaml", format!("net: {{driver: {driver}}}\nadmin: {{enable: false}}"));
        let listen = "protocols: {http: {listenAddress: \"127.0.0.1:0\"}}";
        write("chassis.yaml", format!("servicecomb: {{registry: {{type: file}}, {listen}}}"));
        let sources = Sources { dir_flag: Some(dir.path().to_owned()), ..Sources::default() };
        let (config, mut report) = Config::load(&sources).unwrap();
        let ports = ServicePorts::default();
        let given = Given { mode: Mode::Sidecar, ports, shards: Some(shards), ciphers: Ciphers::default() };
        let settings = Settings::from_config(&config, &given, &mut report);
        assert!(!report.has_errors(), "{}", report.render(false));
        let sockets = Sockets::bind(&settings, Vec::new()).unwrap();
        let address = sockets.traffic[0].socket.local_addr().unwrap();
        let mut node = Node::start(settings, sockets).unwrap();
        let handles = || node.shards.iter().flatten();
        let world = World {
            address,
            origin,
            stats: handles().map(Handle::stats).cloned().collect(),
            view: node.view.clone(),
            kill: handles().map(|handle| Box::new(handle.deadly()) as Box<dyn Fn() + Send>).collect(),
            log: Log::default(),
        };
        let (signal, signals) = flume::bounded(1);
        std::thread::scope(|scope| {
            let supervising = scope
                .spawn(|| tracing::subscriber::with_default(world.log.clone(), || node.supervise(&signals)));
            // The node's thread ends when this does, in a panic too.
            let _end = EndOnDrop(signal);
            play(&world);
            drop(_end);
            assert!(matches!(supervising.join().unwrap(), Happening::Signal(Signal::Terminate)));
        });
        node.stop();
    }
}

struct EndOnDrop(flume::Sender<Signal>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let _ = self.0.try_send(Signal::Terminate);
    }
}

#[test]
fn a_lone_shard_that_dies_is_started_again_and_who_connects_meanwhile_is_served() {
    with_node(1, |world| {
        let mut before = Client::connect(world.address);
        before.is_served();
        let mut cut = Client::connect(world.address);
        cut.send("/slow");
        let stats = &world.stats[0];
        wait_until("the request to be under way", || {
            (stats.accepted.value(), stats.requests_in_flight.value()) == (2, 1)
        });

        world.kill(0);
        // Nobody accepts now; the listening socket is the same, so the kernel does.
        let mut meanwhile: Vec<Client> = (0..20).map(|_| Client::connect(world.address)).collect();
        meanwhile.iter_mut().for_each(|client| client.send("/"));
        assert_eq!((before.answer().as_str(), cut.answer().as_str()), ("", ""), "their shard is dead");
        for client in &mut meanwhile {
            let answer = client.answer();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
        }
        world.wait_for_restart(0);
        let mut after = Client::connect(world.address);
        after.is_served();
        after.is_served();

        assert_eq!(stats.restarts.value(), 1);
        assert_eq!(stats.accepted.value(), 2 + 21, "it counts on");
        assert_eq!(stats.downstream_open.value(), 21, "what is open now, and nothing of the first life");
        wait_until("nothing to be in flight", || stats.requests_in_flight.value() == 0);
        assert!((1..=20).contains(&stats.upstream_open.value()), "{}", stats.upstream_open.value());
        assert!(stats.upstream_reused.value() >= 1, "its pools work");
        drop((meanwhile, after));
        wait_until("no connection to be open", || stats.downstream_open.value() == 0);
        let log = world.log.0.lock().unwrap().join("\n");
        assert!(log.contains("a shard died and is started again"), "{log}");
        assert!(log.contains("shard=0") && log.contains("killed by a test"), "{log}");
        world.origin.release.send(()).unwrap();
    });
}

#[test]
fn the_other_shard_serves_on_when_one_dies() {
    with_node(2, |world| {
        // A connection on each shard: the kernel gives it to either.
        let mut by_shard: [Vec<Client>; 2] = Default::default();
        wait_until("a connection on each shard", || {
            let open = || [0, 1].map(|shard| world.stats[shard].downstream_open.value());
            let before = open();
            let mut client = Client::connect(world.address);
            client.is_served();
            let shard = usize::from(open()[1] > before[1]);
            by_shard[shard].push(client);
            by_shard.iter().all(|clients| !clients.is_empty())
        });
        let [doomed, mut serving] = by_shard;
        let mut under_way = serving.pop().unwrap();
        under_way.send("/slow");
        wait_until("the request to be under way", || world.stats[1].requests_in_flight.value() == 1);

        world.kill(0);
        let mut meanwhile: Vec<Client> = (0..20).map(|_| Client::connect(world.address)).collect();
        meanwhile.iter_mut().for_each(Client::is_served);
        world.origin.release.send(()).unwrap();
        assert!(under_way.answer().starts_with("HTTP/1.1 200 OK\r\n"), "the other shard is not touched");
        under_way.is_served();
        for mut client in doomed {
            assert_eq!(client.answer(), "", "its shard is dead");
        }
        world.wait_for_restart(0);
        wait_until("the shard to take part again", || {
            let mut client = Client::connect(world.address);
            client.is_served();
            world.stats[0].downstream_open.value() > 0
        });
        assert_eq!([0, 1].map(|shard| world.stats[shard].restarts.value()), [1, 0]);
        drop((meanwhile, serving, under_way));
        wait_until("no connection to be open", || world.sum(|stats| stats.downstream_open.value()) == 0);
        assert_eq!(world.sum(|stats| stats.requests_in_flight.value()), 0);
    });
}
