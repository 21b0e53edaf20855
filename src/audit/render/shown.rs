//! Numbers and names as people read them.

use maud::{Markup, html};

use crate::audit::facet::{Facet, common_keys, short_name, vendor_name};
use crate::audit::report::{Breakdown, Cell, Estimate, Evidence, Method, Missing};
use crate::metrics::interval::Interval;

/// `0.8734` as `87.3 %`, with a space that does not break.
pub(super) fn percent(value: f64) -> String {
    format!("{}\u{a0}%", signless(format!("{:.1}", value * 100.0)))
}

/// A difference in percentage points, with its sign.
pub(super) fn points(value: f64) -> String {
    signless(format!("{:+.1}", value * 100.0)).replace('-', "\u{2212}")
}

/// `-0.0` is `0.0`.
fn signless(text: String) -> String {
    if text.trim_start_matches(['-', '+']).chars().all(|character| matches!(character, '0' | '.')) {
        text.trim_start_matches(['-', '+']).to_owned()
    } else {
        text
    }
}

/// `81.2 to 91.9 %`.
pub(super) fn percent_range(interval: Interval) -> String {
    format!("{:.1} to {:.1}\u{a0}%", interval.low * 100.0, interval.high * 100.0)
}

/// Limits of a difference.
pub(super) fn points_range(interval: Interval) -> String {
    format!("{} to {}", points(interval.low), points(interval.high))
}

/// A plain number with `decimals`.
pub(super) fn plain(value: f64, decimals: usize) -> String {
    signless(format!("{value:.decimals$}")).replace('-', "\u{2212}")
}

/// Three decimals with a sign.
fn signed(value: f64) -> String {
    signless(format!("{value:+.3}")).replace('-', "\u{2212}")
}

/// `p = 0.173`, or `p < 0.001`; the spaces do not break.
pub(super) fn p_value(value: f64) -> String {
    if value < 0.001 { "p\u{a0}<\u{a0}0.001".to_owned() } else { format!("p\u{a0}=\u{a0}{}", plain(value, 3)) }
}

/// Confidence as `95 %`.
pub(super) fn confidence(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{}\u{a0}%", text.strip_suffix(".0").unwrap_or(&text))
}

/// `11.2 million`.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(super) fn parameters(count: u64) -> String {
    match count {
        1_000_000.. => format!("{:.1} million", count as f64 / 1e6),
        10_000.. => format!("{:.0} thousand", count as f64 / 1e3),
        _ => count.to_string(),
    }
}

/// Why a number is not there, for people.
pub(super) fn reason(missing: Missing) -> &'static str {
    match missing {
        Missing::NoCase => "no case",
        Missing::ClassMissing => "not every class present",
        Missing::OneSubject => "one subject: no interval",
        Missing::NoVariation => "no variation: no interval",
        Missing::Unstable => "unstable: no interval",
        Missing::PerSubjectOnly => "interval per subject only",
        Missing::TrainingUnknown => "training data unknown",
    }
}

/// How estimates of a column are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Percent,
    Points,
    /// Three decimals.
    Plain,
    /// Three decimals with a sign.
    Signed,
}

/// A table cell: the value, and its interval or the reason why there is none below it.
pub(super) fn estimate(estimate: &Estimate, style: Style) -> Markup {
    let Some(value) = estimate.value else {
        return html! { "\u{2013}" small { (estimate.missing.map_or("undefined", reason)) } };
    };
    let shown = match style {
        Style::Percent => percent(value),
        Style::Points => points(value),
        Style::Plain => plain(value, 3),
        Style::Signed => signed(value),
    };
    let range = |interval| match style {
        Style::Percent => percent_range(interval),
        Style::Points => points_range(interval),
        Style::Plain => format!("{} to {}", plain(interval.low, 3), plain(interval.high, 3)),
        Style::Signed => format!("{} to {}", signed(interval.low), signed(interval.high)),
    };
    // That worst groups per image have no interval is said once, in the caption.
    let missing = estimate.missing.filter(|missing| *missing != Missing::PerSubjectOnly);
    let below = estimate.interval.map(range).or_else(|| missing.map(|missing| reason(missing).to_owned()));
    html! { span.v { (shown) } @if let Some(below) = below { small { (below) } } }
}

/// An estimate in running text: `87.3 % (81.2 to 91.9 %)`.
pub(super) fn in_text(estimate: &Estimate) -> String {
    let Some(value) = estimate.value else { return "undefined".to_owned() };
    match estimate.interval {
        Some(interval) => format!("{} ({})", percent(value), percent_range(interval)),
        None => percent(value),
    }
}

/// Name of an interval's method.
pub(super) fn method(method: Method) -> &'static str {
    match method {
        Method::Wilson => "Wilson's interval over subjects",
        Method::Bootstrap => "subject bootstrap",
        Method::Newcombe => "Newcombe's paired interval over subjects",
        Method::Minimum => "simultaneous exact interval of the minimum",
    }
}

/// A cell's name; `unknown` where it is not known.
pub(super) fn cell_name(facet: Facet, name: Option<&str>) -> String {
    match name {
        None => "unknown".to_owned(),
        Some(vendor) if facet == Facet::Vendor => vendor_name(vendor),
        Some(group) if matches!(facet, Facet::AcquisitionGroup | Facet::Group) => short_name(group),
        Some(other) => other.to_owned(),
    }
}

/// Name of a group of the worst-group accuracy.
pub(super) fn group_name(name: Option<&str>) -> String {
    cell_name(Facet::Group, name)
}

/// Header of the names of a breakdown: what the group names have in common, else what the breakdown is by.
pub(super) fn header(breakdown: &Breakdown) -> String {
    let names: Vec<&str> = breakdown.cells.iter().filter_map(|cell| cell.name.as_deref()).collect();
    let is_group = matches!(breakdown.facet, Facet::AcquisitionGroup | Facet::Group);
    let keys = if names.is_empty() || !is_group { None } else { common_keys(&names) };
    sentence(&keys.unwrap_or_else(|| breakdown.facet.title().to_owned()))
}

/// With a capital.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// What stands beside a cell: never tested, unseen, insufficient evidence.
pub(super) fn status(cell: &Cell) -> Vec<(&'static str, &'static str)> {
    let mut pills = Vec::new();
    match &cell.performance {
        None => pills.push(("plain", "training only")),
        Some(performance) => {
            if performance.evidence == Evidence::Insufficient {
                pills.push(("doubt", "insufficient evidence"));
            }
            if cell.is_unseen() {
                pills.push(("plain", "unseen in training"));
            }
        }
    }
    pills
}

/// `n subjects`, `1 subject`.
pub(super) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// `a, b and c`.
pub(super) fn list(items: &[String], last: &str) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [start @ .., end] => format!("{} {last} {end}", start.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_one_decimal_and_no_negative_zero() {
        assert_eq!(percent(0.8734), "87.3\u{a0}%");
        assert_eq!(points(-0.00004), "0.0");
        assert_eq!(points(-0.05), "\u{2212}5.0");
        assert_eq!(points(0.05), "+5.0");
        assert_eq!(confidence(0.95), "95\u{a0}%");
        assert_eq!(confidence(0.999), "99.9\u{a0}%");
        assert_eq!(parameters(11_177_027), "11.2 million");
    }

    #[test]
    fn lists_end_with_their_last_word() {
        let items = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        assert_eq!(list(&items(&["DCM", "HCM", "NOR"]), "or"), "DCM, HCM or NOR");
        assert_eq!(list(&items(&["DCM"]), "or"), "DCM");
    }
}
