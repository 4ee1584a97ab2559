//! Where configuration is looked for: which directory, which files in it, in which order.
//!
//! It reads files and knows nothing of what they say.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::environment::variable;
use super::origin::{Origin, SourceFile};
use super::report::{Code, Report};

/// Bytes of one file. Mesher's largest real files, with hundreds of route rules, are a tenth of it.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// The files of a configuration directory in the order they are read; among equal keys the first one counts.
pub(super) const FILES: [&str; 13] = [
    CHASSIS,
    MICROSERVICE,
    "circuit_breaker.yaml",
    "load_balancing.yaml",
    "rate_limiting.yaml",
    "tls.yaml",
    "monitoring.yaml",
    "auth.yaml",
    "tracing.yaml",
    "lager.yaml",
    "router.yaml",
    MESHER,
    "egress.yaml",
];

const CHASSIS: &str = "chassis.yaml";
const MICROSERVICE: &str = "microservice.yaml";
const MESHER: &str = "mesher.yaml";
const CONF: &str = "conf";

/// Everything configuration is made of, as the process was given it.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`: the file mesher.yaml or its directory.
    pub dir_flag: Option<PathBuf>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// Keys that the command line sets.
    pub flags: Vec<(String, String)>,
    /// Directory of the executable.
    pub exe_dir: Option<PathBuf>,
    /// Working directory.
    pub cwd: PathBuf,
}

/// There is nothing to load.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// None of the directories holds chassis.yaml.
    #[error(
        "no configuration found: no chassis.yaml in {}; give its directory with --config or CHASSIS_CONF_DIR",
        list(.searched)
    )]
    NoDirectory {
        /// The directories looked into.
        searched: Vec<PathBuf>,
    },
    /// `--config` names nothing.
    #[error("--config {}: no such file or directory", .0.display())]
    NoSuchPath(PathBuf),
}

/// The files that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The configuration directory.
    pub dir: PathBuf,
    /// Existing files in the order they are read.
    pub files: Vec<PathBuf>,
}

impl Sources {
    /// The environment and directories of this process.
    #[must_use]
    pub fn of_process(dir_flag: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let text = |s: std::ffi::OsString| s.to_string_lossy().into_owned();
        let exe_dir = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf));
        Self {
            dir_flag,
            env: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            flags,
            exe_dir,
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
        }
    }

    /// Where relative paths of the configuration (log files) start: `CHASSIS_HOME`, else the working directory.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.env_path("CHASSIS_HOME").unwrap_or_else(|| self.cwd.clone())
    }

    /// Finds the directory and its files.
    ///
    /// A directory that was named (`--config DIR`, `CHASSIS_CONF_DIR`, `CHASSIS_HOME`) is taken as it is. A file
    /// given with `--config` names mesher.yaml, and its directory if chassis.yaml lies beside it. Else `./conf` and
    /// the executable's `conf` are looked into.
    ///
    /// # Errors
    /// No directory was named and none was found, or `--config` names nothing.
    pub fn find(&self) -> Result<Found, ConfigError> {
        let mut searched = Vec::new();
        let mut mesher = None;
        if let Some(path) = self.dir_flag.as_ref().map(|path| self.cwd.join(path)) {
            if path.is_dir() {
                return Ok(Found::of(path, None));
            }
            if !path.is_file() {
                return Err(ConfigError::NoSuchPath(path));
            }
            searched.extend(path.parent().map(Path::to_path_buf));
            mesher = Some(path);
        }
        if let Some(dir) = searched.first().filter(|dir| dir.join(CHASSIS).is_file()) {
            return Ok(Found::of(dir.clone(), mesher));
        }
        let home = self.env_path("CHASSIS_HOME").map(|home| home.join(CONF));
        if let Some(dir) = self.env_path("CHASSIS_CONF_DIR").or(home) {
            return Ok(Found::of(dir, mesher));
        }
        searched.push(self.cwd.join(CONF));
        searched.extend(self.exe_dir.as_ref().map(|dir| dir.join(CONF)));
        match searched.iter().find(|dir| dir.join(CHASSIS).is_file()) {
            Some(dir) => Ok(Found::of(dir.clone(), mesher)),
            None => Err(ConfigError::NoDirectory { searched }),
        }
    }

    fn env_path(&self, name: &str) -> Option<PathBuf> {
        variable(&self.env, name).filter(|path| !path.is_empty()).map(|path| self.cwd.join(path))
    }
}

impl Found {
    fn of(dir: PathBuf, mesher: Option<PathBuf>) -> Self {
        let path = |name: &str| match &mesher {
            Some(file) if name == MESHER => file.clone(),
            _ => dir.join(name),
        };
        let files = FILES.iter().map(|name| path(name)).filter(|path| path.exists()).collect();
        Self { files, dir }
    }

    /// Reads the files. One that cannot be read, or that must be there and is not, is in the report.
    pub fn read(&self, report: &mut Report) -> Vec<SourceFile> {
        for name in [CHASSIS, MICROSERVICE] {
            let path = self.dir.join(name);
            if !self.files.contains(&path) {
                let message = format!("{name} is missing in {}", self.dir.display());
                let problem = report.error(Code::MISSING_FILE, &Origin::Default, message);
                problem.help("give another directory with --config or CHASSIS_CONF_DIR, or write the file");
            }
        }
        let mut texts = Vec::new();
        for path in &self.files {
            match read(path) {
                Ok(text) => texts.push(SourceFile { path: path.clone(), text }),
                Err(why) => {
                    let message = format!("{} cannot be read: {why}", path.display());
                    report.error(Code::UNREADABLE, &Origin::Default, message);
                }
            }
        }
        texts
    }
}

/// Reads a text file of at most `FILE_BYTES_MAX`.
///
/// # Errors
/// What kept it from being read, and at which byte it stops being UTF-8.
pub fn read(path: &Path) -> Result<String, String> {
    let explain = |error: io::Error| error.to_string();
    if !path.metadata().map_err(explain)?.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(explain)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is larger than {FILE_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("it is not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
}

fn list(dirs: &[PathBuf]) -> String {
    dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
}
