//! What a caller gets from an audit besides the files, and the warnings at the head of a report.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::AuditError;
use super::facet::{Facet, sentence_name};
use super::gate::{GateOutcome, GateResult};
use super::report::{AUDIT_HTML, AuditReport, Cell, Evidence, GroupNumbers, ModelReport, Role, SourceKind};
use crate::formats::dataset::Split;
use crate::metrics::interval::Interval;

/// Average and worst group at one level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LevelSummary {
    /// Cases.
    pub n: u64,
    /// Share of correct cases: the plain mean over the test cases.
    pub accuracy: Option<f64>,
    /// Its interval.
    pub accuracy_interval: Option<Interval>,
    /// Group accuracies weighted by training shares.
    pub train_weighted_accuracy: Option<f64>,
    /// Lowest group accuracy.
    pub worst_group_accuracy: Option<f64>,
    /// Its interval, per subject only.
    pub worst_group_interval: Option<Interval>,
    /// Whose it is.
    pub worst_group: Option<String>,
}

/// One model of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelSummary {
    /// Its name.
    pub name: String,
    /// What it is to the first.
    pub role: Role,
    /// Objective it was trained with, where known.
    pub objective: Option<String>,
    /// The network, where known.
    pub architecture: Option<String>,
    /// Trained parameters, where known.
    pub parameters: Option<u64>,
    /// Per subject.
    pub subject: LevelSummary,
    /// Per sample.
    pub sample: LevelSummary,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditSummary {
    /// The first is the one under audit.
    pub models: Vec<ModelSummary>,
    /// Gates in the order given.
    pub gates: Vec<GateResult>,
    /// What a reader must know.
    pub warnings: Vec<String>,
    /// Whether the report was there already.
    pub up_to_date: bool,
    /// `audit.html`. A path, so it is not part of `--json`.
    #[serde(skip)]
    pub page: PathBuf,
}

impl AuditSummary {
    /// The summary of a report in the folder `out`.
    pub(super) fn of(report: &AuditReport, out: &Path, up_to_date: bool) -> Self {
        Self {
            models: report.models.iter().map(model).collect(),
            gates: report.gates.clone(),
            warnings: report.warnings.clone(),
            up_to_date,
            page: out.join(AUDIT_HTML),
        }
    }

    /// Whether all gates passed.
    ///
    /// # Errors
    /// [`AuditError::GatesNotPassed`], whose exit code is 4.
    pub fn check_gates(&self) -> Result<(), AuditError> {
        let count = |outcome: GateOutcome| self.gates.iter().filter(|gate| gate.outcome == outcome).count();
        let (failed, insufficient) = (count(GateOutcome::Fail), count(GateOutcome::InsufficientEvidence));
        if failed + insufficient == 0 {
            return Ok(());
        }
        Err(AuditError::GatesNotPassed { gates: self.gates.len(), failed, insufficient })
    }
}

fn model(report: &ModelReport) -> ModelSummary {
    let level = |n: u64, accuracy: &super::report::Estimate, numbers: &GroupNumbers| LevelSummary {
        n,
        accuracy: accuracy.value,
        accuracy_interval: accuracy.interval,
        train_weighted_accuracy: numbers.train_weighted_accuracy,
        worst_group_accuracy: numbers.worst.accuracy.value,
        worst_group_interval: numbers.worst.accuracy.interval,
        worst_group: numbers.worst.group.clone(),
    };
    let (subject, sample) = (&report.overall.subject, &report.overall.sample);
    ModelSummary {
        name: report.identity.name.clone(),
        role: report.role,
        objective: report.identity.objective.clone(),
        architecture: report.identity.architecture.clone(),
        parameters: report.identity.parameters,
        subject: level(subject.n, &subject.accuracy, &report.subject),
        sample: level(sample.n, &sample.accuracy, &report.sample),
    }
}

/// Warnings of a report: of reading, of the data, of training.
pub(super) fn warnings(report: &AuditReport, of_reading: &[String]) -> Vec<String> {
    let mut warnings = of_reading.to_vec();
    let audited = report.audited();
    match report.data.split {
        Split::Test => {}
        Split::Val => warnings.push(
            "These are validation subjects, by which the epoch was selected: the numbers are somewhat too good.".into(),
        ),
        Split::Train => {
            warnings.push("These are training subjects: the numbers say nothing about new patients.".into())
        }
    }
    for model in &report.models {
        if let Some(held_out) = &model.identity.held_out {
            let name = &model.identity.name;
            warnings.push(format!(
                "{name}: {held_out}. Validation subjects and their groups are in its weights, as they are not in other models'."
            ));
        }
    }
    if let Some(folds) = report.data.folds {
        warnings.push(format!(
            "Out-of-fold predictions: each subject was predicted by the one of {folds} networks that was not trained on it, and \
             all are pooled. An exported model is fold 0's network alone; the numbers stand for the method that made it."
        ));
    }
    for cell in cells(audited, Facet::AcquisitionGroup) {
        let name = cell.name.as_deref().map_or("unknown".to_owned(), sentence_name);
        match &cell.performance {
            None => warnings
                .push(format!("{name}: in training or validation only, never tested; nothing is known about it.")),
            Some(_) if cell.is_unseen() => {
                warnings.push(format!("{name}: never trained on; its numbers show transfer to it."))
            }
            Some(performance) if performance.evidence == Evidence::Insufficient => warnings.push(format!(
                "{name}: {} subjects, fewer than {}: insufficient evidence.",
                performance.counts.subjects, report.settings.min_subjects
            )),
            Some(_) => {}
        }
    }
    let classes = report.data.classes.iter().zip(&report.data.class_subjects).filter(|(_, count)| **count == 0);
    warnings.extend(classes.map(|(class, _)| format!("No subject of class {class} was tested.")));
    if report.data.subjects_with_several_labels > 0 {
        warnings.push(format!(
            "{} subjects have more than one label; each label counts as a case of its own.",
            report.data.subjects_with_several_labels
        ));
    }
    if report.models.iter().any(|model| model.identity.source == SourceKind::Csv) {
        warnings.push("Predictions from a CSV do not tell what the model was trained on.".into());
    }
    let hash = &audited.identity.dataset_hash;
    for other in &report.models[1..] {
        if hash.is_some() && other.identity.dataset_hash.is_some() && other.identity.dataset_hash != *hash {
            warnings.push(format!("{} was made from another dataset (see its hash).", other.identity.name));
        }
    }
    for model in &report.models {
        let named = |warning: &String| format!("Training of {}: {warning}", model.identity.name);
        warnings.extend(model.identity.warnings.iter().map(named));
    }
    warnings
}

fn cells(model: &ModelReport, facet: Facet) -> &[Cell] {
    model.breakdown(facet).map_or(&[], |breakdown| breakdown.cells.as_slice())
}
