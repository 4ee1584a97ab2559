//! YAML text into a tree that keeps two things other readers lose: where every key and value stands, and the text
//! of every scalar as it was written (`version: 1.10` stays `1.10`).
//!
//! It knows nothing of keys, files or layers; [`super::flatten`] drives it for configuration and the file registry
//! for its own file. Pure: the text of a file in, a tree and faults out.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

/// Nesting of maps and lists. Mesher's deepest key (fault injection) has 14 levels.
pub const DEPTH_MAX: usize = 32;
/// Keys, values and copies made by aliases in one file; a file of a megabyte of real settings has fewer.
/// It is what stops an alias bomb.
pub const NODES_MAX: usize = 100_000;

/// Where something stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Characters; may run over the end of the line.
    pub length: u32,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub mark: Mark,
    /// What it is.
    pub kind: Kind,
}

/// The three shapes of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Text as written; `plain` if it stood there without quotes, so that `no` may mean false and `~` nothing.
    Scalar {
        /// The text without quotes and escapes.
        text: String,
        /// Written without quotes.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A map, in the order of the file; keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a map and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The key as written; numbers and booleans are text here.
    pub text: String,
    /// Where it stands.
    pub mark: Mark,
}

/// What is wrong with the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Where.
    pub mark: Mark,
    /// What, in a line.
    pub message: String,
    /// The first of two, if the fault is that there are two.
    pub first: Option<Mark>,
}

impl Node {
    /// A scalar that comes from elsewhere than a file.
    #[must_use]
    pub fn scalar(text: impl Into<String>) -> Self {
        let mark = Mark { line: 1, column: 1, length: 0 };
        Self { mark, kind: Kind::Scalar { text: text.into(), plain: true } }
    }

    /// No value: nothing written, `~` or `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The text of a scalar that is not null.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// The value of a key of a map.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Map(pairs) => pairs.iter().find(|(k, _)| k.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar { .. } => 0,
            Kind::List(items) => items.iter().map(Self::size).sum(),
            Kind::Map(pairs) => pairs.iter().map(|(_, node)| 1 + node.size()).sum(),
        }
    }
}

/// Reads the first document of a text. `None` is an empty document. Faults do not hide each other where the rest can
/// still be read: two equal keys keep the first and are reported.
#[must_use]
pub fn parse(text: &str) -> (Option<Node>, Vec<Fault>) {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let outcome = match event {
            Ok((event, span)) => builder.event(event, mark(span)),
            Err(error) => {
                let at = *error.marker();
                Err(Fault::new(mark(Span::empty(at)), error.info().to_owned()))
            }
        };
        if let Err(fault) = outcome {
            builder.faults.push(fault);
            return (None, builder.faults);
        }
    }
    (builder.root.filter(|root| !root.is_null()), builder.faults)
}

impl Fault {
    fn new(mark: Mark, message: impl Into<String>) -> Self {
        Self { mark, message: message.into(), first: None }
    }
}

fn mark(span: Span) -> Mark {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let length = span.end.index().saturating_sub(span.start.index());
    Mark { line: narrow(span.start.line()), column: narrow(span.start.col() + 1), length: narrow(length) }
}

/// Builds the tree from events without recursion, so that no input can exhaust the stack.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
    faults: Vec<Fault>,
}

struct Open {
    mark: Mark,
    anchor: usize,
    children: Children,
}

enum Children {
    List(Vec<Node>),
    Map { pairs: Vec<(Key, Node)>, key: Option<Key> },
}

impl Builder {
    fn event(&mut self, event: Event<'_>, mark: Mark) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(1, mark)?;
                self.add(scalar(&text, style, tag, mark), anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(mark, anchor, Children::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.begin(mark, anchor, Children::Map { pairs: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    let copy = Node { mark, kind: node.kind.clone() };
                    self.spend(copy.size(), mark)?;
                    self.add(copy, 0)
                }
                None => Err(Fault::new(mark, "an alias inside the value it names")),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, mark: Mark, anchor: usize, children: Children) -> Result<(), Fault> {
        self.spend(1, mark)?;
        if self.open.len() >= DEPTH_MAX {
            return Err(Fault::new(mark, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.open.push(Open { mark, anchor, children });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(Open { mark, anchor, children }) = self.open.pop() else { return Ok(()) };
        let kind = match children {
            Children::List(items) => Kind::List(items),
            Children::Map { pairs, .. } => Kind::Map(self.unique(merge(pairs))),
        };
        self.add(Node { mark, kind }, anchor)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        let mark = node.mark;
        if anchor != 0 {
            self.spend(node.size(), mark)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.children) {
            None if self.root.is_none() => self.root = Some(node),
            None if node.is_null() => {}
            None => return Err(Fault::new(mark, "a second document; a file holds one")),
            Some(Children::List(items)) => items.push(node),
            Some(Children::Map { pairs, key }) => match key.take() {
                Some(key) => pairs.push((key, node)),
                None => *key = Some(as_key(node)?),
            },
        }
        Ok(())
    }

    fn spend(&mut self, nodes: usize, mark: Mark) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(Fault::new(
                mark,
                format!("more than {NODES_MAX} values, counting what aliases repeat"),
            ));
        }
        Ok(())
    }

    /// Keeps the first of equal keys and reports the others.
    fn unique(&mut self, pairs: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
        let mut seen: BTreeMap<String, Mark> = BTreeMap::new();
        let mut kept = Vec::with_capacity(pairs.len());
        for (key, node) in pairs {
            if let Some(first) = seen.get(&key.text) {
                let message = format!("the key `{}` stands here twice", key.text);
                self.faults.push(Fault { mark: key.mark, message, first: Some(*first) });
                continue;
            }
            seen.insert(key.text.clone(), key.mark);
            kept.push((key, node));
        }
        kept
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<Cow<'_, Tag>>, mark: Mark) -> Node {
    let plain = style == ScalarStyle::Plain && tag.is_none();
    Node { mark, kind: Kind::Scalar { text: text.to_owned(), plain } }
}

fn as_key(node: Node) -> Result<Key, Fault> {
    match node.kind {
        Kind::Scalar { text, .. } => Ok(Key { text, mark: node.mark }),
        Kind::List(_) | Kind::Map(_) => Err(Fault::new(node.mark, "a key must be text")),
    }
}

/// Resolves `<<: *defaults`: keys of the merged maps that are not written out.
fn merge(pairs: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    if pairs.iter().all(|(key, _)| key.text != "<<") {
        return pairs;
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(key, _)| key.text == "<<");
    let mut named: HashSet<String> = own.iter().map(|(key, _)| key.text.clone()).collect();
    let maps = merges.into_iter().flat_map(|(_, node)| match node.kind {
        Kind::List(items) => items,
        kind => vec![Node { mark: node.mark, kind }],
    });
    for map in maps {
        let Kind::Map(inherited) = map.kind else { continue };
        for (key, node) in inherited {
            if named.insert(key.text.clone()) {
                own.push((key, node));
            }
        }
    }
    own
}
