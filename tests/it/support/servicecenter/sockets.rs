//! WebSocket connections of the core: watchers and heartbeats, their pings and their ends.

use std::collections::{BTreeMap, VecDeque};

use super::frame::Frame;

/// A watcher silent for this long is cut off.
const SILENT_MAX_MS: u64 = 120_000;
/// Messages of a watcher may have this many bytes.
const MESSAGE_BYTES_MAX: usize = 64;
/// Close code of a message too big (RFC 6455, section 7.4.1).
const TOO_BIG: u16 = 1009;
/// Close code of a heartbeat for an instance that is gone.
const INSTANCE_GONE: u16 = 4001;

/// Which connection.
pub(crate) type SocketId = u64;

/// What a connection is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// A frame.
    Frame(Frame),
    /// The end of the TCP connection.
    End,
}

/// What a connection is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Events for this consumer: tenant and service id.
    Watch(String, String),
    /// Heartbeats of this instance: tenant, service id, instance id.
    Heartbeat(String, String, String),
}

/// The connections.
#[derive(Default)]
pub(super) struct Sockets {
    opened: u64,
    open: BTreeMap<SocketId, Socket>,
}

pub(super) struct Socket {
    /// The node it is connected to.
    pub(super) node: usize,
    pub(super) purpose: Purpose,
    ping_ms: u64,
    ping_every_ms: u64,
    pings: bool,
    /// When it is cut off for being silent.
    silent_ms: Option<u64>,
    /// When the server's shutdown takes it along.
    shutdown_ms: Option<u64>,
    output: VecDeque<Output>,
    ended: bool,
}

impl Sockets {
    /// Opens a connection.
    pub(super) fn open(
        &mut self,
        node: usize,
        purpose: Purpose,
        ping_every_ms: u64,
        now_ms: u64,
    ) -> SocketId {
        self.opened += 1;
        let watches = matches!(purpose, Purpose::Watch(..));
        let socket = Socket {
            node,
            purpose,
            ping_ms: now_ms + ping_every_ms,
            ping_every_ms,
            pings: true,
            silent_ms: watches.then_some(now_ms + SILENT_MAX_MS),
            shutdown_ms: None,
            output: VecDeque::new(),
            ended: false,
        };
        self.open.insert(self.opened, socket);
        self.opened
    }

    /// One connection.
    pub(super) fn socket(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.open.get_mut(&id).filter(|socket| !socket.ended)
    }

    /// Sends a text to every watcher of a consumer at this node.
    pub(super) fn publish(&mut self, node: usize, tenant: &str, consumer: &str, text: &str) {
        let watches =
            |purpose: &Purpose| matches!(purpose, Purpose::Watch(t, c) if t == tenant && c == consumer);
        for socket in self.open.values_mut().filter(|s| s.node == node && watches(&s.purpose)) {
            socket.send(Frame::Text(text.to_owned()));
        }
    }

    /// Takes what a connection is to send; forgets it once it has ended.
    pub(super) fn drain(&mut self, id: SocketId) -> Vec<Output> {
        let Some(socket) = self.open.get_mut(&id) else { return vec![Output::End] };
        let output = socket.output.drain(..).collect();
        if socket.ended {
            self.open.remove(&id);
        }
        output
    }

    /// Ends every connection to this node at `at_ms`.
    pub(super) fn end_all_at(&mut self, node: usize, at_ms: u64) {
        for socket in self.open.values_mut().filter(|socket| socket.node == node) {
            socket.shutdown_ms = Some(at_ms);
        }
    }

    /// When something is to be done.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let open = self.open.values().filter(|socket| !socket.ended);
        open.flat_map(|s| [s.pings.then_some(s.ping_ms), s.silent_ms, s.shutdown_ms]).flatten().min()
    }

    /// Does what is due. `exists` tells whether a watcher's service is still there: it gets no pings without.
    pub(super) fn run(&mut self, now_ms: u64, exists: impl Fn(&str, &str) -> bool) {
        for socket in self.open.values_mut().filter(|socket| !socket.ended) {
            let is_over = |at: Option<u64>| at.is_some_and(|at| at <= now_ms);
            if is_over(socket.silent_ms) || is_over(socket.shutdown_ms) {
                socket.end();
            } else if socket.pings && socket.ping_ms <= now_ms {
                socket.ping_ms += socket.ping_every_ms;
                socket.pings = !matches!(&socket.purpose, Purpose::Watch(tenant, id) if !exists(tenant, id));
                if socket.pings {
                    socket.send(Frame::Ping(Vec::new()));
                }
            }
        }
    }
}

impl Socket {
    /// Takes a frame of the client; true when it is a heartbeat to be carried out.
    pub(super) fn receive(&mut self, frame: &Frame, now_ms: u64) -> bool {
        let watches = matches!(self.purpose, Purpose::Watch(..));
        match frame {
            Frame::Ping(_) if watches => {
                self.pings = false;
                self.silent_ms = Some(now_ms + SILENT_MAX_MS);
                self.send(Frame::Pong(Vec::new()));
            }
            Frame::Ping(payload) => self.send(Frame::Pong(payload.clone())),
            Frame::Pong(_) => self.silent_ms = Some(now_ms + SILENT_MAX_MS),
            Frame::Close(_) => {
                self.send(frame.clone());
                self.end();
            }
            Frame::Text(_) | Frame::Binary(_) if watches && frame.payload_len() > MESSAGE_BYTES_MAX => {
                self.send(Frame::Close(Some((TOO_BIG, String::new()))));
                self.end();
            }
            Frame::Text(_) | Frame::Binary(_) => {}
        }
        !watches && matches!(frame, Frame::Pong(_))
    }

    /// Says that the instance of a heartbeat is gone, and ends.
    pub(super) fn end_for_lost_instance(&mut self) {
        let reason = "heartbeat reporting failed because the instance does not exist";
        self.send(Frame::Close(Some((INSTANCE_GONE, reason.into()))));
        self.end();
    }

    pub(super) fn send(&mut self, frame: Frame) {
        if !self.ended {
            self.output.push_back(Output::Frame(frame));
        }
    }

    pub(super) fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.output.push_back(Output::End);
        }
    }
}
