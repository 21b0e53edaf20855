//! Decides gates from the numbers of a report. Too few subjects is an outcome of its own: a small group neither passes nor fails.

use super::error::AuditError;
use super::facet::Facet;
use super::gate::{Bound, Gate, GateOutcome, GateResult, Metric};
use super::model::Model;
use super::report::{AuditReport, Estimate, Evidence, GroupNumbers, ModelReport, Performance};

/// Whether everything that a gate names is there, before any number is computed.
pub(super) fn check(gate: &Gate, models: &[Model]) -> Result<(), AuditError> {
    let first = &models[0];
    let wrong = |problem: String| Err(AuditError::GateTarget { text: gate.text.clone(), problem });
    let list = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    if let Some(class) = gate.class.as_ref().filter(|class| !first.classes.contains(class)) {
        return wrong(format!("`{class}` is no class; there are {}", first.classes.join(", ")));
    }
    if let Some(versus) = &gate.versus {
        let others: Vec<&str> = models[1..].iter().map(|model| model.identity.name.as_str()).collect();
        if !others.contains(&versus.as_str()) {
            return wrong(format!("`{versus}` is no model compared here; there are {}", list(others)));
        }
    }
    if let Some((facet, name)) = &gate.cell {
        let mut known: Vec<&str> = first.rows.iter().filter_map(|row| row.facets.get(*facet)).collect();
        let trained = first.training.as_ref().map(|training| training.names(*facet)).unwrap_or_default();
        known.extend(trained.iter().flatten().map(String::as_str));
        known.sort_unstable();
        known.dedup();
        if !known.contains(&name.as_str()) {
            return wrong(format!("no {} is named `{name}`; there are {}", facet.title(), list(known)));
        }
    }
    Ok(())
}

/// What a gate looks at.
struct Reading {
    estimate: Estimate,
    /// Why it is no evidence even if it holds.
    doubt: Option<String>,
}

/// Decides one gate.
pub(super) fn judge(gate: &Gate, report: &AuditReport) -> GateResult {
    let reading = read(gate, report);
    let value = match gate.bound {
        Bound::Value => reading.estimate.value,
        Bound::Lower => reading.estimate.interval.map(|interval| interval.low),
        Bound::Upper => reading.estimate.interval.map(|interval| interval.high),
    };
    let holds = value.map(|value| gate.ordering.holds(value, gate.threshold));
    let is_worst = matches!(gate.metric, Metric::WorstGroupAccuracy | Metric::SampleWorstGroupAccuracy);
    let (outcome, reason) = match (holds, reading.doubt) {
        (None, doubt) => {
            let what = if gate.bound == Bound::Value { "the number is undefined" } else { "there is no interval" };
            (GateOutcome::InsufficientEvidence, doubt.unwrap_or_else(|| what.to_owned()))
        }
        // A group with enough subjects that misses the floor is a failure, whatever the small groups may be.
        (Some(false), Some(_)) if is_worst => (GateOutcome::Fail, "a group with enough subjects misses it".to_owned()),
        (Some(_), Some(doubt)) => (GateOutcome::InsufficientEvidence, doubt),
        (Some(true), None) => (GateOutcome::Pass, "holds".to_owned()),
        (Some(false), None) => (GateOutcome::Fail, "does not hold".to_owned()),
    };
    GateResult { gate: gate.text.clone(), outcome, value, threshold: gate.threshold, reason }
}

fn few(n: u64, what: &str, report: &AuditReport) -> Option<String> {
    let needed = report.settings.min_subjects;
    (n < u64::from(needed)).then(|| format!("{n} {what}, at least {needed} are needed"))
}

fn read(gate: &Gate, report: &AuditReport) -> Reading {
    let model = report.audited();
    if let Some(versus) = &gate.versus {
        return difference(gate, versus, report);
    }
    let (numbers, is_worst) = match gate.metric {
        Metric::WorstGroupAccuracy => (Some(&model.subject), true),
        Metric::SampleWorstGroupAccuracy => (Some(&model.sample), true),
        Metric::MeanGroupAccuracy | Metric::TrainWeightedAccuracy => (Some(&model.subject), false),
        Metric::SampleMeanGroupAccuracy | Metric::SampleTrainWeightedAccuracy => (Some(&model.sample), false),
        _ => (None, false),
    };
    match numbers {
        Some(numbers) if is_worst => worst(numbers, report),
        Some(numbers) => averages(gate.metric, numbers, model, report),
        None => cell(gate, model, report),
    }
}

