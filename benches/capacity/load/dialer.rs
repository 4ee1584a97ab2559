//! Makes connections to one address for one kind of load.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ClientConfig;

use super::client::{Client, PATIENCE, Progress};
use super::http1::{self, Http1};
use super::http2::{Multiplexed, Question};
use super::spec::{Load, Pattern, Wire};
use super::tls::{self, Secure};

/// One read takes a whole large answer.
pub(super) const SCRATCH_BYTES: usize = 256 * 1024;

/// Where to connect and what to speak there.
pub(super) struct Dialer {
    address: SocketAddr,
    bytes: u64,
    speech: Speech,
}

enum Speech {
    Plain(Arc<[u8]>),
    Tls(Arc<[u8]>, Arc<ClientConfig>),
    Http2 { question: Question, streams: usize },
}

impl Dialer {
    /// For the connections of `load`.
    pub(super) fn new(address: SocketAddr, load: &Load) -> Result<Self, String> {
        let close = load.pattern == Pattern::Fresh;
        let speech = match load.wire {
            Wire::Http1 => Speech::Plain(http1::request(http1::ABSOLUTE, load.bytes, close).into()),
            Wire::Tls => Speech::Tls(http1::request("", load.bytes, close).into(), tls::config()?),
            Wire::Http2 | Wire::Http2ToHttp1 => {
                Speech::Http2 { question: Question::new(load.request), streams: load.streams }
            }
        };
        Ok(Self { address, bytes: load.bytes, speech })
    }

    /// Opens a connection, which from then on never blocks.
    pub(super) fn dial(&self) -> Result<Box<dyn Client>, String> {
        let stream =
            self.connect().map_err(|error| format!("cannot connect to {}: {error}", self.address))?;
        Ok(match &self.speech {
            Speech::Plain(request) => Box::new(Http1::new(stream, request.clone(), self.bytes)),
            Speech::Tls(request, config) => {
                let channel = Secure::new(config.clone(), stream)?;
                Box::new(Http1::new(channel, request.clone(), self.bytes))
            }
            Speech::Http2 { question, streams } => {
                Box::new(Multiplexed::new(stream, question.clone(), *streams))
            }
        })
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

/// Opens a connection and waits for the answer to one request over it, at most `patience` for each piece of it.
pub(super) fn ask(dialer: &Dialer, patience: Duration) -> Result<Box<dyn Client>, String> {
    let mut connection = dialer.dial()?;
    connection.ask(Instant::now())?;
    connection.flush()?;
    let (mut scratch, mut answered) = (vec![0; 16 * 1024], Vec::new());
    while answered.is_empty() {
        readable(connection.socket(), patience)?;
        if connection.receive(&mut scratch, &mut answered)? == Progress::Closed {
            return Err("closed without an answer".to_owned());
        }
        connection.flush()?;
    }
    Ok(connection)
}

/// Asks once, as the connections of `load` do, to see whether there is an answer.
pub(crate) fn probe(address: SocketAddr, load: &Load, patience: Duration) -> Result<(), String> {
    ask(&Dialer::new(address, load)?, patience).map(drop)
}

fn readable(socket: &TcpStream, patience: Duration) -> Result<(), String> {
    let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: 0 };
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)) {
        Ok(0) => Err(format!("no answer within {patience:?}")),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(format!("poll: {error}")),
    }
}
