//! Dot charts: a row per method, a dot per seed and a mark at their mean, or a mean with its interval.

use maud::{Markup, html};

use super::chart::colour;

/// Height of a row, px.
const ROW: f64 = 22.0;
/// Width of the names, and of a chart, px.
const NAMES: f64 = 250.0;
const WIDTH: f64 = 330.0;
/// Between charts and around them, px.
const MARGIN: f64 = 34.0;
/// Above the first row: the headings, px.
const HEAD: f64 = 58.0;
/// Below the last row: the scale, px.
const FOOT: f64 = 30.0;

/// A row of one chart. Values in percent.
#[derive(Debug, Clone, Default)]
pub struct Dots {
    /// A small dot each.
    pub values: Vec<f64>,
    /// The mark.
    pub mean: Option<f64>,
    /// A line from low to high.
    pub interval: Option<[f64; 2]>,
}

/// One chart over all rows.
pub struct DotChart {
    /// Above it.
    pub title: String,
    /// Least and most value of the scale.
    pub scale: [f64; 2],
    /// A row per name.
    pub rows: Vec<Dots>,
}

/// Charts side by side as an SVG file that needs nothing else.
pub fn dot_sheet(title: &str, names: &[String], charts: &[DotChart]) -> String {
    let height = HEAD + ROW * names.len() as f64 + FOOT;
    let width = NAMES + (WIDTH + MARGIN) * charts.len() as f64 + MARGIN;
    let middle = |row: usize| HEAD + ROW * (row as f64 + 0.5);
    let style = "text{font:12px system-ui,sans-serif;fill:#333f4a}.title{font-size:16px;font-weight:600;fill:#1b2733}";
    let markup = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height) viewBox=(format!("0 0 {width:.0} {height:.0}")) {
            title { (title) }
            style { (style) }
            rect width="100%" height="100%" fill="#fff" {}
            text x=(MARGIN) y="24" class="title" { (title) }
            @for (row, name) in names.iter().enumerate() {
                text x=(NAMES - 10.0) y=(middle(row) + 4.0) text-anchor="end" { (name) }
            }
            @for (at, chart) in charts.iter().enumerate() {
                (chart.render(NAMES + (WIDTH + MARGIN) * at as f64, &middle, height))
            }
        }
    };
    markup.into_string() + "\n"
}

impl DotChart {
    fn render(&self, left: f64, middle: &dyn Fn(usize) -> f64, height: f64) -> Markup {
        let [low, high] = self.scale;
        let x = |value: f64| format!("{:.1}", left + ((value - low) / (high - low)).clamp(0.0, 1.0) * WIDTH);
        let bottom = height - FOOT;
        let step = (high - low) / 4.0;
        html! {
            text x=(left) y="46" { (self.title) }
            // Four steps, so that a scale about 0 has it.
            @for tick in 0..=4_u8 {
                @let value = low + step * f64::from(tick);
                line x1=(x(value)) x2=(x(value)) y1=(HEAD) y2=(bottom) stroke="#e3e9ed" {}
                text x=(x(value)) y=(bottom + 16.0) text-anchor="middle" { (format!("{value:.0}")) }
            }
            @if low < 0.0 && high > 0.0 {
                line x1=(x(0.0)) x2=(x(0.0)) y1=(HEAD) y2=(bottom) stroke="#7b8894" stroke-dasharray="4 3" {}
            }
            @for (row, dots) in self.rows.iter().enumerate() {
                @let y = middle(row);
                @if let Some([from, to]) = dots.interval {
                    line x1=(x(from)) x2=(x(to)) y1=(y) y2=(y) stroke=(colour(0)) stroke-width="2.5" {}
                }
                @for value in &dots.values {
                    circle cx=(x(*value)) cy=(y) r="3" fill=(colour(0)) fill-opacity="0.35" {}
                }
                @if let Some(mean) = dots.mean {
                    circle cx=(x(mean)) cy=(y) r="5" fill=(colour(1)) stroke="#fff" stroke-width="1" {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_has_a_mark_for_every_mean_and_a_dot_for_every_value() {
        let rows = vec![Dots { values: vec![10.0, 30.0], mean: Some(20.0), interval: None }, Dots::default()];
        let chart = DotChart { title: "<worst>".into(), scale: [0.0, 100.0], rows };
        let svg = dot_sheet("t", &["a".into(), "b".into()], &[chart]);
        assert_eq!(svg.matches("<circle").count(), 3);
        // 20 of 0..100 over 330 px from 250.
        assert!(svg.contains("cx=\"316.0\"") && svg.contains("&lt;worst&gt;") && !svg.contains("href"));
    }
}
