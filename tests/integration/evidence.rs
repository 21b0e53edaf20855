//! Studies of methods over seeds, and several trainings at once.
#![cfg(feature = "torch")]

use std::path::Path;

use groupdistil::formats::run::{PREDICTIONS, RUN_JSON, WEIGHTS};

use crate::support::{expect_exit, groupdistil, run_python};
use crate::train::{SHORTCUT, bytes, write};

#[test]
fn trainings_beside_each_other_are_those_made_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("dataset"), SHORTCUT);
    let compare = |name: &str, threads: &str, jobs: &str| {
        let out = folder.path().join(name);
        let arguments = ["compare", dataset.to_str().unwrap(), "--out", out.to_str().unwrap()];
        let methods = ["--methods", "erm,kd,group-distil,group-distil+dfr-train", "--seeds", "2"];
        let small = ["--set", "epochs=2", "--set", "teacher.arch=compact-resnet", "--set", "student.arch=tiny-resnet"];
        let manner = ["--threads", threads, "--jobs", jobs];
        let all: Vec<&str> = arguments.into_iter().chain(methods).chain(small).chain(manner).collect();
        expect_exit(&mut groupdistil(&all), 0);
        out
    };
    // One thread for each training in both.
    let (alone, beside) = (compare("alone", "1", "1"), compare("beside", "3", "3"));
    for seed in ["seed-0", "seed-1"] {
        for method in ["teacher", "erm", "kd", "group-distil", "group-distil+dfr-train"] {
            for file in [RUN_JSON, WEIGHTS, PREDICTIONS] {
                let of = |out: &Path| bytes(&out.join(seed).join(method), file);
                assert!(of(&alone) == of(&beside), "{file} of {seed}/{method} differs");
            }
        }
    }
    assert!(bytes(&alone, "compare.json") == bytes(&beside, "compare.json"));
}

const STUDY: &str = "\
title = 'A small study'
[phantom]
preset = 'tiny'
[evidence]
methods = ['erm', 'dfr-train', 'kd', 'group-distil', 'group-distil+dfr-val']
teachers = ['erm', 'group-dro']
references = ['kd', 'dfr-train']
seeds = 2
tuning_seeds = 1
replicates = 2000
[ingest]
group_by = ['vendor']
[preprocess]
split = 'source'
pixel_spacing_mm = 5.0
[common]
arch = 'tiny-resnet'
epochs = 2
augment = false
[trials]
teacher-erm = [{}, { weight_decay = 0.1 }]
teacher-group-dro = [{}, { eta = 0.1 }]
erm = [{}, { learning_rate = 1e-2 }]
dfr-train = [{ dfr_subsets = 1 }, { dfr_subsets = 2 }]
kd = [{}, { alpha = 0.5 }]
group-distil = [{ eta = 0.01 }, { eta = 0.1 }]
'group-distil+dfr-val' = [{ dfr_subsets = 1 }, { dfr_subsets = 2 }]
";

#[test]
fn a_study_chooses_by_validation_and_its_figures_equal_numpys_and_scipys() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("study.toml"), folder.path().join("out"));
    std::fs::write(&file, STUDY).unwrap();
    let arguments = ["run", file.to_str().unwrap(), "--out", out.to_str().unwrap(), "--threads", "2"];
    let page = String::from_utf8(expect_exit(&mut groupdistil(&arguments), 0).stdout).unwrap();
    for expected in
        ["# A small study", "group-distil+dfr-val-from-group-dro", "chosen", "held-out data", "0 of 40 trainings"]
    {
        assert!(page.contains(expected), "{expected} is missing:\n{page}");
    }
    assert!(!out.join("seed-0/phantom").exists(), "the scans of a phantom stay");
    run_python("a_study_chooses_by_validation", "evidence_reference.py", &[out.to_str().unwrap()]);

    let before = bytes(&out, "evidence.json");
    let again = String::from_utf8(expect_exit(&mut groupdistil(&arguments), 0).stdout).unwrap();
    assert!(again.contains("40 of 40 trainings were there already"), "{again}");
    assert!(bytes(&out, "evidence.json") == before);
}
