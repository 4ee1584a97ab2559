//! A log file on the disk: opened for appending, rotated as the policy says, opened again on request.
//!
//! It knows nothing of lines or levels. The thread of [`super::queue`] drives it and tells it the time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use flate2::{Compression, write::GzEncoder};

use super::rotation::{Policy, backup_name};

/// A file that could not be opened is tried again after this time, not at every line.
const RETRY: Duration = Duration::from_secs(5);
/// Names read from the directory of the log when backups are counted.
const NAMES_MAX: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    policy: Option<Policy>,
    open: Option<Open>,
    /// No attempt to open the file, or to rotate it, before this time.
    not_before: Option<SystemTime>,
    /// Compresses and deletes backups; one at a time.
    tidying: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// A file and not a device: may be moved away.
    regular: bool,
    size: u64,
    begun: SystemTime,
    /// The last write broke off inside a line.
    torn: bool,
}

impl LogFile {
    pub(super) const fn new(path: PathBuf, policy: Option<Policy>) -> Self {
        Self { path, policy, open: None, not_before: None, tidying: None }
    }

    /// Opens the file, and again if it is open: whoever moved it away gets the rest under the old name.
    pub(super) fn open(&mut self, now: SystemTime) -> io::Result<()> {
        self.open = None;
        self.not_before = now.checked_add(RETRY);
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        // Opening a pipe would wait for its reader.
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe"));
        }
        // Logs name hosts and paths of others: not for everybody to read.
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(&self.path)?;
        let metadata = file.metadata()?;
        let begun = metadata.created().or_else(|_| metadata.modified()).unwrap_or(now);
        self.open =
            Some(Open { file, regular: metadata.is_file(), size: metadata.len(), begun, torn: false });
        self.not_before = None;
        Ok(())
    }

    /// Appends a line, rotating first if it is time.
    pub(super) fn write(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        if self.open.is_none() {
            if self.not_before.is_some_and(|not_before| now < not_before) {
                return Err(io::ErrorKind::NotFound.into());
            }
            self.open(now)?;
        }
        if self.is_due(line.len(), now) {
            self.rotate(now);
        }
        let Some(open) = self.open.as_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        open.append(line)
    }

    fn is_due(&self, incoming: usize, now: SystemTime) -> bool {
        let held_off = self.not_before.is_some_and(|not_before| now < not_before);
        let due = |policy: &Policy, open: &Open| {
            open.regular && policy.is_due(open.size, incoming as u64, open.begun, now)
        };
        !held_off
            && self.policy.as_ref().zip(self.open.as_ref()).is_some_and(|(policy, open)| due(policy, open))
    }

    /// Moves the file away and begins a new one. If that fails the old one goes on.
    fn rotate(&mut self, now: SystemTime) {
        let Some((policy, name)) = self.policy.zip(self.name()) else { return };
        let backup = self.path.with_file_name(backup_name(&name, now));
        if fs::rename(&self.path, &backup).is_err() || self.open(now).is_err() {
            self.not_before = now.checked_add(RETRY);
            return;
        }
        if let Some(open) = self.open.as_mut() {
            open.begun = now; // some file systems know no time of birth
        }
        self.finish_tidying();
        let work = move || tidy(&policy, &name, &backup);
        self.tidying = thread::Builder::new().name("mesher-log-tidy".into()).spawn(work).ok();
    }

    fn name(&self) -> Option<String> {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    fn finish_tidying(&mut self) {
        if let Some(thread) = self.tidying.take() {
            // Its result is on the disk; a panic in it leaves a backup uncompressed and nothing worse.
            let _ = thread.join();
        }
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.finish_tidying();
    }
}

impl Open {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
            self.size += 1;
        }
        match self.file.write_all(line) {
            Ok(()) => {
                self.size += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.torn = true;
                Err(error)
            }
        }
    }
}

