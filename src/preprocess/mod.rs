//! From COHORT to DATASET: comparable images of the heart, split by subject.
//!
//! ```text
//! decide    the plan: every value once, from settings and cohort          plan.json
//! source    a stack's frames -> pixels
//! landmarks where asked for: a first pass over training stacks fits the standard histogram
//! prepare   orient -> bias -> find the heart (motion, circle, localise) -> end-diastole, end-systole -> crop and resample
//!           -> grey values -> float16
//! parts     stacks in parallel under a memory cap, a shard at a time, resumable
//! rows      samples with splits, exclusions, quality
//! golden    the hash of what the plan makes of a synthetic stack       dataset.json
//! sheets    a page of pictures per site                               sheets/
//! report    how well the scanner still shows in the grey values       report.html, report.json
//! ```
//!
//! [`prepare_stack`] is the one implementation behind training data and `predict`. Nothing here depends on the number of threads,
//! the order of work or the memory cap: sums run in fixed order, transcendental functions are `libm`'s.

pub mod bias;
pub mod blur;
pub mod checks;
pub mod circle;
pub mod coarse;
pub mod cohort;
pub mod decide;
pub mod error;
pub mod flags;
pub mod golden;
pub mod intensity;
pub mod landmarks;
pub mod localise;
pub mod memory;
pub mod motion;
pub mod orient;
pub mod parts;
pub mod phases;
pub mod prepare;
pub mod rejected;
pub mod report;
pub mod resample;
pub mod rows;
pub mod run;
pub mod samples;
pub mod sharpen;
pub mod sheets;
pub mod source;
pub mod split_file;
pub mod turn;

pub use cohort::Cohort;
pub use error::PreprocessError;
pub use prepare::{PreparedSample, PreparedStack};
pub use rejected::StackRejected;
pub use run::{GENERATION, PreprocessSummary, preprocess, preprocess_with};
pub use source::{CohortFrame, CohortStack, ReadFrames};

use crate::formats::plan::Plan;

/// Reads and prepares one stack by the plan: what training data and `predict` are made with.
///
/// # Errors
/// [`StackRejected`] with the first reason; files and their reasons go to stderr.
pub fn prepare_stack(
    plan: &Plan,
    stack: &CohortStack,
    frames: &[CohortFrame],
    read: &ReadFrames<'_>,
) -> Result<PreparedStack, StackRejected> {
    prepare::prepare_images(plan, read_images(plan, stack, frames, read)?)
}

/// Reads one stack with what the plan takes from the cohort's columns.
fn read_images(
    plan: &Plan,
    stack: &CohortStack,
    frames: &[CohortFrame],
    read: &ReadFrames<'_>,
) -> Result<prepare::StackImages, StackRejected> {
    let _decoded = tracing::trace_span!("decode").entered();
    let mut images = source::read_stack(stack, frames, read)?;
    images.known_phases = source::known_phases(&plan.cardiac_phases, stack);
    Ok(images)
}

#[cfg(test)]
mod golden_tests;
