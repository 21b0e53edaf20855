//! Training on tiny datasets with a shortcut: every objective, refusals, resume bit for bit, files that Python reads.
#![cfg(feature = "torch")]

use std::path::{Path, PathBuf};

use groupdistil::context::{Context, Interrupt, Observer, Silent};
use groupdistil::dataset::write_in_memory;
use groupdistil::failure::{Classify, FailureKind};
use groupdistil::formats::compare::CompareJson;
use groupdistil::formats::dataset::{SampleRow, Split};
use groupdistil::formats::plan::*;
use groupdistil::formats::predictions::Predictions;
use groupdistil::formats::run::{METRICS_JSONL, PREDICTIONS, WEIGHTS, read_metrics, read_run_json};
use groupdistil::settings::train::{TrainSettings, TrainWire};
use groupdistil::train::{TrainError, TrainSummary, train};

use crate::support::{expect_exit, groupdistil, run_python};

/// What a tiny dataset is made of.
#[derive(Clone, Copy)]
pub struct Tiny {
    /// Samples per (label, site) in training: the label goes with the site.
    pub train: [[usize; 2]; 2],
    /// Samples per (label, site) in validation and in test.
    pub held: [[usize; 2]; 2],
    pub folds: Option<usize>,
    /// Rows and columns.
    pub side: usize,
}

pub const SHORTCUT: Tiny = Tiny { train: [[30, 6], [6, 30]], held: [[8, 8], [8, 8]], folds: None, side: 24 };

fn plan(side: usize) -> Plan {
    Plan {
        schema: PLAN_SCHEMA.into(),
        selection: Selection { views: vec!["sax".into()], kinds: vec!["cine".into()], slice_range: [0.0, 1.0] },
        sample: SampleKind::Pair,
        cardiac_phases: CardiacPhases::AreaCurve,
        geometry: PlanGeometry::Mm {
            pixel_spacing_mm: 2.0,
            slice_spacing_mm: None,
            height: side,
            width: side,
            kernel: Kernel::Linear,
            centre: Centre::Heart,
        },
        intensity: IntensityPlan {
            bias_correction: false,
            standard_landmarks: None,
            clip_percentiles: Some([1.0, 99.0]),
            normalisation: Normalisation::ZScore,
            scope: Scope::Stack,
        },
        frame_channels: 1,
    }
}

/// Deterministic noise in -0.5..0.5.
fn noise(state: &mut u64) -> f32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*state >> 40) as f32) / (1 << 24) as f32 - 0.5
}

/// A disc that is small or large (the label) on a background whose stripes tell the site.
fn image(side: usize, label: usize, site: usize, state: &mut u64) -> Vec<f32> {
    let (right, down) = (noise(state) * 4.0, noise(state) * 4.0);
    let radius = if label == 0 { 4.0 } else { 7.0 } + noise(state) * 2.5;
    let centre = (side as f32 - 1.0) / 2.0;
    let mut pixels = Vec::with_capacity(2 * side * side);
    for channel in 0..2 {
        for row in 0..side {
            for column in 0..side {
                let (y, x) = (row as f32 - centre - down, column as f32 - centre - right);
                let inside = (x * x + y * y).sqrt() < radius - channel as f32;
                let stripes = if (row / 2) % 2 == site { 1.0 } else { -0.5 };
                pixels.push(if inside { 1.5 } else { stripes } + noise(state));
            }
        }
    }
    pixels
}

/// Writes the dataset; samples of a subject come in pairs.
pub fn write(folder: &Path, tiny: Tiny) -> PathBuf {
    let mut state = 7;
    let mut samples = Vec::new();
    let splits = [(Split::Train, tiny.train), (Split::Val, tiny.held), (Split::Test, tiny.held)];
    for (split, counts) in splits {
        for label in 0..2 {
            for (site, &count) in counts[label].iter().enumerate() {
                for number in 0..count {
                    let index = samples.len();
                    let subject = format!("{}{label}{site}{}", split.as_str(), number / 2);
                    let row = SampleRow {
                        sample_id: format!("sample{index:04}"),
                        subject_id: format!("subject{subject}"),
                        stack_id: format!("stack{subject}"),
                        slices: vec![0],
                        phases: vec![0, 3],
                        label: ["DCM", "NOR"][label].into(),
                        acquisition_group: format!("site={site}"),
                        group: format!("label={};site={site}", ["DCM", "NOR"][label]),
                        site: Some(site.to_string()),
                        vendor: None,
                        model: None,
                        field_strength_t: Some(1.5),
                        sex: None,
                        age_years: None,
                        split,
                        fold: tiny.folds.map(|folds| ((number / 2) % folds) as i32),
                        shard: 0,
                        row: 0,
                    };
                    samples.push((row, image(tiny.side, label, site, &mut state)));
                }
            }
        }
    }
    write_in_memory(folder, &plan(tiny.side), &samples, tiny.folds).unwrap();
    folder.to_path_buf()
}

