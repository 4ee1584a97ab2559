//! Signals of the operating system, as a channel.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle, Signals as Iterator};

/// What mesher reacts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// TERM: drain and end.
    Terminate,
    /// INT, ctrl-c: drain and end; a second one ends at once.
    Interrupt,
    /// HUP: read the configuration again, and reopen the log file.
    HangUp,
    /// USR1: reopen the log file.
    User1,
    /// USR2: hand everything over to a new process.
    User2,
}

/// Signals that may wait to be read.
const WAITING_MAX: usize = 16;

/// Delivers signals until dropped.
#[derive(Debug)]
pub struct Signals {
    handle: Handle,
    received: flume::Receiver<Signal>,
}

impl Signals {
    /// From now on these signals come here instead of ending the process.
    ///
    /// # Errors
    /// If the handlers or their thread cannot be made.
    pub fn catch() -> io::Result<Self> {
        let mut signals = Iterator::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
        let handle = signals.handle();
        let (sender, received) = flume::bounded(WAITING_MAX);
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for number in signals.forever() {
                let signal = match number {
                    SIGTERM => Signal::Terminate,
                    SIGINT => Signal::Interrupt,
                    SIGHUP => Signal::HangUp,
                    SIGUSR2 => Signal::User2,
                    _ => Signal::User1,
                };
                // Full: the process is stuck or ending, and more signals would not change that.
                let _ = sender.try_send(signal);
            }
        })?;
        Ok(Self { handle, received })
    }

    /// Where they arrive.
    #[must_use]
    pub fn receiver(&self) -> &flume::Receiver<Signal> {
        &self.received
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}
