//! A plot area with axes, ticks and shapes, in SVG user units (pixels at full width).

use std::fmt::Write as _;

/// Room left of the area for tick labels, and below it.
const LEFT: f64 = 58.0;
const BOTTOM: f64 = 42.0;
const TOP: f64 = 10.0;
const RIGHT: f64 = 14.0;

/// A linear map from data to pixels.
#[derive(Debug, Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Scale {
    fn at(self, value: f64) -> f64 {
        self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
    }
}

/// The plot under construction.
#[derive(Debug)]
pub(super) struct Canvas {
    body: String,
    width: f64,
    height: f64,
    x: Scale,
    y: Scale,
}

impl Canvas {
    /// An empty plot of `width` x `height` pixels over the given ranges; a range without extent is
    /// widened.
    pub(super) fn new(width: f64, height: f64, x: [f64; 2], y: [f64; 2]) -> Self {
        let [x, y] = [x, y].map(|[low, high]| {
            if high > low {
                [low, high]
            } else {
                [low - 0.5, low + 0.5]
            }
        });
        Self {
            body: String::new(),
            width,
            height,
            x: Scale {
                low: x[0],
                high: x[1],
                start: LEFT,
                end: width - RIGHT,
            },
            y: Scale {
                low: y[0],
                high: y[1],
                start: height - BOTTOM,
                end: TOP,
            },
        }
    }

    /// Grid lines and labels of the y axis, with its name.
    pub(super) fn y_axis(&mut self, name: &str) {
        self.y_axis_at(name, &ticks(self.y.low, self.y.high, 6));
    }

    /// As [`Self::y_axis`], with labels of its own at data values.
    pub(super) fn y_axis_at(&mut self, name: &str, ticks: &[(f64, String)]) {
        let (left, right) = (self.x.start, self.x.end);
        for &(value, ref text) in ticks {
            let y = self.y.at(value);
            self.line("grid", [left, y], [right, y]);
            self.text("tick end", [left - 6.0, y + 4.0], text);
        }
        let middle = f64::midpoint(self.y.start, self.y.end);
        let name = escape(name);
        let _ = write!(
            self.body,
            r#"<text class="axis-name" transform="translate(13 {middle:.1}) rotate(-90)">{name}</text>"#
        );
    }

    /// Base line and name of the x axis.
    pub(super) fn x_base(&mut self, name: &str) {
        let (left, right, base) = (self.x.start, self.x.end, self.y.start);
        self.line("axis", [left, base], [right, base]);
        self.text(
            "axis-name",
            [f64::midpoint(left, right), self.height - 6.0],
            name,
        );
    }

    /// Numbered ticks of the x axis.
    pub(super) fn x_ticks(&mut self, count: usize) {
        for (value, text) in ticks(self.x.low, self.x.high, count) {
            self.x_label(value, &text);
        }
    }

    /// A tick with a text at `x`.
    pub(super) fn x_label(&mut self, x: f64, text: &str) {
        let (x, base) = (self.x.at(x), self.y.start);
        self.line("axis", [x, base], [x, base + 4.0]);
        self.text("tick middle", [x, base + 17.0], text);
    }

    /// A bar from the base line up to `y`, between `from` and `to` on the x axis.
    pub(super) fn bar(&mut self, class: &str, from: f64, to: f64, y: f64, tooltip: &str) {
        let (left, right, top) = (self.x.at(from), self.x.at(to), self.y.at(y));
        let (width, height) = ((right - left).max(0.5), (self.y.start - top).max(0.0));
        let tooltip = escape(tooltip);
        let _ = write!(
            self.body,
            r#"<rect class="{class}" x="{left:.2}" y="{top:.2}" width="{width:.2}" height="{height:.2}"><title>{tooltip}</title></rect>"#
        );
    }

    /// A rectangle between two corners in data units.
    pub(super) fn cell(
        &mut self,
        class: &str,
        from: [f64; 2],
        to: [f64; 2],
        opacity: f64,
        tooltip: &str,
    ) {
        let (left, right) = (self.x.at(from[0]), self.x.at(to[0]));
        let (bottom, top) = (self.y.at(from[1]), self.y.at(to[1]));
        let (width, height, tooltip) = (right - left, bottom - top, escape(tooltip));
        let _ = write!(
            self.body,
            r#"<rect class="{class}" fill-opacity="{opacity:.2}" x="{left:.2}" y="{top:.2}" width="{width:.2}" height="{height:.2}"><title>{tooltip}</title></rect>"#
        );
    }

