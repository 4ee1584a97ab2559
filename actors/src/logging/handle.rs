//! Starts logging, and what may be asked of it while it runs.
//!
//! It joins the other files of the folder: events are formatted on the thread where they happen and written on the
//! one of the queue.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{Registry, reload};

use super::file::LogFile;
use super::format::{Fields, Record, json_line, text_line};
use super::queue::{Line, Outputs, Queue};
use super::settings::{Level, Settings};

/// Our own crates: the configured level is theirs, libraries stay at INFO and above.
const OWN_TARGET: &str = "mesher";

/// Asks things of the running log; cheap to clone.
#[derive(Debug, Clone)]
pub struct LogHandle {
    queue: Queue,
    level: reload::Handle<Targets, Registry>,
}

/// Logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no thread for it.
    #[error("the thread that writes the log cannot be started: {0}")]
    Thread(#[source] io::Error),
    /// Somebody logs already.
    #[error("logging was started before")]
    Twice,
}

/// Starts logging for the whole process. A file that cannot be opened is no reason not to start: the standard
/// output takes the lines, the first of which says so, and the file is tried again later.
///
/// # Errors
/// See [`StartError`].
pub fn start(settings: &Settings) -> Result<LogHandle, StartError> {
    let (subscriber, handle, failure) =
        build(settings, Box::new(io::stdout())).map_err(StartError::Thread)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| StartError::Twice)?;
    if let (Some(error), Some(path)) = (failure, &settings.file) {
        tracing::error!(file = %path.display(), %error, "cannot open the log file");
    }
    Ok(handle)
}

impl LogHandle {
    /// Opens the log file again, after it was moved away. False if the log is too busy to be asked; ask again.
    #[must_use]
    pub fn reopen(&self) -> bool {
        self.queue.reopen()
    }

    /// Sets what is logged from now on.
    pub fn set_level(&self, level: Level) {
        // It fails only when the log itself is gone.
        let _ = self.level.reload(targets(level));
    }

    /// Lines lost since the start: the queue or a disk was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Waits until everything logged so far is written, at most for about `patience`. Call it before the process
    /// ends. False if time ran out.
    pub fn flush(&self, patience: Duration) -> bool {
        self.queue.flush(patience)
    }
}

/// The subscriber, its handle, and why the file could not be opened.
pub(super) fn build(
    settings: &Settings,
    stdout: Box<dyn Write + Send>,
) -> io::Result<(impl Subscriber + Send + Sync + use<>, LogHandle, Option<io::Error>)> {
    let mut file = settings.file.clone().map(|path| LogFile::new(path, settings.rotation));
    let failure = file.as_mut().and_then(|file| file.open(SystemTime::now()).err());
    let to_stdout = settings.stdout || failure.is_some() || file.is_none();
    let lines = Lines {
        stdout: to_stdout.then_some(Style { text: settings.text, color: settings.color }),
        file: file.is_some().then_some(Style { text: settings.text, color: false }),
        queue: Queue::start(Outputs { stdout: to_stdout.then_some(stdout), file })?,
    };
    let (level, handle) = reload::Layer::new(targets(settings.level));
    let handle = LogHandle { queue: lines.queue.clone(), level: handle };
    Ok((tracing_subscriber::registry().with(level).with(lines), handle, failure))
}

fn targets(level: Level) -> Targets {
    // The admin's server tells of each start and stop of its parts, which says nothing to whoever runs mesher.
    let libraries = level.filter().min(LevelFilter::WARN);
    Targets::new().with_default(libraries).with_target(OWN_TARGET, level.filter())
}

/// Turns events into lines.
struct Lines {
    stdout: Option<Style>,
    file: Option<Style>,
    queue: Queue,
}

#[derive(Clone, Copy)]
struct Style {
    text: bool,
    color: bool,
}

impl Style {
    fn line(self, record: &Record<'_>, fields: &Fields) -> String {
        if self.text { text_line(record, fields, self.color) } else { json_line(record, fields) }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let record = Record { at: SystemTime::now(), level: *metadata.level(), target: metadata.target() };
        self.queue.push(Line {
            stdout: self.stdout.map(|style| style.line(&record, &fields)),
            file: self.file.map(|style| style.line(&record, &fields)),
        });
    }
}
