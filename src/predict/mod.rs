//! `predict`: from raw scans to probabilities with nothing but MODEL.pt, which holds classes, plan and the scanners it has seen.
//!
//! ```text
//! ingest::scan -> preprocess::prepare_stack (the code of training, float16 included) -> the network in batches
//!   -> mean softmax over a stack's samples -> predictions.csv, one row per stack
//! ```
//!
//! Labels are never looked at. Every subject of the sources has at least one row: where no stack of theirs can be used, the row
//! says why.

mod network;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use half::f16;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tch::Device;

use crate::context::Context;
use crate::export::verify::{VerifyError, read_metadata};
use crate::failure::{Classify, FailureKind};
use crate::formats::cohort::StackRow;
use crate::formats::model_metadata::ModelMetadata;
use crate::formats::table::TableError;
use crate::fsx::{self, FsError};
use crate::ingest::{self, IngestError, Scan};
use crate::outdir::fingerprint;
use crate::preprocess::golden;
use crate::preprocess::memory::{self, default_cap_bytes};
use crate::preprocess::{self, Cohort, CohortStack, PreparedStack, StackRejected, decide, source};
use crate::settings::ingest::IngestSettings;
use crate::torch::TorchError;
use network::Network;
use rows::Row;

/// Stacks that are prepared before the network runs on them: bounds memory, never changes the result.
const CHUNK_STACKS: usize = 64;
/// No model file is larger.
const MODEL_CAP_BYTES: u64 = 4 << 30;

/// Why nothing could be predicted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The model file cannot be used.
    #[error(transparent)]
    Model(#[from] VerifyError),
    /// Its parts contradict each other.
    #[error("`{}`: no model that can be used: {problem}; export it again", path.display())]
    Inconsistent {
        /// The model file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The network cannot be run.
    #[error("`{}`: the network cannot be run", path.display())]
    Torch {
        /// The model file.
        path: PathBuf,
        /// libtorch's reason.
        source: TorchError,
    },
    /// This version makes other images from raw scans than those that the model was trained on.
    #[error(
        "`{}`: this version ({}) makes other images of scans than those that the model was trained on (the golden stack becomes \
         another tensor); use the version that trained it (it was exported by {exported_by}), or train again",
        path.display(),
        env!("CARGO_PKG_VERSION")
    )]
    OtherImages {
        /// The model file.
        path: PathBuf,
        /// The version that exported it.
        exported_by: String,
    },
    /// The sources cannot be used.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// Rows outside the format.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Other predictions are there.
    #[error("`{}` holds predictions of another model or of other sources; give another --out, or --force to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// What is there was not written by this program, so `--force` does not replace it either.
    #[error("`{}` is not a table of predictions; give another --out", path.display())]
    Foreign {
        /// The file or folder.
        path: PathBuf,
    },
    /// Not one stack gave a prediction.
    #[error("none of {stacks} stacks could be predicted ({reasons}); `{}` says why for each", path.display())]
    Nothing {
        /// Stacks in the sources.
        stacks: usize,
        /// Reasons with counts.
        reasons: String,
        /// The file with the warnings.
        path: PathBuf,
    },
    /// The user asked to stop.
    #[error("interrupted before the predictions were written; run the same command again")]
    Interrupted,
}

impl Classify for PredictError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Ingest(error) => error.kind(),
            Self::Exists { .. } | Self::Foreign { .. } => FailureKind::Usage,
            Self::Interrupted => FailureKind::Interrupted,
            _ => FailureKind::Unusable,
        }
    }
}

/// How every table of predictions begins (design, section 3).
const OUT_START: &[u8] = b"subject_id,study_id,stack_id,";

/// What to predict, with what, and where to write it.
#[derive(Debug, Clone, Copy)]
pub struct PredictOptions<'a> {
    /// MODEL.pt.
    pub model: &'a Path,
    /// Folders or files with scans.
    pub sources: &'a [PathBuf],
    /// What is known of the sources besides; its `group_by` gives way to the model's.
    pub settings: &'a IngestSettings,
    /// predictions.csv.
    pub out: &'a Path,
    /// Replace other predictions.
    pub force: bool,
    /// Where the network runs.
    pub device: Device,
}

/// Stacks of one scanner group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupSummary {
    /// Its name.
    pub acquisition_group: String,
    /// Whether the model was trained on it.
    pub seen: bool,
    /// Subjects with a prediction.
    pub subjects: usize,
    /// Stacks with a prediction.
    pub stacks: usize,
}

