//! Identifiers planted everywhere (issue 4, Privacy; design, section 3): the whole pipeline runs on them, and none is found in any
//! output but the private paths of the COHORT.
#![cfg(feature = "torch")]

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::ingest::{json, ledger, table, text};
use crate::support::{expect_exit, groupdistil, python, run_python};

/// Runs the program in `folder` and keeps what it prints: stdout is searched with the outputs, stderr apart.
struct Runner<'a> {
    folder: &'a Path,
    stderr: String,
}

impl Runner<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn run(&mut self, name: &str, arguments: &[&str]) -> Output {
        let mut command = groupdistil(arguments);
        let output = expect_exit(command.current_dir(self.folder), 0);
        let stdout = self.path("made/stdout");
        std::fs::create_dir_all(&stdout).unwrap();
        std::fs::write(stdout.join(name), &output.stdout).unwrap();
        self.stderr += &String::from_utf8_lossy(&output.stderr);
        output
    }
}

#[test]
fn no_identifier_leaves_the_private_columns_of_the_cohort() {
    if python("privacy").is_none() {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let mut runner = Runner { folder: temporary.path(), stderr: String::new() };
    let runner = &mut runner;
    std::fs::write(runner.path("key"), [7; 32]).unwrap();
    expect_exit(groupdistil(&["phantom", "--preset", "tiny", "--out", "phantom"]).current_dir(temporary.path()), 0);
    let [phantom, planted] = ["phantom", "planted"].map(|name| runner.path(name));
    run_python("privacy", "plant_identifiers.py", &[text(&phantom), text(&planted)]);
    let list = planted.join("planted.json");
    let (scans, tables) = (planted.join("scans"), planted.join("tables"));
    // The search itself: everything planted is found where it was planted.
    run_python("privacy", "find_identifiers.py", &[text(&list), "--all-found", text(&scans), text(&tables)]);

    let labels = "planted/tables/labels.csv";
    let key = ["--key", "key"];
    runner.run("inspect.txt", &["-v", "inspect", "planted/scans"]);
    runner.run("inspect.json", &["-v", "inspect", "planted/scans", "--json"]);
    let ingest = ["-v", "ingest", "planted/scans", "--labels", labels, "--out", "made/cohort"];
    runner.run("ingest.txt", &[&ingest[..], &key, &["--export-deidentified", "made/copies"]].concat());
    runner.run("again.json", &[&ingest[..], &key, &["--json"]].concat());
    runner.run("preprocess.txt", &["-v", "preprocess", "made/cohort", "--out", "made/dataset"]);
    let train = ["-v", "train", "made/dataset", "--arch", "compact-resnet", "--epochs", "1", "--device", "cpu"];
    runner.run("train.txt", &[&train[..], &["--out", "made/run"]].concat());
    runner.run("export.txt", &["-v", "export", "made/run", "--out", "made/model.pt"]);
    let predict = ["-v", "predict", "made/model.pt", "planted/scans", "--labels", labels];
    runner.run("predict.txt", &[&predict[..], &key, &["--out", "made/predictions.csv"]].concat());
    runner.run("audit.txt", &["-v", "audit", "made/run", "--out", "made/report"]);

    run_python("privacy", "find_identifiers.py", &[text(&list), text(&runner.path("made"))]);
    stderr_names_nobody_but_by_paths(&runner.stderr, &json(&list), &scans);
    the_pipeline_saw_everything(&runner.path("made"), &scans);
}

/// A message may name a path; what is left of stderr without them holds nothing that was planted.
fn stderr_names_nobody_but_by_paths(stderr: &str, planted: &Value, scans: &Path) {
    let mut left = stderr.to_owned();
    let mut paths: Vec<String> =
        crate::ingest::files(scans).iter().map(|path| path.to_string_lossy().into_owned()).collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in paths {
        left = left.replace(&path, "");
    }
    let lower = left.to_lowercase();
    for text in planted["strings"].as_array().unwrap() {
        assert!(!lower.contains(&text.as_str().unwrap().to_lowercase()), "{text} in stderr:\n{left}");
    }
}

/// The search finds nothing because nothing is there, not because nothing was made.
fn the_pipeline_saw_everything(made: &Path, scans: &Path) {
    let ledger = ledger(&made.join("cohort"), scans);
    assert!(ledger.values().any(|found| found == "skipped burned-in"), "the burned-in file was not told");
    let stacks = table(&made.join("cohort"), "stacks.parquet");
    assert_eq!(
        stacks.text("attr_ward").unwrap().iter().flatten().filter(|ward| *ward == "ward 7").count(),
        stacks.rows()
    );
    let known = |column: &str| stacks.text(column).unwrap().iter().flatten().count();
    for column in ["model", "station", "software"] {
        // Planted with the patient's name or id in two of three patients.
        assert!(known(column) > 0 && known(column) < stacks.rows(), "{column}: {}", known(column));
    }
    let ages = stacks.float64("age_years").unwrap();
    assert!(ages.iter().flatten().all(|age| *age <= 90.0));
    let copies = json(&made.join("copies/deidentified.json"));
    let used = ledger.values().filter(|found| *found == "used image").count();
    let written: u64 = copies["files"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!((written as usize, copies["not_exported"].as_object().unwrap().len()), (used, 0));
}
