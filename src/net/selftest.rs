//! What a shard on glommio tries before it serves: whether the wake-ups, timers and sockets that the driver promises really come in time.
//!
//! The driver relies on habits of glommio's scheduler (first in, first out; blocking inside a poll is harmless; a descriptor of ours can be
//! polled on its ring). All are public, none is promised. A few milliseconds here find out; the shard then runs on epoll instead.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::shard::{self, set_window, spawn, yield_now};
use super::stream::Stream;
use super::timer::sleep;
use super::uring::SLICE;

/// What takes longer, the time without a CPU left out, has waited for glommio's next slice (100 ms), or for nothing at all.
const LATE: Duration = Duration::from_millis(20);
/// A busy machine is late now and then, a driver that does not work nearly always: one round in this many may be late.
const TOLERANCE: usize = 4;
const ATTEMPTS: usize = 2;
const SLEEP: Duration = Duration::from_millis(2);

/// Tests the shard of this task. Takes about ten milliseconds.
///
/// # Errors
/// What did not come in time.
pub(super) async fn run() -> Result<(), String> {
    let mut result = Ok(());
    for _ in 0..ATTEMPTS {
        result = attempt().await;
        if result.is_ok() {
            break;
        }
    }
    set_window(SLICE);
    result
}

async fn attempt() -> Result<(), String> {
    set_window(SLICE);
    let hot = "while the shard is hot";
    wakes(Rounds::new("a wake-up from another thread", hot, 50)).await?;
    sockets(Rounds::new("a byte through a socket pair", hot, 20)).await?;
    timers(Rounds::new("a timer", hot, 2)).await?;
    beside_a_busy_task().await?;
    set_window(Duration::ZERO);
    let parked = "while the shard is parked";
    wakes(Rounds::new("a wake-up from another thread", parked, 5)).await?;
    sockets(Rounds::new("a byte through a socket pair", parked, 5)).await?;
    timers(Rounds::new("a timer", parked, 2)).await
}

/// Counts what comes late.
struct Rounds {
    what: &'static str,
    state: &'static str,
    rounds: usize,
    late: usize,
}

impl Rounds {
    fn new(what: &'static str, state: &'static str, rounds: usize) -> Self {
        Rounds { what, state, rounds, late: 0 }
    }

    /// What was awaited has just come, so late.
    fn came(&mut self, late: Duration) -> Result<(), String> {
        self.late += usize::from(late >= LATE);
        if self.late <= self.rounds.div_ceil(TOLERANCE) {
            return Ok(());
        }
        let Rounds { what, state, .. } = self;
        Err(format!("{what} {state} came {} ms late, and not for the first time", late.as_millis()))
    }

    fn broke(&self, error: impl std::fmt::Display) -> String {
        format!("{} {} failed: {error}", self.what, self.state)
    }
}

/// Measures on one thread.
struct Watch {
    started: Instant,
    starved: Duration,
}

impl Watch {
    fn start() -> Self {
        Self { started: Instant::now(), starved: starved() }
    }

    /// Time that has passed, but for that in which this thread could have run and had no CPU: the machine was busy then, and the
    /// driver had no part in it.
    fn elapsed(&self) -> Duration {
        self.started.elapsed().saturating_sub(starved().saturating_sub(self.starved))
    }
}

/// How long this thread has waited for a CPU since it began; nothing where the kernel does not tell.
fn starved() -> Duration {
    on_cpus().map_or(Duration::ZERO, |[_, waited]| waited)
}

/// How long this thread has run, and waited to run.
fn on_cpus() -> Option<[Duration; 2]> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut nanos = stat.split(' ').map(|nanos| nanos.parse().ok().map(Duration::from_nanos));
    Some([nanos.next()??, nanos.next()??])
}

/// Another thread answers each request, so each answer is a foreign wake-up. It says how long it has starved so far.
async fn wakes(mut rounds: Rounds) -> Result<(), String> {
    let (ask, asked) = flume::bounded::<()>(1);
    let (answer, answered) = flume::bounded::<Duration>(1);
    std::thread::Builder::new()
        .name("selftest".to_owned())
        .spawn(move || while asked.recv().is_ok() && answer.send(starved()).is_ok() {})
        .map_err(|error| rounds.broke(error))?;
    let mut before = Duration::ZERO;
    for _ in 0..rounds.rounds {
        let watch = Watch::start();
        ask.send_async(()).await.map_err(|error| rounds.broke(error))?;
        let theirs = answered.recv_async().await.map_err(|error| rounds.broke(error))?;
        rounds.came(watch.elapsed().saturating_sub(theirs.saturating_sub(before)))?;
        before = theirs;
    }
    Ok(())
}

