//! A golden raw stack and the hash of the tensor that it becomes: training data and `predict` both go through [`prepare_stack`],
//! so a changed hash means that models in use would see other images. Change it only with a reason, and say so in the commit.

use std::path::Path;

use half::f16;
use ndarray::Array2;

use super::source::{CohortFrame, CohortStack};
use super::{decide, prepare_stack};
use crate::dataset::summary::sha256_hex;
use crate::settings::preprocess::PreprocessSettings;

/// Of the golden stack's samples in order, float16, little endian; as this program made it on x86-64. There is no independent
/// source for it: the steps are tested one by one, this holds them together.
const GOLDEN_SHA256: &str = "b83fa37e931759fe7b7d5205e305918b667757ef75960fd173aa1e95794f014e";

/// A beating disc beside a beating crescent as whole numbers, 5 slices of 10 phases, 96 x 88 pixels.
fn golden(slice: usize, phase: usize) -> Array2<f32> {
    let beat = [0, 2, 5, 8, 9, 8, 6, 4, 2, 1][phase];
    let radius = 17 - beat / 2 - slice as i64;
    Array2::from_shape_fn((96, 88), |(row, column)| {
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

#[test]
fn a_golden_stack_becomes_the_same_tensor_as_ever() {
    let stack = CohortStack {
        view: "sax".into(),
        kind: "cine".into(),
        rows: 96,
        columns: 88,
        slices: 5,
        phases: 10,
        phases_expected: 10,
        axes: Some(([0.0, 0.6, 0.8], [1.0, 0.0, 0.0])),
        spacing_mm: Some((1.9, 1.9)),
        ..CohortStack::default()
    };
    let place = |index: usize| (index / 10, index % 10);
    let frame = |index: usize| CohortFrame {
        slice: place(index).0,
        phase: place(index).1,
        path: format!("{}", place(index).0).into(),
        frame: i32::try_from(place(index).1).unwrap(),
        position_mm: Some([0.0, 8.0 * place(index).0 as f64, -6.0 * place(index).0 as f64]),
    };
    let frames: Vec<CohortFrame> = (0..50).map(frame).collect();
    let read = |path: &Path, wanted: &[i32]| {
        let slice: usize = path.to_str().unwrap().parse()?;
        Ok(wanted.iter().map(|&phase| vec![golden(slice, usize::try_from(phase).unwrap())]).collect())
    };
    let plan = decide::decide(&PreprocessSettings::default(), &[&stack], 1);
    let prepared = prepare_stack(&plan, &stack, &frames, &read).unwrap();
    assert_eq!((prepared.samples.len(), prepared.findings.phases), (3, (0, 4)));
    let values = prepared.samples.iter().flat_map(|sample| &sample.image);
    let bytes: Vec<u8> = values.copied().flat_map(f16::to_le_bytes).collect();
    assert_eq!(sha256_hex(&bytes), GOLDEN_SHA256);
}
