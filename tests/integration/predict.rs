//! `predict`: raw scans and the model file give what the run said of the same stacks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use groupdistil::formats::predictions::Predictions;

use crate::support;

/// A phantom, and everything that was made of it up to the model file.
struct Made {
    folder: tempfile::TempDir,
}

impl Made {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str], code: i32) -> std::process::Output {
        support::expect_exit(&mut support::groupdistil(arguments), code)
    }

    /// `predict` of the model on `source`, with what else is given.
    fn predict(&self, source: &str, out: &str, more: &[&str], code: i32) -> std::process::Output {
        let (model, source, out) = (self.text("model.pt"), self.text(source), self.text(out));
        let mut arguments = vec!["predict", &model, &source, "--out", &out];
        let key = self.text("key");
        arguments.extend(["--key", &key]);
        arguments.extend(more);
        self.run(&arguments, code)
    }
}

fn made() -> Made {
    let made = Made { folder: tempfile::tempdir().unwrap() };
    std::fs::write(made.path("key"), [9; 32]).unwrap();
    let [phantom, scans, labels, key] = ["phantom", "phantom/scans", "phantom/labels.csv", "key"].map(|n| made.text(n));
    let [cohort, dataset, run, model] = ["cohort", "dataset", "run", "model.pt"].map(|name| made.text(name));
    made.run(&["phantom", "--preset", "tiny", "--out", &phantom], 0);
    made.run(&["ingest", &scans, "--labels", &labels, "--key", &key, "--out", &cohort], 0);
    made.run(&["preprocess", &cohort, "--out", &dataset], 0);
    made.run(&["train", &dataset, "--arch", "compact-resnet", "--epochs", "1", "--out", &run, "--device", "cpu"], 0);
    made.run(&["export", &run, "--out", &model], 0);
    made
}

/// Rows of a CSV by column name.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

/// Mean softmax over the samples of each stack, from the run's own logits.
fn expected(run: &Path) -> BTreeMap<String, Vec<f64>> {
    let predictions = Predictions::read(&run.join("predictions.parquet")).unwrap();
    let mut stacks: BTreeMap<String, Vec<Vec<f64>>> = BTreeMap::new();
    for row in &predictions.rows {
        let powers: Vec<f64> = row.logits.iter().map(|logit| f64::from(*logit).exp()).collect();
        let sum: f64 = powers.iter().sum();
        stacks.entry(row.stack_id.clone()).or_default().push(powers.iter().map(|power| power / sum).collect());
    }
    let mean = |samples: Vec<Vec<f64>>| {
        (0..samples[0].len())
            .map(|class| samples.iter().map(|one| one[class]).sum::<f64>() / samples.len() as f64)
            .collect()
    };
    stacks.into_iter().map(|(stack, samples)| (stack, mean(samples))).collect()
}

#[test]
fn predictions_from_raw_scans_are_those_of_the_run() {
    let made = made();
    let labels = made.text("phantom/labels.csv");
    made.predict("phantom/scans", "predictions.csv", &["--labels", &labels], 0);
    let found = rows(&made.path("predictions.csv"));
    let header = std::fs::read_to_string(made.path("predictions.csv")).unwrap().lines().next().unwrap().to_owned();
    // Copied from the design, section 3, predictions.csv.
    let design = "subject_id,study_id,stack_id,acquisition_group,acquisition_group_seen,site,vendor,model,\
                  field_strength_t,sex,age_years,prob_DCM,prob_HCM,prob_NOR,predicted,warning";
    assert_eq!(header, design);
    let expected = expected(&made.path("run"));
    assert_eq!(found.len(), expected.len());
    for row in &found {
        let run = &expected[&row["stack_id"]];
        let ours: Vec<f64> = ["DCM", "HCM", "NOR"].map(|class| row[&format!("prob_{class}")].parse().unwrap()).to_vec();
        // Issue 3: within 1e-5.
        let worst = run.iter().zip(&ours).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-5, "{}: {worst}", row["stack_id"]);
        assert_eq!(row["acquisition_group_seen"], "true", "{row:?}");
        let best = ["DCM", "HCM", "NOR"].into_iter().zip(&ours).rev().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        assert_eq!(row["predicted"], best);
    }
    the_same_bytes_at_another_thread_count_and_up_to_date(&made, &labels);
    scanners_that_were_never_trained_on_are_warned_of(&made);
    a_subject_without_a_usable_stack_has_a_row_that_says_why(&made);
    a_stack_that_cannot_be_read_is_a_row_with_a_warning(&made);
    a_model_whose_images_would_be_others_is_refused(&made);
    bad_input_has_the_exit_codes_of_the_design(&made);
}

