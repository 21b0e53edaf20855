//! libtorch's fused optimiser steps on explicit state, so that the state can be saved and a resumed run is bit-identical.
#![expect(unsafe_code, reason = "the FFI room")]

use tch::Tensor;

use super::TorchError;
use super::shim::{check, gd_fused_adamw, gd_fused_sgd, pointers};

/// Hyper-parameters of one AdamW step (Loshchilov & Hutter 2019; decay is decoupled).
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Added to the denominator.
    pub epsilon: f64,
}

/// State of AdamW for parameters in order: moments of the parameters' shapes, and one float32 step count each.
#[derive(Debug)]
pub struct AdamWState<'a> {
    /// First moments.
    pub first_moments: &'a [Tensor],
    /// Second moments.
    pub second_moments: &'a [Tensor],
    /// Step counts, float32 scalars.
    pub steps: &'a [Tensor],
}

/// One AdamW step in place: parameters, moments and step counts change.
///
/// # Errors
/// [`TorchError`] when shapes, dtypes or devices do not fit.
///
/// # Panics
/// When the slices differ in length: a caller's bug.
pub fn adamw_step(
    parameters: &[&Tensor],
    gradients: &[&Tensor],
    state: &AdamWState<'_>,
    step: AdamW,
) -> Result<(), TorchError> {
    let count = parameters.len();
    let lengths = [gradients.len(), state.first_moments.len(), state.second_moments.len(), state.steps.len()];
    assert!(lengths.iter().all(|length| *length == count), "AdamW state of another length");
    let parameters = pointers(parameters.iter().copied());
    let gradients = pointers(gradients.iter().copied());
    let (first, second) = (pointers(state.first_moments), pointers(state.second_moments));
    let steps = pointers(state.steps);
    // SAFETY: every array holds `count` pointers to tensors that are borrowed for the whole call.
    check(unsafe {
        gd_fused_adamw(
            parameters.as_ptr(),
            gradients.as_ptr(),
            first.as_ptr(),
            second.as_ptr(),
            steps.as_ptr(),
            count,
            step.learning_rate,
            step.beta1,
            step.beta2,
            step.weight_decay,
            step.epsilon,
        )
    })
}

/// Hyper-parameters of one SGD step.
#[derive(Debug, Clone, Copy)]
pub struct Sgd {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Momentum.
    pub momentum: f64,
    /// L2 penalty added to the gradient.
    pub weight_decay: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
    /// The first step fills the momenta instead of decaying them.
    pub first_step: bool,
}

/// One SGD step with momentum in place: parameters and momenta change.
///
/// # Errors
/// [`TorchError`] when shapes, dtypes or devices do not fit.
///
/// # Panics
/// When the slices differ in length: a caller's bug.
pub fn sgd_step(
    parameters: &[&Tensor],
    gradients: &[&Tensor],
    momenta: &[Tensor],
    step: Sgd,
) -> Result<(), TorchError> {
    let count = parameters.len();
    assert!(gradients.len() == count && momenta.len() == count, "SGD state of another length");
    let parameters = pointers(parameters.iter().copied());
    let gradients = pointers(gradients.iter().copied());
    let momenta = pointers(momenta);
    // SAFETY: every array holds `count` pointers to tensors that are borrowed for the whole call.
    check(unsafe {
        gd_fused_sgd(
            parameters.as_ptr(),
            gradients.as_ptr(),
            momenta.as_ptr(),
            count,
            step.learning_rate,
            step.momentum,
            step.weight_decay,
            step.nesterov.into(),
            step.first_step.into(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    /// By hand from the paper's Algorithm 2: after one step from zero moments the update is -lr * g/|g| (bias-corrected
    /// m = g, v = g^2), and the weight first shrinks by lr * decay.
    #[test]
    fn the_first_adamw_step_is_the_learning_rate_in_the_gradients_sign() {
        let parameter = Tensor::from_slice(&[1.0f32, -2.0]);
        let gradient = Tensor::from_slice(&[0.5f32, -3.0]);
        let first = [parameter.zeros_like()];
        let second = [parameter.zeros_like()];
        let steps = [Tensor::zeros([], (Kind::Float, Device::Cpu))];
        let state = AdamWState { first_moments: &first, second_moments: &second, steps: &steps };
        let step = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, weight_decay: 0.01, epsilon: 1e-8 };
        adamw_step(&[&parameter], &[&gradient], &state, step).unwrap();
        let found = Vec::<f32>::try_from(&parameter).unwrap();
        assert!((found[0] - (0.999 - 0.1)).abs() < 1e-6 && (found[1] - (-1.998 + 0.1)).abs() < 1e-6, "{found:?}");
        assert_eq!(steps[0].double_value(&[]), 1.0);
    }

    /// By hand: v1 = g + decay w, w1 = w - lr v1; v2 = 0.9 v1 + g, w2 = w1 - lr v2.
    #[test]
    fn two_sgd_steps_with_momentum_equal_the_hand_calculation() {
        let parameter = Tensor::from_slice(&[1.0f32]);
        let gradient = Tensor::from_slice(&[0.5f32]);
        let momenta = [parameter.zeros_like()];
        let mut step = Sgd { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.0, nesterov: false, first_step: true };
        sgd_step(&[&parameter], &[&gradient], &momenta, step).unwrap();
        assert!((parameter.double_value(&[0]) - 0.95).abs() < 1e-6);
        step.first_step = false;
        sgd_step(&[&parameter], &[&gradient], &momenta, step).unwrap();
        assert!((parameter.double_value(&[0]) - (0.95 - 0.1 * 0.95)).abs() < 1e-6);
    }
}
