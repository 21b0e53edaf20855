//! Every network is trained, exported and gives its golden output in a process of its own.
#![cfg(feature = "torch")]

use groupdistil::formats::predictions::Predictions;
use groupdistil::formats::run::PREDICTIONS;
use groupdistil::model::Architecture;
use groupdistil::torch::script;
use tch::{Device, Kind, Tensor};

use crate::support::{expect_exit, groupdistil};
use crate::train::{SHORTCUT, Tiny, bytes, run, settings, write};

/// The dataset's images, float32, as its NPY file holds them (float16 after a header of 128 bytes).
fn images(dataset: &std::path::Path, side: i64) -> Tensor {
    let file = bytes(dataset, "images-00000.npy");
    let start = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
    let count = ((file.len() - start) / 2) as i64 / (2 * side * side);
    Tensor::from_data_size(&file[start..], &[count, 2, side, side], Kind::Half).to_kind(Kind::Float)
}

#[test]
fn every_network_trains_and_its_model_file_gives_the_predictions_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), Tiny { side: 32, ..SHORTCUT });
    let x = images(&dataset, 32);
    for architecture in Architecture::ALL {
        let name = architecture.name();
        let (out, model) = (folder.path().join(name), folder.path().join(format!("{name}.pt")));
        let text = format!("epochs = 1\narch = \"{name}\"\nlearning_rate = 1e-4\nselection = \"accuracy\"");
        run(&settings(&text, 3, None), &dataset, &out).unwrap();
        // Fails unless the golden output is met at three batch sizes.
        expect_exit(&mut groupdistil(&["export", out.to_str().unwrap(), "--out", model.to_str().unwrap()]), 0);
        let logits = tch::no_grad(|| script::load(&model, Device::Cpu).unwrap().forward_ts(&[&x])).unwrap();
        let rows = Predictions::read(&out.join(PREDICTIONS)).unwrap().rows;
        assert_eq!(logits.size(), [rows.len() as i64, 2], "{name}");
        let expected: Vec<f32> = rows.into_iter().flat_map(|row| row.logits).collect();
        let expected = Tensor::from_slice(&expected).view([-1, 2]);
        let scale = expected.abs().max().double_value(&[]).max(1.0);
        // Both lists are sorted: their order need not be the same.
        let sorted = |logits: &Tensor| logits.sort(0, false).0;
        let difference = (sorted(&logits) - sorted(&expected)).abs().max().double_value(&[]);
        assert!(difference < 2e-5 * scale, "{name}: {difference}");
    }
}

#[test]
fn images_too_small_for_a_network_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), Tiny { side: 24, ..SHORTCUT });
    let out = folder.path().join("run");
    let error = run(&settings("arch = \"densenet121\"", 0, None), &dataset, &out).unwrap_err().to_string();
    assert!(error.contains("24 x 24") && error.contains("29"), "{error}");
    assert!(!out.exists());
}
