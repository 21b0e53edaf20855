//! `cargo xtask bench ingest [SUBJECTS]`: ingest of `phantom large` beside pydicom and dcm2niix, in one run, warm cache.
//!
//! pydicom reads the same attributes with `stop_before_pixels`, one process (its way; a pool of two halves it at best). dcm2niix writes
//! sidecars only (`-b o`), and converts for information. The limit is what opening every file and reading its first 16 KiB costs
//! with the same two threads. All commands run in turn, several times: medians and ratios are quoted.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and panics to fail"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use groupdistil::context::{Context, Interrupt, Observer};
use groupdistil::ingest;
use groupdistil::settings::ingest::{IngestSettings, IngestWire};
use rayon::prelude::*;

const RUNS: usize = 5;
const THREADS: usize = 2;
/// What a header is read with.
const START_BYTES: usize = 16 << 10;

/// What one run of a command cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    seconds: f64,
    peak_mib: f64,
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn python() -> PathBuf {
    project().join(".setup/venv/bin/python")
}

/// Runs a command under `measure.py`, which knows the child's peak memory.
fn run(command: &[String]) -> Cost {
    let output =
        Command::new(python()).arg(project().join("benches/measure.py")).args(command).output().expect("python runs");
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    let line = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    Cost { seconds: numbers[0], peak_mib: numbers[1] / 1024.0 }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The commands by name; the first is ours.
fn commands(scans: &Path, out: &Path) -> Vec<(&'static str, Vec<String>)> {
    let program = env!("CARGO_BIN_EXE_groupdistil").to_owned();
    let ours = |threads: &str| {
        let key = text(&out.join("key"));
        let words =
            ["ingest", &text(scans), "--out", &text(&out.join("cohort")), "-q", "--threads", threads, "--key", &key];
        std::iter::once(program.clone()).chain(words.iter().map(|word| (*word).to_owned())).collect::<Vec<_>>()
    };
    let dcm2niix = |kind: &[&str]| {
        let words = ["dcm2niix"].iter().chain(kind).map(|word| (*word).to_owned());
        words.chain(["-o".to_owned(), text(&out.join("nifti")), text(scans)]).collect::<Vec<_>>()
    };
    let pydicom = vec![text(&python()), text(&project().join("benches/pydicom_headers.py")), text(scans)];
    vec![
        ("groupdistil ingest, 2 threads", ours("2")),
        ("groupdistil ingest, 1 thread", ours("1")),
        ("pydicom, headers", pydicom),
        ("dcm2niix -b o", dcm2niix(&["-b", "o"])),
        ("dcm2niix, conversion", dcm2niix(&["-b", "y"])),
    ]
}

/// When each step began and ended.
#[derive(Default)]
struct Clock(Mutex<Times>);

/// The running step with its start, and the seconds of those that ended.
#[derive(Default)]
struct Times {
    running: Option<(String, Instant)>,
    spent: BTreeMap<String, f64>,
}

impl Clock {
    fn stop(&self) {
        let mut times = self.0.lock().unwrap();
        if let Some((step, begun)) = times.running.take() {
            *times.spent.entry(step).or_default() += begun.elapsed().as_secs_f64();
        }
    }
}

impl Observer for Clock {
    fn begin(&self, step: &str, _total: Option<u64>) {
        self.stop();
        self.0.lock().unwrap().running = Some((step.to_owned(), Instant::now()));
    }
    fn advance(&self, _items: u64) {}
    fn remark(&self, _text: &str) {}
    fn end(&self) {
        self.stop();
    }
}

/// Seconds of each step of a scan, best of the runs.
fn steps(scans: &Path, pool: &rayon::ThreadPool) -> BTreeMap<String, f64> {
    let settings = IngestSettings::from_wire(IngestWire::default(), Path::new("")).unwrap();
    let mut best: BTreeMap<String, f64> = BTreeMap::new();
    for _ in 0..RUNS {
        let clock = Clock::default();
        let interrupt = Interrupt::default();
        let context = Context { observer: &clock, interrupt: &interrupt, pool };
        ingest::scan(&settings, &[scans.to_path_buf()], &[0; 32], context).unwrap();
        for (step, seconds) in clock.0.into_inner().unwrap().spent {
            let known = best.entry(step).or_insert(f64::INFINITY);
            *known = known.min(seconds);
        }
    }
    best
}

/// Seconds to open every file and read its first bytes.
fn limit(scans: &Path, pool: &rayon::ThreadPool) -> f64 {
    use std::os::unix::fs::FileExt;
    let begun = Instant::now();
    let entries = walkdir::WalkDir::new(scans).into_iter().map(Result::unwrap);
    let files: Vec<PathBuf> =
        entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect();
    let read = |path: &PathBuf| {
        let mut start = vec![0; START_BYTES];
        std::fs::File::open(path).unwrap().read_at(&mut start, 0).unwrap()
    };
    let bytes: usize = pool.install(|| files.par_iter().map(read).sum());
    assert!(bytes > 0);
    begun.elapsed().as_secs_f64()
}

fn main() {
    let subjects = std::env::args().skip(1).find(|argument| argument.parse::<u32>().is_ok());
    let folder = project().join("target/bench-ingest");
    let phantom = folder.join(format!("phantom-{}", subjects.as_deref().unwrap_or("large")));
    let mut make = Command::new(env!("CARGO_BIN_EXE_groupdistil"));
    make.args(["phantom", "--preset", "large", "-q", "--out"]).arg(&phantom);
    if let Some(subjects) = &subjects {
        make.args(["--subjects", subjects]);
    }
    assert!(make.status().unwrap().success());
    let scans = phantom.join("scans");
    let nifti = folder.join("nifti");
    std::fs::create_dir_all(&nifti).unwrap();
    std::fs::write(folder.join("key"), [7; 32]).unwrap();
    let commands = commands(&scans, &folder);
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); commands.len()];
    for _ in 0..RUNS {
        for ((_, command), costs) in commands.iter().zip(&mut costs) {
            std::fs::remove_dir_all(&nifti).unwrap();
            std::fs::create_dir(&nifti).unwrap();
            // Else the second run would find the cohort up to date.
            let _ = std::fs::remove_dir_all(folder.join("cohort"));
            costs.push(run(command));
        }
    }
    let files =
        walkdir::WalkDir::new(&scans).into_iter().filter(|entry| entry.as_ref().unwrap().file_type().is_file()).count();
    println!("{files} files, warm, {THREADS} cores, {RUNS} runs in turn\n");
    println!("{:<32}{:>10}{:>10}{:>10}{:>10}{:>8}", "", "median s", "least s", "most s", "peak MiB", "ratio");
    let seconds = |costs: &[Cost]| costs.iter().map(|cost| cost.seconds).collect::<Vec<_>>();
    let ours = median(seconds(&costs[0]));
    for ((name, _), costs) in commands.iter().zip(&costs) {
        let mut sorted = seconds(costs);
        sorted.sort_by(f64::total_cmp);
        let peak = costs.iter().map(|cost| cost.peak_mib).fold(0.0, f64::max);
        let middle = median(seconds(costs));
        println!(
            "{name:<32}{middle:>10.2}{:>10.2}{:>10.2}{peak:>10.0}{:>8.1}",
            sorted[0],
            sorted[RUNS - 1],
            middle / ours
        );
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().unwrap();
    println!("\nwhere the time goes ({THREADS} threads, best of {RUNS}):");
    for (step, seconds) in steps(&scans, &pool) {
        println!("{step:<32}{seconds:>10.3}");
    }
    let limits = (0..RUNS).map(|_| limit(&scans, &pool)).collect();
    println!("{:<32}{:>10.3}", "limit: open, read 16 KiB each", median(limits));
}
