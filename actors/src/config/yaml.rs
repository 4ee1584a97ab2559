//! YAML text into a tree that keeps two things other readers lose: where every key and value stands, and the text
//! of every scalar as it was written (`version: 1.10` stays `1.10`).
//!
//! It knows nothing of keys, files or layers; [`super::flatten`] drives it for configuration, and the file registry
//! asks it whether its own file keeps within bounds. Pure: the text of a file in, a tree and faults out.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

/// Nesting of maps and lists. Mesher's deepest key (fault injection) has 14 levels.
pub const DEPTH_MAX: usize = 32;
/// Keys, values and copies made by aliases in one file; a file of a megabyte of real settings has fewer.
/// It is what stops an alias bomb.
pub const NODES_MAX: usize = 100_000;
/// Bytes of text that aliases repeat in one file: as many as a whole file may have. Few values can be long ones.
pub const REPEATED_BYTES_MAX: usize = 1 << 20;
/// What the parser calls nesting that is too deep for itself, which it looks for ahead of its events.
const TOO_DEEP: &str = "recursion limit exceeded";

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
    /// It is not wrong, but more than is read.
    pub is_excess: bool,
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

    /// Levels of maps and lists.
    fn depth(&self) -> usize {
        match &self.kind {
            Kind::Scalar { .. } => 0,
            Kind::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Kind::Map(pairs) => 1 + pairs.iter().map(|(_, node)| node.depth()).max().unwrap_or(0),
        }
    }

    fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar { .. } => 0,
            Kind::List(items) => items.iter().map(Self::size).sum(),
            Kind::Map(pairs) => pairs.iter().map(|(_, node)| 1 + node.size()).sum(),
        }
    }

    /// Of all text in it.
    fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Scalar { text, .. } => text.len(),
            Kind::List(items) => items.iter().map(Self::bytes).sum(),
            Kind::Map(pairs) => pairs.iter().map(|(key, node)| key.text.len() + node.bytes()).sum(),
        }
    }
}

/// Reads the first document of a text. `None` is an empty document. Faults do not hide each other where the rest can
/// still be read: two equal keys keep the first and are reported.
#[must_use]
pub fn parse(text: &str) -> (Option<Node>, Vec<Fault>) {
    read(text, NODES_MAX)
}

/// What a text has too much of: nesting, values (`nodes_max` of them), or text that aliases repeat. For files that are
/// given to a reader without such bounds. The rest of what is wrong is left to that reader.
///
/// # Errors
/// The first excess.
pub fn check_bounds(text: &str, nodes_max: usize) -> Result<(), Fault> {
    let (_, faults) = read(text, nodes_max);
    faults.into_iter().find(|fault| fault.is_excess).map_or(Ok(()), Err)
}

