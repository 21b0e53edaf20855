//! Line charts over epochs, drawn small enough that their text stays readable on a phone: as HTML in a page, and several of them on a
//! sheet of their own.

use maud::{Markup, html};

/// Colour-blind safe (Okabe and Ito 2008), the pale ones left out.
pub const COLOURS: [&str; 6] = ["#0072B2", "#C44E00", "#00795A", "#AA4A86", "#7A5C00", "#333333"];
/// View box of a line chart, px.
const BOX_WIDTH: f64 = 350.0;
const BOX_HEIGHT: f64 = 206.0;
/// Drawing area of a line chart inside its view box, px.
const LEFT: f64 = 40.0;
const TOP: f64 = 10.0;
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 160.0;
/// Dash patterns that tell apart series of equal colour.
const DASHES: [&str; 3] = ["", "6 3", "2 3"];

/// One line; gaps where a value is not there.
#[derive(Debug, Clone)]
pub struct Series {
    /// As the legend names it.
    pub name: String,
    /// Epoch (1-based) and value.
    pub points: Vec<(f64, Option<f64>)>,
    /// Where a dot is drawn, for example the selected epoch.
    pub dot: Option<f64>,
}

/// A chart of values from 0 to `high` over epochs.
pub struct LineChart {
    /// What it shows, read out in its place.
    pub description: String,
    /// The lines.
    pub series: Vec<Series>,
    /// Value at the top; larger ones are drawn there.
    pub high: f64,
    /// How values are written.
    pub show: fn(f64) -> String,
    /// Below the epochs.
    pub x_title: &'static str,
}

/// Colour of the series `index`.
pub fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

/// Dash pattern of a series.
fn dash(index: usize) -> &'static str {
    DASHES[index / COLOURS.len() % DASHES.len()]
}

impl LineChart {
    /// As HTML: the legend, then the chart.
    pub fn render(&self) -> Markup {
        html! {
            ul.legend { @for (index, series) in self.series.iter().enumerate() {
                li {
                    svg width="26" height="10" aria-hidden="true" { (sample(index, 5.0)) }
                    (series.name)
                }
            } }
            svg.chart viewBox={ "0 0 " (BOX_WIDTH) " " (BOX_HEIGHT) } role="img" aria-label=(self.description) { (self.plot()) }
        }
    }

    /// What is inside the chart's `svg`.
    fn plot(&self) -> Markup {
        let last = self.series.iter().flat_map(|series| &series.points).map(|point| point.0).fold(2.0, f64::max);
        let x = |epoch: f64| LEFT + (epoch - 1.0) / (last - 1.0) * WIDTH;
        let y = |value: f64| TOP + (1.0 - (value / self.high).clamp(0.0, 1.0)) * HEIGHT;
        html! {
            @for tick in 0..=4u8 {
                @let value = self.high * f64::from(tick) / 4.0;
                line x1=(LEFT) x2=(LEFT + WIDTH) y1=(number(y(value))) y2=(number(y(value))) stroke="#e3e9ed" {}
                text x=(LEFT - 5.0) y=(number(y(value) + 4.0)) text-anchor="end" { ((self.show)(value)) }
            }
            @for epoch in ticks(last) {
                text x=(number(x(epoch))) y=(TOP + HEIGHT + 15.0) text-anchor="middle" { (format!("{epoch:.0}")) }
            }
            text x=(LEFT + WIDTH / 2.0) y=(TOP + HEIGHT + 31.0) text-anchor="middle" { (self.x_title) }
            @for (index, series) in self.series.iter().enumerate() { (line(series, index, &x, &y)) }
        }
    }
}

/// A piece of a series' line, for the legend.
fn sample(index: usize, y: f64) -> Markup {
    html! { line x1="0" x2="26" y1=(y) y2=(y) stroke=(colour(index)) stroke-width="3" stroke-dasharray=(dash(index)) {} }
}

fn line(series: &Series, index: usize, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) -> Markup {
    let runs = series.points.split(|point| point.1.is_none()).filter(|run| !run.is_empty());
    let path = |run: &[(f64, Option<f64>)]| {
        let points = run.iter().filter_map(|&(epoch, value)| Some(format!("{:.1},{:.1}", x(epoch), y(value?))));
        points.collect::<Vec<_>>().join(" ")
    };
    let dot = series.points.iter().find(|point| Some(point.0) == series.dot);
    html! {
        @for run in runs {
            polyline points=(path(run)) fill="none" stroke=(colour(index)) stroke-width="1.8" stroke-linejoin="round"
                stroke-dasharray=(dash(index)) {}
        }
        @if let Some((epoch, Some(value))) = dot {
            circle cx=(number(x(*epoch))) cy=(number(y(*value))) r="4" fill="#fff" stroke=(colour(index)) stroke-width="2" {}
        }
    }
}

