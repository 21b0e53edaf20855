//! Starting from weights that PyTorch wrote, in all its containers; files that would like to run code.
#![cfg(feature = "torch")]

use std::collections::BTreeMap;
use std::path::Path;

use groupdistil::model::{Architecture, Classifier, ModelSpec, Pretrained, PretrainedError};
use tch::{Device, Kind, Tensor};

use crate::support::run_python;

fn network(architecture: Architecture, channels: usize, classes: usize) -> Classifier {
    let spec = ModelSpec { architecture, channels, classes, mean: vec![0.0; channels], std: vec![1.0; channels] };
    Classifier::new(&spec, 9, Device::Cpu)
}

fn safetensors(path: &Path) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

/// Names of tensors in which a network differs from a file.
fn differing(network: &Classifier, expected: &BTreeMap<String, Tensor>) -> Vec<String> {
    let state = network.state();
    let differs = |(name, tensor, _): &&(&str, &Tensor, bool)| expected.get(*name).is_none_or(|value| value != *tensor);
    state.iter().filter(differs).map(|(name, ..)| (*name).to_owned()).collect()
}

#[test]
fn every_container_of_pytorch_gives_the_same_weights_and_none_runs_code() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    if run_python("pretrained", "pretrained_files.py", &[folder.path().to_str().unwrap()]).is_none() {
        return;
    }
    let expected = safetensors(&at("expected.safetensors"));
    let files = "plain.safetensors new.pth old.pth protocol4.pth module.pth training.pth training-old.pth channels-last.pth \
                 one-storage.pth scripted.pt traced.pt hostile.new.pth hostile.old.pth";
    for file in files.split_whitespace() {
        let pretrained = Pretrained::read(&at(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut network = network(Architecture::Resnet18, 3, 5);
        let info = network.start_from(&pretrained).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(differing(&network, &expected), [""; 0], "{file}");
        assert_eq!((info.channels, info.new_last_layer), (3, false), "{file}");
    }
    assert!(!at("made-by-new").exists() && !at("made-by-old").exists(), "code of a file was run");

    let plain = Pretrained::read(&at("new.pth")).unwrap();
    for channels in [1, 2, 4] {
        let mut network = network(Architecture::Resnet18, channels, 3);
        let info = network.start_from(&plain).unwrap();
        assert!(info.new_last_layer);
        assert_eq!(differing(&network, &expected), ["conv1.weight", "fc.weight", "fc.bias"]);
        let first = &safetensors(&at(&format!("expected.{channels}.safetensors")))["conv1.weight"];
        let difference = (first - network.parameters()[0].1).abs().max();
        assert!(difference.double_value(&[]) < 1e-7, "{channels}: {difference:?}");
    }
    let mut uncounted = network(Architecture::Resnet18, 3, 5);
    uncounted.start_from(&Pretrained::read(&at("uncounted.pth")).unwrap()).unwrap();
    assert!(differing(&uncounted, &expected).is_empty(), "all counts are 0");

    let mut dense = network(Architecture::Densenet121, 3, 5);
    dense.start_from(&Pretrained::read(&at("dense.pth")).unwrap()).unwrap();
    assert_eq!(differing(&dense, &safetensors(&at("dense.safetensors"))), [""; 0]);

    let refused = network(Architecture::Resnet34, 3, 5).start_from(&plain).unwrap_err().to_string();
    assert!(refused.contains("missing `layer1.2.conv1.weight`") && refused.contains("unexpected none"), "{refused}");
    assert!(refused.contains("than resnet34") && refused.contains(" more"), "{refused}");
}

#[test]
fn what_does_not_fit_changes_nothing_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let saved = network(Architecture::CompactResnet, 2, 3);
    saved.save(&at("good.safetensors")).unwrap();
    let good = safetensors(&at("good.safetensors"));
    let mut started = network(Architecture::CompactResnet, 2, 3);
    let refused = |started: &mut Classifier, change: &dyn Fn(&mut BTreeMap<String, Tensor>)| -> PretrainedError {
        let mut tensors: BTreeMap<String, Tensor> =
            good.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        change(&mut tensors);
        Tensor::write_safetensors(&tensors.into_iter().collect::<Vec<_>>(), at("bad.safetensors")).unwrap();
        started.start_from(&Pretrained::read(&at("bad.safetensors")).unwrap()).unwrap_err()
    };
    let before: BTreeMap<String, Tensor> =
        started.state().into_iter().map(|(name, tensor, _)| (name.to_owned(), tensor.detach().copy())).collect();
    let nan = refused(&mut started, &|tensors| {
        let broken = &tensors["bn1.bias"] + f64::NAN;
        tensors.insert("bn1.bias".into(), broken);
    });
    assert!(nan.to_string().ends_with("`bn1.bias` is not finite"), "{nan}");
    let shape = refused(&mut started, &|tensors| {
        tensors.insert("bn1.bias".into(), Tensor::zeros([7], (Kind::Float, Device::Cpu)));
    });
    assert!(shape.to_string().contains("`bn1.bias` has shape [7], expected [24]"), "{shape}");
    let names = refused(&mut started, &|tensors| {
        tensors.remove("bn1.bias");
        tensors.insert("strange".into(), Tensor::zeros([7], (Kind::Float, Device::Cpu)));
    });
    assert!(names.to_string().contains("missing `bn1.bias`, unexpected `strange`"), "{names}");
    assert_eq!(differing(&started, &before), [""; 0]);
    std::fs::write(at("text.pth"), b"hello").unwrap();
    let text = Pretrained::read(&at("text.pth")).unwrap_err();
    assert!(text.to_string().contains("neither safetensors nor"), "{text}");
}
