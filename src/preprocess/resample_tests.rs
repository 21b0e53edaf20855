//! Tests of resampling: SimpleITK's numbers, and what holds for every grid.

use ndarray::array;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

fn wave(rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(r, c)| ((r * 7 + c * 3) % 11) as f32 + 0.25 * r as f32)
}

#[test]
fn linear_between_pixels_is_the_hand_calculated_mean() {
    let image = array![[0.0, 4.0], [8.0, 12.0]];
    let axis = GridAxis { start: 0.5, step: 1.0, count: 1 };
    let resampler = Resampler::new((2, 2), axis, axis, Kernel::Linear);
    assert_eq!(resampler.apply(image.view()), array![[6.0]]);
}

#[test]
fn outside_the_image_is_not_a_number() {
    let axis = GridAxis { start: -1.0, step: 1.0, count: 4 };
    let output = Resampler::new((2, 2), axis, axis, Kernel::Linear).apply(array![[1.0, 2.0], [3.0, 4.0]].view());
    let known: Vec<_> = output.iter().map(|value| value.is_finite()).collect();
    let row = [false, true, true, false];
    assert_eq!(known, [[false; 4], row, row, [false; 4]].concat());
}

#[test]
fn a_b_spline_goes_through_the_pixels() {
    for size in [(2, 3), (7, 5), (70, 90)] {
        let image = wave(size.0, size.1);
        let rows = GridAxis { start: 0.0, step: 1.0, count: size.0 };
        let columns = GridAxis { start: 0.0, step: 1.0, count: size.1 };
        let output = Resampler::new(size, rows, columns, Kernel::CubicBSpline).apply(image.view());
        let worst = output.iter().zip(&image).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 2e-5, "{size:?}: {worst}");
    }
}

/// What tests/python/resample_reference.py writes.
#[derive(Deserialize)]
struct Reference {
    kernel: Kernel,
    /// Row spacing, column spacing, target spacing.
    mm: [f64; 3],
    size: [usize; 2],
    every_17th: Vec<f64>,
}

/// The random picture of tests/python/resample_reference.py.
fn random_picture(rows: usize, columns: usize) -> Array2<f32> {
    let mut state = 12345_u64;
    Array2::from_shape_simple_fn((rows, columns), || {
        state = (state * 1_103_515_245 + 12345) % (1 << 31);
        (state >> 16 & 1023) as f32
    })
}

#[test]
fn shrunk_and_grown_images_equal_simpleitks() {
    let references: Vec<Reference> =
        serde_json::from_str(include_str!("../../tests/python/resample_reference.json")).unwrap();
    assert_eq!(references.len(), 8);
    let image = random_picture(23, 31);
    for Reference { kernel, mm, size, every_17th } in references {
        // As prepare makes its grids: centred on the middle of the field of view.
        let axis = |pixels: usize, spacing: f64, count: usize| {
            GridAxis::centred(pixels as f64 / 2.0 - 0.5, mm[2] / spacing, count)
        };
        let resampler = Resampler::new((23, 31), axis(23, mm[0], size[0]), axis(31, mm[1], size[1]), kernel);
        let output = resampler.apply(image.view());
        let found: Vec<f64> = output.iter().step_by(17).map(|&value| f64::from(value)).collect();
        assert_eq!(found.len(), every_17th.len());
        let worst = found.iter().zip(&every_17th).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // The design asks for 1e-4 of the range, which is 1023; float32 weights and values give some 1e-6 of it.
        assert!(worst < 1e-4 * 1023.0, "{kernel:?} {mm:?}: {worst}");
    }
}

