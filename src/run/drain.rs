//! The orderly end of a node.
//!
//! ```text
//!   signal   deregistered            grace over                      last request done, or time-out
//!     |           |                      |                               |
//!     +-----------+----------------------+-------------------------------+--> ended
//!       unready     `Connection: close`    no new connection               cut
//! ```

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
        let deadline = begun + settings.timeout;
        info!(grace = ?settings.grace, timeout = ?settings.timeout, "draining");
        self.control.status().set_draining();
        if let Err(why) = self.control.withdraw(WITHDRAW_TIMEOUT.min(settings.timeout)) {
            warn!(why, "still registered; callers learn of the end when the registry notices");
        }
        self.tell_all(Command::Drain(Phase::Announcing));
        let mut interrupted = waits_until(begun + settings.grace, signals);
        // The kernel goes on taking connections for as long as anybody holds the socket.
        self.sockets.traffic.clear();
        self.tell_all(Command::Drain(Phase::Closing));
        while !interrupted && !self.all_ended() && Instant::now() < deadline {
            interrupted = self.await_end(deadline, signals);
        }
        let outcome = if self.all_ended() { Drained::Clean } else { Drained::Cut };
        if outcome == Drained::Cut {
            warn!(open = self.open_connections(), "cutting the connections that are still open");
        }
        self.tell_all(Command::Cut);
        self.stop();
        info!(took = ?begun.elapsed(), "drained");
        outcome
    }

    /// Waits until a shard has ended, the deadline, or an interrupt; true for the last.
    fn await_end(&mut self, deadline: Instant, signals: &flume::Receiver<Signal>) -> bool {
        let mut interrupted = false;
        let event = flume::Selector::new()
            .recv(&self.ended, Result::ok)
            .recv(signals, |signal| {
                interrupted = signal == Ok(Signal::Interrupt);
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
    while let Ok(signal) = signals.recv_deadline(deadline) {
        if signal == Signal::Interrupt {
            return true;
        }
    }
    // A closed channel ends the wait early; nobody is left to send a signal then.
    false
}
