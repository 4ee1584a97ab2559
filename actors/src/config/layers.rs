//! The configuration: files, environment and command line laid over each other in one flat key space.
//!
//! Command line > environment > files; among files the first loaded counts. Old spellings are translated while the
//! layers are laid, so that readers know current names only. It knows nothing of what keys mean beyond that.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::check;
use super::environment;
use super::flatten::flatten;
use super::keys::{self, State};
use super::origin::{Origin, SourceFile};
use super::report::{Code, Report};
use super::secret::{REDACTED, is_secret, without_user};
use super::sources::{ConfigError, Sources};
use super::value::Entry;
use super::yaml::Node;

/// An immutable configuration. A clone is a pointer.
#[derive(Debug, Clone, Default)]
pub struct Config(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    dir: PathBuf,
    home: PathBuf,
    files: Vec<PathBuf>,
    entries: BTreeMap<String, Entry>,
}

/// One line of `mesher config`: a value in force, fit to be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// The key.
    pub key: String,
    /// Its value as text, lists and their maps as JSON; secrets are hidden.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl Config {
    /// Finds, reads and checks the configuration. With errors in the report it is not fit to run, only to be shown.
    ///
    /// # Errors
    /// There is nothing to load.
    pub fn load(sources: &Sources) -> Result<(Self, Report), ConfigError> {
        let found = sources.find()?;
        let mut report = Report::default();
        let files = found.read(&mut report);
        Ok(Self::assemble(found.dir, files, sources, report))
    }

    /// The configuration that these files would give, without reading any. The directory of the first is the
    /// configuration directory.
    #[must_use]
    pub fn from_files(files: Vec<SourceFile>, sources: &Sources) -> (Self, Report) {
        let dir =
            files.first().and_then(|file| file.path.parent()).map(Path::to_path_buf).unwrap_or_default();
        Self::assemble(dir, files, sources, Report::default())
    }

    fn assemble(
        dir: PathBuf,
        files: Vec<SourceFile>,
        sources: &Sources,
        mut report: Report,
    ) -> (Self, Report) {
        let paths = files.iter().map(|file| file.path.clone()).collect();
        let mut layers = Layers { entries: BTreeMap::new(), report: &mut report };
        layers.files(files, &sources.env);
        layers.environment(&sources.env);
        layers.flags(&sources.flags);
        let entries = layers.entries;
        check(&entries, &mut report);
        report.sort();
        (Self(Arc::new(Inner { dir, home: sources.home(), files: paths, entries })), report)
    }

    /// The configuration directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Where relative paths start: `CHASSIS_HOME`, else the working directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.0.home
    }

    /// The files that were read, in order.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.0.files
    }

    /// The value of a key that is set.
    #[must_use]
    pub fn raw(&self, key: &str) -> Option<&Entry> {
        self.0.entries.get(key)
    }

    /// Where the value of a key comes from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.raw(key).map(|entry| entry.origin.clone()).unwrap_or_default()
    }

    /// Everything below a prefix, given without the dot at its end, by the rest of its key, sorted.
    pub fn under<'c>(&'c self, prefix: &str) -> impl Iterator<Item = (&'c str, &'c Entry)> + use<'c> {
        debug_assert!(!prefix.ends_with('.'), "nothing lies below {prefix}.");
        let prefix = format!("{prefix}.");
        let from = (Bound::Included(prefix.clone()), Bound::Unbounded);
        let entries = self.0.entries.range::<String, _>(from);
        entries.map_while(move |(key, entry)| Some((key.strip_prefix(&prefix)?, entry)))
    }

    /// Every value in force, defaults included, sorted by key.
    #[must_use]
    pub fn entries(&self) -> Vec<Effective> {
        let set = self.0.entries.iter().map(|(key, entry)| Effective {
            key: key.clone(),
            value: shown(key, entry),
            origin: entry.origin.clone(),
        });
        let unset = keys::defaults().filter(|(key, _)| self.raw(key).is_none());
        let unset = unset.map(|(key, value)| Effective {
            key: key.to_owned(),
            value: value.to_owned(),
            origin: Origin::Default,
        });
        let mut all: Vec<Effective> = set.chain(unset).collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }
}

