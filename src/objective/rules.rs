//! The objectives' settings and their float64 reference: losses, gradients and q of a batch, in plain Rust.
//!
//! Conventions: `logits` are `[n, K]` row by row; `groups[i]` is an index into q (groups with a training sample, in byte order);
//! losses are in nats. `kd_i = T^2 KL(softmax(t_i/T) || softmax(z_i/T))`, summed over classes (Hinton et al. 2015).

use super::agre_kd;
use super::registry::{Mix, Rule, rule};
use crate::failure::Classify;
pub use crate::settings::objective::{AbsentRule, ObjectiveKind, ObjectiveSettings, OutOfRange, Scope};

/// Why an objective cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectiveError {
    /// A number outside its range.
    #[error("{key} is {found}, expected {expected}")]
    Range {
        /// The setting.
        key: &'static str,
        /// What was given.
        found: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// Input of another shape.
    #[error("{name} has {found} values, expected {expected}")]
    Shape {
        /// The input.
        name: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A label or group index outside its range.
    #[error("{name} of sample {sample} is {found}, expected 0 to {}", limit.saturating_sub(1))]
    Index {
        /// `label` or `group`.
        name: &'static str,
        /// 0-based sample of the batch.
        sample: usize,
        /// What is there.
        found: i64,
        /// One above the highest.
        limit: usize,
    },
    /// No teacher logits for an objective that learns from a teacher.
    #[error("objective {objective} needs teacher logits")]
    NoTeacher {
        /// The objective.
        objective: &'static str,
    },
    /// No logits of a biased network for an objective that weights its teachers by one.
    #[error("objective {objective} needs logits of a biased network")]
    NoBiased {
        /// The objective.
        objective: &'static str,
    },
    /// No group has a training sample.
    #[error("no group has a training sample")]
    NoGroups,
    /// A loss that is not finite; q has not moved.
    #[error("the loss of sample {sample} of the batch is not finite")]
    NotFinite {
        /// 0-based sample of the batch.
        sample: usize,
    },
    /// libtorch failed.
    #[cfg(feature = "torch")]
    #[error("libtorch failed in the objective")]
    Tch(#[from] tch::TchError),
}

impl Classify for ObjectiveError {}

impl From<OutOfRange> for ObjectiveError {
    fn from(OutOfRange { key, found, expected }: OutOfRange) -> Self {
        Self::Range { key, found, expected }
    }
}

impl ObjectiveSettings {
    /// Checks that the floor fits `groups` groups.
    pub(super) fn check_groups(&self, groups: usize) -> Result<(), ObjectiveError> {
        if groups == 0 {
            return Err(ObjectiveError::NoGroups);
        }
        if self.floor * groups as f64 > 1.0 {
            let expected = "at most 1 / (groups with a training sample)";
            return Err(ObjectiveError::Range { key: "floor", found: self.floor, expected });
        }
        Ok(())
    }
}

/// Group weights q, held as `[G]` logarithms so that no group can underflow to zero.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupWeights {
    log_q: Vec<f64>,
    /// C/sqrt(n_g).
    adjustments: Vec<f64>,
}

/// log(sum(exp(values))) of finite values; -inf without a value.
pub fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let highest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    highest + values.map(|value| libm::exp(value - highest)).sum::<f64>().ln()
}

impl GroupWeights {
    /// Uniform weights over groups with `train_counts[g] > 0` training samples.
    ///
    /// # Errors
    /// [`ObjectiveError::NoGroups`] without a group, [`ObjectiveError::Range`] for a group without a training sample.
    pub fn new(train_counts: &[u64], adjustment: f64) -> Result<Self, ObjectiveError> {
        if train_counts.is_empty() {
            return Err(ObjectiveError::NoGroups);
        }
        if train_counts.contains(&0) {
            return Err(ObjectiveError::Range {
                key: "training samples of a group",
                found: 0.0,
                expected: "at least 1",
            });
        }
        Ok(Self {
            log_q: vec![-(train_counts.len() as f64).ln(); train_counts.len()],
            adjustments: train_counts.iter().map(|&count| adjustment / (count as f64).sqrt()).collect(),
        })
    }