/// What was predicted.
#[derive(Debug, Clone, Serialize)]
pub struct PredictSummary {
    /// The file was there already, from the same model and sources.
    pub up_to_date: bool,
    /// Stacks with a prediction.
    pub stacks: usize,
    /// Subjects with a prediction.
    pub subjects: usize,
    /// Subjects without one.
    pub subjects_without: usize,
    /// Subjects per predicted class (mean over their stacks, ties to the lower class).
    pub predicted: BTreeMap<String, usize>,
    /// Scanner groups of the stacks with a prediction.
    pub groups: Vec<GroupSummary>,
    /// Stacks without a prediction, by reason. Other views than the model's are among them.
    pub left_out: BTreeMap<String, usize>,
}

/// Predicts every stack that the model's plan selects and writes the table.
///
/// # Errors
/// [`PredictError`]; a stack that cannot be prepared is a row with a warning.
pub fn predict(options: &PredictOptions<'_>, context: Context<'_>) -> Result<PredictSummary, PredictError> {
    let metadata = read_metadata(options.model)?;
    check(&metadata, options.model)?;
    if !context.pool.install(|| makes_its_images(&metadata)) {
        return Err(other_images(&metadata, options.model));
    }
    let key = ingest::read_or_create_key(options.settings.key.as_deref())?;
    let mut scan = ingest::scan(options.settings, options.sources, &key, context)?;
    let group_by = metadata.group_by();
    scan.stacks.iter_mut().for_each(|stack| stack.acquisition_group = ingest::acquisition_group(stack, &group_by));
    let inputs = inputs(options, &scan)?;
    if options.out.exists() {
        if !fsx::starts_with(options.out, OUT_START) {
            return Err(PredictError::Foreign { path: options.out.to_path_buf() });
        }
        let is_same = fsx::read_text(&marker(options.out), 1024).is_ok_and(|found| found == inputs);
        if is_same && !options.force {
            return Ok(up_to_date());
        }
        if !options.force {
            return Err(PredictError::Exists { path: options.out.to_path_buf() });
        }
    }
    let rows = predicted_rows(options, &metadata, &scan, context)?;
    if let Some(folder) = options.out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fsx::create_folder(folder)?;
    }
    // Without its marker an older file is never taken for this one.
    fsx::remove_file(&marker(options.out))?;
    rows::table(&rows, &metadata.classes).write_csv(options.out)?;
    let summary = summary(&rows, &metadata);
    if summary.stacks == 0 {
        let reasons: Vec<String> = summary.left_out.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let path = options.out.to_path_buf();
        return Err(PredictError::Nothing { stacks: scan.stacks.len(), reasons: reasons.join(", "), path });
    }
    fsx::write_atomic(&marker(options.out), inputs.as_bytes())?;
    Ok(summary)
}

fn check(metadata: &ModelMetadata, path: &Path) -> Result<(), PredictError> {
    let (channels, rows, columns) = metadata.plan.image_shape();
    let wrong = |problem: String| Err(PredictError::Inconsistent { path: path.to_path_buf(), problem });
    if metadata.image_shape != [channels, rows, columns] {
        let [c, h, w] = metadata.image_shape;
        return wrong(format!("its plan makes {channels} x {rows} x {columns}, its network takes {c} x {h} x {w}"));
    }
    if metadata.classes.len() < 2 {
        return wrong(format!("it has {} classes", metadata.classes.len()));
    }
    Ok(())
}

/// Whether raw scans become the images that the model was trained on, by the golden stack. Models of older versions do not say.
pub fn makes_its_images(metadata: &ModelMetadata) -> bool {
    let wanted = metadata.hashes.golden_stack.as_ref();
    wanted.is_none_or(|wanted| golden::tensor_sha256(&metadata.plan).as_ref() == Some(wanted))
}

/// The refusal of a model whose images this version does not make.
pub fn other_images(metadata: &ModelMetadata, path: &Path) -> PredictError {
    PredictError::OtherImages { path: path.to_path_buf(), exported_by: metadata.versions.groupdistil.clone() }
}

/// The file beside the predictions that says what they were made from.
fn marker(out: &Path) -> PathBuf {
    let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    out.with_file_name(format!(".{name}.inputs"))
}

fn inputs(options: &PredictOptions<'_>, scan: &Scan) -> Result<String, PredictError> {
    let model = Sha256::digest(fsx::read(options.model, MODEL_CAP_BYTES)?);
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    Ok(fingerprint([b"predict/1".as_slice(), version, model.as_slice(), scan.content_hash.as_bytes()]))
}

fn up_to_date() -> PredictSummary {
    PredictSummary {
        up_to_date: true,
        stacks: 0,
        subjects: 0,
        subjects_without: 0,
        predicted: BTreeMap::new(),
        groups: Vec::new(),
        left_out: BTreeMap::new(),
    }
}

