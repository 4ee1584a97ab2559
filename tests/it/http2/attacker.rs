//! A client that keeps to no rule, or a service that does not: it sends whatever it is given, as fast as the peer takes
//! it, and notes what the peer says. It acknowledges nothing.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::support::wait::{PATIENCE, wait_for, wait_until};
use super::frame::{self, Frame, PREFACE, flag, kind, setting};
use super::hpack;
use super::line::{Door, Line};

/// Bytes that are sent in one call.
const BATCH_BYTES: usize = 16 * 1024;
/// How long a peer may take no byte until it counts as one that has stopped reading.
const BLOCKED_AFTER: Duration = Duration::from_secs(1);
/// What the kernel keeps for one that does not read.
const STALLED_BUFFER_BYTES: usize = 16 * 1024;

/// One connection. Dropping it closes it.
pub(crate) struct Attacker {
    line: Line,
    said: Arc<Mutex<Said>>,
    pings: AtomicU64,
}

/// What the peer has said so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// The streams on which heads came.
    pub(crate) heads: Vec<u32>,
    /// How much came of bodies.
    pub(crate) data_bytes: usize,
    /// How often each status was answered.
    pub(crate) statuses: BTreeMap<u16, usize>,
    /// How often streams were reset with each code.
    pub(crate) resets: BTreeMap<u32, usize>,
    /// The code of its GOAWAY.
    pub(crate) goaway: Option<u32>,
    /// Whether it has closed the connection.
    pub(crate) ended: bool,
    pong: u64,
}

/// How a flood ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flood {
    /// Everything was taken.
    Taken,
    /// The peer stopped reading.
    Blocked,
    /// The peer closed the connection.
    Cut,
}

impl Attacker {
    /// Connects and sends the preface.
    #[track_caller]
    pub(crate) fn connect(to: impl Into<Door>) -> Self {
        let attacker = Self::silent(to);
        attacker.send(PREFACE);
        attacker.send(Frame::settings(&[(setting::HEADER_TABLE_SIZE, 0)]).bytes());
        attacker
    }

    /// Connects and sends nothing.
    #[track_caller]
    pub(crate) fn silent(to: impl Into<Door>) -> Self {
        let attacker = Self::open(&to.into(), PATIENCE);
        attacker.listen(0);
        attacker
    }

    /// A connection that somebody has made. It says nothing yet.
    #[track_caller]
    pub(crate) fn accepted(socket: TcpStream) -> Self {
        let attacker = Self::on(Line::plain(socket), PATIENCE);
        attacker.listen(PREFACE.len());
        attacker
    }

    /// The same, and nothing is ever read.
    #[track_caller]
    pub(crate) fn deaf(socket: TcpStream) -> Self {
        Self::on(Line::plain(socket), BLOCKED_AFTER).stop_reading()
    }

    #[track_caller]
    fn stop_reading(self) -> Self {
        rustix::net::sockopt::set_socket_recv_buffer_size(&self.line.socket, STALLED_BUFFER_BYTES)
            .expect("not a TCP connection");
        self
    }

    /// Notes what comes behind so many bytes.
    fn listen(&self, skipped: usize) {
        let (mut line, said) = (self.line.another(), self.said.clone());
        std::thread::spawn(move || {
            if line.read_exact(&mut vec![0; skipped]).is_ok() {
                while let Ok(Some(frame)) = frame::read(&mut line) {
                    said.lock().unwrap().note(&frame);
                }
            }
            said.lock().unwrap().ended = true;
        });
    }

    /// Connects, sends the preface and never reads.
    #[track_caller]
    pub(crate) fn stalled(to: impl Into<Door>) -> Self {
        let attacker = Self::open(&to.into(), BLOCKED_AFTER).stop_reading();
        attacker.send(PREFACE);
        attacker.send(Frame::settings(&[]).bytes());
        attacker
    }

    #[track_caller]
    fn open(to: &Door, blocked_after: Duration) -> Self {
        Self::on(to.open(), blocked_after)
    }

