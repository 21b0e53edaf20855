//! `cargo xtask bench preprocess [SUBJECTS] [ours]`: preprocessing of cine stacks beside MONAI, TorchIO and SimpleITK in one run, warm cache.
//!
//! All are given the same stacks and the same steps: whole cines to a standard orientation, 1.75 mm in the plane, 80 x 80 pixels about
//! the middle, clipped at percentiles 1 and 99, z-scored, float16, written. Peers are timed from their first read to their last
//! write, without imports; ours is the whole command, with start and tables. Two threads are two processes for the peers, the faster way
//! for each. What two threads of ours bring is measured on all sites of the phantom too. All run in turn, several times: medians and
//! ratios are quoted. The limit is decoding alone, and copying the pixels once. With `ours` no peer runs.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and panics to fail"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use groupdistil::context::{Context, Interrupt, Silent};
use groupdistil::preprocess::{self, Cohort, source};
use groupdistil::settings::preprocess::{PreprocessSettings, PreprocessWire};
use rayon::prelude::*;
use tracing_subscriber::layer::{Context as LayerContext, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

const RUNS: usize = 5;
/// Runs in which the peers take part: they need minutes each.
const PEER_RUNS: usize = 3;
/// Our stages that the peers have too; the others are leakage, grey values for the report, tables and contact sheets.
const SAME_STAGES: [&str; 5] = ["decode", "orient", "resample", "intensity", "shards"];
/// Subjects of `phantom --preset large`.
const SUBJECTS: &str = "54";
/// Its site with one DICOM file per image and one series per slice.
const SITES: [&str; 1] = ["north"];
const SPACING_MM: &str = "1.75";
const PIXELS: &str = "80";
/// The steps that peers do too. In the program's own defaults the heart is looked for, and its end-diastole and end-systole are cut.
const SAME_STEPS: &str = "sample = \"single\"\nsample_phase = \"all\"\nslice_range = [0.0, 1.0]\ncentre = \"image\"\n\
                          pixel_spacing_mm = 1.75\ncrop_mm = 140.0\nsplit = \"source\"\n";

/// What the program does before its work: libtorch is loaded.
const START: &str = "groupdistil, start";

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn python(arguments: &[&str]) -> String {
    let mut command = Command::new(project().join(".setup/venv/bin/python"));
    command.arg(project().join("benches/preprocess_peers.py")).args(arguments);
    let output = command.env("OMP_NUM_THREADS", "1").output().expect("python runs");
    assert!(output.status.success(), "{arguments:?}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn groupdistil(arguments: &[&str]) -> f64 {
    let begun = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_groupdistil")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}\n{}", String::from_utf8_lossy(&output.stderr));
    begun.elapsed().as_secs_f64()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Where the bench's files lie.
struct Files {
    folder: PathBuf,
}

impl Files {
    fn path(&self, name: &str) -> String {
        text(&self.folder.join(name)).to_owned()
    }

    /// The phantom, its cohort and the NIfTI copies with theirs.
    fn make(subjects: &str) -> Self {
        let files = Self { folder: project().join(format!("target/bench-preprocess-{subjects}")) };
        std::fs::create_dir_all(&files.folder).unwrap();
        std::fs::write(files.folder.join("key"), [7; 32]).unwrap();
        std::fs::write(files.folder.join("same.toml"), SAME_STEPS).unwrap();
        let phantom = files.path("phantom");
        groupdistil(&["phantom", "--preset", "large", "-q", "--subjects", subjects, "--out", &phantom]);
        let labels = files.path("phantom/labels.csv");
        let scans = files.scans(&std::fs::read_to_string(&labels).unwrap());
        let key = files.path("key");
        let ingest = |sources: &[&str], labels: &str, out: &str| {
            let rest = ["--labels", labels, "--out", out, "--group-by", "site", "--key", &key, "-q"];
            groupdistil(&[&["ingest"], sources, &rest].concat());
        };
        let _ = std::fs::remove_dir_all(files.folder.join("dicom"));
        ingest(&scans.iter().map(String::as_str).collect::<Vec<_>>(), &labels, &files.path("dicom"));
        let _ = std::fs::remove_dir_all(files.folder.join("all"));
        ingest(&[&files.path("phantom/scans")], &labels, &files.path("all"));
        let _ = std::fs::remove_dir_all(files.folder.join("copies"));
        print!("{}", python(&["copies", &files.path("dicom"), &files.path("copies")]));
        let _ = std::fs::remove_dir_all(files.folder.join("nifti"));
        ingest(&[&files.path("copies/nifti")], &files.path("copies/labels.csv"), &files.path("nifti"));
        files
    }

    /// Folders of the subjects that are used: of each site with classic DICOM, the first of each label and split.
    fn scans(&self, labels: &str) -> Vec<String> {
        let mut first = BTreeMap::new();
        for line in labels.lines().skip(1) {
            let [id, label, site, .., split] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
            if SITES.contains(&site) {
                first.entry((site, label, split)).or_insert_with(|| self.path(&format!("phantom/scans/{site}/{id}")));
            }
        }
        first.into_values().collect()
    }

    /// Our whole command.
    fn ours(&self, cohort: &str, threads: &str, settings: &[&str]) -> f64 {
        let out = self.path("dataset");
        let _ = std::fs::remove_dir_all(&out);
        let words = ["preprocess", &self.path(cohort), "--out", &out, "--threads", threads, "-q"];
        groupdistil(&[&words, settings].concat())
    }

    fn peer(&self, peer: &str, source: &str, processes: &str) -> f64 {
        let out = self.path("peer");
        let _ = std::fs::remove_dir_all(&out);
        std::fs::create_dir(&out).unwrap();
        let stacks = self.path("copies/stacks.json");
        python(&["run", peer, source, processes, &stacks, SPACING_MM, PIXELS, &out]).trim().parse().unwrap()
    }
}

/// One line of the table: what runs, and its peer, source and threads.
struct Entry {
    name: String,
    run: Box<dyn Fn(&Files) -> f64>,
    seconds: Vec<f64>,
}

fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut add = |name: String, run: Box<dyn Fn(&Files) -> f64>| {
        entries.push(Entry { name, run, seconds: Vec::new() });
    };
    for source in ["dicom", "nifti"] {
        for threads in ["2", "1"] {
            let run = move |files: &Files| files.ours(source, threads, &["--config", &files.path("same.toml")]);
            add(format!("groupdistil, {source}, {threads}"), Box::new(run));
        }
        for peer in ["simpleitk", "monai", "torchio"] {
            for threads in ["2", "1"] {
                add(format!("{peer}, {source}, {threads}"), Box::new(move |files| files.peer(peer, source, threads)));
            }
        }
    }
    for threads in ["2", "1"] {
        let run = move |files: &Files| files.ours("all", threads, &["--config", &files.path("same.toml")]);
        add(format!("groupdistil, all, {threads}"), Box::new(run));
    }
    let defaults = |files: &Files| files.ours("dicom", "2", &["--split", "source"]);
    add("groupdistil, dicom, 2, defaults".to_owned(), Box::new(defaults));
    add(START.to_owned(), Box::new(|_| groupdistil(&["--version"])));
    entries
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Seconds spent in each span of the library without the spans in it, all threads together.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<BTreeMap<&'static str, f64>>>);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_enter(&self, id: &tracing::span::Id, context: LayerContext<'_, S>) {
        context.span(id).unwrap().extensions_mut().replace(Instant::now());
    }

    fn on_exit(&self, id: &tracing::span::Id, context: LayerContext<'_, S>) {
        let span = context.span(id).unwrap();
        let seconds = span.extensions().get::<Instant>().unwrap().elapsed().as_secs_f64();
        let mut spent = self.0.lock().unwrap();
        *spent.entry(span.metadata().name()).or_default() += seconds;
        if let Some(outer) = span.parent() {
            *spent.entry(outer.metadata().name()).or_default() -= seconds;
        }
    }
}

