//! A mesher that has itself replaced, process after process.

use std::net::SocketAddr;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, waitpid};

use super::super::support::conf::Conf;
use super::super::support::process::{Mesher, Start, code};
use super::super::support::wait::{PATIENCE, wait_for};

/// A mesher and its successors.
pub(super) struct Dynasty {
    pub(super) founder: Mesher,
    /// The processes that came after, the one that serves last.
    pub(super) heirs: Vec<Pid>,
}

impl Dynasty {
    pub(super) fn found(start: Start) -> Self {
        // Who loses its parent becomes ours, so that its end can be seen.
        set_child_subreaper(Pid::from_raw(1)).unwrap();
        Self { founder: start.ready(), heirs: Vec::new() }
    }

    /// A sidecar that drains quickly.
    pub(super) fn sidecar(driver: &str, services: &[(&str, &[SocketAddr])]) -> Self {
        Self::found(Start::new(
            quick(Conf::sidecar("caller")).set("mesher.yaml", "net.driver", driver).services(services),
        ))
    }

    fn reigning(&self) -> Pid {
        let founder = i32::try_from(self.founder.id()).ok().and_then(Pid::from_raw).unwrap();
        self.heirs.last().copied().unwrap_or(founder)
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(self.reigning(), signal).unwrap();
    }

    /// Has the next process take over and returns when it serves.
    #[track_caller]
    pub(super) fn succeed(&mut self) {
        self.signal(Signal::USR2);
        wait_for("the new process to serve", PATIENCE, || {
            let output = self.founder.output();
            assert!(!output.contains("upgrade failed"), "{output}");
            self.crown_next()
        });
    }

    /// From now on the process reigns that began to serve after the present one; nothing if there is none.
    pub(super) fn crown_next(&mut self) -> Option<()> {
        let output = self.founder.output();
        let line = output.lines().filter(|line| line.contains("mesher runs")).nth(self.heirs.len() + 1)?;
        self.heirs.push(field(line, "pid="));
        Some(())
    }

    /// Waits until all but the reigning process have ended; their exit codes.
    #[track_caller]
    pub(super) fn buried(&mut self) -> Vec<i32> {
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
pub(super) fn field(line: &str, name: &str) -> Pid {
    let (_, rest) = line.split_once(name).unwrap();
    rest.split_whitespace().next().unwrap().parse().ok().and_then(Pid::from_raw).unwrap()
}

fn exit_code(pid: Pid) -> Option<i32> {
    // Not ours as long as its parent lives.
    let (_, status) = waitpid(Some(pid), WaitOptions::NOHANG).ok()??;
    Some(status.exit_status().unwrap_or(-1))
}

pub(super) fn quick(conf: Conf) -> Conf {
    conf.set("mesher.yaml", "mesher.drain.graceSeconds", "1s")
        .set("mesher.yaml", "mesher.drain.timeoutSeconds", "20s")
        .set("lager.yaml", "logLevel", "INFO")
}
