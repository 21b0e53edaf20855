//! De-identified copies: held against their originals by pydicom and nibabel, ingested again, and validated by dicom3tools.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use dicom::core::{DataElement, PrimitiveValue, Tag, VR};
use groupdistil::formats::table::Table;
use groupdistil::ingest::Opener;
use groupdistil::ingest::pixels::read_frames;

use crate::ingest::{files, ingest, json, phantom, table, text};
use crate::support::{debian_program, expect_exit, groupdistil, real_data, run_python};

/// Columns that depend on ids, or on what was left out of the first cohort.
const OTHERWISE: [&str; 11] = [
    "stack_id",
    "subject_id",
    "study_id",
    "subject_source",
    "positions_incomplete",
    "complete",
    "slice_spacing_mm",
    "device",
    "position_rule",
    "vendor_source",
    "site_source",
];

/// Subjects of the second cohort by those of the first, whose pseudonyms are the second's patient ids.
fn crosswalk(path: &Path) -> BTreeMap<String, String> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let rows = reader.deserialize::<BTreeMap<String, String>>().map(Result::unwrap);
    rows.map(|row| (row["subject_id"].clone(), row["patient_id"].clone())).collect()
}

/// DICOM files as the validator and pydicom do not open them.
const PACKED: &str = r"\.(zst|dcm\.gz)$";

/// Each stack as its subject, its row without ids, and its frames without paths.
fn stacks(cohort: &Path, subject: impl Fn(&str) -> String) -> Vec<(String, Vec<String>, Vec<String>)> {
    let (stacks, frames) = (table(cohort, "stacks.parquet"), table(cohort, "frames.parquet"));
    let cells = |table: &Table, row: usize, without: &[&str]| -> Vec<String> {
        let kept = table.names().enumerate().filter(|(_, name)| !without.contains(name) && !name.starts_with("attr_"));
        kept.map(|(index, _)| table.cell(index, row)).collect()
    };
    let mut frames_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (row, id) in frames.required_text("stack_id").unwrap().into_iter().enumerate() {
        frames_of.entry(id).or_default().extend(cells(&frames, row, &["stack_id", "path"]));
    }
    let (ids, subjects) = (stacks.required_text("stack_id").unwrap(), stacks.required_text("subject_id").unwrap());
    let one = |row: usize| (subject(&subjects[row]), cells(&stacks, row, &OTHERWISE), frames_of[&ids[row]].clone());
    let mut all: Vec<_> = (0..stacks.rows()).map(one).collect();
    all.sort();
    all
}

/// What the first cohort says of each subject, as a label table by pseudonym.
fn write_labels(cohort: &Path, path: &Path) {
    let stacks = table(cohort, "stacks.parquet");
    let columns = ["subject_id", "label", "site", "vendor", "sex", "age_years", "source_split"];
    let place = |name: &str| stacks.names().position(|found| found == name).unwrap();
    let line = |row: usize| columns.map(|name| stacks.cell(place(name), row)).join(",");
    let lines: BTreeSet<String> = (0..stacks.rows()).map(line).collect();
    let header = "patient_id,label,site,vendor,sex,age_years,split".to_owned();
    std::fs::write(path, std::iter::once(header).chain(lines).collect::<Vec<_>>().join("\n")).unwrap();
}

#[test]
fn copies_keep_the_images_and_make_the_same_stacks() {
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 36);
    let at = |name: &str| temporary.path().join(name);
    let (cohort, copies, labels) = (at("cohort"), at("copies"), phantom.join("labels.csv"));
    ingest(&phantom.join("scans"), &cohort, &["--labels", text(&labels), "--export-deidentified", text(&copies)]);
    run_python("deidentify", "deidentified.py", &[text(&cohort), text(&copies), text(&at("cohort.key"))]);

    write_labels(&cohort, &at("pseudonyms.csv"));
    let again = at("again");
    let [table, cross] = ["pseudonyms.csv", "crosswalk.csv"].map(at);
    ingest(&copies, &again, &["--labels", text(&table), "--crosswalk", text(&cross)]);
    let people = crosswalk(&cross);
    let (first, second) = (stacks(&cohort, str::to_owned), stacks(&again, |subject| people[subject].clone()));
    assert_eq!(first.len(), second.len());
    for (one, other) in first.iter().zip(&second) {
        assert_eq!(one, other);
    }
    // Positions do not move; their differences may in the last digit, as the images come in another order.
    let spacing =
        |cohort: &Path| crate::ingest::table(cohort, "stacks.parquet").float64("slice_spacing_mm").unwrap().to_vec();
    let (mut one, mut other) = (spacing(&cohort), spacing(&again));
    one.sort_by(|a, b| a.partial_cmp(b).unwrap());
    other.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let near = |(a, b): (&Option<f64>, &Option<f64>)| (a.unwrap_or(0.0) - b.unwrap_or(0.0)).abs() < 1e-9;
    assert!(one.iter().zip(&other).all(near));
    let groups = |cohort: &Path| json(&cohort.join("groups.json"))["groups"].clone();
    assert_eq!(groups(&cohort), groups(&again));
}

