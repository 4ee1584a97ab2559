//! Configuration: files, environment and command line in one flat space of dotted keys, as Mesher has it.
//!
//! ```text
//!   sources ──> yaml ──> flatten ──┐
//!   environment ───────────────────┼──> layers (Config) ──> check ──> Report ──> render
//!   command line ──────────────────┘         └──> typed reads, by whoever owns a setting
//! ```
//!
//! Every value keeps its origin: the file with line and column, the variable, or the flag. Nothing stops at the
//! first problem: the [`Report`] has them all. Settings live beside their consumers, each made by a
//! `from_config(&Config, &mut Report)`; what keys there are is data, in `table`.

mod check;
mod environment;
mod expand;
mod flatten;
pub mod fuzzing;
mod handlers;
mod keys;
mod layers;
mod origin;
mod read;
mod render;
mod report;
mod secret;
mod sources;
mod table;
mod value;
pub mod yaml;

pub use expand::expand;
pub use flatten::{flatten, report_fault};
pub use layers::{Config, Effective};
pub use origin::{Origin, Place, SourceFile};
pub use report::{Code, Problem, Report, Severity};
pub use sources::{ConfigError, Sources, read as read_file};
pub use value::{Entry, Unit, duration};
#[cfg(test)]
mod tests;
