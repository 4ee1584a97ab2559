//! A scripted HTTP/1.1 service behind mesher.
//!
//! The script sees each request, bytes included, and says what to answer as a list of steps: send these bytes, wait
//! at this gate, send what comes out of this channel, close. Time passes only at gates and channels, which the test
//! opens: nothing sleeps.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex};

use super::server::{Server, reset_at_end};
use super::wait::PATIENCE;
use super::wire::{Request, read_request};

/// Requests remembered; a load beyond it is counted, not kept.
const REMEMBERED_MAX: usize = 10_000;

/// The service. Dropping it closes the listener and every connection.
pub(crate) struct Origin {
    server: Server,
    record: Arc<Record>,
}

/// A request as the origin saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The request.
    pub(crate) request: Request,
    /// Which connection it came on, from 0.
    pub(crate) connection: u64,
    /// How many came on it before.
    pub(crate) before: usize,
    /// Who connected.
    pub(crate) peer: SocketAddr,
}

/// What to do about a request, in order; the connection stays open unless a step closes it.
#[derive(Default)]
pub(crate) struct Reply {
    steps: Vec<Step>,
}

enum Step {
    Send(Vec<u8>),
    Wait(Gate),
    Stream(Receiver<Vec<u8>>),
    Close,
    Reset,
}

/// Holds an answer back until the test opens it. Clones are the same gate.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    state: Arc<(Mutex<GateState>, Condvar)>,
}

#[derive(Default)]
struct GateState {
    waiting: usize,
    open: bool,
}

#[derive(Default)]
struct Record {
    requests: Mutex<(usize, Vec<Seen>)>,
}

impl Origin {
    /// Starts on 127.0.0.1 with a script.
    pub(crate) fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), script)
    }

    /// Starts at an address, port 0 for any.
    pub(crate) fn start_at(at: SocketAddr, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let record = Arc::<Record>::default();
        let shared = record.clone();
        let server = Server::start(at, move |stream, number| {
            // The peer may end a connection at any point; tests look at what it saw, not at our errors.
            let _ = serve(stream, number, &shared, &script);
        });
        Self { server, record }
    }

    /// Starts with one answer for everything.
    pub(crate) fn answering(text: &'static str) -> Self {
        Self::start(move |_| Reply::ok(text))
    }

    /// Starts answering each request with the very bytes it came in.
    pub(crate) fn echoing() -> Self {
        Self::start(|seen| Reply::ok(&seen.request.raw))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> u64 {
        self.server.accepted()
    }

    /// Connections open now.
    pub(crate) fn connections_open(&self) -> usize {
        self.server.open()
    }

    /// Requests read whole so far.
    pub(crate) fn requests(&self) -> usize {
        self.record.requests.lock().unwrap().0
    }

    /// The requests remembered, oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.record.requests.lock().unwrap().1.clone()
    }

    /// Refuses new connections and closes the open ones.
    pub(crate) fn stop(&self) {
        self.server.stop();
    }

    /// Refuses new connections, goes on with the open ones.
    pub(crate) fn refuse(&self) {
        self.server.refuse();
    }

    /// Closes the open connections, idle or not.
    pub(crate) fn close_connections(&self) {
        self.server.close_connections();
    }

    /// Answers again after [`Self::stop`] or [`Self::refuse`].
    pub(crate) fn restart(&self) {
        self.server.restart();
    }
}

impl Reply {
    /// 200 with a body and its length.
    pub(crate) fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::status(200, "OK", body)
    }

    /// A status with a body and its length.
    pub(crate) fn status(status: u16, reason: &str, body: impl AsRef<[u8]>) -> Self {
        Self::with_headers(status, reason, &[], body)
    }

    /// A status with headers, a body and its length.
    pub(crate) fn with_headers(
        status: u16,
        reason: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Self {
        let body = body.as_ref();
        let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        Self::default().send([head.as_bytes(), body].concat())
    }

    /// 200 with these chunks, one each.
    pub(crate) fn chunked(chunks: &[&str]) -> Self {
        let head = Self::default().send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        chunks.iter().fold(head, |reply, part| reply.send(chunk(part))).send("0\r\n\r\n")
    }

    /// 200 with a body that ends with the connection.
    pub(crate) fn close_delimited(body: &str) -> Self {
        Self::default().send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}")).close()
    }

    /// 200 with server-sent events: one chunk for each that comes out of `events`, until its sender is dropped.
    pub(crate) fn event_stream(events: Receiver<Vec<u8>>) -> Self {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut reply = Self::default().send(head);
        reply.steps.push(Step::Stream(events));
        reply.send("0\r\n\r\n")
    }

    /// Sends bytes as they are.
    pub(crate) fn send(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Send(bytes.as_ref().to_vec()));
        self
    }

    /// Waits until the gate opens.
    pub(crate) fn wait(mut self, gate: &Gate) -> Self {
        self.steps.push(Step::Wait(gate.clone()));
        self
    }

    /// Waits at the gate before anything is sent.
    pub(crate) fn held_by(mut self, gate: &Gate) -> Self {
        self.steps.insert(0, Step::Wait(gate.clone()));
        self
    }

    /// Ends the connection in order.
    pub(crate) fn close(mut self) -> Self {
        self.steps.push(Step::Close);
        self
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(mut self) -> Self {
        self.steps.push(Step::Reset);
        self
    }
}

