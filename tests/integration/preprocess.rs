//! Preprocess as the command runs it, on cohorts of pictures made here and on the phantom.

use std::path::Path;

use image::{GrayImage, Luma};

use crate::support::{expect_exit, groupdistil, project, run_python};

/// A subject of a cohort of pictures.
struct Subject {
    id: &'static str,
    label: &'static str,
    site: &'static str,
    split: &'static str,
}

const fn subject(id: &'static str, label: &'static str, site: &'static str, split: &'static str) -> Subject {
    Subject { id, label, site, split }
}

/// Writes one picture of each subject with a label table, and ingests them into `folder/cohort`.
fn cohort(folder: &Path, subjects: &[Subject]) {
    let scans = folder.join("scans");
    std::fs::create_dir(&scans).unwrap();
    let mut table = "file,patient_id,label,site,split\n".to_owned();
    for (number, Subject { id, label, site, split }) in subjects.iter().enumerate() {
        let shade = |x: u32, y: u32| Luma([((x * 7 + y * 3) as usize + number * 11) as u8]);
        GrayImage::from_fn(24, 20, shade).save(scans.join(format!("{id}.png"))).unwrap();
        table += &format!("{id}.png,{id},{label},{site},{split}\n");
    }
    std::fs::write(folder.join("labels.csv"), table).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (scans, labels, out) = (path("scans"), path("labels.csv"), path("cohort"));
    expect_exit(&mut groupdistil(&["ingest", &scans, "--labels", &labels, "--group-by", "site", "--out", &out]), 0);
}

/// Runs preprocess on it, expects `code`, and gives stderr.
fn preprocess(folder: &Path, code: i32, flags: &[&str]) -> String {
    let (cohort, out) = (folder.join("cohort"), folder.join("dataset"));
    let words = [&["preprocess", cohort.to_str().unwrap(), "--out", out.to_str().unwrap()], flags].concat();
    String::from_utf8(expect_exit(&mut groupdistil(&words), code).stderr).unwrap()
}

const BALANCED: [Subject; 8] = [
    subject("p1", "sick", "a", "train"),
    subject("p2", "well", "a", "train"),
    subject("p3", "sick", "a", "val"),
    subject("p4", "well", "a", "test"),
    subject("p5", "sick", "b", "train"),
    subject("p6", "well", "b", "train"),
    subject("p7", "well", "b", "val"),
    subject("p8", "sick", "b", "test"),
];

#[test]
fn a_cohort_of_pictures_becomes_a_dataset() {
    let temporary = tempfile::tempdir().unwrap();
    cohort(temporary.path(), &BALANCED);
    preprocess(temporary.path(), 0, &["--resize", "16,16"]);
    let json = std::fs::read_to_string(temporary.path().join("dataset/dataset.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["classes"], serde_json::json!(["sick", "well"]));
    assert_eq!(json["total"]["samples"], 8);
}

#[test]
fn one_class_only_is_unusable_and_says_where_to_look() {
    let temporary = tempfile::tempdir().unwrap();
    let subjects = BALANCED.map(|one| Subject { label: "sick", ..one });
    cohort(temporary.path(), &subjects);
    let message = preprocess(temporary.path(), 1, &[]);
    assert!(message.contains("all 8 usable subjects have the label `sick`"), "{message}");
    assert!(message.contains("labels given to ingest"), "{message}");
}

#[test]
fn a_group_without_validation_subjects_is_unusable_and_says_the_remedies() {
    let temporary = tempfile::tempdir().unwrap();
    let subjects = BALANCED.map(|one| Subject { split: if one.id == "p7" { "test" } else { one.split }, ..one });
    cohort(temporary.path(), &subjects);
    let message = preprocess(temporary.path(), 1, &[]);
    for expected in
        ["group `site=b` has 4 subjects and none in the val split", "training_only_groups", "held_out_groups"]
    {
        assert!(message.contains(expected), "{message}");
    }
}

fn dataset_json(folder: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder.join("dataset/dataset.json")).unwrap()).unwrap()
}

