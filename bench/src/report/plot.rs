//! Pictures as inline SVG: curves over linear, logarithmic and percentile axes, bars, and time lines. Colours
//! come from the page's style sheet, so one picture serves light and dark.

use std::fmt::Write as _;

/// Width of every picture, in its own units; the page scales it.
const WIDTH: f64 = 860.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;
/// Space of one line of the legend.
const LEGEND: f64 = 22.0;

/// How values become places along an axis.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Scale {
    /// Evenly, from the first to the second.
    Linear(f64, f64),
    /// By the logarithm.
    Log(f64, f64),
    /// Percentiles from 0 to the given one, by `-log10(1 - p / 100)`, as HDR histograms are drawn.
    Percentile(f64),
}

impl Scale {
    /// 0 at the near end, 1 at the far end.
    fn place(self, v: f64) -> f64 {
        let nines = |p: f64| -(1.0 - (p / 100.0).clamp(0.0, 0.999_999_999)).log10();
        let at = match self {
            Self::Linear(lo, hi) => (v - lo) / (hi - lo),
            Self::Log(lo, hi) => (v.max(lo) / lo).ln() / (hi / lo).ln(),
            Self::Percentile(hi) => nines(v) / nines(hi),
        };
        // An axis without length has one place.
        if at.is_finite() {
            at.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    /// Values with a grid line.
    fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear(lo, hi) => {
                let step = nice_step((hi - lo) / 6.0);
                let first = (lo / step).ceil() as i64;
                (first..)
                    .map(|k| k as f64 * step)
                    .take_while(|&v| v <= hi * (1.0 + 1e-9) + 1e-12)
                    .collect()
            }
            Self::Log(lo, hi) => {
                let decades = (lo.log10().floor() as i32)..=(hi.log10().ceil() as i32);
                decades
                    .map(|d| 10f64.powi(d))
                    .filter(|&v| lo <= v * (1.0 + 1e-9) && v <= hi * (1.0 + 1e-9))
                    .collect()
            }
            Self::Percentile(hi) => {
                let all = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999];
                all.into_iter().filter(|&p| p <= hi).collect()
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, not below `raw`.
fn nice_step(raw: f64) -> f64 {
    if !(raw.is_finite() && raw > 0.0) {
        return 1.0;
    }
    let base = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * base)
        .find(|&s| s >= raw * 0.999_999)
        .unwrap_or(base * 10.0)
}

/// How the numbers at an axis read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// A plain number.
    Plain,
    /// Nanoseconds, shown as ns, us, ms or s.
    Ns,
    /// Percent.
    Percent,
    /// Seconds.
    Seconds,
}

/// A duration in the unit that suits it, with three digits.
pub(crate) fn ns_text(ns: f64) -> String {
    let (v, unit) = match ns.abs() {
        a if a < 1e3 => (ns, "ns"),
        a if a < 1e6 => (ns / 1e3, "µs"),
        a if a < 1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    let digits = if v.abs() >= 99.95 || v.fract() == 0.0 {
        0
    } else {
        usize::from(v.abs() < 9.995) + 1
    };
    format!("{v:.digits$} {unit}")
}

/// A whole number with thin spaces between groups of three.
pub(crate) fn grouped(v: i128) -> String {
    let digits = v.unsigned_abs().to_string();
    let mut out = String::from(if v < 0 { "\u{2212}" } else { "" });
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202F}');
        }
        out.push(c);
    }
    out
}

impl Unit {
    fn text(self, v: f64) -> String {
        match self {
            Self::Ns => ns_text(v),
            Self::Percent => format!("{v} %"),
            Self::Seconds => format!("{v} s"),
            Self::Plain if v.abs() >= 1_000.0 => grouped(v.round() as i128),
            Self::Plain => format!("{}", (v * 1e6).round() / 1e6),
        }
    }
}

/// An axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis<'a> {
    pub(crate) scale: Scale,
    pub(crate) unit: Unit,
    /// In words, with the unit where the numbers do not show it.
    pub(crate) label: &'a str,
}

/// One curve.
#[derive(Clone, Debug, Default)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Drawn dashed and with its points marked: only a few of its values are known.
    pub(crate) sparse: bool,
    /// Colour, 0 to 5.
    pub(crate) colour: usize,
}

