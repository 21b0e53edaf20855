//! AGRE-KD (Kenfack et al., TMLR 2025): `(1 - alpha) mean(ce) + alpha mean(kd)`, where each sample's distillation loss is a weighted mean over the
//! teachers, `kd_i = sum_t W_t(x_i) kd_i^t / sum_t W_t(x_i)` (equation 6), with `W_t(x_i) = 1 - cos(grad kd_i^t, grad kd_i^b)` (equation 5)
//! and b a biased network, one trained by ERM.
//!
//! The publication takes the gradients with respect to "the parameters of the student". Here they are those of its last layer, whose cosine is that of
//! the gradients with respect to the logits, `softmax(z/T) - softmax(t/T)`: the feature that both are multiplied with falls out. With two
//! classes every gradient lies on one line, so the cosine is 1 or -1 and the same for all parameters; with more, it is a choice of ours that costs
//! no backward pass per sample and teacher.
//! Where all teachers agree with the biased network the weights sum to 0, of which the publication says nothing: they then count alike.

use super::registry::{Mix, Rule};
use crate::settings::objective::ObjectiveSettings;

/// Gradients and weights below this are rounding: a teacher that the student already equals has no direction, and a cosine of 1 no weight.
pub const NEGLIGIBLE: f64 = 1e-12;

/// The rule for `alpha`; how the teachers' losses become one is [`weights`].
pub fn rule(settings: &ObjectiveSettings) -> Rule {
    Rule::mean(Mix::of(settings.alpha))
}

/// Weights of the teachers for one sample, summing to 1: `gradients[t]` and `biased` are `[K]` gradients with respect to the logits, of any
/// scale.
pub fn weights(gradients: &[Vec<f64>], biased: &[f64]) -> Vec<f64> {
    let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let weight = |gradient: &Vec<f64>| {
        let (own, other) = (norm(gradient), norm(biased));
        if own <= NEGLIGIBLE || other <= NEGLIGIBLE {
            return 1.0;
        }
        let cosine: f64 = gradient.iter().zip(biased).map(|(one, other_one)| (one / own) * (other_one / other)).sum();
        if 1.0 - cosine > NEGLIGIBLE { 1.0 - cosine } else { 0.0 }
    };
    let weights: Vec<f64> = gradients.iter().map(weight).collect();
    let total: f64 = weights.iter().sum();
    if total == 0.0 {
        return vec![1.0 / gradients.len() as f64; gradients.len()];
    }
    weights.into_iter().map(|weight| weight / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: directions (1, 0, -1), (0, 1, -1) and their opposites have cosines 1, 1/2 and -1 with the first.
    #[test]
    fn teachers_that_disagree_with_the_biased_network_count_more() {
        let gradients = [vec![2.0, 0.0, -2.0], vec![0.0, 3.0, -3.0], vec![-1.0, 0.0, 1.0]];
        let found = weights(&gradients, &[0.1, 0.0, -0.1]);
        for (found, expected) in found.iter().zip([0.0, 0.2, 0.8]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        let same = weights(&gradients[..1], &[0.1, 0.0, -0.1]);
        assert_eq!(same, [1.0], "all agree: alike");
        assert_eq!(weights(&[vec![0.0; 3], vec![1.0, -1.0, 0.0]], &[-1.0, 1.0, 0.0]), [1.0 / 3.0, 2.0 / 3.0]);
    }
}