/// Gives every DICOM file of a folder scales of Philips, other ones each; how many there are.
fn add_scales(folder: &Path) -> usize {
    let opened = files(folder).into_iter().filter_map(|path| Some((dicom::object::open_file(&path).ok()?, path)));
    let mut count: u16 = 0;
    for (mut object, path) in opened {
        count += 1;
        object.put(DataElement::new(Tag(0x2005, 0x0010), VR::LO, PrimitiveValue::from("Philips MR Imaging DD 001")));
        let numbers = [(0x100D, 0.0), (0x100E, f32::from(count) / 64.0)];
        for (element, value) in numbers {
            object.put(DataElement::new(Tag(0x2005, element), VR::FL, PrimitiveValue::from(value)));
        }
        object.write_to_file(&path).unwrap();
    }
    usize::from(count)
}

#[test]
fn copies_of_philips_images_have_the_pixel_values_of_their_originals() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let north = phantom(temporary.path(), 12).join("scans/north");
    // One subject is enough.
    let subject = std::fs::read_dir(&north).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let count = add_scales(&subject);
    assert!(count > 10);
    let (cohort, copies, again) = (at("cohort"), at("copies"), at("again"));
    ingest(&subject, &cohort, &["--export-deidentified", text(&copies)]);
    ingest(&copies, &again, &[]);
    // The original of each copy, by its first frame.
    let frames = |cohort: &Path| {
        let frames = table(cohort, "frames.parquet");
        let [ids, paths] = ["stack_id", "path"].map(|name| frames.required_text(name).unwrap());
        let [slices, phases, numbers] = ["slice", "phase", "frame"].map(|name| frames.required_int32(name).unwrap());
        let row =
            |row: usize| (format!("{},{},{}", ids[row], slices[row], phases[row]), paths[row].clone(), numbers[row]);
        (0..ids.len()).map(row).collect::<Vec<_>>()
    };
    let originals: BTreeMap<String, String> = frames(&cohort).into_iter().map(|(key, path, _)| (key, path)).collect();
    let mut reader = csv::Reader::from_path(copies.join("files.csv")).unwrap();
    let rows = reader.deserialize::<BTreeMap<String, String>>().map(Result::unwrap);
    let original_of: BTreeMap<String, &String> = rows
        .map(|row| {
            let key = format!("{},{},{}", row["stack_id"], row["first_slice"], row["first_phase"]);
            (text(&copies.join(&row["file"])).to_owned(), &originals[&key])
        })
        .collect();
    let opener = Opener::new();
    let again = frames(&again);
    assert_eq!(again.len(), originals.len());
    for (_, path, frame) in &again {
        let read = |path: &str| read_frames(&opener, Path::new(path), &[*frame]).unwrap();
        assert_eq!(read(path), read(original_of[path]));
    }
}

#[test]
fn copies_of_real_scans_keep_their_coding_and_pixels() {
    for folder in ["vendors", "sunnybrook-scouts", "nifti"] {
        let Some(source) = real_data("deidentify", folder) else { return };
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| temporary.path().join(name);
        let (cohort, copies) = (at("cohort"), at("copies"));
        // Packed ones, which pydicom does not open, have twins that are not. Copies have no information file to be labelled by.
        let left_out = format!(r"{PACKED}|\.csv$");
        ingest(&source, &cohort, &["--export-deidentified", text(&copies), "--exclude", &left_out]);
        run_python("deidentify", "deidentified.py", &[text(&cohort), text(&copies), text(&at("cohort.key"))]);
        let (again, cross) = (at("again"), at("crosswalk.csv"));
        ingest(&copies, &again, &["--crosswalk", text(&cross)]);
        let people = crosswalk(&cross);
        assert_eq!(stacks(&cohort, str::to_owned), stacks(&again, |subject| people[subject].clone()), "{folder}");
    }
}

