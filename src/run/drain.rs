//! The orderly end of a node.
//!
//! ```text
//!   signal   deregistered            grace over                      last request done, or time-out
//!     |           |                      |                               |
//!     +-----------+----------------------+-------------------------------+--> ended
//!       unready     `Connection: close`    no new connection               cut
//! ```
//!
//! After an upgrade nothing is deregistered and no connection accepted from the start: the other process does both.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::node::Node;
use super::settings::DrainSettings;
use super::signals::Signal;
use crate::proxy::Phase;
use crate::shard::Command;

/// For the registry to take us out; after that it has to notice by itself.
const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(5);
/// Whoever presses ctrl-c looks on: all in all, this long.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(5);
/// And of that for peers to learn of it.
const INTERRUPT_GRACE: Duration = Duration::from_secs(1);

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    Clean,
    /// Connections were cut at the time-out, or by a second signal.
    Cut,
}

/// Another process serves.
#[derive(Debug)]
pub struct HandedOver {
    /// Its process id.
    pub(super) pid: u32,
    /// Our instance in the registry is its own.
    pub(super) keeps_instance: bool,
}

impl DrainSettings {
    /// As configured for TERM, short for INT.
    #[must_use]
    pub fn for_signal(self, signal: Signal) -> Self {
        match signal {
            Signal::Interrupt => {
                Self { grace: self.grace.min(INTERRUPT_GRACE), timeout: self.timeout.min(INTERRUPT_TIMEOUT) }
            }
            _ => self,
        }
    }
}

impl Node {
    /// Ends the node in order. An interrupt among `signals` ends it at once.
    pub fn drain(mut self, settings: DrainSettings, signals: &flume::Receiver<Signal>) -> Drained {
        let begun = Instant::now();
        info!(grace = ?settings.grace, timeout = ?settings.timeout, "draining");
        // It may have our instance.
        self.successor = None;
        self.control.status().set_draining();
        let interrupted = self.withdraw(settings, begun, signals);
        self.end(settings, begun, interrupted, signals)
    }

    /// Ends the node in order, since another process serves now. An interrupt among `signals` ends it at once.
    pub fn retire(self, handed_over: HandedOver, signals: &flume::Receiver<Signal>) -> Drained {
        let begun = Instant::now();
        let HandedOver { pid, keeps_instance } = handed_over;
        let settings = self.settings.drain;
        info!(pid, keeps_instance, grace = ?settings.grace, timeout = ?settings.timeout, "upgraded; draining");
        // From here on new connections are the other's.
        self.tell_all(|| Command::Unlisten);
        let interrupted = if keeps_instance {
            self.control.release();
            false
        } else {
            self.withdraw(settings, begun, signals)
        };
        self.end(settings, begun, interrupted, signals)
    }

    fn end(
        mut self,
        settings: DrainSettings,
        begun: Instant,
        mut interrupted: bool,
        signals: &flume::Receiver<Signal>,
    ) -> Drained {
        let deadline = begun + settings.timeout;
        self.tell_all(|| Command::Drain(Phase::Announcing));
        // The grace is for peers, who can know from now on.
        let grace_end = deadline.min(Instant::now() + settings.grace);
        interrupted = interrupted || waits_until(grace_end, signals);
        // The kernel goes on taking connections for as long as anybody holds the socket.
        self.sockets.traffic.clear();
        self.tell_all(|| Command::Drain(Phase::Closing));
        while !interrupted && !self.all_ended() && Instant::now() < deadline {
            interrupted = self.await_end(deadline, signals);
        }
        let nothing_open = self.all_ended() || self.open_connections() == 0;
        let outcome = if nothing_open { Drained::Clean } else { Drained::Cut };
        if outcome == Drained::Cut {
            warn!(open = self.open_connections(), "cutting the connections that are still open");
        }
        self.tell_all(|| Command::Cut);
        self.stop();
        info!(took = ?begun.elapsed(), "drained");
        outcome
    }

    /// Takes our own instance out of the registry; true if interrupted.
    fn withdraw(&self, settings: DrainSettings, begun: Instant, signals: &flume::Receiver<Signal>) -> bool {
        let deadline = begun + settings.timeout.min(WITHDRAW_TIMEOUT);
        let withdrawal = self.control.withdraw();
        let mut interrupted = false;
        let outcome = loop {
            let event = flume::Selector::new()
                .recv(&withdrawal, Some)
                .recv(signals, |signal| {
                    interrupted = is_interrupt(signal);
                    None
                })
                .wait_deadline(deadline);
            match event {
                Ok(Some(Ok(outcome))) => break outcome,
                Ok(Some(Err(_))) => break Err("the control plane has stopped".to_owned()),
                Ok(None) if interrupted => break Err("interrupted".to_owned()),
                Ok(None) => {}
                Err(_) => break Err("the registry has not answered in time".to_owned()),
            }
        };
        if let Err(why) = outcome {
            warn!(why, "still registered; callers learn of the end when the registry notices");
        }
        interrupted
    }

    /// Waits until a shard has ended, the deadline, or an interrupt; true for the last.
    fn await_end(&mut self, deadline: Instant, signals: &flume::Receiver<Signal>) -> bool {
        let mut interrupted = false;
        let event = flume::Selector::new()
            .recv(&self.ended, Result::ok)
            .recv(signals, |signal| {
                interrupted = is_interrupt(signal);
                None
            })
            .wait_deadline(deadline);
        if let Ok(Some(index)) = event {
            self.join_shard(index);
        }
        interrupted
    }
}

/// Waits; true if interrupted.
fn waits_until(deadline: Instant, signals: &flume::Receiver<Signal>) -> bool {
    loop {
        match signals.recv_deadline(deadline) {
            Err(flume::RecvTimeoutError::Timeout) => return false,
            Ok(Signal::User2) => warn!("this process is ending and starts no other; this signal is ignored"),
            Ok(signal) if !is_interrupt(Ok(signal)) => {}
            _ => return true,
        }
    }
}

/// Says that it is to end at once; so does the end of the signals, since nobody is left to say it.
fn is_interrupt(signal: Result<Signal, flume::RecvError>) -> bool {
    matches!(signal, Ok(Signal::Interrupt) | Err(_))
}