fn worst(numbers: &GroupNumbers, report: &AuditReport) -> Reading {
    let (all, enough) = (&numbers.worst, &numbers.worst_with_evidence);
    let small = all.groups - enough.groups;
    let doubt = (small > 0)
        .then(|| format!("{small} of {} groups have fewer than {} subjects", all.groups, report.settings.min_subjects));
    Reading { estimate: enough.accuracy.clone(), doubt }
}

fn averages(metric: Metric, numbers: &GroupNumbers, model: &ModelReport, report: &AuditReport) -> Reading {
    let value = match metric {
        Metric::MeanGroupAccuracy | Metric::SampleMeanGroupAccuracy => numbers.mean_group_accuracy,
        _ => numbers.train_weighted_accuracy,
    };
    let estimate = Estimate { value, interval: None, method: None, missing: None };
    Reading { estimate, doubt: few(model.overall.counts.subjects, "subjects", report) }
}

fn cell(gate: &Gate, model: &ModelReport, report: &AuditReport) -> Reading {
    let undefined = || Estimate { value: None, interval: None, method: None, missing: None };
    let performance = match &gate.cell {
        None => Some(&model.overall),
        Some((facet, name)) => named(model, *facet, name),
    };
    let Some(performance) = performance else {
        return Reading { estimate: undefined(), doubt: Some("no subject of it was tested".to_owned()) };
    };
    if let Some(class) = &gate.class {
        let index = report.data.classes.iter().position(|found| found == class);
        let recall = index.and_then(|index| performance.subject.recall.get(index));
        let n = recall.map_or(0, |recall| recall.n);
        let estimate = recall.map_or_else(undefined, |recall| recall.recall.clone());
        return Reading { estimate, doubt: few(n, "subjects of the class", report) };
    }
    let subject = &performance.subject;
    let estimate = match gate.metric {
        Metric::BalancedAccuracy => subject.balanced_accuracy.clone(),
        Metric::Auroc => subject.auroc.clone(),
        Metric::Brier => subject.brier.clone(),
        Metric::LogLoss => subject.log_loss.clone(),
        Metric::ConfidenceGap => subject.confidence_gap.clone(),
        Metric::CalibrationError => Estimate { value: subject.calibration_error, ..undefined() },
        Metric::SampleAccuracy => performance.sample.accuracy.clone(),
        Metric::SampleBalancedAccuracy => performance.sample.balanced_accuracy.clone(),
        _ => subject.accuracy.clone(),
    };
    Reading { estimate, doubt: few(performance.counts.subjects, "subjects", report) }
}

fn named<'a>(model: &'a ModelReport, facet: Facet, name: &str) -> Option<&'a Performance> {
    let cells = &model.breakdown(facet)?.cells;
    cells.iter().find(|cell| cell.name.as_deref() == Some(name))?.performance.as_ref()
}

fn difference(gate: &Gate, versus: &str, report: &AuditReport) -> Reading {
    let undefined = Estimate { value: None, interval: None, method: None, missing: None };
    let Some(comparison) = report.comparisons.iter().find(|comparison| comparison.other == versus) else {
        return Reading { estimate: undefined, doubt: None };
    };
    let overall = &comparison.cells[0];
    if gate.metric == Metric::WorstGroupDifference {
        let doubt = worst(&report.audited().subject, report).doubt;
        return Reading { estimate: comparison.worst_group_accuracy.clone(), doubt };
    }
    let cell = match &gate.cell {
        None => Some(overall),
        Some((facet, name)) => comparison
            .cells
            .iter()
            .find(|cell| cell.facet == Some(*facet) && cell.name.as_deref() == Some(name.as_str())),
    };
    match cell {
        None => Reading { estimate: undefined, doubt: Some("no subject of it was tested by both".to_owned()) },
        Some(cell) => {
            let doubt = (cell.evidence == Evidence::Insufficient).then(|| few(cell.n, "subjects", report)).flatten();
            Reading { estimate: cell.accuracy.clone(), doubt }
        }
    }
}