/// Text that is safe inside SVG.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// How a name in the legend is marked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Swatch {
    Line,
    Dash,
    Bar,
}

struct Canvas {
    body: String,
    height: f64,
    /// Lines of legend above the plot.
    legend: f64,
}

impl Canvas {
    fn new(height: f64, names: &[(&str, usize, Swatch)]) -> Self {
        let mut this = Self {
            body: String::new(),
            height,
            legend: 0.0,
        };
        let mut x = LEFT;
        for &(name, colour, swatch) in names {
            let width = 44.0 + 7.0 * name.chars().count() as f64;
            if x + width > WIDTH - RIGHT {
                (x, this.legend) = (LEFT, this.legend + LEGEND);
            }
            let y = TOP + this.legend + 6.0;
            match swatch {
                Swatch::Bar => this.add(format_args!(
                    r#"<rect class="f{colour}" x="{x:.1}" y="{:.1}" width="14" height="10" rx="2"/>"#,
                    y - 5.0
                )),
                Swatch::Line | Swatch::Dash => {
                    let dash = if swatch == Swatch::Dash { " dash" } else { "" };
                    this.add(format_args!(
                        r#"<line class="l c{colour}{dash}" x1="{x:.1}" y1="{y:.1}" x2="{:.1}" y2="{y:.1}"/>"#,
                        x + 20.0
                    ));
                }
            }
            let after = if swatch == Swatch::Bar { 20.0 } else { 26.0 };
            this.add(format_args!(
                r#"<text class="k" x="{:.1}" y="{:.1}">{}</text>"#,
                x + after,
                y + 4.0,
                escape(name)
            ));
            x += width;
        }
        if !names.is_empty() {
            this.legend += LEGEND;
        }
        this
    }

    fn add(&mut self, args: std::fmt::Arguments<'_>) {
        self.body.write_fmt(args).expect("a string takes all");
        self.body.push('\n');
    }

    fn top(&self) -> f64 {
        TOP + self.legend
    }
    fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }
    fn x(&self, scale: Scale, v: f64) -> f64 {
        LEFT + scale.place(v) * (WIDTH - RIGHT - LEFT)
    }
    fn y(&self, scale: Scale, v: f64) -> f64 {
        self.bottom() - scale.place(v) * (self.bottom() - self.top())
    }

    fn axes(&mut self, x: Axis<'_>, y: Axis<'_>) {
        let (top, bottom, right) = (self.top(), self.bottom(), WIDTH - RIGHT);
        for v in y.scale.ticks() {
            let at = self.y(y.scale, v);
            self.add(format_args!(
                r#"<line class="g" x1="{LEFT}" y1="{at:.1}" x2="{right}" y2="{at:.1}"/><text class="t" text-anchor="end" x="{:.1}" y="{:.1}">{}</text>"#,
                LEFT - 7.0, at + 4.0, escape(&y.unit.text(v))
            ));
        }
        self.x_axis(x);
        let middle = f64::midpoint(top, bottom);
        self.add(format_args!(
            r#"<text class="a" text-anchor="middle" transform="translate(14 {middle:.1}) rotate(-90)">{}</text>"#,
            escape(y.label)
        ));
    }

    fn x_axis(&mut self, x: Axis<'_>) {
        let (top, bottom, right) = (self.top(), self.bottom(), WIDTH - RIGHT);
        for v in x.scale.ticks() {
            let at = self.x(x.scale, v);
            self.add(format_args!(
                r#"<line class="g" x1="{at:.1}" y1="{top:.1}" x2="{at:.1}" y2="{bottom:.1}"/><text class="t" text-anchor="middle" x="{at:.1}" y="{:.1}">{}</text>"#,
                bottom + 16.0, escape(&x.unit.text(v))
            ));
        }
        self.add(format_args!(
            r#"<line class="b" x1="{LEFT}" y1="{bottom:.1}" x2="{right}" y2="{bottom:.1}"/><text class="a" text-anchor="middle" x="{:.1}" y="{:.1}">{}</text>"#,
            f64::midpoint(LEFT, right), bottom + 36.0, escape(x.label)
        ));
    }

    fn finish(self, alt: &str) -> String {
        format!(
            r#"<svg viewBox="0 0 {WIDTH} {}" role="img" aria-label="{}">{}</svg>"#,
            self.height,
            escape(alt),
            self.body
        )
    }
}

