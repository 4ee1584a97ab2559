//! What the registrar asks of service-center and what it hears back: the words between the machine that decides and
//! the client that carries out.

use std::sync::Arc;

use super::error::CallError;
use crate::registry::instance::{Registration, Status};

/// One thing to ask of service-center. Each may be repeated without harm.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Call {
    /// Is the service known, under which id?
    FindService(Arc<Registration>),
    /// Make the service known.
    CreateService(Arc<Registration>),
    /// Make the instance known.
    CreateInstance { service: Arc<str>, instance: Arc<str>, registration: Arc<Registration>, status: Status },
    /// Keep the instance.
    Heartbeat { service: Arc<str>, instance: Arc<str> },
    /// Set the status of the instance.
    SetStatus { service: Arc<str>, instance: Arc<str>, status: Status },
    /// Does service-center still know the service?
    Confirm { service: Arc<str> },
    /// Take the instance out.
    Remove { service: Arc<str>, instance: Arc<str> },
}

impl Call {
    /// For logs.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::FindService(_) => "find service",
            Self::CreateService(_) => "create service",
            Self::CreateInstance { .. } => "create instance",
            Self::Heartbeat { .. } => "heartbeat",
            Self::SetStatus { .. } => "set status",
            Self::Confirm { .. } => "confirm service",
            Self::Remove { .. } => "remove instance",
        }
    }
}

/// How a call went; the id of what was found or made.
pub(super) type Outcome = Result<Option<Arc<str>>, CallError>;

/// Ties an outcome to its call: outcomes of calls given up are ignored.
pub(super) type Ticket = u64;

/// What [`Call::Confirm`] found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Service-center knows our service.
    Known,
    /// It does not.
    Lost,
}