const FAST: &str = "arch = \"compact-resnet\"\nbatch_size = 16\nlearning_rate = 3e-3\naugment = false\n";

pub fn settings(text: &str, seed: u64, teacher: Option<&Path>) -> TrainSettings {
    let mut table: toml::Table = toml::from_str(FAST).unwrap();
    table.extend(toml::from_str::<toml::Table>(text).unwrap());
    let wire: TrainWire = table.try_into().unwrap();
    TrainSettings::from_wire(&wire, seed, None, teacher.map(Path::to_path_buf)).unwrap()
}

pub fn run_with(
    settings: &TrainSettings,
    dataset: &Path,
    out: &Path,
    observer: &dyn Observer,
    interrupt: &Interrupt,
) -> Result<TrainSummary, TrainError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    train(settings, dataset, out, false, "cpu", Context { observer, interrupt, pool: &pool })
}

pub fn run(settings: &TrainSettings, dataset: &Path, out: &Path) -> Result<TrainSummary, TrainError> {
    run_with(settings, dataset, out, &Silent, &Interrupt::default())
}

pub fn bytes(out: &Path, file: &str) -> Vec<u8> {
    std::fs::read(out.join(file)).unwrap()
}

#[test]
fn every_objective_trains_and_fills_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let teacher = folder.path().join("erm");
    for objective in ["erm", "group-dro", "kd", "group-distil"] {
        let needs = matches!(objective, "kd" | "group-distil");
        let settings =
            settings(&format!("objective = \"{objective}\"\nepochs = 8"), 1, needs.then_some(teacher.as_path()));
        let out = folder.path().join(objective);
        let done = run(&settings, &dataset, &out).unwrap();
        let lines = read_metrics(&out).unwrap();
        assert_eq!(lines.len(), 16);
        let train: Vec<_> = lines.iter().filter(|line| line.split == Split::Train).collect();
        assert!(train[7].loss.unwrap() < 0.5 * train[0].loss.unwrap(), "{objective}: {lines:?}");
        assert!(done.run.final_metrics[&Split::Test].accuracy.unwrap() > 0.6, "{objective}");
        let weights: f64 = train[7].groups.values().filter_map(|group| group.weight).sum();
        assert!(if objective.starts_with("group") { (weights - 1.0).abs() < 1e-9 } else { weights == 0.0 });
        assert_eq!(done.run.teacher.is_some(), needs);
        assert_eq!(read_run_json(&out).unwrap(), done.run);
        let predictions = Predictions::read(&out.join(PREDICTIONS)).unwrap();
        assert_eq!(predictions.rows.len(), 72 + 64);
        assert!(run(&settings, &dataset, &out).unwrap().up_to_date);
    }
}

/// Asks to stop after so many training steps.
pub struct StopAfter<'a> {
    steps: std::sync::atomic::AtomicU64,
    interrupt: &'a Interrupt,
    training: std::sync::atomic::AtomicBool,
}

impl<'a> StopAfter<'a> {
    pub fn new(steps: u64, interrupt: &'a Interrupt) -> Self {
        Self { steps: steps.into(), interrupt, training: false.into() }
    }
}

impl Observer for StopAfter<'_> {
    fn begin(&self, step: &str, _total: Option<u64>) {
        self.training.store(step.starts_with("train "), std::sync::atomic::Ordering::Relaxed);
    }
    fn advance(&self, items: u64) {
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        if items == 1 && self.training.load(relaxed) && self.steps.fetch_sub(1, relaxed) == 1 {
            self.interrupt.set();
        }
    }
    fn remark(&self, _text: &str) {}
    fn end(&self) {}
}

/// Files that must not differ between equal runs.
const SAME: [&str; 8] = [
    "run.json",
    "settings.toml",
    METRICS_JSONL,
    WEIGHTS,
    PREDICTIONS,
    "plan.json",
    "curves.svg",
    "tensorboard/events.out.tfevents.0.groupdistil",
];

