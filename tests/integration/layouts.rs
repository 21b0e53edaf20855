//! Public collections by their layout, each in miniature: labels, scanners, sites and splits as the collections' own pages say.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use crate::exports::{tar_gz_of, zip_of};
use crate::ingest::{ingest, json, ledger, phantom, table, text};
use crate::support::{expect_exit, groupdistil, real_data};

/// A NIfTI-1 file of 8 x 8 x `slices` x `phases` bytes with spacings 1.5 x 1.5 x 8 mm and 40 ms, as nifti1.h lays it out.
pub fn volume(path: &Path, slices: i16, phases: i16) {
    let mut bytes = vec![0_u8; 352];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &348_i32.to_le_bytes());
    for (axis, size) in [if phases > 1 { 4 } else { 3 }, 8, 8, slices, phases, 1, 1, 1].into_iter().enumerate() {
        put(40 + 2 * axis, &i16::to_le_bytes(size));
    }
    put(70, &2_i16.to_le_bytes());
    put(72, &8_i16.to_le_bytes());
    for (axis, spacing) in [1.0_f32, 1.5, 1.5, 8.0, 40.0].into_iter().enumerate() {
        put(76 + 4 * axis, &spacing.to_le_bytes());
    }
    put(108, &352_f32.to_le_bytes());
    put(123, &[2 | 16]);
    put(344, b"n+1\0");
    let name = path.to_str().unwrap();
    // Every file has voxels of its own: equal ones would be duplicates.
    let count = 64 * usize::try_from(slices).unwrap() * usize::try_from(phases).unwrap();
    bytes.extend((0..count).map(|voxel| name.as_bytes()[voxel % name.len()]));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    if !name.ends_with(".gz") {
        return std::fs::write(path, bytes).unwrap();
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&bytes).unwrap();
    std::fs::write(path, encoder.finish().unwrap()).unwrap();
}

pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// `view kind slices x phases: columns` of every stack, sorted.
fn stacks(cohort: &Path, columns: &[&str]) -> Vec<String> {
    let stacks = table(cohort, "stacks.parquet");
    let place = |name: &str| stacks.names().position(|found| found == name).unwrap_or_else(|| panic!("no {name}"));
    let cell = |name: &str, row: usize| stacks.cell(place(name), row);
    let one = |row: usize| {
        let told: Vec<String> = columns.iter().map(|name| cell(name, row)).collect();
        let size = format!("{} x {}", cell("slices", row), cell("phases", row));
        format!("{} {} {size}: {}", cell("view", row), cell("kind", row), told.join(" "))
    };
    let mut all: Vec<String> = (0..stacks.rows()).map(one).collect();
    all.sort();
    all
}

#[test]
fn acdc_is_labelled_by_its_info_files_and_split_by_its_folders() {
    let temporary = tempfile::tempdir().unwrap();
    let source = temporary.path().join("ACDC");
    for (folder, patient, group) in
        [("training", "patient001", "DCM"), ("training", "patient021", "HCM"), ("testing", "patient101", "NOR")]
    {
        let at = |name: &str| source.join(folder).join(patient).join(format!("{patient}_{name}"));
        volume(&at("4d.nii.gz"), 3, 6);
        volume(&at("frame01.nii.gz"), 3, 1);
        volume(&at("frame01_gt.nii.gz"), 3, 1);
        let info = source.join(folder).join(patient).join("Info.cfg");
        write(&info, &format!("ED: 1\nES: 4\nGroup: {group}\nHeight: 180.0\nNbFrame: 6\nWeight: 80.0\n"));
    }
    let cohort = temporary.path().join("cohort");
    ingest(&source, &cohort, &[]);
    let found = stacks(&cohort, &["label", "source_split", "attr_ed_phase", "attr_es_phase"]);
    let cines: Vec<&String> = found.iter().filter(|stack| stack.contains("cine")).collect();
    assert_eq!(
        cines,
        ["sax cine 3 x 6: DCM train 0 3", "sax cine 3 x 6: HCM train 0 3", "sax cine 3 x 6: NOR test 0 3"]
    );
    assert_eq!(found.len(), 6, "{found:?}");
}