    /// A dot.
    pub(super) fn dot(&mut self, class: &str, x: f64, y: f64, radius: f64, tooltip: &str) {
        let (x, y, tooltip) = (self.x.at(x), self.y.at(y), escape(tooltip));
        let _ = write!(
            self.body,
            r#"<circle class="{class}" cx="{x:.2}" cy="{y:.2}" r="{radius}"><title>{tooltip}</title></circle>"#
        );
    }

    /// A text right of the dot at `x`, `y`.
    pub(super) fn label(&mut self, x: f64, y: f64, text: &str) {
        let (x, y) = (self.x.at(x) + 9.0, self.y.at(y) - 7.0);
        self.text("name", [x, y], text);
    }

    /// A line between two points in data units.
    pub(super) fn segment(&mut self, class: &str, from: [f64; 2], to: [f64; 2]) {
        let map = |[x, y]: [f64; 2]| [self.x.at(x), self.y.at(y)];
        let (from, to) = (map(from), map(to));
        self.line(class, from, to);
    }

    /// A mark below the base line at `x`.
    pub(super) fn rug(&mut self, class: &str, x: f64, tooltip: &str) {
        let (x, base, tooltip) = (self.x.at(x), self.y.start, escape(tooltip));
        let end = base + 9.0;
        let _ = write!(
            self.body,
            r#"<line class="{class}" x1="{x:.2}" y1="{base:.2}" x2="{x:.2}" y2="{end:.2}"><title>{tooltip}</title></line>"#
        );
    }

    /// The finished element; `name` is read aloud in place of the picture.
    pub(super) fn finish(self, name: &str) -> String {
        let Self {
            body,
            width,
            height,
            ..
        } = self;
        let name = escape(name);
        format!(
            r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{name}">{body}</svg>"#
        )
    }

    fn line(&mut self, class: &str, from: [f64; 2], to: [f64; 2]) {
        let _ = write!(
            self.body,
            r#"<line class="{class}" x1="{:.2}" y1="{:.2}" x2="{:.2}" y2="{:.2}"/>"#,
            from[0], from[1], to[0], to[1]
        );
    }

    fn text(&mut self, class: &str, at: [f64; 2], text: &str) {
        let (x, y, text) = (at[0], at[1], escape(text));
        let _ = write!(
            self.body,
            r#"<text class="{class}" x="{x:.2}" y="{y:.2}">{text}</text>"#
        );
    }
}

/// At most about `count` round values in `low..=high`, with their texts.
pub(super) fn ticks(low: f64, high: f64, count: usize) -> Vec<(f64, String)> {
    let rough = (high - low) / count.max(1) as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return Vec::new();
    }
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of decimals"
    )]
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let first = (low / step - 1e-9).ceil();
    (0..=count * 3)
        .map(|at| (first + at as f64) * step)
        .take_while(|value| *value <= high + step * 1e-9)
        .map(|value| {
            // -0 is written as 0.
            let value = if value.abs() < step * 1e-6 {
                0.0
            } else {
                value
            };
            (value, format!("{value:.decimals$}"))
        })
        .collect()
}

/// Text as it may stand in an element or a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let texts = |low, high, count| -> Vec<String> {
            ticks(low, high, count)
                .into_iter()
                .map(|tick| tick.1)
                .collect()
        };
        assert_eq!(texts(0.0, 4.7, 5), ["0", "1", "2", "3", "4"]);
        assert_eq!(texts(-0.26, 0.21, 5), ["-0.2", "-0.1", "0.0", "0.1", "0.2"]);
        assert_eq!(texts(47.02, 48.31, 4), ["47.5", "48.0"]);
        assert!(ticks(1.0, 1.0, 5).is_empty());
        assert!(ticks(0.0, f64::NAN, 5).is_empty());
    }

    #[test]
    fn data_land_inside_the_frame_and_names_are_escaped() {
        let mut canvas = Canvas::new(200.0, 100.0, [0.0, 10.0], [0.0, 1.0]);
        canvas.y_axis("a<b");
        canvas.bar("s0", 0.0, 10.0, 1.0, "\"x\" & y");
        let svg = canvas.finish("t");
        assert!(svg.contains("a&lt;b") && svg.contains("&quot;x&quot; &amp; y"));
        assert!(
            svg.contains(r#"x="58.00" y="10.00" width="128.00" height="48.00""#),
            "{svg}"
        );
    }

    #[test]
    fn a_range_without_extent_is_widened() {
        let canvas = Canvas::new(200.0, 100.0, [3.0, 3.0], [1.0, 1.0]);
        assert!(canvas.x.at(3.0).is_finite() && canvas.y.at(1.0).is_finite());
    }
}