#[track_caller]
pub fn expect_same(first: &Path, second: &Path) {
    for file in SAME {
        assert!(bytes(first, file) == bytes(second, file), "{file} differs");
    }
}

#[test]
fn an_interrupted_run_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let teacher = folder.path().join("teacher");
    run(&settings("epochs = 2", 5, None), &dataset, &teacher).unwrap();
    // 72 training samples in batches of 16: 5 steps an epoch.
    let variants = [
        ("objective = \"group-distil\"\nepochs = 4\naugment = true\nprecision = \"float32\"", true),
        (
            "objective = \"group-dro\"\nepochs = 4\noptimiser = \"sgd\"\nlearning_rate = 0.02\nchannels_last = true",
            false,
        ),
        (
            "objective = \"kd\"\nepochs = 4\nsampler = \"group-balanced\"\nprecision = \"bfloat16\"\nabsent = \"zero\"",
            true,
        ),
    ];
    for (number, (text, taught)) in variants.into_iter().enumerate() {
        let settings = settings(text, 5, taught.then_some(teacher.as_path()));
        let whole = folder.path().join(format!("whole{number}"));
        run(&settings, &dataset, &whole).unwrap();
        // Within the first epoch, at the end of an epoch, within a later one, and twice.
        for stops in [&[3][..], &[10], &[13], &[4, 9]] {
            let parts = folder.path().join(format!("parts{number}-{stops:?}"));
            for &steps in stops {
                let interrupt = Interrupt::default();
                let stop = StopAfter::new(steps, &interrupt);
                let error = run_with(&settings, &dataset, &parts, &stop, &interrupt).unwrap_err();
                assert_eq!(error.kind(), FailureKind::Interrupted, "{error}");
                // What a kill between metrics and checkpoint would leave behind.
                let mut torn = std::fs::OpenOptions::new().append(true).open(parts.join(SAME[7])).unwrap();
                std::io::Write::write_all(&mut torn, b"torn").unwrap();
                let mut torn = std::fs::OpenOptions::new().append(true).create(true).open(parts.join(METRICS_JSONL));
                std::io::Write::write_all(torn.as_mut().unwrap(), b"{\"epoch\":").unwrap();
            }
            run(&settings, &dataset, &parts).unwrap();
            expect_same(&whole, &parts);
        }
    }
}

#[test]
fn a_damaged_checkpoint_starts_the_run_anew() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let settings = settings("epochs = 3", 5, None);
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    run(&settings, &dataset, &whole).unwrap();
    let interrupt = Interrupt::default();
    run_with(&settings, &dataset, &parts, &StopAfter::new(8, &interrupt), &interrupt).unwrap_err();
    std::fs::write(parts.join("checkpoint/state.safetensors"), b"not tensors").unwrap();
    run(&settings, &dataset, &parts).unwrap();
    expect_same(&whole, &parts);
}

#[test]
fn seeds_reproduce_and_share_order_and_weights_between_methods() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let out = |name: &str| folder.path().join(name);
    for (name, seed) in [("first", 1), ("again", 1), ("other", 2)] {
        run(&settings("epochs = 2\naugment = true", seed, None), &dataset, &out(name)).unwrap();
    }
    expect_same(&out("first"), &out("again"));
    assert_ne!(bytes(&out("first"), WEIGHTS), bytes(&out("other"), WEIGHTS));
    // With eta near 0 and equal groups the first epoch of Group DRO is a reweighted ERM on the same batches.
    let dro = "epochs = 2\naugment = true\nobjective = \"group-dro\"\neta = 1e-9";
    run(&settings(dro, 1, None), &dataset, &out("dro")).unwrap();
    let present = |name: &str| {
        let lines = read_metrics(&out(name)).unwrap();
        lines[0].groups.values().map(|group| group.present_fraction).collect::<Vec<_>>()
    };
    assert_eq!(present("first"), present("dro"));
    assert_ne!(present("first").iter().flatten().sum::<f64>(), 4.0);
}

