//! `cargo xtask bench train [ROUNDS]`: training beside the same training in Python (`train_peer.py`), epochs in turn in one run, two threads each.
//!
//! Two settings: a ResNet-18 by ERM on 64 x 1 x 128 x 128, and the demo's student with its ResNet-18 teacher on the demo's images. Every
//! contestant is a process that trains an epoch when it gets a line: the first is not counted, and who begins changes from round
//! to round. Counted is an epoch with loading and augmentation; evaluation and keeping (checkpoint) stand beside it, since
//! ours waits until the disk has it. Ratios are medians of those of each round.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and panics to fail"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use groupdistil::context::{Context, Interrupt, Observer};
use groupdistil::dataset::{Dataset, write_in_memory};
use groupdistil::formats::dataset::{SampleRow, Split};
use groupdistil::formats::plan::*;
use groupdistil::settings::train::{TrainSettings, TrainWire};
use groupdistil::train::train;
use serde_json::{Value, json};

const ROUNDS: usize = 5;
const THREADS: usize = 2;
const BATCH: usize = 64;
/// Nine steps of 64; the validation split is a fifth of that.
const TRAIN_IMAGES: usize = 576;
const VAL_IMAGES: usize = 115;
const SIDE: usize = 128;
/// As in `pipelines/demo.toml`.
const DEMO_TEMPERATURE: f64 = 4.0;
const DEMO_ALPHA: f64 = 0.9;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the bench's files lie.
fn file(name: &str) -> PathBuf {
    project().join("target/bench-train").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn groupdistil(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_groupdistil")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn plan() -> Plan {
    Plan {
        schema: PLAN_SCHEMA.into(),
        selection: Selection { views: vec!["sax".into()], kinds: vec!["cine".into()], slice_range: [0.0, 1.0] },
        sample: SampleKind::Single { phase: PhaseChoice::All },
        cardiac_phases: CardiacPhases::AreaCurve,
        geometry: PlanGeometry::Mm {
            pixel_spacing_mm: 1.0,
            slice_spacing_mm: None,
            height: SIDE,
            width: SIDE,
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

/// A disc whose size is the label, in noise.
fn image(label: usize, state: &mut u64) -> Vec<f32> {
    let radius = [20.0, 35.0][label];
    let middle = SIDE as f32 / 2.0;
    let pixel = |index: usize| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let noise = (*state >> 40) as f32 / (1 << 24) as f32 - 0.5;
        let (y, x) = ((index / SIDE) as f32 - middle, (index % SIDE) as f32 - middle);
        noise + if x.hypot(y) < radius { 1.0 } else { -0.5 }
    };
    (0..SIDE * SIDE).map(pixel).collect()
}

/// The dataset of 1 x 128 x 128.
fn discs() -> PathBuf {
    let mut state = 7;
    let mut samples = Vec::new();
    for (split, count) in [(Split::Train, TRAIN_IMAGES), (Split::Val, VAL_IMAGES), (Split::Test, VAL_IMAGES)] {
        for number in 0..count {
            let (label, site) = (number % 2, number / 2 % 2);
            let name = format!("{}{number:04}", split.as_str());
            let row = SampleRow {
                sample_id: name.clone(),
                subject_id: name.clone(),
                stack_id: name,
                slices: vec![0],
                phases: vec![0],
                label: ["DCM", "NOR"][label].into(),
                acquisition_group: format!("site={site}"),
                group: format!("site={site}"),
                site: Some(site.to_string()),
                vendor: None,
                model: None,
                field_strength_t: None,
                sex: None,
                age_years: None,
                split,
                fold: None,
                shard: 0,
                row: 0,
            };
            samples.push((row, image(label, &mut state)));
        }
    }
    let folder = file("discs");
    write_in_memory(&folder, &plan(), &samples, None).unwrap();
    folder
}

/// The demo's dataset.
fn demo() -> PathBuf {
    std::fs::write(file("key"), [7; 32]).unwrap();
    let (phantom, cohort, dataset) = (file("phantom"), file("cohort"), file("demo"));
    groupdistil(&["phantom", "--preset", "demo", "-q", "--out", text(&phantom)]);
    let labels = phantom.join("labels.csv");
    let grouped = ["--group-by", "vendor,site", "--key", text(&file("key")), "-q"].map(str::to_owned);
    let scans = phantom.join("scans");
    let ingest = ["ingest", text(&scans), "--labels", text(&labels), "--out", text(&cohort)].map(str::to_owned);
    groupdistil(&[ingest.as_slice(), &grouped].concat().iter().map(String::as_str).collect::<Vec<_>>());
    std::fs::write(file("demo.toml"), "pixel_spacing_mm = 1.75\n").unwrap();
    let config = file("demo.toml");
    groupdistil(&["preprocess", text(&cohort), "--out", text(&dataset), "--config", text(&config), "-q"]);
    dataset
}

/// What all contestants of a setting share.
struct Setting {
    name: &'static str,
    dataset: PathBuf,
    arch: &'static str,
    learning_rate: f64,
    teacher: Option<PathBuf>,
    epochs: usize,
}

impl Setting {
    fn ours(&self, name: &str, objective: &str, augment: bool) -> Contestant {
        let out = file("runs").join(name.replace([' ', ','], "-"));
        let settings = format!(
            "objective = \"{objective}\"\narch = \"{}\"\nepochs = {}\nlearning_rate = {}\nwarm_up_epochs = 0\n\
             temperature = {DEMO_TEMPERATURE:?}\nalpha = {DEMO_ALPHA}\neta = 0.1\nselection = \"loss\"\naugment = {augment}\n",
            self.arch, self.epochs, self.learning_rate
        );
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child", text(&self.dataset), text(&out), &settings]).args(&self.teacher);
        Contestant::start(name, command, Some(out))
    }

    fn python(&self, mode: &str) -> Contestant {
        let dataset = Dataset::open(&self.dataset).unwrap();
        let all = 0..dataset.samples().len();
        let rows = |split| all.clone().filter(|&row| dataset.split(row, None) == split).collect::<Vec<_>>();
        let spec = json!({
            "images": dataset.json().shards.iter().map(|shard| self.dataset.join(&shard.file)).collect::<Vec<_>>(),
            "labels": all.clone().map(|row| dataset.class_index(row)).collect::<Vec<_>>(),
            "train": rows(Split::Train),
            "val": rows(Split::Val),
            "arch": self.arch,
            "epochs": self.epochs,
            "batch": BATCH,
            "learning_rate": self.learning_rate,
            "temperature": DEMO_TEMPERATURE,
            "alpha": DEMO_ALPHA,
            "teacher": self.teacher.as_ref().map(|teacher| teacher.join("weights.safetensors")),
            "checkpoint": file(&format!("runs/{mode}.pt")),
        });
        let path = file(&format!("{mode}.json"));
        std::fs::write(&path, spec.to_string()).unwrap();
        let mut command = Command::new(project().join(".setup/venv/bin/python"));
        // Ours sets it for itself; a usual Python has it not.
        command.env_remove("THP_MEM_ALLOC_ENABLE");
        command.arg(project().join("benches/train_peer.py")).args([mode, text(&path)]);
        Contestant::start(&format!("Python, {mode}"), command, None)
    }
}

/// A process that trains an epoch for each line it gets.
struct Contestant {
    name: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Our RUN, whose `provenance.json` holds the seconds.
    run: Option<PathBuf>,
    epochs: Vec<Value>,
    peak_mib: f64,
}

/// Counted: one epoch with loading and augmentation.
const COUNTED: [&str; 3] = ["step", "augmentation", "images"];
const BESIDE: [&str; 2] = ["evaluation", "keeping"];

impl Contestant {
    fn start(name: &str, mut command: Command, run: Option<PathBuf>) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut contestant =
            Self { name: name.to_owned(), child, input, output, run, epochs: Vec::new(), peak_mib: 0.0 };
        let ready = contestant.hear();
        if let Some(workers) = ready["workers"].as_u64() {
            contestant.name += &format!(", {workers} workers");
        }
        contestant
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.name))
    }

    fn epoch(&mut self) {
        self.input.write_all(b"\n").unwrap();
        let heard = self.hear();
        self.peak_mib = heard["peak_kib"].as_f64().unwrap() / 1024.0;
        self.epochs.push(heard);
    }

    /// Waits for the end; forgets the first epoch.
    fn finish(mut self) -> Finished {
        drop(self.input);
        let mut last = String::new();
        self.output.read_line(&mut last).unwrap();
        if let Some(peak) = serde_json::from_str::<Value>(&last).ok().and_then(|last| last["peak_kib"].as_f64()) {
            self.peak_mib = peak / 1024.0;
        }
        assert!(self.child.wait().unwrap().success(), "{}", self.name);
        if let Some(run) = &self.run {
            let provenance = std::fs::read(run.join("provenance.json")).unwrap();
            let provenance: Value = serde_json::from_slice(&provenance).unwrap();
            self.epochs = provenance["notes"]["seconds_of_epochs"].as_array().unwrap().clone();
        }
        self.epochs.remove(0);
        Finished { name: self.name, epochs: self.epochs, peak_mib: self.peak_mib }
    }
}

