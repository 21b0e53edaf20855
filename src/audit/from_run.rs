//! Models from RUN folders: one, or a folder of folds whose out-of-fold predictions are pooled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::AuditError;
use super::facet::{Facet, Facets, age_band, field_strength};
use super::model::{Model, Row, RunTraining, Training, sha256};
use super::report::{History, Identity, Network, SourceKind};
use crate::formats::dataset::Split;
use crate::formats::predictions::{PredictionRow, Predictions};
use crate::formats::run::{
    METRICS_JSONL, MetricsLine, PREDICTIONS, RUN_JSON, RunJson, WEIGHTS, read_metrics, read_run_json,
};
use crate::metrics::cases::softmax;

/// More folds than this are a mistake.
const MOST_FOLDS: usize = 1000;

/// The model of one RUN.
pub(super) fn read_run(folder: &Path, split: Split) -> Result<Model, AuditError> {
    let run = read_one(folder, split)?;
    if run.rows.is_empty() {
        return Err(AuditError::EmptySplit { path: folder.to_path_buf(), split: split.as_str(), found: run.splits });
    }
    let identity = identity(&run.json, SourceKind::Run, vec![run.network]);
    Ok(Model {
        identity,
        classes: run.json.classes,
        rows: run.rows,
        training: Some(Training { runs: vec![run.training] }),
        warnings: Vec::new(),
    })
}

/// The folders `fold-0`, `fold-1`, ... of `folder`; empty when it has none.
pub(super) fn fold_folders(folder: &Path) -> Vec<PathBuf> {
    let folders = (0..MOST_FOLDS).map(|fold| folder.join(format!("fold-{fold}")));
    folders.take_while(|path| path.is_dir()).collect()
}

/// The pooled model of a folder of folds.
pub(super) fn read_folds(folder: &Path, split: Split) -> Result<Model, AuditError> {
    let wrong = |problem: String| AuditError::Folds { path: folder.to_path_buf(), problem };
    let folders = fold_folders(folder);
    if folders.len() < 2 {
        return Err(wrong("only fold-0 is there".to_owned()));
    }
    let runs = folders.iter().map(|path| read_one(path, split)).collect::<Result<Vec<_>, _>>()?;
    check_folds(&runs, split).map_err(wrong)?;
    let mut json = runs[0].json.clone();
    for run in &runs[1..] {
        for (group, count) in &run.json.train_counts {
            *json.train_counts.entry(group.clone()).or_default() += count;
        }
        json.warnings.extend(run.json.warnings.iter().cloned());
    }
    json.warnings.sort();
    json.warnings.dedup();
    let (mut rows, mut networks, mut training) = (Vec::new(), Vec::new(), Training::default());
    for run in runs {
        rows.extend(run.rows);
        networks.push(run.network);
        training.runs.push(run.training);
    }
    let identity = identity(&json, SourceKind::Folds, networks);
    Ok(Model { identity, classes: json.classes, rows, training: Some(training), warnings: Vec::new() })
}

/// What does not fit between the folds.
fn check_folds(runs: &[OneRun], split: Split) -> Result<(), String> {
    let first = &runs[0].json;
    let mut tested: BTreeMap<&str, usize> = BTreeMap::new();
    for (fold, run) in runs.iter().enumerate() {
        let json = &run.json;
        let same = [
            ("classes", json.classes == first.classes),
            ("dataset_hash", json.dataset_hash == first.dataset_hash),
            ("plan_hash", json.plan_hash == first.plan_hash),
            ("architecture", json.architecture == first.architecture),
            ("objective", json.objective == first.objective),
        ];
        if let Some((name, _)) = same.iter().find(|(_, is_same)| !is_same) {
            return Err(format!("fold-{fold} has another {name} than fold-0"));
        }
        if json.fold != Some(fold) {
            let found = json.fold.map_or("no fold".to_owned(), |found| format!("fold {found}"));
            return Err(format!("the run in fold-{fold} was tested on {found}"));
        }
        if run.rows.is_empty() {
            return Err(format!("fold-{fold} has no sample in split `{}`", split.as_str()));
        }
        for row in &run.rows {
            let before = *tested.entry(row.subject.as_str()).or_insert(fold);
            if before != fold {
                let split = split.as_str();
                return Err(format!("a subject is in split `{split}` of fold-{before} and of fold-{fold}"));
            }
        }
    }
    Ok(())
}

/// One RUN as read.
struct OneRun {
    json: RunJson,
    rows: Vec<Row>,
    network: Network,
    training: RunTraining,
    /// Splits that have samples.
    splits: Vec<&'static str>,
}

