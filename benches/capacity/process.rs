//! A proxy's processes: started pinned, watched through /proc, gone when the bench is.

use std::ffi::OsString;
use std::fs::{self, File};
use std::ops::Sub;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, set_parent_process_death_signal,
    waitpid,
};

use crate::machine;

/// First argument that makes this program pin itself and become another one.
const LAUNCH: &str = "launch-pinned";

/// Pins the calling process, ties its life to its parent's and becomes the program named, if the arguments say so.
///
/// The bench starts every proxy through itself: whatever becomes of the bench, even SIGKILL, the proxy is told to end.
pub(crate) fn launch(arguments: &[OsString]) -> Option<String> {
    let [_, word, cpus, program, rest @ ..] = arguments else { return None };
    if word != LAUNCH {
        return None;
    }
    let cpus: Vec<usize> = cpus.to_string_lossy().split(',').filter_map(|cpu| cpu.parse().ok()).collect();
    let ready = machine::pin(&cpus).and_then(|()| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
    let error = match ready {
        Ok(()) => Command::new(program).args(rest).exec(),
        Err(error) => error,
    };
    Some(format!("cannot start {}: {error}", program.display()))
}

/// Makes this process the parent of its grandchildren when their parent ends, so that it can wait for them too.
pub(crate) fn adopt_orphans() {
    // Where it fails they are killed all the same, and init waits for them.
    let _ = set_child_subreaper(Some(getpid()));
}

/// A program and its children. Dropped, all are killed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` on `cpus`; what it prints goes to a file in `dir`.
    pub(crate) fn start(
        program: &Path,
        arguments: &[OsString],
        cpus: &[usize],
        dir: &Path,
    ) -> Result<Self, String> {
        let log = dir.join("log");
        let file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let list: Vec<String> = cpus.iter().map(usize::to_string).collect();
        let child = std::env::current_exe()
            .and_then(|own| {
                Command::new(own)
                    .arg(LAUNCH)
                    .arg(list.join(","))
                    .arg(program)
                    .args(arguments)
                    .stdin(Stdio::null())
                    .stdout(file.try_clone()?)
                    .stderr(file)
                    .spawn()
            })
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        Ok(Self { child, log })
    }

    /// An error once the program has ended, with the end of what it printed.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("ended with {status}\n{}", self.printed())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The last lines it printed.
    pub(crate) fn printed(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// What it and its children have used since they started.
    pub(crate) fn usage(&self) -> Result<Usage, String> {
        let mut usage = Usage::default();
        for pid in self.pids() {
            let tasks = fs::read_dir(format!("/proc/{pid}/task"))
                .map_err(|error| format!("process {pid}: {error}"))?;
            for task in tasks.flatten() {
                let (cpu_ns, waited_ns) = times_ns(&task.path()).unwrap_or((0, 0));
                usage.cpu_ns += cpu_ns;
                usage.waited_ns += waited_ns;
                usage.switches += field(&task.path().join("status"), "voluntary_ctxt_switches:").unwrap_or(0);
            }
        }
        Ok(usage)
    }

    /// Resident memory of it and its children in bytes; pages they share count once for each.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let bytes =
            |pid| field(Path::new(&format!("/proc/{pid}/smaps_rollup")), "Rss:").map(|kib| kib * 1024);
        self.pids().into_iter().filter_map(bytes).sum()
    }

    /// Its process id and those of its children.
    fn pids(&self) -> Vec<u32> {
        let parent = self.child.id();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_child = |pid: &u32| {
            let status = PathBuf::from(format!("/proc/{pid}/status"));
            field(&status, "PPid:") == Some(u64::from(parent))
        };
        std::iter::once(parent).chain(numbers.filter(is_child)).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pids = self.pids();
        // The parent first, so that it starts no new child.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in pids[1..].iter().filter_map(|pid| Pid::from_raw(*pid as i32)) {
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

/// What a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Nanoseconds on a CPU.
    pub(crate) cpu_ns: u64,
    /// Nanoseconds ready to run while something else had the CPU.
    pub(crate) waited_ns: u64,
    /// Times a thread went to sleep.
    pub(crate) switches: u64,
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            waited_ns: self.waited_ns.saturating_sub(earlier.waited_ns),
            switches: self.switches.saturating_sub(earlier.switches),
        }
    }
}

/// On a CPU and waiting for one: the first two numbers of the task's schedstat.
fn times_ns(task: &Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    let mut numbers = text.split(' ').map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// The number after `name` at the start of a line.
fn field(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}
