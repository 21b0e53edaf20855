//! The objectives on tensors: the same rules as [`super::rules`], with q as a float64 tensor on the device.
//!
//! Losses are computed in float64 whatever the dtype of the logits: a batch has few logits, and mixed precision then costs no
//! accuracy here. No call waits for the device but [`TensorObjective::q`] and [`TensorObjective::log_q`].

use tch::{Device, Kind, Tensor};

use super::agre_kd::NEGLIGIBLE;
use super::registry::{Mix, Rule, rule};
use super::rules::{AbsentRule, ObjectiveError, ObjectiveSettings};

/// An objective with its group weights on a device.
#[derive(Debug)]
pub struct TensorObjective {
    settings: ObjectiveSettings,
    /// `[G]` float64.
    log_q: Tensor,
    /// `[G]` float64, C/sqrt(n_g).
    adjustments: Tensor,
    /// `[1, G]` int64: 0, 1, ..., G-1.
    indices: Tensor,
}

/// One batch on the device.
#[derive(Debug, Clone, Copy)]
pub struct TensorBatch<'a> {
    /// `[n, K]` of the student, any floating dtype; carries the gradient.
    pub logits: &'a Tensor,
    /// `[n, K]` of the teacher, `[n, M, K]` of M teachers, or `[n, M + 1, K]` with the biased network of `agre-kd` as the last; without
    /// gradient.
    pub teacher: Option<&'a Tensor>,
    /// `[n]` int64, 0..K.
    pub labels: &'a Tensor,
    /// `[n]` int64, indices into q; -1 for an objective without weights.
    pub groups: &'a Tensor,
}

/// What one step gives.
#[derive(Debug)]
pub struct TensorStep {
    /// Float64 scalar with gradient: what the optimiser follows.
    pub loss: Tensor,
    /// `[n]` float64 cross-entropy, detached.
    pub ce: Tensor,
    /// `[n]` float64 distillation loss, detached; `None` for objectives without a teacher.
    pub kd: Option<Tensor>,
    /// `[n]` bool: which samples' losses are finite. Where one is not, q has not moved and the optimiser must not.
    pub finite: Tensor,
}

impl TensorObjective {
    /// An objective at its start: uniform q over groups with `train_counts` training samples each.
    ///
    /// # Errors
    /// [`ObjectiveError`] for settings out of range, or an objective with weights and a group without samples.
    pub fn new(settings: ObjectiveSettings, train_counts: &[u64], device: Device) -> Result<Self, ObjectiveError> {
        settings.check()?;
        if settings.objective.has_weights() {
            settings.check_groups(train_counts.len())?;
            // The reference's checks hold here too.
            super::rules::GroupWeights::new(train_counts, settings.adjustment)?;
        }
        let groups = train_counts.len().max(1);
        let adjustments: Vec<f64> =
            train_counts.iter().map(|&count| settings.adjustment / (count.max(1) as f64).sqrt()).collect();
        let log_q = vec![-(groups as f64).ln(); groups];
        let adjustments = if adjustments.is_empty() { vec![0.0] } else { adjustments };
        Ok(Self {
            settings,
            log_q: Tensor::f_from_slice(&log_q)?.f_to_device(device)?,
            adjustments: Tensor::f_from_slice(&adjustments)?.f_to_device(device)?,
            indices: Tensor::f_arange(groups as i64, (Kind::Int64, device))?.f_unsqueeze(0)?,
        })
    }

    /// The settings.
    pub fn settings(&self) -> &ObjectiveSettings {
        &self.settings
    }

    /// q `[G]`, sums to 1. Waits for the device.
    ///
    /// # Errors
    /// [`ObjectiveError::Tch`].
    pub fn q(&self) -> Result<Vec<f64>, ObjectiveError> {
        Ok(self.log_q()?.into_iter().map(libm::exp).collect())
    }