/// Seconds of each stage with one thread, of the run whose whole is the median.
fn stages(files: &Files, spans: &Spans, same_steps: bool) -> Vec<(String, f64)> {
    let wire: PreprocessWire =
        if same_steps { toml::from_str(SAME_STEPS).unwrap() } else { toml::from_str("split = \"source\"").unwrap() };
    let settings = PreprocessSettings::try_from(wire).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let mut runs: Vec<(f64, BTreeMap<&'static str, f64>)> = Vec::new();
    for _ in 0..RUNS {
        spans.0.lock().unwrap().clear();
        let out = files.folder.join("stages");
        let _ = std::fs::remove_dir_all(&out);
        let begun = Instant::now();
        let context = Context { observer: &Silent, interrupt: &Interrupt::default(), pool: &pool };
        preprocess::preprocess(&settings, &files.folder.join("dicom"), &out, false, context).unwrap();
        let spent = spans.0.lock().unwrap().clone();
        runs.push((begun.elapsed().as_secs_f64(), spent));
    }
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (whole, spent) = &runs[RUNS / 2];
    let rest = whole - spent.values().sum::<f64>();
    let mut found: Vec<(String, f64)> = spent.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect();
    found.push(("write, tables".to_owned(), rest));
    found.push(("whole".to_owned(), *whole));
    found
}

/// Seconds of decoding every cine, and of copying its pixels once as float32, with two threads.
fn limits(files: &Files) -> (f64, f64) {
    let cohort = Cohort::read(&files.folder.join("dicom")).unwrap();
    let stacks: Vec<_> = cohort.stacks.iter().filter(|stack| stack.view == "sax" && stack.kind == "cine").collect();
    let read = source::reader();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let begun = Instant::now();
    let decode = |stack: &&&source::CohortStack| source::read_stack(stack, cohort.frames_of(stack), &*read).unwrap();
    let images: Vec<_> = pool.install(|| stacks.par_iter().map(|stack| decode(&stack)).collect());
    let decoded = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let copies: Vec<_> = pool.install(|| images.par_iter().map(|images| images.frames.clone()).collect());
    let copied = begun.elapsed().as_secs_f64();
    assert_eq!(copies.len(), images.len());
    (decoded, copied)
}

/// Our stages that the peers have too, and how much longer each peer takes with one process.
fn print_same(seconds: f64, middle: &BTreeMap<String, f64>) {
    println!("of these what peers do too ({}): {seconds:.3}", SAME_STAGES.join(", "));
    for peer in ["simpleitk", "monai", "torchio"] {
        if let Some(peers) = middle.get(&format!("{peer}, dicom, 1")) {
            println!("    {peer} to that: {:.1}", peers / seconds);
        }
    }
}

fn main() {
    let given = std::env::args().skip(1).find(|argument| argument.parse::<u32>().is_ok());
    let files = Files::make(given.as_deref().unwrap_or(SUBJECTS));
    let alone = std::env::args().any(|argument| argument == "ours");
    let mut entries = entries();
    entries.retain(|entry| !alone || entry.name.starts_with("groupdistil"));
    for run in 0..RUNS {
        for entry in &mut entries {
            if run >= PEER_RUNS && !entry.name.starts_with("groupdistil") {
                continue;
            }
            // What the one before has left to write is not waited for by this one.
            assert!(Command::new("sync").status().unwrap().success());
            let seconds = (entry.run)(&files);
            entry.seconds.push(seconds);
        }
    }
    println!("\nwarm, {RUNS} runs in turn, peers in {PEER_RUNS} of them; name, source, threads\n");
    println!("{:<36}{:>10}{:>10}{:>10}{:>10}", "", "median s", "least s", "most s", "ratio");
    let middle: BTreeMap<String, f64> = entries.iter().map(|e| (e.name.clone(), median(&e.seconds))).collect();
    for Entry { name, seconds, .. } in &entries {
        // To ours from the same source with the same threads.
        let ours = name.split_once(", ").and_then(|(_, rest)| middle.get(&format!("groupdistil, {rest}")));
        let ratio = ours.map_or(String::new(), |ours| format!("{:.1}", median(seconds) / ours));
        let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = seconds.iter().copied().fold(0.0, f64::max);
        println!("{name:<36}{:>10.2}{least:>10.2}{most:>10.2}{ratio:>10}", median(seconds));
    }
    for source in ["dicom", "nifti", "all"] {
        let seconds = |threads: u8| middle[&format!("groupdistil, {source}, {threads}")];
        let (gain, start) = (seconds(1) / seconds(2), middle[START]);
        let work = (seconds(1) - start) / (seconds(2) - start);
        println!("two threads, {source}: {gain:.2} times one; without the program's start {work:.2}");
    }
    let spans = Spans::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(spans.clone())).unwrap();
    for (same_steps, name) in [(true, "the same steps"), (false, "defaults")] {
        println!("\nwhere the time goes, {name}, dicom, one thread (the run of the median of {RUNS}):");
        let found = stages(&files, &spans, same_steps);
        for (stage, seconds) in &found {
            println!("{stage:<36}{seconds:>10.3}");
        }
        if same_steps {
            let same = found.iter().filter(|(stage, _)| SAME_STAGES.contains(&stage.as_str()));
            print_same(same.map(|(_, seconds)| seconds).sum(), &middle);
        }
    }
    let found: Vec<(f64, f64)> = (0..RUNS).map(|_| limits(&files)).collect();
    let decoded = median(&found.iter().map(|limit| limit.0).collect::<Vec<_>>());
    let copied = median(&found.iter().map(|limit| limit.1).collect::<Vec<_>>());
    println!("\nlimit, dicom, 2 threads: decode {decoded:.3} s, one copy of the pixels {copied:.3} s");
}
