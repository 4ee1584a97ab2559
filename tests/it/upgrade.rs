//! SIGUSR2: a new process takes everything over from the running one, and nobody notices.

use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, waitpid};

use super::support::client::Client;
use super::support::conf::Conf;
use super::support::net::free_address;
use super::support::origin::{Gate, Origin, Reply, chunk};
use super::support::process::{Mesher, Start, code};
use super::support::servicecenter::{Clock, Config, Request, Shell};
use super::support::wait::{PATIENCE, wait_for, wait_until};

/// A mesher and its successors.
struct Dynasty {
    founder: Mesher,
    /// The processes that came after, the one that serves last.
    heirs: Vec<Pid>,
}

impl Dynasty {
    fn found(start: Start) -> Self {
        // Who loses its parent becomes ours, so that its end can be seen.
        set_child_subreaper(Pid::from_raw(1)).unwrap();
        Self { founder: start.ready(), heirs: Vec::new() }
    }

    /// A sidecar that drains quickly.
    fn sidecar(driver: &str, services: &[(&str, &[SocketAddr])]) -> Self {
        Self::found(Start::new(
            quick(Conf::sidecar("caller")).set("mesher.yaml", "net.driver", driver).services(services),
        ))
    }

    fn reigning(&self) -> Pid {
        let founder = i32::try_from(self.founder.id()).ok().and_then(Pid::from_raw).unwrap();
        self.heirs.last().copied().unwrap_or(founder)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.reigning(), signal).unwrap();
    }

    /// Has the next process take over and returns when it serves.
    #[track_caller]
    fn succeed(&mut self) {
        self.signal(Signal::USR2);
        let started = self.heirs.len() + 2;
        let pid = wait_for("the new process to serve", PATIENCE, || {
            let output = self.founder.output();
            assert!(!output.contains("upgrade failed"), "{output}");
            let line = output.lines().filter(|line| line.contains("mesher runs")).nth(started - 1)?;
            Some(field(line, "pid="))
        });
        self.heirs.push(pid);
    }

    /// Waits until all but the reigning process have ended; their exit codes.
    #[track_caller]
    fn buried(&mut self) -> Vec<i32> {
        let mut codes = vec![code(self.founder.wait(PATIENCE))];
        let Some((_, before)) = self.heirs.split_last() else { return Vec::new() };
        codes
            .extend(before.iter().map(|pid| wait_for("an old process to end", PATIENCE, || exit_code(*pid))));
        self.heirs.drain(..self.heirs.len() - 1);
        codes
    }
}

impl Drop for Dynasty {
    fn drop(&mut self) {
        for pid in &self.heirs {
            let _ = kill_process(*pid, Signal::KILL);
        }
    }
}

/// The process id behind `name` in a line of the log.
fn field(line: &str, name: &str) -> Pid {
    let (_, rest) = line.split_once(name).unwrap();
    rest.split_whitespace().next().unwrap().parse().ok().and_then(Pid::from_raw).unwrap()
}

fn exit_code(pid: Pid) -> Option<i32> {
    // Not ours as long as its parent lives.
    let (_, status) = waitpid(Some(pid), WaitOptions::NOHANG).ok()??;
    Some(status.exit_status().unwrap_or(-1))
}

fn quick(conf: Conf) -> Conf {
    conf.set("mesher.yaml", "mesher.drain.graceSeconds", "1s")
        .set("mesher.yaml", "mesher.drain.timeoutSeconds", "20s")
        .set("lager.yaml", "logLevel", "INFO")
}

