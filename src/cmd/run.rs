//! `mesher run`: carries traffic until told to end.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use mesher_actors::config::{Report, Severity};
use mesher_actors::logging;
use tracing::{error, warn};

use super::args::RunArgs;
use super::exit::Exit;
use super::load::{Loaded, load};
use crate::run::{Drained, Node, Signals, Sockets, StartError};

/// For the last lines of the log to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Runs to the end.
pub(super) fn run(args: &RunArgs) -> Exit {
    let Loaded { config, mut report, settings } = match load(args) {
        Ok(loaded) => loaded,
        Err(error) => return complain(Exit::Usage, &format!("{error}; `mesher demo` needs none")),
    };
    let log = logging::Settings::from_config(&config, &mut report);
    if report.has_errors() {
        let _ = std::io::stderr().write_all(report.render(std::io::stderr().is_terminal()).as_bytes());
        return complain(Exit::Usage, "not started; `mesher check` shows the same without starting");
    }
    let sockets = match Sockets::bind(&settings) {
        Ok(sockets) => sockets,
        Err(error) => return complain(Exit::Bind, &error.to_string()),
    };
    let log = match logging::start(&log) {
        Ok(log) => log,
        Err(error) => return complain(Exit::Failed, &error.to_string()),
    };
    warn_of(&report);
    let signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return complain(Exit::Failed, &format!("cannot receive signals: {error}")),
    };
    let drain = settings.drain;
    let mut node = match Node::start(settings, sockets) {
        Ok(node) => node,
        Err(error) => {
            error!(%error, "not started");
            log.flush(FLUSH_PATIENCE);
            let exit = if matches!(error, StartError::Driver(_)) { Exit::Environment } else { Exit::Failed };
            return complain(exit, &error.to_string());
        }
    };
    let signal = node.supervise(signals.receiver(), || {
        if !log.reopen() {
            warn!("the log is too busy to be reopened; send the signal again");
        }
    });
    let drained = node.drain(drain.for_signal(signal), signals.receiver());
    log.flush(FLUSH_PATIENCE);
    match drained {
        Drained::Clean => Exit::Ok,
        Drained::Cut => Exit::DrainTimeout,
    }
}

/// Warnings go to the log, one line each.
fn warn_of(report: &Report) {
    for problem in report.problems().iter().filter(|problem| problem.severity == Severity::Warning) {
        let help = problem.help.as_deref().unwrap_or_default();
        warn!(code = problem.label(), origin = %problem.origin, help, "{}", problem.message);
    }
}

/// Says why it ends. A closed standard error is no reason to end differently.
pub(super) fn complain(exit: Exit, why: &str) -> Exit {
    let _ = writeln!(std::io::stderr(), "mesher: {why}");
    exit
}
