//! The watch on the directories of files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use notify::{RecursiveMode, Watcher as _};
use tracing::warn;

use super::next_look::POLL_EVERY;

/// Tells that something happened in the directories of files, or would.
pub(crate) struct Directories {
    watcher: Option<notify::RecommendedWatcher>,
    happened: flume::Receiver<()>,
    /// What the files are, for people.
    what: &'static str,
    /// The last failure, so that it is not said with each look.
    failure: Option<String>,
}

impl Directories {
    /// Watches nothing yet. `what` names the files in the log.
    pub(crate) fn new(what: &'static str) -> Self {
        // One token says that something happened; more would say no more.
        let (tell, happened) = flume::bounded(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event, too, and our own.
            if event.map_or(true, |event| !event.kind.is_access()) {
                let _ = tell.try_send(());
            }
        });
        let (watcher, failure) = match watcher {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(error.to_string())),
        };
        if let Some(why) = &failure {
            warn!(%why, what, "files cannot be watched; they are read every {} s", POLL_EVERY.as_secs());
        }
        Self { watcher, happened, what, failure }
    }

    /// Watches the directories of these files, and of those they are links to. Again and again, since a directory may
    /// have been replaced by another of its name.
    pub(crate) fn watch<'p>(&mut self, files: impl IntoIterator<Item = &'p Path>) {
        let Some(watcher) = &mut self.watcher else { return };
        let directories: BTreeSet<PathBuf> = files.into_iter().flat_map(directories).collect();
        let failure = directories
            .iter()
            .find_map(|directory| watcher.watch(directory, RecursiveMode::NonRecursive).err())
            .map(|error| error.to_string());
        if let Some(why) = failure.as_ref().filter(|_| failure != self.failure) {
            let what = self.what;
            warn!(%why, what, "a directory cannot be watched; its files are read every {} s", POLL_EVERY.as_secs());
        }
        self.failure = failure;
    }

    /// Waits for something to happen.
    pub(crate) async fn happened(&self) {
        if self.happened.recv_async().await.is_err() {
            // Without a watcher nothing will.
            futures::future::pending().await
        }
    }
}

/// The directory of a file, and that of the file it is a link to.
fn directories(path: &Path) -> impl Iterator<Item = PathBuf> {
    let directory = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let target = path.canonicalize().ok();
    [Some(directory(path)), target.as_deref().map(directory)].into_iter().flatten()
}