/// Clients that ask until they are stopped; any request that fails is remembered.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Each asks some hundred times a second: `kept` on connections that are kept as long as mesher keeps them, `new`
    /// on a new one each time.
    fn start(address: SocketAddr, kept: usize, new: usize) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            failures: Arc::default(),
            clients: Vec::new(),
        };
        for number in 0..kept + new {
            let (stop, answered, failures) =
                (load.stop.clone(), load.answered.clone(), load.failures.clone());
            load.clients.push(std::thread::spawn(move || {
                let mut connection = None;
                while !stop.load(Ordering::Relaxed) {
                    match ask(address, connection.take()) {
                        Ok(left) => connection = left.filter(|_| number < kept),
                        Err(why) => failures.lock().unwrap().push(why),
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            }));
        }
        load
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits for so many more answers.
    #[track_caller]
    fn go_on(&self, more: usize) {
        let goal = self.answered() + more;
        wait_until("more answers", PATIENCE, || self.answered() >= goal);
    }

    /// The number of answers, and what failed.
    fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        let failures = self.failures.lock().unwrap().clone();
        (self.answered.load(Ordering::Relaxed), failures)
    }
}

/// Asks once, on the connection if there is one. Returns it if it is kept.
fn ask(address: SocketAddr, connection: Option<Client>) -> Result<Option<Client>, String> {
    let reused = connection.is_some();
    let mut client = match connection {
        Some(client) => client,
        None => Client::try_connect(address).map_err(|error| format!("connect: {error}"))?,
    };
    let failed = |why: String| format!("{why} (reused: {reused})");
    client.try_send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n").map_err(|error| failed(error.to_string()))?;
    let response = client.try_read_response_to("GET").map_err(failed)?;
    if response.status != 200 {
        return Err(failed(format!("{} {}", response.status, response.text())));
    }
    Ok((response.header("connection") != Some("close")).then_some(client))
}

/// Asks the admin all the time, a new connection each, when the process it speaks for was started; until stopped.
fn admin_load(address: SocketAddr) -> (Arc<AtomicBool>, JoinHandle<Vec<f64>>) {
    let stop = Arc::<AtomicBool>::default();
    let stopped = stop.clone();
    let asking = std::thread::spawn(move || {
        let mut starts = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            let mut client = Client::connect(address);
            client.send("GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
            let response = client.read_response();
            let line = response.text().lines().find(|line| line.starts_with("process_start_time_seconds "));
            starts.push(line.unwrap().rsplit(' ').next().unwrap().parse().unwrap());
            std::thread::park_timeout(Duration::from_millis(5));
        }
        starts
    });
    (stop, asking)
}

/// Twenty upgrades under load, from one shard to two and back.
#[track_caller]
fn check_twenty_upgrades(driver: &str) {
    let origin = Origin::answering("hello");
    let mut mesher = Dynasty::sidecar(driver, &[("orders", &[origin.address()])]);
    let load = Load::start(mesher.founder.conf().outgoing, 3, 2);
    let (stop_admin, admin) = admin_load(mesher.founder.conf().admin);
    for round in 0..20 {
        mesher.founder.conf_mut().change("mesher.yaml", "mesher.shards", 1 + (round + 1) % 2);
        load.go_on(20);
        mesher.succeed();
    }
    load.go_on(20);
    let codes = mesher.buried();
    load.go_on(20);
    let (answered, failures) = load.stop();
    assert_eq!(failures, [""; 0], "of {answered}");
    assert_eq!(codes, [0; 20], "every old process drains to its end");
    stop_admin.store(true, Ordering::Relaxed);
    let starts = admin.join().unwrap();
    assert!(starts.is_sorted(), "once a new process has answered, no older one does: {starts:?}");
    let shards = mesher.founder.output().matches("shards=2").count();
    assert_eq!(shards, 10, "every other process has two shards");
}

#[test]
fn twenty_upgrades_in_a_row_fail_no_request_on_uring() {
    check_twenty_upgrades("auto");
}

#[test]
fn twenty_upgrades_in_a_row_fail_no_request_on_epoll() {
    check_twenty_upgrades("epoll");
}

