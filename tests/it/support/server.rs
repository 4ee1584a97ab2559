//! A TCP server on threads that a test can stop and start again at the same address.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Serves one connection, given with its number; the connection ends when this returns.
pub(crate) type Serve = dyn Fn(&TcpStream, u64) + Send + Sync;

/// The server. Dropping it closes the listener and every connection.
pub(crate) struct Server {
    address: SocketAddr,
    /// Bound to the same address and never listening: while the server is stopped, nobody else is given its port.
    _reserved: OwnedFd,
    serve: Arc<Serve>,
    connections: Arc<Connections>,
    acceptor: Mutex<Option<Acceptor>>,
}

struct Acceptor {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// The connections that are open, to be able to close them.
#[derive(Default)]
struct Connections {
    accepted: AtomicU64,
    open: Mutex<BTreeMap<u64, TcpStream>>,
}

impl Server {
    /// Listens on `address` (port 0 for any) and serves each connection on a thread of its own.
    pub(crate) fn start(
        address: SocketAddr,
        serve: impl Fn(&TcpStream, u64) + Send + Sync + 'static,
    ) -> Self {
        let reserved = reserve(address).unwrap_or_else(|e| panic!("cannot have {address}: {e}"));
        let address = rustix::net::getsockname(&reserved).unwrap().try_into().unwrap();
        let server = Self {
            address,
            _reserved: reserved,
            serve: Arc::new(serve),
            connections: Arc::default(),
            acceptor: Mutex::new(None),
        };
        server.restart();
        server
    }

    /// Where it listens; the same after a restart.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.connections.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.connections.open.lock().unwrap().len()
    }

    /// Refuses new connections and closes those that are open.
    pub(crate) fn stop(&self) {
        self.refuse();
        self.close_connections();
    }

    /// Refuses new connections; those that are open go on.
    pub(crate) fn refuse(&self) {
        let Some(acceptor) = self.acceptor.lock().unwrap().take() else { return };
        acceptor.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes the acceptor
        acceptor.thread.join().expect("acceptor panicked");
    }

    /// Closes the open connections.
    pub(crate) fn close_connections(&self) {
        for stream in self.connections.open.lock().unwrap().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Listens again after a stop.
    pub(crate) fn restart(&self) {
        let address = self.address;
        // A queue as long as a service has, so that a burst of connections is not made to wait for a second.
        let listener =
            mesher::net::bind(address, false).unwrap_or_else(|e| panic!("cannot listen on {address}: {e}"));
        listener.set_nonblocking(false).unwrap();
        self.accept_on(listener);
    }

    fn accept_on(&self, listener: TcpListener) {
        let stopping = Arc::new(AtomicBool::new(false));
        let (serve, connections, stop) = (self.serve.clone(), self.connections.clone(), stopping.clone());
        let thread = std::thread::spawn(move || accept_loop(&listener, &serve, &connections, &stop));
        let before = self.acceptor.lock().unwrap().replace(Acceptor { stopping, thread });
        assert!(before.is_none(), "the server was not stopped");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn reserve(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Lets the listener in, which has it set too.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

fn accept_loop(
    listener: &TcpListener,
    serve: &Arc<Serve>,
    connections: &Arc<Connections>,
    stopping: &AtomicBool,
) {
    for stream in listener.incoming() {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(handle) = stream.try_clone() else { continue };
        let number = connections.accepted.fetch_add(1, Ordering::SeqCst);
        connections.open.lock().unwrap().insert(number, handle);
        let (serve, connections) = (serve.clone(), connections.clone());
        std::thread::spawn(move || {
            let _closed = CloseOnDrop { connections, number };
            let _ = stream.set_nodelay(true);
            serve(&stream, number);
        });
    }
}

/// Has the connection end with a reset instead of in order, once it is served.
pub(crate) fn reset_at_end(stream: &TcpStream) -> std::io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?)
}

/// Closes a connection when its thread ends, however it ends.
struct CloseOnDrop {
    connections: Arc<Connections>,
    number: u64,
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let stream = self.connections.open.lock().unwrap().remove(&self.number);
        let Some(stream) = stream else { return };
        // A shutdown would send FIN; closing without one lets the zero linger time send RST.
        if rustix::net::sockopt::socket_linger(&stream) != Ok(Some(Duration::ZERO)) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::Client;
    use super::*;
    use std::io::Write;

    /// A socket as one that connects is: it does not share its port.
    fn unbound() -> OwnedFd {
        rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()
    }

    fn hello() -> Server {
        Server::start("127.0.0.1:0".parse().unwrap(), |mut stream, number| {
            let _ = write!(stream, "{number}");
        })
    }

    #[test]
    fn a_stopped_server_refuses_and_a_restarted_one_answers_at_the_same_address() {
        let server = hello();
        assert_eq!(Client::connect(server.address()).read_to_end(), b"0");
        server.stop();
        assert!(TcpStream::connect(server.address()).is_err());
        assert!(rustix::net::bind(unbound(), &server.address()).is_err(), "nobody else gets its port");
        server.restart();
        assert_eq!(Client::connect(server.address()).read_to_end(), b"1");
        assert_eq!(server.accepted(), 2);
    }
}