#[test]
fn what_cannot_be_trained_on_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = |name: &str, tiny: Tiny| write(&folder.path().join(name), tiny);
    let good = dataset("good", SHORTCUT);
    let refused = |settings: &TrainSettings, dataset: &Path, kind: FailureKind, words: &[&str]| {
        let out = folder.path().join("refused");
        let error = run(settings, dataset, &out).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.kind(), kind, "{message}");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        assert!(!out.exists(), "{message}");
    };
    let one_class = dataset("one-class", Tiny { train: [[9, 9], [0, 0]], ..SHORTCUT });
    refused(&settings("", 0, None), &one_class, FailureKind::Unusable, &["class `DCM`", "check the labels"]);
    let unvalidated = dataset("unvalidated", Tiny { held: [[8, 0], [8, 8]], ..SHORTCUT });
    let words = ["`label=DCM;site=1`", "selection=accuracy"];
    refused(&settings("", 0, None), &unvalidated, FailureKind::Unusable, &words);
    let nothing = dataset("nothing", Tiny { held: [[0, 0], [0, 0]], ..SHORTCUT });
    refused(&settings("selection = \"accuracy\"", 0, None), &nothing, FailureKind::Unusable, &["validation split"]);
    refused(&settings("objective = \"kd\"", 0, None), &good, FailureKind::Usage, &["--teacher"]);
    refused(&settings("", 0, Some(&good)), &good, FailureKind::Usage, &["erm has no teacher"]);
    let mut folded = settings("", 0, None);
    folded.fold = Some(1);
    refused(&folded, &good, FailureKind::Usage, &["no folds", "k-fold"]);
    let folds = dataset("folds", Tiny { folds: Some(3), ..SHORTCUT });
    folded.fold = Some(3);
    refused(&folded, &folds, FailureKind::Usage, &["--fold is 3", "0 to 2"]);
    refused(&settings("floor = 0.3\nobjective = \"group-dro\"", 0, None), &good, FailureKind::Usage, &["floor is 0.3"]);

    let done = run(&settings("epochs = 1\nselection = \"accuracy\"", 0, None), &unvalidated, &folder.path().join("o"));
    let run = done.unwrap().run;
    assert!(run.warnings.iter().any(|warning| warning.contains("no validation subject")), "{:?}", run.warnings);
    assert_eq!(run.final_metrics[&Split::Val].groups["label=DCM;site=1"].accuracy, None);
}

#[test]
fn a_loss_that_explodes_stops_the_run_and_names_the_step() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let text = "objective = \"group-dro\"\noptimiser = \"sgd\"\nlearning_rate = 100.0\nweight_decay = 100.0\nepochs = 30\n\
                schedule = \"constant\"\nwarm_up_epochs = 0";
    let out = folder.path().join("run");
    let error = run(&settings(text, 0, None), &dataset, &out).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("sample0") && message.contains("label=") && message.contains("not finite"), "{message}");
    assert!(message.contains("learning_rate"), "{message}");
    assert!(!out.join("run.json").exists());
}

#[test]
fn a_teacher_must_fit_by_classes_and_by_fold_and_may_be_a_model_file() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), Tiny { folds: Some(3), ..SHORTCUT });
    let out = |name: &str| folder.path().join(name);
    let mut teaching = settings("epochs = 2", 0, None);
    teaching.fold = Some(1);
    run(&teaching, &dataset, &out("teacher")).unwrap();
    let mut learning = settings("objective = \"kd\"\nepochs = 1", 0, Some(&out("teacher")));
    learning.fold = Some(2);
    let error = run(&learning, &dataset, &out("student")).unwrap_err().to_string();
    assert!(error.contains("trained with fold 1") && error.contains("fold 2"), "{error}");
    learning.fold = Some(1);
    let from_run = run(&learning, &dataset, &out("student")).unwrap().run;

    let model = out("teacher.pt");
    let teacher = out("teacher");
    let arguments = ["export", teacher.to_str().unwrap(), "--out", model.to_str().unwrap()];
    expect_exit(&mut groupdistil(&arguments), 0);
    learning.teacher = Some(model);
    let from_file = run(&learning, &dataset, &out("student-of-file")).unwrap().run;
    let teacher = from_file.teacher.clone().unwrap();
    assert_eq!((teacher.kind.as_str(), teacher.objective.as_deref()), ("torchscript", Some("erm")));
    let loss = |run: &groupdistil::formats::run::RunJson| run.final_metrics[&Split::Val].loss.unwrap();
    assert!((loss(&from_file) - loss(&from_run)).abs() < 1e-4, "{} {}", loss(&from_file), loss(&from_run));
}

