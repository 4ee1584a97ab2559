//! What `lager.yaml` says.
//!
//! Only this file knows the keys; the rest of the folder works on [`Settings`].

use std::io::IsTerminal;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::rotation::Policy;
use crate::config::{Code, Config, Report};

const DAY: Duration = Duration::from_secs(86_400);
const MEBIBYTE: u64 = 1 << 20;

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(LevelFilter);

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Log to the standard output.
    pub stdout: bool,
    /// Log to this file.
    pub file: Option<PathBuf>,
    /// Least severe level that is logged.
    pub level: Level,
    /// Text for people instead of JSON lines.
    pub text: bool,
    /// Colour on the standard output; files have none.
    pub color: bool,
    /// When the file rotates; `None` for never.
    pub rotation: Option<Policy>,
}

impl Default for Settings {
    /// Text to the standard output from INFO up.
    fn default() -> Self {
        Self {
            stdout: true,
            file: None,
            level: Level(LevelFilter::INFO),
            text: true,
            color: false,
            rotation: None,
        }
    }
}

impl Settings {
    /// Reads the keys of `lager.yaml`.
    #[must_use]
    pub fn from_config(config: &Config, report: &mut Report) -> Self {
        let (stdout, to_file) = writers(config, report);
        let path = config.text("logFile").unwrap_or_else(|| "log/mesher.log".to_owned());
        Self {
            stdout,
            file: to_file.then(|| config.home().join(path)),
            level: level(config, report),
            text: config.boolean("logFormatText", true, report),
            color: match config.text("logColorMode").as_deref() {
                Some("always") => true,
                Some("never") => false,
                _ => std::io::stdout().is_terminal(),
            },
            rotation: rotation(config, report),
        }
    }
}

/// Standard output, file. Without `logWriters` a file is written if one is named.
fn writers(config: &Config, report: &mut Report) -> (bool, bool) {
    const KEY: &str = "logWriters";
    let names = config.list(KEY);
    for name in names.iter().filter(|name| !["stdout", "file"].contains(&name.as_str())) {
        let message = format!("`{KEY}`: no writer is called `{}`", name.escape_debug());
        report.error(Code::UNKNOWN_NAME, &config.origin(KEY), message).help("known are stdout, file");
    }
    if names.is_empty() {
        return (true, config.text("logFile").is_some());
    }
    let named = |writer: &str| names.iter().any(|name| name == writer);
    (named("stdout"), named("file"))
}

fn level(config: &Config, report: &mut Report) -> Level {
    const KEY: &str = "logLevel";
    let level = config.text(KEY).map_or(Ok(Level(LevelFilter::INFO)), |name| name.parse());
    level.unwrap_or_else(|why| {
        report.error(Code::WRONG_VALUE, &config.origin(KEY), format!("`{KEY}`: {why}"));
        Level(LevelFilter::INFO)
    })
}

fn rotation(config: &Config, report: &mut Report) -> Option<Policy> {
    let disabled = config.boolean("logRotateDisable", false, report);
    let days = config.integer("logRotateAge", 0..=365, 1, report);
    let policy = Policy {
        size_bytes_max: config.integer("logRotateSize", 1..=10_240, 10, report) * MEBIBYTE,
        age_max: u32::try_from(days).ok().filter(|days| *days > 0).map(|days| DAY * days),
        backups_max: usize::try_from(config.integer("logBackupCount", 0..=100, 7, report))
            .unwrap_or(usize::MAX),
        compress: config.boolean("logRotateCompress", false, report),
    };
    (!disabled).then_some(policy)
}

impl Level {
    /// As tracing filters.
    pub(super) const fn filter(self) -> LevelFilter {
        self.0
    }
}

impl FromStr for Level {
    type Err = String;

    /// Mesher's names in any case; FATAL is what ERROR is here.
    fn from_str(name: &str) -> Result<Self, String> {
        match name.to_ascii_uppercase().as_str() {
            "TRACE" => Ok(Self(LevelFilter::TRACE)),
            "DEBUG" => Ok(Self(LevelFilter::DEBUG)),
            "INFO" => Ok(Self(LevelFilter::INFO)),
            "WARN" | "WARNING" => Ok(Self(LevelFilter::WARN)),
            "ERROR" | "FATAL" => Ok(Self(LevelFilter::ERROR)),
            _ => Err(format!(
                "expected one of TRACE, DEBUG, INFO, WARN, ERROR, found `{}`",
                name.escape_debug()
            )),
        }
    }
}
