//! Public collections by their layout, each in miniature: labels, scanners, sites and splits as the collections' own pages say.

use std::io::Write;
use std::path::Path;

use crate::ingest::{ingest, table};

/// A NIfTI-1 file of 8 x 8 x `slices` x `phases` bytes with spacings 1.5 x 1.5 x 8 mm and 40 ms, as nifti1.h lays it out.
fn volume(path: &Path, slices: i16, phases: i16) {
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
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&bytes).unwrap();
    std::fs::write(path, encoder.finish().unwrap()).unwrap();
}

fn write(path: &Path, text: &str) {
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
