//! Resampling of 2-D images on axis-parallel grids: linear or interpolating cubic B-spline, smoothed first where the grid is coarser
//! than the image. Coordinates are source pixels, 0 = centre of the first. No intensity change, no I/O.
//!
//! Both kernels equal SimpleITK's `sitkLinear` and `sitkBSpline` to the image's border. (Its Lanczos kernel is left out: its weights do
//! not add up to one, so that constant images come out uneven by 0.25 %.) Smoothing is a Gaussian of
//! sigma = (factor - 1) / 2 source pixels, cut at 4 sigma, with ends mirrored about the border pixel (scipy's `mirror`), so that
//! smoothing, B-spline prefilter and interpolation commute and become one set of weights per output row and column.

use ndarray::{Array2, ArrayView2, Axis};

use crate::formats::plan::Kernel;

/// Pole of the cubic B-spline's prefilter, sqrt(3) - 2 (Unser 1999, table 1).
const CUBIC_POLE: f64 = -0.267_949_192_431_122_7;

/// Target positions along one axis: `start + step * index` for `count` indices, source pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GridAxis {
    /// First position.
    pub start: f64,
    /// Distance of positions, > 0.
    pub step: f64,
    /// Number of positions.
    pub count: usize,
}

impl GridAxis {
    /// `count` positions of distance `step`, centred on `centre`.
    pub fn centred(centre: f64, step: f64, count: usize) -> Self {
        Self { start: centre - step * (count as f64 - 1.0) / 2.0, step, count }
    }

    /// The whole extent of `source` pixels in `count` positions: borders of the first and last pixel coincide.
    pub fn whole(source: usize, count: usize) -> Self {
        let step = source as f64 / count as f64;
        Self { start: step / 2.0 - 0.5, step, count }
    }

    /// Sigma of the Gaussian that removes what this grid cannot show, source pixels; 0 = none.
    pub fn sigma(&self) -> f64 {
        ((self.step - 1.0) / 2.0).max(0.0)
    }
}

/// Weights of the source pixels `first..first + weights.len()`; empty = the position lies outside the image.
#[derive(Debug, Clone, PartialEq)]
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// Index into `0..length` of any position, mirrored about the first and last pixel.
fn mirror(index: i64, length: usize) -> usize {
    let last = length as i64 - 1;
    if last == 0 {
        return 0;
    }
    let folded = index.rem_euclid(2 * last);
    (if folded > last { 2 * last - folded } else { folded }) as usize
}

