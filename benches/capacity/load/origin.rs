//! The origin behind every proxy: answers `/b/N` with N bytes and does as little else as it can.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;

use memchr::memmem;
use rustix::event::epoll;

use crate::machine;

/// The largest body it makes.
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Token of the listener; connections have their place in the table.
const LISTENER: u64 = u64::MAX;

/// A running origin. Its threads end with the process.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Origin {
    /// Starts one thread on each of `cpus`.
    pub(crate) fn start(cpus: &[usize]) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        // std asks for a queue of 128; many connections may come at once.
        rustix::net::listen(&listener, 4096)?;
        let address = listener.local_addr()?;
        for &cpu in cpus {
            let mut server = Server::new(listener.try_clone()?)?;
            thread::Builder::new().name(format!("origin-{cpu}")).spawn(move || {
                let ended = machine::pin(&[cpu]).and_then(|()| server.serve());
                if let Err(error) = ended {
                    eprintln!("capacity: the origin stopped: {error}");
                }
            })?;
        }
        Ok(Self { address })
    }
}

struct Server {
    listener: TcpListener,
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    answers: HashMap<u64, Vec<u8>>,
    scratch: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// The start of a request head that has not ended yet.
    head: Vec<u8>,
    /// What the socket did not take.
    unsent: Vec<u8>,
}

impl Server {
    fn new(listener: TcpListener) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), flags)?;
        Ok(Self {
            listener,
            epoll,
            connections: Vec::new(),
            free: Vec::new(),
            answers: HashMap::new(),
            scratch: vec![0; 64 * 1024],
        })
    }

    fn serve(&mut self) -> io::Result<()> {
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
            self.connections[token] = Some(Connection { stream, head: Vec::new(), unsent: Vec::new() });
        }
    }

    /// Reads, answers and writes as far as the socket goes; forgets the connection when it has ended.
    fn turn(&mut self, token: usize) {
        let Some(Some(connection)) = self.connections.get_mut(token) else { return };
        if connection.turn(&mut self.scratch, &mut self.answers).is_err() {
            self.connections[token] = None;
            self.free.push(token);
        }
    }
}

impl Connection {
    fn turn(&mut self, scratch: &mut [u8], answers: &mut HashMap<u64, Vec<u8>>) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            self.send(&unsent)?;
        }
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                other => other?,
            };
            self.answer(&scratch[..count], answers)?;
            // A short read emptied the socket; what comes later makes a new edge.
            if count < scratch.len() {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, piece: &[u8], answers: &mut HashMap<u64, Vec<u8>>) -> io::Result<()> {
        let mut head = std::mem::take(&mut self.head);
        head.extend_from_slice(piece);
        let mut rest = &head[..];
        while let Some(end) = memmem::find(rest, b"\r\n\r\n") {
            let length = body_length(&rest[..end]).ok_or(ErrorKind::InvalidData)?;
            self.send(answers.entry(length).or_insert_with(|| answer(length)))?;
            // Only the load itself asks for it, when there is no proxy between.
            if memmem::find(&rest[..end], b"Connection: close").is_some() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            rest = &rest[end + 4..];
        }
        let taken = head.len() - rest.len();
        head.drain(..taken);
        self.head = head;
        Ok(())
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.unsent.is_empty() && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }
}

/// N of `/b/N` in the request line, in origin or absolute form.
fn body_length(head: &[u8]) -> Option<u64> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let digits = &line[memmem::find(line, b"/b/")? + 3..];
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    let length = std::str::from_utf8(&digits[..end]).ok()?.parse().ok()?;
    (length <= BODY_BYTES_MAX).then_some(length)
}

fn answer(length: u64) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + length as usize, b'x');
    answer
}