    /// q, sums to 1.
    pub fn q(&self) -> Vec<f64> {
        self.log_q.iter().map(|&value| libm::exp(value)).collect()
    }

    /// One exponentiated-gradient step in log space, then renormalisation (Sagawa et al. 2020, Algorithm 1; design, section 4).
    ///
    /// `loss[g]`: mean loss of group `g` in the batch, finite; `None` when the batch held no sample of `g`.
    pub fn update(&mut self, loss: &[Option<f64>], eta: f64, absent: AbsentRule) {
        let moved = |group: usize, loss: f64| self.log_q[group] + eta * (loss + self.adjustments[group]);
        match absent {
            AbsentRule::Keep => {
                let present: Vec<(usize, f64)> =
                    loss.iter().enumerate().filter_map(|(group, loss)| Some((group, moved(group, (*loss)?)))).collect();
                let before = log_sum_exp(present.iter().map(|&(group, _)| self.log_q[group]));
                let after = log_sum_exp(present.iter().map(|&(_, value)| value));
                if let [_] = present[..] {
                    return; // A batch of one group: u - u + log q, without its rounding.
                }
                for (group, value) in present {
                    self.log_q[group] = value - after + before;
                }
            }
            AbsentRule::Zero => {
                let all: Vec<f64> =
                    loss.iter().enumerate().map(|(group, loss)| moved(group, loss.unwrap_or(0.0))).collect();
                let total = log_sum_exp(all.iter().copied());
                self.log_q = all.into_iter().map(|value| value - total).collect();
            }
        }
    }

    /// What the loss weights groups with: `(1 - G floor) q + floor`.
    pub fn floored(&self, floor: f64) -> Vec<f64> {
        let keep = 1.0 - self.log_q.len() as f64 * floor;
        self.q().into_iter().map(|q| keep * q + floor).collect()
    }
}

/// One batch. Class and group indices are 0-based.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// `[n, K]` of the student.
    pub logits: &'a [f64],
    /// `[n, K]` of each teacher, for objectives that learn from them.
    pub teachers: &'a [&'a [f64]],
    /// `[n, K]` of the biased network of `agre-kd`.
    pub biased: Option<&'a [f64]>,
    /// `[n]`.
    pub labels: &'a [usize],
    /// `[n]`, indices into q.
    pub groups: &'a [usize],
}

/// What one step gives.
#[derive(Debug, Clone, PartialEq)]
pub struct StepResult {
    /// What the optimiser follows.
    pub loss: f64,
    /// `[n]` cross-entropy, nats.
    pub ce: Vec<f64>,
    /// `[n]` distillation loss, nats; empty without a teacher.
    pub kd: Vec<f64>,
    /// `[n, K]`: d loss / d logits, with q as a constant.
    pub gradient: Vec<f64>,
}

/// The float64 reference of an objective, with its group weights.
#[derive(Debug, Clone)]
pub struct Reference {
    settings: ObjectiveSettings,
    classes: usize,
    weights: GroupWeights,
}

/// Log-softmax of one row divided by the temperature.
fn log_softmax(row: &[f64], temperature: f64) -> Vec<f64> {
    let scaled = row.iter().map(|value| value / temperature);
    let highest = scaled.clone().fold(f64::NEG_INFINITY, f64::max);
    let shifted: Vec<f64> = scaled.map(|value| value - highest).collect();
    let total = shifted.iter().map(|&value| libm::exp(value)).sum::<f64>().ln();
    shifted.into_iter().map(|value| value - total).collect()
}

impl Reference {
    /// An objective at its start: uniform q over groups with `train_counts` training samples each.
    ///
    /// # Errors
    /// [`ObjectiveError`] for settings out of range or a group without samples.
    pub fn new(settings: ObjectiveSettings, classes: usize, train_counts: &[u64]) -> Result<Self, ObjectiveError> {
        settings.check()?;
        settings.check_groups(train_counts.len())?;
        let weights = GroupWeights::new(train_counts, settings.adjustment)?;
        Ok(Self { settings, classes, weights })
    }

