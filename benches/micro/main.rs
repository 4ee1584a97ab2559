//! What single steps of a request cost, without sockets: nanoseconds and allocations.
//!
//! `cargo bench --bench micro` runs everything, `-- chain` what has that in its name. `cargo test --bench micro` runs
//! each step once, to see that it works.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)] // its input is its own; where it is wrong it shall stop

mod chain;
#[path = "../../src/proxy/forward.rs"]
#[allow(dead_code)] // compiled whole, measured in part
mod forward;
mod messages;
mod samples;
mod services;

// The rooms of mesher that `forward` looks for in its own crate.
use mesher::{codec, handler};

/// Counts allocations beside the time: a step of a request has none.
#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}
