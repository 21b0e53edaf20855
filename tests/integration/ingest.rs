//! Ingest of the phantom against its truth, of real scans against numbers known of them, and what must not depend on anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dicom::core::{Tag, VR};
use dicom::dictionary_std::tags;
use groupdistil::formats::table::{Column, Table};
use serde_json::Value;

use crate::support::{expect_exit, groupdistil, real_data, run_python};

/// A phantom of the `tiny` preset.
pub fn phantom(folder: &Path, subjects: u32) -> PathBuf {
    let out = folder.join("phantom");
    let subjects = subjects.to_string();
    expect_exit(&mut groupdistil(&["phantom", "--out", text(&out), "--preset", "tiny", "--subjects", &subjects]), 0);
    out
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs ingest with a fixed key and expects success; gives stdout.
pub fn ingest(source: &Path, out: &Path, more: &[&str]) -> String {
    let key = out.with_extension("key");
    if !key.exists() {
        std::fs::write(&key, b"a key of the tests, long enough").unwrap();
    }
    let mut arguments = vec!["ingest", text(source), "--out", text(out), "--key", text(&key)];
    arguments.extend(more);
    String::from_utf8(expect_exit(&mut groupdistil(&arguments), 0).stdout).unwrap()
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub fn table(cohort: &Path, name: &str) -> Table {
    Table::read_parquet(&cohort.join(name)).unwrap()
}

/// Reason of the ledger by path below `source`, as `outcome reason`.
pub fn ledger(cohort: &Path, source: &Path) -> BTreeMap<String, String> {
    let table = table(cohort, "ledger.parquet");
    let column = |name: &str| table.required_text(name).unwrap();
    let (paths, outcomes, reasons) = (column("path"), column("outcome"), column("reason"));
    let mut found = BTreeMap::new();
    for (path, (outcome, reason)) in paths.iter().zip(outcomes.iter().zip(&reasons)) {
        let below = Path::new(path).strip_prefix(source).unwrap().to_str().unwrap().to_owned();
        assert!(found.insert(below, format!("{outcome} {reason}")).is_none(), "{path} has two rows");
    }
    found
}

/// The first path of each stack.
fn path_by_stack(cohort: &Path) -> BTreeMap<String, String> {
    let frames = table(cohort, "frames.parquet");
    let ids = frames.required_text("stack_id").unwrap();
    ids.into_iter().zip(frames.required_text("path").unwrap()).collect()
}

/// Changes attributes of a DICOM file.
pub fn edit(path: &Path, values: &[(Tag, VR, &str)]) {
    let mut object = dicom::object::open_file(path).unwrap();
    for (tag, vr, value) in values {
        object.put_str(*tag, *vr, *value);
    }
    object.write_to_file(path).unwrap();
}

/// All files below a folder, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
    entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

fn near(found: f64, expected: &Value, tolerance: f64, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, not {expected}");
}

/// A stack of the truth as the table should hold it: everything that is compared exactly.
fn expected_stack(subject: &Value, stack: &Value) -> String {
    let whole = |name: &str| stack[name].as_u64().unwrap();
    let incomplete = whole("positions_incomplete");
    let same = |name: &str| subject[name].as_str().unwrap();
    format!(
        "{} {} {}x{} {}x{} {incomplete} incomplete {} {} {} {} {} {} {}",
        stack["view"].as_str().unwrap(),
        stack["kind"].as_str().unwrap(),
        whole("rows"),
        whole("columns"),
        whole("slices"),
        whole("phases"),
        incomplete == 0,
        same("label"),
        same("site"),
        same("vendor"),
        same("sex"),
        subject["age_years"],
        same("split"),
    )
}

fn found_stack(stacks: &Table, row: usize) -> String {
    let cell = |name: &str| stacks.cell(stacks.names().position(|found| found == name).unwrap(), row);
    let part = |names: &[&str]| names.iter().map(|name| cell(name)).collect::<Vec<_>>();
    format!(
        "{} {} {} {} incomplete {} {}",
        part(&["view", "kind"]).join(" "),
        part(&["rows", "columns"]).join("x"),
        part(&["slices", "phases"]).join("x"),
        cell("positions_incomplete"),
        cell("complete"),
        part(&["label", "site", "vendor", "sex", "age_years", "source_split"]).join(" "),
    )
}

#[test]
fn stacks_of_the_phantom_are_those_of_its_truth() {
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 36);
    let cohort = temporary.path().join("cohort");
    ingest(&phantom.join("scans"), &cohort, &["--labels", text(&phantom.join("labels.csv"))]);
    let (stacks, paths) = (table(&cohort, "stacks.parquet"), path_by_stack(&cohort));
    let frames = table(&cohort, "frames.parquet");
    let ids = stacks.required_text("stack_id").unwrap();
    let patient_of = |id: &String| paths[id].split("/scans/").nth(1).unwrap().split('/').nth(1).unwrap().to_owned();
    let truth = json(&phantom.join("truth.json"));
    let mut seen = 0;
    for subject in truth["subjects"].as_array().unwrap() {
        let patient = subject["patient_id"].as_str().unwrap();
        let rows: Vec<usize> = (0..ids.len()).filter(|row| patient_of(&ids[*row]) == patient).collect();
        let mut found: Vec<String> = rows.iter().map(|row| found_stack(&stacks, *row)).collect();
        let stacks_truth = subject["stacks"].as_array().unwrap();
        let mut expected: Vec<String> = stacks_truth.iter().map(|stack| expected_stack(subject, stack)).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{patient}");
        let of_view = |view: &str| {
            let views = stacks.required_text("view").unwrap();
            *rows.iter().find(|row| views[**row] == view).unwrap()
        };
        for stack in stacks_truth.iter().filter(|stack| stack["view"] != "scout") {
            geometry_fits(&stacks, of_view(stack["view"].as_str().unwrap()), &frames, stack);
        }
        seen += rows.len();
    }
    assert_eq!(seen, stacks.rows(), "stacks of nobody");
    let subjects: BTreeSet<String> = stacks.required_text("subject_id").unwrap().into_iter().collect();
    assert_eq!(subjects.len(), truth["subjects"].as_array().unwrap().len());
}

/// Axes, spacings, positions and times of one stack.
fn geometry_fits(stacks: &Table, row: usize, frames: &Table, truth: &Value) {
    let float = |name: &str| stacks.float64(name).unwrap()[row];
    for (axis, letter) in ["x", "y", "z"].into_iter().enumerate() {
        // NIfTI holds float32; DICOM nine decimals.
        near(float(&format!("row_{letter}")).unwrap(), &truth["row"][axis], 1e-5, "row");
        near(float(&format!("column_{letter}")).unwrap(), &truth["column"][axis], 1e-5, "column");
    }
    for name in ["pixel_spacing_row_mm", "pixel_spacing_column_mm", "slice_spacing_mm"] {
        match truth[name].as_f64() {
            Some(_) => near(float(name).unwrap(), &truth[name], 1e-4, name),
            None => assert_eq!(float(name), None, "{name}"),
        }
    }
    let id = &stacks.required_text("stack_id").unwrap()[row];
    let ids = frames.required_text("stack_id").unwrap();
    let (slices, phases) = (frames.required_int32("slice").unwrap(), frames.required_int32("phase").unwrap());
    let times = frames.float64("trigger_time_ms").unwrap();
    let mut last: Option<(i32, i32, f64)> = None;
    let mut count = 0;
    for frame in (0..ids.len()).filter(|frame| &ids[*frame] == id) {
        let position = &truth["positions"][usize::try_from(slices[frame]).unwrap()]["position_mm"];
        for (axis, letter) in ["x", "y", "z"].into_iter().enumerate() {
            let found = frames.float64(&format!("position_{letter}_mm")).unwrap()[frame].unwrap();
            near(found, &position[axis], 2e-3, "position");
        }
        let time = times[frame].unwrap();
        if let Some((slice, phase, before)) = last {
            let goes_on = slice == slices[frame] && phase + 1 == phases[frame] && time > before;
            assert!(goes_on || (slice + 1 == slices[frame] && phases[frame] == 0), "order of frames");
        }
        last = Some((slices[frame], phases[frame], time));
        count += 1;
    }
    assert_eq!(count, truth["slices"].as_u64().unwrap() * truth["phases"].as_u64().unwrap());
}

#[test]
fn every_file_of_the_phantom_is_in_the_ledger_once_with_the_outcome_of_the_truth() {
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 36);
    let cohort = temporary.path().join("cohort");
    let scans = phantom.join("scans");
    let labels = phantom.join("labels.csv");
    let shown: Value = serde_json::from_str(&ingest(&scans, &cohort, &["--json", "--labels", text(&labels)])).unwrap();
    let found = ledger(&cohort, &phantom);
    let truth = json(&phantom.join("truth.json"));
    let expected: BTreeMap<String, String> = truth["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let (outcome, reason) = (file["outcome"].as_str().unwrap(), file["reason"].as_str());
            let is_table = file["role"] == "information-csv";
            let reason = reason.unwrap_or(if is_table { "sidecar" } else { "image" });
            // In multi-frame formats a re-acquired or interrupted position has a file of its own, as here.
            (file["path"].as_str().unwrap().to_owned(), format!("{outcome} {reason}"))
        })
        .collect();
    assert_eq!(found, expected);
    let counts = &shown["counts"];
    assert_eq!(counts["files"], expected.len());
    let outcomes = counts["outcomes"].as_object().unwrap();
    assert_eq!(outcomes.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), expected.len() as u64);
    let reasons = counts["reasons"].as_object().unwrap();
    assert_eq!(reasons.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), expected.len() as u64);
    let groups = json(&cohort.join("groups.json"));
    let names: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().map(|group| group["name"].as_str().unwrap()).collect();
    let four =
        ["vendor=canon;site=west", "vendor=ge;site=east", "vendor=philips;site=south", "vendor=siemens;site=north"];
    assert_eq!(names, four);
    assert_eq!(groups["groups"][2]["labels"], serde_json::json!({"DCM": 3, "HCM": 3, "NOR": 3}));
}

