//! Names of handlers in `servicecomb.handler.chain.*`: which are served, which are not yet, and which must not be
//! left out.
//!
//! It knows names only; what a handler does is the business of the data plane.

use super::keys::nearest;
use super::layers::Config;
use super::report::{Code, Report};
use super::value::Entry;

/// The handler that sends the request; every chain ends with it.
const TRANSPORT: &str = "transport";
const SERVED: [&str; 3] = ["router", "loadbalance", TRANSPORT];
/// Left out with a warning.
const NOT_SERVED: [&str; 14] = [
    "ratelimiter-consumer",
    "ratelimiter-provider",
    "rate-limiter",
    "bizkeeper-consumer",
    "bizkeeper-provider",
    "fault-inject",
    "tracing-consumer",
    "tracing-provider",
    "traffic-marker",
    "port-selector",
    "skywalking-consumer",
    "skywalking-provider",
    "access-log",
    "monitoring",
];
/// They let nobody in who may not; a chain without them would let in everybody.
const UNSAFE_TO_LEAVE_OUT: [&str; 3] = ["oauth2", "jwt", "basicAuth"];

impl Config {
    /// The served handlers of a chain, in order. An absent chain is the default; `transport` is added where it is
    /// missing. `key` is `servicecomb.handler.chain.Consumer.outgoing` or the like.
    #[must_use]
    pub fn chain(&self, key: &str, default: &[&str]) -> Vec<String> {
        let named = self.list(key);
        let mut chain: Vec<String> = if named.is_empty() {
            default.iter().map(|name| (*name).to_owned()).collect()
        } else {
            named.into_iter().filter(|name| SERVED.contains(&name.as_str())).collect()
        };
        if !chain.iter().any(|name| name == TRANSPORT) {
            chain.push(TRANSPORT.to_owned());
        }
        chain
    }
}

/// Reports the handlers of a chain that are not served or not known.
pub(super) fn check(key: &str, entry: &Entry, report: &mut Report) {
    let names = entry.words();
    for name in &names {
        let name = name.as_str();
        if SERVED.contains(&name) {
            continue;
        }
        if NOT_SERVED.contains(&name) {
            let message = format!("`{key}`: the handler `{name}` is not served yet");
            report.warning(Code::NOT_SERVED, &entry.origin, message).help("the chain runs without it");
        } else if UNSAFE_TO_LEAVE_OUT.contains(&name) {
            let message = format!(
                "`{key}`: the handler `{name}` is not served yet, and without it everybody would be let in"
            );
            report.error(Code::NOT_SERVED, &entry.origin, message).help("remove it to accept that");
        } else {
            let message = format!("`{key}`: no handler is called `{}`", name.escape_debug());
            let problem = report.error(Code::UNKNOWN_NAME, &entry.origin, message);
            match nearest(name, SERVED.into_iter().chain(NOT_SERVED)) {
                Some(meant) => problem.help(format!("did you mean `{meant}`?")),
                None => problem.help(format!("served are {}", SERVED.join(", "))),
            };
        }
    }
    if !names.is_empty() && names.iter().all(|name| name != TRANSPORT) {
        let message = format!("`{key}` does not end with `{TRANSPORT}`");
        report.warning(Code::CONFLICT, &entry.origin, message).help("mesher adds it");
    }
}
