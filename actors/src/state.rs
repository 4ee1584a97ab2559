//! The last good state on disk: what the registry said last, for a start without it.
//!
//! One JSON file in a directory that belongs to this mesher. Written beside and renamed over, so that a reader sees
//! the old or the new one; not synced, since a file lost with the power only costs a start without it. A file that
//! cannot be read, is too large, of another format or of another registry, application or environment is ignored.
//! Knows no actor and no clock; the watcher drives it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::registry::instance::Instance;

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "last-good.json";
/// Size of the file, bytes. A thousand services of ten instances take about 5 MiB; beyond this bound it is not
/// written, and not read.
pub const SIZE_MAX: u64 = 16 << 20;
/// Version of the format; another one is ignored.
const FORMAT: u32 = 1;

/// Whose answers they are: those of another registry, application or environment are of no use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Kind and address of the registry.
    pub registry: String,
    /// Our application.
    pub app: Arc<str>,
    /// Our environment.
    pub environment: Arc<str>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "registry {}, application {}", self.registry, self.app)?;
        if self.environment.is_empty() { Ok(()) } else { write!(f, ", environment {}", self.environment) }
    }
}

/// Instances by service.
pub type Services = BTreeMap<Arc<str>, Vec<Arc<Instance>>>;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// When it was written, seconds since 1970.
    pub saved_s: u64,
    /// What the registry had said by then.
    pub services: Services,
}

/// Why a state was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system said no.
    #[error("{path}: {source}", path = .0.display(), source = .1)]
    Io(PathBuf, #[source] io::Error),
    /// It is larger than [`SIZE_MAX`].
    #[error("{path}: more than {SIZE_MAX} bytes", path = .0.display())]
    TooLarge(PathBuf),
    /// It is not what mesher writes.
    #[error("{path}: {why}", path = .0.display(), why = .1)]
    Unreadable(PathBuf, String),
    /// It is of another registry, application or environment.
    #[error("{path}: it is of {found}, not of {expected}", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: Box<Key>,
        /// Who asked.
        expected: Box<Key>,
    },
}

/// The header alone, so that another format is told from a broken file.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct Document<K, S> {
    format: u32,
    key: K,
    saved_s: u64,
    services: S,
}

/// Reads the state of `key` from `dir`; none if nothing was written yet.
///
/// # Errors
/// When there is a file that cannot be used.
pub fn load(dir: &Path, key: &Key) -> Result<Option<Saved>, StateError> {
    let path = dir.join(FILE_NAME);
    let io_error = |error| StateError::Io(path.clone(), error);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error)),
    };
    let mut text = Vec::new();
    file.take(SIZE_MAX + 1).read_to_end(&mut text).map_err(io_error)?;
    if text.len() as u64 > SIZE_MAX {
        return Err(StateError::TooLarge(path));
    }
    let unreadable = |error: serde_json::Error| StateError::Unreadable(path.clone(), error.to_string());
    let Header { format } = serde_json::from_slice(&text).map_err(unreadable)?;
    if format != FORMAT {
        return Err(StateError::Unreadable(path, format!("format {format}, this mesher reads {FORMAT}")));
    }
    let document: Document<Key, Services> = serde_json::from_slice(&text).map_err(unreadable)?;
    if document.key == *key {
        Ok(Some(Saved { saved_s: document.saved_s, services: document.services }))
    } else {
        Err(StateError::Foreign { path, found: Box::new(document.key), expected: Box::new(key.clone()) })
    }
}

/// Writes the state of `key` to `dir`, which is made if need be.
///
/// # Errors
/// When it cannot be written or would be too large; the file before stays.
pub fn save(dir: &Path, key: &Key, saved: &Saved) -> Result<(), StateError> {
    let path = dir.join(FILE_NAME);
    let document = Document { format: FORMAT, key, saved_s: saved.saved_s, services: &saved.services };
    let text = serde_json::to_vec(&document)
        .map_err(|error| StateError::Unreadable(path.clone(), error.to_string()))?;
    if text.len() as u64 > SIZE_MAX {
        return Err(StateError::TooLarge(path));
    }
    let beside = dir.join(format!("{FILE_NAME}.new"));
    fs::create_dir_all(dir)
        .and_then(|()| File::create(&beside)?.write_all(&text))
        .and_then(|()| fs::rename(&beside, &path))
        .map_err(|error| StateError::Io(path, error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;
    use crate::registry::instance::{Status, Zone};

    fn key(registry: &str) -> Key {
        Key { registry: registry.to_owned(), app: "default".into(), environment: "".into() }
    }

    fn saved() -> Saved {
        let instance = Instance {
            id: "i-1".into(),
            app: "default".into(),
            version: "0.0.1".into(),
            environment: "".into(),
            status: Status::Testing,
            endpoints: vec!["rest://10.0.0.1:80".to_owned()],
            properties: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            zone: Some(Zone { region: "r".into(), zone: "z".into() }),
        };
        Saved { saved_s: 7, services: BTreeMap::from([("orders".into(), vec![Arc::new(instance)])]) }
    }

    #[test]
    fn what_is_saved_is_loaded_again() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("not/there/yet");
        assert!(load(&inner, &key("sc")).unwrap().is_none());
        save(&inner, &key("sc"), &saved()).unwrap();
        assert_eq!(load(&inner, &key("sc")).unwrap(), Some(saved()));
        let names: Vec<_> = fs::read_dir(&inner).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE_NAME], "nothing else is left behind");
    }

    #[test]
    fn a_state_of_another_registry_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &key("one"), &saved()).unwrap();
        let error = load(dir.path(), &key("other")).unwrap_err();
        assert!(
            error.to_string().ends_with(
                "it is of registry one, application default, not of registry other, application default"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_broken_a_foreign_and_a_huge_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let why = |text: &str| {
            fs::write(&path, text).unwrap();
            load(dir.path(), &key("sc")).unwrap_err().to_string()
        };
        assert!(why("{\"format\": 1, \"ke").contains("EOF"));
        assert!(why("{\"format\": 2, \"other\": []}").contains("format 2, this mesher reads 1"));
        File::create(&path).unwrap().set_len(SIZE_MAX + 1).unwrap();
        assert!(matches!(load(dir.path(), &key("sc")), Err(StateError::TooLarge(_))));
    }
}
