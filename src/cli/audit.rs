//! `groupdistil audit`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::failure::CliError;
use super::{Global, OutArgs, print_result};
use crate::audit::gate::GateOutcome;
use crate::audit::{self, AuditSummary, LevelSummary, ModelSource, ModelSummary};
use crate::context::Context;
use crate::failure::FailureKind;
use crate::formats::dataset::Split;
use crate::metrics::interval::Interval;
use crate::settings::audit::{AuditSettings, AuditWire};

const EXAMPLES: &str = "\
A source is a RUN, a folder of folds (fold-0, fold-1, ...; their out-of-fold predictions are pooled) or a CSV with
subject_id, label, group, prob_<label>... (site optional), whoever made it. The first is under audit; the others are
compared with it on the subjects they share.

A gate is METRIC >= NUMBER (or >, <=, <). Metrics per subject: accuracy, balanced_accuracy, recall[class=NAME], auroc, brier,
log_loss, confidence_gap, calibration_error, worst_group_accuracy, mean_group_accuracy, train_weighted_accuracy,
difference[versus=MODEL], worst_group_difference[versus=MODEL]; per sample: sample_accuracy and so on. METRIC[site=A] is about
one site (or acquisition_group, group, vendor, model, field_strength, sex, age); lower(...) and upper(...) are the ends
of the interval. Too few subjects is neither pass nor fail: exit code 4 for both.

Examples:
  groupdistil audit run --out report
  groupdistil audit student=runs/kd teacher=runs/teacher erm=runs/erm --out report
  groupdistil audit run --out report --gate 'worst_group_accuracy >= 0.7' --gate 'lower(accuracy[site=A]) >= 0.6'
  groupdistil audit run=runs/kd teacher=runs/t --out report --gate 'lower(difference[versus=teacher]) >= -0.05'
  groupdistil audit predictions.csv --labels labels.csv --out report --min-subjects 20";

/// Arguments of `groupdistil audit`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AuditArgs {
    /// RUN folders, folders of folds or CSV files; the first is the model under audit.
    #[arg(value_name = "[NAME=]RUN|CSV", required = true)]
    sources: Vec<String>,
    #[command(flatten)]
    out: OutArgs,
    /// Labels of predictions that have none: subject_id or stack_id, label, and optionally group and site.
    #[arg(long, value_name = "CSV")]
    labels: Option<PathBuf>,
    /// What must hold, or exit code 4; may be repeated.
    #[arg(long, value_name = "EXPR")]
    gate: Vec<String>,
    /// Which split of a RUN: test or val.
    #[arg(long, value_name = "SPLIT", value_parser = ["test", "val"])]
    split: Option<String>,
    /// Seed of the bootstrap and the permutations.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Bootstrap replicates.
    #[arg(long, value_name = "N")]
    replicates: Option<u32>,
    /// Fewer subjects are insufficient evidence.
    #[arg(long, value_name = "N")]
    min_subjects: Option<u32>,
    /// Confidence of all intervals.
    #[arg(long, value_name = "SHARE")]
    confidence: Option<f64>,
}

/// `NAME=PATH`, or a path (which may hold `=` when it exists or its part before it has a `/`).
fn source(text: &str) -> Result<ModelSource, CliError> {
    let whole = PathBuf::from(text);
    match text.split_once('=') {
        Some((name, path)) if !whole.exists() && !name.contains('/') => {
            if name.trim().is_empty() || path.is_empty() {
                return Err(CliError::new(FailureKind::Usage, format!("`{text}`: expected NAME=PATH")));
            }
            Ok(ModelSource { name: Some(name.trim().to_owned()), path: path.into() })
        }
        _ => Ok(ModelSource { name: None, path: whole }),
    }
}

fn settings(args: &AuditArgs) -> Result<AuditSettings, CliError> {
    let AuditArgs { labels, gate, split, seed, replicates, min_subjects, confidence, .. } = args;
    let wire = AuditWire {
        confidence: *confidence,
        replicates: *replicates,
        seed: *seed,
        min_subjects: *min_subjects,
        calibration_bins: None,
        split: split.as_deref().and_then(Split::from_name),
        gates: Some(gate.clone()),
    };
    Ok(AuditSettings { labels: labels.clone(), ..AuditSettings::try_from(wire)? })
}

