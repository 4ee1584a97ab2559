//! The machine: its CPUs, its limits, how busy it is.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// Which CPUs do what.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cpus {
    /// For the proxy that is being measured; the others sleep.
    pub(crate) proxy: Vec<usize>,
    /// For the origin and the load.
    pub(crate) load: Vec<usize>,
    /// There are too few: load and proxy share some, and figures say little.
    pub(crate) shared: bool,
}

/// Deals out the CPUs this process may use: the first to the proxy, those after them to the load.
pub(crate) fn cpus(proxy: usize, load: usize) -> io::Result<Cpus> {
    let allowed = sched_getaffinity(None)?;
    let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let taken = proxy.min(all.len());
    let rest = &all[taken..];
    let last = &all[all.len() - 1..];
    Ok(Cpus {
        proxy: all[..taken].to_vec(),
        load: if rest.is_empty() { last } else { &rest[..load.min(rest.len())] }.to_vec(),
        shared: rest.is_empty() || taken < proxy,
    })
}

/// Keeps the calling thread, and what it starts from now on, on `cpus`.
pub(crate) fn pin(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Raises the limit on open files to `files`, or as far as it goes, and returns it. What is started later inherits it.
pub(crate) fn raise_open_files(files: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= files);
    if !enough(now.current) {
        let maximum = if enough(now.maximum) { now.maximum } else { Some(files) };
        let whole = Rlimit { current: Some(files), maximum };
        // Only root may raise the hard limit.
        let _ = setrlimit(Resource::Nofile, whole)
            .or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum }));
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Average number of runnable tasks in the last minute, this bench included.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// Kernel and processor, for the report.
pub(crate) fn description() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    format!("Linux {}, {model}, {}", release.trim(), std::env::consts::ARCH)
}

/// Waits a moment for what other processes do; no condition here could be waited on.
#[allow(clippy::disallowed_methods)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
