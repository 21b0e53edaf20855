//! Tests of preparing a stack: properties that hold for any scanner.

use super::*;
use crate::formats::plan::*;
use crate::preprocess::orient::{cross, dot};

/// The plan of these tests: a pair at 2 mm on 40 x 40 pixels.
pub fn plan(sample: SampleKind) -> Plan {
    Plan {
        schema: PLAN_SCHEMA.into(),
        selection: Selection { views: vec!["sax".into()], kinds: vec!["cine".into()], slice_range: [0.0, 1.0] },
        sample,
        cardiac_phases: CardiacPhases::AreaCurve,
        geometry: PlanGeometry::Mm {
            pixel_spacing_mm: 2.0,
            slice_spacing_mm: None,
            height: 40,
            width: 40,
            kernel: Kernel::Linear,
            centre: Centre::Heart,
        },
        intensity: IntensityPlan {
            bias_correction: false,
            standard_landmarks: None,
            clip_percentiles: Some([1.0, 99.0]),
            normalisation: Normalisation::ZScore,
            scope: Scope::Stack,
        },
        frame_channels: 1,
    }
}

const ROW: [f64; 3] = [0.8, 0.6, 0.0];
const COLUMN: [f64; 3] = [0.0, 0.0, -1.0];

/// A beating bright ring in a patient, imaged by a scanner that flips or transposes; 12 phases, end-systole at phase 4.
fn scan(scanner: Orientation, gain: f32, slices: usize) -> StackImages {
    let spacing = 1.5;
    let frame = |slice: usize, phase: usize| {
        let radius =
            22.0 - 0.5 * slice as f64 + 6.0 * libm::cos(std::f64::consts::TAU * (phase as f64 / 12.0).powf(0.63));
        let image = Array2::from_shape_fn((100, 120), |(row, column)| {
            let (down, right) = (row as f64 * spacing - 66.0, column as f64 * spacing - 99.0);
            let blood = 150.0 / (1.0 + libm::exp((down.hypot(right) - radius) / 1.5));
            gain * (blood + 30.0 + 0.2 * (down - right)) as f32
        });
        vec![scanner.turn(image.view())]
    };
    let normal = cross(ROW, COLUMN);
    let (row, column) = scanner.turn_vectors(ROW, COLUMN);
    // A scanner that mirrors lists its slices the other way: they always ascend along its own normal.
    let along = dot(cross(row, column), normal);
    let first = {
        let (mut right, mut down) = (0.0, 0.0);
        let (flip_down, flip_right) = if scanner.transpose {
            (scanner.flip_columns, scanner.flip_rows)
        } else {
            (scanner.flip_rows, scanner.flip_columns)
        };
        if flip_right {
            right = 119.0 * spacing;
        }
        if flip_down {
            down = 99.0 * spacing;
        }
        std::array::from_fn::<f64, 3, _>(|axis| right * ROW[axis] + down * COLUMN[axis])
    };
    let numbers: Vec<usize> = if along > 0.0 { (0..slices).collect() } else { (0..slices).rev().collect() };
    StackImages {
        frames: numbers.iter().map(|&slice| (0..12).map(|phase| frame(slice, phase)).collect()).collect(),
        spacing_mm: Some((spacing, spacing)),
        axes: Some((row, column)),
        positions_mm: numbers
            .iter()
            .map(|&slice| std::array::from_fn(|axis| first[axis] + 10.0 * slice as f64 * normal[axis]))
            .collect(),
        known_phases: None,
    }
}

#[test]
fn a_pair_shows_the_large_and_the_small_cavity_centred_on_the_heart() {
    let prepared = prepare_images(&plan(SampleKind::Pair), scan(Orientation::default(), 1.0, 3)).unwrap();
    assert_eq!(prepared.samples.len(), 3);
    let heart = prepared.findings.heart.unwrap();
    let centre = prepared.findings.centre_pixel.unwrap();
    // Half of the usual 16 mm to the left of the ring, at 1.5 mm a pixel.
    assert!((centre.0 - 44.0).hypot(centre.1 - (66.0 - 8.0 / 1.5)) < 1.5, "{centre:?} {heart:?}");
    let bright = |channel: &[f16]| channel.iter().filter(|value| value.to_f32() > 0.5).count();
    let image = &prepared.samples[0].image;
    assert_eq!(image.len(), 2 * 40 * 40);
    assert!(bright(&image[..1600]) > 2 * bright(&image[1600..]), "{:?}", prepared.findings);
}

