//! The new process as the old one sees it.

use std::env;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::executable;
use super::predecessor::{STDIN, VARIABLE};
use super::words::{Answer, Line, Offer, Order, Silence};
use crate::net;

/// For the new process to start and read its configuration, beyond the time it has to get ready.
const START_WITHIN: Duration = Duration::from_secs(10);
/// For it to serve once it was told to: its admin starts, and it may register an instance of its own first.
const SERVE_WITHIN: Duration = Duration::from_secs(15);

/// A new process. Dropping it ends it, unless it has taken over.
#[derive(Debug)]
pub(in crate::run) struct Successor {
    process: Child,
    program: PathBuf,
    answers: flume::Receiver<Result<Prepared, NotReady>>,
    has_taken_over: bool,
}

/// It could take over now.
#[derive(Debug)]
pub(in crate::run) struct Prepared {
    /// It has taken on our instance, too.
    pub keeps_instance: bool,
    line: Line,
}

/// Why it will not be.
#[derive(Debug)]
pub(in crate::run) enum NotReady {
    /// It says so.
    Refused(String),
    /// It does not say.
    Silence(Silence),
}

impl Successor {
    /// Starts it and has it prepare itself, on a thread of its own; [`Successor::answers`] tells of the outcome.
    ///
    /// # Errors
    /// Why there is no process.
    pub(in crate::run) fn start(
        offer: Offer,
        sockets: Vec<OwnedFd>,
        ready_within: Duration,
    ) -> Result<Self, String> {
        let (ours, theirs) =
            UnixStream::pair().map_err(|error| format!("no socket to talk over: {error}"))?;
        let (program, process) = launch(theirs)?;
        let (sender, answers) = flume::bounded(1);
        let successor = Self { process, program, answers, has_taken_over: false };
        let prepare = move || {
            // Nobody listens any more once the upgrade was given up.
            let _ = sender.send(prepare(Line::new(ours), &offer, &sockets, ready_within));
        };
        let spawned = std::thread::Builder::new().name("upgrade".into()).spawn(prepare);
        spawned.map_err(|error| format!("no thread to talk to it: {error}"))?;
        Ok(successor)
    }

    /// Its process id.
    pub(in crate::run) fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it runs.
    pub(in crate::run) fn program(&self) -> &PathBuf {
        &self.program
    }

    /// Whether it is prepared, once.
    pub(in crate::run) fn answers(&self) -> &flume::Receiver<Result<Prepared, NotReady>> {
        &self.answers
    }

    /// Has it serve. Afterwards it lives on by itself.
    ///
    /// # Errors
    /// Why it does not; it is ended then.
    pub(in crate::run) fn take_over(mut self, prepared: Prepared) -> Result<(), String> {
        let mut line = prepared.line;
        let answer = match line.say(&Order::TakeOver) {
            Ok(()) => line.hear(SERVE_WITHIN),
            Err(_) => Err(Silence::Gone),
        };
        match answer {
            Ok(Answer::Serving) => {
                self.has_taken_over = true;
                Ok(())
            }
            Ok(Answer::Refused { why }) => Err(self.end(NotReady::Refused(why))),
            Ok(other) => Err(self.end(NotReady::Silence(Silence::nonsense(&other)))),
            Err(silence) => Err(self.end(NotReady::Silence(silence))),
        }
    }

    /// Ends it; all that is known of why it did not succeed.
    pub(in crate::run) fn end(mut self, why: NotReady) -> String {
        let status = self.kill();
        match (why, status) {
            (NotReady::Refused(why), _) => why,
            (NotReady::Silence(Silence::Gone), Ok(status)) => {
                format!("it ended before it was ready: {status}")
            }
            (NotReady::Silence(silence), _) => silence.to_string(),
        }
    }

    /// At once: it has accepted nothing yet, and in an orderly end it would take our instance out of the registry.
    fn kill(&mut self) -> io::Result<std::process::ExitStatus> {
        // One that has ended already keeps its own exit status.
        self.process.kill()?;
        self.process.wait()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.has_taken_over {
            let _ = self.kill();
        }
    }
}

fn launch(stdin: UnixStream) -> Result<(PathBuf, Child), String> {
    let mut arguments = env::args_os();
    let first = arguments.next();
    let running =
        env::current_exe().map_err(|error| format!("the running program cannot be found: {error}"))?;
    let program = executable::find(first.as_deref(), &running, |path| path.is_file())
        .map_err(|path| format!("{}: there is no such file any more", path.display()))?;
    let mut command = Command::new(&program);
    command.arg0(first.unwrap_or_else(|| program.clone().into())).args(arguments);
    command.env(VARIABLE, STDIN).stdin(Stdio::from(OwnedFd::from(stdin)));
    let process = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
    Ok((program, process))
}

/// Gives it all it needs and waits until it says that it is ready, or why not.
fn prepare(
    mut line: Line,
    offer: &Offer,
    sockets: &[OwnedFd],
    ready_within: Duration,
) -> Result<Prepared, NotReady> {
    let descriptors: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let given = net::hand_over(line.stream(), &descriptors).and_then(|()| line.say(offer));
    // One that ends at once may have said why nevertheless.
    let answer = line.hear(ready_within + START_WITHIN);
    match (answer, given) {
        (Ok(Answer::Ready { keeps_instance }), Ok(())) => Ok(Prepared { keeps_instance, line }),
        // It was ready for something else than what it could not be given.
        (Ok(Answer::Ready { .. }), Err(_)) => Err(NotReady::Silence(Silence::Gone)),
        (Ok(Answer::Refused { why }), _) => Err(NotReady::Refused(why)),
        (Ok(other), _) => Err(NotReady::Silence(Silence::nonsense(&other))),
        (Err(silence), _) => Err(NotReady::Silence(silence)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    #[test]
    fn one_that_ends_before_it_was_given_anything_is_gone_whatever_it_says() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"{\"ready\":{\"keeps_instance\":true}}\n").unwrap();
        drop(theirs);
        let socket = OwnedFd::from(UnixStream::pair().unwrap().0);
        let prepared = prepare(Line::new(ours), &Offer::default(), &[socket], Duration::ZERO);
        assert!(matches!(prepared, Err(NotReady::Silence(Silence::Gone))), "{prepared:?}");
    }
}
