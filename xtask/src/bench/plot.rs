//! Charts as SVG: a few lines over two logarithmic axes, small enough to be read in the source.
//!
//! On such axes a straight line rising by one decade per decade is linear growth, and a level one is
//! none, which is all that these charts are to show; the dotted line is linear growth.

use std::fmt::Write as _;

/// A chart in the making.
#[derive(Debug)]
pub(super) struct Chart {
    /// Above the chart.
    pub(super) title: &'static str,
    /// What grows to the right.
    pub(super) x: &'static str,
    /// What grows upwards.
    pub(super) y: &'static str,
    /// The lines.
    pub(super) series: Vec<Series>,
}

/// One line of a chart.
#[derive(Debug)]
pub(super) struct Series {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

impl Series {
    /// A line through these points, all of whose numbers are positive.
    pub(super) fn new(name: &'static str, points: Vec<(f64, f64)>) -> Self {
        Self { name, points }
    }
}

impl Chart {
    /// The chart as an SVG document.
    pub(super) fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Axis::over(points().map(|point| point.0), LEFT, RIGHT);
        let y = Axis::over(points().map(|point| point.1), BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <title>{title}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{title}</text>\n",
            title = self.title
        );
        for tick in x.ticks() {
            let (at, label) = (x.place(tick), label(tick));
            line(&mut svg, (at, BOTTOM), (at, TOP), GRID);
            text(&mut svg, (at, BOTTOM + 18.0), "middle", &label);
        }
        for tick in y.ticks() {
            let (at, label) = (y.place(tick), label(tick));
            line(&mut svg, (LEFT, at), (RIGHT, at), GRID);
            text(&mut svg, (LEFT - 6.0, at + 4.0), "end", &label);
        }
        let middle = f64::midpoint(LEFT, RIGHT);
        text(&mut svg, (middle, BOTTOM + 38.0), "middle", self.x);
        text(&mut svg, (LEFT - 6.0, TOP - 12.0), "middle", self.y);
        if let Some(end) = self.series.first().and_then(|series| series.points.last()) {
            linear(&mut svg, *end, &x, &y);
        }
        for (number, series) in self.series.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let places = series.points.iter();
            let places: Vec<_> = places.map(|(a, b)| (x.place(*a), y.place(*b))).collect();
            draw(&mut svg, &places, colour);
            let style = format!("stroke=\"{colour}\" stroke-width=\"2\"");
            key(&mut svg, number, &style, series.name);
        }
        key(&mut svg, self.series.len(), DOTTED, "linear growth");
        svg + "</svg>\n"
    }
}

/// A logarithmic axis between whole decades.
struct Axis {
    low: i32,
    high: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            low = low.min(value.log10());
            high = high.max(value.log10());
        }
        let low = low.floor() as i32;
        Self {
            low,
            high: (high.ceil() as i32).max(low + 1),
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.from + share * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        (self.low..=self.high).map(|power| 10_f64.powi(power))
    }
}

/// Linear growth that ends where a line ends.
fn linear(svg: &mut String, end: (f64, f64), x: &Axis, y: &Axis) {
    let least = (10_f64.powi(x.low)).max(10_f64.powi(y.low) * end.0 / end.1);
    let start = (x.place(least), y.place(end.1 * least / end.0));
    let end = (x.place(end.0), y.place(end.1));
    line(svg, start, end, DOTTED);
}

/// What a kind of line means, one below the other.
fn key(svg: &mut String, number: usize, style: &str, meaning: &str) {
    let at = TOP + 18.0 * (number as f64 + 1.0);
    let (start, end) = (LEFT + 10.0, LEFT + 30.0);
    line(svg, (start, at - 4.0), (end, at - 4.0), style);
    text(svg, (end + 6.0, at), "start", meaning);
}

fn draw(svg: &mut String, places: &[(f64, f64)], colour: &str) {
    let list: Vec<_> = places
        .iter()
        .map(|(a, b)| format!("{a:.1},{b:.1}"))
        .collect();
    // Writing to a String cannot fail.
    writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        list.join(" ")
    )
    .ok();
    for (a, b) in places {
        writeln!(
            svg,
            "<circle cx=\"{a:.1}\" cy=\"{b:.1}\" r=\"3\" fill=\"{colour}\"/>"
        )
        .ok();
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), style: &str) {
    writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" {style}/>",
        from.0, from.1, to.0, to.1
    )
    .ok();
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, text: &str) {
    writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>",
        at.0, at.1
    )
    .ok();
}

/// A power of ten as people write it.
fn label(value: f64) -> String {
    if value < 1.0 {
        format!("{value}")
    } else {
        super::report::thousands(value as u64)
    }
}

const WIDTH: f64 = 500.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 65.0;
const RIGHT: f64 = 465.0;
const TOP: f64 = 55.0;
const BOTTOM: f64 = 265.0;
const GRID: &str = "stroke=\"#ddd\"";
const DOTTED: &str = "stroke=\"#999\" stroke-dasharray=\"2 4\"";
const COLOURS: [&str; 3] = ["#0b6e99", "#c7622b", "#5b7f2b"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_growth_is_a_straight_line_between_the_corners() {
        let chart = Chart {
            title: "t",
            x: "x",
            y: "y",
            series: vec![Series::new(
                "s",
                vec![(1.0, 0.1), (10.0, 1.0), (100.0, 10.0)],
            )],
        };
        let svg = chart.svg();
        let middle = "265.0,160.0";
        assert!(
            svg.contains(&format!("points=\"65.0,265.0 {middle} 465.0,55.0\"")),
            "{svg}"
        );
    }
}
