//! The bytes of all files of one tag. Reads them, and knows nothing of what they mean.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::fault::Fault;
use super::settings::{KeyFile, TagSettings};

/// Size of a file, bytes. A bundle of all public authorities has a quarter of it.
const SIZE_MAX: u64 = 1 << 20;

/// Bytes by path. Equal if nothing has changed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Material(BTreeMap<PathBuf, Vec<u8>>);

impl Material {
    /// Reads all files of a tag.
    ///
    /// # Errors
    /// Every file that cannot be read, and why.
    pub(super) fn read(settings: &TagSettings) -> Result<Self, Vec<Fault>> {
        let mut material = Self::default();
        let mut faults = Vec::new();
        for file in settings.files() {
            match read(&file.path) {
                Ok(bytes) => {
                    material.0.insert(file.path.clone(), bytes);
                }
                Err(why) => faults.push(Fault::new(file, why)),
            }
        }
        if faults.is_empty() { Ok(material) } else { Err(faults) }
    }

    /// The bytes of a file; none of one that was not read.
    pub(super) fn of(&self, file: &KeyFile) -> &[u8] {
        self.0.get(&file.path).map_or(&[], Vec::as_slice)
    }
}

/// Without the bytes: some are private keys.
impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let io_error = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    };
    // A pipe would be waited for.
    if !path.metadata().map_err(io_error)?.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SIZE_MAX.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(io_error)?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(format!("it has more than {SIZE_MAX} bytes"));
    }
    Ok(bytes)
}
