//! L1-penalised logistic regression in float64, without tch: the last layer that DFR refits (Kirichenko et al. 2023).
//!
//! Minimises `sum |w| + C sum_i ce_i` over the weights of the features and of a constant 1, so the intercept is penalised as well.
//! For two classes, with scores `(0, w.x)`, this is the problem that liblinear solves (Fan et al. 2008, `L1R_LR`), which the public
//! code of DFR calls through scikit-learn. For more classes it is the same with softmax: liblinear's one-against-rest scores are no logits.
//!
//! Cyclic coordinate descent with Newton directions (Yuan et al. 2010, section 4.1), from 0, so equal inputs give equal weights. In place of their line
//! search a step is cut to `|x d| <= 1`, within which the logistic loss stays below `g d + 0.72 h d^2` (its third derivative is at most `|x|`
//! times its second), so that every step descends.

/// Largest violation of the optimality conditions at which a fit has converged; the penalty's slope is 1.
pub const TOLERANCE: f64 = 1e-7;
/// Passes over all weights after which a fit gives up.
const MOST_SWEEPS: usize = 2000;
/// Passes over the weights that are not 0 between two passes over all.
const ACTIVE_SWEEPS: usize = 20;

/// What is fitted.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// `[n, f]` row by row, finite.
    pub features: &'a [f64],
    /// `[n]`, 0..classes.
    pub labels: &'a [usize],
    /// 2 or more.
    pub classes: usize,
    /// Inverse strength of the penalty, > 0, as scikit-learn counts it.
    pub c: f64,
}

/// A fitted last layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// `[classes, f]` row by row; with two classes the first row is 0.
    pub weights: Vec<f64>,
    /// `[classes]`.
    pub intercepts: Vec<f64>,
    /// Largest violation of the optimality conditions; converged at [`TOLERANCE`] or less.
    pub violation: f64,
    /// Passes over all weights.
    pub sweeps: usize,
}

/// Solves the problem.
///
/// # Panics
/// When `features` is not `[n, f]` for the `n` labels, or a label is out of range: the caller's mistake.
pub fn fit(problem: &Problem<'_>) -> Fit {
    let mut descent = Descent::new(problem);
    let mut sweeps = 0;
    while sweeps < MOST_SWEEPS {
        sweeps += 1;
        let violation = descent.sweep(|_| true);
        descent.refresh();
        if violation <= TOLERANCE {
            break;
        }
        for _ in 0..ACTIVE_SWEEPS {
            if descent.sweep(|weight| weight != 0.0) <= 0.1 * TOLERANCE {
                break;
            }
        }
    }
    descent.refresh();
    descent.finish(sweeps)
}

struct Descent {
    samples: usize,
    classes: usize,
    /// Features and the constant.
    columns: usize,
    c: f64,
    /// `[columns, n]`.
    features: Vec<f64>,
    /// `[columns]`: largest absolute value.
    largest: Vec<f64>,
    labels: Vec<usize>,
    /// `[classes, columns]`.
    weights: Vec<f64>,
    /// `[classes, n]`.
    probabilities: Vec<f64>,
}

/// How far a weight is from its optimality condition, with the penalty's slope 1.
fn violation(weight: f64, gradient: f64) -> f64 {
    if weight == 0.0 { (gradient.abs() - 1.0).max(0.0) } else { (gradient + weight.signum()).abs() }
}

impl Descent {
    fn new(problem: &Problem<'_>) -> Self {
        let Problem { features, labels, classes, c } = *problem;
        let samples = labels.len();
        let width = features.len().checked_div(samples).unwrap_or(0);
        assert!(
            features.len() == width * samples && labels.iter().all(|&label| label < classes),
            "features are [n, f]"
        );
        let columns = width + 1;
        let mut turned = vec![1.0; columns * samples];
        for (sample, row) in features.chunks_exact(width.max(1)).enumerate() {
            row.iter().enumerate().for_each(|(column, &value)| turned[column * samples + sample] = value);
        }
        let largest = |column: &[f64]| column.iter().fold(0.0, |highest: f64, value| highest.max(value.abs()));
        let mut descent = Self {
            samples,
            classes,
            columns,
            c,
            largest: turned.chunks_exact(samples.max(1)).map(largest).collect(),
            features: turned,
            labels: labels.to_vec(),
            weights: vec![0.0; classes * columns],
            probabilities: vec![0.0; classes * samples],
        };
        descent.refresh();
        descent
    }

