//! What is wrong with what a key names, found when it is used.

use std::fmt;
use std::path::PathBuf;

use super::settings::KeyFile;
use super::tags::Tag;
use crate::config::{Code, Origin, Report};

/// Something that cannot be used, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    key: String,
    origin: Origin,
    file: Option<PathBuf>,
    why: String,
}

impl Fault {
    /// Of a file.
    pub(super) fn new(file: &KeyFile, why: impl fmt::Display) -> Self {
        Self {
            key: file.key.clone(),
            origin: file.origin.clone(),
            file: Some(file.path.clone()),
            why: why.to_string(),
        }
    }

    /// Of all keys of a tag together.
    pub(super) fn of_tag(tag: &Tag, why: impl fmt::Display) -> Self {
        Self { key: format!("ssl.{}", tag.name()), origin: Origin::Default, file: None, why: why.to_string() }
    }

    /// Adds it to a report, at the place where the file is named.
    pub fn report(&self, report: &mut Report) {
        report.error(Code::UNUSABLE_FILE, &self.origin, self.to_string());
    }

    /// The same as a warning, of what can be used and does not help.
    pub(super) fn warn(&self, report: &mut Report) {
        report.warning(Code::UNUSABLE_FILE, &self.origin, self.to_string()).help("renew the file");
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: ", self.key)?;
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        f.write_str(&self.why)
    }
}