#[test]
fn sites_are_folds_that_say_their_names_and_who_validates() {
    let temporary = tempfile::tempdir().unwrap();
    cohort(temporary.path(), &BALANCED);
    preprocess(temporary.path(), 0, &["--resize", "16,16", "--split", "leave-one-site-out"]);
    let json = dataset_json(temporary.path());
    assert_eq!((&json["folds"], &json["site_folds"]["sites"]), (&serde_json::json!(2), &serde_json::json!(["a", "b"])));
    // By hand: a fifth of four subjects is one at each site.
    assert_eq!(json["site_folds"]["validation_subjects"].as_array().unwrap().len(), 2);
    let dataset = groupdistil::dataset::Dataset::open(&temporary.path().join("dataset")).unwrap();
    for (fold, tested) in ["a", "b"].into_iter().enumerate() {
        let mut counts = std::collections::BTreeMap::new();
        for (index, sample) in dataset.samples().iter().enumerate() {
            let split = dataset.split(index, Some(fold)).as_str();
            assert_eq!(split == "test", sample.site.as_deref() == Some(tested));
            *counts.entry(split).or_insert(0) += 1;
        }
        assert_eq!(counts, [("test", 4), ("train", 3), ("val", 1)].into());
    }
}

#[test]
fn a_table_of_splits_is_taken_or_refused_by_name() {
    let temporary = tempfile::tempdir().unwrap();
    cohort(temporary.path(), &BALANCED);
    preprocess(temporary.path(), 0, &["--resize", "16,16"]);
    let dataset = groupdistil::dataset::Dataset::open(&temporary.path().join("dataset")).unwrap();
    let table = temporary.path().join("splits.csv");
    // Validation and test change places.
    let swapped =
        |split: &str| ["train", "test", "val"][["train", "val", "test"].iter().position(|s| *s == split).unwrap()];
    let rows: Vec<String> =
        dataset.samples().iter().map(|row| format!("{},{}\n", row.subject_id, swapped(row.split.as_str()))).collect();
    let flags = ["--resize", "16,16", "--force", "--split-file", table.to_str().unwrap()];
    std::fs::write(&table, format!("subject_id,split\n{}", rows[1..].concat())).unwrap();
    let message = preprocess(temporary.path(), 2, &flags);
    assert!(message.contains("no split for 1 of 8 usable subjects") && message.contains("splits.csv"), "{message}");
    std::fs::write(&table, format!("subject_id,split\n{}", rows.concat())).unwrap();
    preprocess(temporary.path(), 0, &flags);
    let changed = groupdistil::dataset::Dataset::open(&temporary.path().join("dataset")).unwrap();
    for (before, after) in dataset.samples().iter().zip(changed.samples()) {
        assert_eq!((&before.subject_id, swapped(before.split.as_str())), (&after.subject_id, after.split.as_str()));
    }
    // Another table is another dataset, not an up-to-date one.
    std::fs::write(&table, format!("subject_id,split,note\n{}", rows.concat())).unwrap();
    preprocess(temporary.path(), 2, &flags[..2].iter().chain(&flags[3..]).copied().collect::<Vec<_>>());
}

#[test]
fn what_is_no_cohort_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let message = preprocess(temporary.path(), 1, &[]);
    assert!(message.contains("cohort`") && message.contains("groupdistil ingest"), "{message}");
}

#[test]
fn another_output_folder_is_never_overwritten() {
    let temporary = tempfile::tempdir().unwrap();
    cohort(temporary.path(), &BALANCED);
    preprocess(temporary.path(), 0, &["--resize", "16,16"]);
    let message = preprocess(temporary.path(), 2, &["--resize", "24,24"]);
    assert!(message.contains("--force"), "{message}");
    preprocess(temporary.path(), 0, &["--resize", "24,24", "--force"]);
}

