//! `router`: finds the service. Route rules are not served yet, so every request goes to the latest version of the
//! own application, which the control plane has selected already.

use mesher_actors::snapshot::Failure;

use super::{Entry, Handler, Invocation, Next, Reply};

/// Has no state of its own.
#[derive(Debug)]
pub(super) struct Router;

impl Handler for Router {
    fn name(&self) -> &'static str {
        "router"
    }

    fn on_request(&mut self, invocation: &mut Invocation<'_>) -> Next {
        if invocation.call.target.is_some() {
            return Next::Next;
        }
        match invocation.directory.find(invocation.service) {
            Some(Entry::Known(target)) => {
                invocation.call.target = Some(target.clone());
                Next::Next
            }
            Some(Entry::Absent(why)) => Next::Reply(Reply::new(
                Failure::UnknownService,
                format!("no service \"{}\": {why}", invocation.service),
            )),
            None => Next::LookUp,
        }
    }
}
