//! The minimum of a quadratic function and the sum of absolute values, in float64: one Newton step of [`super::logistic`].
//!
//! Cyclic coordinate descent, and every few passes a common move of all weights that are not 0, without which it crawls where columns are
//! alike. No randomness.

/// Passes of coordinate descent within a Newton step.
const MOST_PASSES: usize = 1000;
/// Of them between two common moves of all weights that are not 0.
const PASSES_APART: usize = 10;

/// The loss near the weights, of those that are active, and the penalty.
pub(super) struct Model {
    /// `[a, a]`, symmetric, positive or nearly so.
    pub(super) curvature: Vec<f64>,
    /// `[a]`.
    pub(super) gradient: Vec<f64>,
    /// `[a]`, where the model is centred.
    pub(super) weights: Vec<f64>,
}

impl Model {
    /// The step to its minimum: violations of its optimality conditions at most `tolerance`.
    ///
    /// Coordinate descent alone crawls where features are alike, so every few passes all weights that are not 0 move together.
    pub(super) fn minimum(&self, tolerance: f64) -> Vec<f64> {
        let count = self.weights.len();
        let mut place = Place { weights: self.weights.clone(), gradient: self.gradient.clone() };
        for pass in 1..=MOST_PASSES {
            let mut largest: f64 = 0.0;
            for at in 0..count {
                let (weight, gradient) = (place.weights[at], place.gradient[at]);
                largest = largest.max(violation(weight, gradient));
                let step = coordinate_step(weight, gradient, self.row(at)[at].max(1e-12));
                if step != 0.0 {
                    place.weights[at] = if step == -weight { 0.0 } else { weight + step };
                    place.gradient.iter_mut().zip(self.row(at)).for_each(|(gradient, slope)| *gradient += step * slope);
                }
            }
            if largest <= tolerance {
                break;
            }
            if pass % PASSES_APART == 0 {
                self.move_together(&mut place);
            }
        }
        let step = |(new, old): (&f64, &f64)| if *new == 0.0 { -old } else { new - old };
        place.weights.iter().zip(&self.weights).map(step).collect()
    }

    fn row(&self, at: usize) -> &[f64] {
        let count = self.weights.len();
        &self.curvature[at * count..(at + 1) * count]
    }

    /// Moves all weights that are not 0 to the minimum that they would have if none changed its sign. Those that would stop at 0 if that
    /// descends; else all stop where the first reaches 0, which descends by convexity.
    fn move_together(&self, place: &mut Place) {
        let moving: Vec<usize> = (0..place.weights.len()).filter(|&at| place.weights[at] != 0.0).collect();
        let wanted: Vec<f64> = moving.iter().map(|&at| -(place.gradient[at] + place.weights[at].signum())).collect();
        let curvature = moving.iter().flat_map(|&row| moving.iter().map(move |&at| (row, at)));
        let Some(steps) = solve(curvature.map(|(row, at)| self.row(row)[at]).collect(), wanted) else { return };
        let old: Vec<f64> = moving.iter().map(|&at| place.weights[at]).collect();
        let crosses = |(weight, step): (&f64, &f64)| (weight + step) * weight <= 0.0;
        let clipped: Vec<f64> =
            old.iter().zip(&steps).map(|pair| if crosses(pair) { -pair.0 } else { *pair.1 }).collect();
        let crossing = old.iter().zip(&steps).filter(|pair| crosses(*pair)).map(|(weight, step)| -weight / step);
        let first = crossing.fold(1.0, f64::min);
        let changes = |steps: &[f64]| -> Vec<f64> {
            let mut changes = vec![0.0; place.weights.len()];
            for (&at, step) in moving.iter().zip(steps) {
                changes.iter_mut().zip(self.row(at)).for_each(|(change, slope)| *change += step * slope);
            }
            changes
        };
        let mut steps_taken = clipped;
        let mut change = changes(&steps_taken);
        let gain = |steps: &[f64], change: &[f64]| -> f64 {
            let of = |((&at, step), old): ((&usize, &f64), &f64)| {
                step * (place.gradient[at] + 0.5 * change[at]) + (old + step).abs() - old.abs()
            };
            moving.iter().zip(steps).zip(&old).map(of).sum()
        };
        if gain(&steps_taken, &change) >= 0.0 {
            steps_taken = steps.iter().map(|step| first * step).collect();
            change = changes(&steps_taken);
        }
        for ((&at, step), old) in moving.iter().zip(&steps_taken).zip(&old) {
            place.weights[at] = if (old + step) * old <= 0.0 { 0.0 } else { old + step };
        }
        place.gradient.iter_mut().zip(change).for_each(|(gradient, change)| *gradient += change);
    }
}

