//! Tests of the whole: one binary, a file a theme.

mod capacity; // the pure parts of the capacity bench
mod layers; // which room may name which
