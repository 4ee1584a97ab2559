//! Tests of the whole: one binary, a file a theme.

mod layers; // which room may name which
