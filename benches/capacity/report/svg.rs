//! Line charts as SVG. Pure.

use std::fmt::Write;

use super::axis::{Axis, Scale};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
/// Room for titles, marks and the legend.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;

/// Colours that people with colour blindness can tell apart (Okabe and Ito), and dashes for more lines than colours.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// What is drawn along one axis.
pub(crate) struct Quantity {
    /// Printed beside the axis.
    pub(crate) label: String,
    /// How values are laid out.
    pub(crate) scale: Scale,
    /// How a marked value is printed.
    pub(crate) print: fn(f64) -> String,
}

/// One line of a chart.
pub(crate) struct Line {
    /// In the legend.
    pub(crate) name: String,
    /// In order of drawing.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A chart.
pub(crate) struct Chart {
    /// Above it.
    pub(crate) title: String,
    /// To the right.
    pub(crate) x: Quantity,
    /// Upwards.
    pub(crate) y: Quantity,
    /// What is in it.
    pub(crate) lines: Vec<Line>,
}

impl Chart {
    /// The chart as a file.
    pub(crate) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Axis::over(points().map(|(x, _)| *x), self.x.scale, LEFT, WIDTH - RIGHT);
        let y = Axis::over(points().map(|(_, y)| *y), self.y.scale, HEIGHT - BOTTOM, TOP);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        text(&mut out, (LEFT, 28.0), "start", 16, &self.title);
        self.grid(&mut out, &x, &y);
        for (index, line) in self.lines.iter().enumerate() {
            draw(&mut out, line, index, &x, &y);
        }
        out.push_str("</svg>\n");
        out
    }

    fn grid(&self, out: &mut String, x: &Axis, y: &Axis) {
        for mark in x.marks() {
            let at = x.place(mark);
            rule(out, (at, TOP), (at, HEIGHT - BOTTOM));
            text(out, (at, HEIGHT - BOTTOM + 20.0), "middle", 12, &(self.x.print)(mark));
        }
        for mark in y.marks() {
            let at = y.place(mark);
            rule(out, (LEFT, at), (WIDTH - RIGHT, at));
            text(out, (LEFT - 8.0, at + 4.0), "end", 12, &(self.y.print)(mark));
        }
        text(out, ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 14.0), "middle", 13, &self.x.label);
        let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
        let label = escape(&self.y.label);
        let turn = format!("rotate(-90 18 {middle})");
        let _ = writeln!(
            out,
            "<text x=\"18\" y=\"{middle}\" text-anchor=\"middle\" transform=\"{turn}\">{label}</text>"
        );
    }
}

fn draw(out: &mut String, line: &Line, index: usize, x: &Axis, y: &Axis) {
    let colour = COLOURS[index % COLOURS.len()];
    let dash = if index < COLOURS.len() { "" } else { " stroke-dasharray=\"6 4\"" };
    let style = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}");
    let places: Vec<String> =
        line.points.iter().map(|(px, py)| format!("{:.1},{:.1}", x.place(*px), y.place(*py))).collect();
    let _ = writeln!(out, "<polyline {style} points=\"{}\"/>", places.join(" "));
    let (left, at) = (WIDTH - RIGHT + 16.0, TOP + 10.0 + 22.0 * index as f64);
    let _ = writeln!(out, "<path {style} d=\"M{left} {at}h24\"/>");
    text(out, (left + 32.0, at + 4.0), "start", 13, &line.name);
}

fn rule(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ =
        writeln!(out, "<path stroke=\"#ddd\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>", from.0, from.1, to.0, to.1);
}

fn text(out: &mut String, at: (f64, f64), anchor: &str, size: u32, text: &str) {
    let text = escape(text);
    let (x, y) = at;
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>"
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