/// A task echoes what this one sends.
async fn sockets(mut rounds: Rounds) -> Result<(), String> {
    let (near, far) = pair().map_err(|error| rounds.broke(error))?;
    spawn(async move { while exchange_back(&far).await.is_ok() {} });
    for _ in 0..rounds.rounds {
        let watch = Watch::start();
        exchange(&near).await.map_err(|error| rounds.broke(error))?;
        rounds.came(watch.elapsed())?;
    }
    Ok(())
}

async fn timers(mut rounds: Rounds) -> Result<(), String> {
    for _ in 0..rounds.rounds {
        let watch = Watch::start();
        sleep(SLEEP).await;
        rounds.came(watch.elapsed().saturating_sub(SLEEP))?;
    }
    Ok(())
}

/// A task that is always runnable must keep neither the sockets nor the timers waiting.
async fn beside_a_busy_task() -> Result<(), String> {
    let stop = Rc::new(Cell::new(false));
    let stopped = stop.clone();
    spawn(async move {
        while !stopped.get() {
            yield_now().await;
        }
    });
    let busy = "beside a busy task";
    let sockets = sockets(Rounds::new("a byte through a socket pair", busy, 5)).await;
    let timers = timers(Rounds::new("a timer", busy, 2)).await;
    stop.set(true);
    sockets.and(timers)
}

fn pair() -> io::Result<(Stream, Stream)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    Ok((Stream::new(near, nowhere, shard::reactor()), Stream::new(far, nowhere, shard::reactor())))
}

async fn exchange(stream: &Stream) -> io::Result<()> {
    poll_fn(|cx| stream.poll_write(cx, b"?")).await?;
    byte(stream).await
}

async fn exchange_back(stream: &Stream) -> io::Result<()> {
    byte(stream).await?;
    poll_fn(|cx| stream.poll_write(cx, b"!")).await?;
    Ok(())
}

async fn byte(stream: &Stream) -> io::Result<()> {
    match poll_fn(|cx| stream.poll_read(cx, &mut [0])).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::tests::on_both;
    use super::super::{Driver, ShardOptions, spawn_shard};
    use super::*;

    fn on_shard(driver: Driver, test: impl AsyncFnOnce() + Send + 'static) {
        let options = ShardOptions { name: "selftest".to_owned(), driver, cpu: None, polling: true };
        let thread = spawn_shard(options, async move || test().await).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn both_drivers_pass_quickly() {
        on_both(|driver| {
            on_shard(driver, async || {
                let watch = Watch::start();
                run().await.unwrap();
                assert!(watch.elapsed() < Duration::from_secs(1), "took {:?}", watch.elapsed());
            });
        });
    }

    #[test]
    fn time_without_a_cpu_is_not_held_against_the_driver() {
        const WORK: Duration = Duration::from_millis(50);
        if on_cpus().is_none() {
            println!("skipped: the kernel does not tell how long threads wait for a CPU");
            return;
        }
        let cpu = rustix::thread::sched_getcpu();
        let stay = move || {
            let mut set = rustix::thread::CpuSet::new();
            set.set(cpu);
            rustix::thread::sched_setaffinity(None, &set).unwrap();
        };
        let over = Arc::new(AtomicBool::new(false));
        let others = [(); 3].map(|()| {
            let over = over.clone();
            std::thread::spawn(move || {
                stay();
                while !over.load(Ordering::Relaxed) {}
            })
        });
        let among_others = std::thread::spawn(move || {
            stay();
            let ran = || on_cpus().unwrap()[0];
            let (begun, watch, before) = (Instant::now(), Watch::start(), ran());
            while ran() - before < WORK {}
            (begun.elapsed(), watch.elapsed(), ran() - before)
        });
        let (wall, counted, ran) = among_others.join().unwrap();
        over.store(true, Ordering::Relaxed);
        others.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(counted < ran + LATE, "{counted:?} of {wall:?} are counted, for {ran:?} of work");
    }

    #[test]
    fn what_keeps_coming_late_is_named_and_a_single_delay_is_not() {
        let ms = Duration::from_millis;
        let mut rounds = Rounds::new("a timer", "while the shard is hot", 4);
        assert_eq!(rounds.came(ms(100)), Ok(()));
        assert_eq!(rounds.came(ms(1)), Ok(()));
        let error = rounds.came(ms(100)).unwrap_err();
        assert!(error.starts_with("a timer while the shard is hot came 100 ms late"), "{error}");
    }

    #[test]
    fn a_dead_peer_fails_the_socket_test() {
        on_shard(Driver::Epoll, async || {
            let (near, far) = pair().unwrap();
            drop(far);
            assert!(exchange(&near).await.is_err());
        });
    }
}
