//! Holds the fake service-center to recordings of the real one.
//!
//! [`recording`] is the form of a recording, [`compare`] says where an answer differs from what was recorded, and
//! [`run`] plays a recording against the core of the fake with the clock moved to each step. No I/O but reading the
//! files, no waiting.

pub(crate) mod compare;
pub(crate) mod recording;
pub(crate) mod run;