/// Weights on the way to a model's minimum, and its derivatives there.
struct Place {
    weights: Vec<f64>,
    gradient: Vec<f64>,
}

/// Solves `A x = b` for a symmetric, positive `A` `[n, n]` by Cholesky's factors; `None` where rounding leaves it not positive.
fn solve(mut a: Vec<f64>, mut x: Vec<f64>) -> Option<Vec<f64>> {
    let n = x.len();
    let ridge = 1e-13 * (0..n).map(|at| a[at * n + at]).fold(0.0, f64::max);
    for row in 0..n {
        for column in 0..=row {
            let (above, own) = a.split_at(row * n);
            let other = if column == row { &own[..column] } else { &above[column * n..column * n + column] };
            let rest = own[column] - dot(&own[..column], other);
            if column < row {
                a[row * n + column] = rest / a[column * n + column];
            } else if rest + ridge > 0.0 {
                a[row * n + row] = (rest + ridge).sqrt();
            } else {
                return None;
            }
        }
        x[row] = (x[row] - dot(&a[row * n..row * n + row], &x[..row])) / a[row * n + row];
    }
    for row in (0..n).rev() {
        x[row] /= a[row * n + row];
        let value = x[row];
        x[..row].iter_mut().zip(&a[row * n..row * n + row]).for_each(|(x, a)| *x -= a * value);
    }
    Some(x)
}

/// Step to the minimum of `gradient d + curvature d^2 / 2 + |weight + d|`.
fn coordinate_step(weight: f64, gradient: f64, curvature: f64) -> f64 {
    if gradient + 1.0 <= curvature * weight {
        -(gradient + 1.0) / curvature
    } else if gradient - 1.0 >= curvature * weight {
        -(gradient - 1.0) / curvature
    } else {
        -weight
    }
}

/// Scalar product in four sums, which a processor adds at once; their order is fixed.
pub(super) fn dot(one: &[f64], other: &[f64]) -> f64 {
    let (mut sums, whole) = ([0.0; 4], one.len() / 4 * 4);
    for (a, b) in one[..whole].chunks_exact(4).zip(other[..whole].chunks_exact(4)) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = one[whole..].iter().zip(&other[whole..]).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// How far a weight is from its optimality condition, with the penalty's slope 1.
pub(super) fn violation(weight: f64, gradient: f64) -> f64 {
    if weight == 0.0 { (gradient.abs() - 1.0).max(0.0) } else { (gradient + weight.signum()).abs() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: `x^2 - 3 x + |x|` is least at 1, `x^2 - x / 2 + |x|` at 0.
    #[test]
    fn one_weight_by_hand() {
        let model = |gradient: f64| Model { curvature: vec![2.0], gradient: vec![gradient], weights: vec![0.0] };
        assert_eq!(model(-3.0).minimum(1e-12), [1.0]);
        assert_eq!(model(-0.5).minimum(1e-12), [0.0]);
    }

    /// By hand: `2 x^2 + 2 y^2 + 3.96 x y - 6 x - 5 y` with the penalty: coordinate descent alone needs hundreds of passes. y is 0, since its
    /// slope 3.96 x - 5 at x = 5 / 4 is -0.05, within the penalty.
    #[test]
    fn columns_that_are_alike_are_no_trouble() {
        // Centred at (-1/2, 2), where the gradient is (4 x + 3.96 y - 6, 3.96 x + 4 y - 5) = (-0.08, 1.02).
        let curvature = vec![4.0, 3.96, 3.96, 4.0];
        let model = Model { curvature, gradient: vec![-0.08, 1.02], weights: vec![-0.5, 2.0] };
        let found = model.minimum(1e-12);
        assert!((found[0] - 1.75).abs() < 1e-12 && found[1] == -2.0, "{found:?}");
    }

    /// numpy.linalg.solve([[4, 2, 0.6], [2, 5, 1], [0.6, 1, 3]], [1, 2, 3]).
    #[test]
    fn equations_are_solved() {
        let a = vec![4.0, 2.0, 0.6, 2.0, 5.0, 1.0, 0.6, 1.0, 3.0];
        let found = solve(a, vec![1.0, 2.0, 3.0]).unwrap();
        for (found, expected) in found.iter().zip([0.004484304932735, 0.212556053811659, 0.928251121076233]) {
            assert!((found - expected).abs() < 1e-10, "{found} {expected}");
        }
        assert_eq!(solve(vec![-1.0], vec![1.0]), None);
    }
}
