//! What is wrong with a configuration: all of it at once, each with a place and a way out.
//!
//! It knows nothing of keys. Checks and typed reads push problems; `mesher check` and start-up show them.

use std::fmt;

use serde_json::json;

use super::origin::{Origin, Place};

/// Problems kept of each severity; a file of a megabyte of nonsense needs no more to be understood.
pub(super) const PROBLEMS_MAX: usize = 1000;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// mesher runs, but not quite as the file says.
    Warning,
    /// mesher does not start, or keeps what it had.
    Error,
}

/// What kind of problem it is. The number is stable; the letter in front of it is the severity: `E0103`, `W0103`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(u16);

impl Code {
    /// A file cannot be read: missing rights, too big, not UTF-8.
    pub const UNREADABLE: Self = Self(101);
    /// A file that must be there is not.
    pub const MISSING_FILE: Self = Self(102);
    /// A key that neither Mesher nor mesher knows.
    pub const UNKNOWN_KEY: Self = Self(103);
    /// Not YAML, or beyond the bounds of what is read.
    pub const SYNTAX: Self = Self(104);
    /// The same key twice in one file.
    pub const DUPLICATE_KEY: Self = Self(105);
    /// The same key in two files: the first loaded counts.
    pub const SHADOWED_KEY: Self = Self(106);
    /// A value of the wrong type or out of its range.
    pub const WRONG_VALUE: Self = Self(201);
    /// A value that must be there is not.
    pub const MISSING_VALUE: Self = Self(202);
    /// Values that contradict each other.
    pub const CONFLICT: Self = Self(203);
    /// A file that a key names and that cannot be used.
    pub const UNUSABLE_FILE: Self = Self(204);
    /// Known to Mesher, not served yet; an error where going without would be unsafe.
    pub const NOT_SERVED: Self = Self(301);
    /// Has no effect.
    pub const NO_EFFECT: Self = Self(302);
    /// An old spelling.
    pub const OLD_SPELLING: Self = Self(303);
    /// A handler, strategy or registry type that nobody knows.
    pub const UNKNOWN_NAME: Self = Self(304);
    /// Does more than it seems to.
    pub const FAR_REACHING: Self = Self(305);
    /// A peer is believed without being verified.
    pub const UNVERIFIED: Self = Self(306);
}

/// One problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// What kind.
    pub code: Code,
    /// What is wrong, in a line.
    pub message: String,
    /// Where.
    pub origin: Origin,
    /// What to do about it, or what was meant.
    pub help: Option<String>,
    /// A second place, and what it has to do with it.
    pub related: Option<(Place, String)>,
}

/// All problems of a configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    problems: Vec<Problem>,
    /// The last problem that found no room.
    beyond: Option<Problem>,
}

impl Report {
    /// Adds an error; `help` and `related` may be hung on to what is returned.
    pub fn error(&mut self, code: Code, origin: &Origin, message: impl Into<String>) -> &mut Problem {
        self.push(Severity::Error, code, origin, message.into())
    }

    /// Adds a warning.
    pub fn warning(&mut self, code: Code, origin: &Origin, message: impl Into<String>) -> &mut Problem {
        self.push(Severity::Warning, code, origin, message.into())
    }

    /// All problems, in the order they were found.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// There is nothing to report.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// At least one error: do not run with this.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// Number of errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// Number of warnings.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    /// Makes unknown keys errors: `check --strict`.
    pub fn be_strict(&mut self) {
        for problem in self.problems.iter_mut().filter(|p| p.code == Code::UNKNOWN_KEY) {
            problem.severity = Severity::Error;
        }
    }

    /// Puts the problems in the order in which a reader of the files meets them.
    pub(super) fn sort(&mut self) {
        let place = |p: &Problem| p.origin.place().map(|place| (place.path().to_owned(), place.mark));
        self.problems.sort_by_cached_key(place);
    }

    /// For programs: one object a problem.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "errors": self.errors(),
            "warnings": self.warnings(),
            "problems": self.problems.iter().map(Problem::to_json).collect::<Vec<_>>(),
        })
    }

    /// The same problem found by two readers is one problem.
    fn push(&mut self, severity: Severity, code: Code, origin: &Origin, message: String) -> &mut Problem {
        let problem = Problem { severity, code, message, origin: origin.clone(), help: None, related: None };
        if self.count(severity) >= PROBLEMS_MAX {
            return self.beyond.insert(problem);
        }
        let same = |p: &Problem| p.code == code && p.severity == severity && p.origin == problem.origin;
        let known = self.problems.iter().position(|p| same(p) && p.message == problem.message);
        let at = known.unwrap_or(self.problems.len());
        if known.is_none() {
            self.problems.push(problem);
        }
        #[allow(clippy::indexing_slicing)] // found or pushed just above
        &mut self.problems[at]
    }

    fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|p| p.severity == severity).count()
    }
}

impl Problem {
    /// What to do about it.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// A second place.
    pub fn related(&mut self, place: Place, what: impl Into<String>) -> &mut Self {
        self.related = Some((place, what.into()));
        self
    }

    /// `E0103`.
    #[must_use]
    pub fn label(&self) -> String {
        let letter = match self.severity {
            Severity::Warning => 'W',
            Severity::Error => 'E',
        };
        format!("{letter}{:04}", self.code.0)
    }

    fn to_json(&self) -> serde_json::Value {
        let place = self.origin.place();
        json!({
            "code": self.label(),
            "severity": self.severity.to_string(),
            "message": self.message,
            "help": self.help,
            "origin": self.origin.to_string(),
            "file": place.map(|p| p.path().display().to_string()),
            "line": place.map(|p| p.mark.line),
            "column": place.map(|p| p.mark.column),
            "related": self.related.as_ref().map(|(place, what)| json!({"origin": place.to_string(), "what": what})),
        })
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One line for logs.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.label(), self.message)?;
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        match &self.origin {
            Origin::Default => Ok(()),
            origin => write!(f, " ({origin})"),
        }
    }
}
