//! Logs, as `lager.yaml` asks for them: level, text or JSON lines, to the standard output and to a file that rotates.
//!
//! ```text
//!   tracing event ──> line (format) ──> queue (bounded, drops and counts) ──> thread: standard output, file
//! ```
//!
//! A log never holds up or ends the process: lines that find the queue full, or a disk that is full, are dropped
//! and counted in [`LogHandle::dropped`]. When a file rotates and which backups go is decided in [`rotation`],
//! without a clock or a disk.

mod file;
mod format;
mod handle;
mod queue;
pub mod rotation;
mod settings;

pub use format::{Fields, Record, json_line, text_line};
pub use handle::{LogHandle, StartError, start};
pub use settings::{Level, Settings};

#[cfg(test)]
mod tests;
