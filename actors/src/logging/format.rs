//! An event as one line: text for people, or JSON for programs.
//!
//! Pure. Values may come from the network, so nothing in them can begin a new line or turn the terminal around:
//! control and direction characters are escaped.

use std::fmt::{self, Write};
use std::time::SystemTime;

use time::OffsetDateTime;
use tracing::Level;
use tracing::field::{Field, Visit};

/// Bytes of the message and of each value that are written; longer ones are cut and marked.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// What stands in a line besides the fields.
#[derive(Debug, Clone, Copy)]
pub struct Record<'r> {
    /// When.
    pub at: SystemTime,
    /// How severe.
    pub level: Level,
    /// Which module.
    pub target: &'r str,
}

/// The message and the fields of an event, in their order.
#[derive(Debug, Default)]
pub struct Fields {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

#[derive(Debug)]
enum Value {
    Text(String),
    /// A number or a boolean: the same in text and JSON.
    Bare(String),
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match value {
            Value::Text(text) | Value::Bare(text) if field.name() == "message" => self.message = text,
            value => self.fields.push((field.name(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(value.to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bare(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Bare(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Bare(value.to_string()));
    }

    /// JSON has no NaN and no infinity: those are text.
    fn record_f64(&mut self, field: &Field, value: f64) {
        let text = value.to_string();
        self.add(field, if value.is_finite() { Value::Bare(text) } else { Value::Text(text) });
    }
}

/// `{"ts":…,"level":"info","target":…,"msg":…,` and the fields `}`.
#[must_use]
pub fn json_line(record: &Record<'_>, fields: &Fields) -> String {
    let mut out = String::with_capacity(256);
    out.push_str("{\"ts\":\"");
    push_time(&mut out, record.at);
    out.push_str("\",\"level\":\"");
    out.push_str(&record.level.as_str().to_ascii_lowercase());
    out.push_str("\",\"target\":");
    push_json(&mut out, record.target);
    out.push_str(",\"msg\":");
    push_json(&mut out, &fields.message);
    for (name, value) in &fields.fields {
        out.push(',');
        push_json(&mut out, name);
        out.push(':');
        match value {
            Value::Text(text) => push_json(&mut out, text),
            Value::Bare(text) => out.push_str(text),
        }
    }
    out.push_str("}\n");
    out
}

/// `time LEVEL target: message name=value …`
#[must_use]
pub fn text_line(record: &Record<'_>, fields: &Fields, color: bool) -> String {
    let mut out = String::with_capacity(256);
    push_time(&mut out, record.at);
    let (on, off) = if color { (paint(record.level), "\x1b[0m") } else { ("", "") };
    // Writing to a string does not fail.
    let _ = write!(out, " {on}{:>5}{off} {}: ", record.level.as_str(), record.target);
    push_escaped(&mut out, &fields.message);
    for (name, value) in &fields.fields {
        let (Value::Text(text) | Value::Bare(text)) = value;
        out.push(' ');
        out.push_str(name);
        out.push('=');
        let quoted = text.is_empty() || text.contains([' ', '"', '=']);
        if quoted {
            out.push('"');
            push_escaped(&mut out, &text.replace('\\', "\\\\").replace('"', "\\\""));
            out.push('"');
        } else {
            push_escaped(&mut out, text);
        }
    }
    out.push('\n');
    out
}

const fn paint(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// RFC 3339 in UTC with microseconds.
fn push_time(out: &mut String, at: SystemTime) {
    let t = OffsetDateTime::from(at);
    // Writing to a string does not fail.
    let _ = write!(out, "{:04}-{:02}-{:02}T", t.year(), u8::from(t.month()), t.day());
    let _ = write!(out, "{:02}:{:02}:{:02}.{:06}Z", t.hour(), t.minute(), t.second(), t.microsecond());
}

fn push_json(out: &mut String, text: &str) {
    let (text, rest) = cut(text);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if must_be_escaped(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c)); // all of them are below U+10000
            }
            c => out.push(c),
        }
    }
    out.push_str(rest);
    out.push('"');
}

fn push_escaped(out: &mut String, text: &str) {
    let (text, rest) = cut(text);
    for c in text.chars() {
        if must_be_escaped(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.push_str(rest);
}

/// Control characters, line separators and the marks that change the direction of text.
fn must_be_escaped(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The start of a text that is too long, and a mark for the rest.
fn cut(text: &str) -> (&str, &'static str) {
    if text.len() <= VALUE_BYTES_MAX {
        return (text, "");
    }
    let end = (0..=VALUE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    (text.get(..end).unwrap_or_default(), "…")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn record() -> Record<'static> {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_706_745_599_000_123);
        Record { at, level: Level::WARN, target: "mesher::run" }
    }

    fn fields(message: &str, value: &str) -> Fields {
        Fields {
            message: message.to_owned(),
            fields: vec![("service", Value::Text(value.to_owned())), ("count", Value::Bare("3".to_owned()))],
        }
    }

    #[test]
    fn text_has_time_level_target_message_and_fields() {
        let line = text_line(&record(), &fields("cannot reach it", "my \"own\""), false);
        assert_eq!(
            line,
            "2024-01-31T23:59:59.000123Z  WARN mesher::run: cannot reach it service=\"my \\\"own\\\"\" count=3\n"
        );
    }

    #[test]
    fn json_has_the_same_in_the_same_order() {
        let line = json_line(&record(), &fields("cannot reach it", "orders"));
        assert_eq!(
            line,
            "{\"ts\":\"2024-01-31T23:59:59.000123Z\",\"level\":\"warn\",\"target\":\"mesher::run\",\
             \"msg\":\"cannot reach it\",\"service\":\"orders\",\"count\":3}\n"
        );
    }

    #[test]
    fn color_is_around_the_level_only() {
        let line = text_line(&record(), &fields("m", "v"), true);
        assert!(line.contains(" \x1b[33m WARN\x1b[0m mesher::run: m"), "{line:?}");
    }

    #[test]
    fn a_value_cannot_forge_a_line_or_turn_the_text_around() {
        let line = text_line(&record(), &fields("a\nb", "x\u{1b}[2J\u{202e}"), false);
        assert!(line.ends_with("a\\nb service=x\\u{1b}[2J\\u{202e} count=3\n"), "{line:?}");
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let line = text_line(&record(), &fields("é".repeat(VALUE_BYTES_MAX).as_str(), ""), false);
        assert!(line.len() < VALUE_BYTES_MAX + 200);
        assert!(line.contains("é… service="), "the cut must show");
    }

    proptest! {
        #[test]
        fn every_json_line_is_one_line_of_json(message in any::<String>(), value in any::<String>()) {
            let line = json_line(&record(), &fields(&message, &value));
            prop_assert_eq!(line.matches('\n').count(), 1);
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(parsed.get("msg").unwrap().as_str().unwrap(), message);
            prop_assert_eq!(parsed.get("service").unwrap().as_str().unwrap(), value);
        }

        #[test]
        fn every_text_line_is_one_line(message in any::<String>(), value in any::<String>()) {
            let line = text_line(&record(), &fields(&message, &value), false);
            prop_assert_eq!(line.chars().filter(|c| c.is_control()).count(), 1);
        }
    }
}
