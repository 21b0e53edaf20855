//! The per-site report: how a classifier does where, how sure that is, and whether that is enough.
//!
//! Sources (RUN, folds, CSV) become [`model::Model`]s; all numbers are computed first ([`report`], `audit.json`), then decided by
//! gates ([`gate`], `judge`), then drawn ([`render`], `audit.html`) and listed ([`table`], `audit.csv`). Per subject unless said
//! otherwise: a subject is the unit that is resampled, never a slice. No subject id reaches an output.

mod cohort;
mod compare;
pub mod error;
pub mod facet;
mod from_csv;
mod from_run;
pub mod gate;
mod judge;
mod model;
mod numbers;
pub mod render;
pub mod report;
mod summary;
pub mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::fsx;
use crate::outdir::{Opened, OutDir, Provenance, fingerprint};
use crate::settings::audit::AuditSettings;
use cohort::{Cohort, Scored};
pub use error::AuditError;
use facet::Facet;
use from_csv::Labels;
use gate::Gate;
use model::{Model, Row};
use numbers::{Level, Making};
use report::{
    AUDIT_CSV, AUDIT_HTML, AUDIT_JSON, AUDIT_SCHEMA, AuditReport, Breakdown, Data, ModelReport, Role, SettingsRecord,
};
pub use summary::{AuditSummary, LevelSummary, ModelSummary};

/// No report is larger than this.
const JSON_CAP_BYTES: u64 = 1 << 30;

/// What is audited: a RUN folder, a folder of folds (`fold-0` .. `fold-K-1`, each a RUN; their out-of-fold predictions are
/// pooled), or a CSV of predictions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSource {
    /// Its name in the report; `None` = from objective and architecture.
    pub name: Option<String>,
    /// Where it is.
    pub path: PathBuf,
}