#[test]
fn python_opens_every_file_and_gets_the_same_logits() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let out = |name: &str| folder.path().join(name);
    run(&settings("arch = \"resnet18\"\nepochs = 2\nlearning_rate = 1e-3", 0, None), &dataset, &out("teacher"))
        .unwrap();
    let text = "objective = \"group-distil\"\nepochs = 6\nprecision = \"bfloat16\"\nchannels_last = true";
    run(&settings(text, 0, Some(&out("teacher"))), &dataset, &out("student")).unwrap();
    let arguments = [&dataset, &out("teacher"), &out("student")].map(|path| path.to_str().unwrap().to_owned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run_python("python_opens_every_file_and_gets_the_same_logits", "run_files.py", &arguments);
}

#[test]
fn the_command_trains_prints_a_table_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let (dataset, out) = (dataset.to_str().unwrap().to_owned(), folder.path().join("run"));
    let out = out.to_str().unwrap();
    let common =
        ["train", &dataset, "--out", out, "--arch", "compact-resnet", "--epochs", "1", "--seed", "4", "--threads", "1"];
    let done = expect_exit(groupdistil(&common).args(["--set", "augment.noise=0.2"]), 0);
    let table = String::from_utf8(done.stdout).unwrap();
    assert!(table.contains("label=DCM;site=0") && table.contains("worst"), "{table}");
    let text = std::fs::read_to_string(Path::new(out).join("settings.toml")).unwrap();
    assert!(text.starts_with("# --seed 4\n") && text.contains("noise = 0.2"), "{text}");
    let config = format!("{out}/settings.toml");
    let json = expect_exit(groupdistil(&common).args(["--config", &config, "--json"]), 0);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["up_to_date"], &json["run"]["seed"]), (&true.into(), &4.into()));
    let differs = expect_exit(groupdistil(&common).args(["--set", "eta=0.5"]), 2);
    assert!(String::from_utf8_lossy(&differs.stderr).contains("--force"));
    let wrong = expect_exit(groupdistil(&common).args(["--set", "etta=0.5"]), 2);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("unknown field `etta`"));
}

#[test]
fn a_comparison_shares_teachers_and_goes_on_with_more_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let out = folder.path().join("compare");
    let common = ["compare", dataset.to_str().unwrap(), "--out", out.to_str().unwrap(), "--threads", "1"];
    let command = |more: &[&str]| {
        let mut command = groupdistil(&common);
        let settings = ["epochs=2", "arch=compact-resnet", "batch_size=16", "augment=false"];
        for setting in settings {
            command.args(["--set", setting]);
        }
        command.args(more);
        command
    };
    let methods = ["--methods", "erm,kd,group-distil,group-distil-total-balanced"];
    let done = expect_exit(command(&["--seeds", "1"]).args(methods), 0);
    assert!(String::from_utf8_lossy(&done.stdout).contains("worst group minus kd"));
    let done = expect_exit(command(&["--seeds", "2", "--json"]).args(methods), 0);
    let summary: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(summary["up_to_date"], 5);
    let compare: CompareJson = serde_json::from_slice(&bytes(&out, "compare.json")).unwrap();
    assert_eq!(compare.runs.len(), 10);
    assert_eq!((compare.baseline.as_deref(), compare.seeds.as_slice()), (Some("kd"), &[0, 1][..]));
    let worst = |method: &str, seed: u64| {
        let run = compare.runs.iter().find(|run| run.method == method && run.seed == seed).unwrap();
        let json = read_run_json(&out.join(&run.run)).unwrap();
        assert_eq!(json.final_metrics[&Split::Test].worst_group_accuracy, run.sample.worst_group_accuracy);
        assert_eq!((run.sample.n, run.subject.n), (32, 16));
        run.sample.worst_group_accuracy.unwrap()
    };
    let teachers: Vec<_> = ["kd", "group-distil"]
        .iter()
        .map(|method| read_run_json(&out.join("seed-1").join(method)).unwrap().teacher.unwrap())
        .collect();
    assert_eq!(teachers[0], teachers[1]);
    let summary = compare.summary.iter().find(|summary| summary.method == "group-distil").unwrap();
    let figure = &summary.figures["sample_worst_group_accuracy"];
    let differences = [0, 1].map(|seed| worst("group-distil", seed) - worst("kd", seed));
    assert!((figure.difference.unwrap() - differences.iter().sum::<f64>() / 2.0).abs() < 1e-12);
    let csv = String::from_utf8(bytes(&out, "compare.csv")).unwrap();
    assert_eq!(csv.lines().count(), 11);
    let wrong = expect_exit(&mut command(&["--methods", "dfr"]), 2);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("`dfr`"));
}
