//! The GPU against the CPU, wherever libtorch finds one: training, bfloat16, a kill and its resume, a model on both.
#![cfg(feature = "torch")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use groupdistil::formats::dataset::Split;
use groupdistil::formats::predictions::Predictions;
use groupdistil::formats::run::{MetricsLine, PREDICTIONS, read_metrics, read_run_json};
use groupdistil::torch::device::cuda_devices;

use crate::ingest::{json, text};
use crate::support::{expect_exit, groupdistil, skip_on_this_machine};
use crate::train::{SHORTCUT, write};
use crate::trainer_kill::{kept, kill_when, resumed_at_step};

/// Whether there is a GPU; says so where there is none.
fn has_gpu(test: &str) -> bool {
    let found = cuda_devices() > 0;
    if !found {
        skip_on_this_machine(test, "no CUDA device");
    }
    found
}

fn command(dataset: &Path, out: &Path, device: &str, epochs: u64) -> Command {
    let mut command = groupdistil(&["train", text(dataset), "--out", text(out), "--device", device, "--threads", "2"]);
    command.args(["-q", "--arch", "compact-resnet", "--seed", "4", "--set", "batch_size=16"]);
    command.args(["--epochs", &epochs.to_string()]);
    command
}

/// Lines of `metrics.jsonl`, whose losses are numbers, one per epoch and split.
fn metrics(out: &Path, epochs: u64) -> Vec<MetricsLine> {
    let lines = read_metrics(out).unwrap();
    let found: Vec<(u64, Split)> = lines.iter().map(|line| (line.epoch, line.split)).collect();
    let expected: Vec<(u64, Split)> =
        (1..=epochs).flat_map(|epoch| [(epoch, Split::Train), (epoch, Split::Val)]).collect();
    assert_eq!(found, expected);
    assert!(lines.iter().all(|line| line.loss.is_some_and(f64::is_finite)), "{lines:?}");
    lines
}

/// Probabilities of every sample of a run.
fn probabilities(out: &Path) -> Vec<(String, Vec<f64>)> {
    let rows = Predictions::read(&out.join(PREDICTIONS)).unwrap().rows;
    let softmax = |logits: &[f32]| -> Vec<f64> {
        let powers: Vec<f64> = logits.iter().map(|logit| f64::from(*logit).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|power| power / sum).collect()
    };
    rows.iter().map(|row| (row.sample_id.clone(), softmax(&row.logits))).collect()
}

/// The device and notes of the last call.
fn provenance(out: &Path) -> serde_json::Value {
    json(&out.join("provenance.json"))
}

#[test]
fn a_gpu_trains_as_the_cpu_does() {
    if !has_gpu("a_gpu_trains_as_the_cpu_does") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let [cpu, cuda] = ["cpu", "cuda"].map(|device| {
        let out = folder.path().join(device);
        let mut command = command(&dataset, &out, device, 2);
        // AdamW divides by the gradients' size, which makes much of roundings where they are small.
        command.args(["--set", "precision=float32", "--set", "channels_last=false", "--set", "selection=last-epoch"]);
        expect_exit(command.args(["--set", "optimiser=sgd", "--set", "learning_rate=0.01"]), 0);
        out
    });
    assert_eq!(provenance(&cuda)["device"], "Cuda(0)");
    let (on_cpu, on_cuda) = (metrics(&cpu, 2), metrics(&cuda, 2));
    for (expected, found) in on_cpu.iter().zip(&on_cuda).filter(|(line, _)| line.epoch == 1) {
        let (expected, found) = (expected.loss.unwrap(), found.loss.unwrap());
        assert!((found - expected).abs() <= 1e-3 * expected, "{found} on the GPU, {expected} on the CPU");
    }
    let (on_cpu, on_cuda) = (probabilities(&cpu), probabilities(&cuda));
    assert_eq!(on_cpu.len(), 72 + 64);
    assert_eq!(on_cpu.len(), on_cuda.len());
    for ((sample, expected), (same, found)) in on_cpu.iter().zip(&on_cuda) {
        assert_eq!(sample, same);
        let worst = expected.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst <= 1e-2, "{sample}: {found:?} on the GPU, {expected:?} on the CPU");
    }
}