/// Runs `groupdistil audit`.
pub fn audit(args: &AuditArgs, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    let settings = settings(args)?;
    let models = args.sources.iter().map(|text| source(text)).collect::<Result<Vec<_>, _>>()?;
    let summary = audit::audit(&models, &settings, &args.out.out, args.out.force, context)?;
    if global.json {
        let json = serde_json::to_string(&summary).map_err(|error| CliError::new(FailureKind::Unusable, error))?;
        print_result(&format!("{json}\n"))?;
    } else {
        print_result(&table(&summary))?;
    }
    Ok(summary.check_gates()?)
}

/// The table of an audit, as `demo` and `run` show it too.
pub fn table(summary: &AuditSummary) -> String {
    let header = ["model", "parameters", "per subject: average", "worst group", "per sample: average", "worst group"];
    let mut rows: Vec<Vec<String>> = vec![header.map(str::to_owned).to_vec()];
    rows.extend(summary.models.iter().map(row));
    let widths: Vec<usize> =
        (0..header.len()).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    let _ = writeln!(text);
    for (what, level) in [("subject", worst_groups(summary, true)), ("sample", worst_groups(summary, false))] {
        let _ = writeln!(text, "worst group per {what}: {level}");
    }
    for gate in &summary.gates {
        let outcome = match gate.outcome {
            GateOutcome::Pass => "pass",
            GateOutcome::Fail => "FAIL",
            GateOutcome::InsufficientEvidence => "INSUFFICIENT EVIDENCE",
        };
        let value = gate.value.map_or("undefined".to_owned(), |value| format!("{value:.3}"));
        let _ = writeln!(text, "gate `{}`: {outcome} ({value}; {})", gate.gate, gate.reason);
    }
    let done = if summary.up_to_date { "up to date" } else { "written" };
    let _ = writeln!(text, "{done}: {}", summary.page.display());
    text
}

fn row(model: &ModelSummary) -> Vec<String> {
    let parameters = model.parameters.map_or("-".to_owned(), |count| count.to_string());
    let average = |level: &LevelSummary| share(level.accuracy, level.accuracy_interval);
    let worst = |level: &LevelSummary| share(level.worst_group_accuracy, level.worst_group_interval);
    vec![
        model.name.clone(),
        parameters,
        average(&model.subject),
        worst(&model.subject),
        average(&model.sample),
        worst(&model.sample),
    ]
}

fn share(value: Option<f64>, interval: Option<Interval>) -> String {
    let Some(value) = value else { return "undefined".to_owned() };
    let limits = interval.map_or(String::new(), |interval| format!(" ({:.3} to {:.3})", interval.low, interval.high));
    format!("{value:.3}{limits}")
}

/// Each model's worst group, or the one that all share.
fn worst_groups(summary: &AuditSummary, per_subject: bool) -> String {
    let of = |model: &ModelSummary| {
        let level = if per_subject { &model.subject } else { &model.sample };
        level.worst_group.clone().unwrap_or_else(|| "none".to_owned())
    };
    let groups: Vec<String> = summary.models.iter().map(of).collect();
    if groups.iter().all(|group| *group == groups[0]) {
        return groups.into_iter().next().unwrap_or_default();
    }
    let named = summary.models.iter().zip(&groups).map(|(model, group)| format!("{}: {group}", model.name));
    named.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_may_have_a_name_and_a_path_may_hold_an_equals_sign() {
        let named = source("teacher=runs/t").unwrap();
        assert_eq!(named, ModelSource { name: Some("teacher".into()), path: "runs/t".into() });
        assert_eq!(source("runs/lr=3/a").unwrap(), ModelSource { name: None, path: "runs/lr=3/a".into() });
        assert!(source("=x").is_err());
    }
}
