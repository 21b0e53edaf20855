//! `audit.csv`: every number of a report as one row, for spreadsheets and scripts.

use super::report::{AuditReport, Estimate, Evidence, GroupNumbers, Method, ModelReport, Performance};
use crate::formats::table::{Column, Table};

/// One row before it becomes columns.
#[derive(Default)]
struct Line {
    model: String,
    versus: Option<String>,
    breakdown: String,
    cell: Option<String>,
    unit: &'static str,
    metric: String,
    class: Option<String>,
    n: Option<i64>,
    correct: Option<i64>,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    method: Option<&'static str>,
    evidence: Option<&'static str>,
}

/// Columns `model, versus, breakdown, cell, unit, metric, class, n, correct, value, low, high, method, evidence`.
pub fn table(report: &AuditReport) -> Table {
    let mut lines = Vec::new();
    for model in &report.models {
        of_model(model, &report.data.classes, &mut lines);
    }
    of_comparisons(report, &mut lines);
    let text = |value: &dyn Fn(&Line) -> Option<String>| Column::Text(lines.iter().map(value).collect());
    let float = |value: fn(&Line) -> Option<f64>| Column::Float64(lines.iter().map(value).collect());
    Table::new()
        .with("model", text(&|line| Some(line.model.clone())))
        .with("versus", text(&|line| line.versus.clone()))
        .with("breakdown", text(&|line| Some(line.breakdown.clone())))
        .with("cell", text(&|line| line.cell.clone()))
        .with("unit", text(&|line| Some(line.unit.to_owned())))
        .with("metric", text(&|line| Some(line.metric.clone())))
        .with("class", text(&|line| line.class.clone()))
        .with("n", Column::Int64(lines.iter().map(|line| line.n).collect()))
        .with("correct", Column::Int64(lines.iter().map(|line| line.correct).collect()))
        .with("value", float(|line| line.value))
        .with("low", float(|line| line.low))
        .with("high", float(|line| line.high))
        .with("method", text(&|line| line.method.map(str::to_owned)))
        .with("evidence", text(&|line| line.evidence.map(str::to_owned)))
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Wilson => "wilson",
        Method::Bootstrap => "bootstrap",
        Method::Newcombe => "newcombe",
        Method::Minimum => "minimum",
    }
}

fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Sufficient => "sufficient",
        Evidence::Insufficient => "insufficient",
    }
}

fn count(n: u64) -> Option<i64> {
    i64::try_from(n).ok()
}

impl Line {
    fn with(self, unit: &'static str, metric: &str, estimate: &Estimate) -> Self {
        Self {
            unit,
            metric: metric.to_owned(),
            value: estimate.value,
            low: estimate.interval.map(|interval| interval.low),
            high: estimate.interval.map(|interval| interval.high),
            method: estimate.method.map(method),
            ..self
        }
    }

    fn counted(self, n: u64, correct: u64) -> Self {
        Self { n: count(n), correct: count(correct), ..self }
    }
}

fn of_model(model: &ModelReport, classes: &[String], lines: &mut Vec<Line>) {
    let name = &model.identity.name;
    of_performance(&model.overall, classes, lines, &|| Line {
        model: name.clone(),
        breakdown: "overall".to_owned(),
        ..Line::default()
    });
    of_groups(name, "subject", &model.subject, lines);
    of_groups(name, "sample", &model.sample, lines);
    for breakdown in &model.breakdowns {
        for cell in &breakdown.cells {
            let start = || Line {
                model: name.clone(),
                breakdown: breakdown.facet.key().to_owned(),
                cell: Some(cell.name.clone().unwrap_or_else(|| "unknown".to_owned())),
                ..Line::default()
            };
            match &cell.performance {
                Some(performance) => of_performance(performance, classes, lines, &start),
                None => {
                    let line = Line { unit: "subject", metric: "accuracy".to_owned(), n: Some(0), ..start() };
                    lines.push(Line { evidence: Some("not-tested"), ..line });
                }
            }
        }
    }
}

fn of_performance(performance: &Performance, classes: &[String], lines: &mut Vec<Line>, start: &dyn Fn() -> Line) {
    let (subject, sample) = (&performance.subject, &performance.sample);
    let line = || Line { evidence: Some(evidence(performance.evidence)), ..start() };
    lines.push(line().with("subject", "accuracy", &subject.accuracy).counted(subject.n, subject.correct));
    for (metric, estimate) in [
        ("balanced_accuracy", &subject.balanced_accuracy),
        ("auroc", &subject.auroc),
        ("brier", &subject.brier),
        ("log_loss", &subject.log_loss),
        ("confidence_gap", &subject.confidence_gap),
    ] {
        lines.push(Line { n: count(subject.n), ..line().with("subject", metric, estimate) });
    }
    let error = Estimate { value: subject.calibration_error, interval: None, method: None, missing: None };
    lines.push(Line { n: count(subject.n), ..line().with("subject", "calibration_error", &error) });
    for (class, recall) in classes.iter().zip(&subject.recall) {
        let line = line().with("subject", "recall", &recall.recall).counted(recall.n, recall.correct);
        lines.push(Line { class: Some(class.clone()), ..line });
    }
    lines.push(line().with("sample", "accuracy", &sample.accuracy).counted(sample.n, sample.correct));
    lines.push(Line { n: count(sample.n), ..line().with("sample", "balanced_accuracy", &sample.balanced_accuracy) });
}

fn of_groups(model: &str, unit: &'static str, numbers: &GroupNumbers, lines: &mut Vec<Line>) {
    let start = || Line { model: model.to_owned(), breakdown: "groups".to_owned(), unit, ..Line::default() };
    for (metric, value) in [
        ("train_weighted_accuracy", numbers.train_weighted_accuracy),
        ("mean_group_accuracy", numbers.mean_group_accuracy),
    ] {
        lines.push(Line { metric: metric.to_owned(), value, ..start() });
    }
    for (metric, worst) in
        [("worst_group_accuracy", &numbers.worst), ("worst_group_accuracy_with_evidence", &numbers.worst_with_evidence)]
    {
        lines.push(Line { cell: worst.group.clone(), ..start().with(unit, metric, &worst.accuracy) });
    }
}

fn of_comparisons(report: &AuditReport, lines: &mut Vec<Line>) {
    for comparison in &report.comparisons {
        let start = |breakdown: &str| Line {
            model: report.audited().identity.name.clone(),
            versus: Some(comparison.other.clone()),
            breakdown: breakdown.to_owned(),
            ..Line::default()
        };
        for cell in &comparison.cells {
            let line = || Line {
                cell: cell.facet.map(|_| cell.name.clone().unwrap_or_else(|| "unknown".to_owned())),
                n: count(cell.n),
                evidence: Some(evidence(cell.evidence)),
                ..start(cell.facet.map_or("overall", |facet| facet.key()))
            };
            lines.push(line().with("subject", "accuracy_difference", &cell.accuracy));
            lines.push(Line { n: None, ..line().with("sample", "accuracy_difference", &cell.sample_accuracy) });
        }
        for (unit, metric, estimate) in [
            ("subject", "worst_group_accuracy_difference", &comparison.worst_group_accuracy),
            ("sample", "worst_group_accuracy_difference", &comparison.sample_worst_group_accuracy),
            ("subject", "auroc_difference", &comparison.auroc),
        ] {
            lines.push(start("groups").with(unit, metric, estimate));
        }
    }
}
