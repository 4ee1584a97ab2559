//! The fake on TCP ports: HTTP/1.1 with keep-alive, WebSocket connections, a clock, and faults on demand.
//!
//! Everything decided is decided in the core, under one lock; here bytes are moved and time is told. A thread per
//! connection; one more moves the real clock, which sleeps until the core says that something is due.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::client::is_reset;
use super::super::server::{Server, reset_at_end};
use super::super::wait::PATIENCE;
use super::super::wire::{self, read_request};
use super::fake::{Answer, Config, Fake, Stop};
use super::frame::Frame;
use super::reply::{Request, Response};
use super::sockets::{Output, SocketId};

/// Requests remembered.
const REMEMBERED_MAX: usize = 100_000;
/// Bytes of one chunk of a chunked answer.
const CHUNK_BYTES: usize = 2048;
/// Longest sleep of the real clock's thread, so that it sees the end.
const NAP: Duration = Duration::from_millis(200);

/// Which time the server goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// That of the machine.
    Real,
    /// That which [`Shell::move_clock`] sets; it stands still in between.
    Moved,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is read and never answered; the connection stays open until [`Shell::heal`], or for [`PATIENCE`].
    Hang,
    /// The answer comes when the server's clock has gone on by so many milliseconds.
    Slow(u64),
    /// 500 with 500011: the store does not answer.
    Unavailable,
    /// 200 with nothing in it, as after a panic in a handler.
    Empty,
    /// 200 with these bytes instead of the answer.
    Garbage(&'static [u8]),
    /// The connection is closed in order after so many bytes of the answer.
    Cut(usize),
    /// The connection is reset after so many bytes of the answer.
    Reset(usize),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// When, by the server's clock.
    pub(crate) at_ms: u64,
    /// Which node.
    pub(crate) node: usize,
    /// What.
    pub(crate) request: Request,
}

/// A running server. Dropping it stops it.
pub(crate) struct Shell {
    nodes: Vec<Server>,
    shared: Arc<Shared>,
    clock_thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// Signalled when frames may wait, the clock moved, or faults changed.
    changed: Condvar,
}

struct State {
    fake: Fake,
    time: Time,
    faults: Vec<Planned>,
    seen: Vec<Seen>,
    ended: bool,
}

enum Time {
    Real(Instant),
    Moved(u64),
}

struct Planned {
    method: String,
    path: String,
    fault: Fault,
    left: usize,
}

impl Shell {
    /// Starts a server with one node on 127.0.0.1.
    pub(crate) fn start(config: Config, clock: Clock) -> Self {
        let time = match clock {
            Clock::Real => Time::Real(Instant::now()),
            Clock::Moved => Time::Moved(0),
        };
        let state =
            State { fake: Fake::new(config), time, faults: Vec::new(), seen: Vec::new(), ended: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let for_clock = shared.clone();
        let clock_thread = (clock == Clock::Real).then(|| std::thread::spawn(move || for_clock.keep_time()));
        let mut shell = Self { nodes: Vec::new(), shared, clock_thread };
        shell.listen();
        shell
    }

    /// Starts another node on the same store; its number.
    pub(crate) fn add_node(&mut self) -> usize {
        let endpoint = format!("rest://127.0.0.1:3010{}/", self.nodes.len());
        let node = self.with(|fake, now_ms| fake.add_node(endpoint, now_ms));
        self.listen();
        node
    }

    fn listen(&mut self) {
        let (shared, node) = (self.shared.clone(), self.nodes.len());
        let server = Server::start((Ipv4Addr::LOCALHOST, 0).into(), move |stream, _| {
            // The client may end a connection at any point; tests look at what it saw, not at our errors.
            let _ = shared.serve(stream, node);
        });
        self.nodes.push(server);
    }

    /// Where the first node listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.nodes[0].address()
    }

    /// Where a node listens.
    pub(crate) fn address_of(&self, node: usize) -> SocketAddr {
        self.nodes[node].address()
    }

    /// Uses the core directly, at the server's time.
    pub(crate) fn with<T>(&self, use_it: impl FnOnce(&mut Fake, u64) -> T) -> T {
        let mut state = self.shared.lock();
        let now_ms = state.now_ms();
        let result = use_it(&mut state.fake, now_ms);
        self.shared.changed.notify_all();
        result
    }