#[test]
fn volumes_of_end_diastole_and_end_systole_are_stacks_of_their_own() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let names = ["patient001/patient001_4d", "patient001/patient001_frame01", "patient001/patient001_frame12"];
    for name in names {
        volume(&at("acdc").join(format!("{name}.nii.gz")), 3, if name.ends_with("4d") { 14 } else { 1 });
    }
    for phase in ["CINE", "ED", "ES"] {
        volume(&at(&format!("mnms2/002/002_SA_{phase}.nii.gz")), 3, if phase == "CINE" { 14 } else { 1 });
    }
    for collection in ["acdc", "mnms2"] {
        let cohort = at(&format!("{collection}-cohort"));
        ingest(&at(collection), &cohort, &[]);
        let found = stacks(&cohort, &[]);
        assert_eq!(found, ["sax cine 3 x 14: ", "sax static 3 x 1: ", "sax static 3 x 1: "], "{collection}");
        let outcomes: BTreeSet<String> = ledger(&cohort, &at(collection)).into_values().collect();
        assert_eq!(outcomes, BTreeSet::from(["used image".to_owned()]), "{collection}");
    }
}

#[test]
fn the_phases_that_a_collection_names_are_used_without_a_setting() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let mut people = "patient_id,split\n".to_owned();
    for (index, (group, split)) in
        [("DCM", "train"), ("NOR", "train"), ("DCM", "val"), ("NOR", "val"), ("DCM", "test"), ("NOR", "test")]
            .into_iter()
            .enumerate()
    {
        let patient = format!("patient00{index}");
        volume(&at(&format!("ACDC/{patient}/{patient}_4d.nii.gz")), 3, 6);
        write(&at(&format!("ACDC/{patient}/Info.cfg")), &format!("ED: 1\nES: 4\nGroup: {group}\n"));
        people += &format!("{patient},{split}\n");
    }
    write(&at("splits.csv"), &people);
    ingest(&at("ACDC"), &at("cohort"), &["--labels", text(&at("splits.csv"))]);
    let out = at("dataset");
    expect_exit(&mut groupdistil(&["preprocess", text(&at("cohort")), "--out", text(&out)]), 0);
    let phases = &json(&out.join("plan.json"))["cardiac_phases"];
    assert_eq!(phases["end_diastole"], "attr_ed_phase", "{phases}");
    assert_eq!((&phases["end_systole"], &phases["first"]), (&"attr_es_phase".into(), &0.into()));
    // `pair` shows end-diastole and end-systole: frames 1 and 4 of Info.cfg, counted from 0.
    let samples = table(&out, "samples.parquet");
    let place = samples.names().position(|name| name == "phases").unwrap();
    let shown: BTreeSet<String> = (0..samples.rows()).map(|row| samples.cell(place, row)).collect();
    assert!(shown.iter().all(|phases| phases.contains('0') && phases.contains('3')), "{shown:?}");
}

#[test]
fn an_acdc_patient_in_an_archive_of_its_own_has_its_label() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let members = |patient: &str, group: &str, before: &str| {
        let scan = at(&format!("loose/{patient}_4d.nii.gz"));
        volume(&scan, 3, 6);
        let info = format!("ED: 1\nES: 4\nGroup: {group}\n").into_bytes();
        let scan = (format!("{before}{patient}_4d.nii.gz"), std::fs::read(scan).unwrap());
        [(format!("{before}Info.cfg"), info), scan]
    };
    std::fs::create_dir(at("ACDC")).unwrap();
    std::fs::write(at("ACDC/patient001.zip"), zip_of(&members("patient001", "DCM", ""))).unwrap();
    std::fs::write(at("ACDC/patient002.tar.gz"), tar_gz_of(&members("patient002", "HCM", ""))).unwrap();
    std::fs::write(at("ACDC/all.zip"), zip_of(&members("patient003", "NOR", "testing/patient003/"))).unwrap();
    ingest(&at("ACDC"), &at("cohort"), &[]);
    let found = stacks(&at("cohort"), &["label", "attr_es_phase"]);
    assert_eq!(found, ["sax cine 3 x 6: DCM 3", "sax cine 3 x 6: HCM 3", "sax cine 3 x 6: NOR 3"]);
}

