//! Registries: who offers which service, and telling others about ours.
//!
//! A [`Source`] talks to one registry in its own words and translates into the types of [`instance`]; it knows
//! nothing of balancing, versions preferred, or snapshots. The `watcher` owns a source: it starts it from a
//! factory, starts it again with backoff when it ends, and keeps the last good answer, on disk too.
//!
//! ```text
//!   Command: Watch, Forget, Register, SetStatus, Withdraw, Release  --->  source  --->  Event: Answer, Registration, Reachable
//! ```

pub mod endpoint;
pub mod file;
pub mod instance;
mod object;
pub mod servicecenter;
pub mod unlisted;
pub mod watcher;

use std::sync::Arc;

use futures::future::LocalBoxFuture;
use serde::Serialize;

use instance::{Instance, Registration, Status};

/// Commands that may wait for a source.
pub const COMMANDS_WAITING_MAX: usize = 4096;
/// Events that may wait for the watcher; a source waits when it is full.
pub const EVENTS_WAITING_MAX: usize = 1024;

/// What a source is asked to do. Commands survive a restart of the source: the watcher repeats those that hold.
#[derive(Debug)]
pub enum Command {
    /// Answer for this service name, now and whenever the answer changes.
    Watch(Arc<str>),
    /// No longer answer for it.
    Forget(Arc<str>),
    /// Make our own instance known and keep it known.
    Register(Arc<Registration>),
    /// Set the status of our own instance.
    SetStatus(Status),
    /// Take our own instance out and keep it out; `done` hears the outcome.
    Withdraw(futures::channel::oneshot::Sender<Result<(), String>>),
    /// Leave our own instance as it is and do nothing more about it: another process has taken it over.
    Release,
}

/// What a source reports.
#[derive(Debug)]
pub enum Event {
    /// The registry's answer for a watched name, complete: it replaces the one before.
    Answer {
        /// The name asked for.
        service: Arc<str>,
        /// What it stands for.
        answer: Answer,
    },
    /// Where our own registration stands.
    Registration(RegistrationState),
    /// The registry answers (again), or does not and why. The last answers stay good.
    Reachable(Result<(), String>),
}

/// What a registry says of a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// There is no such service.
    NoSuchService,
    /// Its instances, of every version and status.
    Instances(Vec<Arc<Instance>>),
}

/// Where our own registration stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationState {
    /// Not asked for, or withdrawn.
    #[default]
    Absent,
    /// Being tried; the last failure if there was one.
    Pending(Option<String>),
    /// Known to the registry under this id.
    Registered(Arc<str>),
}

/// One registry. It runs until it fails; it reconnects and retries by itself where the registry's protocol says
/// how, and ends only when it cannot go on.
pub trait Source {
    /// Serves `commands` and reports to `events` until the command channel closes (`Ok`) or it cannot go on.
    fn run(
        &mut self,
        commands: flume::Receiver<Command>,
        events: flume::Sender<Event>,
    ) -> LocalBoxFuture<'_, Result<(), SourceError>>;
}

/// Why a source ended.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);
