//! The real binary as a child process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::client::Client;
use super::conf::Conf;
use super::wait::{PATIENCE, look_for, wait_for, wait_until};

/// Output kept of one process; what comes after is dropped, so a chatty process cannot fill the memory.
const OUTPUT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How often the admin is asked before it counts as one that does not answer.
const ADMIN_TRIES: usize = 3;

/// Environment variables that steer mesher: a test sets those it means, the machine's are taken away.
const FOREIGN_VARIABLES: [&str; 8] = [
    "CHASSIS_HOME",
    "CHASSIS_CONF_DIR",
    "SERVICE_PORTS",
    "SPECIFIC_ADDR",
    "MESHER_SHARDS",
    "http_proxy",
    "HTTP_PROXY",
    "RUST_LOG",
];

/// A running process of the binary. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    output: Arc<Mutex<String>>,
}

/// A sidecar or gateway that runs on its own configuration.
pub(crate) struct Mesher {
    process: Process,
    conf: Conf,
}

/// How to start one.
pub(crate) struct Start {
    conf: Conf,
    command: Command,
}

impl Start {
    /// The sidecar that `conf` describes.
    pub(crate) fn new(conf: Conf) -> Self {
        let mut command = binary(conf.path());
        command.arg("--config").arg(conf.mesher_yaml());
        Self { conf, command }
    }

    /// Starts another file than the one under test, which stands or points to it, say.
    pub(crate) fn program(mut self, program: &Path) -> Self {
        let mut command = of_program(program, self.conf.path());
        command.args(self.command.get_args());
        self.command = command;
        self
    }

    /// Adds a command-line argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it and does not wait for anything.
    pub(crate) fn spawn(self) -> Mesher {
        Mesher { process: Process::spawn(self.command), conf: self.conf }
    }

    /// Starts it and waits until `/ready` of the admin says 200.
    #[track_caller]
    pub(crate) fn ready(self) -> Mesher {
        let mut mesher = self.spawn();
        let ready = look_for(PATIENCE, || {
            assert!(mesher.exited().is_none(), "mesher ended instead of getting ready:\n{}", mesher.output());
            (mesher.admin("/ready").is_some_and(|response| response.status == 200)).then_some(())
        });
        assert!(ready.is_some(), "mesher did not get ready in {PATIENCE:?}:\n{}", mesher.output());
        mesher
    }
}

impl Process {
    /// Starts the binary with arguments, in a directory.
    pub(crate) fn start(arguments: &[&str], directory: &Path) -> Self {
        let mut command = binary(directory);
        command.args(arguments);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("cannot start mesher");
        let output = Arc::<Mutex<String>>::default();
        capture(child.stdout.take().expect("stdout is piped"), &output);
        capture(child.stderr.take().expect("stderr is piped"), &output);
        Self { child, output }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far, standard output and standard error by lines.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until it has written `text` this often.
    #[track_caller]
    pub(crate) fn wait_for_outputs(&self, text: &str, times: usize) {
        wait_until(&format!("{times} times {text:?} in the output"), PATIENCE, || {
            self.output.lock().unwrap().matches(text).count() >= times
        });
    }

    /// Waits until it has written `text`.
    #[track_caller]
    pub(crate) fn wait_for_output(&self, text: &str) {
        wait_until(&format!("{text:?} in the output"), PATIENCE, || {
            self.output.lock().unwrap().contains(text)
        });
    }

    /// Memory of the process that is in RAM.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.id())).expect("it has ended");
        let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("not statm");
        pages * rustix::param::page_size() as u64
    }

