//! Exit codes; scripts and service managers may rely on them.

use std::process::ExitCode;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or drained in order.
    Ok = 0,
    /// Something failed at run time.
    Failed = 1,
    /// The command line or the configuration is wrong; clap uses the same code.
    Usage = 2,
    /// The machine does not offer what was demanded (io_uring, say).
    Environment = 3,
    /// An address could not be bound.
    Bind = 4,
    /// The drain time-out came before the last request had ended.
    DrainTimeout = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