    /// log q `[G]`, for a checkpoint. Waits for the device.
    ///
    /// # Errors
    /// [`ObjectiveError::Tch`].
    pub fn log_q(&self) -> Result<Vec<f64>, ObjectiveError> {
        Ok(Vec::<f64>::try_from(&self.log_q.f_to_device(Device::Cpu)?)?)
    }

    /// Restores log q from a checkpoint.
    ///
    /// # Errors
    /// [`ObjectiveError::Shape`] for another number of groups.
    pub fn set_log_q(&mut self, log_q: &[f64]) -> Result<(), ObjectiveError> {
        let expected = self.indices.numel();
        if log_q.len() != expected {
            return Err(ObjectiveError::Shape { name: "log q", found: log_q.len(), expected });
        }
        self.log_q = Tensor::f_from_slice(log_q)?.f_to_device(self.log_q.device())?;
        Ok(())
    }

    /// One training step: losses, then q from the detached losses, then the loss with the new q.
    ///
    /// # Errors
    /// [`ObjectiveError::NoTeacher`], or [`ObjectiveError::Tch`] for tensors that do not fit.
    pub fn step(&mut self, batch: &TensorBatch<'_>) -> Result<TensorStep, ObjectiveError> {
        let ObjectiveSettings { objective, .. } = self.settings;
        let ce = cross_entropy(batch.logits, batch.labels)?;
        let kd = match (objective.needs_teacher(), batch.teacher) {
            (false, _) => None,
            (true, Some(teacher)) => Some(teacher_losses(&self.settings, batch.logits, teacher)?),
            (true, None) => return Err(ObjectiveError::NoTeacher { objective: objective.as_str() }),
        };
        let (plain_ce, plain_kd) = (ce.detach(), kd.as_ref().map(Tensor::detach));
        let mut finite = plain_ce.f_isfinite()?;
        if let Some(kd) = &plain_kd {
            finite = finite.f_logical_and(&kd.f_isfinite()?)?;
        }
        let Rule { mean, weighted, driving } = rule(&self.settings);
        let averaged = mixed(mean, &ce, kd.as_ref())?.map(|losses| losses.f_mean(Kind::Double)).transpose()?;
        let in_groups = match mixed(driving, &plain_ce, plain_kd.as_ref())? {
            // q moves even where nothing is weighted with it (alpha = 0).
            Some(driving) => {
                let losses = mixed(weighted, &ce, kd.as_ref())?.map_or_else(|| ce.f_zeros_like(), Ok)?;
                Some(self.weighted(&losses, &driving, batch.groups, &finite)?)
            }
            None => None,
        };
        let loss = match (averaged, in_groups) {
            (Some(averaged), Some(in_groups)) => averaged.f_add(&in_groups)?,
            (averaged, in_groups) => {
                averaged.or(in_groups).map_or_else(|| ce.f_zeros_like()?.f_sum(Kind::Double), Ok)?
            }
        };
        Ok(TensorStep { loss, ce: plain_ce, kd: plain_kd, finite })
    }

    /// Moves q by the group means of `driving` `[n]`, then gives `sum_g q_g mean_g(losses)` with the new, floored q.
    fn weighted(
        &mut self,
        losses: &Tensor,
        driving: &Tensor,
        groups: &Tensor,
        finite: &Tensor,
    ) -> Result<Tensor, ObjectiveError> {
        // [n, G]: a matrix product sums in a fixed order on every device, which index_add on CUDA does not.
        let membership = groups.f_unsqueeze(1)?.f_eq_tensor(&self.indices)?.f_to_kind(Kind::Double)?;
        let counts = membership.f_sum_dim_intlist(&[0i64][..], false, Kind::Double)?;
        let present = counts.f_gt(0.0)?;
        let divisors = counts.f_clamp_min(1.0)?;
        let sums = membership.f_transpose(0, 1)?.f_matmul(&driving.f_unsqueeze(1)?)?.f_squeeze_dim(1)?;
        let moved = self.moved(&sums.f_div(&divisors)?, &present)?;
        self.log_q = moved.f_where_self(&finite.f_all()?, &self.log_q)?;
        let floor = self.settings.floor;
        let keep = 1.0 - self.indices.numel() as f64 * floor;
        let weights = self.log_q.f_exp()?.f_mul_scalar(keep)?.f_add_scalar(floor)?;
        let factors = weights.f_div(&divisors)?.f_index_select(0, groups)?;
        Ok(losses.f_mul(&factors)?.f_sum(Kind::Double)?)
    }