fn read(text: &str, nodes_max: usize) -> (Option<Node>, Vec<Fault>) {
    let mut builder = Builder { nodes_left: nodes_max, nodes_max, ..Builder::default() };
    let mut parser = Parser::new_from_str(text);
    let end = end(text);
    while let Some(event) = parser.next_event() {
        let outcome = match event {
            Ok((event, span)) => builder.event(event, mark(span, end)),
            Err(error) => {
                let mark = mark(Span::empty(*error.marker()), end);
                let is_excess = error.info() == TOO_DEEP;
                Err(Fault { is_excess, ..Fault::new(mark, error.info()) })
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
        Self { mark, message: message.into(), first: None, is_excess: false }
    }

    fn excess(mark: Mark, message: String) -> Self {
        Self { is_excess: true, ..Self::new(mark, message) }
    }
}

/// Something missing at the end of a text stands behind its last line for the parser; for people it stands at its end.
fn mark(span: Span, end: Mark) -> Mark {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let line = narrow(span.start.line());
    if line > end.line {
        return end;
    }
    let length = span.end.index().saturating_sub(span.start.index());
    Mark { line, column: narrow(span.start.col() + 1), length: narrow(length) }
}

/// Behind the last character of a text. CR, LF and CR LF each end a line.
fn end(text: &str) -> Mark {
    let breaks = text.matches(['\r', '\n']).count().saturating_sub(text.matches("\r\n").count());
    let line = text.rsplit(['\r', '\n']).next().unwrap_or_default();
    let narrow = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    Mark { line: narrow(breaks), column: narrow(line.chars().count()), length: 0 }
}

/// Builds the tree from events without recursion, so that no input can exhaust the stack.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes_max: usize,
    nodes_left: usize,
    bytes_repeated: usize,
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
                    self.room_for(copy.depth(), mark)?;
                    self.repeat(copy.bytes(), mark)?;
                    self.add(copy, 0)
                }
                None => Err(Fault::new(mark, "an alias inside the value it names")),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, mark: Mark, anchor: usize, children: Children) -> Result<(), Fault> {
        self.spend(1, mark)?;
        self.room_for(1, mark)?;
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
        let left = self.nodes_left.checked_sub(nodes).ok_or_else(|| {
            let message = format!("more than {} values, counting what aliases repeat", self.nodes_max);
            Fault::excess(mark, message)
        })?;
        self.nodes_left = left;
        Ok(())
    }

    fn repeat(&mut self, bytes: usize, mark: Mark) -> Result<(), Fault> {
        self.bytes_repeated = self.bytes_repeated.saturating_add(bytes);
        if self.bytes_repeated > REPEATED_BYTES_MAX {
            let message = format!("aliases repeat more than {REPEATED_BYTES_MAX} bytes of text");
            return Err(Fault::excess(mark, message));
        }
        Ok(())
    }

    /// Everything that walks a tree counts on this bound.
    fn room_for(&self, levels: usize, mark: Mark) -> Result<(), Fault> {
        if self.open.len() + levels > DEPTH_MAX {
            return Err(Fault::excess(mark, format!("nested deeper than {DEPTH_MAX} levels")));
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
                self.faults.push(Fault { first: Some(*first), ..Fault::new(key.mark, message) });
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    /// The tree in one line: quoted scalars in quotes, plain ones bare.
    fn show(node: &Node) -> String {
        match &node.kind {
            Kind::Scalar { text, plain: true } => text.clone(),
            Kind::Scalar { text, plain: false } => format!("{text:?}"),
            Kind::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
            Kind::Map(pairs) => {
                let pairs = pairs.iter().map(|(key, node)| format!("{}={}", key.text, show(node)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn check(text: &str, expected: &str) {
        let (root, faults) = parse(text);
        assert_eq!(faults, []);
        assert_eq!(root.as_ref().map(show).unwrap_or_default(), expected, "in:\n{text}");
    }

    fn check_fault(text: &str, line: u32, column: u32, message: &str) {
        let (_, faults) = parse(text);
        let fault = faults.first().unwrap_or_else(|| panic!("no fault in:\n{text}"));
        assert_eq!((fault.mark.line, fault.mark.column), (line, column), "{fault:?}");
        assert!(fault.message.contains(message), "{fault:?}");
    }

    #[test]
    fn scalars_keep_the_text_they_were_written_with() {
        check(
            "a: 1.10\nb: 010\nc: yes\nd: 'no'\ne: \"x\\ty\"\n",
            "{a=1.10 b=010 c=yes d=\"no\" e=\"x\\ty\"}",
        );
    }

    #[test]
    fn nested_maps_lists_and_flow_style_are_read() {
        check(
            "a:\n  b: {c: 1, d: [x, y]}\n  e:\n  - f: 1\n    g: 2\n  -\n",
            "{a={b={c=1 d=[x y]} e=[{f=1 g=2} ]}}",
        );
    }

    #[test]
    fn keys_are_text_whatever_they_look_like() {
        check("8080: a\ntrue: b\n", "{8080=a true=b}");
    }

    #[test]
    fn a_block_keeps_its_lines() {
        check("a: |\n  x: 1\n  y\nb: >\n  one\n  two\n", "{a=\"x: 1\\ny\\n\" b=\"one two\\n\"}");
    }

    #[test]
    fn a_file_without_values_is_empty() {
        for text in ["", "---\n", "# only a comment\n", "---\n...\n", "~", "\u{feff}"] {
            assert_eq!(parse(text), (None, vec![]), "{text:?}");
        }
    }

    #[test]
    fn windows_line_ends_and_a_byte_order_mark_do_not_matter() {
        check("\u{feff}a: 1\r\nb:\r\n  c: 2\r\n", "{a=1 b={c=2}}");
    }

    #[test]
    fn marks_point_at_keys_and_values() {
        let (root, _) = parse("a:\n  bé: [1, two]\n");
        let root = root.unwrap();
        let Kind::Map(pairs) = &root.get("a").unwrap().kind else { panic!() };
        let (key, node) = pairs.first().unwrap();
        assert_eq!(key.mark, Mark { line: 2, column: 3, length: 2 });
        let Kind::List(items) = &node.kind else { panic!() };
        assert_eq!(items.get(1).unwrap().mark, Mark { line: 2, column: 11, length: 3 });
    }

    #[test]
    fn aliases_repeat_and_merges_fill_in() {
        check(
            "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nagain: *b\n",
            "{base={x=1 y=2} use={y=3 x=1} again={x=1 y=2}}",
        );
    }

    #[test]
    fn equal_keys_keep_the_first_and_are_reported_with_both_places() {
        let (root, faults) = parse("a: 1\nb: 2\na: 3\n");
        assert_eq!(show(&root.unwrap()), "{a=1 b=2}");
        let fault = faults.first().unwrap();
        assert_eq!((fault.mark.line, fault.first.unwrap().line), (3, 1));
    }

    #[test]
    fn mistakes_are_found_where_they_are() {
        check_fault("a: 1\nb: [1, 2\nc: 3\n", 3, 2, "");
        check_fault("a: 1\n  b: 2\n", 2, 4, "mapping values are not allowed");
        check_fault("a: *none\n", 1, 4, "");
        check_fault("a: &x [*x]\n", 1, 8, "an alias inside the value it names");
        check_fault("? [a]\n: 1\n", 1, 3, "a key must be text");
        check_fault("a: 1\n---\nb: 2\n", 3, 1, "a second document");
    }

    #[test]
    fn what_is_missing_at_the_end_is_missing_in_the_last_line() {
        check_fault("a: [", 1, 5, "");
        check_fault("?\n? ", 2, 3, "the key `` stands here twice");
        check_fault("?\r\n? ", 2, 3, "the key `` stands here twice");
        check_fault("\r?\r\r? ", 4, 3, "the key `` stands here twice");
        let (root, _) = parse("a: 1\n? ");
        let Some(Node { kind: Kind::Map(pairs), .. }) = root else { panic!() };
        assert_eq!(pairs.last().unwrap().0.mark, Mark { line: 2, column: 3, length: 0 });
    }

    #[test]
    fn depth_is_bounded() {
        check_fault(&"[".repeat(DEPTH_MAX + 1), 1, 33, "nested deeper than 32 levels");
        let half = |value: &str| format!("{}{value}{}", "[".repeat(20), "]".repeat(20));
        check_fault(&format!("a: &a {}\nb: {}\n", half("x"), half("*a")), 2, 24, "nested deeper");
    }

    #[test]
    fn an_alias_bomb_does_not_go_off() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            text.push_str(&format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", ")));
        }
        let (root, faults) = parse(&text);
        assert_eq!(root, None);
        assert!(faults.first().unwrap().message.contains("counting what aliases repeat"));
    }

    #[test]
    fn a_long_text_is_not_repeated_without_end() {
        let text = |times: usize| {
            let long = "x".repeat(REPEATED_BYTES_MAX / 2);
            format!("a: &a {long}\nb: [{}]\n", vec!["*a"; times].join(", "))
        };
        assert_eq!(parse(&text(2)).1, []);
        check_fault(&text(3), 2, 13, "aliases repeat more than 1048576 bytes of text");
    }

    #[test]
    fn what_is_too_much_is_told_from_what_is_wrong() {
        let check = |text: &str, part: &str| {
            let fault = check_bounds(text, 40).unwrap_err();
            assert!(fault.message.contains(part), "{fault:?}");
        };
        check(&"[".repeat(DEPTH_MAX + 1), "nested deeper than 32 levels");
        check(&format!("a: {}", "[".repeat(100_000)), TOO_DEEP);
        check(&format!("[{}]", vec!["x"; 40].join(", ")), "more than 40 values");
        for text in ["", "a: 1", "a: [}", "a: 1\na: 2\n", "a: *b"] {
            assert_eq!(check_bounds(text, 40), Ok(()), "{text}");
        }
    }

    /// Pieces that make text look like YAML most of the time.
    const PIECES: [&str; 24] = [
        "a: ", "b", "b:", "- ", "[", "]", "{", "}", ",", "&a ", "*a", "<<: ", "\n", "  ", "'", "\"", "#",
        "|", ">", "? ", "---\n", "\t", "é", "!!str ",
    ];

    proptest! {
        #[test]
        fn any_text_parses_without_a_panic(pieces in prop::collection::vec(prop::sample::select(&PIECES), 0..60)) {
            let (root, faults) = parse(&pieces.concat());
            prop_assert!(root.is_none() || faults.iter().all(|fault| fault.first.is_some()));
            prop_assert!(root.is_none_or(|root| root.depth() <= DEPTH_MAX));
        }

        #[test]
        fn no_character_makes_it_panic(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