fn shown(key: &str, entry: &Entry) -> String {
    if is_secret(key) {
        return REDACTED.to_owned();
    }
    match entry.text() {
        Some(text) => without_user(text),
        None => without_user(&hidden(entry.value()).to_string()),
    }
}

/// A structure as JSON with the secrets inside it hidden.
fn hidden(value: serde_yaml::Value) -> serde_json::Value {
    match value {
        serde_yaml::Value::Sequence(items) => items.into_iter().map(hidden).collect(),
        serde_yaml::Value::Mapping(pairs) => {
            let pairs = pairs.into_iter().filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value)));
            let pairs = pairs.map(|(key, value)| {
                let value = if is_secret(&key) { REDACTED.into() } else { hidden(value) };
                (key, value)
            });
            serde_json::Value::Object(pairs.collect())
        }
        scalar => serde_json::to_value(scalar).unwrap_or_default(),
    }
}

struct Layers<'r> {
    entries: BTreeMap<String, Entry>,
    report: &'r mut Report,
}

impl Layers<'_> {
    fn files(&mut self, files: Vec<SourceFile>, env: &[(String, String)]) {
        let variable = |name: &str| environment::variable(env, name).map(str::to_owned);
        let mut old = Vec::new();
        for file in files {
            let flat = flatten(&Arc::new(file), &variable, self.report);
            for (key, entry) in flat {
                match keys::renamed(&key) {
                    Some(current) => old.push((key, current, entry)),
                    None => self.add_from_file(key, entry),
                }
            }
        }
        // A current spelling counts before an old one, wherever it stands.
        for (key, current, entry) in old {
            self.report_old(&key, &current, &entry);
            self.entries.entry(current).or_insert(entry);
        }
    }

    fn add_from_file(&mut self, key: String, entry: Entry) {
        let Some(first) = self.entries.get(&key) else {
            self.entries.insert(key, entry);
            return;
        };
        let message = format!("`{key}` is already set by a file that counts before this one");
        let problem = self.report.warning(Code::SHADOWED_KEY, &entry.key_origin, message);
        if let Some(place) = first.key_origin.place() {
            problem.related(place.clone(), "this one counts");
        }
    }

    /// Of the many variables of a process those count that name a known key, or one that a file sets, or one that
    /// can only be meant for mesher.
    fn environment(&mut self, env: &[(String, String)]) {
        let mut layer: BTreeMap<String, Entry> = BTreeMap::new();
        let mut old = Vec::new();
        for (key, entry) in environment::entries(env) {
            match keys::renamed(&key).filter(|_| key.contains('.')) {
                Some(current) => old.push((key, current, entry)),
                None if self.concerns_us(&key) => {
                    layer.entry(key).or_insert(entry);
                }
                None => {}
            }
        }
        for (key, current, entry) in old {
            self.report_old(&key, &current, &entry);
            layer.entry(current).or_insert(entry);
        }
        self.entries.extend(layer);
    }

    fn concerns_us(&self, key: &str) -> bool {
        let ours = ["servicecomb.", "cse.", "mesher."].iter().any(|prefix| key.starts_with(prefix));
        ours || self.entries.contains_key(key) || keys::find(key).is_some()
    }

    fn flags(&mut self, flags: &[(String, String)]) {
        for (key, value) in flags {
            let origin = Origin::Flag(key.clone());
            self.entries.insert(key.clone(), Entry::new(Node::scalar(value.trim()), origin.clone(), origin));
        }
    }

    /// A key that is not served either way has that said about it, which is enough.
    fn report_old(&mut self, key: &str, current: &str, entry: &Entry) {
        if keys::find(current).is_some_and(|known| known.state == State::Served) {
            let message = format!("`{key}` is an old spelling");
            let problem = self.report.warning(Code::OLD_SPELLING, &entry.key_origin, message);
            problem.help(format!("write `{current}`"));
        }
    }
}