    /// Calls the first node as somebody else does, without a socket and unseen by [`Self::seen`]; `path` is what
    /// stands behind `/v4/default/registry/`.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> Response {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = Request {
            method: method.into(),
            path: format!("/v4/default/registry/{path}"),
            query: query.into(),
            headers: Vec::new(),
            body: body.into(),
        };
        match self.with(|fake, now_ms| fake.handle(0, &request, now_ms)) {
            Answer::Response(response) => response,
            other => panic!("{method} {path} was answered with {other:?}"),
        }
    }

    /// Lets the clock go on; everything due on the way happens at its time.
    pub(crate) fn move_clock(&self, by: Duration) {
        let mut state = self.shared.lock();
        let Time::Moved(now_ms) = &mut state.time else { panic!("the clock is the real one") };
        *now_ms += u64::try_from(by.as_millis()).unwrap();
        let now_ms = *now_ms;
        state.fake.advance(now_ms);
        self.shared.changed.notify_all();
    }

    /// Stops the first node: it refuses connections, and those that are open end as the real server ends them.
    pub(crate) fn stop(&self, how: Stop) {
        self.with(|fake, now_ms| fake.stop(0, how, now_ms));
        match how {
            Stop::Killed => self.nodes[0].stop(),
            Stop::Orderly => self.nodes[0].refuse(),
        }
    }

    /// Starts the first node again, at the same address and from the data there are.
    pub(crate) fn restart(&self) {
        self.with(|fake, now_ms| fake.start(0, now_ms));
        self.nodes[0].restart();
    }

    /// Removes all data; only while stopped.
    pub(crate) fn lose_data(&self) {
        self.with(|fake, _| fake.lose_data());
    }

    /// Refuses new connections while the server goes on; see [`Self::accept`].
    pub(crate) fn refuse(&self) {
        self.nodes[0].refuse();
    }

    /// Closes every connection of the first node.
    pub(crate) fn close_connections(&self) {
        self.nodes[0].close_connections();
    }

    /// Takes connections again.
    pub(crate) fn accept(&self) {
        self.nodes[0].restart();
    }

    /// Lets something go wrong with the next `times` requests of this method (empty for any) whose path contains
    /// `path`. Faults planned earlier come first.
    pub(crate) fn plan(&self, method: &str, path: &str, fault: Fault, times: usize) {
        let planned = Planned { method: method.into(), path: path.into(), fault, left: times };
        self.shared.lock().faults.push(planned);
    }

    /// Takes all faults away; connections that hang end without an answer.
    pub(crate) fn heal(&self) {
        self.shared.lock().faults.clear();
        self.shared.changed.notify_all();
    }

    /// The requests so far, oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// How many requests of this method (empty for any) had a path that contains `path`.
    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        self.shared.lock().seen.iter().filter(|seen| fits(&seen.request, method, path)).count()
    }

    /// Connections open to the first node.
    pub(crate) fn connections_open(&self) -> usize {
        self.nodes[0].open()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        self.nodes.clear();
        if let Some(thread) = self.clock_thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the fake panicked")
    }

    /// Moves the real clock until the end.
    fn keep_time(&self) {
        let mut state = self.lock();
        while !state.ended {
            let now_ms = state.now_ms();
            if state.fake.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
                state.fake.advance(now_ms);
                self.changed.notify_all();
            }
            let due_ms = state.fake.due_ms().unwrap_or(u64::MAX).saturating_sub(now_ms).max(1);
            let nap = Duration::from_millis(due_ms).min(NAP);
            state = self.changed.wait_timeout(state, nap).expect("the fake panicked").0;
        }
    }

    fn serve(&self, stream: &TcpStream, node: usize) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(came) = read_request(&mut reader)? {
            let last = !came.keeps_alive();
            let head_only = came.method == "HEAD";
            let request = to_core(came);
            let fault = self.lock().note(node, &request);
            match self.answer(node, &request, fault.as_ref()) {
                Answer::Nothing => return Ok(()),
                Answer::Upgraded(id, response) => {
                    (&*stream).write_all(&encode(&response, true))?;
                    return self.carry_frames(stream, reader, id);
                }
                Answer::Response(response) => {
                    if !send(stream, &encode(&response, head_only), fault.as_ref())? || last {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn answer(&self, node: usize, request: &Request, fault: Option<&Fault>) -> Answer {
        let mut state = self.lock();
        match fault {
            Some(Fault::Hang) => {
                let hangs =
                    |state: &mut State| !state.ended && state.faults.iter().any(|p| p.fault == Fault::Hang);
                drop(self.changed.wait_timeout_while(state, PATIENCE, hangs).expect("the fake panicked"));
                return Answer::Nothing;
            }
            Some(Fault::Slow(by_ms)) => {
                let until_ms = state.now_ms() + by_ms;
                let waits = |state: &mut State| !state.ended && state.now_ms() < until_ms;
                let patience = PATIENCE + Duration::from_millis(*by_ms);
                state = self.changed.wait_timeout_while(state, patience, waits).expect("the fake panicked").0;
            }
            Some(Fault::Unavailable) => return Answer::Response(unavailable()),
            Some(Fault::Garbage(body)) => return Answer::Response(ok_with(body)),
            Some(Fault::Empty) => state.fake.panic_on(&request.path),
            Some(Fault::Cut(_) | Fault::Reset(_)) | None => {}
        }
        let now_ms = state.now_ms();
        let answer = state.fake.handle(node, request, now_ms);
        if fault == Some(&Fault::Empty) {
            state.fake.calm_down();
        }
        self.changed.notify_all();
        answer
    }

    /// Carries frames both ways until either side ends the connection.
    fn carry_frames(
        &self,
        stream: &TcpStream,
        mut reader: BufReader<&TcpStream>,
        id: SocketId,
    ) -> std::io::Result<()> {
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while let Ok(frame) = Frame::read(&mut reader) {
                    self.tell(|fake, now_ms| fake.receive(id, &frame, now_ms));
                }
                self.tell(|fake, now_ms| fake.hang_up(id, now_ms));
            });
            let sent = self.send_frames(stream, id);
            let _ = stream.shutdown(std::net::Shutdown::Both);
            sent.or_else(|error| if is_reset(&error) { Ok(()) } else { Err(error) })
        })
    }

    fn send_frames(&self, mut stream: &TcpStream, id: SocketId) -> std::io::Result<()> {
        let mut state = self.lock();
        loop {
            let outputs = state.fake.drain(id);
            if outputs.is_empty() {
                if state.ended {
                    return Ok(());
                }
                state = self.changed.wait(state).expect("the fake panicked");
                continue;
            }
            drop(state);
            for output in outputs {
                match output {
                    Output::Frame(frame) => stream.write_all(&frame.encode())?,
                    Output::End => return Ok(()),
                }
            }
            state = self.lock();
        }
    }

    fn tell(&self, what: impl FnOnce(&mut Fake, u64)) {
        let mut state = self.lock();
        let now_ms = state.now_ms();
        what(&mut state.fake, now_ms);
        self.changed.notify_all();
    }
}

