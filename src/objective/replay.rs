//! Replays given logits, labels and groups through an objective, in the float64 reference and in the float32 tensor path, so that
//! anybody can compare losses, gradients and group weights with an implementation of their own.
//!
//! Input: `{"objective": "group-distil", "scope": "distillation", "absent": "keep", "temperature": 4, "alpha": 0.9, "eta": 0.3,
//! "adjustment": 0, "floor": 0, "train_counts": [418, 22], "steps": [{"logits": [[..], ..], "teacher_logits": [[..], ..],
//! "labels": [0, ..], "groups": [1, ..]}]}`; only `objective`, `train_counts` and `steps` are required. `train_counts[g]` is the
//! number of training samples of group g. A step may hold `more_teacher_logits` and, for `agre-kd`, `biased_logits`. Output: `q_start`, and under `float64` and `float32` per step `loss`, `ce`, `kd`,
//! `gradient` (of the loss with respect to the logits, q held constant) and `q` after the step.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::rules::{AbsentRule, Batch, ObjectiveError, ObjectiveKind, ObjectiveSettings, Reference, Scope};
use super::tensor::{TensorBatch, TensorObjective};

/// `schema` of the output.
pub const REPLAY_SCHEMA: &str = "groupdistil.objective-replay/1";

/// One batch of the input.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepInput {
    /// `[n][K]` of the student.
    pub logits: Vec<Vec<f64>>,
    /// `[n][K]` of the teacher.
    pub teacher_logits: Option<Vec<Vec<f64>>>,
    /// `[M - 1][n][K]` of further teachers.
    pub more_teacher_logits: Option<Vec<Vec<Vec<f64>>>>,
    /// `[n][K]` of the biased network of `agre-kd`.
    pub biased_logits: Option<Vec<Vec<f64>>>,
    /// `[n]`, 0-based.
    pub labels: Vec<usize>,
    /// `[n]`, 0-based.
    pub groups: Vec<usize>,
}

/// The input file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayInput {
    /// What is minimised.
    pub objective: ObjectiveKind,
    /// Default `distillation`.
    pub scope: Option<Scope>,
    /// Default `keep`.
    pub absent: Option<AbsentRule>,
    /// Default 1.
    pub temperature: Option<f64>,
    /// Default 0.5.
    pub alpha: Option<f64>,
    /// Default 0.1.
    pub eta: Option<f64>,
    /// Default 0.
    pub adjustment: Option<f64>,
    /// Default 0.
    pub floor: Option<f64>,
    /// `[G]` training samples per group, each at least 1.
    pub train_counts: Vec<u64>,
    /// In order.
    pub steps: Vec<StepInput>,
}

/// One step of the output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepOutput {
    /// What the optimiser follows.
    pub loss: f64,
    /// `[n]` nats.
    pub ce: Vec<f64>,
    /// `[n]` nats; empty for objectives without a teacher.
    pub kd: Vec<f64>,
    /// `[n][K]`.
    pub gradient: Vec<Vec<f64>>,
    /// `[G]` after the step.
    pub q: Vec<f64>,
}

/// The output file.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayOutput {
    /// [`REPLAY_SCHEMA`].
    pub schema: &'static str,
    /// As used, defaults filled in.
    pub settings: ObjectiveSettings,
    /// `[G]`: uniform.
    pub q_start: Vec<f64>,
    /// The reference.
    pub float64: Vec<StepOutput>,
    /// Logits as float32 tensors, as in training.
    pub float32: Vec<StepOutput>,
}

/// Why an input cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// A step that the objective refuses.
    #[error("step {step}")]
    Step {
        /// 0-based.
        step: usize,
        /// The reason.
        source: ObjectiveError,
    },
    /// Settings out of range.
    #[error(transparent)]
    Settings(#[from] ObjectiveError),
}

impl crate::failure::Classify for ReplayError {}