    /// The group weights after the last step.
    pub fn weights(&self) -> &GroupWeights {
        &self.weights
    }

    fn check(&self, batch: &Batch<'_>) -> Result<(), ObjectiveError> {
        let (n, groups) = (batch.labels.len(), self.weights.log_q.len());
        let shape = |name, found: usize, expected: usize| {
            if found == expected { Ok(()) } else { Err(ObjectiveError::Shape { name, found, expected }) }
        };
        shape("groups", batch.groups.len(), n)?;
        shape("logits", batch.logits.len(), n * self.classes)?;
        if n == 0 {
            return Err(ObjectiveError::Shape { name: "labels", found: 0, expected: 1 });
        }
        let objective = self.settings.objective;
        for teacher in batch.teachers.iter().chain(&batch.biased) {
            shape("teacher logits", teacher.len(), n * self.classes)?;
        }
        if objective.needs_teacher() && batch.teachers.is_empty() {
            return Err(ObjectiveError::NoTeacher { objective: objective.as_str() });
        }
        if objective.needs_biased() && batch.biased.is_none() {
            return Err(ObjectiveError::NoBiased { objective: objective.as_str() });
        }
        let index = |name, values: &[usize], limit: usize| match values.iter().position(|&value| value >= limit) {
            Some(sample) => {
                let found = i64::try_from(values[sample]).unwrap_or(i64::MAX);
                Err(ObjectiveError::Index { name, sample, found, limit })
            }
            None => Ok(()),
        };
        index("label", batch.labels, self.classes)?;
        index("group", batch.groups, groups)
    }

    /// One training step: losses, then q, then the loss with the new q and its gradient.
    ///
    /// # Errors
    /// [`ObjectiveError`] for input of another shape; [`ObjectiveError::NotFinite`], in which case q has not moved.
    pub fn step(&mut self, batch: &Batch<'_>) -> Result<StepResult, ObjectiveError> {
        self.check(batch)?;
        let SampleLosses { ce, ce_gradient, kd, kd_gradient } = self.sample_losses(batch);
        let (ce_factors, kd_factors) = {
            let not_finite =
                |sample: &usize| !(ce[*sample].is_finite() && kd.get(*sample).is_none_or(|x| x.is_finite()));
            if let Some(sample) = (0..ce.len()).find(not_finite) {
                return Err(ObjectiveError::NotFinite { sample });
            }
            self.move_weights(batch.groups, &ce, &kd);
            self.factors(batch.groups)
        };
        let mut loss = 0.0;
        let mut gradient = vec![0.0; batch.logits.len()];
        for sample in 0..ce.len() {
            loss += ce_factors[sample] * ce[sample];
            let row = sample * self.classes..(sample + 1) * self.classes;
            for at in row.clone() {
                gradient[at] = ce_factors[sample] * ce_gradient[at];
            }
            if !kd.is_empty() && kd_factors[sample] != 0.0 {
                loss += kd_factors[sample] * kd[sample];
                for at in row {
                    gradient[at] += kd_factors[sample] * kd_gradient[at];
                }
            }
        }
        Ok(StepResult { loss, ce, kd, gradient })
    }

    fn sample_losses(&self, batch: &Batch<'_>) -> SampleLosses {
        let (classes, temperature) = (self.classes, self.settings.temperature);
        let mut losses = SampleLosses::default();
        for (sample, &label) in batch.labels.iter().enumerate() {
            let row = &batch.logits[sample * classes..(sample + 1) * classes];
            let log_p = log_softmax(row, 1.0);
            losses.ce.push(-log_p[label]);
            let one_hot = |class: usize| if class == label { 1.0 } else { 0.0 };
            losses
                .ce_gradient
                .extend(log_p.iter().enumerate().map(|(class, &value)| libm::exp(value) - one_hot(class)));
            if !self.settings.objective.needs_teacher() {
                continue;
            }
            let log_p = log_softmax(row, temperature);
            let soft = |logits: &[f64]| log_softmax(&logits[sample * classes..(sample + 1) * classes], temperature);
            let soft: Vec<Vec<f64>> = batch.teachers.iter().map(|teacher| soft(teacher)).collect();
            let biased =
                batch.biased.map(|biased| log_softmax(&biased[sample * classes..(sample + 1) * classes], temperature));
            let (kd, gradient) = match &biased {
                Some(biased) if self.settings.objective.needs_biased() => self.agreed(&log_p, &soft, biased),
                _ => self.divergence(&log_p, &mean_of(&soft)),
            };
            losses.kd.push(kd);
            losses.kd_gradient.extend(gradient);
        }
        losses
    }

