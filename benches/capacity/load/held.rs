//! Idle connections held open beside a load, or to see what memory they take.

use std::net::SocketAddr;

use super::client::{Client, PATIENCE, Progress};
use super::dialer::{Dialer, ask};
use super::spec::{Load, Pattern};

/// Connections that have each carried one request and now keep silent, as those of a pool do.
#[derive(Default)]
pub(crate) struct Held {
    connections: Vec<Box<dyn Client>>,
}

impl Held {
    /// Opens more until there are `count`.
    pub(crate) fn grow(&mut self, address: SocketAddr, count: usize) -> Result<(), String> {
        let dialer = Dialer::new(address, &Load::http1("held".to_owned(), Pattern::Closed, count, 0))?;
        while self.connections.len() < count {
            self.connections.push(ask(&dialer, PATIENCE)?);
        }
        Ok(())
    }

    /// Fails if the proxy closed any of them, or sent something.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        let count = self.connections.len();
        let mut scratch = [0; 1];
        let open = self
            .connections
            .iter_mut()
            .filter_map(|connection| connection.receive(&mut scratch, &mut Vec::new()).ok())
            .filter(|progress| *progress == Progress::Open)
            .count();
        if open == count {
            Ok(())
        } else {
            Err(format!("{} of {count} idle connections were closed", count - open))
        }
    }
}
