//! Lines over a logarithmic axis, as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 60.0;
const COLOURS: [&str; 4] = ["#1f5fa8", "#c2571a", "#2e7d4f", "#7a3d9e"];

/// One line, with its points from left to right.
pub(crate) struct Series {
    label: String,
    points: Vec<(f64, f64)>,
}

impl Series {
    pub(crate) fn new(label: String) -> Self {
        Self { label, points: Vec::new() }
    }

    pub(crate) fn add(&mut self, x: u64, y: f64) {
        self.points.push((x.max(1) as f64, y));
    }
}

pub(crate) struct Chart {
    pub title: String,
    pub series: Vec<Series>,
}

impl Chart {
    /// Charts below each other, as one document.
    pub(crate) fn draw(charts: &[Chart]) -> String {
        let height = HEIGHT * charts.len() as f64;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        for (n, chart) in charts.iter().enumerate() {
            let _ = writeln!(svg, "<g transform=\"translate(0 {})\">", HEIGHT * n as f64);
            chart.draw_into(&mut svg);
            svg.push_str("</g>\n");
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_into(&self, svg: &mut String) {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let first = points().map(|point| point.0.log10()).fold(f64::INFINITY, f64::min).floor();
        let last = points().map(|point| point.0.log10()).fold(first + 1.0, f64::max).ceil();
        let top = nice(points().map(|point| point.1).fold(1.0, f64::max));
        let x = |value: f64| LEFT + (value.log10() - first) / (last - first) * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
        let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"20\" font-weight=\"bold\">{}</text>", self.title);
        for step in 0..=4 {
            let value = top * f64::from(step) / 4.0;
            let (at, end) = (y(value), WIDTH - RIGHT);
            let _ = writeln!(svg, "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{end}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>");
            let _ =
                writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>", LEFT - 6.0, at + 4.0);
        }
        for power in first as i32..=last as i32 {
            let at = x(10_f64.powi(power));
            let _ = writeln!(
                svg,
                "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">10<tspan dy=\"-4\" font-size=\"9\">{power}</tspan></text>",
                HEIGHT - BOTTOM + 18.0
            );
        }
        for (n, series) in self.series.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            let line: Vec<String> = series.points.iter().map(|(a, b)| format!("{:.1},{:.1}", x(*a), y(*b))).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.join(" ")
            );
            for (a, b) in &series.points {
                let _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x(*a), y(*b));
            }
            let at = LEFT + n as f64 * 260.0;
            let _ = writeln!(svg, "<text x=\"{at}\" y=\"{}\" fill=\"{colour}\">{}</text>", HEIGHT - 14.0, series.label);
        }
    }
}

/// The next number above that people like on an axis.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|top| *top >= value).unwrap_or(power * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_drawn_inside_of_the_chart() {
        let mut series = Series::new("a line".into());
        for (x, y) in [(1, 3.0), (1_000, 97.0), (1_000_000, 50.0)] {
            series.add(x, y);
        }
        let svg = Chart::draw(&[Chart { title: "costs".into(), series: vec![series] }]);
        assert!(svg.contains("costs") && svg.contains("a line") && svg.contains(">100</text>"));
        let circles: Vec<&str> = svg.lines().filter(|line| line.starts_with("<circle")).collect();
        assert_eq!(circles.len(), 3);
        assert!(circles[0].contains("cx=\"60.0\"") && circles[2].contains("cx=\"620.0\""), "{circles:?}");
    }
}
