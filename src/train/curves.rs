//! `curves.svg`: losses, accuracies and group weights over the epochs, from the lines of `metrics.jsonl`.

use std::collections::BTreeSet;

use crate::formats::dataset::Split;
use crate::formats::run::{GroupMetrics, MetricsLine};
use crate::page::chart::{LineChart, Panel, Series, sheet};

/// The picture of a run; rings mark the selected epoch `best`.
pub fn draw(title: &str, lines: &[MetricsLine], best: u64) -> String {
    let lines = Lines { lines, best: best as f64 };
    let mut panels = vec![lines.losses(), lines.accuracies()];
    let names: BTreeSet<&String> = lines.lines.iter().flat_map(|line| line.groups.keys()).collect();
    panels.push(lines.per_group("Accuracy of each group in validation", &names, Split::Val, |group| group.accuracy));
    let weights = lines.per_group("Weight q of each group", &names, Split::Train, |group| group.weight);
    if !weights.chart.series.is_empty() {
        panels.push(weights);
    }
    sheet(title, "ring: the selected epoch", &panels)
}

struct Lines<'a> {
    lines: &'a [MetricsLine],
    best: f64,
}

impl Lines<'_> {
    fn series(&self, name: &str, split: Split, value: impl Fn(&MetricsLine) -> Option<f64>) -> Series {
        let of_split = self.lines.iter().filter(|line| line.split == split);
        let points = of_split.map(|line| (line.epoch as f64, value(line))).collect();
        Series { name: name.to_owned(), points, dot: (split == Split::Val).then_some(self.best) }
    }

    fn losses(&self) -> Panel {
        let series = vec![
            self.series("training, as it went", Split::Train, |line| line.loss),
            self.series("validation", Split::Val, |line| line.loss),
            self.series("validation, group with the highest", Split::Val, |line| {
                line.groups.values().filter_map(|group| group.loss).reduce(f64::max)
            }),
        ];
        panel("Loss", series, |value| format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned())
    }

    fn accuracies(&self) -> Panel {
        let mut series = vec![
            self.series("training, as it went", Split::Train, |line| line.accuracy),
            self.series("validation", Split::Val, |line| line.accuracy),
            self.series("validation, mean of the groups", Split::Val, |line| line.mean_group_accuracy),
            self.series("validation, worst group", Split::Val, |line| line.worst_group_accuracy),
        ];
        let areas = self.series("validation, area under the ROC curve", Split::Val, |line| line.auroc);
        series.extend(known(areas));
        let mut panel = panel("Accuracy", series, percent);
        panel.chart.high = 1.0;
        panel
    }

    fn per_group(
        &self,
        title: &str,
        names: &BTreeSet<&String>,
        split: Split,
        value: fn(&GroupMetrics) -> Option<f64>,
    ) -> Panel {
        let of = |name: &&String| known(self.series(name, split, |line| line.groups.get(*name).and_then(value)));
        let mut panel = panel(title, names.iter().filter_map(of).collect(), percent);
        if split == Split::Val {
            panel.chart.high = 1.0;
        }
        panel
    }
}

fn percent(value: f64) -> String {
    format!("{:.0} %", value * 100.0)
}

/// A series with a value in it.
fn known(series: Series) -> Option<Series> {
    series.points.iter().any(|point| point.1.is_some()).then_some(series)
}

fn panel(title: &str, series: Vec<Series>, show: fn(f64) -> String) -> Panel {
    let values = series.iter().flat_map(|series| &series.points).filter_map(|point| point.1);
    let high = round_above(values.fold(0.0, f64::max));
    let description = format!("{title} over the epochs");
    Panel { title: title.to_owned(), chart: LineChart { description, series, high, show, x_title: "epoch" } }
}

/// The least of 1, 2, 4, 6, 8 times a power of ten that is not below `value`: its quarters are short numbers.
fn round_above(value: f64) -> f64 {
    if !(value > 0.0 && value.is_finite()) {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 6.0, 8.0, 10.0].into_iter().map(|step| step * power).find(|high| *high >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(split: &str, epoch: u64, weight: &str) -> MetricsLine {
        let text = format!(
            r#"{{"epoch":{epoch},"step":1,"split":"{split}","loss":0.7,"accuracy":0.5,"train_weighted_accuracy":null,"mean_group_accuracy":0.5,"worst_group_accuracy":0.5,"worst_group":"site=a","groups":{{"site=a":{{"n":4,"loss":0.7,"accuracy":0.5,"weight":{weight},"present_fraction":null}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn weights_are_drawn_where_there_are_any() {
        let lines = |weight| [line("train", 1, weight), line("val", 1, weight), line("train", 2, weight)];
        let with = draw("t", &lines("0.5"), 1);
        assert!(with.contains("Weight q of each group") && with.contains("<circle"));
        assert!(!draw("t", &lines("null"), 1).contains("Weight q"));
        assert_eq!(draw("t", &lines("null"), 1).matches("site=a").count(), 2, "in the legend, with its title");
        assert!(draw("t", &[], 1).contains("</svg>"));
    }

    #[test]
    fn scales_end_at_short_numbers() {
        let pairs = [(0.7, 0.8), (1.0, 1.0), (1.01, 2.0), (23.0, 40.0), (0.0, 1.0), (f64::NAN, 1.0)];
        pairs.into_iter().for_each(|(value, high)| assert!((round_above(value) - high).abs() < 1e-9, "{value}"));
    }
}
