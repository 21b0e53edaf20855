//! Line charts and the reliability diagram, drawn small enough that their text stays readable on a phone.

use maud::{Markup, html};

use super::forest::colour;
use crate::metrics::calibration::Bin;

/// Drawing area of a line chart inside its view box, px.
const LEFT: f64 = 40.0;
const TOP: f64 = 10.0;
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 160.0;
/// Dash patterns that tell apart series of equal colour.
const DASHES: [&str; 3] = ["", "6 3", "2 3"];

/// One line; gaps where a value is not there.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, Option<f64>)>,
    /// Where a dot is drawn, for example the selected epoch.
    pub(super) dot: Option<f64>,
}

/// A chart of values from 0 to `high` over epochs.
pub(super) struct LineChart {
    pub(super) description: String,
    pub(super) series: Vec<Series>,
    pub(super) high: f64,
    pub(super) show: fn(f64) -> String,
    pub(super) x_title: &'static str,
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

/// Dash pattern of a series.
fn dash(index: usize) -> &'static str {
    DASHES[index / super::forest::COLOURS.len() % DASHES.len()]
}

impl LineChart {
    /// As HTML: the legend, then the chart.
    pub(super) fn render(&self) -> Markup {
        let last = self.series.iter().flat_map(|series| &series.points).map(|point| point.0).fold(2.0, f64::max);
        let x = |epoch: f64| LEFT + (epoch - 1.0) / (last - 1.0) * WIDTH;
        let y = |value: f64| TOP + (1.0 - (value / self.high).clamp(0.0, 1.0)) * HEIGHT;
        html! {
            ul.legend { @for (index, series) in self.series.iter().enumerate() {
                li {
                    svg width="26" height="10" aria-hidden="true" {
                        line x1="0" x2="26" y1="5" y2="5" stroke=(colour(index)) stroke-width="3" stroke-dasharray=(dash(index)) {}
                    }
                    (series.name)
                }
            } }
            svg.chart viewBox="0 0 350 206" role="img" aria-label=(self.description) {
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

/// Accuracy over confidence, with how many subjects each bin holds.
pub(super) fn reliability(bins: &[Bin]) -> Markup {
    let (left, top, side) = (44.0, 10.0, 240.0);
    let x = |value: f64| left + value * side;
    let y = |value: f64| top + (1.0 - value) * side;
    let most = bins.iter().map(|bin| bin.n).max().unwrap_or(1).max(1);
    #[expect(clippy::cast_precision_loss, reason = "a height")]
    let bar = |n: u64| 34.0 * n as f64 / most as f64;
    let floor = top + side + 44.0 + 34.0;
    let filled: Vec<String> = bins.iter().filter(|bin| bin.n > 0).map(describe).collect();
    html! {
        svg.chart.square viewBox="0 0 316 348" role="img" aria-label={ "Reliability: " (filled.join("; ")) } {
            @for tick in 0..=5u8 {
                @let value = f64::from(tick) / 5.0;
                line x1=(x(0.0)) x2=(x(1.0)) y1=(y(value)) y2=(y(value)) stroke="#e3e9ed" {}
                text x=(left - 6.0) y=(y(value) + 4.0) text-anchor="end" { (tick * 20) " %" }
                text x=(x(value)) y=(top + side + 15.0) text-anchor="middle" { (tick * 20) " %" }
            }
            line x1=(x(0.0)) y1=(y(0.0)) x2=(x(1.0)) y2=(y(1.0)) stroke="#51606e" stroke-dasharray="4 3" {}
            @for bin in bins {
                @if let (Some(confidence), Some(accuracy)) = (bin.confidence, bin.accuracy) {
                    line x1=(number(x(confidence))) x2=(number(x(confidence))) y1=(number(y(confidence))) y2=(number(y(accuracy)))
                        stroke=(colour(1)) stroke-width="2" {}
                    circle cx=(number(x(confidence))) cy=(number(y(accuracy))) r="4.5" fill=(colour(0)) {}
                }
                @if bin.n > 0 {
                    rect x=(number(x(bin.low) + 1.5)) width=(number((bin.high - bin.low) * side - 3.0)) y=(number(floor - bar(bin.n)))
                        height=(number(bar(bin.n))) fill="#9fb8c6" {}
                    text x=(number(x((bin.low + bin.high) / 2.0))) y=(number(floor - bar(bin.n) - 3.0)) text-anchor="middle" { (bin.n) }
                }
            }
            text x=(x(0.5)) y=(floor + 16.0) text-anchor="middle" { "probability of the predicted class" }
        }
    }
}

fn describe(bin: &Bin) -> String {
    let shown = |value: Option<f64>| value.map_or("undefined".to_owned(), super::shown::percent);
    format!("mean probability {}, accuracy {}, {} subjects", shown(bin.confidence), shown(bin.accuracy), bin.n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_have_round_ticks() {
        assert_eq!(ticks(6.0), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(ticks(40.0), [1.0, 10.0, 20.0, 30.0, 40.0]);
    }
}
