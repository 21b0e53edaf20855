//! The last layer by name, for those who replace it.

use super::Classifier;
use super::declare::Declare;
use super::size;

impl Classifier {
    /// Names of weight `[classes, f]` and bias `[classes]` of the last layer; `None` where the head is more than one linear layer.
    pub fn last_layer(&self) -> Option<[String; 2]> {
        let spec = self.spec();
        let mut declare = Declare::default();
        spec.architecture.head(&mut declare, &(), size(spec.classes));
        let names: Vec<String> = declare.tensors.into_iter().map(|one| one.name).collect();
        names.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Architecture, Classifier, ModelSpec};

    #[test]
    fn every_network_ends_in_one_linear_layer() {
        for architecture in Architecture::ALL {
            let spec = ModelSpec { architecture, channels: 1, classes: 3, mean: vec![0.0], std: vec![1.0] };
            let classifier = Classifier::new(&spec, 0, tch::Device::Cpu);
            let [weight, bias] = classifier.last_layer().unwrap();
            let shape = |name: &str| {
                classifier
                    .state()
                    .iter()
                    .find(|(found, ..)| *found == name)
                    .map(|(_, tensor, _)| tensor.size())
                    .unwrap()
            };
            assert_eq!((shape(&weight)[0], shape(&bias)), (3, vec![3]));
        }
    }
}