    /// Memory that is the process's own: without the code, which counts once it is first run.
    pub(crate) fn anonymous_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it has ended");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("not status");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("not a number");
        kilobytes * 1024
    }

    /// CPU that its threads have used since they began, in its own code and in the kernel.
    pub(crate) fn cpu_time(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.id())).expect("it has ended");
        // A thread that ends meanwhile is none of those that carry traffic.
        let stats =
            threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
        let used = stats.map(|stat| stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()));
        let used: u64 = used.map(|ns| ns.expect("not schedstat")).sum();
        assert!(used > 0, "the kernel does not say how much CPU threads use");
        Duration::from_nanos(used)
    }

    /// Leaves it only `more` file descriptors beyond those it has.
    pub(crate) fn limit_file_descriptors(&self, more: u64) {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("it has ended").count() as u64;
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(open + more), maximum };
        prlimit(Some(self.pid()), Resource::Nofile, limit).expect("cannot limit file descriptors");
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("no process id")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("cannot signal mesher");
    }

    /// Asks it to end, as a supervisor does.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Has it ended.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("cannot ask for the exit status")
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        wait_for("mesher to end", deadline, || self.exited())
    }

    /// Ends it at once, as the kernel does.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Mesher {
    /// Its configuration, whose files a test may change.
    pub(crate) fn conf(&self) -> &Conf {
        &self.conf
    }

    /// The same, to be changed while it runs.
    pub(crate) fn conf_mut(&mut self) -> &mut Conf {
        &mut self.conf
    }

    /// A new connection as an application makes it.
    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.conf.outgoing)
    }

    /// Asks the admin; none while it does not answer.
    pub(crate) fn admin(&self, path: &str) -> Option<super::client::Response> {
        // It lets go who does not ask within a second, which may happen to a client on a busy machine.
        (0..ADMIN_TRIES).find_map(|_| {
            let mut client = Client::try_connect(self.conf.admin).ok()?;
            client
                .try_send(format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"))
                .ok()?;
            client.try_read_response_to("GET").ok()
        })
    }

    /// What `/ready?verbose` says; null while it does not answer.
    pub(crate) fn status(&self) -> serde_json::Value {
        self.admin("/ready?verbose").map_or_else(Default::default, |response| {
            serde_json::from_slice(&response.body).expect("the status is no JSON")
        })
    }

    /// The addresses it calls for a service.
    pub(crate) fn endpoints(&self, service: &str) -> Vec<SocketAddr> {
        let status = self.status();
        let listed = status["details"]["services"][service]["endpoints"].as_array().cloned();
        let read = |endpoint: &serde_json::Value| endpoint.as_str().and_then(|text| text.parse().ok());
        listed.unwrap_or_default().iter().map(|endpoint| read(endpoint).expect("no address")).collect()
    }

    /// Id under which it is registered, if it is.
    pub(crate) fn instance_id(&self) -> Option<String> {
        self.status()["details"]["registration"]["registered"].as_str().map(str::to_owned)
    }

    /// The value of a metric, given by its name and labels as they are written.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.metric_of(name, "")
    }

    /// The sum of the samples of a metric whose labels contain `labels`.
    #[track_caller]
    pub(crate) fn metric_of(&self, name: &str, labels: &str) -> u64 {
        let metrics = self.admin("/metrics").expect("the admin does not answer");
        let samples = metrics.text().lines().filter(|line| !line.starts_with('#') && line.contains(labels));
        let values = samples.filter_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let family = sample.split('{').next();
            (sample == name || family == Some(name)).then(|| value.parse::<u64>().expect("no whole number"))
        });
        let values: Vec<u64> = values.collect();
        assert!(!labels.is_empty() || !values.is_empty(), "no metric {name} in:\n{}", metrics.text());
        values.iter().sum()
    }

    /// Waits until a metric has a value.
    #[track_caller]
    pub(crate) fn wait_for_metric(&self, name: &str, value: u64) {
        wait_until(&format!("{name} to be {value}"), PATIENCE, || self.metric(name) == value);
    }

    /// Waits until so many connections to services are open.
    #[track_caller]
    pub(crate) fn wait_until_upstream_open(&self, count: u64) {
        wait_until(&format!("{count} connections to services"), PATIENCE, || {
            self.metric_of("mesher_connections", "side=\"upstream\"") == count
        });
    }

    /// Sends SIGTERM and waits; the exit code, or minus the signal that ended it.
    #[track_caller]
    pub(crate) fn stop(mut self) -> i32 {
        self.terminate();
        code(self.wait(PATIENCE))
    }
}

impl Deref for Mesher {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Mesher {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let output = self.output();
        if std::thread::panicking() {
            eprintln!("--- mesher {} wrote:\n{output}---", self.child.id());
        } else {
            // Whatever a test is about: nothing that it does may make mesher panic.
            assert!(!output.contains("panicked at"), "mesher panicked:\n{output}");
        }
    }
}

/// Exit code, or minus the signal.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| -signal)).expect("ended somehow")
}

/// Runs `mesher` with arguments to its end; exit code and output.
#[track_caller]
pub(crate) fn run(arguments: &[&str], directory: &Path) -> (i32, String) {
    run_with(arguments, directory, &[])
}

/// Runs `mesher` with arguments and environment variables to its end; exit code and output.
#[track_caller]
pub(crate) fn run_with(arguments: &[&str], directory: &Path, variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = binary(directory);
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = KillOnDrop(command.spawn().expect("cannot start mesher"));
    let output = Arc::<Mutex<String>>::default();
    let readers = [
        capture(child.0.stdout.take().expect("stdout is piped"), &output),
        capture(child.0.stderr.take().expect("stderr is piped"), &output),
    ];
    let status = wait_for("mesher to end", PATIENCE, || child.0.try_wait().expect("cannot ask"));
    for reader in readers {
        reader.join().expect("reader panicked");
    }
    let output = output.lock().unwrap().clone();
    (code(status), output)
}

/// The binary, in a directory and without the variables of the machine that steer it.
fn binary(directory: &Path) -> Command {
    of_program(Path::new(env!("CARGO_BIN_EXE_mesher")), directory)
}

fn of_program(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    for name in FOREIGN_VARIABLES {
        command.env_remove(name);
    }
    command.current_dir(directory);
    command
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Collects lines of a stream until it ends.
fn capture(stream: impl Read + Send + 'static, output: &Arc<Mutex<String>>) -> std::thread::JoinHandle<()> {
    let output = output.clone();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let mut output = output.lock().unwrap();
            if output.len() < OUTPUT_BYTES_MAX {
                output.push_str(&String::from_utf8_lossy(&line));
            }
            line.clear();
        }
    })
}