fn read_one(folder: &Path, split: Split) -> Result<OneRun, AuditError> {
    let json = read_run_json(folder)?;
    let path = folder.join(PREDICTIONS);
    let predictions = Predictions::read(&path)?;
    if predictions.classes != json.classes {
        return Err(AuditError::Classes {
            first: RUN_JSON.to_owned(),
            expected: json.classes,
            other: path.display().to_string(),
            found: predictions.classes,
        });
    }
    let mut training = RunTraining::default();
    let mut splits = BTreeSet::new();
    let mut rows = Vec::new();
    for (index, row) in predictions.rows.iter().enumerate() {
        let facets = facets(row);
        splits.insert(row.split);
        training.add(&facets, &row.subject_id, row.split == Split::Train, row.split == split);
        if row.split == split {
            let label = json.classes.iter().position(|class| *class == row.label);
            let label = label.ok_or_else(|| AuditError::Cell {
                path: path.clone(),
                line: index as u64 + 1,
                column: "label".to_owned(),
                problem: format!("`{}` is none of the classes {}", row.label, json.classes.join(", ")),
            })?;
            rows.push(scored(row, label, facets));
        }
    }
    let network = network(folder, &json, &path)?;
    Ok(OneRun { json, rows, network, training, splits: splits.into_iter().map(Split::as_str).collect() })
}

fn scored(row: &PredictionRow, label: usize, facets: Facets) -> Row {
    let logits: Vec<f64> = row.logits.iter().copied().map(f64::from).collect();
    Row { subject: row.subject_id.clone(), stack: row.stack_id.clone(), label, facets, probabilities: softmax(&logits) }
}

fn facets(row: &PredictionRow) -> Facets {
    let mut facets = Facets::default();
    facets.set(Facet::AcquisitionGroup, Some(row.acquisition_group.clone()));
    facets.set(Facet::Group, Some(row.group.clone()));
    facets.set(Facet::Site, row.site.clone());
    facets.set(Facet::Vendor, row.vendor.clone());
    facets.set(Facet::Model, row.model.clone());
    facets.set(Facet::FieldStrength, row.field_strength_t.and_then(field_strength));
    facets.set(Facet::Sex, row.sex.clone());
    facets.set(Facet::Age, row.age_years.and_then(age_band));
    facets
}

fn network(folder: &Path, json: &RunJson, predictions: &Path) -> Result<Network, AuditError> {
    let weights = folder.join(WEIGHTS);
    // A run that was copied without its weights can still be audited.
    let weights_sha256 = if weights.is_file() { Some(sha256(&weights)?) } else { None };
    let lines = if folder.join(METRICS_JSONL).is_file() { read_metrics(folder)? } else { Vec::new() };
    Ok(Network {
        fold: json.fold,
        best_epoch: json.best_epoch,
        epochs: json.epochs,
        weights_sha256,
        predictions_sha256: sha256(predictions)?,
        run_sha256: sha256(&folder.join(RUN_JSON))?,
        history: history(json, &lines),
    })
}

fn history(json: &RunJson, lines: &[MetricsLine]) -> History {
    let of = |split: Split| lines.iter().filter(move |line| line.split == split);
    let mut weights = BTreeMap::new();
    for group in &json.weighted_groups {
        let values = of(Split::Train).map(|line| line.groups.get(group).and_then(|group| group.weight)).collect();
        weights.insert(group.clone(), values);
    }
    History {
        train_epochs: of(Split::Train).map(|line| line.epoch).collect(),
        weights,
        val_epochs: of(Split::Val).map(|line| line.epoch).collect(),
        val_accuracy: of(Split::Val).map(|line| line.accuracy).collect(),
        val_worst: of(Split::Val).map(|line| line.worst_group_accuracy).collect(),
    }
}

fn identity(json: &RunJson, source: SourceKind, networks: Vec<Network>) -> Identity {
    let base = json.dfr.as_ref().and_then(|dfr| dfr.from.objective.as_ref());
    let objective = base.map_or_else(|| json.objective.clone(), |base| format!("{base}+{}", json.objective));
    Identity {
        name: format!("{objective} {}", json.architecture),
        source,
        objective: Some(json.objective.clone()),
        architecture: Some(json.architecture.clone()),
        parameters: Some(json.parameters),
        seed: Some(json.seed),
        selection: Some(json.selection.clone()),
        teacher: json.teacher.clone(),
        held_out: json.held_out.clone(),
        dataset_hash: Some(json.dataset_hash.clone()),
        plan_hash: Some(json.plan_hash.clone()),
        train_counts: json.train_counts.clone(),
        networks,
        csv_sha256: None,
        warnings: json.warnings.clone(),
    }
}
