//! Integration tests: one binary, a module per theme. `support` holds what the themes share; every theme drives
//! mesher, or the peers that support plays, from the outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod fixtures;
mod support;
