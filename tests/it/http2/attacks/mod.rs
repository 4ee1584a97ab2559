//! Attacks known from the field, most against a sidecar before a service that speaks HTTP/1.1. Where the connection
//! has to end, it ends with GOAWAY and a code that tells the peer what was wrong.

mod blocks; // header blocks that never end, or become large when read
mod floods; // frames that cost the peer more than the sender
mod inside_tls; // the most telling of all of them, where mesher has to decrypt them too
mod interims; // interim answers to clients that do not read
mod resets; // streams opened to be given up
mod services; // what a service may do to a sidecar that calls it
mod slow; // connections that are held and not used
mod windows; // answers that nobody reads

use super::attacker::Flood;

/// How a flood whose answers are not read may end: those fill what the kernel keeps for them, and from then on the flood is not
/// read either; unless it was found out before.
#[track_caller]
fn assert_stopped(flood: Flood, calmed: u64) {
    assert!(matches!((flood, calmed), (Flood::Blocked, _) | (Flood::Cut, 1)), "{flood:?}, {calmed} told");
}

/// Numbers of streams that a client may open, from the first on.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}