    /// Classes whose weights are free: with two, the first stays 0.
    fn free(&self) -> std::ops::Range<usize> {
        usize::from(self.classes == 2)..self.classes
    }

    /// Probabilities anew from the weights, so that rounding does not add up.
    fn refresh(&mut self) {
        let n = self.samples;
        let mut scores = vec![0.0; self.classes * n];
        for class in self.free() {
            for column in 0..self.columns {
                let weight = self.weights[class * self.columns + column];
                if weight != 0.0 {
                    let features = &self.features[column * n..(column + 1) * n];
                    let scores = &mut scores[class * n..(class + 1) * n];
                    scores.iter_mut().zip(features).for_each(|(score, feature)| *score += weight * feature);
                }
            }
        }
        for sample in 0..n {
            let of = |class: usize| scores[class * n + sample];
            let highest = (0..self.classes).map(of).fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = (0..self.classes).map(|class| libm::exp(of(class) - highest)).sum();
            for class in 0..self.classes {
                self.probabilities[class * n + sample] = libm::exp(of(class) - highest) / total;
            }
        }
    }

    /// First and second derivative of `C sum ce` along a weight.
    fn slope(&self, class: usize, column: usize) -> (f64, f64) {
        let n = self.samples;
        let features = &self.features[column * n..(column + 1) * n];
        let probabilities = &self.probabilities[class * n..(class + 1) * n];
        let (mut gradient, mut curvature) = (0.0, 0.0);
        for ((feature, p), &label) in features.iter().zip(probabilities).zip(&self.labels) {
            gradient += feature * (p - f64::from(u8::from(label == class)));
            curvature += feature * feature * p * (1.0 - p);
        }
        (self.c * gradient, self.c * curvature)
    }

    /// One step along every weight that `wanted` takes; gives the largest violation met.
    fn sweep(&mut self, wanted: impl Fn(f64) -> bool) -> f64 {
        let mut largest: f64 = 0.0;
        for class in self.free() {
            for column in 0..self.columns {
                let weight = self.weights[class * self.columns + column];
                if wanted(weight) {
                    let (gradient, curvature) = self.slope(class, column);
                    largest = largest.max(violation(weight, gradient));
                    self.step(class, column, gradient, curvature);
                }
            }
        }
        largest
    }

    /// The minimum of the quadratic model and the penalty along one weight, cut to the radius where the model holds.
    fn step(&mut self, class: usize, column: usize, gradient: f64, curvature: f64) {
        let at = class * self.columns + column;
        let weight = self.weights[at];
        let curvature = curvature.max(1e-12);
        let direction = if gradient + 1.0 <= curvature * weight {
            -(gradient + 1.0) / curvature
        } else if gradient - 1.0 >= curvature * weight {
            -(gradient - 1.0) / curvature
        } else {
            -weight
        };
        if direction == 0.0 || self.largest[column] == 0.0 {
            return;
        }
        let radius = 1.0 / self.largest[column];
        let step = direction.clamp(-radius, radius);
        // Exactly 0 where the step leads there: rounding must not leave a weight that is almost 0.
        self.weights[at] = if step == -weight { 0.0 } else { weight + step };
        self.move_probabilities(class, column, step);
    }