#[test]
fn a_gpu_trains_in_bfloat16_and_learns() {
    if !has_gpu("a_gpu_trains_in_bfloat16_and_learns") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    for order in ["channels_last=false", "channels_last=true"] {
        let out = folder.path().join(order);
        let mut command = command(&dataset, &out, "cuda", 8);
        command.args(["--set", "precision=bfloat16", "--set", order]);
        expect_exit(command.args(["--set", "learning_rate=3e-3", "--set", "augment=false"]), 0);
        let provenance = provenance(&out);
        assert_eq!((&provenance["device"], &provenance["notes"]["bfloat16"]), (&"Cuda(0)".into(), &true.into()));
        let lines = metrics(&out, 8);
        let losses: Vec<f64> =
            lines.iter().filter(|line| line.split == Split::Train).map(|line| line.loss.unwrap()).collect();
        assert!(losses[7] < losses[0], "{losses:?}");
        let predictions = probabilities(&out);
        assert!(predictions.iter().flat_map(|(_, row)| row).all(|value| value.is_finite()), "{predictions:?}");
    }
}

#[test]
fn a_run_killed_on_a_gpu_goes_on_there_and_on_the_cpu() {
    if !has_gpu("a_run_killed_on_a_gpu_goes_on_there_and_on_the_cpu") {
        return;
    }
    const EPOCHS: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    for (device, name) in [("cuda", "Cuda(0)"), ("cpu", "Cpu")] {
        let out = folder.path().join(device);
        let mut child = command(&dataset, &out, "cuda", EPOCHS).stdout(Stdio::null()).spawn().unwrap();
        let ready = || kept(&out).is_some_and(|kept| kept.epochs >= 2);
        assert!(kill_when(&mut child, ready, Duration::from_millis(3)), "the run was done before it was killed");
        let last = kept(&out).unwrap();
        expect_exit(&mut command(&dataset, &out, device, EPOCHS), 0);
        assert_eq!(resumed_at_step(&out), last.steps);
        assert_eq!(provenance(&out)["device"], name);
        metrics(&out, EPOCHS);
        assert_eq!(read_run_json(&out).unwrap().epochs, EPOCHS);
        assert_eq!(probabilities(&out).len(), 72 + 64);
    }
}

/// Probabilities by stack and column of a table of `predict`.
fn predicted(path: &Path) -> BTreeMap<(String, String), f64> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
    let of = |row: &BTreeMap<String, String>| -> Vec<((String, String), f64)> {
        let columns = row.iter().filter(|(column, _)| column.starts_with("prob_"));
        columns.map(|(column, value)| ((row["stack_id"].clone(), column.clone()), value.parse().unwrap())).collect()
    };
    rows.iter().flat_map(of).collect()
}

#[test]
fn a_model_that_a_gpu_trained_predicts_the_same_on_the_cpu() {
    if !has_gpu("a_model_that_a_gpu_trained_predicts_the_same_on_the_cpu") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    std::fs::write(path("key"), [9; 32]).unwrap();
    let [phantom, scans, labels, key] = ["phantom", "phantom/scans", "phantom/labels.csv", "key"].map(path);
    let [cohort, dataset, run, model] = ["cohort", "dataset", "run", "model.pt"].map(path);
    let step = |arguments: &[&str]| expect_exit(&mut groupdistil(arguments), 0);
    step(&["phantom", "--preset", "tiny", "--out", &phantom]);
    step(&["ingest", &scans, "--labels", &labels, "--key", &key, "--out", &cohort]);
    step(&["preprocess", &cohort, "--out", &dataset]);
    step(&["train", &dataset, "--arch", "compact-resnet", "--epochs", "2", "--out", &run, "--device", "cuda"]);
    assert_eq!(provenance(Path::new(&run))["device"], "Cuda(0)");
    step(&["export", &run, "--out", &model]);
    let [on_cpu, on_cuda] = ["cpu", "cuda"].map(|device| {
        let out = path(&format!("{device}.csv"));
        let words = ["predict", &model, &scans, "--labels", &labels, "--key", &key, "--out", &out, "--device", device];
        step(&words);
        predicted(Path::new(&out))
    });
    // 36 stacks, three classes.
    assert_eq!(on_cpu.len(), 36 * 3);
    assert_eq!(on_cpu.keys().collect::<Vec<_>>(), on_cuda.keys().collect::<Vec<_>>());
    for (place, expected) in &on_cpu {
        let found = on_cuda[place];
        assert!((found - expected).abs() <= 1e-3, "{place:?}: {found} on the GPU, {expected} on the CPU");
    }
}