    /// Distillation loss of one sample from log-probabilities at the temperature, and its gradient.
    fn divergence(&self, log_p: &[f64], log_t: &[f64]) -> (f64, Vec<f64>) {
        let temperature = self.settings.temperature;
        // A class of probability 0 adds nothing, whatever the student says (0 log 0 = 0).
        let term = |(t, p): (&f64, &f64)| match libm::exp(*t) {
            probability if probability > 0.0 => probability * (t - p),
            probability => probability,
        };
        let divergence: f64 = log_t.iter().zip(log_p).map(term).sum();
        let slope = |(t, p): (&f64, &f64)| temperature * (libm::exp(*p) - libm::exp(*t));
        (temperature * temperature * divergence, log_t.iter().zip(log_p).map(slope).collect())
    }

    /// The same for several teachers that are weighted by [`agre_kd::weights`]; the weights are constants.
    fn agreed(&self, log_p: &[f64], teachers: &[Vec<f64>], biased: &[f64]) -> (f64, Vec<f64>) {
        let each: Vec<(f64, Vec<f64>)> = teachers.iter().map(|log_t| self.divergence(log_p, log_t)).collect();
        let per_temperature =
            |gradient: &[f64]| gradient.iter().map(|value| value / self.settings.temperature).collect();
        let gradients: Vec<Vec<f64>> = each.iter().map(|(_, gradient)| per_temperature(gradient)).collect();
        let biased: Vec<f64> = per_temperature(&self.divergence(log_p, biased).1);
        let weights = agre_kd::weights(&gradients, &biased);
        let loss = each.iter().zip(&weights).map(|((loss, _), weight)| weight * loss).sum();
        let slope = |class: usize| each.iter().zip(&weights).map(|((_, slope), weight)| weight * slope[class]).sum();
        (loss, (0..log_p.len()).map(slope).collect())
    }

    /// Updates q from this batch's losses.
    fn move_weights(&mut self, groups: &[usize], ce: &[f64], kd: &[f64]) {
        let ObjectiveSettings { objective, eta, absent, .. } = self.settings;
        if !objective.has_weights() {
            return;
        }
        let Mix { ce: of_ce, kd: of_kd } = rule(&self.settings).driving;
        let kd_of = |sample: usize| kd.get(sample).map_or(0.0, |kd| of_kd * kd);
        let driving = ce.iter().enumerate().map(|(sample, ce)| of_ce * ce + kd_of(sample));
        let counts = self.counts(groups);
        let mut sums = vec![0.0; counts.len()];
        for (&group, loss) in groups.iter().zip(driving) {
            sums[group] += loss;
        }
        let means: Vec<Option<f64>> =
            sums.iter().zip(&counts).map(|(sum, &count)| (count > 0).then(|| sum / count as f64)).collect();
        self.weights.update(&means, eta, absent);
    }

    fn counts(&self, groups: &[usize]) -> Vec<usize> {
        let mut counts = vec![0; self.weights.log_q.len()];
        groups.iter().for_each(|&group| counts[group] += 1);
        counts
    }

