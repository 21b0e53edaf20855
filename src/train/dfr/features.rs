//! Features standardised by the training split, and last layers on them.

use tch::{Kind, Tensor};

use crate::objective::logistic::Fit;
use crate::train::TrainError;

/// Standardised features of all samples, float64.
#[derive(Debug)]
pub struct Features {
    /// Per sample.
    width: usize,
    /// `[N, width]`.
    values: Vec<f64>,
    /// `[width]` of the training samples, before.
    mean: Vec<f64>,
    /// `[width]` of the training samples, before; 1 for a constant feature.
    deviation: Vec<f64>,
}

impl Features {
    /// Of features `[N, f]` on the CPU; `train` are the training samples.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn standardised(features: &Tensor, train: &[usize]) -> Result<Self, TrainError> {
        let width = features.size().last().map_or(0, |&width| usize::try_from(width).unwrap_or(0));
        let values = Vec::<f64>::try_from(&features.f_to_kind(Kind::Double)?.f_contiguous()?.f_view([-1])?)?;
        let mut found = Self { width, values, mean: vec![0.0; width], deviation: vec![1.0; width] };
        let count = train.len().max(1) as f64;
        for column in 0..width {
            let of = |&row: &usize| found.values[row * width + column];
            let mean = train.iter().map(of).sum::<f64>() / count;
            let variance = train.iter().map(|row| (of(row) - mean).powi(2)).sum::<f64>() / count;
            found.mean[column] = mean;
            // A feature that is the same for all is not scaled, as in scikit-learn.
            found.deviation[column] = if variance > 0.0 { variance.sqrt() } else { 1.0 };
        }
        for row in found.values.chunks_exact_mut(width.max(1)) {
            for ((value, mean), deviation) in row.iter_mut().zip(&found.mean).zip(&found.deviation) {
                *value = (*value - mean) / deviation;
            }
        }
        Ok(found)
    }

    /// Of one sample.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.width..(row + 1) * self.width]
    }

    /// Of samples, row by row.
    pub fn rows(&self, rows: &[usize]) -> Vec<f64> {
        rows.iter().flat_map(|&row| self.row(row)).copied().collect()
    }

    /// The layer that gives the same scores for the features as they were: `w (h - mean) / deviation + b`.
    pub fn unstandardised(&self, layer: &LastLayer) -> LastLayer {
        let mut folded = layer.clone();
        for (class, row) in folded.weights.chunks_exact_mut(self.width.max(1)).enumerate() {
            for ((weight, mean), deviation) in row.iter_mut().zip(&self.mean).zip(&self.deviation) {
                *weight /= deviation;
                folded.intercepts[class] -= *weight * mean;
            }
        }
        folded
    }
}

/// Weights `[K, f]` and intercepts `[K]`.
#[derive(Debug, Clone, PartialEq)]
pub struct LastLayer {
    /// Row by row.
    pub weights: Vec<f64>,
    /// Per class.
    pub intercepts: Vec<f64>,
    /// The largest violation of the optimality conditions among the fits.
    pub violation: f64,
}

impl LastLayer {
    /// The mean of fits of one shape, at least one.
    pub fn average(fits: &[Fit]) -> Self {
        let count = fits.len().max(1) as f64;
        let mean = |of: fn(&Fit) -> &Vec<f64>| {
            let length = fits.first().map_or(0, |fit| of(fit).len());
            (0..length).map(|at| fits.iter().map(|fit| of(fit)[at]).sum::<f64>() / count).collect()
        };
        Self {
            weights: mean(|fit| &fit.weights),
            intercepts: mean(|fit| &fit.intercepts),
            violation: fits.iter().fold(0.0, |largest: f64, fit| largest.max(fit.violation)),
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.intercepts.len()
    }

    /// Logits of one sample's features.
    pub fn logits(&self, features: &[f64]) -> Vec<f64> {
        let logit = |class: usize| {
            let weights = &self.weights[class * features.len()..(class + 1) * features.len()];
            self.intercepts[class] + weights.iter().zip(features).map(|(weight, value)| weight * value).sum::<f64>()
        };
        (0..self.classes()).map(logit).collect()
    }
}

/// Cross-entropy of one sample's logits, nats, and whether the largest is its class; ties go to the lower class.
pub fn score(logits: &[f64], label: usize) -> (f64, bool) {
    let mut best = 0;
    (1..logits.len()).for_each(|class| best = if logits[class] > logits[best] { class } else { best });
    let total: f64 = logits.iter().map(|value| libm::exp(value - logits[best])).sum();
    (logits[best] + total.ln() - logits[label], best == label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folded_layer_gives_the_scores_of_the_standardised_one() {
        let raw = [1.0, 10.0, 5.0, 3.0, 30.0, 5.0, 5.0, 80.0, 5.0f64];
        let tensor = Tensor::from_slice(&raw).view([3, 3]);
        let features = Features::standardised(&tensor, &[0, 1]).unwrap();
        // Mean and deviation of 1, 3 are 2 and 1; of 10, 30 they are 20 and 10; the third is constant.
        assert_eq!(features.row(2), [3.0, 6.0, 0.0]);
        let layer =
            LastLayer { weights: vec![0.0, 0.0, 0.0, 2.0, -1.0, 7.0], intercepts: vec![0.0, 0.5], violation: 0.0 };
        let folded = features.unstandardised(&layer);
        for row in 0..3 {
            let (loss, correct) = score(&layer.logits(features.row(row)), 1);
            let (found, also) = score(&folded.logits(&raw[row * 3..row * 3 + 3]), 1);
            assert!((loss - found).abs() < 1e-9 && correct == also, "{row}: {loss} {found}");
        }
    }

    #[test]
    fn scores_are_cross_entropy_and_ties_go_to_the_lower_class() {
        let layer = LastLayer { weights: vec![0.0, 1.0], intercepts: vec![0.0, 0.0], violation: 0.0 };
        let (loss, correct) = score(&layer.logits(&[0.0]), 0);
        assert!((loss - 2f64.ln()).abs() < 1e-12 && correct);
        let (loss, correct) = score(&layer.logits(&[3f64.ln()]), 0);
        assert!((loss - 4f64.ln()).abs() < 1e-12 && !correct);
    }
}