#[test]
fn mnms_and_mnms_2_are_labelled_by_their_tables() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    volume(&at("mnms/OpenDataset/Training/Labeled/A0S9V9/A0S9V9_sa.nii.gz"), 3, 5);
    volume(&at("mnms/OpenDataset/Testing/B3D0N1/B3D0N1_sa.nii.gz"), 3, 5);
    let header = ",External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,Sex";
    let rows = ["0,A0S9V9,Siemens,A,1,0,4,28,DCM,M", "1,B3D0N1,Philips,B,2,0,4,75,NOR,F"];
    write(&at("mnms/OpenDataset/info.csv"), &format!("{header}\n{}\n", rows.join("\n")));
    ingest(&at("mnms"), &at("cohort"), &[]);
    assert_eq!(
        stacks(&at("cohort"), &["label", "vendor", "site", "source_split", "sex", "site_source"]),
        ["sax cine 3 x 5: DCM siemens 1 train M sidecar", "sax cine 3 x 5: NOR philips 2 test F sidecar"]
    );
    // Frames of M&Ms count from 0; what the table calls them stays.
    let phases = stacks(&at("cohort"), &["attr_ed_phase", "attr_es_phase", "attr_ES"]);
    assert_eq!(phases, ["sax cine 3 x 5: 0 4 4"; 2]);
    volume(&at("mnms2/dataset/001/001_SA_CINE.nii.gz"), 3, 5);
    volume(&at("mnms2/dataset/001/001_LA_CINE.nii.gz"), 1, 5);
    let row = "SUBJECT_CODE,DISEASE,VENDOR,SCANNER,FIELD\n1,LV,GE MEDICAL SYSTEMS,SIGNA EXCITE,1.5\n";
    write(&at("mnms2/dataset_information.csv"), row);
    ingest(&at("mnms2"), &at("second"), &[]);
    let found = stacks(&at("second"), &["label", "vendor", "model", "field_strength_t"]);
    assert!(found.contains(&"sax cine 3 x 5: LV ge SIGNA EXCITE 1.5".to_owned()), "{found:?}");
}

#[test]
fn bids_sidecars_name_the_scanner_and_participants_the_person() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    volume(&at("bids/sub-01/anat/sub-01_cine.nii.gz"), 4, 5);
    let sidecar = r#"{"Manufacturer": "CANON_MEC", "MagneticFieldStrength": 2.89, "InstitutionName": "North", "PatientName": "Doe^J"}"#;
    write(&at("bids/sub-01/anat/sub-01_cine.json"), sidecar);
    write(&at("bids/participants.tsv"), "participant_id\tsex\tage\tsmoker\nsub-01\tF\t61\tno\n");
    write(&at("bids/dataset_description.json"), r#"{"Name": "miniature", "BIDSVersion": "1.9.0"}"#);
    ingest(&at("bids"), &at("cohort"), &[]);
    let found = stacks(&at("cohort"), &["vendor", "field_strength_t", "site", "sex", "age_years", "attr_smoker"]);
    assert_eq!(found, ["sax cine 4 x 5: canon 3 North F 61 no"]);
}