/// Normalised Gaussian weights at -radius..=radius; `[1]` for sigma 0.
pub fn gaussian(sigma: f64) -> Vec<f64> {
    let radius = (4.0 * sigma + 0.5).floor() as i64;
    let weight = |offset: i64| {
        if sigma > 0.0 { libm::exp(-0.5 * (offset as f64 / sigma) * (offset as f64 / sigma)) } else { 1.0 }
    };
    let weights: Vec<f64> = (-radius..=radius).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Weights of the four cubic B-splines around a place at the share `t` (0 to 1) between the middle two.
pub fn cubic_basis(t: f64) -> [f64; 4] {
    let s = 1.0 - t;
    [s * s * s / 6.0, 2.0 / 3.0 - t * t * (2.0 - t) / 2.0, 2.0 / 3.0 - s * s * (2.0 - s) / 2.0, t * t * t / 6.0]
}

/// Interpolation weights at `position`: (first pixel, weights).
fn interpolation(position: f64, kernel: Kernel) -> (i64, Vec<f64>) {
    let base = position.floor();
    let t = position - base;
    match kernel {
        Kernel::Linear => (base as i64, vec![1.0 - t, t]),
        Kernel::CubicBSpline => (base as i64 - 1, cubic_basis(t).to_vec()),
    }
}

fn taps(axis: GridAxis, source: usize, kernel: Kernel) -> Vec<Taps> {
    let smoothing = gaussian(axis.sigma());
    let radius = (smoothing.len() / 2) as i64;
    // Positions up to half a pixel outside still lie in the border pixel; the slack absorbs rounding of exact borders.
    let inside = -0.5 - 1e-6..=source as f64 - 0.5 + 1e-6;
    let one = |index: usize| {
        let position = axis.start + axis.step * index as f64;
        if !inside.contains(&position) {
            return Taps { first: 0, weights: Vec::new() };
        }
        // Half a pixel beyond the centres a line ends flat, a B-spline goes on mirrored: as ITK's interpolators do.
        let place = match kernel {
            Kernel::Linear => position.clamp(0.0, source as f64 - 1.0),
            Kernel::CubicBSpline => position,
        };
        let (first, weights) = interpolation(place, kernel);
        let mut dense = std::collections::BTreeMap::<usize, f64>::new();
        for (offset, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            for (shift, share) in smoothing.iter().enumerate() {
                let pixel = mirror(first + offset as i64 + shift as i64 - radius, source);
                *dense.entry(pixel).or_insert(0.0) += weight * share;
            }
        }
        let first = *dense.keys().next().expect("at least one weight is not zero");
        let last = *dense.keys().next_back().expect("at least one weight is not zero");
        let weights = (first..=last).map(|pixel| dense.get(&pixel).copied().unwrap_or(0.0) as f32).collect();
        Taps { first, weights }
    };
    (0..axis.count).map(one).collect()
}

/// B-spline coefficients of one line in place: causal and anti-causal filter with mirrored ends (Unser, Aldroubi, Eden 1993).
fn prefilter_line(line: &mut [f64]) {
    let length = line.len();
    if length < 2 {
        return;
    }
    let gain = (1.0 - CUBIC_POLE) * (1.0 - 1.0 / CUBIC_POLE);
    line.iter_mut().for_each(|value| *value *= gain);
    // Beyond 64 pixels the pole's powers are below 1e-36 and the mirrored sum has converged.
    let horizon = length.min(64);
    let mut first = line[0];
    let mut power = CUBIC_POLE;
    if horizon < length {
        for value in &line[1..horizon] {
            first += power * value;
            power *= CUBIC_POLE;
        }
    } else {
        let inverse = 1.0 / CUBIC_POLE;
        let mut back = (1..length).fold(1.0, |power, _| power * CUBIC_POLE);
        first += back * line[length - 1];
        back = back * back * inverse;
        for value in &line[1..length - 1] {
            first += (power + back) * value;
            power *= CUBIC_POLE;
            back *= inverse;
        }
        first /= 1.0 - power * power;
    }
    line[0] = first;
    for index in 1..length {
        line[index] += CUBIC_POLE * line[index - 1];
    }
    let end = CUBIC_POLE / (CUBIC_POLE * CUBIC_POLE - 1.0);
    line[length - 1] = end * (line[length - 1] + CUBIC_POLE * line[length - 2]);
    for index in (0..length - 1).rev() {
        line[index] = CUBIC_POLE * (line[index + 1] - line[index]);
    }
}

/// Cubic B-spline coefficients of an image.
fn prefilter(image: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut coefficients = image.mapv(f64::from);
    for axis in [Axis(1), Axis(0)] {
        let mut line = vec![0.0; coefficients.len_of(axis)];
        for mut lane in coefficients.lanes_mut(axis) {
            line.iter_mut().zip(&lane).for_each(|(target, &value)| *target = value);
            prefilter_line(&mut line);
            lane.iter_mut().zip(&line).for_each(|(target, &value)| *target = value);
        }
    }
    coefficients.mapv(|value| value as f32)
}

/// The weights of one grid over images of one size: made once per slice, used for every phase.
#[derive(Debug, Clone)]
pub struct Resampler {
    source: (usize, usize),
    rows: Vec<Taps>,
    columns: Vec<Taps>,
    kernel: Kernel,
}

impl Resampler {
    /// For images of `source` = (rows, columns).
    ///
    /// # Panics
    /// When the image is empty or a step is not positive and finite: a caller's bug.
    pub fn new(source: (usize, usize), rows: GridAxis, columns: GridAxis, kernel: Kernel) -> Self {
        assert!(source.0 > 0 && source.1 > 0, "an image has pixels");
        for axis in [rows, columns] {
            assert!(axis.step.is_finite() && axis.step > 0.0 && axis.start.is_finite(), "a finite grid");
        }
        Self { source, rows: taps(rows, source.0, kernel), columns: taps(columns, source.1, kernel), kernel }
    }

    /// The image on the grid; NaN where the grid lies outside the image.
    ///
    /// # Panics
    /// When the image has another size than said to [`Self::new`]: a caller's bug.
    pub fn apply(&self, image: ArrayView2<'_, f32>) -> Array2<f32> {
        assert_eq!(image.dim(), self.source, "the image's size");
        match self.kernel {
            Kernel::Linear => self.weigh(image),
            Kernel::CubicBSpline => self.weigh(prefilter(image).view()),
        }
    }

    fn weigh(&self, image: ArrayView2<'_, f32>) -> Array2<f32> {
        let image = image.as_standard_layout();
        let pixels = image.as_slice().expect("standard layout");
        let width = self.source.1;
        let used = self.columns.iter().filter(|taps| !taps.weights.is_empty());
        let (low, high) =
            used.fold((width, 0), |(low, high), taps| (low.min(taps.first), high.max(taps.first + taps.weights.len())));
        let mut output = Array2::from_elem((self.rows.len(), self.columns.len()), f32::NAN);
        let mut line = vec![0.0_f32; high.saturating_sub(low)];
        for (taps, mut target) in self.rows.iter().zip(output.rows_mut()) {
            if taps.weights.is_empty() || line.is_empty() {
                continue;
            }
            line.fill(0.0);
            for (offset, &weight) in taps.weights.iter().enumerate() {
                let start = (taps.first + offset) * width;
                let source = &pixels[start + low..start + high];
                line.iter_mut().zip(source).for_each(|(sum, &value)| *sum += weight * value);
            }
            for (column, value) in self.columns.iter().zip(target.iter_mut()) {
                if !column.weights.is_empty() {
                    let source = &line[column.first - low..];
                    *value = column.weights.iter().zip(source).map(|(&weight, &value)| weight * value).sum();
                }
            }
        }
        output
    }
}

#[cfg(test)]
#[path = "resample_tests.rs"]
mod tests;
