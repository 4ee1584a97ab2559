//! A file of configuration into flat keys: `servicecomb: {registry: {address: …}}` becomes
//! `servicecomb.registry.address`. Maps are joined with dots, lists stay whole, null is absent, references to
//! the environment are expanded.
//!
//! It knows nothing of what keys mean. Pure: the text of the file and the environment in, entries out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::expand::expand;
use super::origin::{Origin, Place, SourceFile};
use super::report::{Code, Report};
use super::secret::is_secret;
use super::value::Entry;
use super::yaml::{self, Fault, Key, Kind, Mark, Node};

/// Bytes of a flat key. The longest known is a fault rule of an operation, about 150.
pub(super) const KEY_BYTES_MAX: usize = 512;
/// Keys of one file; every service of a large mesh with a dozen settings of its own.
pub(super) const KEYS_MAX: usize = 20_000;

/// Reads one file. Whatever cannot be used is in the report; the rest is returned.
pub fn flatten(
    file: &Arc<SourceFile>,
    variable: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> BTreeMap<String, Entry> {
    let (root, faults) = yaml::parse(&file.text);
    for fault in faults {
        report_fault(file, &fault, report);
    }
    let mut flat = Flat { file, variable, report, keys: BTreeMap::new(), full: false };
    match root.map(|root| (root.mark, root.kind)) {
        None => {}
        Some((_, Kind::Map(pairs))) => flat.map("", pairs),
        Some((mark, _)) => {
            let message = "expected keys and values like `servicecomb:` at the top of the file";
            flat.report.error(Code::SYNTAX, &flat.origin(mark, true), message);
        }
    }
    flat.keys
}

/// Puts a fault of a file into the report.
pub fn report_fault(file: &Arc<SourceFile>, fault: &Fault, report: &mut Report) {
    let code = if fault.first.is_some() { Code::DUPLICATE_KEY } else { Code::SYNTAX };
    let problem = report.error(code, &Origin::File(Place::new(file, fault.mark)), fault.message.clone());
    if let Some(first) = fault.first {
        problem.related(Place::new(file, first), "first here").help("keep one of the two");
    }
}

struct Flat<'a> {
    file: &'a Arc<SourceFile>,
    variable: &'a dyn Fn(&str) -> Option<String>,
    report: &'a mut Report,
    keys: BTreeMap<String, Entry>,
    full: bool,
}

impl Flat<'_> {
    /// Recursion is bounded by the depth that the parser lets through.
    fn map(&mut self, prefix: &str, pairs: Vec<(Key, Node)>) {
        for (key, node) in pairs {
            let path = if prefix.is_empty() { key.text } else { format!("{prefix}.{}", key.text) };
            if path.len() > KEY_BYTES_MAX {
                let message = format!("a key of more than {KEY_BYTES_MAX} bytes");
                self.report.error(Code::SYNTAX, &self.origin(key.mark, true), message);
                continue;
            }
            match node.kind {
                Kind::Map(pairs) => self.map(&path, pairs),
                kind => self.leaf(path, key.mark, Node { mark: node.mark, kind }),
            }
        }
    }

    fn leaf(&mut self, key: String, key_mark: Mark, node: Node) {
        if node.is_null() {
            return;
        }
        let quotable = !is_secret(&key);
        let (key_origin, origin) = (self.origin(key_mark, quotable), self.origin(node.mark, quotable));
        if let Some(first) = self.keys.get(&key).and_then(|entry| entry.key_origin.place()).cloned() {
            let message = format!("the key `{key}` stands here twice");
            let problem = self.report.error(Code::DUPLICATE_KEY, &key_origin, message);
            problem.related(first, "first here").help("keep one of the two");
            return;
        }
        if self.keys.len() >= KEYS_MAX {
            if !std::mem::replace(&mut self.full, true) {
                self.report.error(
                    Code::SYNTAX,
                    &key_origin,
                    format!("more than {KEYS_MAX} keys in one file"),
                );
            }
            return;
        }
        match self.expanded(node) {
            Some(node) => {
                self.keys.insert(key, Entry::new(node, key_origin, origin));
            }
            None => {
                self.report.error(
                    Code::SYNTAX,
                    &origin,
                    "a value grows too long when variables are inserted",
                );
            }
        }
    }

    fn expanded(&self, node: Node) -> Option<Node> {
        let kind = match node.kind {
            Kind::Scalar { text, plain } => Kind::Scalar { text: expand(&text, self.variable)?, plain },
            Kind::List(items) => {
                Kind::List(items.into_iter().map(|item| self.expanded(item)).collect::<Option<_>>()?)
            }
            Kind::Map(pairs) => Kind::Map(
                pairs
                    .into_iter()
                    .map(|(key, value)| Some((key, self.expanded(value)?)))
                    .collect::<Option<_>>()?,
            ),
        };
        Some(Node { mark: node.mark, kind })
    }

    fn origin(&self, mark: Mark, quotable: bool) -> Origin {
        Origin::File(Place { file: Arc::clone(self.file), mark, quotable })
    }
}
