//! From the records of all parts to the rows of the dataset: samples with their splits, exclusions, quality; shared pixels are found.

use std::collections::{BTreeMap, BTreeSet};

use super::Cohort;
use super::error::PreprocessError;
use super::parts::{PartRecord, StackRecord};
use super::report::features::GreyFeatures;
use super::source::CohortStack;
use crate::dataset::splits::Place;
use crate::formats::dataset::{ExclusionRow, SampleRow};
use crate::formats::quality::QualityRow;
use crate::outdir::fingerprint;

/// The rows of a dataset, sorted by subject, stack, slice and phase.
#[derive(Debug, Default)]
pub struct Rows {
    /// `samples.parquet`.
    pub samples: Vec<SampleRow>,
    /// `exclusions.parquet`.
    pub exclusions: Vec<ExclusionRow>,
    /// `quality.parquet`.
    pub quality: Vec<QualityRow>,
    /// Grey values of the stacks of `quality`, in its order.
    pub grey: Vec<GreyFeatures>,
}

/// 26 characters of base32: the first 128 bits of the SHA-256 of stack, slices and phases.
fn sample_id(stack_id: &str, slices: &[i32], phases: &[i32]) -> String {
    let text = |list: &[i32]| list.iter().map(i32::to_string).collect::<Vec<_>>().join(" ");
    let hash =
        fingerprint([b"sample".as_slice(), stack_id.as_bytes(), text(slices).as_bytes(), text(phases).as_bytes()]);
    let bytes = data_encoding::HEXLOWER.decode(hash.as_bytes()).expect("a fingerprint is lower-case hex");
    data_encoding::BASE32_NOPAD.encode(&bytes[..16]).to_ascii_lowercase()
}

fn exclusion(stack: &CohortStack, record: &StackRecord) -> Option<ExclusionRow> {
    match record {
        StackRecord::Prepared { .. } => None,
        StackRecord::Rejected { stage, reason, message } => Some(ExclusionRow {
            stack_id: stack.stack_id.clone(),
            subject_id: stack.subject_id.clone(),
            stage: stage.clone(),
            reason: reason.clone(),
            message: message.clone(),
        }),
    }
}

/// The rows. `selected` are the indices of the stacks in the parts' order; `unselected` those left out before, with why.
pub fn assemble(
    cohort: &Cohort,
    selected: &[usize],
    unselected: &BTreeMap<usize, StackRecord>,
    parts: &[PartRecord],
    places: &BTreeMap<String, Place>,
) -> Rows {
    let mut rows = Rows::default();
    let mut prepared: Vec<(QualityRow, GreyFeatures)> = Vec::new();
    let mut indices = selected.iter();
    for (shard, part) in parts.iter().enumerate() {
        let mut row = 0_i32;
        for (record, &index) in part.stacks.iter().zip(&mut indices) {
            let stack = &cohort.stacks[index];
            rows.exclusions.extend(exclusion(stack, record));
            let StackRecord::Prepared { samples, quality, grey, .. } = record else { continue };
            prepared.push(((**quality).clone(), grey.clone()));
            let place = places[&stack.subject_id];
            for sample in samples {
                rows.samples.push(SampleRow {
                    sample_id: sample_id(&stack.stack_id, &sample.slices, &sample.phases),
                    subject_id: stack.subject_id.clone(),
                    stack_id: stack.stack_id.clone(),
                    slices: sample.slices.clone(),
                    phases: sample.phases.clone(),
                    label: stack.label.clone().unwrap_or_default(),
                    acquisition_group: stack.acquisition_group.clone(),
                    group: stack.group.clone(),
                    site: stack.site.clone(),
                    vendor: stack.vendor.clone(),
                    model: stack.model.clone(),
                    field_strength_t: stack.field_strength_t,
                    sex: stack.sex.clone(),
                    age_years: stack.age_years,
                    split: place.split,
                    fold: place.fold,
                    shard: i32::try_from(shard).unwrap_or(i32::MAX),
                    row,
                });
                row += 1;
            }
        }
    }
    rows.exclusions.extend(unselected.iter().filter_map(|(&index, record)| exclusion(&cohort.stacks[index], record)));
    rows.samples.sort_by(|a, b| {
        (&a.subject_id, &a.stack_id, &a.slices, &a.phases).cmp(&(&b.subject_id, &b.stack_id, &b.slices, &b.phases))
    });
    rows.exclusions.sort_by(|a, b| (&a.subject_id, &a.stack_id).cmp(&(&b.subject_id, &b.stack_id)));
    prepared.sort_by(|(a, _), (b, _)| (&a.subject_id, &a.stack_id).cmp(&(&b.subject_id, &b.stack_id)));
    (rows.quality, rows.grey) = prepared.into_iter().unzip();
    rows
}

/// Subjects with stacks that gave samples.
pub fn surviving_subjects(rows: &Rows) -> BTreeSet<&str> {
    rows.samples.iter().map(|row| row.subject_id.as_str()).collect()
}

/// Pairs of subjects that share pixels, with a stack of each.
fn shared_pixels<'a>(
    cohort: &'a Cohort,
    selected: &[usize],
    parts: &[PartRecord],
) -> BTreeMap<(&'a str, &'a str), (&'a str, &'a str)> {
    let mut first_seen: BTreeMap<String, &CohortStack> = BTreeMap::new();
    let mut pairs = BTreeMap::new();
    let records = parts.iter().flat_map(|part| &part.stacks);
    for (record, &index) in records.zip(selected) {
        let StackRecord::Prepared { frame_hashes, .. } = record else { continue };
        let stack = &cohort.stacks[index];
        for hash in frame_hashes {
            let seen = first_seen.entry(hash.clone()).or_insert(stack);
            if seen.subject_id != stack.subject_id {
                let subjects = (seen.subject_id.as_str(), stack.subject_id.as_str());
                pairs.entry(subjects).or_insert((seen.stack_id.as_str(), stack.stack_id.as_str()));
            }
        }
    }
    pairs
}

/// Refuses, or with `allowed` warns of, the same pixels under two subjects of different splits; in one split it is a warning.
///
/// # Errors
/// [`PreprocessError::Leakage`].
pub fn check_leakage(
    cohort: &Cohort,
    selected: &[usize],
    parts: &[PartRecord],
    places: &BTreeMap<String, Place>,
    allowed: bool,
) -> Result<(), PreprocessError> {
    let pairs = shared_pixels(cohort, selected, parts);
    let apart = |subjects: &(&str, &str)| places[subjects.0] != places[subjects.1];
    for (first, second) in pairs.keys() {
        tracing::warn!(first, second, "two subjects hold the same pixels; is it one patient under two ids?");
    }
    let mut leaks = pairs.iter().filter(|(subjects, _)| apart(subjects));
    match leaks.next() {
        Some((subjects, stacks)) if !allowed => Err(PreprocessError::Leakage {
            first: subjects.0.to_owned(),
            second: subjects.1.to_owned(),
            first_stack: stacks.0.to_owned(),
            second_stack: stacks.1.to_owned(),
            others: leaks.count(),
        }),
        _ => Ok(()),
    }
}
