//! Problems as a person reads them: file and line, the line itself, a caret under the culprit, and what was meant.
//!
//! Drawing is miette's; this file only says what goes where.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    Severity as Level, SourceCode, SourceSpan, SpanContents, ThemeCharacters, ThemeStyles,
};

use super::origin::Place;
use super::report::{Problem, Report, Severity};
use super::secret;
use super::yaml::Mark;

/// Characters of a line that is still worth showing.
const LINE_SHOWN_MAX: usize = 240;
/// Columns of the drawing.
const WIDTH: usize = 120;

impl Report {
    /// All problems and a line that counts them; nothing if there are none.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        for problem in self.problems() {
            problem.render(color, &mut out);
        }
        if !self.is_empty() {
            out.push_str(&format!("{}\n", self.summary()));
        }
        out
    }

    /// `2 errors, 1 warning`.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        match (self.errors(), self.warnings()) {
            (errors, 0) => count(errors, "error"),
            (0, warnings) => count(warnings, "warning"),
            (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
        }
    }
}

impl Problem {
    fn render(&self, color: bool, out: &mut String) {
        let handler = GraphicalReportHandler::new_themed(self.theme(color))
            .with_context_lines(1)
            .with_width(WIDTH)
            .with_links(false)
            .without_syntax_highlighting();
        // Writing to a string does not fail; a drawing that does still leaves its one line.
        if handler.render_report(out, &Drawing::new(self)).is_err() {
            out.push_str(&format!("{self}\n"));
        }
    }

    /// miette puts a symbol before the message; here it is the severity with the code.
    fn theme(&self, color: bool) -> GraphicalTheme {
        let head = format!("{}[{}]:", self.severity, self.label());
        let characters = ThemeCharacters { error: head.clone(), warning: head, ..ThemeCharacters::unicode() };
        let styles = if color { ThemeStyles::ansi() } else { ThemeStyles::none() };
        GraphicalTheme { characters, styles }
    }
}

/// A problem in miette's terms.
#[derive(Debug)]
struct Drawing<'p> {
    problem: &'p Problem,
    excerpt: Option<Excerpt<'p>>,
}

/// The text of a file and the bytes that matter in it.
#[derive(Debug)]
struct Excerpt<'p> {
    name: String,
    text: &'p str,
    span: SourceSpan,
    related: Option<(SourceSpan, String)>,
}

impl<'p> Drawing<'p> {
    fn new(problem: &'p Problem) -> Self {
        let excerpt = problem.origin.place().and_then(|place| Excerpt::new(place, problem));
        Self { problem, excerpt }
    }
}

impl<'p> Excerpt<'p> {
    fn new(place: &'p Place, problem: &Problem) -> Option<Self> {
        let text = place.file.text.as_str();
        let span = Some(place).filter(|place| place.quotable).and_then(|place| span(text, place.mark))?;
        let related =
            problem.related.as_ref().filter(|(other, _)| other.file == place.file && other.quotable);
        let related = related.and_then(|(other, what)| Some((self::span(text, other.mark)?, what.clone())));
        Some(Self { name: place.path().display().to_string(), text, span, related })
    }
}

/// The bytes of a mark, within its line. `None` if the line is not there, too long to be shown, or names a secret
/// beside the mark; and where a CR alone ends lines, as it does in YAML, since no terminal shows those as lines.
fn span(text: &str, mark: Mark) -> Option<SourceSpan> {
    if text.matches('\r').count() > text.matches("\r\n").count() {
        return None;
    }
    let line_index = usize::try_from(mark.line).ok()?.checked_sub(1)?;
    let line = text.split('\n').nth(line_index)?;
    let start_of_line: usize = text.split('\n').take(line_index).map(|line| line.len() + 1).sum();
    let line = line.trim_end();
    if line.chars().count() > LINE_SHOWN_MAX || secret::is_named_in(line) {
        return None;
    }
    let byte = |chars: usize| line.char_indices().nth(chars).map_or(line.len(), |(at, _)| at);
    let column = usize::try_from(mark.column).ok()?.saturating_sub(1);
    let length = usize::try_from(mark.length).ok()?.max(1);
    let (start, end) = (byte(column), byte(column.saturating_add(length)));
    Some((start_of_line + start, end.saturating_sub(start)).into())
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)?;
        let shown_above = self.excerpt.is_some() || self.problem.origin == super::Origin::Default;
        if shown_above { Ok(()) } else { write!(f, " ({})", self.problem.origin) }
    }
}

impl std::error::Error for Drawing<'_> {}

impl Diagnostic for Drawing<'_> {
    fn severity(&self) -> Option<Level> {
        Some(match self.problem.severity {
            Severity::Warning => Level::Warning,
            Severity::Error => Level::Error,
        })
    }

    /// Where there is a caret, the help stands at it.
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.problem.help.as_ref().filter(|_| self.excerpt.is_none())?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.excerpt.as_ref().map(|excerpt| excerpt as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let excerpt = self.excerpt.as_ref()?;
        let main = LabeledSpan::new_primary_with_span(self.problem.help.clone(), excerpt.span);
        let related =
            excerpt.related.clone().map(|(span, what)| LabeledSpan::new_with_span(Some(what), span));
        Some(Box::new(std::iter::once(main).chain(related)))
    }
}

/// miette asks for the span alone to name its place, and with context to draw it: the whole lines of the span are
/// context enough.
impl SourceCode for Excerpt<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let start = span.offset();
        let end = start.saturating_add(span.len());
        let (Some(head), Some(tail)) = (self.text.get(..start), self.text.get(end..)) else {
            return Err(MietteError::OutOfBounds);
        };
        let start_of_line = head.rfind('\n').map_or(0, |at| at + 1);
        let end_of_line = end + tail.find('\n').unwrap_or(tail.len());
        let (start, end) = if before == 0 { (start, end) } else { (start_of_line, end_of_line) };
        let data = self.text.get(start..end).unwrap_or_default();
        let line = head.bytes().filter(|byte| *byte == b'\n').count();
        let column = self.text.get(start_of_line..start).unwrap_or_default().chars().count();
        let span = (start, data.len()).into();
        let lines = data.lines().count();
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            data.as_bytes(),
            span,
            line,
            column,
            lines,
        )))
    }
}