fn legend(curves: &[Curve]) -> Vec<(&str, usize, Swatch)> {
    let swatch = |c: &Curve| if c.sparse { Swatch::Dash } else { Swatch::Line };
    curves
        .iter()
        .map(|c| (c.name.as_str(), c.colour, swatch(c)))
        .collect()
}

/// Curves over two axes.
pub(crate) fn curves(alt: &str, height: f64, x: Axis<'_>, y: Axis<'_>, list: &[Curve]) -> String {
    let names = if list.len() > 1 {
        legend(list)
    } else {
        Vec::new()
    };
    let mut canvas = Canvas::new(height, &names);
    canvas.axes(x, y);
    for curve in list {
        let mut path = String::new();
        for (i, &(vx, vy)) in curve.points.iter().enumerate() {
            let (px, py) = (canvas.x(x.scale, vx), canvas.y(y.scale, vy));
            let letter = if i == 0 { 'M' } else { 'L' };
            write!(path, "{letter}{px:.1} {py:.1}").expect("a string takes all");
            if curve.sparse {
                canvas.add(format_args!(
                    r#"<circle class="d f{}" cx="{px:.1}" cy="{py:.1}" r="2.8"/>"#,
                    curve.colour
                ));
            }
        }
        let dash = if curve.sparse { " dash" } else { "" };
        canvas.add(format_args!(
            r#"<path class="l c{}{dash}" d="{path}"/>"#,
            curve.colour
        ));
    }
    canvas.finish(alt)
}

/// One bar of a time line.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// Colour, 0 to 5.
    pub(crate) colour: usize,
    /// Shown when pointed at.
    pub(crate) title: String,
}

/// One line of a time line.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) label: String,
    pub(crate) segments: Vec<Segment>,
    /// Text after the last bar.
    pub(crate) note: String,
}

/// A time line: each lane a row of bars.
pub(crate) fn timeline(alt: &str, x: Axis<'_>, names: &[(&str, usize)], lanes: &[Lane]) -> String {
    const ROW: f64 = 24.0;
    let names: Vec<_> = names
        .iter()
        .map(|&(name, colour)| (name, colour, Swatch::Bar))
        .collect();
    let height = TOP + LEGEND + 6.0 + ROW * lanes.len() as f64 + BOTTOM;
    let mut canvas = Canvas::new(height, &names);
    canvas.x_axis(x);
    for (row, lane) in lanes.iter().enumerate() {
        let y = canvas.top() + 6.0 + ROW * row as f64;
        canvas.add(format_args!(
            r#"<text class="t" text-anchor="end" x="{:.1}" y="{:.1}">{}</text>"#,
            LEFT - 7.0,
            y + 12.5,
            escape(&lane.label)
        ));
        let mut end = LEFT;
        for s in &lane.segments {
            let (from, to) = (canvas.x(x.scale, s.from), canvas.x(x.scale, s.to));
            end = end.max(to);
            canvas.add(format_args!(
                r#"<rect class="f{}" x="{from:.1}" y="{y:.1}" width="{:.1}" height="16" rx="2"><title>{}</title></rect>"#,
                s.colour, (to - from).max(1.5), escape(&s.title)
            ));
        }
        // Notes that would run out of the picture stand before the bars instead.
        let width = 6.4 * lane.note.chars().count() as f64;
        let begin = lane
            .segments
            .first()
            .map_or(LEFT, |s| canvas.x(x.scale, s.from));
        let (at, anchor) = if end + 8.0 + width < WIDTH - RIGHT {
            (end + 8.0, "start")
        } else {
            (begin - 8.0, "end")
        };
        canvas.add(format_args!(
            r#"<text class="k" text-anchor="{anchor}" x="{at:.1}" y="{:.1}">{}</text>"#,
            y + 12.5,
            escape(&lane.note)
        ));
    }
    canvas.finish(alt)
}