/// Tables and JSON that must be equal; paths differ where files were renamed.
fn comparable(cohort: &Path, with_paths: bool) -> Vec<Vec<u8>> {
    let names = ["stacks.parquet", "groups.json", "settings.toml", "unmatched_labels.csv", "unlabelled_stacks.csv"];
    let mut all: Vec<Vec<u8>> = names.iter().map(|name| std::fs::read(cohort.join(name)).unwrap()).collect();
    if with_paths {
        let more = ["frames.parquet", "ledger.parquet", "ledger.csv", "cohort.json", ".inputs"];
        all.extend(more.iter().map(|name| std::fs::read(cohort.join(name)).unwrap()));
    } else {
        all.push(json(&cohort.join("cohort.json"))["content_hash"].to_string().into_bytes());
    }
    all
}

#[test]
fn the_cohort_depends_neither_on_threads_nor_on_file_names_and_their_order() {
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 12);
    let scans = phantom.join("scans");
    // NIfTI says who was scanned by the file's name alone: that site keeps its names.
    std::fs::remove_dir_all(scans.join("west")).unwrap();
    let labels = phantom.join("labels.csv");
    let cohort = |name: &str| {
        let out = temporary.path().join(name);
        std::fs::write(out.with_extension("key"), b"the same key for all of these").unwrap();
        out
    };
    for (name, threads) in [("one", "1"), ("three", "3")] {
        ingest(&scans, &cohort(name), &["--threads", threads, "--labels", text(&labels)]);
    }
    assert!(comparable(&cohort("one"), true) == comparable(&cohort("three"), true), "bytes depend on the threads");
    let shuffled = temporary.path().join("shuffled");
    std::fs::create_dir(&shuffled).unwrap();
    for (index, file) in files(&scans).into_iter().enumerate() {
        // 7919 is a prime: a permutation of the order of names; copies keep their longer names.
        let copy = if file.to_str().unwrap().contains("copy of") { "-copy" } else { "" };
        std::fs::copy(&file, shuffled.join(format!("{:05}{copy}", index * 7919 % 10_007))).unwrap();
    }
    ingest(&shuffled, &cohort("renamed"), &["--labels", text(&labels)]);
    assert!(comparable(&cohort("one"), false) == comparable(&cohort("renamed"), false), "names matter");
}