    /// The factors of `ce_i` and `kd_i` in the loss.
    fn factors(&self, groups: &[usize]) -> (Vec<f64>, Vec<f64>) {
        let Rule { mean, weighted, .. } = rule(&self.settings);
        let (weights, counts) = (self.weights.floored(self.settings.floor), self.counts(groups));
        let factors = |mean: f64, weighted: f64| {
            let of = |&group: &usize| {
                let in_group = if weighted == 0.0 { 0.0 } else { weighted * weights[group] / counts[group] as f64 };
                mean / groups.len() as f64 + in_group
            };
            groups.iter().map(of).collect()
        };
        (factors(mean.ce, weighted.ce), factors(mean.kd, weighted.kd))
    }
}

/// Logarithm of the mean of several teachers' probabilities; of one, its own.
fn mean_of(teachers: &[Vec<f64>]) -> Vec<f64> {
    if let [one] = teachers {
        return one.clone();
    }
    let classes = teachers.first().map_or(0, Vec::len);
    let mean = |class: usize| log_sum_exp(teachers.iter().map(|teacher| teacher[class])) - (teachers.len() as f64).ln();
    (0..classes).map(mean).collect()
}

/// Per-sample losses and their gradients with respect to the logits.
#[derive(Debug, Default)]
struct SampleLosses {
    ce: Vec<f64>,
    ce_gradient: Vec<f64>,
    kd: Vec<f64>,
    kd_gradient: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: ObjectiveSettings = ObjectiveSettings {
        objective: ObjectiveKind::GroupDro,
        scope: Scope::Distillation,
        absent: AbsentRule::Keep,
        temperature: 1.0,
        alpha: 0.5,
        eta: 1.0,
        adjustment: 0.0,
        floor: 0.0,
    };

    #[test]
    fn a_loss_that_is_not_finite_names_the_sample_and_leaves_q_alone() {
        let mut objective = Reference::new(SETTINGS, 2, &[3, 4]).unwrap();
        let logits = [0.0, 1.0, f64::NAN, 0.0];
        let batch = Batch { logits: &logits, teachers: &[], biased: None, labels: &[0, 1], groups: &[0, 1] };
        let before = objective.weights().clone();
        assert!(matches!(objective.step(&batch), Err(ObjectiveError::NotFinite { sample: 1 })));
        assert_eq!(*objective.weights(), before);
    }

    #[test]
    fn a_floor_above_one_over_the_groups_is_refused() {
        let settings = ObjectiveSettings { floor: 0.6, ..SETTINGS };
        assert!(matches!(Reference::new(settings, 2, &[1, 1]), Err(ObjectiveError::Range { key: "floor", .. })));
    }

    #[test]
    fn a_group_without_training_samples_is_refused() {
        assert!(Reference::new(SETTINGS, 2, &[1, 0]).is_err());
        assert!(matches!(Reference::new(SETTINGS, 2, &[]), Err(ObjectiveError::NoGroups)));
    }

    proptest! {
        #[test]
        fn q_sums_to_one_and_absent_groups_keep_theirs(
            steps in prop::collection::vec(prop::collection::vec(prop::option::of(0.0f64..2000.0), 4), 1..20),
            eta in 0.001f64..5.0,
        ) {
            let mut weights = GroupWeights::new(&[5, 50, 500, 1], 1.0).unwrap();
            for loss in steps {
                let before = weights.q();
                weights.update(&loss, eta, AbsentRule::Keep);
                let q = weights.q();
                prop_assert!((q.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                for group in (0..4).filter(|&group| loss[group].is_none()) {
                    prop_assert_eq!(q[group], before[group]);
                }
                weights.update(&loss, eta, AbsentRule::Zero);
                prop_assert!((weights.q().iter().sum::<f64>() - 1.0).abs() < 1e-9);
            }
        }

        #[test]
        fn the_gradient_of_each_sample_sums_to_zero(logits in prop::collection::vec(-50.0f64..50.0, 6)) {
            let mut objective = Reference::new(SETTINGS, 3, &[3, 4]).unwrap();
            let step = objective
                .step(&Batch { logits: &logits, teachers: &[], biased: None, labels: &[0, 2], groups: &[1, 0] })
                .unwrap();
            for row in step.gradient.chunks(3) {
                prop_assert!(row.iter().sum::<f64>().abs() < 1e-12);
            }
        }
    }
}
