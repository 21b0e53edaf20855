//! Whole pipelines as a user runs them: every file in pipelines/ loads, the demo runs, is up to date, resumes, and its files open in
//! Python without the program.
#![cfg(feature = "torch")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use groupdistil::settings::evidence::{EvidenceSettings, is_study};
use groupdistil::settings::pipeline::PipelineSettings;

use crate::support::{self, expect_exit, groupdistil, project};

fn pipelines() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project().join("pipelines")).unwrap();
    let files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(files.iter().any(|path| path.ends_with("demo.toml")));
    files
}

#[test]
fn every_pipeline_file_loads() {
    for path in pipelines() {
        let text = std::fs::read_to_string(&path).unwrap();
        let base = path.parent().unwrap();
        let wrong = match is_study(&text) {
            true => EvidenceSettings::parse(&text, &[], base).err().map(|error| error.to_string()),
            false => PipelineSettings::parse(&text, &[], base).err().map(|error| error.to_string()),
        };
        assert_eq!(wrong, None, "{}", path.display());
    }
}

/// Every file but those that may differ between equal runs.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
    let kept = files.filter(|entry| {
        let path = entry.path();
        let differs = ["provenance.json", ".lock"].iter().any(|name| entry.file_name() == *name)
            || path.iter().any(|part| part == "tensorboard" || part == "checkpoint");
        entry.file_type().is_file() && !differs
    });
    kept.map(|entry| (entry.path().strip_prefix(folder).unwrap().to_path_buf(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn the_quick_demo_runs_is_up_to_date_and_opens_in_python() {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("demo");
    let out_text = out.to_str().unwrap();
    let output = expect_exit(&mut groupdistil(&["demo", "--quick", "--out", out_text]), 0);
    let table = String::from_utf8(output.stdout).unwrap();
    for expected in ["group-distil", "kd", "erm", "teacher", "worst", "audit.html"] {
        assert!(table.contains(expected), "{expected} is missing:\n{table}");
    }
    support::run_python("pipeline", "open_everything.py", &[out_text]);

    let before = contents(&out);
    let weights = out.join("runs/kd/weights.safetensors");
    let written = std::fs::metadata(&weights).unwrap().modified().unwrap();
    expect_exit(&mut groupdistil(&["demo", "--quick", "--out", out_text]), 0);
    assert_eq!(std::fs::metadata(&weights).unwrap().modified().unwrap(), written, "training was done again");
    assert!(before == contents(&out), "a second run changed files");
}

#[test]
fn an_interrupted_run_goes_on_and_ends_with_the_same_bytes() {
    let temporary = tempfile::tempdir().unwrap();
    let whole = temporary.path().join("whole");
    let parts = temporary.path().join("parts");
    let pipeline = project().join("pipelines/demo-quick.toml");
    let arguments = |out: &Path| -> Vec<String> {
        let words = ["run", pipeline.to_str().unwrap(), "--set", "teacher.arch=compact-resnet", "--out"];
        words.iter().map(|word| (*word).to_owned()).chain([out.to_str().unwrap().to_owned()]).collect()
    };
    let command = |out: &Path| {
        let arguments = arguments(out);
        groupdistil(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    expect_exit(&mut command(&whole), 0);
    // Killed twice, without a chance to tidy up: early, and when the first run's weights are there.
    let mut child = command(&parts).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut child = command(&parts).spawn().unwrap();
    for _ in 0..600 {
        std::thread::sleep(Duration::from_millis(100));
        if parts.join("runs/teacher/run.json").exists() || child.try_wait().unwrap().is_some() {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    expect_exit(&mut command(&parts), 0);
    let (whole, parts) = (contents(&whole), contents(&parts));
    let names = |files: &[(PathBuf, Vec<u8>)]| files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    assert_eq!(names(&whole), names(&parts));
    let private = |path: &Path| path.starts_with("cohort");
    for ((path, a), (_, b)) in whole.iter().zip(&parts) {
        assert!(a == b || private(path), "{} differs", path.display());
    }
}

#[test]
fn students_beside_each_other_are_those_made_one_after_the_other() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("two.toml");
    let text = "title = 'Two students'\nstudents = ['erm', 'group-dro']\n[phantom]\npreset = 'tiny'\n[ingest]\ngroup_by = ['vendor']\n\
        [preprocess]\npixel_spacing_mm = 5.0\n[student]\narch = 'tiny-resnet'\nepochs = 2\n[audit]\nreplicates = 200\n";
    std::fs::write(&file, text).unwrap();
    let weights = |name: &str, manner: [&str; 4]| {
        let out = temporary.path().join(name);
        let arguments = ["run", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
        expect_exit(&mut groupdistil(&[&arguments[..], &manner].concat()), 0);
        ["erm", "group-dro"]
            .map(|student| std::fs::read(out.join("runs").join(student).join("weights.safetensors")).unwrap())
    };
    // One thread for each training in both.
    let alone = weights("alone", ["--threads", "1", "--jobs", "1"]);
    assert!(alone == weights("beside", ["--threads", "2", "--jobs", "2"]));
}

#[test]
fn a_wrong_key_and_a_wrong_value_are_usage_errors_that_name_them() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("mine.toml");
    let text = std::fs::read_to_string(project().join("pipelines/demo-quick.toml")).unwrap();
    let fails = |text: &str, extra: &[&str], expected: &[&str]| {
        std::fs::write(&path, text).unwrap();
        let out = temporary.path().join("out");
        let words = [&["run", path.to_str().unwrap(), "--out", out.to_str().unwrap()], extra].concat();
        let output = expect_exit(&mut groupdistil(&words), 2);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(expected.iter().all(|part| message.contains(part)), "{message}");
        assert!(!out.exists(), "something was done before the settings were checked");
    };
    fails(&text.replace("epochs = 3", "epoch = 3"), &[], &["mine.toml", "line", "`epoch`", "`epochs`"]);
    fails(&text, &["--set", "student.alpha=1.5"], &["alpha", "1.5"]);
    fails(&text, &["--set", "preprocess.kernel=square"], &["square"]);
    fails(&text, &["--set", "audit.replicates=3"], &["audit.replicates", "200"]);
}

#[test]
fn an_empty_folder_is_unusable_and_named() {
    let temporary = tempfile::tempdir().unwrap();
    let empty = temporary.path().join("nothing-here");
    std::fs::create_dir(&empty).unwrap();
    let text = "students = ['erm']\nsources = ['nothing-here']\n";
    let pipeline = temporary.path().join("p.toml");
    std::fs::write(&pipeline, text).unwrap();
    let out = temporary.path().join("out");
    let output = expect_exit(&mut groupdistil(&["run", pipeline.to_str().unwrap(), "--out", out.to_str().unwrap()]), 1);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("nothing-here"), "{message}");
}