/// The inheritance principle of the BIDS specification: the nearest file counts, key by key.
#[test]
fn bids_sidecars_are_inherited_from_the_folders_above() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join("bids").join(name);
    volume(&at("sub-01/anat/sub-01_cine.nii.gz"), 4, 5);
    volume(&at("sub-02/anat/sub-02_acq-short_cine.nii"), 4, 5);
    volume(&at("sub-03/anat/sub-03_other.nii.gz"), 4, 5);
    let top = r#"{"Manufacturer": "Siemens", "InstitutionName": "North", "MagneticFieldStrength": 3, "DeviceSerialNumber": "45123"}"#;
    write(&at("cine.json"), top);
    write(&at("acq-short_cine.json"), r#"{"ManufacturersModelName": "Sola"}"#);
    write(&at("sub-02_cine.json"), r#"{"StationName": "MR 2"}"#);
    write(&at("sub-01/anat/sub-01_cine.json"), r#"{"InstitutionName": "South", "StationName": "MR 7"}"#);
    write(&at("participants.tsv"), "participant_id\tGroup\tDiagnosis\nsub-01\tpatient\tDCM\nsub-02\tpatient\tn/a\n");
    // Another collection with its own people of the same names: nothing of the first speaks of them.
    let second = temporary.path().join("second");
    volume(&second.join("sub-04/anat/sub-04_cine.nii.gz"), 4, 5);
    let cohort = temporary.path().join("cohort");
    ingest(&at(""), &cohort, &[text(&second), "--group-by", "station"]);
    let columns = ["vendor", "model", "site", "station", "field_strength_t", "label", "group"];
    let found = stacks(&cohort, &columns);
    let line = |told: &str| format!("sax cine 4 x 5: {told}");
    let expected = [
        line("      station=unknown"),
        line("      station=unknown"),
        line("siemens  South MR 7 3 DCM station=MR 7"),
        line("siemens Sola North MR 2 3  station=MR 2"),
    ];
    assert_eq!(found, expected);
    let stacks = table(&cohort, "stacks.parquet");
    let devices = stacks.text("device").unwrap();
    let known: BTreeSet<&String> = devices.iter().flatten().collect();
    assert_eq!((known.len(), devices.iter().flatten().count()), (1, 2), "one scanner");
    assert!(known.iter().all(|device| device.len() == 26 && !device.contains("45123")));
}

#[test]
fn waterbirds_in_archives_are_read_as_on_the_disk() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let folder = |name: &str| format!("waterbird_complete95_forest2water2/{name}");
    let lines = "1,001.Black/a.png,0,0,0,/b/x.jpg\n2,001.Black/b.png,1,1,0,/b/y.jpg\n3,002.Gull/c.png,1,2,1,/o/z.jpg\n";
    let listed = format!("img_id,img_filename,y,split,place,place_filename\n{lines}");
    let mut members = vec![(folder("metadata.csv"), listed.into_bytes())];
    for (shade, name) in [(1_u8, "001.Black/a.png"), (2, "001.Black/b.png"), (3, "002.Gull/c.png")] {
        let mut bytes = Vec::new();
        let picture = image::GrayImage::from_pixel(4, 2, image::Luma([shade]));
        picture.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
        members.push((folder(name), bytes));
    }
    for (name, bytes) in &members {
        let path = at("disk").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    for packed in ["zip", "tar"] {
        std::fs::create_dir(at(packed)).unwrap();
    }
    std::fs::write(at("zip/birds.zip"), zip_of(&members)).unwrap();
    std::fs::write(at("tar/birds.tar.gz"), tar_gz_of(&members)).unwrap();
    for packed in ["disk", "zip", "tar"] {
        let cohort = at(&format!("{packed}-cohort"));
        ingest(&at(packed), &cohort, &["--group-by", "label,attr_place"]);
        let expected = ["0 0 train", "1 0 val", "1 1 test"].map(|told| format!("other static 1 x 1: {told}"));
        assert_eq!(stacks(&cohort, &["label", "attr_place", "source_split"]), expected, "{packed}");
    }
}

/// The labels by hand from the collection's own CSV; ids of the folders.
#[test]
fn sunnybrook_dicom_is_labelled_by_the_table_among_it() {
    let test = "sunnybrook_dicom_is_labelled_by_the_table_among_it";
    let Some(source) = real_data(test, "sunnybrook-scouts") else { return };
    let temporary = tempfile::tempdir().unwrap();
    let cohort = temporary.path().join("cohort");
    ingest(&source, &cohort, &[]);
    let (stacks, frames) = (table(&cohort, "stacks.parquet"), table(&cohort, "frames.parquet"));
    let paths: BTreeMap<String, String> =
        frames.required_text("stack_id").unwrap().into_iter().zip(frames.required_text("path").unwrap()).collect();
    let (ids, labels) = (stacks.required_text("stack_id").unwrap(), stacks.required_text("label").unwrap());
    for (folder, expected) in [
        ("SCD0000601", "Heart failure with infarct"),
        ("SCD0001301", "Heart failure without infarct"),
        ("SCD0002501", "Hypertrophy"),
        ("SCD0003701", "Normal"),
    ] {
        let of_folder = ids.iter().zip(&labels).filter(|(id, _)| paths[*id].contains(folder));
        let told: BTreeSet<&str> = of_folder.map(|(_, label)| label.as_str()).collect();
        assert_eq!(told, BTreeSet::from([expected]), "{folder}");
    }
    assert_eq!(ledger(&cohort, &source)["scd_patientdata.csv"], "used sidecar");
}

#[test]
fn site_map_goes_before_sidecars_and_sites_spelled_alike_are_told() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let mut rows = "External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,Sex\n".to_owned();
    for (index, centre) in ["1", "2", "St. Mary", "st.  mary"].into_iter().enumerate() {
        volume(&at(&format!("mnms/A{index}S9V9/A{index}S9V9_sa.nii.gz")), 3, 5);
        rows += &format!("A{index}S9V9,Siemens,A,{centre},0,4,28,DCM,M\n");
    }
    write(&at("mnms/info.csv"), &rows);
    write(&at("labels.csv"), "patient_id,site\nA1S9V9,2\n");
    let map = r#"site_map={ "1" = "Barcelona", "2" = "Hamburg" }"#;
    let shown = ingest(&at("mnms"), &at("cohort"), &["--set", map, "--labels", text(&at("labels.csv"))]);
    let found = stacks(&at("cohort"), &["site", "site_source"]);
    let expected = ["2 table", "Barcelona site-map", "St. Mary sidecar", "st.  mary sidecar"];
    assert_eq!(found, expected.map(|told| format!("sax cine 3 x 5: {told}")));
    let warning = "sites `St. Mary`, `st.  mary` differ in case or spaces only";
    assert_eq!(shown.matches(warning).count(), 1, "{shown}");
    let groups = json(&at("cohort/groups.json"));
    assert!(groups["warnings"].as_array().unwrap().iter().any(|one| one.as_str().unwrap().contains(warning)));
}

#[test]
fn rows_that_label_files_of_one_stack_differently_contradict_each_other() {
    let temporary = tempfile::tempdir().unwrap();
    let scans = phantom(temporary.path(), 12).join("scans/north");
    let at = |name: &str| temporary.path().join(name);
    ingest(&scans, &at("plain"), &[]);
    let frames = table(&at("plain"), "frames.parquet");
    let (ids, paths) = (frames.required_text("stack_id").unwrap(), frames.required_text("path").unwrap());
    let mut files: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    ids.iter().zip(&paths).for_each(|(id, path)| {
        files.entry(id).or_default().insert(path);
    });
    let mut stacks_of_two: Vec<Vec<&str>> = files
        .into_values()
        .filter(|files| files.len() > 1)
        .map(|files| files.iter().map(|path| path.split("/north/").nth(1).unwrap()).collect())
        .collect();
    stacks_of_two.sort();
    assert!(stacks_of_two.len() > 1);
    let (torn, whole) = (&stacks_of_two[0], stacks_of_two.last().unwrap());
    // The last file alone is named for `whole`: it need not be the first for its label to count.
    let last = whole.last().unwrap();
    let rows = format!("{},DCM,61\n{},HCM,\n{last},NOR,\"1.234,5\"\n", torn[0], torn[1]);
    write(&at("labels.csv"), &format!("file,label,age_years\n{rows}"));
    let shown = ingest(&scans, &at("cohort"), &["--labels", text(&at("labels.csv"))]);
    assert!(shown.contains("label rows 1:2 and 1:3 give the same scans different labels"), "{shown}");
    assert!(shown.contains("1 values of `age_years` cannot be read and count as unknown (lines 4)"), "{shown}");
    let lines = std::fs::read_to_string(at("cohort/unmatched_labels.csv")).unwrap();
    assert!(lines.contains(",2,contradiction\n") && lines.contains(",3,contradiction\n"), "{lines}");
    let stacks = table(&at("cohort"), "stacks.parquet");
    let labels = stacks.text("label").unwrap();
    assert_eq!(labels.iter().flatten().collect::<Vec<_>>(), ["NOR"]);
}

/// Folders of BIDS data types, and ids without numbers: no two people become one, and one person's views stay together.
#[test]
fn people_of_nifti_trees_are_neither_merged_nor_split() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    for subject in ["sub-01", "sub-02", "sub-anna"] {
        volume(&at(&format!("bids/{subject}/cine/{subject}_cine.nii.gz")), 4, 5);
    }
    volume(&at("bids/sub-01/cine/sub-01_acq-4ch_cine.nii.gz"), 1, 5);
    ingest(&at("bids"), &at("cohort"), &[]);
    assert_eq!(subjects(&at("cohort")), [2, 1, 1]);
    for name in ["P007_sax", "P007_4ch", "P008_sax"] {
        volume(&at(&format!("flat/{name}.nii.gz")), 2, 5);
    }
    ingest(&at("flat"), &at("second"), &[]);
    assert_eq!(subjects(&at("second")).len(), 2);
}

/// Stacks of each subject, most first.
fn subjects(cohort: &Path) -> Vec<usize> {
    let stacks = table(cohort, "stacks.parquet");
    let mut counts = std::collections::BTreeMap::new();
    stacks.required_text("subject_id").unwrap().into_iter().for_each(|id| *counts.entry(id).or_insert(0) += 1);
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts
}
