//! `inspect`: what is said of the phantom and of real scans, and that it names nobody.

use std::path::Path;

use crate::support;

fn inspect(arguments: &[&str]) -> String {
    let mut all = vec!["inspect"];
    all.extend(arguments);
    let output = support::expect_exit(&mut support::groupdistil(&all), 0);
    String::from_utf8(output.stdout).unwrap()
}

/// Stacks of a folder as (view, kind, slices, phases, complete).
fn stacks(folder: &Path) -> Vec<(String, String, i64, i64, bool)> {
    let text = inspect(&[folder.to_str().unwrap(), "--json"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let stack = |stack: &serde_json::Value| {
        let text = |key: &str| stack[key].as_str().unwrap().to_owned();
        let number = |key: &str| stack[key].as_i64().unwrap();
        (text("view"), text("kind"), number("slices"), number("phases"), stack["complete"].as_bool().unwrap())
    };
    value["stacks"].as_array().unwrap().iter().map(stack).collect()
}

fn stack(view: &str, kind: &str, slices: i64, phases: i64, complete: bool) -> (String, String, i64, i64, bool) {
    (view.to_owned(), kind.to_owned(), slices, phases, complete)
}

#[test]
fn the_phantom_is_described_without_names_the_same_every_time_and_nothing_is_written() {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().to_str().unwrap();
    let arguments = ["phantom", "--preset", "tiny", "--subjects", "8", "--out", out];
    support::expect_exit(&mut support::groupdistil(&arguments), 0);
    let scans = temporary.path().join("scans");
    let files = || walkdir::WalkDir::new(temporary.path()).into_iter().count();
    let before = files();
    let text = inspect(&[scans.to_str().unwrap(), "--all"]);
    assert_eq!(text, inspect(&[scans.to_str().unwrap(), "--all"]), "a random key shows");
    assert_eq!(files(), before);
    for needed in ["sax", "scout", "siemens", "philips", "skipped   duplicate", "vendor=ge"] {
        assert!(text.contains(needed), "{needed} is missing:\n{text}");
    }
    // Folders are named after the patients, and so are names and ids in the files.
    let json = inspect(&[scans.to_str().unwrap(), "--json"]);
    for entry in walkdir::WalkDir::new(&scans).min_depth(2).max_depth(2) {
        let patient = entry.unwrap().file_name().to_str().unwrap().to_owned();
        assert!(!text.contains(&patient) && !json.contains(&patient), "{patient} is on stdout");
    }
    assert!(!text.contains(out) && !json.contains(out), "a path is on stdout");
}

#[test]
fn real_cines_are_as_complete_as_they_are() {
    let test = "real_cines_are_as_complete_as_they_are";
    let Some(folder) = support::real_data(test, "sunnybrook-cine/final_data/dicoms") else { return };
    assert_eq!(stacks(&folder.join("SCD0000301")), [stack("sax", "cine", 3, 20, true)]);
    assert_eq!(stacks(&folder.join("SCD0000101")), [stack("sax", "cine", 9, 2, false)]);
}

#[test]
fn real_scouts_are_no_short_axis_cines() {
    let test = "real_scouts_are_no_short_axis_cines";
    let Some(folder) = support::real_data(test, "sunnybrook-scouts") else { return };
    let found = stacks(&folder);
    assert!(!found.is_empty());
    assert!(found.iter().all(|(view, kind, ..)| view != "sax" && kind == "static"), "{found:?}");
}

#[test]
fn files_with_their_reasons_go_to_stderr_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().to_str().unwrap();
    let arguments = ["phantom", "--preset", "tiny", "--subjects", "1", "--out", out];
    support::expect_exit(&mut support::groupdistil(&arguments), 0);
    std::fs::write(temporary.path().join("scans/notes.txt"), "hello").unwrap();
    let scans = temporary.path().join("scans");
    let mut command = support::groupdistil(&["inspect", scans.to_str().unwrap(), "--files"]);
    let output = support::expect_exit(&mut command, 0);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("not-an-image") && stderr.contains("notes.txt"), "{stderr}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("notes.txt"));
}

#[test]
fn an_empty_folder_and_an_unknown_setting_are_told_apart_by_their_exit_code() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().to_str().unwrap();
    let output = support::expect_exit(&mut support::groupdistil(&["inspect", folder]), 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no file in"));
    let output = support::expect_exit(&mut support::groupdistil(&["inspect", folder, "--set", "colour=red"]), 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("colour"));
}
