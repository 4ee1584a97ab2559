//! What the generator knows of a connection, whatever is spoken on it.

use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long an answer may take before the measurement is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What reading brought, beside answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The connection goes on.
    Open,
    /// The peer closed, with no answer under way.
    Closed,
}

/// A connection that never blocks.
pub(crate) trait Client {
    /// The socket, for epoll.
    fn socket(&self) -> &TcpStream;

    /// Requests that may be outstanding at once.
    fn streams(&self) -> usize;

    /// Prepares a request whose latency counts from `since`; it leaves with the next [`Client::flush`].
    fn ask(&mut self, since: Instant) -> Result<(), String>;

    /// Sends what is prepared.
    fn flush(&mut self) -> Result<(), String>;

    /// Reads once, and adds for each answer that is complete the time from which its latency counts.
    fn receive(&mut self, scratch: &mut [u8], answered: &mut Vec<Instant>) -> Result<Progress, String>;
}