/// Every text that COHORT shows outside the columns that may name patients.
fn public_texts(cohort: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for name in ["stacks.parquet", "frames.parquet", "ledger.parquet"] {
        let table = table(cohort, name);
        for column in table.names().filter(|name| *name != "path") {
            texts.push(column.to_owned());
            if let Some(Column::Text(values)) = table.column(column) {
                texts.extend(values.iter().flatten().cloned());
            }
        }
    }
    for name in ["cohort.json", "groups.json", "settings.toml", ".inputs"] {
        texts.push(std::fs::read_to_string(cohort.join(name)).unwrap());
    }
    texts
}

#[test]
fn no_identifier_leaves_the_path_columns() {
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 12);
    let scans = phantom.join("scans/north");
    let first = files(&scans)[0].parent().unwrap().parent().unwrap().to_path_buf();
    for path in files(&first).iter().filter(|path| path.extension().is_some_and(|extension| extension == "dcm")) {
        edit(
            path,
            &[
                (tags::PATIENT_NAME, VR::PN, "Quetzalcoatl^Xiomara"),
                (tags::PATIENT_ID, VR::LO, "MRN7654321"),
                (tags::PATIENT_BIRTH_DATE, VR::DA, "19430217"),
                (tags::PATIENT_AGE, VR::AS, "094Y"),
                (tags::ACCESSION_NUMBER, VR::SH, "ACC998877"),
                (tags::PATIENT_ADDRESS, VR::LO, "Via Nascosta 17"),
                (tags::REFERRING_PHYSICIAN_NAME, VR::PN, "Physikus^Zeno"),
                (tags::INSTITUTION_NAME, VR::LO, "Praxis Dr. Quetzalcoatl"),
                (tags::STATION_NAME, VR::SH, "ACC998877"),
                (tags::SERIES_DESCRIPTION, VR::LO, "sax Xiomara"),
                (tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3.4567.89"),
            ],
        );
    }
    let labels = temporary.path().join("labels.csv");
    let table_text =
        "patient_id,label,name,ward,case\nMRN7654321,DCM,Quetzalcoatl,cardiology,MRN7654321\nNOBODY55,NOR,x,y,z\n";
    std::fs::write(&labels, table_text).unwrap();
    let cohort = temporary.path().join("cohort");
    let crosswalk = temporary.path().join("crosswalk.csv");
    let more = ["--labels", text(&labels), "--crosswalk", text(&crosswalk)];
    let mut shown = vec![ingest(&scans, &cohort, &more)];
    assert!(shown[0].contains("columns `name` could identify"), "{}", shown[0]);
    shown.push(ingest(&scans, &cohort, &["--json", "--labels", text(&labels)]));
    let secrets = [
        "quetzalcoatl",
        "xiomara",
        "mrn7654321",
        "19430217",
        "acc998877",
        "nascosta",
        "physikus",
        "nobody55",
        "1.2.3.4567.89",
        "2.25.",
        "phantom-pn",
        "/north/",
    ];
    for shown in shown.iter().chain(&public_texts(&cohort)) {
        let lower = shown.to_lowercase();
        let leaked = secrets.iter().find(|secret| lower.contains(*secret));
        assert!(leaked.is_none(), "{leaked:?} in {shown}");
    }
    let stacks = table(&cohort, "stacks.parquet");
    let of_patient: Vec<usize> =
        (0..stacks.rows()).filter(|row| stacks.text("label").unwrap()[*row].as_deref() == Some("DCM")).collect();
    assert!(!of_patient.is_empty());
    for row in of_patient {
        assert_eq!(stacks.text("site").unwrap()[row], None, "a site with the patient's name is unknown");
        assert_eq!(stacks.text("station").unwrap()[row], None);
        assert_eq!(stacks.float64("age_years").unwrap()[row], Some(90.0));
        assert_eq!(stacks.text("attr_ward").unwrap()[row].as_deref(), Some("cardiology"));
        assert_eq!(stacks.text("attr_case").unwrap_or(&[None])[0], None, "an attribute that repeats the id");
    }
    assert!(stacks.column("attr_name").is_none());
    let map = std::fs::read_to_string(&crosswalk).unwrap();
    assert!(map.contains("MRN7654321") && map.starts_with("subject_id,"));
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&crosswalk), mode(&cohort)), (0o600, 0o700));
}

