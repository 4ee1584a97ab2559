//! Writer of the Prometheus text format 0.0.4. Pure; does not know what is measured.
//!
//! By hand because the names that dashboards of Mesher use (`status_4xx`, a counter without `_total`) and its
//! quantile-less summary cannot be written in OpenMetrics, which is all that the usual encoder speaks.
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{Display, Write as _};

/// Its media type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Name and value of a label.
pub(super) type Label<'a> = (&'a str, &'a str);

/// A text being written, family by family.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

/// What a family's values are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

/// One metric with all its label values. Its head is written with its first sample; without one it leaves no trace.
#[derive(Debug)]
pub(super) struct Family<'e> {
    text: &'e mut String,
    name: &'static str,
    kind: Kind,
    help: &'static str,
    begun: bool,
}

// === impl Exposition ===

impl Exposition {
    /// Begins a family; each name once in a text.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> Family<'_> {
        Family { text: &mut self.0, name, kind, help, begun: false }
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, name: &'static str, kind: Kind, help: &'static str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

// === impl Kind ===

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

// === impl Family ===

impl Family<'_> {
    /// A value. Each combination of label values once in a family.
    pub(super) fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        self.line("", labels, None, &value);
    }

    /// Sum and count of a summary.
    pub(super) fn summary(&mut self, labels: &[Label<'_>], sum: f64, count: u64) {
        self.line("_sum", labels, None, &sum);
        self.line("_count", labels, None, &count);
    }

    /// A histogram from counts per bucket, not cumulated: one for each bound, and one for what is beyond them.
    pub(super) fn histogram(&mut self, labels: &[Label<'_>], bounds: &[f64], buckets: &[u64], sum: f64) {
        let mut count = 0;
        let bounds = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, bucket) in bounds.zip(buckets) {
            count += bucket;
            self.line("_bucket", labels, Some(("le", &bound)), &count);
        }
        self.summary(labels, sum, count);
    }

    fn line(&mut self, suffix: &str, labels: &[Label<'_>], last: Option<Label<'_>>, value: &dyn Display) {
        if !self.begun {
            self.begun = true;
            let (name, kind) = (self.name, self.kind.name());
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(self.text, "# HELP {name} {}\n# TYPE {name} {kind}", self.help);
        }
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(last) {
            self.text.push(separator);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(value, self.text);
            self.text.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// "label_value can be any sequence of UTF-8 characters, but the backslash (`\`), double-quote (`"`), and line feed
/// (`\n`) characters have to be escaped".
fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str(r"\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str(r"\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped_as_the_format_says() {
        let mut text = Exposition::default();
        text.family("m", Kind::Gauge, "help").sample(&[("a", "x\"y\\z\nß\r"), ("b", "")], 1);
        assert_eq!(text.finish(), "# HELP m help\n# TYPE m gauge\nm{a=\"x\\\"y\\\\z\\nß\r\",b=\"\"} 1\n");
    }

    #[test]
    fn a_family_without_samples_leaves_no_trace() {
        let mut text = Exposition::default();
        text.family("m", Kind::Counter, "help");
        assert_eq!(text.finish(), "");
    }

    #[test]
    fn a_histogram_is_cumulated_and_ends_at_infinity() {
        let mut text = Exposition::default();
        text.family("h", Kind::Histogram, "help").histogram(&[("a", "b")], &[0.00025, 1.0], &[1, 2, 3], 4.5);
        let expected = "# HELP h help\n# TYPE h histogram\n\
            h_bucket{a=\"b\",le=\"0.00025\"} 1\nh_bucket{a=\"b\",le=\"1\"} 3\nh_bucket{a=\"b\",le=\"+Inf\"} 6\n\
            h_sum{a=\"b\"} 4.5\nh_count{a=\"b\"} 6\n";
        assert_eq!(text.finish(), expected);
    }
}