#[test]
fn a_stream_goes_on_in_the_old_process_until_it_ends() {
    let (events, received) = channel();
    let received = Mutex::new(Some(received));
    let origin = Origin::start(move |_| Reply::event_stream(received.lock().unwrap().take().unwrap()));
    let mut mesher = Dynasty::sidecar("auto", &[("orders", &[origin.address()])]);
    let mut client = mesher.founder.connect();
    client.send("GET /events HTTP/1.1\r\nHost: orders\r\n\r\n");
    events.send(chunk("one")).unwrap();
    client.read_through(b"one");
    mesher.succeed();
    mesher.founder.wait_for_output("upgraded; draining");
    events.send(chunk("two")).unwrap();
    client.read_through(b"two");
    drop(events);
    client.read_through(b"0\r\n\r\n");
    assert_eq!(mesher.buried(), [0]);
}

#[test]
fn a_request_in_flight_is_answered_with_connection_close() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Reply::ok("late").held_by(&held));
    let mut mesher = Dynasty::sidecar("auto", &[("orders", &[origin.address()])]);
    let mut client = mesher.founder.connect();
    client.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
    wait_until("the request at the origin", PATIENCE, || gate.waiting() == 1);
    mesher.succeed();
    mesher.founder.wait_for_output("upgraded; draining");
    gate.open();
    let response = client.read_response();
    assert_eq!((response.status, response.text()), (200, "late"));
    assert_eq!(client.read_to_end(), b"", "the connection ends with its request");
    assert_eq!(mesher.buried(), [0]);
}

#[test]
fn a_broken_configuration_leaves_the_old_process_serving_and_says_why() {
    let origin = Origin::answering("hello");
    let mut mesher = Dynasty::sidecar("auto", &[("orders", &[origin.address()])]);
    let mut client = mesher.founder.connect();
    assert_eq!(client.get("orders", "/").status, 200);
    mesher.founder.conf_mut().change("mesher.yaml", "mesher.drain.graceSeconds", "soon");
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_output("upgrade failed; this process serves on");
    let output = mesher.founder.output();
    let error = output.lines().find(|line| line.contains("upgrade failed")).unwrap();
    assert!(error.contains("mesher.drain.graceSeconds") && error.contains("mesher.yaml:"), "{error}");
    assert_eq!(client.get("orders", "/").status, 200, "on the same connection");
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
    assert_eq!(mesher.founder.admin("/ready").unwrap().status, 200);

    mesher.founder.conf_mut().change("mesher.yaml", "mesher.drain.graceSeconds", "150ms");
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_outputs("mesher runs", 2);
    mesher.founder.wait_for_output("upgraded; draining");
    assert_eq!(code(mesher.founder.wait(PATIENCE)), 0);
    let output = mesher.founder.output();
    mesher
        .heirs
        .push(field(output.lines().filter(|line| line.contains("mesher runs")).nth(1).unwrap(), "pid="));
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
}

#[test]
fn a_program_that_does_not_start_leaves_the_old_process_serving_and_a_link_is_followed_anew() {
    let origin = Origin::answering("hello");
    let conf = quick(Conf::sidecar("caller")).services(&[("orders", &[origin.address()])]);
    let link = conf.path().join("mesher");
    let point_to = |target: &Path| {
        let staged = link.with_extension("new");
        symlink(target, &staged).unwrap();
        std::fs::rename(staged, &link).unwrap();
    };
    let real = Path::new(env!("CARGO_BIN_EXE_mesher"));
    point_to(real);
    let mut mesher = Dynasty::found(Start::new(conf).program(&link));
    for (target, why) in
        [("/bin/false", "exit status: 1"), ("/dev/null/nothing", "there is no such file any more")]
    {
        point_to(Path::new(target));
        mesher.signal(Signal::USR2);
        mesher.founder.wait_for_output(why);
        assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
    }
    point_to(real);
    let failed = mesher.founder.output().matches("upgrade failed").count();
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_output("upgraded; draining");
    assert_eq!(code(mesher.founder.wait(PATIENCE)), 0);
    let output = mesher.founder.output();
    assert_eq!(output.matches("upgrade failed").count(), failed);
    mesher
        .heirs
        .push(field(output.lines().filter(|line| line.contains("mesher runs")).nth(1).unwrap(), "pid="));
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
}

