//! Preprocess under SIGKILL and under a memory cap, as the command runs it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use groupdistil::context::{Context, Interrupt, Silent};
use groupdistil::formats::cohort::{FrameRow, StackRow, frames_to_table, stacks_to_table};
use groupdistil::ingest;
use groupdistil::settings::ingest::{IngestSettings, IngestWire, LabelsWire};

use crate::support::{expect_exit, groupdistil};

/// Every frame of a stack is a sample, so that a part is a few stacks: an interruption has many places to be.
const MANY_PARTS: [&str; 6] =
    ["--set", "sample=\"single\"", "--set", "sample_phase=\"all\"", "--set", "pixel_spacing_mm=1.4"];
/// Growth of the peak that tables and records of 288 more subjects may cost, MiB; it was 28, a tenth of one each.
const MARGIN_MIB: u64 = 48;
/// `--max-memory` of both.
const CAP_MIB: u64 = 140;

/// A small phantom in `folder`.
fn phantom(folder: &Path, subjects: &str) {
    let out = folder.join("phantom");
    let out = out.to_str().unwrap();
    expect_exit(&mut groupdistil(&["phantom", "--preset", "tiny", "--subjects", subjects, "--out", out]), 0);
}

/// A cohort of the phantom, each stack `copies` times under another subject: ingest's rows, written as its tables.
fn cohort(folder: &Path, copies: usize) -> PathBuf {
    let phantom = folder.join("phantom");
    let labels = LabelsWire { file: phantom.join("labels.csv"), ..LabelsWire::default() };
    let wire = IngestWire { labels: vec![labels], ..IngestWire::default() };
    let settings = IngestSettings::from_wire(wire, folder).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let context = Context { observer: &Silent, interrupt: &Interrupt::default(), pool: &pool };
    let scan = ingest::scan(&settings, &[phantom.join("scans")], &[0; 32], context).unwrap();
    let named = |id: &str, copy: usize| if copy == 0 { id.to_owned() } else { format!("{id}{copy}") };
    let stack = |copy: usize, row: &StackRow| StackRow {
        stack_id: named(&row.stack_id, copy),
        subject_id: named(&row.subject_id, copy),
        source_split: None,
        ..row.clone()
    };
    let frame = |copy: usize, row: &FrameRow| FrameRow { stack_id: named(&row.stack_id, copy), ..row.clone() };
    let stacks: Vec<StackRow> =
        (0..copies).flat_map(|copy| scan.stacks.iter().map(move |row| stack(copy, row))).collect();
    let frames: Vec<FrameRow> =
        (0..copies).flat_map(|copy| scan.frames.iter().map(move |row| frame(copy, row))).collect();
    let cohort = folder.join(format!("cohort-{copies}"));
    std::fs::create_dir(&cohort).unwrap();
    stacks_to_table(&stacks).write_parquet(&cohort.join("stacks.parquet")).unwrap();
    frames_to_table(&frames).write_parquet(&cohort.join("frames.parquet")).unwrap();
    std::fs::write(cohort.join("groups.json"), "{\"held_out\": []}").unwrap();
    std::fs::write(cohort.join("cohort.json"), format!("{{\"content_hash\": \"{copies}\"}}")).unwrap();
    cohort
}

fn preprocess(cohort: &Path, out: &Path, flags: &[&str]) -> Command {
    let words = ["preprocess", cohort.to_str().unwrap(), "--out", out.to_str().unwrap(), "-q", "--threads", "2"];
    groupdistil(&[&words[..], &MANY_PARTS[..], flags].concat())
}

/// Every file of a dataset but those that say when and where it was made.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    let named = files.map(|entry| {
        let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(entry.path()).unwrap())
    });
    named.filter(|(name, _)| name != "provenance.json" && name != ".lock").collect()
}

/// Parts that are done.
fn parts(out: &Path) -> usize {
    std::fs::read_dir(out.join(".parts")).map_or(0, |entries| {
        entries
            .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().extension() == Some("json".as_ref())))
            .count()
    })
}

/// Kills the child with SIGKILL once `wanted` parts are done and a little later; `false` when it was done before.
fn kill_at(child: &mut Child, out: &Path, wanted: usize, later: Duration) -> bool {
    while parts(out) < wanted || !out.join(".inputs").is_file() {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(later);
    let is_done = child.try_wait().unwrap().is_some();
    // Child::kill is SIGKILL on Unix: no handler runs, nothing is flushed.
    child.kill().unwrap();
    child.wait().unwrap();
    !is_done
}

#[test]
fn a_run_killed_at_many_points_goes_on_and_ends_with_the_bytes_of_one_that_was_not() {
    let temporary = tempfile::tempdir().unwrap();
    phantom(temporary.path(), "24");
    let cohort = cohort(temporary.path(), 1);
    let whole = temporary.path().join("whole");
    expect_exit(&mut preprocess(&cohort, &whole, &[]), 0);
    let killed = temporary.path().join("killed");
    let mut kills = 0;
    for wanted in [0, 0, 1, 1, 2, 2, 2] {
        // Somewhere within the next part; where exactly does not matter, so it need not be the same every time.
        let later = Duration::from_micros(u64::from(std::process::id() + kills * 7919) % 50_000);
        let mut child = preprocess(&cohort, &killed, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        kills += u32::from(kill_at(&mut child, &killed, wanted, later));
    }
    assert!(kills >= 3, "only {kills} runs could be killed");
    assert!(parts(&killed) >= 1 || killed.join("dataset.json").is_file());
    expect_exit(&mut preprocess(&cohort, &killed, &[]), 0);
    let (whole, killed) = (contents(&whole), contents(&killed));
    assert_eq!(whole.keys().collect::<Vec<_>>(), killed.keys().collect::<Vec<_>>());
    let differing: Vec<&String> = whole.keys().filter(|name| whole[*name] != killed[*name]).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

/// Peak resident memory of a run, MiB: VmHWM only grows, so the last reading before its end is all but the peak.
fn peak_mib(mut command: Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Ok(text) = std::fs::read_to_string(&status)
            && let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))
        {
            peak = line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap().max(peak);
        }
        if let Some(exit) = child.try_wait().unwrap() {
            assert!(exit.success(), "{command:?}: {exit}");
            return peak / 1024;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn ten_times_the_cohort_needs_no_more_memory_under_the_same_cap() {
    let temporary = tempfile::tempdir().unwrap();
    // The copies hold the same pixels under other subjects.
    let cap = format!("{CAP_MIB}MiB");
    let flags = ["--max-memory", &cap, "--set", "allow_shared_pixels=true", "--set", "split=\"random\""];
    // Two times sixteen subjects fill two parts, and one is written while the next is prepared: two whole parts count in both.
    phantom(temporary.path(), "16");
    let run = |cohort: &Path| preprocess(cohort, &cohort.with_extension("dataset"), &flags);
    let (two, twenty) = (cohort(temporary.path(), 2), cohort(temporary.path(), 20));
    let (one, ten) = (peak_mib(run(&two)), peak_mib(run(&twenty)));
    // The same command once more finds its dataset up to date: what is resident of the program itself, most of it libtorch.
    let program = peak_mib(run(&two));
    println!("peak {one} MiB for 32 subjects, {ten} MiB for 320, {program} MiB for none");
    assert!(ten <= one + MARGIN_MIB, "{one} MiB for 32 subjects, {ten} MiB for 320");
    assert!(
        ten <= program + CAP_MIB,
        "{ten} MiB for 320 subjects, {program} MiB of them the program, cap {CAP_MIB} MiB"
    );
}