#[test]
fn one_id_of_two_people_is_two_subjects() {
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 12);
    let scans = phantom.join("scans");
    for (site, birth) in [("north", "19500101"), ("east", "19710505")] {
        let first = std::fs::read_dir(scans.join(site)).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
        for path in files(&first) {
            if !path.to_str().unwrap().ends_with("txt") {
                edit(&path, &[(tags::PATIENT_ID, VR::LO, "0815"), (tags::PATIENT_BIRTH_DATE, VR::DA, birth)]);
            }
        }
    }
    let cohort = temporary.path().join("cohort");
    let shown = ingest(&scans, &cohort, &[]);
    assert_eq!(shown.matches("several birth dates or sexes").count(), 2, "{shown}");
    let subjects: BTreeSet<String> =
        table(&cohort, "stacks.parquet").required_text("subject_id").unwrap().into_iter().collect();
    assert_eq!(subjects.len(), json(&phantom.join("truth.json"))["subjects"].as_array().unwrap().len());
}

#[test]
fn labels_join_by_file_and_study_and_contradictions_are_told() {
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 12);
    let scans = phantom.join("scans/south");
    let mut people: Vec<PathBuf> =
        std::fs::read_dir(&scans).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    people.sort();
    let name = |index: usize| people[index].file_name().unwrap().to_str().unwrap().to_owned();
    assert!(people.len() >= 2);
    let labels = temporary.path().join("labels.csv");
    let rows =
        format!("patient_id;file;label\n;{}/*;HCM\n{};;DCM\n{};;NOR\n;nowhere/*;HCM\n", name(0), name(1), name(1));
    std::fs::write(&labels, rows).unwrap();
    let cohort = temporary.path().join("cohort");
    let shown = ingest(&scans, &cohort, &["--labels", text(&labels), "--group-by", "label,vendor"]);
    assert!(shown.contains("label rows 1:3 and 1:4 give the same scans different labels"), "{shown}");
    assert!(shown.contains("1 label rows match no scan"), "{shown}");
    let lines = std::fs::read_to_string(cohort.join("unmatched_labels.csv")).unwrap();
    let problems: Vec<&str> = lines.lines().skip(1).map(|line| line.split_once("labels.csv,").unwrap().1).collect();
    assert_eq!(problems, ["3,contradiction", "4,contradiction", "5,no-scan"], "{lines}");
    let unlabelled = std::fs::read_to_string(cohort.join("unlabelled_stacks.csv")).unwrap();
    assert!(unlabelled.starts_with("stack_id,subject_id,acquisition_group\n") && unlabelled.lines().count() > 1);
    let stacks = table(&cohort, "stacks.parquet");
    let (paths, ids) = (path_by_stack(&cohort), stacks.required_text("stack_id").unwrap());
    for (row, id) in ids.iter().enumerate() {
        let label = stacks.text("label").unwrap()[row].as_deref();
        let expected = if paths[id].contains(&name(0)) { Some("HCM") } else { None };
        assert_eq!(label, expected);
        let group = stacks.required_text("group").unwrap()[row].clone();
        assert_eq!(group, format!("label={};vendor=philips", expected.unwrap_or("unknown")));
        assert_eq!(stacks.required_text("acquisition_group").unwrap()[row], "vendor=philips");
    }
}