#[test]
fn a_new_process_that_dies_when_it_should_serve_leaves_the_old_one_serving_with_its_admin() {
    let origin = Origin::answering("hello");
    let conf = quick(Conf::sidecar("caller")).services(&[("orders", &[origin.address()])]);
    let link = conf.path().join("mesher");
    symlink(env!("CARGO_BIN_EXE_mesher"), &link).unwrap();
    let mesher = Dynasty::found(Start::new(conf).program(&link));
    let script = "#!/bin/sh\nprintf '{\"ready\":{\"keeps_instance\":true}}\\n' >&0\nread -r order\nexit 3\n";
    mesher.founder.conf().replace("impostor", script);
    let impostor = mesher.founder.conf().path().join("impostor");
    std::fs::set_permissions(&impostor, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&impostor, &link).unwrap();
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_output("upgrade failed; this process serves on");
    let output = mesher.founder.output();
    assert!(output.contains("it ended before it was ready: exit status: "), "{output}");
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
    assert_eq!(mesher.founder.admin("/ready").unwrap().status, 200);
}

#[test]
fn a_new_process_whose_old_one_is_killed_takes_over() {
    let origin = Origin::answering("hello");
    let mut mesher = Dynasty::sidecar("auto", &[("orders", &[origin.address()])]);
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_outputs("registry file read", 2);
    let output = mesher.founder.output();
    let begun = output.lines().find(|line| line.contains("a new process gets ready")).unwrap();
    mesher.heirs.push(field(begun, "pid="));
    mesher.founder.kill();
    mesher.founder.wait_for_outputs("mesher runs", 2);
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
    assert_eq!(mesher.founder.admin("/ready").unwrap().status, 200);
}

#[test]
fn addresses_may_change_and_what_was_known_is_known_before_the_new_process_serves() {
    let origin = Origin::answering("hello");
    let mut mesher = Dynasty::sidecar("auto", &[("orders", &[origin.address()])]);
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
    let (old, new) = (mesher.founder.conf().admin, free_address());
    let conf = mesher.founder.conf_mut();
    conf.change("chassis.yaml", "servicecomb.protocols.rest-admin.listenAddress", new.to_string());
    conf.admin = new;
    mesher.succeed();
    let verbose = mesher.founder.admin("/ready?verbose").unwrap();
    assert!(verbose.text().contains("orders"), "nobody has asked it for orders: {}", verbose.text());
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
    assert_eq!(mesher.buried(), [0]);
    assert!(Client::try_connect(old).is_err(), "the old address has gone with the old process");
}

#[test]
fn a_new_process_that_is_not_ready_in_time_is_ended_and_a_second_signal_is_refused() {
    let nobody = free_address();
    let origin = Origin::answering("hello");
    let mut mesher = Dynasty::sidecar("auto", &[("orders", &[origin.address()])]);
    mesher.founder.conf_mut().change("mesher.yaml", "mesher.upgrade.readySeconds", "1s");
    mesher.founder.conf_mut().change("chassis.yaml", "servicecomb.registry.type", "servicecenter");
    let address = format!("http://{nobody}");
    mesher.founder.conf_mut().change("chassis.yaml", "servicecomb.registry.address", address);
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_output("a new process gets ready");
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_output("an upgrade is under way already");
    mesher.founder.wait_for_output("upgrade failed; this process serves on");
    let output = mesher.founder.output();
    let error = output.lines().find(|line| line.contains("upgrade failed")).unwrap();
    assert!(error.contains("not ready within 1s") && error.contains(&nobody.to_string()), "{error}");
    let begun = output.lines().find(|line| line.contains("a new process gets ready")).unwrap();
    assert!(kill_process(field(begun, "pid="), Signal::CONT).is_err(), "it is ended");
    assert_eq!(mesher.founder.connect().get("orders", "/").status, 200);
}