fn the_same_bytes_at_another_thread_count_and_up_to_date(made: &Made, labels: &str) {
    made.predict("phantom/scans", "again.csv", &["--labels", labels, "--threads", "1"], 0);
    let read = |name: &str| std::fs::read(made.path(name)).unwrap();
    assert!(read("predictions.csv") == read("again.csv"), "the predictions depend on the thread count");
    let output = made.predict("phantom/scans", "again.csv", &["--labels", labels], 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("up to date"));
    let output = made.predict("phantom/scans", "again.csv", &[], 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--force"));
    made.predict("phantom/scans", "again.csv", &["--force"], 0);
    assert!(read("predictions.csv") != read("again.csv"));
}

/// The same scans under another site's name: `vendor=...;site=elsewhere` is none of the groups of the training.
fn scanners_that_were_never_trained_on_are_warned_of(made: &Made) {
    let mut table = "patient_id,label,site\n".to_owned();
    for row in rows(&made.path("phantom/labels.csv")) {
        table += &format!("{},{},elsewhere\n", row["patient_id"], row["label"]);
    }
    std::fs::write(made.path("elsewhere.csv"), table).unwrap();
    let output = made.predict("phantom/scans", "elsewhere-out.csv", &["--labels", &made.text("elsewhere.csv")], 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("unproven"));
    let found = rows(&made.path("elsewhere-out.csv"));
    assert_eq!(found.len(), 36);
    for row in &found {
        assert!(row["acquisition_group"].ends_with(";site=elsewhere"));
        assert_eq!(row["acquisition_group_seen"], "false");
        assert!(row["warning"].contains("never seen in training"), "{row:?}");
        assert!(!row["predicted"].is_empty());
    }
}

/// A folder with nothing but a scout.
fn a_subject_without_a_usable_stack_has_a_row_that_says_why(made: &Made) {
    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(made.path("phantom/truth.json")).unwrap()).unwrap();
    let of_role = |role: &str| {
        let files = truth["files"].as_array().unwrap();
        files.iter().find(|file| file["role"] == role).unwrap()["path"].as_str().unwrap().to_owned()
    };
    let only = made.path("only");
    std::fs::create_dir_all(only.join("a")).unwrap();
    let scout = made.path("phantom").join(of_role("scout"));
    std::fs::copy(&scout, only.join("a").join(scout.file_name().unwrap())).unwrap();
    let output = made.predict("only", "only.csv", &[], 1);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("none of 1 stacks could be predicted (view 1)"), "{stderr}");
    let found = rows(&made.path("only.csv"));
    assert_eq!((found.len(), found[0]["predicted"].as_str(), found[0]["prob_DCM"].as_str()), (1, "", ""));
    assert!(found[0]["warning"].contains("no prediction: the view is `scout`"), "{:?}", found[0]);
}

/// Enhanced objects whose rescale slope is no number: understood by ingest, unusable for their pixels.
fn a_stack_that_cannot_be_read_is_a_row_with_a_warning(made: &Made) {
    // (0028,1053) DS, explicit little-endian; its length and text follow.
    let slope = [0x28, 0x00, 0x53, 0x10, b'D', b'S'];
    let files = walkdir::WalkDir::new(made.path("phantom/scans")).sort_by_file_name().into_iter().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    let (patient, spoiled): (PathBuf, Vec<PathBuf>) = {
        let with_slope = |path: &PathBuf| std::fs::read(path).unwrap().windows(6).any(|found| found == slope);
        let first = files.into_iter().find(with_slope).unwrap();
        let patient = first.parent().unwrap().to_path_buf();
        let siblings = std::fs::read_dir(&patient).unwrap().map(|entry| entry.unwrap().path());
        (patient.clone(), siblings.filter(with_slope).collect())
    };
    let folder = made.path("mixed").join(patient.file_name().unwrap());
    std::fs::create_dir_all(&folder).unwrap();
    for path in spoiled {
        let mut bytes = std::fs::read(&path).unwrap();
        let places: Vec<usize> = (0..bytes.len() - 9).filter(|&at| bytes[at..at + 6] == slope).collect();
        places.into_iter().for_each(|at| bytes[at + 8] = b'x');
        std::fs::write(folder.join(path.file_name().unwrap()), bytes).unwrap();
    }
    let output = made.predict("mixed", "mixed.csv", &[], 1);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("unreadable 1") && stderr.contains("RescaleSlope"), "{stderr}");
    let found = rows(&made.path("mixed.csv"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0]["warning"].contains("cannot be read"), "{:?}", found[0]);
    let text = std::fs::read_to_string(made.path("mixed.csv")).unwrap();
    assert!(!text.contains(patient.file_name().unwrap().to_str().unwrap()), "the patient's folder is named");
}

fn a_model_whose_images_would_be_others_is_refused(made: &Made) {
    let [model, other, scans, out] = ["model.pt", "other.pt", "phantom/scans", "other.csv"].map(|name| made.text(name));
    support::run_python("predict", "other_golden.py", &[&model, &other]);
    let output = made.run(&["predict", &other, &scans, "--out", &out], 1);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("other.pt") && message.contains("train again"), "{message}");
    assert!(!made.path("other.csv").exists());
    made.run(&["doctor", "--model", &other], 1);
}

fn bad_input_has_the_exit_codes_of_the_design(made: &Made) {
    std::fs::write(made.path("no-model.pt"), b"no archive").unwrap();
    let [bad, scans, out] = ["no-model.pt", "phantom/scans", "x.csv"].map(|name| made.text(name));
    let output = made.run(&["predict", &bad, &scans, "--out", &out], 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-model.pt"));
    let model = made.text("model.pt");
    let output = made.run(&["predict", &model, &made.text("nowhere"), "--out", &out], 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not exist"));
    let output = made.run(&["predict", &model, &scans, "--out", &out, "--device", "gpu"], 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--device"));
    assert!(!made.path("x.csv").exists());
}
