//! The phantom as the command writes it: equal bytes, valid files, consistent truth, no shortcut.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support;

fn write(folder: &Path, arguments: &[&str]) {
    let out = folder.to_str().unwrap();
    let mut all = vec!["phantom", "--out", out];
    all.extend(arguments);
    support::expect_exit(&mut support::groupdistil(&all), 0);
}

/// Every file but those that may differ between equal runs.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files =
        walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    files
        .filter(|entry| entry.file_name() != "provenance.json")
        .map(|entry| (entry.path().strip_prefix(folder).unwrap().to_path_buf(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

fn truth(folder: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder.join("truth.json")).unwrap()).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes_at_any_thread_count_and_another_seed_others() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = |name: &str| temporary.path().join(name);
    let few = ["--preset", "tiny", "--subjects", "9"];
    write(&folder("one"), &[&few[..], &["--threads", "1"]].concat());
    write(&folder("three"), &[&few[..], &["--threads", "3"]].concat());
    write(&folder("other"), &[&few[..], &["--seed", "1"]].concat());
    let (one, three, other) = (contents(&folder("one")), contents(&folder("three")), contents(&folder("other")));
    assert!(one == three, "bytes depend on the thread count");
    let image = one.keys().find(|path| path.extension().is_some_and(|extension| extension == "dcm")).unwrap();
    assert_ne!(Some(&one[image]), other.get(image));
}

#[test]
fn a_second_run_is_up_to_date_and_other_settings_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("phantom");
    write(&out, &["--preset", "tiny", "--subjects", "4"]);
    let mut again =
        support::groupdistil(&["phantom", "--out", out.to_str().unwrap(), "--preset", "tiny", "--subjects", "4"]);
    let output = support::expect_exit(&mut again, 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("up to date"));
    let mut other =
        support::groupdistil(&["phantom", "--out", out.to_str().unwrap(), "--preset", "tiny", "--subjects", "5"]);
    let output = support::expect_exit(&mut other, 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--force"));
}

#[test]
fn pydicom_and_nibabel_read_every_file_as_the_truth_says() {
    let temporary = tempfile::tempdir().unwrap();
    write(temporary.path(), &["--preset", "tiny", "--subjects", "12"]);
    let test = "pydicom_and_nibabel_read_every_file_as_the_truth_says";
    support::run_python(test, "phantom_files.py", &[temporary.path().to_str().unwrap()]);
}

#[test]
fn dciodvfy_finds_no_error_in_any_kind_of_dicom_file() {
    let test = "dciodvfy_finds_no_error_in_any_kind_of_dicom_file";
    let Some(dciodvfy) = support::debian_program(test, "dciodvfy", "dicom3tools") else { return };
    let temporary = tempfile::tempdir().unwrap();
    write(temporary.path(), &["--preset", "tiny", "--subjects", "8"]);
    // One file of every role at every site, and the last too: first and last phases differ.
    let mut chosen: BTreeMap<(String, String), [String; 2]> = BTreeMap::new();
    for file in truth(temporary.path())["files"].as_array().unwrap() {
        let (path, role) = (file["path"].as_str().unwrap().to_owned(), file["role"].as_str().unwrap().to_owned());
        let site = path.split('/').nth(1).unwrap().to_owned();
        let is_dicom = !path.ends_with(".nii.gz") && role != "not-an-image" && role != "information-csv";
        if is_dicom {
            chosen.entry((site, role)).and_modify(|[_, last]| last.clone_from(&path)).or_insert([path.clone(), path]);
        }
    }
    assert_eq!(chosen.len(), 3 * 7, "{:?}", chosen.keys());
    for path in chosen.values().flatten() {
        let output = std::process::Command::new(&dciodvfy).arg(temporary.path().join(path)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("MRImage") && !said.contains("Error"), "{path}:\n{said}");
    }
}

#[test]
fn neither_metadata_nor_image_corners_tell_the_diagnosis() {
    let temporary = tempfile::tempdir().unwrap();
    write(temporary.path(), &["--preset", "tiny", "--subjects", "252"]);
    // Chance is 1/3; its standard error on 252 subjects is 0.03.
    let test = "neither_metadata_nor_image_corners_tell_the_diagnosis";
    support::run_python(test, "phantom_shortcuts.py", &[temporary.path().to_str().unwrap(), "0.43"]);
}