/// One row per selected stack, and per stack of a subject without any.
fn predicted_rows(
    options: &PredictOptions<'_>,
    metadata: &ModelMetadata,
    scan: &Scan,
    context: Context<'_>,
) -> Result<Vec<Row>, PredictError> {
    let torch = |source: TorchError| PredictError::Torch { path: options.model.to_path_buf(), source };
    let cohort = Cohort::from_rows(&scan.content_hash, &scan.stacks, &scan.frames)?;
    let by_id: BTreeMap<&str, &StackRow> = scan.stacks.iter().map(|row| (row.stack_id.as_str(), row)).collect();
    let mut rows: Vec<Row> = Vec::new();
    let mut selected: Vec<&CohortStack> = Vec::new();
    for stack in &cohort.stacks {
        match decide::select(&metadata.plan.selection, stack) {
            Ok(()) => selected.push(stack),
            Err(rejected) => rows.push(Row::left_out(by_id[stack.stack_id.as_str()], metadata, &rejected)),
        }
    }
    let threads = i32::try_from(context.pool.current_num_threads()).unwrap_or(i32::MAX);
    tch::set_num_threads(threads);
    let network = Network::load(options.model, metadata, options.device).map_err(torch)?;
    context.observer.begin("predict", Some(selected.len() as u64));
    for chunk in selected.chunks(CHUNK_STACKS) {
        let prepared = prepare(metadata, &cohort, chunk, context)?;
        let images: Vec<&[f16]> = prepared
            .iter()
            .flatten()
            .flat_map(|stack| stack.samples.iter().map(|sample| sample.image.as_slice()))
            .collect();
        let mut logits = network.logits(&images, context.interrupt).map_err(torch)?.ok_or(PredictError::Interrupted)?;
        for (stack, outcome) in chunk.iter().zip(&prepared) {
            let row = by_id[stack.stack_id.as_str()];
            rows.push(match outcome {
                Ok(stack) => Row::predicted(row, metadata, logits.drain(..stack.samples.len()).as_slice()),
                Err(rejected) => Row::left_out(row, metadata, rejected),
            });
        }
        context.observer.advance(chunk.len() as u64);
    }
    context.observer.end();
    Ok(rows)
}

type Prepared = Vec<Result<PreparedStack, StackRejected>>;

/// Prepares stacks in parallel, with the pixels of all threads under the default cap.
fn prepare(
    metadata: &ModelMetadata,
    cohort: &Cohort,
    stacks: &[&CohortStack],
    context: Context<'_>,
) -> Result<Prepared, PredictError> {
    let read = source::reader();
    let one = |index: usize| {
        if context.interrupt.is_set() {
            return Err(PredictError::Interrupted);
        }
        let stack = stacks[index];
        Ok(preprocess::prepare_stack(&metadata.plan, stack, cohort.frames_of(stack), &*read))
    };
    let mut prepared = Prepared::new();
    let bytes: Vec<u64> = stacks.iter().map(|stack| source::memory_bytes(stack)).collect();
    memory::in_order(context.pool, (&bytes, default_cap_bytes()), one, |_, outcome| {
        prepared.push(outcome?);
        Ok::<(), PredictError>(())
    })?;
    Ok(prepared)
}

fn summary(rows: &[Row], metadata: &ModelMetadata) -> PredictSummary {
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_subject: BTreeMap<&str, Vec<&[f64]>> = BTreeMap::new();
    let mut groups: BTreeMap<(&str, bool), (BTreeSet<&str>, usize)> = BTreeMap::new();
    let subjects: BTreeSet<&str> = rows.iter().map(|row| row.subject_id.as_str()).collect();
    for row in rows {
        match (&row.probabilities, row.left_out) {
            (Some(probabilities), _) => {
                by_subject.entry(&row.subject_id).or_default().push(probabilities);
                let (members, count) = groups.entry((&row.acquisition_group, row.seen)).or_default();
                members.insert(&row.subject_id);
                *count += 1;
            }
            (None, reason) => *left_out.entry(reason.unwrap_or("not-finite").to_owned()).or_default() += 1,
        }
    }
    let mut predicted: BTreeMap<String, usize> = metadata.classes.iter().map(|class| (class.clone(), 0)).collect();
    for stacks in by_subject.values() {
        if let Some(best) = rows::best(stacks.iter().copied()) {
            *predicted.entry(metadata.classes[best].clone()).or_default() += 1;
        }
    }
    PredictSummary {
        up_to_date: false,
        stacks: groups.values().map(|(_, count)| count).sum(),
        subjects: by_subject.len(),
        subjects_without: subjects.len() - by_subject.len(),
        predicted,
        groups: groups
            .into_iter()
            .map(|((name, seen), (subjects, stacks))| GroupSummary {
                acquisition_group: name.to_owned(),
                seen,
                subjects: subjects.len(),
                stacks,
            })
            .collect(),
        left_out,
    }
}