#[test]
fn a_flipped_transposed_and_louder_scanner_gives_the_same_samples() {
    let wanted = prepare_images(&plan(SampleKind::Pair), scan(Orientation::default(), 1.0, 3)).unwrap();
    for scanner in Orientation::all() {
        let mut found = prepare_images(&plan(SampleKind::Pair), scan(scanner, 37.0, 3)).unwrap();
        let (row, column) = scanner.turn_vectors(ROW, COLUMN);
        if dot(cross(row, column), cross(ROW, COLUMN)) < 0.0 {
            // It counts its slices from the other end.
            found.samples.reverse();
        }
        assert_eq!(found.samples.len(), wanted.samples.len());
        for (found, wanted) in found.samples.iter().zip(&wanted.samples) {
            assert_eq!(found.phases, wanted.phases);
            let worst = found.image.iter().zip(&wanted.image).map(|(a, b)| (a.to_f32() - b.to_f32()).abs());
            // Float16 keeps 11 bits of values up to about 3; the mean shift sums in another order.
            assert!(worst.fold(0.0, f32::max) < 0.02, "{scanner:?}");
        }
    }
}

#[test]
fn every_sample_kind_gives_the_plans_shape() {
    let kinds = [
        (SampleKind::Single { phase: PhaseChoice::Both }, 6),
        (SampleKind::Pair, 3),
        (SampleKind::Cycle { phases: 5 }, 3),
        (SampleKind::Slab { slices: 3, phase: PhaseChoice::Both }, 3),
    ];
    for (kind, count) in kinds {
        let plan = plan(kind);
        let (channels, height, width) = plan.image_shape();
        let prepared = prepare_images(&plan, scan(Orientation::default(), 1.0, 3)).unwrap();
        assert_eq!(prepared.samples.len(), count, "{kind:?}");
        assert!(prepared.samples.iter().all(|sample| sample.image.len() == channels * height * width), "{kind:?}");
    }
}

#[test]
fn a_stack_scope_is_standardised_over_all_its_frames() {
    let prepared = prepare_images(&plan(SampleKind::Pair), scan(Orientation::default(), 1.0, 3)).unwrap();
    let all: Vec<f64> = prepared.samples.iter().flat_map(|s| s.image.iter().map(|v| f64::from(v.to_f32()))).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let variance = all.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / all.len() as f64;
    assert!(mean.abs() < 1e-3 && (variance - 1.0).abs() < 2e-3, "{mean} {variance}");
}

#[test]
fn images_without_spacing_are_resized_whole_and_rgb_ends_in_0_to_1() {
    let mut plan = plan(SampleKind::Single { phase: PhaseChoice::All });
    plan.geometry = PlanGeometry::None { height: 8, width: 10, kernel: Kernel::Linear };
    plan.frame_channels = 3;
    plan.intensity.normalisation = Normalisation::Unit;
    let channel = |value: f32| Array2::from_elem((16, 20), value);
    let stack = StackImages {
        frames: vec![vec![vec![channel(0.0), channel(51.0), channel(255.0)]]],
        spacing_mm: None,
        axes: None,
        positions_mm: Vec::new(),
        known_phases: None,
    };
    let image = &prepare_images(&plan, stack.clone()).unwrap().samples[0].image;
    for (values, wanted) in image.chunks_exact(80).zip([0.0, 0.2, 1.0]) {
        assert!(values.iter().all(|value| (value.to_f32() - wanted).abs() < 1e-3));
    }
    plan.geometry = super::tests::plan(SampleKind::Pair).geometry;
    assert_eq!(prepare_images(&plan, stack).unwrap_err(), StackRejected::NoSpacing);
}

#[test]
fn broken_stacks_are_rejected_by_name() {
    let stack = || scan(Orientation::default(), 1.0, 2);
    let rejected = |stack, plan: &Plan| prepare_images(plan, stack).unwrap_err().reason();
    let pair = plan(SampleKind::Pair);
    let mut short = stack();
    short.frames[1].pop();
    assert_eq!(rejected(short, &pair), "incomplete-grid");
    let mut other = stack();
    other.frames[1][3][0] = Array2::zeros((5, 5));
    assert_eq!(rejected(other, &pair), "frame-size");
    let mut single = stack();
    single.frames.iter_mut().for_each(|phases| phases.truncate(1));
    assert_eq!(rejected(single, &pair), "too-few-phases");
    let mut nan = stack();
    nan.frames[0][0][0].fill(f32::NAN);
    assert_eq!(rejected(nan, &pair), "not-finite");
    let mut constant = stack();
    constant.frames.iter_mut().flatten().flatten().for_each(|frame| frame.fill(3.0));
    assert_eq!(rejected(constant, &pair), "constant");
    let mut outside = plan(SampleKind::Pair);
    outside.cardiac_phases = CardiacPhases::Fixed { end_diastole: 0, end_systole: 12 };
    assert_eq!(rejected(stack(), &outside), "phase-outside");
    let mut empty = stack();
    empty.frames.clear();
    assert_eq!(rejected(empty, &pair), "no-frames");
}
