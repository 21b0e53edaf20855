//! Multinomial logistic regression with a ridge penalty, in float64: mean cross-entropy + |W|^2 / (2 C n), intercepts free, as
//! scikit-learn's `LogisticRegression` has it. Full-batch L-BFGS (Liu and Nocedal 1989) from zero, so that equal data give equal bits.

/// Pairs of steps that are remembered.
const MEMORY: usize = 10;
/// Most steps; what the probe needs is reached long before.
const MOST_STEPS: usize = 500;
/// Sufficient decrease (Armijo).
const DECREASE: f64 = 1e-4;

/// Rows of equal length with their classes.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    /// `[n][features]`.
    pub rows: &'a [Vec<f64>],
    /// Class of each row, below `classes`.
    pub classes_of_rows: &'a [usize],
    /// Number of classes.
    pub classes: usize,
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    /// `[class][features, then the intercept]`.
    weights: Vec<f64>,
    classes: usize,
}

impl Logistic {
    /// Fits until no component of the gradient exceeds `tolerance`. `c`: inverse strength of the penalty.
    pub fn fit(data: Data<'_>, c: f64, tolerance: f64) -> Self {
        let width = data.rows.first().map_or(0, Vec::len) + 1;
        let mut weights = vec![0.0; data.classes * width];
        let mut history: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
        let (mut loss, mut gradient) = objective(data, c, &weights);
        for _ in 0..MOST_STEPS {
            if gradient.iter().all(|part| part.abs() <= tolerance) {
                break;
            }
            let direction = direction(&gradient, &history);
            let Some((next, next_loss, next_gradient)) = step(data, c, (&weights, loss, &gradient), &direction) else {
                break;
            };
            let moved = difference(&next, &weights);
            let turned = difference(&next_gradient, &gradient);
            if dot(&moved, &turned) > 0.0 {
                history.push((moved, turned));
                if history.len() > MEMORY {
                    history.remove(0);
                }
            }
            (weights, loss, gradient) = (next, next_loss, next_gradient);
        }
        Self { weights, classes: data.classes }
    }

    /// Probabilities of the classes.
    pub fn probabilities(&self, row: &[f64]) -> Vec<f64> {
        let mut scores = scores(&self.weights, self.classes, row);
        normalise(&mut scores);
        scores
    }

    #[cfg(test)]
    fn coefficients(&self) -> &[f64] {
        &self.weights
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn scores(weights: &[f64], classes: usize, row: &[f64]) -> Vec<f64> {
    let width = weights.len() / classes.max(1);
    weights.chunks_exact(width).map(|weights| dot(weights, row) + weights[width - 1]).collect()
}

/// Scores become probabilities; the logarithm of their sum is given.
fn normalise(scores: &mut [f64]) -> f64 {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|score| *score = libm::exp(*score - largest));
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
    largest + libm::log(sum)
}

/// Penalised mean loss and its gradient.
fn objective(data: Data<'_>, c: f64, weights: &[f64]) -> (f64, Vec<f64>) {
    let width = weights.len() / data.classes.max(1);
    let share = 1.0 / data.rows.len().max(1) as f64;
    let mut gradient = vec![0.0; weights.len()];
    let mut loss = 0.0;
    for (row, &class) in data.rows.iter().zip(data.classes_of_rows) {
        let mut values = scores(weights, data.classes, row);
        let own = values[class];
        loss += share * (normalise(&mut values) - own);
        values[class] -= 1.0;
        for (value, gradient) in values.iter().zip(gradient.chunks_exact_mut(width)) {
            let scale = share * value;
            gradient.iter_mut().zip(row).for_each(|(sum, feature)| *sum += scale * feature);
            gradient[width - 1] += scale;
        }
    }
    let ridge = share / c;
    for (weights, gradient) in weights.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
        for (weight, sum) in weights[..width - 1].iter().zip(gradient.iter_mut()) {
            loss += 0.5 * ridge * weight * weight;
            *sum += ridge * weight;
        }
    }
    (loss, gradient)
}

/// The two-loop recursion: the gradient times the inverse curvature that the remembered steps showed, downhill.
fn direction(gradient: &[f64], history: &[(Vec<f64>, Vec<f64>)]) -> Vec<f64> {
    let mut result: Vec<f64> = gradient.iter().map(|part| -part).collect();
    let mut shares = Vec::with_capacity(history.len());
    for (moved, turned) in history.iter().rev() {
        let share = dot(moved, &result) / dot(moved, turned);
        result.iter_mut().zip(turned).for_each(|(part, turned)| *part -= share * turned);
        shares.push(share);
    }
    if let Some((moved, turned)) = history.last() {
        let scale = dot(moved, turned) / dot(turned, turned);
        result.iter_mut().for_each(|part| *part *= scale);
    }
    for ((moved, turned), share) in history.iter().zip(shares.iter().rev()) {
        let back = dot(turned, &result) / dot(moved, turned);
        result.iter_mut().zip(moved).for_each(|(part, moved)| *part += (share - back) * moved);
    }
    result
}