/// Compresses the newest backup and deletes those that are too many. What fails is left as it is: a log that
/// cannot be tidied is still a log.
fn tidy(policy: &Policy, log_name: &str, backup: &Path) {
    if policy.compress {
        let _ = compress(backup);
    }
    let Some(dir) = backup.parent() else { return };
    let Ok(listing) = fs::read_dir(dir) else { return };
    let names = listing.take(NAMES_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in policy.surplus(log_name, &names.collect::<Vec<_>>()) {
        let _ = fs::remove_file(dir.join(name));
    }
}

/// `x` becomes `x.gz`, complete or not at all.
fn compress(path: &Path) -> io::Result<()> {
    let suffixed = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let (partial, done) = (suffixed(".gz.partial"), suffixed(".gz"));
    let written = (|| {
        let out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&partial)?;
        let mut encoder = GzEncoder::new(out, Compression::default());
        io::copy(&mut File::open(path)?, &mut encoder)?;
        encoder.finish()?.sync_all()?;
        fs::rename(&partial, &done)
    })();
    match written {
        Ok(()) => fs::remove_file(path),
        Err(error) => {
            let _ = fs::remove_file(&partial);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::now() + Duration::from_secs(seconds)
    }

    fn policy(size_bytes_max: u64, backups_max: usize, compress: bool) -> Option<Policy> {
        Some(Policy { size_bytes_max, age_max: Some(Duration::from_secs(3600)), backups_max, compress })
    }

    /// Names in a directory after the log was closed, sorted, so that the log comes first.
    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_continued_and_its_directory_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log/mesher.log");
        for line in ["one\n", "two\n"] {
            LogFile::new(path.clone(), None).write(line.as_bytes(), at(0)).unwrap();
        }
        assert_eq!(fs::read_to_string(path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_full_file_moves_away_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.log");
        let mut log = LogFile::new(path.clone(), policy(8, 2, false));
        for (second, line) in ["line one\n", "line two\n", "line three\n", "line four\n"].iter().enumerate() {
            log.write(line.as_bytes(), at(second as u64)).unwrap();
        }
        drop(log);
        assert_eq!(fs::read_to_string(&path).unwrap(), "line four\n");
        let names = names(dir.path());
        assert_eq!(names.len(), 3, "{names:?}");
        let oldest_kept = fs::read_to_string(dir.path().join(names.get(1).unwrap())).unwrap();
        assert_eq!(oldest_kept, "line two\n");
    }

    #[test]
    fn an_old_file_moves_away() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(dir.path().join("m.log"), policy(1000, 7, false));
        log.write(b"one\n", at(0)).unwrap();
        log.write(b"two\n", at(4000)).unwrap();
        drop(log);
        assert_eq!(names(dir.path()).len(), 2);
    }

    #[test]
    fn a_compressed_backup_holds_what_the_file_held() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(dir.path().join("m.log"), policy(4, 7, true));
        log.write(b"one\n", at(0)).unwrap();
        log.write(b"two\n", at(1)).unwrap();
        drop(log);
        let names = names(dir.path());
        assert_eq!(names.len(), 2, "{names:?}");
        let backup = names.get(1).unwrap();
        assert!(backup.ends_with("Z.gz"), "{backup}");
        let mut text = String::new();
        flate2::read::GzDecoder::new(File::open(dir.path().join(backup)).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "one\n");
    }

    #[test]
    fn opening_again_follows_a_file_that_was_moved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.log");
        let mut log = LogFile::new(path.clone(), None);
        log.write(b"one\n", at(0)).unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        log.write(b"two\n", at(0)).unwrap();
        log.open(at(0)).unwrap();
        log.write(b"three\n", at(0)).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("moved")).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(path).unwrap(), "three\n");
    }

    #[test]
    fn a_device_is_never_moved_away() {
        let mut log = LogFile::new("/dev/null".into(), policy(1, 1, false));
        log.write(b"one\n", at(0)).unwrap();
        log.write(b"two\n", at(1)).unwrap();
        assert!(!log.is_due(1, at(2)));
        assert!(log.tidying.is_none());
    }

    #[test]
    fn a_full_disk_fails_the_line_and_nothing_else() {
        let mut log = LogFile::new("/dev/full".into(), None);
        let error = log.write(b"one\n", at(0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(log.open.as_ref().unwrap().torn, "the next line must begin a new one");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_tried_again_later() {
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join("log");
        fs::write(&blocked, "not a directory").unwrap();
        let mut log = LogFile::new(blocked.join("m.log"), None);
        let start = SystemTime::now();
        log.write(b"one\n", start).unwrap_err();
        fs::remove_file(&blocked).unwrap();
        log.write(b"two\n", start + Duration::from_secs(1)).unwrap_err();
        log.write(b"three\n", start + RETRY).unwrap();
        assert_eq!(fs::read_to_string(blocked.join("m.log")).unwrap(), "three\n");
    }
}
