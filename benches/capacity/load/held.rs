//! Idle connections held open beside a load, or to see what memory they take.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};

use super::client::{Connection, PATIENCE, Progress, request};

/// Connections that have each carried one request and now keep silent, as those of a pool do.
#[derive(Default)]
pub(crate) struct Held {
    connections: Vec<Connection>,
}

impl Held {
    /// Opens more until there are `count`.
    pub(crate) fn grow(&mut self, address: SocketAddr, count: usize) -> Result<(), String> {
        let request = request(0, false);
        let mut scratch = vec![0; 4096];
        while self.connections.len() < count {
            let mut connection = Connection::open(address, 0)?;
            connection.send(&request, Instant::now())?;
            while connection.receive(&mut scratch)? != Progress::Complete {
                readable(connection.socket())?;
            }
            self.connections.push(connection);
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
            .filter_map(|connection| connection.receive(&mut scratch).ok())
            .filter(|progress| *progress == Progress::Pending)
            .count();
        if open == count {
            Ok(())
        } else {
            Err(format!("{} of {count} idle connections were closed", count - open))
        }
    }
}

fn readable(socket: &TcpStream) -> Result<(), String> {
    let timeout = rustix::event::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)) {
        Ok(0) => Err(format!("no answer within {PATIENCE:?}")),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(format!("poll: {error}")),
    }
}
