//! The moving average of a network's weights, which is evaluated, selected and kept in their place.

use tch::{Kind, Tensor};

use super::TrainError;
use crate::model::Classifier;

/// The average, with the running statistics averaged too (as torchvision's `ExponentialMovingAverage`).
#[derive(Debug)]
pub struct Average {
    classifier: Classifier,
    decay: f64,
}

impl Average {
    /// Starts at the network's weights.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn new(network: &Classifier, decay: f64, channels_last: bool) -> Result<Self, TrainError> {
        let mut classifier = network.copy()?;
        if channels_last {
            classifier.to_channels_last()?;
        }
        Ok(Self { classifier, decay })
    }

    /// The averaged network.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// The averaged network, to be restored.
    pub fn classifier_mut(&mut self) -> &mut Classifier {
        &mut self.classifier
    }

    /// Share of the average that step `step` (1-based) keeps: at most (1 + step) / (10 + step), so that a short run does not stay at
    /// its random start (as TensorFlow's `ExponentialMovingAverage` with `num_updates`).
    fn kept(&self, step: u64) -> f64 {
        self.decay.min((1.0 + step as f64) / (10.0 + step as f64))
    }

    /// Moves towards the network's weights after step `step` (1-based) of the run. Counts are taken over.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn update(&mut self, network: &Classifier, step: u64) -> Result<(), TrainError> {
        let _guard = tch::no_grad_guard();
        let share = 1.0 - self.kept(step);
        for ((_, own, _), (_, new, _)) in self.classifier.state().into_iter().zip(network.state()) {
            let mut own: Tensor = own.shallow_clone();
            if own.kind() == Kind::Int64 {
                own.f_copy_(new)?;
            } else {
                let _ = own.f_lerp_(new, share)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Architecture, ModelSpec};
    use tch::Device;

    /// By hand: after step 1 the average keeps 2/11, after step 2 3/12; from step 90 on the decay of 0.91 is the smaller.
    #[test]
    fn the_average_moves_by_the_rule_and_leaves_the_network_alone() {
        let spec = ModelSpec {
            architecture: Architecture::CompactResnet,
            channels: 1,
            classes: 2,
            mean: vec![0.0],
            std: vec![1.0],
        };
        let network = |seed| Classifier::new(&spec, seed, Device::Cpu);
        let value = |classifier: &Classifier| classifier.parameters()[0].1.double_value(&[0, 0, 0, 0]);
        let (first, second) = (network(1), network(2));
        let mut average = Average::new(&first, 0.91, true).unwrap();
        average.update(&second, 1).unwrap();
        let (a, b) = (value(&first), value(&second));
        let once = 2.0 / 11.0 * a + 9.0 / 11.0 * b;
        assert!((value(average.classifier()) - once).abs() < 1e-6);
        average.update(&first, 2).unwrap();
        assert!((value(average.classifier()) - (0.25 * once + 0.75 * a)).abs() < 1e-6);
        assert!((value(&first) - a).abs() < 1e-12 && average.kept(89) < 0.91);
        assert!((average.kept(1000) - 0.91).abs() < 1e-12);
    }
}
