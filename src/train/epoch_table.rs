//! What a reader sees of each epoch: losses, and the validation accuracy of every group, as rows of a table that grows.

use std::fmt::Write;

use crate::formats::run::MetricsLine;

/// Groups beyond these have no column; the worst one is named in every row.
const MOST_COLUMNS: usize = 16;

/// The groups by their numbers, and the heads of the columns.
pub fn head(val: &MetricsLine) -> String {
    let mut text = String::from("accuracy in validation, %, of the groups\n");
    for (number, (name, group)) in val.groups.iter().take(MOST_COLUMNS).enumerate() {
        let _ = writeln!(text, "  [{}] {name} ({} samples)", number + 1, group.n);
    }
    if val.groups.len() > MOST_COLUMNS {
        let _ = writeln!(text, "  and {} more without a column", val.groups.len() - MOST_COLUMNS);
    }
    let _ = write!(text, "{:>5} {:>7} {:>5} {:>6}", "epoch", "loss", "all", "worst");
    for number in 1..=val.groups.len().min(MOST_COLUMNS) {
        let _ = write!(text, " {:>5}", format!("[{number}]"));
    }
    text
}

/// One epoch: loss in training; accuracies in validation.
pub fn row(train: &MetricsLine, val: &MetricsLine) -> String {
    let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1}", 100.0 * share));
    let loss = train.loss.map_or("-".to_owned(), |loss| format!("{loss:.3}"));
    let (all, worst) = (percent(val.accuracy), percent(val.worst_group_accuracy));
    let mut text = format!("{:>5} {loss:>7} {all:>5} {worst:>6}", val.epoch);
    for group in val.groups.values().take(MOST_COLUMNS) {
        let _ = write!(text, " {:>5}", percent(group.accuracy));
    }
    let hidden =
        val.worst_group.as_ref().filter(|worst| !val.groups.keys().take(MOST_COLUMNS).any(|name| name == *worst));
    if let Some(worst) = hidden {
        let _ = write!(text, "  {worst}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::dataset::Split;
    use crate::formats::run::GroupMetrics;

    fn line(groups: usize) -> MetricsLine {
        let metrics = |index: usize| GroupMetrics {
            n: 4,
            loss: None,
            accuracy: Some(index as f64 / 4.0),
            weight: None,
            present_fraction: None,
        };
        let name = |index: usize| format!("site={}", ('a'..).nth(index).unwrap());
        MetricsLine {
            epoch: 3,
            step: 9,
            split: Split::Val,
            loss: Some(0.5),
            accuracy: Some(0.625),
            train_weighted_accuracy: None,
            mean_group_accuracy: None,
            worst_group_accuracy: Some(0.25),
            worst_group: Some("site=b".to_owned()),
            groups: (1..=groups).map(|index| (name(index), metrics(index))).collect(),
            auroc: None,
            worst_group_auroc: None,
        }
    }

    #[test]
    fn each_group_has_a_number_and_a_column() {
        let val = line(2);
        let head = head(&val);
        assert!(head.contains("  [1] site=b (4 samples)\n  [2] site=c (4 samples)\n"), "{head}");
        assert!(head.ends_with("epoch    loss   all  worst   [1]   [2]"), "{head}");
        assert_eq!(row(&val, &val), "    3   0.500  62.5   25.0  25.0  50.0");
    }

    #[test]
    fn of_many_groups_some_have_no_column_and_the_worst_is_named_then() {
        let mut val = line(20);
        assert!(head(&val).contains("  and 4 more without a column\n"));
        assert_eq!(row(&val, &val).split_whitespace().count(), 4 + MOST_COLUMNS);
        val.worst_group = Some("site=u".to_owned());
        assert!(row(&val, &val).ends_with("  site=u"));
    }
}
