//! The queue between those who log and the one thread that writes.
//!
//! Logging never waits: a line that finds the queue full is dropped and counted, and so is one that cannot be
//! written. It knows nothing of events or formats.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, SystemTime};

use super::file::LogFile;

/// Lines that may wait: what a busy mesher logs in the time a slow disk needs for a second write.
const LINES_MAX: usize = 8192;
/// Bytes that may wait, since a line may be long.
const BYTES_MAX: usize = 4 << 20;

/// Where lines end up. The thread owns it.
pub(super) struct Outputs {
    /// The standard output, or what stands in for it in tests.
    pub(super) stdout: Option<Box<dyn Write + Send>>,
    /// The file.
    pub(super) file: Option<LogFile>,
}

/// One event, formatted for each output that wants it.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) stdout: Option<String>,
    pub(super) file: Option<String>,
}

/// The end that is written to; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    jobs: flume::Sender<Job>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
}

enum Job {
    Line(Line),
    Reopen,
    Flush(flume::Sender<()>),
}

impl Queue {
    /// Starts the thread.
    pub(super) fn start(outputs: Outputs) -> io::Result<Self> {
        let (jobs, received) = flume::bounded(LINES_MAX);
        let counts = Arc::new(Counts::default());
        let theirs = Arc::clone(&counts);
        thread::Builder::new().name("mesher-log".into()).spawn(move || run(&received, outputs, &theirs))?;
        Ok(Self { jobs, counts })
    }

    /// Hands over a line, or drops it.
    pub(super) fn push(&self, line: Line) {
        let bytes = line.bytes();
        let waiting = self.counts.waiting_bytes.fetch_add(bytes, Relaxed);
        if waiting.saturating_add(bytes) > BYTES_MAX || self.jobs.try_send(Job::Line(line)).is_err() {
            self.counts.waiting_bytes.fetch_sub(bytes, Relaxed);
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Lines lost so far.
    pub(super) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Relaxed)
    }

    /// Opens the file again, once all lines before are written. False if there is no room to ask.
    pub(super) fn reopen(&self) -> bool {
        self.jobs.try_send(Job::Reopen).is_ok()
    }

    /// Waits until everything logged so far is written, but no longer than this. True if it is.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let (done, written) = flume::bounded(1);
        let asked = self.jobs.send_timeout(Job::Flush(done), patience).is_ok();
        asked && written.recv_timeout(patience).is_ok()
    }
}

impl Line {
    fn bytes(&self) -> usize {
        [&self.stdout, &self.file].into_iter().flatten().map(String::len).sum()
    }
}

fn run(jobs: &flume::Receiver<Job>, mut outputs: Outputs, counts: &Counts) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Line(line) => {
                if outputs.write(&line).is_err() {
                    counts.dropped.fetch_add(1, Relaxed);
                }
                counts.waiting_bytes.fetch_sub(line.bytes(), Relaxed);
            }
            Job::Reopen => outputs.reopen(),
            Job::Flush(done) => {
                // Whoever asked may have lost patience.
                let _ = done.send(());
            }
        }
    }
}

impl Outputs {
    /// Both are tried whatever becomes of the first.
    fn write(&mut self, line: &Line) -> io::Result<()> {
        let stdout = match (&mut self.stdout, &line.stdout) {
            (Some(out), Some(text)) => out.write_all(text.as_bytes()).and_then(|()| out.flush()),
            _ => Ok(()),
        };
        let file = match (&mut self.file, &line.file) {
            (Some(file), Some(text)) => file.write(text.as_bytes(), SystemTime::now()),
            _ => Ok(()),
        };
        stdout.and(file)
    }

    /// A file that cannot be opened is tried again when the next line comes.
    fn reopen(&mut self) {
        if let Some(file) = &mut self.file {
            let _ = file.open(SystemTime::now());
        }
    }
}