/// Contents of a folder by name, but for what may differ between equal runs.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let kept = files(folder).into_iter().filter(|path| !path.ends_with("provenance.json"));
    kept.map(|path| (path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn the_folder_of_copies_is_private_deterministic_and_has_the_rules_of_out() {
    use std::os::unix::fs::PermissionsExt;
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 12);
    let at = |name: &str| temporary.path().join(name);
    let (cohort, copies, scans) = (at("cohort"), at("copies"), phantom.join("scans"));
    ingest(&scans, &cohort, &["--export-deidentified", text(&copies), "--threads", "1"]);
    assert_eq!(std::fs::metadata(&copies).unwrap().permissions().mode() & 0o777, 0o700);
    let first = contents(&copies);
    std::fs::remove_dir_all(&copies).unwrap();
    // The cohort is up to date, the copies are made anew, on other threads.
    let shown = ingest(&scans, &cohort, &["--export-deidentified", text(&copies), "--threads", "3"]);
    assert!(shown.contains("up to date") && shown.contains("de-identified"), "{shown}");
    assert!(first == contents(&copies), "the copies depend on the number of threads");
    let shown = ingest(&scans, &cohort, &["--export-deidentified", text(&copies), "--json"]);
    assert!(shown.contains(r#""deidentified":{"#), "{shown}");
    let foreign = at("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.txt"), "mine").unwrap();
    let key = at("cohort.key");
    let run = |out: &str, copies: &Path| {
        let out = at(out);
        let arguments = ["ingest", text(&scans), "--out", text(&out), "--key", text(&key), "--export-deidentified"];
        let output = expect_exit(&mut groupdistil(&[&arguments[..], &[text(copies)]].concat()), 2);
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run("other", &foreign).contains("foreign"));
    assert!(foreign.join("thesis.txt").exists());
}

/// Errors that dicom3tools' validator finds, without the values that differ.
fn errors(validator: &Path, file: &Path) -> BTreeSet<String> {
    let output = Command::new(validator).arg(file).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let lines = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect::<Vec<_>>();
    lines.into_iter().filter(|line| line.starts_with("Error")).collect()
}

#[test]
fn copies_are_no_worse_dicom_than_their_originals() {
    let Some(validator) = debian_program("deidentify", "dciodvfy", "dicom3tools") else { return };
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 12);
    let (cohort, copies) = (temporary.path().join("cohort"), temporary.path().join("copies"));
    let mut sources = vec![phantom.join("scans")];
    sources.extend(real_data("deidentify", "sunnybrook-scouts"));
    sources.extend(real_data("deidentify", "vendors"));
    let key = temporary.path().join("key");
    std::fs::write(&key, [5; 32]).unwrap();
    let mut arguments = vec!["ingest"];
    arguments.extend(sources.iter().map(|source| text(source)));
    arguments.extend([
        "--exclude",
        PACKED,
        "--out",
        text(&cohort),
        "--export-deidentified",
        text(&copies),
        "--key",
        text(&key),
    ]);
    expect_exit(&mut groupdistil(&arguments), 0);
    let frames = table(&cohort, "frames.parquet");
    let (ids, paths) = (frames.required_text("stack_id").unwrap(), frames.required_text("path").unwrap());
    let (slices, phases) = (frames.required_int32("slice").unwrap(), frames.required_int32("phase").unwrap());
    let key_of = |row: usize| (ids[row].clone(), slices[row].to_string(), phases[row].to_string());
    let source: BTreeMap<_, _> = (0..ids.len()).map(|row| (key_of(row), &paths[row])).collect();
    let mut reader = csv::Reader::from_path(copies.join("files.csv")).unwrap();
    let mut seen = BTreeSet::new();
    for row in reader.deserialize::<BTreeMap<String, String>>().map(Result::unwrap) {
        // One file of each stack is like the others.
        if !row["file"].ends_with(".dcm") || !seen.insert(row["stack_id"].clone()) {
            continue;
        }
        let original = source[&(row["stack_id"].clone(), row["first_slice"].clone(), row["first_phase"].clone())];
        let (before, after) = (errors(&validator, Path::new(original)), errors(&validator, &copies.join(&row["file"])));
        let new: Vec<&String> = after.difference(&before).collect();
        assert!(new.is_empty(), "{original}: {new:#?}");
    }
    assert!(seen.len() > 20);
}