#[test]
fn a_shutdown_during_an_upgrade_ends_both() {
    let mut mesher = Dynasty::sidecar("auto", &[]);
    mesher.founder.conf_mut().change("chassis.yaml", "servicecomb.registry.type", "servicecenter");
    let address = format!("http://{}", free_address());
    mesher.founder.conf_mut().change("chassis.yaml", "servicecomb.registry.address", address);
    mesher.signal(Signal::USR2);
    mesher.founder.wait_for_output("a new process gets ready");
    mesher.signal(Signal::TERM);
    assert_eq!(code(mesher.founder.wait(PATIENCE)), 0);
    let output = mesher.founder.output();
    let begun = output.lines().find(|line| line.contains("a new process gets ready")).unwrap();
    assert!(kill_process(field(begun, "pid="), Signal::CONT).is_err(), "it is ended");
}

#[test]
fn the_instance_goes_over_without_a_gap() {
    let center = Shell::start(Config::default(), Clock::Real);
    let conf = quick(Conf::sidecar("caller").service_center(&[center.address()])).set(
        "chassis.yaml",
        "servicecomb.registry.heartbeat.interval",
        "1s",
    );
    let mut mesher = Dynasty::found(Start::new(conf));
    mesher.founder.wait_for_output("registered id=");
    let heartbeats = || center.count("PUT", "/heartbeat");
    wait_until("a heartbeat", PATIENCE, || heartbeats() >= 1);
    for _ in 0..3 {
        mesher.succeed();
        assert_eq!(center.with(|fake, _| fake.instances_of("caller")), 1);
    }
    assert_eq!(mesher.buried(), [0; 3]);
    let before = heartbeats();
    wait_until("heartbeats of the new process", PATIENCE, || heartbeats() >= before + 2);
    let output = mesher.founder.output();
    let mut ids: Vec<_> =
        output.lines().filter_map(|line| line.split_once("registered id=")).map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 4, "{output}");
    ids.dedup();
    assert_eq!(ids.len(), 1, "one instance for all: {ids:?}");
    assert_eq!(center.count("DELETE", ""), 0);
    let says_down = |text: &str| text.contains("DOWN");
    let down = |seen: &Request| says_down(&seen.query) || says_down(&String::from_utf8_lossy(&seen.body));
    assert!(!center.seen().iter().any(|seen| down(&seen.request)), "nobody reports it down");
    assert_eq!(center.with(|fake, _| fake.instances_of("caller")), 1);

    mesher.signal(Signal::TERM);
    wait_until("the instance to be taken out", PATIENCE, || center.count("DELETE", "/instances/") == 1);
}

#[test]
fn an_instance_that_would_change_is_replaced_the_new_one_first() {
    let center = Shell::start(Config::default(), Clock::Real);
    let conf = quick(Conf::sidecar("caller").service_center(&[center.address()]));
    let mut mesher = Dynasty::found(Start::new(conf));
    mesher.founder.wait_for_output("registered id=");
    mesher.founder.conf_mut().change("microservice.yaml", "servicecomb.service.instanceProperties.rack", "7");
    mesher.succeed();
    assert_eq!(mesher.buried(), [0]);
    let seen: Vec<Request> = center.seen().into_iter().map(|seen| seen.request).collect();
    let position = |method: &str, part: &str, nth: usize| {
        let fits = |(_, seen): &(usize, &Request)| seen.method == method && seen.path.contains(part);
        seen.iter().enumerate().filter(fits).nth(nth).map(|(at, _)| at)
    };
    let registered = position("POST", "/instances", 1).expect("a second registration");
    let removed = position("DELETE", "/instances/", 0).expect("a removal");
    assert!(registered < removed, "there always is one");
    assert_eq!(center.count("DELETE", ""), 1);
}