proptest! {
    #[test]
    fn a_constant_image_stays_constant(
        (rows, columns) in (1_usize..40, 1_usize..40),
        step in 0.2_f64..6.0,
        start in -3.0_f64..3.0,
        cubic in any::<bool>(),
    ) {
        let kernel = if cubic { Kernel::CubicBSpline } else { Kernel::Linear };
        let axis = GridAxis { start, step, count: 9 };
        let output = Resampler::new((rows, columns), axis, axis, kernel)
            .apply(Array2::from_elem((rows, columns), 3.5).view());
        for value in output {
            prop_assert!(value.is_nan() || (value - 3.5).abs() < 1e-5, "{}", value);
        }
    }

    #[test]
    fn the_whole_extent_is_covered_whatever_the_sizes(source in 1_usize..300, count in 1_usize..300) {
        let axis = GridAxis::whole(source, count);
        let end = axis.start + axis.step * (count as f64 - 1.0);
        prop_assert!((axis.start - axis.step / 2.0 + 0.5).abs() < 1e-9);
        prop_assert!((end + axis.step / 2.0 - (source as f64 - 0.5)).abs() < 1e-6);
        let resampler = Resampler::new((source, 1), axis, GridAxis::whole(1, 1), Kernel::Linear);
        prop_assert!(resampler.apply(Array2::from_elem((source, 1), 1.0).view()).iter().all(|v| v.is_finite()));
    }

    #[test]
    fn a_linear_ramp_is_reproduced_at_its_own_places(start in 4.0_f64..6.0, step in 0.3_f64..1.0) {
        let image = Array2::from_shape_fn((20, 20), |(r, c)| (2 * r) as f32 + c as f32);
        let axis = GridAxis { start, step, count: 8 };
        for kernel in [Kernel::Linear, Kernel::CubicBSpline] {
            let output = Resampler::new((20, 20), axis, axis, kernel).apply(image.view());
            for ((r, c), value) in output.indexed_iter() {
                let place = |index: usize| start + step * index as f64;
                let wanted = 2.0 * place(r) + place(c);
                // The B-spline's mirrored ends bend the ramp near the border by the pole's power of the distance.
                prop_assert!((f64::from(*value) - wanted).abs() < 2e-2, "{} {}", value, wanted);
            }
        }
    }

    #[test]
    fn the_crop_has_the_extent_that_was_asked_for_around_its_centre(
        source in 2_usize..200, spacing in 0.3_f64..4.0, target in 0.3_f64..4.0, count in 1_usize..200,
        middle in 0.0_f64..1.0,
    ) {
        // Pixels are as wide as their distance: borders lie half a target pixel beyond the outermost centres.
        let centre = middle * (source as f64 - 1.0);
        let axis = GridAxis::centred(centre, target / spacing, count);
        let first_mm = (axis.start - axis.step / 2.0) * spacing;
        let last_mm = (axis.start + axis.step * (count as f64 - 0.5)) * spacing;
        prop_assert!((last_mm - first_mm - target * count as f64).abs() < 1e-6);
        prop_assert!(((last_mm + first_mm) / 2.0 - centre * spacing).abs() < 1e-6);
        // What is known of the result is what lies inside the image, to half a pixel.
        for kernel in [Kernel::Linear, Kernel::CubicBSpline] {
            let one = GridAxis::whole(1, 1);
            let output = Resampler::new((source, 1), axis, one, kernel).apply(Array2::ones((source, 1)).view());
            for (index, value) in output.iter().enumerate() {
                let position = axis.start + axis.step * index as f64;
                let inside = position > -0.5 + 1e-5 && position < source as f64 - 0.5 - 1e-5;
                let outside = position < -0.5 - 1e-5 || position > source as f64 - 0.5 + 1e-5;
                prop_assert!(!inside || value.is_finite(), "{} {}", position, value);
                prop_assert!(!outside || value.is_nan(), "{} {}", position, value);
            }
        }
    }

    #[test]
    fn shrinking_keeps_a_ramp_a_ramp_inside(step in 1.0_f64..4.0) {
        let image = Array2::from_shape_fn((80, 80), |(r, c)| 3.0 * r as f32 - c as f32);
        // Far enough from the border that neither the mirrored ends nor the Gaussian (4 sigma = 6 pixels) reach it.
        let axis = GridAxis::centred(39.5, step, 9);
        for kernel in [Kernel::Linear, Kernel::CubicBSpline] {
            let output = Resampler::new((80, 80), axis, axis, kernel).apply(image.view());
            for ((r, c), value) in output.indexed_iter() {
                let place = |index: usize| axis.start + step * index as f64;
                prop_assert!((f64::from(*value) - 3.0 * place(r) + place(c)).abs() < 1e-3);
            }
        }
    }
}
