//! One thread of load: an epoll loop over its connections.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};

use super::client::{Client, PATIENCE, Progress};
use super::dialer::{Dialer, SCRATCH_BYTES};
use super::schedule::Schedule;
use super::spec::{Load, Pattern};

/// Events taken at once.
const EVENTS_MAX: usize = 256;

/// Latencies in nanoseconds.
pub(crate) type Latencies = Histogram<u64>;

/// A histogram for latencies: up to a minute, three digits.
pub(crate) fn latencies() -> Latencies {
    #[allow(clippy::expect_used)] // constants that the crate accepts
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds")
}

/// Connections and the loop that drives them.
pub(super) struct Generator {
    dialer: Dialer,
    count: usize,
    epoll: OwnedFd,
    connections: Vec<Box<dyn Client>>,
    scratch: Vec<u8>,
    /// Since when the latencies count of the requests that the last read answered.
    answered: Vec<Instant>,
    latencies: Latencies,
}

impl Generator {
    /// Prepares `count` connections: those that will be kept are opened and carry as many requests
    /// as they can at once, which are not counted.
    pub(super) fn connect(address: SocketAddr, load: &Load, count: usize) -> Result<Self, String> {
        let mut generator = Self {
            dialer: Dialer::new(address, load)?,
            count,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| format!("epoll: {error}"))?,
            connections: Vec::with_capacity(count),
            scratch: vec![0; SCRATCH_BYTES],
            answered: Vec::new(),
            latencies: latencies(),
        };
        if load.pattern != Pattern::Fresh {
            generator.open_all()?;
            generator.closed(Duration::ZERO)?;
            generator.latencies.reset();
        }
        Ok(generator)
    }

    /// Runs the load for `length` and until the last answer; `index` of `generators` that run at once.
    pub(super) fn run(
        mut self,
        pattern: Pattern,
        length: Duration,
        index: usize,
        generators: usize,
    ) -> Result<Latencies, String> {
        match pattern {
            Pattern::Closed => self.closed(length)?,
            Pattern::Fresh => self.fresh(length)?,
            Pattern::Open { rate } => {
                self.open_loop(Schedule::new(rate, length, index, generators), length)?
            }
        }
        Ok(self.latencies)
    }

    fn open_all(&mut self) -> Result<(), String> {
        for token in 0..self.count {
            let connection = self.open(token)?;
            self.connections.push(connection);
        }
        Ok(())
    }

    fn open(&self, token: usize) -> Result<Box<dyn Client>, String> {
        let connection = self.dialer.dial()?;
        let data = epoll::EventData::new_u64(token as u64);
        epoll::add(&self.epoll, connection.socket(), data, epoll::EventFlags::IN)
            .map_err(|error| format!("epoll: {error}"))?;
        Ok(connection)
    }

    /// Each connection asks again as soon as it is answered.
    fn closed(&mut self, length: Duration) -> Result<(), String> {
        let end = Instant::now() + length;
        self.ask_all()?;
        let mut outstanding = self.connections.iter().map(|connection| connection.streams()).sum::<usize>();
        let mut ready = Vec::new();
        while outstanding > 0 {
            self.wait(&mut ready, Some(PATIENCE))?;
            for token in ready.drain(..) {
                self.receive(token)?;
                let now = Instant::now();
                let again = if now < end { self.answered.len() } else { 0 };
                outstanding -= self.answered.len() - again;
                self.ask(token, again, now)?;
            }
        }
        Ok(())
    }

    /// A new connection for each request; the proxy closes it, and then the next one is opened in its place.
    fn fresh(&mut self, length: Duration) -> Result<(), String> {
        let end = Instant::now() + length;
        self.open_all()?;
        self.ask_all()?;
        let mut outstanding = self.connections.len();
        let mut ready = Vec::new();
        while outstanding > 0 {
            self.wait(&mut ready, Some(PATIENCE))?;
            for token in ready.drain(..) {
                let mut progress = self.receive(token)?;
                if !self.answered.is_empty() {
                    progress = self.receive(token)?;
                }
                if progress != Progress::Closed {
                    continue;
                }
                let now = Instant::now();
                if now < end {
                    // The latency includes the connect.
                    self.connections[token] = self.open(token)?;
                    self.ask(token, 1, now)?;
                } else {
                    outstanding -= 1;
                    // Its end of file would be reported for ever.
                    let _ = epoll::delete(&self.epoll, self.connections[token].socket());
                }
            }
        }
        Ok(())
    }

    /// Requests go out when the schedule says, or as soon after as a connection is free.
    fn open_loop(&mut self, mut schedule: Schedule, length: Duration) -> Result<(), String> {
        let start = Instant::now();
        let give_up = length + PATIENCE;
        // A connection is here as often as it can carry one more.
        let mut free: VecDeque<usize> = VecDeque::new();
        for _ in 0..self.connections.first().map_or(0, |connection| connection.streams()) {
            free.extend(0..self.connections.len());
        }
        let all = free.len();
        let mut ready = Vec::new();
        loop {
            let elapsed = start.elapsed();
            while let Some(due) = schedule.next().filter(|due| *due <= elapsed)
                && let Some(token) = free.pop_front()
            {
                self.ask(token, 1, start + due)?;
                schedule.advance();
            }
            if schedule.next().is_none() && free.len() == all {
                return Ok(());
            }
            if elapsed > give_up {
                return Err(format!("not done {PATIENCE:?} after its time: the rate is beyond capacity"));
            }
            // Never sleeps, so that sending is punctual; gives way, because the origin shares this CPU.
            self.wait(&mut ready, None)?;
            if ready.is_empty() {
                std::thread::yield_now();
            }
            for token in ready.drain(..) {
                self.receive(token)?;
                free.extend(std::iter::repeat_n(token, self.answered.len()));
                self.connections[token].flush()?;
            }
        }
    }

    fn ask_all(&mut self) -> Result<(), String> {
        for token in 0..self.connections.len() {
            self.ask(token, self.connections[token].streams(), Instant::now())?;
        }
        Ok(())
    }

    /// Sends `count` requests at once, and what the connection has to say of its own.
    fn ask(&mut self, token: usize, count: usize, since: Instant) -> Result<(), String> {
        let connection = &mut self.connections[token];
        for _ in 0..count {
            connection.ask(since)?;
        }
        connection.flush()
    }

    /// Reads once and records what was answered.
    fn receive(&mut self, token: usize) -> Result<Progress, String> {
        self.answered.clear();
        let progress = self.connections[token].receive(&mut self.scratch, &mut self.answered)?;
        let now = Instant::now();
        for since in &self.answered {
            self.latencies.saturating_record((now - *since).as_nanos() as u64);
        }
        Ok(progress)
    }

    /// Tokens of ready connections; waits for one if `patience` is given, and fails when it ends.
    fn wait(&self, ready: &mut Vec<usize>, patience: Option<Duration>) -> Result<(), String> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); EVENTS_MAX];
        let timeout =
            Timespec { tv_sec: patience.map_or(0, |patience| patience.as_secs() as i64), tv_nsec: 0 };
        let (events, _) = match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            other => other.map_err(|error| format!("epoll: {error}"))?,
        };
        if events.is_empty() && patience.is_some() {
            return Err(format!("no answer within {PATIENCE:?}"));
        }
        ready.extend(events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}