impl State {
    fn now_ms(&self) -> u64 {
        match &self.time {
            Time::Real(since) => u64::try_from(since.elapsed().as_millis()).unwrap(),
            Time::Moved(now_ms) => *now_ms,
        }
    }

    /// Remembers a request; what is to go wrong with it.
    fn note(&mut self, node: usize, request: &Request) -> Option<Fault> {
        if self.seen.len() < REMEMBERED_MAX {
            self.seen.push(Seen { at_ms: self.now_ms(), node, request: request.clone() });
        }
        let planned = self.faults.iter_mut().find(|p| p.left > 0 && fits(request, &p.method, &p.path))?;
        planned.left -= 1;
        Some(planned.fault.clone())
    }
}

fn fits(request: &Request, method: &str, path: &str) -> bool {
    (method.is_empty() || request.method == method) && request.path.contains(path)
}

fn to_core(came: wire::Request) -> Request {
    let parts = came.target.split_once('?').filter(|(_, query)| !query.is_empty());
    let (path, query) = parts.unwrap_or((&came.target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    Request { method: came.method, path, query, headers: came.headers, body: came.body }
}

/// Sends an answer as far as the fault lets it; true when the connection goes on.
fn send(mut stream: &TcpStream, bytes: &[u8], fault: Option<&Fault>) -> std::io::Result<bool> {
    match fault {
        Some(Fault::Cut(length)) => stream.write_all(&bytes[..bytes.len().min(*length)])?,
        Some(Fault::Reset(length)) => {
            stream.write_all(&bytes[..bytes.len().min(*length)])?;
            reset_at_end(stream)?;
        }
        _ => {
            stream.write_all(bytes)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// The bytes of an answer.
fn encode(response: &Response, head_only: bool) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {} {}\r\n", response.status, response.reason).into_bytes();
    for (name, value) in &response.headers {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    bytes.extend(b"\r\n");
    if head_only {
        return bytes;
    }
    if response.header("Transfer-Encoding").is_none() {
        bytes.extend(&response.body);
        return bytes;
    }
    for chunk in response.body.chunks(CHUNK_BYTES) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// An answer that is in order but for what it says.
fn ok_with(body: &[u8]) -> Response {
    let headers =
        [("Content-Type", "application/json; charset=UTF-8"), ("Content-Length", &body.len().to_string())];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Response { status: 200, reason: "OK", headers, body: body.to_vec() }
}

/// What the real server says when its store does not answer.
fn unavailable() -> Response {
    let body = r#"{"errorCode":"500011","errorMessage":"Registry service is unavailable","detail":"context deadline exceeded"}"#;
    let headers = [
        ("Content-Type", "application/json; charset=UTF-8"),
        ("Server", "SERVICECENTER/0.0.1"),
        ("Content-Length", &body.len().to_string()),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Response { status: 500, reason: "Internal Server Error", headers, body: body.into() }
}

#[cfg(test)]
mod tests {
    use super::super::super::client::Client;
    use super::super::super::wait::wait_until;
    use super::*;

    const SERVICE: &str = r#"{"service":{"serviceName":"s"}}"#;
    const INSTANCE: &str = r#"{"instance":{"hostName":"h","instanceId":"i"}}"#;

    fn call(
        client: &mut Client,
        method: &str,
        path: &str,
        body: &str,
    ) -> super::super::super::client::Response {
        let length = body.len();
        client.send(format!(
            "{method} /v4/default/registry/{path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        client.read_response()
    }

    /// Registers a service and an instance; the service id.
    fn register(client: &mut Client) -> String {
        let response = call(client, "POST", "microservices", SERVICE);
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        let id = body["serviceId"].as_str().unwrap().to_owned();
        assert_eq!(call(client, "POST", &format!("microservices/{id}/instances"), INSTANCE).status, 200);
        id
    }

    /// Opens a watch for a service.
    fn watch(shell: &Shell, id: &str) -> Client {
        let mut client = Client::connect(shell.address());
        client.send(format!(
            "GET /v4/default/registry/microservices/{id}/watcher HTTP/1.1\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        let response = client.read_response();
        assert_eq!(response.status, 101);
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        client
    }

    #[test]
    fn an_instance_expires_when_the_clock_is_moved() {
        let config = Config { instance_ttl_ms: Some(6000), ..Config::default() };
        let shell = Shell::start(config, Clock::Moved);
        let mut client = Client::connect(shell.address());
        let id = register(&mut client);
        let beat = format!("microservices/{id}/instances/i/heartbeat");
        assert_eq!(call(&mut client, "PUT", &beat, "").status, 200);
        shell.move_clock(Duration::from_secs(10));
        assert_eq!(call(&mut client, "PUT", &beat, "").status, 400);
        assert_eq!(shell.with(|fake, _| fake.instances_of("s")), 0);
        assert_eq!(shell.count("PUT", "heartbeat"), 2);
    }

    #[test]
    fn the_real_clock_goes_by_itself() {
        let config = Config { instance_ttl_ms: Some(50), ..Config::default() };
        let shell = Shell::start(config, Clock::Real);
        register(&mut Client::connect(shell.address()));
        wait_until("the instance to expire", PATIENCE, || shell.with(|fake, _| fake.instances_of("s")) == 0);
    }

    #[test]
    fn a_watcher_hears_of_changes_pings_and_the_end() {
        let shell = Shell::start(Config::default(), Clock::Moved);
        let mut client = Client::connect(shell.address());
        let id = register(&mut client);
        shell.move_clock(Duration::from_secs(1));
        let mut watcher = watch(&shell, &id);
        let find =
            "GET /v4/default/registry/instances?appId=default&serviceName=s HTTP/1.1\r\nX-ConsumerId: ";
        client.send(format!("{find}{id}\r\n\r\n"));
        assert_eq!(client.read_response().status, 200);
        let status = format!("microservices/{id}/instances/i/status?value=DOWN");
        assert_eq!(call(&mut client, "PUT", &status, "").status, 200);
        shell.move_clock(Duration::from_secs(1));
        watcher.read_through(br#""action":"UPDATE""#);
        watcher.read_through(b"}}");
        watcher.send([0x89, 0x81, 0, 0, 0, 0, b'x']); // a ping with a payload
        assert_eq!(watcher.read_some(), [0x8a, 0], "the pong is empty");
        shell.stop(Stop::Killed);
        assert_eq!(watcher.read_to_end(), b"");
    }

    #[test]
    fn a_watcher_of_nobody_gets_one_text_and_the_end() {
        let shell = Shell::start(Config::default(), Clock::Moved);
        let mut watcher = watch(&shell, "nobody");
        assert_eq!(watcher.read_to_end(), b"\x81\x16service does not exist");
    }

    #[test]
    fn a_stopped_server_comes_back_with_or_without_its_data() {
        let shell = Shell::start(Config::default(), Clock::Moved);
        register(&mut Client::connect(shell.address()));
        shell.stop(Stop::Killed);
        Client::try_connect(shell.address()).err().expect("refused");
        shell.restart();
        let exists = "existence?type=microservice&appId=default&serviceName=s&version=0.0.1";
        assert_eq!(call(&mut Client::connect(shell.address()), "GET", exists, "").status, 200);
        shell.stop(Stop::Orderly);
        shell.lose_data();
        shell.restart();
        assert_eq!(call(&mut Client::connect(shell.address()), "GET", exists, "").status, 400);
    }

    #[test]
    fn faults_come_in_order_and_then_all_is_well() {
        let shell = Shell::start(Config::default(), Clock::Moved);
        let ask = |client: &mut Client| {
            client.send("GET /v4/default/registry/health HTTP/1.1\r\n\r\n");
            client.try_read_response_to("GET")
        };
        for fault in [Fault::Unavailable, Fault::Empty, Fault::Cut(300), Fault::Reset(0)] {
            shell.plan("GET", "health", fault, 1);
        }
        let mut client = Client::connect(shell.address());
        assert_eq!(ask(&mut client).unwrap().status, 500);
        let empty = ask(&mut client).unwrap();
        assert_eq!((empty.status, empty.text()), (200, ""));
        ask(&mut client).unwrap_err();
        ask(&mut Client::connect(shell.address())).unwrap_err();
        assert_eq!(ask(&mut Client::connect(shell.address())).unwrap().status, 200);
    }

    #[test]
    fn slow_and_hanging_answers_wait_for_clock_and_healing() {
        let shell = Shell::start(Config::default(), Clock::Moved);
        shell.plan("", "version", Fault::Slow(500), 1);
        let mut client = Client::connect(shell.address());
        client.send("GET /version HTTP/1.1\r\n\r\n");
        wait_until("the request", PATIENCE, || shell.count("GET", "version") == 1);
        // The request may be counted before it starts to wait, so the clock may have to move again.
        let mut client = client.deadline(Duration::from_millis(20));
        wait_until("the slow answer", PATIENCE, || {
            shell.move_clock(Duration::from_millis(500));
            client.try_read_response_to("GET").is_ok_and(|response| response.status == 200)
        });
        shell.plan("", "version", Fault::Hang, 1);
        let mut client = Client::connect(shell.address());
        client.send("GET /version HTTP/1.1\r\n\r\n");
        wait_until("the request", PATIENCE, || shell.count("GET", "version") == 2);
        shell.heal();
        assert_eq!(client.read_to_end(), b"", "it ends without an answer");
    }

    #[test]
    fn two_nodes_share_their_data() {
        let mut shell = Shell::start(Config::default(), Clock::Moved);
        let other = shell.add_node();
        let id = register(&mut Client::connect(shell.address()));
        let mut client = Client::connect(shell.address_of(other));
        assert_eq!(call(&mut client, "GET", &format!("microservices/{id}/instances/i"), "").status, 200);
        assert_eq!(shell.seen().last().unwrap().node, other);
    }
}