/// (view, kind, slices, phases, phases_expected, complete) of all stacks, sorted.
fn shapes(cohort: &Path) -> Vec<String> {
    let stacks = table(cohort, "stacks.parquet");
    let names = ["view", "kind", "slices", "phases", "phases_expected", "complete"];
    let columns = names.map(|name| stacks.names().position(|found| found == name).unwrap());
    let mut found: Vec<String> =
        (0..stacks.rows()).map(|row| columns.map(|column| stacks.cell(column, row)).join(" ")).collect();
    found.sort();
    found
}

/// The numbers are those of the design, section 3.
#[test]
fn the_sunnybrook_cines_are_three_by_twenty_and_nine_by_two() {
    let test = "the_sunnybrook_cines_are_three_by_twenty_and_nine_by_two";
    let Some(source) = real_data(test, "sunnybrook-cine/final_data/dicoms") else { return };
    let temporary = tempfile::tempdir().unwrap();
    let cohort = temporary.path().join("cohort");
    ingest(&source, &cohort, &[]);
    assert_eq!(shapes(&cohort), ["sax cine 3 20 20 true", "sax cine 9 2 20 false", "sax cine 9 2 20 false"]);
    let found = ledger(&cohort, &source);
    assert_eq!(found.len(), files(&source).len());
    assert!(found.values().all(|reason| reason == "used image"));
    let frames = table(&cohort, "frames.parquet");
    let times = frames.float64("trigger_time_ms").unwrap();
    let range = times.iter().flatten().fold((f64::MAX, 0.0_f64), |(low, high), time| (low.min(*time), high.max(*time)));
    assert!(range.0 >= 0.0 && range.1 < 1500.0, "{range:?}");
    let stacks = table(&cohort, "stacks.parquet");
    assert!(stacks.required_text("vendor").unwrap().iter().all(|vendor| vendor == "ge"));
    assert!(stacks.text("sex").unwrap().iter().all(Option::is_none), "empty sex is unknown");
}

