//! The origin's loop: accepts, reads, and lets each connection answer.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;

use rustix::event::epoll;

use super::outlet::Outlet;
use crate::machine;

/// Token of the listener; connections have their place in the table.
const LISTENER: u64 = u64::MAX;

/// A connection of the origin.
pub(in crate::load) trait Served {
    /// What the connections of a thread have in common.
    type Shared: Default;

    /// On a socket that never blocks.
    fn new(stream: TcpStream) -> Self;

    /// Its sending side.
    fn outlet(&mut self) -> &mut Outlet;

    /// Takes what came and sends what there is to say to it. An error ends the connection.
    fn take(&mut self, piece: &[u8], shared: &mut Self::Shared) -> io::Result<()>;
}

/// Starts one thread on each of `cpus`; returns where they listen.
pub(super) fn start<C: Served + 'static>(cpus: &[usize]) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    // std asks for a queue of 128; many connections may come at once.
    rustix::net::listen(&listener, 4096)?;
    let address = listener.local_addr()?;
    for &cpu in cpus {
        let listener = listener.try_clone()?;
        thread::Builder::new().name(format!("origin-{cpu}")).spawn(move || {
            let ended =
                machine::pin(&[cpu]).and_then(|()| Server::<C>::new(listener)).and_then(Server::serve);
            if let Err(error) = ended {
                eprintln!("capacity: the origin stopped: {error}");
            }
        })?;
    }
    Ok(address)
}

struct Server<C: Served> {
    listener: TcpListener,
    epoll: OwnedFd,
    connections: Vec<Option<C>>,
    free: Vec<usize>,
    shared: C::Shared,
    scratch: Vec<u8>,
}

impl<C: Served> Server<C> {
    fn new(listener: TcpListener) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), flags)?;
        Ok(Self {
            listener,
            epoll,
            connections: Vec::new(),
            free: Vec::new(),
            shared: C::Shared::default(),
            scratch: vec![0; 64 * 1024],
        })
    }

    fn serve(mut self) -> io::Result<()> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 256];
        loop {
            let (events, _) = match epoll::wait(&self.epoll, &mut events, None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            for event in events.iter() {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    token => self.turn(token as usize),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let token = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(token as u64), flags)?;
            self.connections[token] = Some(C::new(stream));
        }
    }

    /// Reads, answers and writes as far as the socket goes; forgets the connection when it has ended.
    fn turn(&mut self, token: usize) {
        let Some(Some(connection)) = self.connections.get_mut(token) else { return };
        match converse(connection, &mut self.scratch, &mut self.shared) {
            Ok(()) => return,
            // What went wrong is not a matter of sockets: the proxy's answer alone would not tell it.
            Err(error) if error.kind() == ErrorKind::Other => eprintln!("capacity: the origin: {error}"),
            Err(_) => {}
        }
        self.connections[token] = None;
        self.free.push(token);
    }
}

fn converse<C: Served>(connection: &mut C, scratch: &mut [u8], shared: &mut C::Shared) -> io::Result<()> {
    connection.outlet().resume()?;
    loop {
        let count = match connection.outlet().read(scratch) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            other => other?,
        };
        connection.take(&scratch[..count], shared)?;
        // A short read emptied the socket; what comes later makes a new edge.
        if count < scratch.len() {
            return Ok(());
        }
    }
}