impl Gate {
    /// Lets everything through, now and later.
    pub(crate) fn open(&self) {
        self.state.0.lock().unwrap().open = true;
        self.state.1.notify_all();
    }

    /// How many answers wait here.
    pub(crate) fn waiting(&self) -> usize {
        self.state.0.lock().unwrap().waiting
    }

    /// Waits until it is open.
    pub(crate) fn pass(&self) {
        let mut state = self.state.0.lock().unwrap();
        state.waiting += 1;
        let (mut state, late) =
            self.state.1.wait_timeout_while(state, PATIENCE, |state| !state.open).unwrap();
        state.waiting -= 1;
        assert!(!late.timed_out(), "waited {PATIENCE:?} in vain at a gate");
    }
}

/// A piece of a body as a chunk.
pub(crate) fn chunk(part: impl AsRef<[u8]>) -> Vec<u8> {
    let part = part.as_ref();
    [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()
}

fn serve(
    stream: &TcpStream,
    connection: u64,
    record: &Record,
    script: &(impl Fn(&Seen) -> Reply + ?Sized),
) -> std::io::Result<()> {
    let peer = stream.peer_addr()?;
    let mut reader = BufReader::new(stream);
    let mut before = 0;
    while let Some(request) = read_request(&mut reader)? {
        let last = !request.keeps_alive();
        let seen = Seen { request, connection, before, peer };
        record.note(&seen);
        if !carry_out(script(&seen), stream)? || last {
            return Ok(());
        }
        before += 1;
    }
    Ok(())
}

/// Does the steps; false when the connection is to end.
fn carry_out(reply: Reply, mut stream: &TcpStream) -> std::io::Result<bool> {
    for step in reply.steps {
        match step {
            Step::Send(bytes) => stream.write_all(&bytes)?,
            Step::Wait(gate) => gate.pass(),
            Step::Stream(parts) => {
                while let Ok(part) = parts.recv_timeout(PATIENCE) {
                    stream.write_all(&chunk(part))?;
                }
            }
            Step::Close => return Ok(false),
            Step::Reset => {
                reset_at_end(stream)?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}

impl Record {
    fn note(&self, seen: &Seen) {
        let mut requests = self.requests.lock().unwrap();
        requests.0 += 1;
        if requests.1.len() < REMEMBERED_MAX {
            requests.1.push(seen.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::{Client, is_reset};
    use super::super::wait::wait_until;
    use super::*;

    #[test]
    fn an_echo_gives_back_the_bytes_of_each_request_on_one_connection() {
        let origin = Origin::echoing();
        let mut client = Client::connect(origin.address());
        assert_eq!(client.get("h", "/a").text(), "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.get("h", "/b").text(), "GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!((origin.connections(), origin.requests()), (1, 2));
        assert_eq!(origin.seen()[1].before, 1);
    }

    #[test]
    fn an_answer_waits_at_its_gate() {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| Reply::ok("late").held_by(&held));
        let mut client = Client::connect(origin.address());
        client.send("GET / HTTP/1.1\r\n\r\n");
        wait_until("the answer to wait", PATIENCE, || gate.waiting() == 1);
        gate.open();
        assert_eq!(client.read_response().text(), "late");
    }

    #[test]
    fn events_come_as_the_test_sends_them() {
        let (events, stream) = std::sync::mpsc::channel();
        let stream = Mutex::new(Some(stream));
        let origin = Origin::start(move |_| Reply::event_stream(stream.lock().unwrap().take().unwrap()));
        let mut client = Client::connect(origin.address());
        client.send("GET / HTTP/1.1\r\n\r\n");
        events.send(b"data: 1\n\n".to_vec()).unwrap();
        client.read_through(b"data: 1\n\n");
        events.send(b"data: 2\n\n".to_vec()).unwrap();
        client.read_through(b"data: 2\n\n");
        drop(events);
        client.read_through(b"0\r\n\r\n");
    }

    #[test]
    fn connections_end_as_the_script_says() {
        let origin = Origin::start(|seen| match seen.request.target.as_str() {
            "/close" => Reply::close_delimited("bye"),
            _ => Reply::default().reset(),
        });
        assert_eq!(Client::connect(origin.address()).get("h", "/close").text(), "bye");
        let mut stream = TcpStream::connect(origin.address()).unwrap();
        stream.write_all(b"GET /reset HTTP/1.1\r\n\r\n").unwrap();
        let error = std::io::Read::read(&mut stream, &mut [0; 1]).unwrap_err();
        assert!(is_reset(&error), "{error}");
    }
}
