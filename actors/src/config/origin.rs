//! Where a value comes from: every message about configuration can say so.
//!
//! It knows nothing of what a value means.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::yaml::Mark;

/// A file as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path.
    pub path: PathBuf,
    /// Its text, for excerpts.
    pub text: String,
}

/// A place in a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<SourceFile>,
    /// Where in it.
    pub mark: Mark,
    /// The line may be shown: false where it holds a secret.
    pub quotable: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origin {
    /// Nobody set it.
    #[default]
    Default,
    /// A file.
    File(Place),
    /// The environment variable of this name.
    Env(String),
    /// The command line.
    Flag(String),
}

impl Place {
    /// A place that may be shown.
    #[must_use]
    pub fn new(file: &Arc<SourceFile>, mark: Mark) -> Self {
        Self { file: Arc::clone(file), mark, quotable: true }
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

impl Origin {
    /// The place, if it is one in a file.
    #[must_use]
    pub const fn place(&self) -> Option<&Place> {
        match self {
            Self::File(place) => Some(place),
            _ => None,
        }
    }

    /// Another place of the same source: the same file, or the same variable or flag.
    #[must_use]
    pub fn at(&self, mark: Mark) -> Self {
        match self {
            Self::File(place) => Self::File(Place { mark, ..place.clone() }),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => place.fmt(f),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "command line ({name})"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path().display(), self.mark.line, self.mark.column)
    }
}

/// Without the text of the file, which would bury every other line of a debug print.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