#[test]
fn any_thread_count_gives_the_same_bytes_and_python_opens_them() {
    let temporary = tempfile::tempdir().unwrap();
    let path = |name: &str| temporary.path().join(name).to_str().unwrap().to_owned();
    expect_exit(&mut groupdistil(&["phantom", "--preset", "tiny", "--out", &path("phantom")]), 0);
    let (scans, labels) = (path("phantom/scans"), path("phantom/labels.csv"));
    expect_exit(&mut groupdistil(&["ingest", &scans, "--labels", &labels, "--out", &path("cohort")]), 0);
    for threads in ["1", "3"] {
        let out = path(&format!("dataset{threads}"));
        expect_exit(&mut groupdistil(&["preprocess", &path("cohort"), "--out", &out, "--threads", threads]), 0);
    }
    for name in ["dataset.json", "plan.json", "samples.parquet", "exclusions.csv", "images-00000.npy"] {
        let read = |threads: u32| std::fs::read(temporary.path().join(format!("dataset{threads}/{name}"))).unwrap();
        assert!(read(1) == read(3), "{name} depends on the thread count");
    }
    run_python("preprocess", "dataset_of_phantom.py", &[&path("phantom"), &path("cohort"), &path("dataset1")]);
}

/// Pages and numbers of a dataset, by name.
fn pages(dataset: &Path) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<_> =
        std::fs::read_dir(dataset.join("sheets")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.extend(["report.html", "report.json"].map(|name| dataset.join(name)));
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

#[test]
fn contact_sheets_and_report_hold_no_identifier_and_are_alike_at_any_thread_count() {
    let temporary = tempfile::tempdir().unwrap();
    let path = |name: &str| temporary.path().join(name).to_str().unwrap().to_owned();
    expect_exit(&mut groupdistil(&["phantom", "--preset", "tiny", "--out", &path("phantom")]), 0);
    let (scans, labels) = (path("phantom/scans"), path("phantom/labels.csv"));
    expect_exit(&mut groupdistil(&["ingest", &scans, "--labels", &labels, "--out", &path("cohort")]), 0);
    let run = |out: &str, threads: &str, more: &[&str]| {
        let (cohort, out) = (path("cohort"), path(out));
        let words = [&["preprocess", &cohort, "--out", &out, "--threads", threads], more].concat();
        String::from_utf8(expect_exit(&mut groupdistil(&words), 0).stdout).unwrap()
    };
    run("one", "1", &[]);
    let printed = run("two", "2", &["--report"]);
    let found = pages(&temporary.path().join("one"));
    assert_eq!(found, pages(&temporary.path().join("two")));

    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"index.html") && names.iter().any(|name| name.starts_with("01-")), "{names:?}");
    let table = std::fs::read_to_string(&labels).unwrap();
    let header: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let column = header.iter().position(|name| *name == "patient_id").unwrap();
    let ids: Vec<&str> = table.lines().skip(1).map(|line| line.split(',').nth(column).unwrap()).collect();
    assert!(ids.len() >= 20 && ids.iter().all(|id| id.len() > 3));
    for (name, bytes) in &found {
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(!text.contains(temporary.path().to_str().unwrap()), "{name} has a path");
        assert!(ids.iter().all(|id| !text.contains(id)), "{name} has a patient id");
        assert!(!text.contains("http:") && !text.contains("https:"), "{name} may load nothing");
    }

    // An up-to-date dataset prints the same table.
    let again = run("two", "1", &["--report"]);
    let told = |text: &str| text.split("scanner told").nth(1).unwrap().split("written:").next().unwrap().to_owned();
    assert!(again.contains("up to date") && told(&again).starts_with(told(&printed).trim_end()), "{printed}\n{again}");
    let json: serde_json::Value = serde_json::from_str(&run("two", "1", &["--report", "--json"])).unwrap();
    assert_eq!(json["report"]["schema"], "groupdistil.preprocess-report/1");
    assert_eq!(json["report"]["stacks"], json["dataset"]["total"]["stacks"]);
}

#[test]
fn simpleitk_still_gives_the_numbers_that_resampling_is_held_against() {
    let numbers = project().join("tests/python/resample_reference.json");
    run_python("preprocess", "resample_reference.py", &["--check", numbers.to_str().unwrap()]);
}