#[test]
fn scouts_are_ledgered_and_never_a_short_axis() {
    let test = "scouts_are_ledgered_and_never_a_short_axis";
    let Some(source) = real_data(test, "sunnybrook-scouts") else { return };
    let temporary = tempfile::tempdir().unwrap();
    let cohort = temporary.path().join("cohort");
    ingest(&source, &cohort, &[]);
    assert!(shapes(&cohort).iter().all(|shape| shape.starts_with("scout static")), "{:?}", shapes(&cohort));
    let found = ledger(&cohort, &source);
    assert_eq!(found.values().filter(|reason| *reason == "used image").count(), 16);
    assert_eq!(found.len(), files(&source).len());
}

#[test]
fn files_of_other_vendors_are_all_explained() {
    let test = "files_of_other_vendors_are_all_explained";
    let Some(source) = real_data(test, "vendors") else { return };
    let temporary = tempfile::tempdir().unwrap();
    let cohort = temporary.path().join("cohort");
    ingest(&source, &cohort, &[]);
    let found = ledger(&cohort, &source);
    assert_eq!(found.len(), files(&source).len());
    let of = |path: &str| found[path].as_str();
    // The same pixels in several codings are one image.
    assert_eq!(of("nema-wg04/data/WG04/RLE/MR4_RLE"), "used image");
    assert_eq!(of("nema-wg04/data/WG04/JLSL/MR4_JLSL"), "used image", "its instance has an id of its own");
    assert_eq!(of("enhanced-emri/data_store/data/emri_small.dcm"), "used image");
    // The last one lacks its closing delimiter alone.
    for name in ["big_endian", "RLE", "jpeg_2k_lossless", "jpeg_ls_lossless", "jpeg_2k_lossless_too_short"] {
        assert_eq!(of(&format!("enhanced-emri/data_store/data/emri_small_{name}.dcm")), "skipped duplicate", "{name}");
    }
    assert_eq!(of("canon/In/cl/15000_001.dcm.gz"), "used image");
    assert_eq!(of("uih/In/DTI_134434/dti_tra_dir16_AP_SaveBySlc__140028/00000001.dcm"), "rejected tiled-grid");
    assert_eq!(of("ge-siemens-phantom/In/20180918Si/mr_0003/epi_pe_ap-00001.dcm"), "rejected tiled-grid");
    let stacks = table(&cohort, "stacks.parquet");
    let vendors: BTreeSet<Option<String>> = stacks.text("vendor").unwrap().iter().cloned().collect();
    // Siemens' and United Imaging's are tiled grids.
    let expected = ["canon", "ge", "philips"].map(|vendor| Some(vendor.to_owned()));
    assert_eq!(vendors, expected.into_iter().chain([None]).collect());
    assert!(stacks.required_text("view").unwrap().iter().all(|view| view != "sax"), "none of them is a heart");
}

#[test]
fn pyarrow_reads_the_tables_with_the_types_of_the_design() {
    let test = "pyarrow_reads_the_tables_with_the_types_of_the_design";
    let temporary = tempfile::tempdir().unwrap();
    let phantom = phantom(temporary.path(), 12);
    let cohort = temporary.path().join("cohort");
    ingest(&phantom.join("scans"), &cohort, &["--labels", text(&phantom.join("labels.csv"))]);
    run_python(test, "cohort_tables.py", &[text(&cohort)]);
}
