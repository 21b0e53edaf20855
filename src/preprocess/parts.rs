//! The work in parts: consecutive stacks that give one shard. A finished part is a shard and a record beside it, so that an
//! interrupted run goes on behind the last finished part and ends with the same bytes. Parts depend on cohort and plan only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::f16;
use serde::{Deserialize, Serialize};

use super::error::PreprocessError;
use super::memory;
use super::prepare::{PreparedSample, PreparedStack};
use super::rejected::StackRejected;
use super::report::features::GreyFeatures;
use super::source::{self, CohortStack, ReadFrames};
use super::{Cohort, prepare_stack};
use crate::context::Context;
use crate::dataset::summary::sha256_hex;
use crate::formats::dataset::{ShardInfo, read_json};
use crate::formats::images;
use crate::formats::plan::Plan;
use crate::formats::quality::QualityRow;
use crate::fsx;
use crate::outdir::OutDir;

/// Folder of the records of finished parts, removed when the dataset is complete.
const PARTS_FOLDER: &str = ".parts";
/// Image bytes that a shard aims at.
const SHARD_BYTES: usize = 16 << 20;
/// Most stacks in a part: what an interruption can cost.
const PART_STACKS: usize = 128;
/// Kept free of pixels for shard, tables and program.
const RESERVED_BYTES: u64 = 96 << 20;

/// Slices and phases of one sample, in the order of the shard's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// 0-based source slices.
    pub slices: Vec<i32>,
    /// 0-based source phases.
    pub phases: Vec<i32>,
}

/// What became of one stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StackRecord {
    /// It gave samples.
    Prepared {
        /// Its samples.
        samples: Vec<SampleRecord>,
        /// What was found.
        quality: Box<QualityRow>,
        /// Grey values before and after the intensity steps.
        grey: GreyFeatures,
        /// Hashes of the source frames that were used.
        frame_hashes: Vec<String>,
    },
    /// It was left out.
    Rejected {
        /// Column `stage`.
        stage: String,
        /// Column `reason`.
        reason: String,
        /// Column `message`.
        message: String,
    },
}

impl StackRecord {
    pub(super) fn rejected(rejected: &StackRejected) -> Self {
        Self::Rejected {
            stage: rejected.stage().to_owned(),
            reason: rejected.reason().to_owned(),
            message: rejected.to_string(),
        }
    }
}

/// A finished part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Its image file.
    pub shard: ShardInfo,
    /// Its stacks in order.
    pub stacks: Vec<StackRecord>,
}

/// What all parts share.
pub struct Work<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Stacks and frames.
    pub cohort: &'a Cohort,
    /// Indices of the selected stacks, in file order.
    pub selected: &'a [usize],
    /// Reads pixels.
    pub read: &'a ReadFrames<'a>,
    /// Cap on pixels, bytes.
    pub max_memory_bytes: u64,
}

/// Ranges of `selected`, one per part.
fn divide(work: &Work<'_>) -> Vec<std::ops::Range<usize>> {
    let (channels, height, width) = work.plan.image_shape();
    let per_sample = channels * height * width * 2;
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (position, &index) in work.selected.iter().enumerate() {
        let stack = &work.cohort.stacks[index];
        let most = stack.slices.saturating_mul(stack.phases).max(1);
        let samples = match work.plan.sample {
            crate::formats::plan::SampleKind::Single { .. } => most,
            _ => stack.slices.max(1),
        };
        bytes += samples.saturating_mul(per_sample);
        if bytes >= SHARD_BYTES || position + 1 - start >= PART_STACKS || position + 1 == work.selected.len() {
            parts.push(start..position + 1);
            (start, bytes) = (position + 1, 0);
        }
    }
    parts
}

/// The cap on pixels, once every stack is known to fit.
fn pixel_cap(work: &Work<'_>) -> Result<u64, PreprocessError> {
    let cap = work.max_memory_bytes.saturating_sub(RESERVED_BYTES);
    let largest = work.selected.iter().map(|&index| source::memory_bytes(&work.cohort.stacks[index])).max();
    let largest = largest.unwrap_or(0);
    if largest > cap {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        return Err(PreprocessError::MemoryCap {
            needed_mib: mib(largest),
            cap_mib: cap >> 20,
            remedy_mib: mib(largest.saturating_add(RESERVED_BYTES)),
        });
    }
    Ok(cap)
}

/// Does all parts that are not done yet and gives the records of all. A part is written while the stacks of the next are prepared.
///
/// # Errors
/// [`PreprocessError::MemoryCap`], [`PreprocessError::Interrupted`], or a file operation that failed.
pub fn run(work: &Work<'_>, out: &OutDir, context: Context<'_>) -> Result<Vec<PartRecord>, PreprocessError> {
    let cap = pixel_cap(work)?;
    fsx::create_folder(&out.path(PARTS_FOLDER))?;
    context.observer.begin("preprocess", Some(work.selected.len() as u64));
    let mut records = BTreeMap::new();
    let mut unfinished = Vec::new();
    for (number, range) in divide(work).into_iter().enumerate() {
        // A folder that is new has no records to look for.
        let done = if out.resumed { finished(out, number, range.len()) } else { None };
        match done {
            Some(record) => {
                context.observer.advance(range.len() as u64);
                records.insert(number, record);
            }
            None => unfinished.extend(range.clone().map(|position| (number, position, position + 1 == range.end))),
        }
    }
    let index = |position: usize| work.selected[unfinished[position].1];
    let stack = |position: usize| &work.cohort.stacks[index(position)];
    let bytes: Vec<u64> = (0..unfinished.len()).map(|position| source::memory_bytes(stack(position))).collect();
    let mut part = Part::default();
    let prepare = |position| prepare(work, stack(position), context);
    memory::in_order(context.pool, (&bytes, cap), prepare, |position, outcome| {
        part.push(outcome?);
        let (number, _, is_last) = unfinished[position];
        if is_last {
            let part = std::mem::take(&mut part);
            records.insert(number, context.pool.install(|| part.write(number, work.plan, out))?);
        }
        Ok::<(), PreprocessError>(())
    })?;
    context.observer.end();
    Ok(records.into_values().collect())
}

