//! `mesher run`: carries traffic until told to end.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use mesher_actors::config::{Config, Report, Severity};
use mesher_actors::logging::{self, LogHandle};
use mesher_actors::tls::Ciphers;
use tracing::{error, info, warn};

use super::args::RunArgs;
use super::exit::Exit;
use super::load::{Loaded, load};
use crate::run::{
    Drained, Happening, Node, Predecessor, Settings, Signal, Signals, Sockets, StartError, needs_restart,
};

/// For the last lines of the log to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Runs to the end.
pub(super) fn run(args: &RunArgs, ciphers: &Ciphers) -> Exit {
    let mut predecessor = match Predecessor::find() {
        Ok(predecessor) => predecessor,
        Err(why) => return complain(Exit::Failed, &why),
    };
    match start((args, ciphers), predecessor.as_mut()) {
        Ok(running) => {
            drop(predecessor);
            running.follow()
        }
        Err((exit, why)) => {
            if let Some(predecessor) = predecessor {
                predecessor.refuse(&why);
            }
            complain(exit, &why)
        }
    }
}

/// A mesher that serves.
struct Running<'a> {
    args: &'a RunArgs,
    ciphers: &'a Ciphers,
    config: Config,
    log: LogHandle,
    signals: Signals,
    node: Node,
}

type Failure = (Exit, String);

fn start<'a>(
    (args, ciphers): (&'a RunArgs, &'a Ciphers),
    mut predecessor: Option<&mut Predecessor>,
) -> Result<Running<'a>, Failure> {
    let Loaded { config, mut report, mut settings } =
        load(args, ciphers).map_err(|error| (Exit::Usage, format!("{error}; `mesher demo` needs none")))?;
    let log = logging::Settings::from_config(&config, &mut report);
    if report.has_errors() {
        let _ = std::io::stderr().write_all(report.render(std::io::stderr().is_terminal()).as_bytes());
        let why =
            format!("not started: {}; `mesher check` shows the same without starting", summary(&report));
        return Err((Exit::Usage, why));
    }
    let given = predecessor.as_deref_mut().map(Predecessor::take_sockets).unwrap_or_default();
    let sockets = Sockets::bind(&settings, given).map_err(|error| (Exit::Bind, error.to_string()))?;
    let log = logging::start(&log).map_err(|error| (Exit::Failed, error.to_string()))?;
    warn_of(&report);
    let signals = Signals::catch().map_err(|e| (Exit::Failed, format!("cannot receive signals: {e}")))?;
    if let Some(predecessor) = predecessor.as_deref() {
        settings.inherit(predecessor);
    }
    match serve(settings, sockets, predecessor, &signals) {
        Ok(node) => Ok(Running { args, ciphers, config, log, signals, node }),
        Err((exit, why)) => {
            error!(why, "not started");
            log.flush(FLUSH_PATIENCE);
            Err((exit, why))
        }
    }
}

/// Starts a node on its own, or in the place of another process.
fn serve(
    settings: Settings,
    sockets: Sockets,
    predecessor: Option<&mut Predecessor>,
    signals: &Signals,
) -> Result<Node, Failure> {
    let failed = |error: StartError| match error {
        StartError::Driver(_) => (Exit::Environment, error.to_string()),
        _ => (Exit::Failed, error.to_string()),
    };
    let Some(predecessor) = predecessor else { return Node::start(settings, sockets).map_err(failed) };
    let ready_within = settings.upgrade_ready_within;
    let mut node = Node::prepare(settings, sockets).map_err(failed)?;
    predecessor.relieve(&mut node, ready_within, signals.receiver()).map_err(|why| (Exit::Failed, why))?;
    Ok(node)
}

impl Running<'_> {
    /// Follows signals to the end.
    fn follow(mut self) -> Exit {
        let drained = loop {
            match self.node.supervise(self.signals.receiver()) {
                Happening::Signal(Signal::HangUp) => {
                    self.reopen_log();
                    let fresh = self.load_again();
                    self.node.reload(fresh);
                }
                Happening::Signal(Signal::User1) => self.reopen_log(),
                Happening::Signal(Signal::User2) => self.node.begin_upgrade(),
                Happening::Signal(signal) => {
                    let settings = self.node.drain_settings(signal);
                    break self.node.drain(settings, self.signals.receiver());
                }
                Happening::HandedOver(to) => break self.node.retire(to, self.signals.receiver()),
            }
        };
        self.log.flush(FLUSH_PATIENCE);
        match drained {
            Drained::Clean => Exit::Ok,
            Drained::Cut => Exit::DrainTimeout,
        }
    }

    fn reopen_log(&self) {
        if !self.log.reopen() {
            warn!("the log is too busy to be reopened; send the signal again");
        }
    }

    /// Reads the configuration again and checks it whole, with the same sources and flags. A wrong one is logged as
    /// `mesher check` would show it.
    fn load_again(&mut self) -> Result<Settings, String> {
        info!("reading the configuration again");
        let Loaded { config, mut report, settings } =
            load(self.args, self.ciphers).map_err(|error| error.to_string())?;
        let log = logging::Settings::from_config(&config, &mut report);
        if report.has_errors() {
            report.render(false).lines().for_each(|line| error!("{line}"));
            return Err(summary(&report));
        }
        warn_of(&report);
        for key in needs_restart(&self.config.entries(), &config.entries()) {
            warn!(key, origin = %config.origin(&key), "has changed and needs a restart, or an upgrade (SIGUSR2)");
        }
        self.log.set_level(log.level);
        Ok(settings)
    }
}

/// The first error, and how many there are.
fn summary(report: &Report) -> String {
    let first = report.problems().iter().find(|problem| problem.severity == Severity::Error);
    let first = first.map(ToString::to_string).unwrap_or_default();
    match report.errors() {
        0 | 1 => first,
        errors => format!("{first} (and {} more)", errors - 1),
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