/// The first of the halved steps that decreases the loss enough; `None` when rounding leaves none.
fn step(
    data: Data<'_>,
    c: f64,
    (weights, loss, gradient): (&[f64], f64, &[f64]),
    direction: &[f64],
) -> Option<(Vec<f64>, f64, Vec<f64>)> {
    let slope = dot(gradient, direction);
    let mut length = 1.0;
    for _ in 0..40 {
        let next: Vec<f64> = weights.iter().zip(direction).map(|(weight, part)| weight + length * part).collect();
        let (next_loss, next_gradient) = objective(data, c, &next);
        if next_loss <= loss + DECREASE * length * slope {
            return Some((next, next_loss, next_gradient));
        }
        length /= 2.0;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve rows of three features and three classes that overlap; the same formula is in `tests/python/probe_reference.py`.
    fn rows() -> (Vec<Vec<f64>>, Vec<usize>) {
        let row = |i: usize| {
            let x = i as f64;
            vec![libm::sin(1.7 * x) + (i % 3) as f64 * 0.6, libm::cos(0.9 * x), ((i * i) % 7) as f64 / 3.0 - 1.0]
        };
        ((0..12).map(row).collect(), (0..12).map(|i| (i + i / 5) % 3).collect())
    }

    /// Coefficients and probabilities of scikit-learn 1.9 LogisticRegression(C, tol=1e-12), by `tests/python/probe_reference.py`; its
    /// optimiser leaves an error of about 1e-6.
    #[test]
    fn the_fit_equals_scikit_learns() {
        let (rows, classes_of_rows) = rows();
        let data = Data { rows: &rows, classes_of_rows: &classes_of_rows, classes: 3 };
        for (c, wanted, first) in REFERENCE {
            let model = Logistic::fit(data, c, 1e-10);
            // Intercepts are determined but for a common constant.
            let coefficients = model.coefficients();
            let mean = [3, 7, 11].iter().map(|&place| coefficients[place]).sum::<f64>() / 3.0;
            for (place, (&found, wanted)) in coefficients.iter().zip(wanted).enumerate() {
                let found = if place % 4 == 3 { found - mean } else { found };
                assert!((found - wanted).abs() < 1e-5, "C {c}, {place}: {found} {wanted}");
            }
            for (found, wanted) in model.probabilities(&rows[0]).iter().zip(first) {
                assert!((found - wanted).abs() < 1e-5, "C {c}: {found} {wanted}");
            }
        }
    }

    #[test]
    fn classes_that_a_line_divides_are_told_and_one_class_alone_is_certain() {
        let rows: Vec<Vec<f64>> = (0..20).map(|i| vec![f64::from(i) / 10.0 - 1.0]).collect();
        let classes_of_rows: Vec<usize> = (0..20).map(|i| usize::from(i >= 10)).collect();
        let model = Logistic::fit(Data { rows: &rows, classes_of_rows: &classes_of_rows, classes: 2 }, 1e3, 1e-8);
        assert!(model.probabilities(&[-1.0])[0] > 0.9 && model.probabilities(&[0.9])[1] > 0.9);
        let model = Logistic::fit(Data { rows: &rows, classes_of_rows: &[0; 20], classes: 1 }, 1.0, 1e-8);
        assert_eq!(model.probabilities(&[0.3]), [1.0]);
    }

    /// C, weights and centred intercept per class, probabilities of the first row.
    const REFERENCE: [(f64, [f64; 12], [f64; 3]); 2] = [
        (
            1.0,
            [
                -0.003_836_5,
                -0.164_320_6,
                -0.148_379,
                0.267_577_5,
                0.107_082_1,
                -0.245_962_4,
                -0.053_062,
                0.226_469_9,
                -0.103_245_6,
                0.410_283,
                0.201_441,
                -0.494_047_4,
            ],
            [0.418_644_1, 0.336_62, 0.244_735_9],
        ),
        (
            0.05,
            [
                -0.007_327_5,
                -0.012_143_2,
                -0.009_103_7,
                0.306_336_8,
                0.019_285_1,
                -0.027_435_6,
                0.005_236_4,
                0.294_998_4,
                -0.011_957_6,
                0.039_578_8,
                0.003_867_3,
                -0.601_335_2,
            ],
            [0.420_298_6, 0.403_426_6, 0.176_274_8],
        ),
    ];
}