/// What a contestant gave.
struct Finished {
    name: String,
    epochs: Vec<Value>,
    peak_mib: f64,
}

impl Finished {
    fn seconds(&self, parts: &[&str]) -> Vec<f64> {
        self.epochs.iter().map(|epoch| parts.iter().filter_map(|part| epoch[part].as_f64()).sum()).collect()
    }

    /// Per round, how many times as long as `other` this one took.
    fn ratios(&self, other: &Self, parts: &[&str]) -> Vec<f64> {
        self.seconds(parts).iter().zip(other.seconds(parts)).map(|(own, other)| own / other).collect()
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

/// Median, least and most.
fn spread(values: &[f64], digits: usize) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.digits$} ({least:.digits$} to {most:.digits$})", median(values))
}

/// All in turn, round after round; the first round warms up.
fn race(rounds: usize, mut contestants: Vec<Contestant>) -> Vec<Finished> {
    let count = contestants.len();
    for round in 0..=rounds {
        for turn in 0..count {
            contestants[(round + turn) % count].epoch();
        }
    }
    contestants.into_iter().map(Contestant::finish).collect()
}

/// The table; ratios are to the first.
fn print(setting: &Setting, rounds: usize, finished: &[Finished]) {
    println!("\n{}; {rounds} epochs in turn, seconds an epoch, {THREADS} threads\n", setting.name);
    println!(
        "| | epoch, median (least to most) | to ours | step | augmentation | images | evaluation | keeping | peak MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for one in finished {
        let part = |name: &str| format!("{:.3}", median(&one.seconds(&[name])));
        let parts = COUNTED.iter().chain(&BESIDE).map(|name| part(name)).collect::<Vec<_>>().join(" | ");
        let ratios = spread(&one.ratios(&finished[0], &COUNTED), 3);
        println!("| {} | {} | {ratios} | {parts} | {:.0} |", one.name, spread(&one.seconds(&COUNTED), 2), one.peak_mib);
    }
    let whole = [COUNTED.as_slice(), &BESIDE].concat();
    for one in finished {
        let parts = one.seconds(&["images"]).into_iter().zip(one.seconds(&COUNTED));
        let shares: Vec<f64> = parts.map(|(images, all)| 100.0 * images / all).collect();
        let waited = spread(&shares, 1);
        let ratios = spread(&one.ratios(&finished[0], &whole), 3);
        println!(
            "{}: waits for images {waited} % of the epoch; with evaluation and keeping {ratios} to ours",
            one.name
        );
    }
}