/// A few round epochs from 1 to the last.
fn ticks(last: f64) -> Vec<f64> {
    let step = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0].into_iter().find(|step| last / step <= 7.0);
    let step = step.unwrap_or(1000.0);
    let mut ticks = vec![1.0];
    let mut next = if step > 1.0 { step } else { 2.0 };
    while next <= last {
        ticks.push(next);
        next += step;
    }
    ticks
}

/// Room for a panel's title, px.
const TITLE_HEIGHT: f64 = 26.0;
/// Height of a line of a panel's legend, px.
const LEGEND_LINE: f64 = 17.0;
/// Around the sheet and between its panels, px.
const MARGIN: f64 = 18.0;
/// Room for the sheet's title, px.
const HEADING: f64 = 30.0;
/// Letters of a legend that fit below a chart.
const LETTERS: usize = 52;

/// A chart on a sheet.
pub struct Panel {
    /// Above the chart.
    pub title: String,
    /// The chart, its legend below it.
    pub chart: LineChart,
}

impl Panel {
    fn height(&self) -> f64 {
        let lines = u32::try_from(self.chart.series.len()).unwrap_or(u32::MAX);
        TITLE_HEIGHT + BOX_HEIGHT + LEGEND_LINE * f64::from(lines)
    }

    fn render(&self, (left, top): (f64, f64)) -> Markup {
        let line = |index: usize| TITLE_HEIGHT + BOX_HEIGHT + LEGEND_LINE * (index as f64 + 0.5);
        html! {
            g transform=(format!("translate({left:.0} {top:.0})")) role="img" aria-label=(self.chart.description) {
                text x="0" y="16" class="title" { (self.title) }
                g transform=(format!("translate(0 {TITLE_HEIGHT:.0})")) { (self.chart.plot()) }
                @for (index, series) in self.chart.series.iter().enumerate() {
                    g transform=(format!("translate({LEFT:.0} {:.1})", line(index))) {
                        (sample(index, 0.0))
                        text x="33" y="4" { title { (series.name) } (shortened(&series.name)) }
                    }
                }
            }
        }
    }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LETTERS {
        return name.to_owned();
    }
    name.chars().take(LETTERS - 1).chain(['\u{2026}']).collect()
}

/// Charts two by two as an SVG file that needs nothing else; `note` stands beside the title.
pub fn sheet(title: &str, note: &str, panels: &[Panel]) -> String {
    let mut top = MARGIN + HEADING;
    let mut placed = Vec::new();
    for row in panels.chunks(2) {
        for (column, panel) in row.iter().enumerate() {
            placed.push(panel.render((MARGIN + column as f64 * (BOX_WIDTH + MARGIN), top)));
        }
        top += row.iter().map(Panel::height).fold(0.0, f64::max) + MARGIN;
    }
    let width = 2.0 * BOX_WIDTH + 3.0 * MARGIN;
    let style = "text{font:11px system-ui,sans-serif;fill:#51606e}.title{font-size:14px;font-weight:600;fill:#1b2733}.heading{font-size:17px}";
    let markup = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(top) viewBox=(format!("0 0 {width:.0} {top:.0}")) {
            title { (title) }
            style { (style) }
            rect width="100%" height="100%" fill="#fff" {}
            text x=(MARGIN) y=(MARGIN + 16.0) class="title heading" { (title) }
            text x=(width - MARGIN) y=(MARGIN + 16.0) text-anchor="end" { (note) }
            @for panel in placed { (panel) }
        }
    };
    markup.into_string() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_have_round_ticks() {
        assert_eq!(ticks(6.0), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(ticks(40.0), [1.0, 10.0, 20.0, 30.0, 40.0]);
    }

    #[test]
    fn a_sheet_is_one_svg_that_escapes_names_and_asks_for_nothing() {
        let series = Series { name: "<a>&".repeat(20), points: vec![(1.0, Some(0.5)), (2.0, None)], dot: Some(1.0) };
        let chart = || LineChart {
            description: "d".to_owned(),
            series: vec![series.clone()],
            high: 1.0,
            show: |value| value.to_string(),
            x_title: "epoch",
        };
        let panels: Vec<Panel> = (0..3).map(|_| Panel { title: "t".to_owned(), chart: chart() }).collect();
        let svg = sheet("s", "n", &panels);
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(!svg.contains("<a>") && svg.contains('\u{2026}') && !svg.contains("href"));
    }
}