    #[track_caller]
    fn on(line: Line, blocked_after: Duration) -> Self {
        line.socket.set_write_timeout(Some(blocked_after)).expect("not a TCP connection");
        Self { line, said: Arc::default(), pings: AtomicU64::new(0) }
    }

    /// Sends bytes as they are. Whether the peer took them shows in what it says.
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        let _ = (&self.line).write_all(bytes.as_ref());
    }

    /// Sends one after the other, many in one call, until the peer does not take them.
    pub(crate) fn flood(&self, pieces: impl IntoIterator<Item = Vec<u8>>) -> Flood {
        let mut batch = Vec::with_capacity(2 * BATCH_BYTES);
        for piece in pieces {
            batch.extend(piece);
            if batch.len() >= BATCH_BYTES {
                match self.push(&batch) {
                    Flood::Taken => batch.clear(),
                    stopped => return stopped,
                }
            }
        }
        self.push(&batch)
    }

    fn push(&self, bytes: &[u8]) -> Flood {
        match (&self.line).write_all(bytes) {
            Ok(()) => Flood::Taken,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Flood::Blocked,
            Err(_) => Flood::Cut,
        }
    }

    /// What the peer has said so far.
    pub(crate) fn said(&self) -> Said {
        self.said.lock().unwrap().clone()
    }

    /// Waits until the peer has worked through all that was sent: it answers a ping, or ends the connection. False
    /// when it ends it.
    #[track_caller]
    pub(crate) fn catch_up(&self) -> bool {
        let number = self.pings.fetch_add(1, Ordering::SeqCst) + 1;
        self.send(Frame::ping(number).bytes());
        wait_for("an answer to a ping, or the end of the connection", PATIENCE, || {
            let said = self.said();
            match said.ended {
                true => Some(false),
                // Who says goodbye has to leave.
                false => (said.pong >= number && said.goaway.is_none()).then_some(true),
            }
        })
    }

    /// What the peer has said once it has worked through everything.
    #[track_caller]
    pub(crate) fn settle(&self) -> Said {
        self.catch_up();
        self.said()
    }

    /// The stream of the next request, the `number`th on the connection from 0; none if the peer has ended it.
    #[track_caller]
    pub(crate) fn request(&self, number: usize) -> Option<u32> {
        wait_for("a request, or the end of the connection", PATIENCE, || {
            let said = self.said();
            let stream = said.heads.get(number).copied();
            (stream.is_some() || said.ended).then_some(stream)
        })
    }

    /// What the peer has said once it has ended the connection.
    #[track_caller]
    pub(crate) fn wait_for_end(&self) -> Said {
        wait_until("the peer to end the connection", PATIENCE, || self.said().ended);
        self.said()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // The thread that reads has a handle too.
        let _ = self.line.socket.shutdown(Shutdown::Both);
    }
}

impl Said {
    /// The connection goes on.
    pub(crate) fn goes_on(&self) -> bool {
        self.goaway.is_none() && !self.ended
    }

    /// How many streams were answered or reset.
    pub(crate) fn streams(&self) -> usize {
        self.statuses.values().sum::<usize>() + self.resets.values().sum::<usize>()
    }

    fn note(&mut self, frame: &Frame) {
        match frame.kind {
            kind::HEADERS => {
                self.heads.push(frame.stream);
                if let Some(status) = hpack::status(&frame.payload) {
                    *self.statuses.entry(status).or_default() += 1;
                }
            }
            kind::DATA => self.data_bytes += frame.payload.len(),
            kind::RST_STREAM => *self.resets.entry(frame.number_at(0)).or_default() += 1,
            // The first may only announce that the connection is going to end.
            kind::GOAWAY => self.goaway = Some(frame.number_at(4)),
            kind::PING if frame.has(flag::ACK) => {
                let number = frame.payload[..].try_into().map_or(0, u64::from_be_bytes);
                self.pong = self.pong.max(number);
            }
            _ => {}
        }
    }
}
