//! Networks against torchvision: outputs, gradients, names and starting distributions.
#![cfg(feature = "torch")]

use groupdistil::model::operations::Unit;
use groupdistil::model::{Architecture, Classifier, LeftOut, ModelSpec};
use groupdistil::torch::shim::to_channels_last;
use tch::{Device, Kind, Tensor};

use crate::support::run_python;

fn spec(architecture: Architecture) -> ModelSpec {
    ModelSpec { architecture, channels: 2, classes: 3, mean: vec![0.1, -0.2], std: vec![1.5, 0.7] }
}

/// Deterministic values in -2..2, made in float64 so that Python's twin rounds to the same float32.
fn input(kind: Kind) -> Tensor {
    let count = 3 * 2 * 48 * 40;
    ((Tensor::arange(count, (Kind::Double, Device::Cpu)) * 0.37).sin().view([3, 2, 48, 40]) * 2.0).to_kind(kind)
}

/// Training passes until the running statistics fit the input: with their starting values the activations of an untrained
/// network grow from layer to layer, and float32's rounding with them.
fn settle(model: &Classifier) {
    tch::no_grad(|| (0..5).for_each(|_| drop(model.forward(&input(Kind::Float), true))));
}

/// Logits of a training pass in float64 and the gradients of their cross-entropy, by name after `prefix`.
fn trained(model: &Classifier, left_out: Option<LeftOut>, prefix: &str) -> Vec<(String, Tensor)> {
    let x = input(Kind::Double);
    let logits = left_out.map_or_else(|| model.forward(&x, true), |left_out| model.forward_leaving_out(&x, left_out));
    // tch's cross_entropy_for_logits would round to float32.
    let loss = logits.log_softmax(-1, Kind::Double).nll_loss(&Tensor::from_slice(&[0i64, 1, 2]));
    loss.backward();
    let mut found = vec![(format!("{prefix}logits"), logits.detach())];
    for (name, tensor) in model.parameters() {
        let mut gradient = tensor.grad();
        found.push((format!("{prefix}grad.{name}"), gradient.copy()));
        let _ = gradient.zero_();
    }
    found
}

/// Dropout and stochastic depth of a network: layer, unit, share, and how many values each has.
fn leaving_out(architecture: Architecture) -> Vec<(String, Unit, f64, i64)> {
    let dropout = |layer: &str, values| (layer.to_owned(), Unit::Value, 0.2, values);
    match architecture {
        Architecture::MobilenetV3Small => vec![dropout("classifier.2", 1024)],
        // torchvision's shares rise by 0.2 / 16 a block; blocks with a stride or of other channels have no shortcut.
        Architecture::EfficientnetB0 => {
            let blocks =
                [(2, 1, 2), (3, 1, 4), (4, 1, 6), (4, 2, 7), (5, 1, 9), (5, 2, 10), (6, 1, 12), (6, 2, 13), (6, 3, 14)];
            let depth = |(stage, block, before): (u32, u32, u32)| {
                let share = 0.2 * f64::from(before) / 16.0;
                (format!("features.{stage}.{block}.stochastic_depth"), Unit::Sample, share, 1)
            };
            blocks.into_iter().map(depth).chain([dropout("classifier.0", 1280)]).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn outputs_gradients_and_names_equal_torchvisions() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in Architecture::ALL {
        let mut model = Classifier::new(&spec(architecture), 3, Device::Cpu);
        settle(&model);
        let weights = folder.path().join(format!("{}.safetensors", architecture.name()));
        model.save(&weights).unwrap();
        let names: Vec<&str> = model.state().into_iter().map(|(name, ..)| name).collect();
        std::fs::write(weights.with_extension("names"), names.join("\n")).unwrap();
        let mut found = vec![("single".to_owned(), model.forward(&input(Kind::Float), false).detach())];
        model.to_double();
        found.extend(trained(&model, None, ""));
        let left_out = LeftOut { seed: 5, step: 7 };
        found.extend(trained(&model, Some(left_out), "left-out."));
        for (layer, unit, share, values) in leaving_out(architecture) {
            let like = Tensor::zeros([3, values, 1, 1], (Kind::Double, Device::Cpu));
            let like = if unit == Unit::Value { like.view([3, values]) } else { like };
            found.push((format!("factors.{layer}"), left_out.factors(&like, &layer, unit, share)));
        }
        Tensor::write_safetensors(&found, weights.with_extension("found.safetensors")).unwrap();
    }
    run_python("model", "model_parity.py", &[folder.path().to_str().unwrap()]);
}

#[test]
fn starting_weights_have_torchvisions_distributions() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in Architecture::ALL {
        for seed in 0..2 {
            let model = Classifier::new(&spec(architecture), seed, Device::Cpu);
            model.save(&folder.path().join(format!("{}.{seed}.safetensors", architecture.name()))).unwrap();
        }
    }
    run_python("model", "initial_weights.py", &[folder.path().to_str().unwrap()]);
}

#[test]
fn weights_come_back_bit_for_bit_and_other_networks_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let saved = Classifier::new(&spec(Architecture::CompactResnet), 1, Device::Cpu);
    saved.save(&path).unwrap();
    let mut loaded = Classifier::new(&spec(Architecture::CompactResnet), 2, Device::Cpu);
    loaded.load(&path).unwrap();
    assert_eq!(saved.forward(&input(Kind::Float), false), loaded.forward(&input(Kind::Float), false));

    let refused = Classifier::new(&spec(Architecture::Resnet18), 1, Device::Cpu).load(&path).unwrap_err();
    assert!(refused.to_string().contains("weights of another network"), "{refused}");
    let other = ModelSpec { classes: 4, ..spec(Architecture::CompactResnet) };
    let refused = Classifier::new(&other, 1, Device::Cpu).load(&path).unwrap_err();
    assert!(refused.to_string().contains("fc.") && refused.to_string().contains("[4"), "{refused}");
}

