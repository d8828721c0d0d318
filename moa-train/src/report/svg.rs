//! Drawing as SVG: axes, lines, dots, text. Sizes are pixels, text is 13 of them.

/// A scale with its label and ticks.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// Value at its begin.
    pub low: f64,
    /// Value at its end.
    pub high: f64,
    /// Values with a mark and what is written there.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Ticks at round numbers; the ends are moved to them.
    pub fn round(label: &str, low: f64, high: f64) -> Self {
        let (low, high) =
            if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
        let span = if high > low { high - low } else { low.abs().max(1.0) };
        let raw = span / 5.0;
        let power = 10f64.powf(raw.log10().floor());
        let unit = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|u| u * power >= raw * 0.999);
        let step = unit.unwrap_or(10.0) * power;
        let (first, last) = ((low / step).floor() as i64, ((low + span) / step).ceil() as i64);
        let whole = |digits: &i32| {
            let scaled = step * 10f64.powi(*digits);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        };
        let digits = (0..12).find(whole).unwrap_or(0) as usize;
        let tick = |i: i64| (i as f64 * step, format!("{:.digits$}", i as f64 * step));
        Self {
            label: label.into(),
            low: first as f64 * step,
            high: last as f64 * step,
            ticks: (first..=last).map(tick).collect(),
        }
    }

    /// Names beside each other, at 0, 1, ...
    pub fn names(label: &str, names: &[String]) -> Self {
        let ticks = (0..).map(f64::from).zip(names.iter().cloned()).collect();
        Self { label: label.into(), low: -0.5, high: names.len() as f64 - 0.5, ticks }
    }

    fn place(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

/// A drawing.
#[derive(Clone, Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text is in relation to its place.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

impl Svg {
    /// An empty one.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// Text whose base line is at `y`.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.body.push_str(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
            escaped(text)
        ));
    }

    /// As [`Svg::text`], in another colour.
    pub fn tinted_text(&mut self, at: (f64, f64), anchor: Anchor, text: &str, colour: &str) {
        self.body.push_str(&format!("<g fill=\"{colour}\">"));
        self.text(at, anchor, text);
        self.body.push_str("</g>\n");
    }

    /// The same drawing with another height.
    pub fn with_height(self, height: f64) -> Self {
        Self { height, ..self }
    }

    /// A filled rectangle; `title` is shown when pointed at.
    pub fn rect(&mut self, (x, y): (f64, f64), (w, h): (f64, f64), fill: &str, title: &str) {
        let title = match title {
            "" => String::new(),
            text => format!("<title>{}</title>", escaped(text)),
        };
        self.body.push_str(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"{fill}\">{title}</rect>\n"
        ));
    }

    /// A line through points.
    pub fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64, dashed: bool) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let dash = if dashed { " stroke-dasharray=\"5 4\"" } else { "" };
        self.body.push_str(&format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{dash}/>\n",
            points.join(" ")
        ));
    }

    /// A dot; `title` is shown when pointed at.
    pub fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: &str, title: &str) {
        self.body.push_str(&format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"><title>{}</title></circle>\n",
            escaped(title)
        ));
    }

    /// A PNG; `hard` keeps the edges of its pixels.
    pub fn image(
        &mut self,
        (x, y): (f64, f64),
        (w, h): (f64, f64),
        base64: &str,
        hard: bool,
        opacity: f64,
    ) {
        let hard = if hard { " style=\"image-rendering:pixelated\"" } else { "" };
        self.body.push_str(&format!(
            "<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" \
             preserveAspectRatio=\"none\" opacity=\"{opacity}\"{hard} \
             href=\"data:image/png;base64,{base64}\"/>\n"
        ));
    }

    /// Colours with their names, side by side from `x` on, in lines no longer than to `end`; how
    /// far down it goes.
    pub fn legend(&mut self, (x, y): (f64, f64), end: f64, names: &[(String, String)]) -> f64 {
        let (mut at, mut down) = (x, y);
        for (colour, name) in names {
            let wide = 24.0 + text_width(name);
            if at > x && at + wide > end {
                (at, down) = (x, down + 20.0);
            }
            self.rect((at, down - 10.0), (12.0, 12.0), colour, "");
            self.text((at + 17.0, down), Anchor::Start, name);
            at += wide + 8.0;
        }
        down + 20.0
    }

    /// The file; `title` is for those who cannot see it.
    pub fn finish(self, title: &str) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{}\" \
             font-family=\"system-ui,sans-serif\" font-size=\"13\" fill=\"#1a1a1a\">\n{body}</svg>\n",
            escaped(title)
        )
    }
}

/// About how wide a text is.
pub fn text_width(text: &str) -> f64 {
    7.2 * text.chars().count() as f64
}

/// A rectangle of a drawing with axes.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its upper left corner.
    pub at: (f64, f64),
    /// Its size.
    pub size: (f64, f64),
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
}

/// Space for the labels of an axis on the left.
pub const LEFT: f64 = 56.0;
/// Space for the labels of an axis below.
pub const BELOW: f64 = 44.0;

impl Frame {
    /// The place of a value.
    pub fn place(&self, x: f64, y: f64) -> (f64, f64) {
        let (left, top) = self.at;
        let (x, y) = (self.x.place(x), self.y.place(y));
        (left + x * self.size.0, top + (1.0 - y) * self.size.1)
    }

    /// Draws axes, grid and labels.
    pub fn draw(&self, svg: &mut Svg) {
        let ((left, top), (width, height)) = (self.at, self.size);
        for (value, name) in &self.y.ticks {
            let (_, y) = self.place(self.x.low, *value);
            svg.line(&[(left, y), (left + width, y)], "#e2e2e2", 1.0, false);
            svg.text((left - 6.0, y + 4.5), Anchor::End, name);
        }
        for (value, name) in &self.x.ticks {
            let (x, _) = self.place(*value, self.y.low);
            svg.text((x, top + height + 17.0), Anchor::Middle, name);
        }
        let corner = [(left, top), (left, top + height), (left + width, top + height)];
        svg.line(&corner, "#555555", 1.0, false);
        svg.text((left + width / 2.0, top + height + 36.0), Anchor::Middle, &self.x.label);
        if !self.y.label.is_empty() {
            svg.text((left - 40.0, top - 10.0), Anchor::Start, &self.y.label);
        }
    }
}

/// For text and attributes of HTML and SVG.
pub fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_the_ends() {
        let names = |low, high| {
            Axis::round("", low, high).ticks.into_iter().map(|(_, t)| t).collect::<Vec<_>>()
        };
        assert_eq!(names(0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(names(41.0, 97.0), ["40", "60", "80", "100"]);
        assert_eq!(names(0.0, 0.012), ["0.0000", "0.0025", "0.0050", "0.0075", "0.0100", "0.0125"]);
        assert_eq!(names(5.0, 5.0), ["5", "6", "7", "8", "9", "10"]);
        assert_eq!(names(-30.0, 45.0), ["-40", "-20", "0", "20", "40", "60"]);
        assert_eq!(names(f64::NAN, 1.0).len(), 6);
    }

    #[test]
    fn places() {
        let frame = Frame {
            at: (10.0, 20.0),
            size: (100.0, 50.0),
            x: Axis::round("", 0.0, 1.0),
            y: Axis::round("", 0.0, 1.0),
        };
        assert_eq!(frame.place(0.0, 0.0), (10.0, 70.0));
        assert_eq!(frame.place(1.0, 1.0), (110.0, 20.0));
        assert_eq!(escaped("a<b & \"c\""), "a&lt;b &amp; &quot;c&quot;");
    }
}