/// Removes the records; what they say is in the tables by then.
///
/// # Errors
/// A file operation that failed.
pub fn forget(out: &OutDir) -> Result<(), PreprocessError> {
    Ok(fsx::remove_folder(&out.path(PARTS_FOLDER))?)
}

fn record_path(out: &OutDir, number: usize) -> PathBuf {
    out.path(PARTS_FOLDER).join(format!("{number:05}.json"))
}

/// The record of a part that an earlier run finished: its shard is there, whole and unchanged.
fn finished(out: &OutDir, number: usize, stacks: usize) -> Option<PartRecord> {
    let record: PartRecord = read_json(&record_path(out, number)).ok()?;
    let path = out.path(&record.shard.file);
    let whole = fsx::read(&path, 4 << 30).is_ok_and(|bytes| sha256_hex(&bytes) == record.shard.sha256);
    (whole && record.stacks.len() == stacks && record.shard.file == images::shard_name(number)).then_some(record)
}

/// A part whose shard is not written yet: the stacks that are prepared so far.
#[derive(Default)]
struct Part {
    rows: usize,
    pixels: Vec<f16>,
    stacks: Vec<StackRecord>,
}

type Outcome = Result<(QualityRow, PreparedStack), StackRejected>;

impl Part {
    fn push(&mut self, outcome: Outcome) {
        let record = match outcome {
            Ok((quality, prepared)) => {
                self.rows += prepared.samples.len();
                let record = |sample: &PreparedSample| SampleRecord {
                    slices: sample.slices.clone(),
                    phases: sample.phases.clone(),
                };
                let samples = prepared.samples.iter().map(record).collect();
                prepared.samples.iter().for_each(|sample| self.pixels.extend_from_slice(&sample.image));
                StackRecord::Prepared {
                    samples,
                    quality: Box::new(quality),
                    grey: prepared.grey,
                    frame_hashes: prepared.frame_hashes,
                }
            }
            Err(rejected) => StackRecord::rejected(&rejected),
        };
        self.stacks.push(record);
    }

    /// Writes the shard, then the record that says it is whole.
    fn write(self, number: usize, plan: &Plan, out: &OutDir) -> Result<PartRecord, PreprocessError> {
        let _written = tracing::trace_span!("shards").entered();
        let file = images::shard_name(number);
        let bytes = images::npy_bytes(plan.image_shape(), &self.pixels);
        drop(self.pixels);
        let (written, sha256) = rayon::join(|| images::write_shard(&out.path(&file), &bytes), || sha256_hex(&bytes));
        written?;
        let record = PartRecord { shard: ShardInfo { file, rows: self.rows, sha256 }, stacks: self.stacks };
        out.write_json(&relative(number), &record)?;
        Ok(record)
    }
}

/// Prepares one stack.
fn prepare(work: &Work<'_>, stack: &CohortStack, context: Context<'_>) -> Result<Outcome, PreprocessError> {
    if context.interrupt.is_set() {
        return Err(PreprocessError::Interrupted);
    }
    let prepared = prepare_stack(work.plan, stack, work.cohort.frames_of(stack), work.read);
    context.observer.advance(1);
    Ok(prepared.map(|prepared| (quality(stack, &prepared), prepared)))
}

fn relative(number: usize) -> String {
    Path::new(PARTS_FOLDER).join(format!("{number:05}.json")).to_string_lossy().into_owned()
}

fn quality(stack: &CohortStack, prepared: &PreparedStack) -> QualityRow {
    let findings = &prepared.findings;
    let index = |phase: usize| i32::try_from(phase).unwrap_or(i32::MAX);
    QualityRow {
        stack_id: stack.stack_id.clone(),
        subject_id: stack.subject_id.clone(),
        centre_row: findings.centre_pixel.map(|pixel| pixel.0),
        centre_column: findings.centre_pixel.map(|pixel| pixel.1),
        heart_confidence: findings.heart.map(|heart| heart.confidence),
        heart_lead: findings.heart.map(|heart| heart.lead),
        heart_motion_share: findings.heart.map(|heart| heart.motion_share),
        heart_by_motion: findings.heart.map(|heart| heart.by_motion),
        end_diastole: index(findings.phases.0),
        end_systole: index(findings.phases.1),
        outside_share: findings.outside_share,
        crop_margin_mm: findings.crop_margin_mm,
        slice_jump_mm: findings.checks.slice_jump_mm,
        phase_jump: findings.checks.phase_jump,
        contrast_to_noise: findings.checks.contrast_to_noise,
        cavity_change: findings.checks.cavity_change,
        axis_angle_deg: super::flags::axis_angle_deg(stack),
        flags: super::flags::flags(stack, findings),
    }
}
