//! Gaussian blurring of reduced images: what motion, circles and hills share. Sigmas are in pixels, (rows, columns).

use ndarray::{Array2, Zip};

use super::resample::gaussian;

/// Separable Gaussian with zero outside.
pub fn smooth(map: &Array2<f32>, sigma: (f64, f64)) -> Array2<f32> {
    along_rows(&along_rows(map, sigma.1), sigma.0)
}

/// The mean around each pixel by a Gaussian; what lies outside the image does not count.
pub fn local_mean(map: &Array2<f32>, sigma: (f64, f64)) -> Array2<f32> {
    let mut sum = smooth(map, sigma);
    // The weights inside are a product of one factor per row and one per column.
    let inside = |length: usize, sigma: f64| along_rows(&Array2::ones((1, length)), sigma);
    let (rows, columns) = (inside(map.nrows(), sigma.0), inside(map.ncols(), sigma.1));
    for ((row, column), value) in sum.indexed_iter_mut() {
        *value /= rows[(row, 0)] * columns[(column, 0)];
    }
    sum
}

/// Differences per pixel, (down, right); 0 at the edges.
pub fn gradient(map: &Array2<f32>) -> (Array2<f32>, Array2<f32>) {
    let (mut down, mut right) = (Array2::zeros(map.dim()), Array2::zeros(map.dim()));
    let between = |a: usize, b: usize| ndarray::Slice::from(a..b.max(a));
    for (axis, target) in [(ndarray::Axis(0), &mut down), (ndarray::Axis(1), &mut right)] {
        let length = map.len_of(axis);
        if length < 3 {
            continue;
        }
        Zip::from(target.slice_axis_mut(axis, between(1, length - 1)))
            .and(map.slice_axis(axis, between(2, length)))
            .and(map.slice_axis(axis, between(0, length - 2)))
            .for_each(|target: &mut f32, &after, &before| *target = 0.5 * (after - before));
    }
    (down, right)
}

/// Blurs along rows and transposes: applied twice, both axes are done and the image is upright again.
fn along_rows(map: &Array2<f32>, sigma: f64) -> Array2<f32> {
    let (rows, columns) = map.dim();
    // Wider than this is flat; a lying pixel spacing must not make a kernel of any length.
    let sigma = sigma.min(4.0 * columns as f64);
    let weights: Vec<f32> = gaussian(sigma).into_iter().map(|weight| weight as f32).collect();
    let radius = weights.len() / 2;
    Array2::from_shape_fn((columns, rows), |(column, row)| {
        let low = column.saturating_sub(radius);
        let high = (column + radius + 1).min(columns);
        (low..high).map(|other| weights[other + radius - column] * map[(row, other)]).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_mean_of_an_even_image_is_even_up_to_the_edges() {
        let mean = local_mean(&Array2::from_elem((9, 14), 7.0), (2.0, 3.5));
        assert!(mean.iter().all(|value| (value - 7.0).abs() < 1e-4));
    }

    #[test]
    fn a_blurred_point_keeps_its_mass_and_place() {
        let mut point = Array2::zeros((31, 41));
        point[(12, 20)] = 5.0;
        let blurred = smooth(&point, (2.0, 3.0));
        assert!((blurred.sum() - 5.0).abs() < 1e-3);
        let highest = blurred.indexed_iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        assert_eq!(highest, (12, 20));
    }

    #[test]
    fn the_gradient_of_a_ramp_is_its_slope() {
        let ramp = Array2::from_shape_fn((6, 7), |(row, column)| 2.0 * row as f32 - 3.0 * column as f32);
        let (down, right) = gradient(&ramp);
        assert_eq!((down[(2, 3)], right[(2, 3)], down[(0, 3)], right[(2, 0)]), (2.0, -3.0, 0.0, 0.0));
        assert_eq!(gradient(&Array2::zeros((1, 2))).0.dim(), (1, 2));
    }
}
