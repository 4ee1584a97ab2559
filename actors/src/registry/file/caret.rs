//! Shows a fault in a text the way compilers do. Pure.

use std::fmt::Write as _;
use std::path::Path;

/// Characters of the line that are shown on each side of the fault.
const SHOWN_BESIDE: usize = 60;

/// Where something is in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// From 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
}

/// Something wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What, without its place.
    pub message: String,
    /// Line and column, in characters, from 1; none if it is wrong as a whole.
    pub place: Option<(usize, usize)>,
}

/// The lines of a text as the reader of YAML counts them, which knows more ends of lines than the system does.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).unwrap_or(rest.len());
        let (line, behind) = rest.split_at_checked(end)?;
        let mut characters = behind.chars();
        let is_cr = characters.next() == Some('\r');
        rest = characters.as_str();
        if is_cr {
            rest = rest.strip_prefix('\n').unwrap_or(rest);
        }
        Some(line)
    })
}

/// A fault with the line it is in and a caret below its first character.
///
/// ```text
/// unknown field `endpoint`, expected …
///   --> /etc/mesher/registry.yaml:4:7
/// 4 |       endpoint: []
///   |       ^
/// ```
fn render(path: &Path, text: &str, place: Place, message: &str) -> String {
    let Place { line, column } = place.within(text);
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let mut out = format!("{message}\n{margin}--> {}:{line}:{column}", path.display());
    let Some(shown) = lines(text).nth(line.saturating_sub(1)) else { return out };
    let before = column.saturating_sub(1);
    let skipped = before.saturating_sub(SHOWN_BESIDE);
    let shown: String = shown.chars().skip(skipped).take(2 * SHOWN_BESIDE).map(visible).collect();
    let blank: String = shown.chars().take(before - skipped).map(|_| ' ').collect();
    // Writing to a String cannot fail.
    let _ = write!(out, "\n{number} | {}\n{margin} | {blank}^", shown.trim_end());
    out
}

// === impl Fault ===

impl Fault {
    /// For where there is only one line.
    pub(super) fn in_a_line(&self, path: &Path) -> String {
        let place = self.place.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
        format!("{}{place}: {}", path.display(), self.message)
    }

    /// As people are shown it.
    pub(super) fn render(&self, path: &Path, text: &str) -> String {
        match self.place {
            Some((line, column)) => render(path, text, Place { line, column }, &self.message),
            None => format!("{}: {}", path.display(), self.message),
        }
    }
}

// === impl Place ===

impl Place {
    /// A place behind the end of the text (something is missing there) becomes the end of its last line.
    fn within(self, text: &str) -> Self {
        let count = lines(text).count();
        if self.line <= count {
            return self;
        }
        let column = lines(text).last().map_or(0, |last| last.trim_end().chars().count()) + 1;
        Self { line: count.max(1), column }
    }
}

/// A blank for what would move the caret, or do things to a terminal.
fn visible(character: char) -> char {
    if character.is_control() { ' ' } else { character }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, line: usize, column: usize, expected: &str) {
        assert_eq!(render(Path::new("r.yaml"), text, Place { line, column }, "wrong"), expected);
    }

    #[test]
    fn every_end_of_a_line_that_yaml_knows_is_counted() {
        let all: Vec<_> = lines("a\nb\r\nc\rd\u{85}e\u{2028}f\n\ng\n").collect();
        assert_eq!(all, ["a", "b", "c", "d", "e", "f", "", "g"]);
        assert_eq!(lines("").count(), 0);
    }

    #[test]
    fn the_caret_is_below_the_fault() {
        check("a: 1\n  ü: x\n", 2, 6, "wrong\n --> r.yaml:2:6\n2 |   ü: x\n  |      ^");
        check("\tx", 1, 2, "wrong\n --> r.yaml:1:2\n1 |  x\n  |  ^");
    }

    #[test]
    fn a_place_behind_the_end_is_the_end_of_the_last_line() {
        check("a: [\n", 2, 1, "wrong\n --> r.yaml:1:5\n1 | a: [\n  |     ^");
        check("", 1, 1, "wrong\n --> r.yaml:1:1");
    }

    #[test]
    fn of_a_long_line_the_part_around_the_fault_is_shown() {
        let text = format!("{}!{}", "a".repeat(500), "b".repeat(500));
        let expected = format!(
            "wrong\n --> r.yaml:1:501\n1 | {}!{}\n  | {}^",
            "a".repeat(60),
            "b".repeat(59),
            " ".repeat(60)
        );
        check(&text, 1, 501, &expected);
    }

    proptest! {
        #[test]
        fn no_text_and_no_place_panics(text in "(.|\n){0,80}", line: usize, column: usize, small in 0..9_usize) {
            for (line, column) in [(line, column), (small, small)] {
                let _ = render(Path::new("r"), &text, Place { line, column }, "");
            }
        }
    }
}