#[test]
fn equal_seeds_give_equal_weights_whatever_happened_before() {
    tch::manual_seed(5);
    let first = Classifier::new(&spec(Architecture::CompactResnet), 7, Device::Cpu);
    tch::manual_seed(6);
    let second = Classifier::new(&spec(Architecture::CompactResnet), 7, Device::Cpu);
    let other = Classifier::new(&spec(Architecture::CompactResnet), 8, Device::Cpu);
    assert!(first.parameters().iter().zip(second.parameters()).all(|(a, b)| *a.1 == *b.1));
    assert!(*first.parameters()[0].1 != *other.parameters()[0].1);
}

#[test]
fn the_script_gives_the_eager_networks_outputs_at_any_batch_size() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in Architecture::ALL {
        let model = Classifier::new(&spec(architecture), 4, Device::Cpu);
        settle(&model);
        let path = folder.path().join("model.pt");
        let state = model.state();
        let source = model.torchscript_source();
        let extra: &[(&str, &[u8])] = &[("groupdistil.json", b"{}"), ("note", b"")];
        let parts = groupdistil::torch::script::ScriptParts { tensors: &state, source: &source, extra };
        groupdistil::torch::script::save(&parts, &path).unwrap();
        let loaded = groupdistil::torch::script::load(&path, Device::Cpu).unwrap();
        for rows in [1, 2, 3] {
            let x = input(Kind::Float).narrow(0, 0, rows);
            let difference = (loaded.forward_ts(&[&x]).unwrap() - model.forward(&x, false)).abs().max();
            assert!(difference.double_value(&[]) < 1e-6, "{}: {difference:?}", architecture.name());
        }
        let found = groupdistil::torch::script::extra_file(&path, "groupdistil.json").unwrap();
        assert_eq!(found.as_deref(), Some(b"{}".as_slice()));
        assert_eq!(groupdistil::torch::script::tensors(&path).unwrap().len(), state.len());
    }
}

/// torch 2.11: torch.nn.Conv2d(1, 64, 7).to(memory_format=torch.channels_last).weight.stride() is (49, 1, 7, 1).
#[test]
fn tensors_of_one_channel_become_channels_last_too() {
    let mut kernel = Tensor::arange(64 * 49, (Kind::Float, Device::Cpu)).view([64, 1, 7, 7]);
    let before = kernel.copy();
    to_channels_last(&mut kernel).unwrap();
    assert_eq!(kernel.stride(), [49, 1, 7, 1]);
    assert_eq!(kernel, before);
}