/// Groups of bars over a linear axis, from zero up: at each place one bar per value.
pub(crate) fn bars(
    alt: &str,
    height: f64,
    x: Axis<'_>,
    y: Axis<'_>,
    names: &[(&str, usize)],
    groups: &[(f64, Vec<f64>)],
) -> String {
    let legend: Vec<_> = names
        .iter()
        .map(|&(name, colour)| (name, colour, Swatch::Bar))
        .collect();
    let mut canvas = Canvas::new(height, &legend);
    canvas.axes(x, y);
    let room = (WIDTH - LEFT - RIGHT) / groups.len().max(1) as f64;
    let width = (room * 0.36).clamp(1.5, 11.0);
    for (at, values) in groups {
        let middle = canvas.x(x.scale, *at);
        let left = middle - width * values.len() as f64 / 2.0;
        for (k, (&v, &(name, colour))) in values.iter().zip(names).enumerate() {
            let top = canvas.y(y.scale, v);
            canvas.add(format_args!(
                r#"<rect class="f{colour}" x="{:.1}" y="{top:.1}" width="{:.1}" height="{:.1}"><title>{}: {}</title></rect>"#,
                left + width * k as f64, width - 0.6, (canvas.bottom() - top).max(0.8), escape(name), escape(&y.unit.text(v))
            ));
        }
    }
    canvas.finish(alt)
}

/// The upper end of an axis from zero that shows `most` with some room.
pub(crate) fn axis_top(most: f64) -> f64 {
    let step = nice_step(most.max(1e-9) / 5.0);
    (most.max(1e-9) / step).ceil() * step
}

/// Whole decades around all positive values.
pub(crate) fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (lo, hi) = values
        .filter(|v| *v > 0.0)
        .fold((f64::MAX, 0.0f64), |(lo, hi), v| (lo.min(v), hi.max(v)));
    if hi <= 0.0 {
        return (1.0, 10.0);
    }
    let lo = 10f64.powf(lo.log10().floor());
    (lo, 10f64.powf(hi.log10().ceil()).max(lo * 10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_axis_gives_each_nine_the_same_room() {
        let s = Scale::Percentile(99.99);
        let places: Vec<f64> = [0.0, 90.0, 99.0, 99.9, 99.99]
            .iter()
            .map(|&p| s.place(p))
            .collect();
        for (place, want) in places.iter().zip([0.0, 0.25, 0.5, 0.75, 1.0]) {
            assert!((place - want).abs() < 1e-6, "{places:?}");
        }
        assert_eq!(s.ticks(), [0.0, 50.0, 90.0, 99.0, 99.9, 99.99]);
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(
            Scale::Linear(0.0, 30.0).ticks(),
            [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]
        );
        assert_eq!(
            Scale::Linear(0.0, 1.0).ticks(),
            [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]
        );
        assert_eq!(Scale::Log(1e3, 1e6).ticks(), [1e3, 1e4, 1e5, 1e6]);
        assert_eq!(decades([2_500.0, 0.0, 80_000.0].into_iter()), (1e3, 1e5));
        assert_eq!(decades(std::iter::empty()), (1.0, 10.0));
        assert!((axis_top(93.0) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn durations_and_counts_read_well() {
        let all = [999.0, 1_500.0, 12_340.0, 123_456.0, 5e6, 2.5e9].map(ns_text);
        assert_eq!(
            all,
            ["999 ns", "1.50 µs", "12.3 µs", "123 µs", "5 ms", "2.50 s"]
        );
        assert_eq!(grouped(-1_234_567), "\u{2212}1\u{202F}234\u{202F}567");
        assert_eq!(grouped(12), "12");
    }

    #[test]
    fn pictures_stay_inside_their_frame_and_escape_text() {
        let axis = |scale| Axis {
            scale,
            unit: Unit::Plain,
            label: "a < b",
        };
        let curve = Curve {
            name: "<x>".into(),
            points: vec![(-5.0, -5.0), (50.0, 1e12)],
            sparse: true,
            colour: 1,
        };
        let svg = curves(
            "alt",
            300.0,
            axis(Scale::Linear(0.0, 10.0)),
            axis(Scale::Log(1.0, 100.0)),
            &[curve.clone(), curve],
        );
        assert!(svg.contains("&lt;x&gt;") && svg.contains("a &lt; b") && !svg.contains("<x>"));
        assert!(
            svg.contains(&format!(
                "M{LEFT:.1} {:.1}L{:.1}",
                300.0 - BOTTOM,
                WIDTH - RIGHT
            )),
            "{svg}"
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