    /// log q after a step with mean losses `[G]` (0 for absent groups).
    fn moved(&self, means: &Tensor, present: &Tensor) -> Result<Tensor, tch::TchError> {
        let u = means.f_add(&self.adjustments)?.f_mul_scalar(self.settings.eta)?.f_add(&self.log_q)?;
        let log_sum_exp = |values: &Tensor| values.f_logsumexp(&[0i64][..], true);
        match self.settings.absent {
            AbsentRule::Zero => u.f_sub(&log_sum_exp(&u)?),
            AbsentRule::Keep => {
                let nothing = u.f_full_like(f64::NEG_INFINITY)?;
                let before = log_sum_exp(&self.log_q.f_where_self(present, &nothing)?)?;
                let after = log_sum_exp(&u.f_where_self(present, &nothing)?)?;
                u.f_sub(&after)?.f_add(&before)?.f_where_self(present, &self.log_q)
            }
        }
    }
}

/// `mix` of the losses `[n]`; `None` when it takes nothing of them.
fn mixed(mix: Mix, ce: &Tensor, kd: Option<&Tensor>) -> Result<Option<Tensor>, tch::TchError> {
    let scaled = |losses: &Tensor, by: f64| match by {
        0.0 => Ok(None),
        1.0 => Ok(Some(losses.shallow_clone())),
        by => losses.f_mul_scalar(by).map(Some),
    };
    let of_kd = kd.map(|kd| scaled(kd, mix.kd)).transpose()?.flatten();
    match (scaled(ce, mix.ce)?, of_kd) {
        (Some(ce), Some(kd)) => ce.f_add(&kd).map(Some),
        (one, other) => Ok(one.or(other)),
    }
}

/// Cross-entropy `[n]`, float64 nats, of logits `[n, K]` and labels `[n]`.
///
/// # Errors
/// libtorch's, for tensors that do not fit.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor, tch::TchError> {
    let log_p = logits.f_to_kind(Kind::Double)?.f_log_softmax(-1, Kind::Double)?;
    log_p.f_gather(1, &labels.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?.f_neg()
}

/// The objective's distillation loss `[n]`, float64 nats, of student logits `[n, K]` and of teachers' as in [`TensorBatch`].
///
/// # Errors
/// [`ObjectiveError::NoBiased`]; libtorch's, for tensors that do not fit.
pub fn teacher_losses(
    settings: &ObjectiveSettings,
    student: &Tensor,
    teacher: &Tensor,
) -> Result<Tensor, ObjectiveError> {
    if !settings.objective.needs_biased() {
        return Ok(distillation(student, teacher, settings.temperature)?);
    }
    if teacher.dim() != 3 || teacher.size()[1] < 2 {
        return Err(ObjectiveError::NoBiased { objective: settings.objective.as_str() });
    }
    Ok(agreed(student, teacher, settings.temperature)?)
}

fn soft(logits: &Tensor, temperature: f64) -> Result<Tensor, tch::TchError> {
    logits.f_to_kind(Kind::Double)?.f_div_scalar(temperature)?.f_log_softmax(-1, Kind::Double)
}

