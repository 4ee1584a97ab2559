//! The file registry: services and instances as written in a YAML file, which is watched.
//!
//! ```yaml
//! services:
//!   RESTServer:
//!     - version: 0.0.1                       # app, environment, status, zone, properties are optional
//!       endpoints: ["rest://127.0.0.1:8083"]
//! ```
//!
//! A pure reader of the format, a renderer of its errors, and the source that looks at the file. Nothing is ever
//! written to it: our own instance counts as registered.

mod caret;
mod format;
pub mod fuzzing;
mod source;

pub use caret::Fault;
pub use source::{Faults, FileSettings, FileSource, inspect};