/// Writes the REPORT of the first model, with the others beside it, into the folder `out`.
///
/// Gates that do not pass are no error here: the report is written, and [`AuditSummary::check_gates`] tells.
///
/// # Errors
/// [`AuditError`] for sources that cannot be read or do not fit together, gates that cannot be read, and an `out` that
/// was made from something else (unless `force`).
pub fn audit(
    models: &[ModelSource],
    settings: &AuditSettings,
    out: &Path,
    force: bool,
    context: Context<'_>,
) -> Result<AuditSummary, AuditError> {
    let gates = settings.gates.iter().map(|text| Gate::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let read = read_all(models, settings, context)?;
    for gate in &gates {
        judge::check(gate, &read.models)?;
    }
    let folder = match OutDir::open(out, AUDIT_JSON, &read.fingerprint(settings), force)? {
        Opened::UpToDate => return Ok(AuditSummary::of(&read_report(out)?, out, true)),
        Opened::Work(folder) => folder,
    };
    let provenance = Provenance::begin(context.pool.current_num_threads(), "cpu");
    let mut report = compute(&read, settings, context)?;
    report.gates = gates.iter().map(|gate| judge::judge(gate, &report)).collect();
    folder.write(AUDIT_HTML, render::html(&report).as_bytes())?;
    table::table(&report).write_csv(&folder.path(AUDIT_CSV))?;
    folder.complete(&provenance.end(), &report)?;
    Ok(AuditSummary::of(&report, out, false))
}

/// Reads the report of a complete REPORT folder.
///
/// # Errors
/// [`AuditError::Fs`], [`AuditError::Json`].
pub fn read_report(folder: &Path) -> Result<AuditReport, AuditError> {
    let path = folder.join(AUDIT_JSON);
    let bytes = fsx::read(&path, JSON_CAP_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|source| AuditError::Json { path, source })
}

/// All sources, named and aligned.
struct Sources {
    models: Vec<Model>,
    labels_sha256: Option<String>,
    warnings: Vec<String>,
}

impl Sources {
    /// What the report stands for: settings, names and the bytes of every file that was read.
    fn fingerprint(&self, settings: &AuditSettings) -> String {
        let mut parts = vec![b"audit/1".to_vec(), env!("CARGO_PKG_VERSION").as_bytes().to_vec()];
        parts.push(serde_json::to_vec(settings).expect("settings are plain values"));
        parts.push(self.labels_sha256.clone().unwrap_or_default().into_bytes());
        for model in &self.models {
            parts.push(serde_json::to_vec(&model.identity).expect("an identity is plain values"));
        }
        fingerprint(parts.iter().map(Vec::as_slice))
    }
}

fn read_all(sources: &[ModelSource], settings: &AuditSettings, context: Context<'_>) -> Result<Sources, AuditError> {
    let mut given = BTreeSet::new();
    if let Some(name) = sources.iter().filter_map(|source| source.name.as_ref()).find(|name| !given.insert(*name)) {
        return Err(AuditError::SameName { name: name.clone() });
    }
    context.observer.begin("read predictions", Some(sources.len() as u64));
    let labels = settings.labels.as_deref().map(Labels::read).transpose()?;
    let mut models = Vec::new();
    for source in sources {
        if context.interrupt.is_set() {
            return Err(AuditError::Interrupted);
        }
        models.push(read_source(&source.path, settings, labels.as_ref())?);
        context.observer.advance(1);
    }
    context.observer.end();
    name_models(sources, &mut models);
    let Some((first, others)) = models.split_first_mut() else { return Err(AuditError::NoModel) };
    for other in others.iter_mut() {
        compare::align(first, other)?;
    }
    let mut warnings: Vec<String> = models.iter().flat_map(|model| model.warnings.iter().cloned()).collect();
    if labels.is_some() && models.iter().all(|model| model.training.is_some()) {
        warnings.push("The labels file was not used: every run has its own labels.".to_owned());
    }
    Ok(Sources { models, labels_sha256: labels.map(|labels| labels.sha256), warnings })
}

fn read_source(path: &Path, settings: &AuditSettings, labels: Option<&Labels>) -> Result<Model, AuditError> {
    if path.is_file() {
        return from_csv::read_csv(path, labels);
    }
    if path.join(crate::formats::run::RUN_JSON).is_file() {
        return from_run::read_run(path, settings.split);
    }
    if path.join("fold-0").is_dir() {
        return from_run::read_folds(path, settings.split);
    }
    Err(AuditError::NotASource { path: path.to_path_buf() })
}

/// Names as given; those that are not given are made distinct.
fn name_models(sources: &[ModelSource], models: &mut [Model]) {
    let mut taken = BTreeSet::new();
    for (source, model) in sources.iter().zip(models.iter_mut()) {
        if let Some(name) = &source.name {
            model.identity.name.clone_from(name);
            taken.insert(name.clone());
        }
    }
    for (_, model) in sources.iter().zip(models.iter_mut()).filter(|(source, _)| source.name.is_none()) {
        let base = model.identity.name.clone();
        let seeded = model.identity.seed.map(|seed| format!("{base} seed {seed}"));
        let numbered = (2..).map(|number| format!("{base} ({number})"));
        let mut names = std::iter::once(base.clone()).chain(seeded).chain(numbered);
        let free = names.find(|name| !taken.contains(name)).expect("numbers do not end");
        taken.insert(free.clone());
        model.identity.name = free;
    }
}

/// All numbers but the gates.
fn compute(sources: &Sources, settings: &AuditSettings, context: Context<'_>) -> Result<AuditReport, AuditError> {
    let making = Making { settings, context };
    let first = &sources.models[0];
    context.observer.begin("intervals", None);
    let mut models = Vec::new();
    for (index, model) in sources.models.iter().enumerate() {
        let role = if index == 0 {
            Role::Audited
        } else if is_teacher(model, first) {
            Role::Teacher
        } else {
            Role::Compared
        };
        context.observer.remark(&model.identity.name);
        models.push(model_report(model, role, making)?);
    }
    let comparisons = sources.models[1..].iter().map(|other| compare::compare(first, other, making));
    let comparisons = comparisons.collect::<Result<Vec<_>, _>>()?;
    context.observer.end();
    let AuditSettings { confidence, replicates, seed, min_subjects, calibration_bins, .. } = *settings;
    let labels_sha256 = sources.labels_sha256.clone();
    let mut report = AuditReport {
        schema: AUDIT_SCHEMA.to_owned(),
        groupdistil_version: env!("CARGO_PKG_VERSION").to_owned(),
        settings: SettingsRecord { confidence, replicates, seed, min_subjects, calibration_bins, labels_sha256 },
        data: data(first, &models[0], settings),
        models,
        comparisons,
        gates: Vec::new(),
        warnings: Vec::new(),
    };
    report.warnings = summary::warnings(&report, &sources.warnings);
    Ok(report)
}

/// Whether `model` holds the weights that taught `student`.
fn is_teacher(model: &Model, student: &Model) -> bool {
    student.identity.teacher.as_ref().is_some_and(|teacher| {
        let hashes = model.identity.networks.iter().filter_map(|network| network.weights_sha256.as_ref());
        hashes.into_iter().any(|hash| *hash == teacher.weights_sha256)
    })
}

fn model_report(model: &Model, role: Role, making: Making<'_>) -> Result<ModelReport, AuditError> {
    let cohort = Cohort::new(model.rows.iter());
    let rows: Vec<&Row> = model.rows.iter().collect();
    let scored = Scored::new(&rows, &cohort);
    let overall = numbers::performance(&scored, model.classes.len(), &cohort, making)?;
    let facets: &[Facet] = if role == Role::Audited { &Facet::ALL } else { &Facet::ALL[..3] };
    let mut breakdowns: Vec<Breakdown> = Vec::new();
    for facet in facets {
        if let Some(mut breakdown) = numbers::breakdown(*facet, &rows, model, &cohort, making)? {
            let same = |earlier: &&Breakdown| is_same(&rows, earlier.facet, *facet);
            breakdown.same_as = breakdowns.iter().find(same).map(|earlier| earlier.facet);
            breakdowns.push(breakdown);
        }
    }
    let groups = breakdowns.iter().find(|breakdown| breakdown.facet == Facet::Group);
    let groups = groups.expect("every row has a group");
    Ok(ModelReport {
        role,
        identity: model.identity.clone(),
        overall,
        subject: numbers::group_numbers(groups, model, Level::Subject, making),
        sample: numbers::group_numbers(groups, model, Level::Sample, making),
        calibration: numbers::calibration(&scored, model.classes.len(), making.settings),
        breakdowns,
    })
}

/// Whether two facets divide the rows in the same way.
fn is_same(rows: &[&Row], a: Facet, b: Facet) -> bool {
    let pairs: BTreeSet<_> = rows.iter().map(|row| (row.facets.get(a), row.facets.get(b))).collect();
    let count = |facet: Facet| rows.iter().map(|row| row.facets.get(facet)).collect::<BTreeSet<_>>().len();
    pairs.len() == count(a) && pairs.len() == count(b)
}

fn data(model: &Model, report: &ModelReport, settings: &AuditSettings) -> Data {
    let cohort = Cohort::new(model.rows.iter());
    let scored = Scored::new(&model.rows.iter().collect::<Vec<_>>(), &cohort);
    let tested = |facet: Facet| {
        let cells = report.breakdown(facet).map_or(&[][..], |breakdown| breakdown.cells.as_slice());
        cells.iter().filter(|cell| cell.performance.is_some() && cell.name.is_some()).count() as u64
    };
    let of_class = |class: usize| scored.subjects.iter().filter(|case| case.label == class).count() as u64;
    Data {
        split: settings.split,
        folds: (model.identity.source == report::SourceKind::Folds).then_some(model.identity.networks.len()),
        classes: model.classes.clone(),
        counts: scored.counts,
        class_subjects: (0..model.classes.len()).map(of_class).collect(),
        sites: tested(Facet::Site),
        acquisition_groups: tested(Facet::AcquisitionGroup),
        groups: tested(Facet::Group),
        subjects_with_several_labels: scored.several_labels,
    }
}