/// The weighted distillation loss of [`super::agre_kd`]; the last of `all` `[n, M + 1, K]` is the biased network.
fn agreed(student: &Tensor, all: &Tensor, temperature: f64) -> Result<Tensor, tch::TchError> {
    let teachers = all.size()[1] - 1;
    let log_p = soft(student, temperature)?.f_unsqueeze(1)?;
    let log_t = soft(&all.detach(), temperature)?;
    let sum = |tensor: &Tensor| tensor.f_sum_dim_intlist(&[-1i64][..], false, Kind::Double);
    let gradients = log_p.detach().f_exp()?.f_sub(&log_t.f_exp()?)?;
    let norms = sum(&gradients.f_square()?)?.f_sqrt()?.f_unsqueeze(-1)?;
    let directions = gradients.f_div(&norms.f_clamp_min(NEGLIGIBLE)?)?;
    let directions = directions.f_where_self(&norms.f_gt(NEGLIGIBLE)?, &directions.f_zeros_like()?)?;
    let cosines = sum(&directions.f_narrow(1, 0, teachers)?.f_mul(&directions.f_narrow(1, teachers, 1)?)?)?;
    let weights = cosines.f_neg()?.f_add_scalar(1.0)?;
    let weights = weights.f_where_self(&weights.f_gt(NEGLIGIBLE)?, &weights.f_zeros_like()?)?;
    let totals = weights.f_sum_dim_intlist(&[-1i64][..], true, Kind::Double)?;
    let alike = weights.f_full_like(1.0 / teachers as f64)?;
    let weights = weights.f_div(&totals)?.f_where_self(&totals.f_gt(0.0)?, &alike)?;
    let log_t = log_t.f_narrow(1, 0, teachers)?;
    let losses = sum(&log_t.f_exp()?.f_mul(&log_t.f_sub(&log_p)?)?)?;
    sum(&losses.f_mul(&weights)?)?.f_mul_scalar(temperature * temperature)
}

/// `T^2 KL(softmax(t/T) || softmax(z/T))` `[n]`, float64 nats, of student and teacher logits `[n, K]`; of teachers' `[n, M, K]` with the mean of their
/// softened probabilities.
///
/// # Errors
/// libtorch's, for tensors that do not fit.
pub fn distillation(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor, tch::TchError> {
    let (log_p, mut log_t) = (soft(student, temperature)?, soft(&teacher.detach(), temperature)?);
    if log_t.dim() == 3 {
        let count = log_t.size()[1] as f64;
        log_t = log_t.f_logsumexp(&[1i64][..], false)?.f_sub_scalar(count.ln())?;
    }
    let terms = log_t.f_exp()?.f_mul(&log_t.f_sub(&log_p)?)?;
    terms.f_sum_dim_intlist(&[-1i64][..], false, Kind::Double)?.f_mul_scalar(temperature * temperature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::{ObjectiveKind, Scope};

    #[test]
    fn a_loss_that_is_not_finite_is_marked_and_leaves_q_alone() {
        let settings = ObjectiveSettings {
            objective: ObjectiveKind::GroupDro,
            scope: Scope::Distillation,
            absent: AbsentRule::Keep,
            temperature: 1.0,
            alpha: 0.5,
            eta: 1.0,
            adjustment: 0.0,
            floor: 0.0,
        };
        let mut objective = TensorObjective::new(settings, &[3, 4], Device::Cpu).unwrap();
        let before = objective.log_q().unwrap();
        let (labels, groups) = (Tensor::from_slice(&[0i64, 1]), Tensor::from_slice(&[0i64, 1]));
        let logits = Tensor::from_slice(&[0.0f32, 1.0, f32::NAN, 0.0]).reshape([2, 2]);
        let batch = TensorBatch { logits: &logits, teacher: None, labels: &labels, groups: &groups };
        let step = objective.step(&batch).unwrap();
        assert_eq!(Vec::<bool>::try_from(&step.finite).unwrap(), [true, false]);
        assert_eq!(objective.log_q().unwrap(), before);
        let logits = logits.nan_to_num(3.0, None::<f64>, None::<f64>);
        objective.step(&TensorBatch { logits: &logits, ..batch }).unwrap();
        assert_ne!(objective.log_q().unwrap(), before);
    }
}
