//! The reliability diagram, drawn small enough that its text stays readable on a phone. Line charts are [`crate::page::chart`]'s.

use maud::{Markup, html};

use crate::metrics::calibration::Bin;
use crate::page::chart::colour;

fn number(value: f64) -> String {
    format!("{value:.1}")
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