/// Runs all steps through both paths.
///
/// # Errors
/// [`ReplayError`] with the step.
pub fn replay(input: &ReplayInput) -> Result<ReplayOutput, ReplayError> {
    let settings = ObjectiveSettings {
        objective: input.objective,
        scope: input.scope.unwrap_or(Scope::Distillation),
        absent: input.absent.unwrap_or(AbsentRule::Keep),
        temperature: input.temperature.unwrap_or(1.0),
        alpha: input.alpha.unwrap_or(0.5),
        eta: input.eta.unwrap_or(0.1),
        adjustment: input.adjustment.unwrap_or(0.0),
        floor: input.floor.unwrap_or(0.0),
    };
    let classes = input.steps.first().and_then(|step| step.logits.first()).map_or(0, Vec::len);
    let mut reference = Reference::new(settings, classes, &input.train_counts)?;
    let mut tensor = TensorObjective::new(settings, &input.train_counts, Device::Cpu)?;
    let q_start = reference.weights().q();
    let (mut float64, mut float32) = (Vec::new(), Vec::new());
    for (step, given) in input.steps.iter().enumerate() {
        let wrong = |source| ReplayError::Step { step, source };
        let logits = flat("logits", &given.logits, classes).map_err(wrong)?;
        let taught = |rows: &Vec<Vec<f64>>| flat("teacher logits", rows, classes);
        let teachers = given.teacher_logits.iter().chain(given.more_teacher_logits.iter().flatten()).map(taught);
        let teachers = teachers.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let teachers: Vec<&[f64]> = teachers.iter().map(Vec::as_slice).collect();
        let biased = given.biased_logits.as_ref().map(taught).transpose().map_err(wrong)?;
        let batch = Batch {
            logits: &logits,
            teachers: &teachers,
            biased: biased.as_deref(),
            labels: &given.labels,
            groups: &given.groups,
        };
        // The reference checks every shape and index, so the tensors below fit.
        let done = reference.step(&batch).map_err(wrong)?;
        float64.push(StepOutput {
            loss: done.loss,
            ce: done.ce,
            kd: done.kd,
            gradient: done.gradient.chunks(classes.max(1)).map(<[f64]>::to_vec).collect(),
            q: reference.weights().q(),
        });
        float32.push(tensor_step(&mut tensor, &batch, classes).map_err(wrong)?);
    }
    Ok(ReplayOutput { schema: REPLAY_SCHEMA, settings, q_start, float64, float32 })
}

fn flat(name: &'static str, rows: &[Vec<f64>], classes: usize) -> Result<Vec<f64>, ObjectiveError> {
    match rows.iter().find(|row| row.len() != classes) {
        Some(row) => Err(ObjectiveError::Shape { name, found: row.len(), expected: classes }),
        None => Ok(rows.concat()),
    }
}

fn tensor_step(
    objective: &mut TensorObjective,
    batch: &Batch<'_>,
    classes: usize,
) -> Result<StepOutput, ObjectiveError> {
    let shape = [batch.labels.len() as i64, classes as i64];
    let matrix = |values: &[f64]| -> Result<Tensor, tch::TchError> {
        Tensor::f_from_slice(values)?.f_to_kind(Kind::Float)?.f_reshape(shape)
    };
    let indices = |values: &[usize]| {
        let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
        Tensor::f_from_slice(&values)
    };
    let numbers = |tensor: &Tensor| -> Result<Vec<f64>, tch::TchError> {
        Vec::<f64>::try_from(tensor.f_to_kind(Kind::Double)?.f_reshape([-1])?)
    };
    let logits = matrix(batch.logits)?.set_requires_grad(true);
    let all =
        batch.teachers.iter().copied().chain(batch.biased.filter(|_| objective.settings().objective.needs_biased()));
    let all = all.map(matrix).collect::<Result<Vec<_>, _>>()?;
    let teacher = match all.as_slice() {
        [] => None,
        [one] => Some(one.shallow_clone()),
        several => Some(Tensor::f_stack(several, 1)?),
    };
    let (labels, groups) = (indices(batch.labels)?, indices(batch.groups)?);
    let step = objective.step(&TensorBatch {
        logits: &logits,
        teacher: teacher.as_ref(),
        labels: &labels,
        groups: &groups,
    })?;
    step.loss.f_backward()?;
    Ok(StepOutput {
        loss: step.loss.f_double_value(&[])?,
        ce: numbers(&step.ce)?,
        kd: step.kd.as_ref().map(numbers).transpose()?.unwrap_or_default(),
        gradient: numbers(&logits.f_grad()?)?.chunks(classes.max(1)).map(<[f64]>::to_vec).collect(),
        q: objective.q()?,
    })
}
