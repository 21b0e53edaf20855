//! Forest plots: a row per site, a mark per model. Positions are percentages of the width and sizes are pixels, so that text and
//! marks keep their size on a phone.

use maud::{Markup, html};

use crate::audit::report::{Estimate, Evidence};
use crate::page::chart::colour;

/// Height of one model's line, px.
const LINE_PX: usize = 17;
/// Height of the ticks' row, px.
const AXIS_PX: usize = 24;

/// The scale of a plot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) step: f64,
}

impl Scale {
    /// A scale for shares that ends at 1 and starts at a tenth below all of `values`.
    pub(super) fn of_shares(values: impl Iterator<Item = f64>) -> Self {
        let lowest = values.fold(1.0, f64::min);
        let low = ((lowest * 10.0).floor() / 10.0).clamp(0.0, 0.8);
        Self { low, high: 1.0, step: if low < 0.35 { 0.2 } else { 0.1 } }
    }

    /// A scale for differences, symmetric about 0.
    pub(super) fn of_differences(values: impl Iterator<Item = f64>) -> Self {
        let largest = values.fold(0.05, |largest: f64, value| largest.max(value.abs())).min(1.0);
        let step = if largest > 0.4 {
            0.2
        } else if largest > 0.15 {
            0.1
        } else {
            0.05
        };
        let high = (largest / step - 1e-9).ceil() * step;
        Self { low: -high, high, step }
    }

    /// Percentage of the width.
    fn x(self, value: f64) -> String {
        let share = (value - self.low) / (self.high - self.low);
        format!("{:.2}%", (share * 100.0).clamp(0.0, 100.0))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful of ticks")]
    fn ticks(self) -> Vec<f64> {
        let count = ((self.high - self.low) / self.step).round() as u32;
        // From the top, so that 100 % is a tick.
        (0..=count).map(|tick| self.high - f64::from(tick) * self.step).filter(|tick| *tick > self.low - 1e-9).collect()
    }
}

/// One mark: an estimate of the series `series`.
pub(super) struct Mark<'a> {
    pub(super) series: usize,
    pub(super) estimate: &'a Estimate,
    pub(super) evidence: Evidence,
}

/// One row: what it is about, how many, and its marks.
pub(super) struct ForestRow<'a> {
    pub(super) name: String,
    pub(super) note: String,
    pub(super) marks: Vec<Mark<'a>>,
}

/// A whole plot.
pub(super) struct Forest<'a> {
    pub(super) scale: Scale,
    /// Where a vertical line is drawn, for example at no difference.
    pub(super) reference: Option<f64>,
    pub(super) rows: Vec<ForestRow<'a>>,
    /// Names of the series, for the description of each row.
    pub(super) series: Vec<String>,
    /// Unit of the axis.
    pub(super) axis: &'static str,
    /// A value as text, for ticks and descriptions.
    pub(super) show: fn(f64) -> String,
}

impl Forest<'_> {
    /// As HTML.
    pub(super) fn render(&self) -> Markup {
        html! {
            div.forest {
                @for row in &self.rows { div {
                    div.who { (row.name) small { (row.note) } }
                    (self.strip(row))
                } }
                div.axis { div.who { small { (self.axis) } } (self.ticks()) }
            }
        }
    }

    fn strip(&self, row: &ForestRow<'_>) -> Markup {
        let height = row.marks.len() * LINE_PX + 8;
        html! {
            svg height=(height) role="img" aria-label=(self.description(row)) {
                @for tick in self.scale.ticks() {
                    line x1=(self.scale.x(tick)) x2=(self.scale.x(tick)) y1="0" y2=(height) stroke="#e3e9ed" {}
                }
                @if let Some(at) = self.reference {
                    line x1=(self.scale.x(at)) x2=(self.scale.x(at)) y1="0" y2=(height) stroke="#51606e" stroke-dasharray="3 3" {}
                }
                @for (index, mark) in row.marks.iter().enumerate() { (self.mark(mark, index * LINE_PX + LINE_PX / 2 + 4)) }
            }
        }
    }

    fn mark(&self, mark: &Mark<'_>, y: usize) -> Markup {
        let colour = colour(mark.series);
        let is_few = mark.evidence == Evidence::Insufficient;
        html! {
            @if let Some(interval) = mark.estimate.interval {
                line x1=(self.scale.x(interval.low)) x2=(self.scale.x(interval.high)) y1=(y) y2=(y) stroke=(colour)
                    stroke-width="2" stroke-dasharray=[is_few.then_some("2 4")] {}
            }
            @if let Some(value) = mark.estimate.value {
                svg x=(self.scale.x(value)) y=(y) overflow="visible" { (shape(mark.series, colour, is_few)) }
            }
        }
    }

    fn description(&self, row: &ForestRow<'_>) -> String {
        let one = |mark: &Mark<'_>| {
            let value = mark.estimate.value.map_or("undefined".to_owned(), self.show);
            let interval = mark.estimate.interval.map_or(String::new(), |interval| {
                format!(", {} to {}", (self.show)(interval.low), (self.show)(interval.high))
            });
            format!("{}: {value}{interval}", self.series[mark.series])
        };
        format!("{} ({}). {}", row.name, row.note, row.marks.iter().map(one).collect::<Vec<_>>().join("; "))
    }

    fn ticks(&self) -> Markup {
        html! {
            svg height=(AXIS_PX) aria-hidden="true" {
                @for tick in self.scale.ticks() {
                    @let anchor = if tick >= self.scale.high - 1e-9 { "end" } else if tick <= self.scale.low + 1e-9 { "start" } else { "middle" };
                    text x=(self.scale.x(tick)) y="15" text-anchor=(anchor) { ((self.show)(tick)) }
                }
            }
        }
    }
}

/// A mark's shape about the origin: circle, square, triangle, diamond by turns; hollow for insufficient evidence.
fn shape(series: usize, colour: &str, is_hollow: bool) -> Markup {
    let fill = if is_hollow { "#fff" } else { colour };
    html! {
        @match series % 4 {
            0 => circle r="5" fill=(fill) stroke=(colour) stroke-width="2" {},
            1 => rect x="-4.5" y="-4.5" width="9" height="9" fill=(fill) stroke=(colour) stroke-width="2" {},
            2 => path d="M0 -6 L5.5 4.5 L-5.5 4.5 Z" fill=(fill) stroke=(colour) stroke-width="2" {},
            _ => path d="M0 -6 L6 0 L0 6 L-6 0 Z" fill=(fill) stroke=(colour) stroke-width="2" {},
        }
    }
}

/// Names of the series with their marks.
pub(super) fn legend(names: &[(usize, String)]) -> Markup {
    html! { ul.legend { @for (series, name) in names {
        li {
            svg width="18" height="16" aria-hidden="true" { svg x="9" y="8" overflow="visible" { (shape(*series, colour(*series), false)) } }
            (name)
        }
    } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_a_tick_and_hold_all_values() {
        let scale = Scale::of_shares([0.43, 0.9].into_iter());
        assert_eq!((scale.low, scale.high), (0.4, 1.0));
        assert_eq!(scale.ticks().len(), 7);
        assert_eq!(scale.x(0.7), "50.00%");
        let scale = Scale::of_differences([-0.12, 0.03].into_iter());
        assert!((scale.high - 0.15).abs() < 1e-12 && (scale.low + 0.15).abs() < 1e-12);
        assert_eq!(scale.x(0.0), "50.00%");
    }
}
