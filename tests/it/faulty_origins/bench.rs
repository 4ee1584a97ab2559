//! A mesher, the origins behind it, and the canaries.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use crate::support::client::{Client, Response};
use crate::support::conf::Conf;
use crate::support::process::{Mesher, Start};
use crate::support::server::Server;
use crate::support::wire::{Request, read_request};

/// Stands in every byte that must not be seen.
pub(super) const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Poison: yes\r\n\r\npoison";

/// The origin then closes in order.
pub(super) const CLOSE: bool = false;
/// The origin then waits for the next request.
pub(super) const KEEP: bool = true;

/// What the origin does with a request that asks for the fault. True: its connection goes on.
pub(super) type Act = dyn Fn(&TcpStream, &Request) -> bool + Send + Sync;

/// What the client is to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sees {
    /// The origin's response: status and body.
    Response(u16, &'static str),
    /// Mesher's own reply with this status and flag.
    Error(u16, &'static str),
    /// The beginning of a response that does not end in order.
    Cut,
}

/// Something an origin does wrong, how it is asked for, and what comes of it.
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    pub(super) sees: Sees,
    pub(super) act: Box<Act>,
}

/// 200 with these header lines and what follows them.
pub(super) fn head(lines: &str, behind: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n{behind}")
}

/// A mesher in front of some origins, one a fault, each a service of that name.
pub(super) struct Bench {
    pub(super) mesher: Mesher,
    /// Closed with the bench.
    #[expect(dead_code, reason = "kept for their drop")]
    pub(super) origins: Vec<Server>,
}

impl Bench {
    /// Starts an origin for each fault, and a mesher that knows them. Also returns what there is to ask for.
    pub(super) fn start(
        faults: Vec<Fault>,
        conf: impl FnOnce(Conf) -> Conf,
    ) -> (Self, Vec<(&'static str, &'static str, Sees)>) {
        let asks = faults.iter().map(|fault| (fault.name, fault.method, fault.sees)).collect();
        let names: Vec<&'static str> = faults.iter().map(|fault| fault.name).collect();
        let origins: Vec<Server> = faults.into_iter().map(|fault| origin(fault.name, fault.act)).collect();
        let addresses: Vec<[SocketAddr; 1]> = origins.iter().map(|origin| [origin.address()]).collect();
        let services: Vec<(&str, &[SocketAddr])> =
            names.iter().zip(&addresses).map(|(name, address)| (*name, address.as_slice())).collect();
        let mesher = Start::new(conf(Conf::sidecar("caller")).services(&services)).ready();
        (Self { mesher, origins }, asks)
    }

    /// One origin that does this.
    pub(super) fn of(
        name: &'static str,
        act: impl Fn(&TcpStream, &Request) -> bool + Send + Sync + 'static,
    ) -> Self {
        let fault = Fault { name, method: "GET", sees: Sees::Cut, act: Box::new(act) };
        Self::start(vec![fault], |conf| conf).0
    }

    /// Four sound requests, each to be given its own answer; the first two on `client` if it is still good.
    pub(super) fn canaries(&self, name: &str, client: Option<Client>) -> Result<(), String> {
        let mut client = client;
        for number in 0..4 {
            if number == 2 {
                client = None;
            }
            let mut connection = client.take().unwrap_or_else(|| self.mesher.connect());
            let target = format!("/canary-{number}");
            connection.send(format!("GET {target} HTTP/1.1\r\nHost: {name}\r\n\r\n"));
            let response =
                connection.try_read_response_to("GET").map_err(|e| format!("canary {number}: {e}"))?;
            let is_own = response.status == 200 && response.text() == format!("{name}{target}");
            if !is_own || response.header("x-poison").is_some() {
                return Err(format!("canary {number} got {response:?}"));
            }
            client = Some(connection);
        }
        Ok(())
    }
}

/// Answers canaries as it should, and everything else by `act`.
pub(super) fn origin(name: &'static str, act: Box<Act>) -> Server {
    Server::start((Ipv4Addr::LOCALHOST, 0).into(), move |mut stream, _| {
        let mut reader = BufReader::new(stream);
        while let Ok(Some(request)) = read_request(&mut reader) {
            let goes_on = if request.target.starts_with("/canary") {
                let body = format!("{name}{}", request.target);
                let answer = head(&format!("Content-Length: {}\r\n", body.len()), &body);
                stream.write_all(answer.as_bytes()).is_ok()
            } else {
                act(stream, &request)
            };
            if !goes_on {
                return;
            }
        }
    })
}

/// Asks for a fault and says what is wrong with what came of it, if anything.
pub(super) fn ask(bench: &Bench, name: &str, method: &str, sees: Sees) -> Result<(), String> {
    let mut client = bench.mesher.connect();
    client.send(format!("{method} /fault HTTP/1.1\r\nHost: {name}\r\n\r\n"));
    let response = final_response(&mut client, method);
    let keeps = match (&sees, &response) {
        (Sees::Response(status, body), Ok(response)) => {
            let is_it = response.status == *status && response.body == body.as_bytes();
            is_it.then(|| !says_close(response)).ok_or(format!("got {response:?}"))?
        }
        (Sees::Error(status, flag), Ok(response)) => {
            let cause = response.header("x-mesher-error").unwrap_or_default();
            let is_it = response.status == *status && cause.starts_with(&format!("{flag};"));
            is_it.then(|| !says_close(response)).ok_or(format!("got {response:?}"))?
        }
        (Sees::Cut, Err(_)) => false,
        (_, got) => return Err(format!("got {got:?} instead of {sees:?}")),
    };
    bench.canaries(name, keeps.then_some(client))
}

/// This response is the last on its connection.
pub(super) fn says_close(response: &Response) -> bool {
    response.header("connection") == Some("close")
}

/// The first response that is no interim one, of which there are few.
fn final_response(client: &mut Client, method: &str) -> Result<Response, String> {
    for _ in 0..100 {
        let response = client.try_read_response_to(method)?;
        if response.status >= 200 {
            return Ok(response);
        }
    }
    Err("a flood of interim responses".into())
}
