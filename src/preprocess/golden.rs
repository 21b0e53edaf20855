//! A golden raw stack, and the hash of what a plan makes of it. The hash travels with dataset, run and model, so that anyone can check
//! that raw scans still become the images that a network was trained on.
//!
//! The stack is synthetic (no patient) and made of whole numbers, so that no mathematics library shows in it: a beating disc beside a
//! beating crescent, oblique, with other spacing along rows than along columns, each slice shifted in the plane against the last.

use std::path::Path;

use half::f16;
use ndarray::Array2;

use super::prepare::PreparedStack;
use super::rejected::StackRejected;
use super::source::{CohortFrame, CohortStack};
use crate::dataset::summary::sha256_hex;
use crate::formats::plan::Plan;

const SLICES: usize = 5;
const ROWS: usize = 96;
const COLUMNS: usize = 88;
/// How far the disc has shrunk at each phase, half pixels.
const BEAT: [i64; 10] = [0, 2, 5, 8, 9, 8, 6, 4, 2, 1];

fn pixels(slice: usize, phase: usize) -> Array2<f32> {
    let beat = BEAT[phase];
    let radius = 17 - beat / 2 - slice as i64;
    Array2::from_shape_fn((ROWS, COLUMNS), |(row, column)| {
        let (down, right) = (row as i64 - 46, column as i64 - 48);
        let left = down * down + right * right;
        let crescent = down * down + (right + 14) * (right + 14);
        let grain = (row as i64 * 31 + column as i64 * 17 + phase as i64 * 7) % 11;
        let tissue = match () {
            () if left < radius * radius => 220,
            () if left < 23 * 23 => 70,
            () if crescent < (26 - beat / 2) * (26 - beat / 2) => 200,
            () if row < 12 => 5,
            () => 110,
        };
        (tissue + grain) as f32
    })
}

/// The stack's row of the cohort.
pub fn stack() -> CohortStack {
    CohortStack {
        stack_id: "golden".into(),
        view: "sax".into(),
        kind: "cine".into(),
        rows: ROWS,
        columns: COLUMNS,
        slices: SLICES,
        phases: BEAT.len(),
        phases_expected: BEAT.len(),
        axes: Some(([0.0, 0.6, 0.8], [1.0, 0.0, 0.0])),
        spacing_mm: Some((1.9, 1.6)),
        ..CohortStack::default()
    }
}

/// Prepares the stack by a plan, as [`super::prepare_stack`] prepares every other.
///
/// # Errors
/// [`StackRejected`]: not every plan can be used on it.
pub fn prepare(plan: &Plan) -> Result<PreparedStack, StackRejected> {
    let frame = |index: usize| {
        let (slice, phase) = (index / BEAT.len(), index % BEAT.len());
        let along = slice as f64;
        CohortFrame {
            slice,
            phase,
            path: slice.to_string().into(),
            frame: i32::try_from(phase).unwrap_or(i32::MAX),
            // Along the normal (0, 0.8, -0.6), and along the rows.
            position_mm: Some([0.0, 8.0 * along + 0.6 * along, -6.0 * along + 0.8 * along]),
        }
    };
    let frames: Vec<CohortFrame> = (0..SLICES * BEAT.len()).map(frame).collect();
    let read = |path: &Path, wanted: &[i32]| {
        let slice: usize = path.to_string_lossy().parse()?;
        let one = |&phase: &i32| Ok(vec![pixels(slice, usize::try_from(phase)?)]);
        wanted.iter().map(one).collect()
    };
    super::prepare_stack(plan, &stack(), &frames, &read)
}

/// Lower-case hex SHA-256 of the samples' images in order, float16, little endian; `None` where the plan cannot be used on the stack.
pub fn tensor_sha256(plan: &Plan) -> Option<String> {
    let prepared = prepare(plan).ok()?;
    let values = prepared.samples.iter().flat_map(|sample| &sample.image);
    Some(sha256_hex(&values.copied().flat_map(f16::to_le_bytes).collect::<Vec<u8>>()))
}