/// Says when an epoch is done and waits for the next line before going on.
struct Paced;

impl Paced {
    fn say_and_wait(&self, value: &Value) {
        println!("{value}");
        std::io::stdout().flush().unwrap();
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }
}

/// Peak resident memory of this process.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

impl Observer for Paced {
    fn begin(&self, step: &str, _total: Option<u64>) {
        if step.starts_with("train ") {
            self.say_and_wait(&json!({}));
        }
    }
    fn advance(&self, _items: u64) {}
    fn remark(&self, _text: &str) {
        self.say_and_wait(&json!({ "peak_kib": peak_kib() }));
    }
    fn end(&self) {}
}

/// Our trainer as a contestant.
fn child(dataset: &Path, out: &Path, settings: &str, teacher: Option<PathBuf>) {
    let wire: TrainWire = toml::from_str(settings).unwrap();
    let settings = TrainSettings::from_wire(&wire, 0, None, teacher).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().unwrap();
    let context = Context { observer: &Paced, interrupt: &Interrupt::default(), pool: &pool };
    train(&settings, dataset, out, true, "cpu", context).unwrap();
    println!("{}", json!({ "peak_kib": peak_kib() }));
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [word, dataset, out, settings, teacher @ ..] = arguments.as_slice()
        && word == "child"
    {
        return child(Path::new(dataset), Path::new(out), settings, teacher.first().map(PathBuf::from));
    }
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    std::fs::create_dir_all(file("runs")).unwrap();
    let setting = Setting {
        name: "ResNet-18 by ERM, 64 x 1 x 128 x 128, 9 steps an epoch",
        dataset: discs(),
        arch: "resnet18",
        learning_rate: 1e-3,
        teacher: None,
        epochs: rounds + 1,
    };
    let contestants = vec![setting.ours("groupdistil", "erm", true), setting.python("best"), setting.python("usual")];
    print(&setting, rounds, &race(rounds, contestants));

    let dataset = demo();
    let teacher = file("teacher");
    let (from, out) = (text(&dataset), text(&teacher));
    std::fs::write(file("teacher.toml"), "arch = \"resnet18\"\nepochs = 1\n").unwrap();
    groupdistil(&["train", from, "--out", out, "--config", text(&file("teacher.toml")), "--device", "cpu", "-q"]);
    let setting = Setting {
        name: "the demo: compact ResNet learning from a ResNet-18, 64 x 2 x 80 x 80",
        dataset,
        arch: "compact-resnet",
        learning_rate: 2e-3,
        teacher: Some(teacher),
        epochs: rounds + 1,
    };
    let contestants = vec![
        setting.ours("kd", "kd", true),
        setting.ours("group-distil", "group-distil", true),
        setting.python("best"),
        setting.python("usual"),
    ];
    print(&setting, rounds, &race(rounds, contestants));
    let rounds = 3 * rounds;
    let setting =
        Setting { name: "the same without augmentation, the teacher asked once", epochs: rounds + 1, ..setting };
    let contestants = vec![
        setting.ours("kd, cached teacher", "kd", false),
        setting.ours("group-distil, cached teacher", "group-distil", false),
    ];
    print(&setting, rounds, &race(rounds, contestants));
}