    /// Softmax after the scores of one class moved by `step` times the feature.
    fn move_probabilities(&mut self, class: usize, column: usize, step: f64) {
        let n = self.samples;
        for sample in 0..n {
            let change = step * self.features[column * n + sample];
            if change == 0.0 {
                continue;
            }
            let growth = libm::expm1(change);
            let total = 1.0 + self.probabilities[class * n + sample] * growth;
            for other in 0..self.classes {
                self.probabilities[other * n + sample] /= total;
            }
            self.probabilities[class * n + sample] *= 1.0 + growth;
        }
    }

    fn finish(self, sweeps: usize) -> Fit {
        let mut largest: f64 = 0.0;
        for class in self.free() {
            for column in 0..self.columns {
                let weight = self.weights[class * self.columns + column];
                largest = largest.max(violation(weight, self.slope(class, column).0));
            }
        }
        let rows = || self.weights.chunks_exact(self.columns);
        Fit {
            weights: rows().flat_map(|row| &row[..self.columns - 1]).copied().collect(),
            intercepts: rows().map(|row| row[self.columns - 1]).collect(),
            violation: largest,
            sweeps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem<'a>(features: &'a [f64], labels: &'a [usize], classes: usize, c: f64) -> Problem<'a> {
        Problem { features, labels, classes, c }
    }

    /// By hand: x = -1, 0, 1 with labels 0, 1, 1 and no use for an intercept as long as C |1/3 ...| stays under 1. The weight is 0 until its
    /// slope C (1/2 + 1/2) exceeds 1; with C = 4 and an intercept b the conditions are 4 (p(-1) + 1 - p(1)) = 1 and so on.
    #[test]
    fn three_samples_by_hand() {
        let (features, labels) = ([-1.0, 0.0, 1.0], [0, 1, 1]);
        // Slopes at 0: of the weight -C (1/2 + 1/2), of the intercept C (3/2 - 2) = -C/2: both within the penalty for C = 1.
        let nothing = fit(&problem(&features, &labels, 2, 1.0));
        assert_eq!((nothing.weights, nothing.intercepts), (vec![0.0, 0.0], vec![0.0, 0.0]));
        // For 1 < C < 2 at least at first only the weight moves, and the intercept's slope stays -C/2 by symmetry of p(-1) and 1 - p(1):
        // C 2 p(-1) = 1, so exp(-w) / (1 + exp(-w)) = 1 / (2 C) and w = ln(2 C - 1).
        let one = fit(&problem(&features, &labels, 2, 1.5));
        assert!((one.weights[1] - 2f64.ln()).abs() < 1e-7 && one.intercepts[1] == 0.0, "{one:?}");
    }

    /// Without features and with a large C the intercepts are the logarithms of the shares, as far as the penalty lets them: for two classes,
    /// 3 of 4 in class 1, C (4 p - 3) = -1 gives p = (3 - 1/C) / 4.
    #[test]
    fn an_intercept_alone_follows_the_shares() {
        let found = fit(&problem(&[], &[1, 1, 0, 1], 2, 10.0));
        let p: f64 = (3.0 - 0.1) / 4.0;
        assert!((found.intercepts[1] - (p / (1.0 - p)).ln()).abs() < 1e-7, "{found:?}");
    }

    #[test]
    fn the_optimality_conditions_hold_for_many_classes_and_far_apart_values() {
        let features: Vec<f64> = (0..60).map(|at| f64::from((at * 37) % 23) - 11.0).collect();
        let labels: Vec<usize> = (0..20).map(|at| (at * 7 + at / 3) % 3).collect();
        for c in [0.01, 1.0, 100.0] {
            let found = fit(&problem(&features, &labels, 3, c));
            assert!(found.violation <= TOLERANCE && found.sweeps < MOST_SWEEPS, "{c}: {found:?}");
            assert_eq!(found, fit(&problem(&features, &labels, 3, c)));
        }
        // Separable classes: the penalty alone keeps the weights finite.
        let found = fit(&problem(&[-1000.0, 1000.0], &[0, 1], 2, 1e6));
        assert!(found.violation <= TOLERANCE * 1e3 && found.weights[1].is_finite(), "{found:?}");
    }
}
