//! Information files of known collections that lie among the scans: M&Ms, M&Ms-2, ACDC, BIDS (`docs/labels.md`). Text in, label rows
//! out; no files here. What a label table says goes before any of them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::labels::{LabelRow, SIDECAR, sidecar_table};

/// Information files are small.
pub const CAP_BYTES: u64 = 16 << 20;

/// The information file of M&Ms by its headers.
const MNMS: [(&str, &str); 7] = [
    ("patient_id", "External code"),
    ("label", "Pathology"),
    ("vendor", "VendorName"),
    ("site", "Centre"),
    ("sex", "Sex"),
    ("age_years", "Age"),
    ("attr_vendor_code", "Vendor"),
];
/// `dataset_information.csv` of M&Ms-2.
const MNMS_2: [(&str, &str); 5] = [
    ("patient_id", "SUBJECT_CODE"),
    ("label", "DISEASE"),
    ("vendor", "VENDOR"),
    ("model", "SCANNER"),
    ("field_strength_t", "FIELD"),
];
/// `participants.tsv` of BIDS.
const BIDS_PARTICIPANTS: [(&str, &str); 3] = [("patient_id", "participant_id"), ("sex", "sex"), ("age_years", "age")];
/// Keys of a BIDS sidecar that groups are made of; all others stay unread, whoever they name.
const BIDS_SCANNER: [(&str, &str); 5] = [
    ("vendor", "Manufacturer"),
    ("model", "ManufacturersModelName"),
    ("site", "InstitutionName"),
    ("software", "SoftwareVersions"),
    ("field_strength_t", "MagneticFieldStrength"),
];
/// M&Ms-2 numbers its folders with this many digits, its table with fewer.
const MNMS_2_DIGITS: usize = 3;

/// Whether a file's name lets it be an information file.
pub fn may_be_one(relative: &str) -> bool {
    let name = name(relative).to_lowercase();
    [".csv", ".tsv", ".json", ".cfg"].iter().any(|ending| name.ends_with(ending))
}

fn name(relative: &str) -> &str {
    relative.rsplit('/').next().unwrap_or(relative)
}

/// The rows of an information file, by its name and content; `None` when it is none of those known.
pub fn read(relative: &str, text: &str) -> Option<Vec<LabelRow>> {
    match name(relative).to_lowercase().as_str() {
        "info.cfg" => acdc(relative, text),
        "participants.tsv" => sidecar_table(text, &BIDS_PARTICIPANTS, &["participant_id"]),
        name if name.ends_with(".json") => bids(relative, text),
        _ => sidecar_table(text, &MNMS, &["External code", "Vendor", "Centre"])
            .or_else(|| sidecar_table(text, &MNMS_2, &["SUBJECT_CODE", "DISEASE", "VENDOR"]).map(padded)),
    }
}

/// Codes as the folders write them.
fn padded(mut rows: Vec<LabelRow>) -> Vec<LabelRow> {
    for id in rows.iter_mut().filter_map(|row| row.values.get_mut("patient_id")) {
        if id.chars().all(|digit| digit.is_ascii_digit()) {
            *id = format!("{id:0>MNMS_2_DIGITS$}");
        }
    }
    rows
}

/// `Info.cfg` of ACDC: `ED: 1`, `ES: 12`, `Group: DCM`, ... of the patient that its folder is named after; frames count from 1.
fn acdc(relative: &str, text: &str) -> Option<Vec<LabelRow>> {
    let folder = name(relative.rsplit_once('/')?.0);
    let pairs: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.trim(), value.trim())).collect();
    let label = pairs.get("Group")?;
    let mut row = LabelRow { place: (SIDECAR, 1), ..LabelRow::default() };
    row.values.insert("patient_id".to_owned(), folder.to_owned());
    row.values.insert("label".to_owned(), (*label).to_owned());
    for (ours, theirs) in [("ed_phase", "ED"), ("es_phase", "ES")] {
        let phase =
            pairs.get(theirs).and_then(|frame| frame.parse::<u32>().ok()).and_then(|frame| frame.checked_sub(1));
        row.attributes.extend(phase.map(|phase| (ours.to_owned(), phase.to_string())));
    }
    for (ours, theirs) in [("height_cm", "Height"), ("weight_kg", "Weight")] {
        row.attributes.extend(pairs.get(theirs).map(|value| (ours.to_owned(), (*value).to_owned())));
    }
    Some(vec![row])
}

/// The sidecar of a BIDS image: `sub-01_cine.json` beside `sub-01_cine.nii.gz` or `.nii`.
fn bids(relative: &str, text: &str) -> Option<Vec<LabelRow>> {
    let Value::Object(fields) = serde_json::from_str(text).ok()? else { return None };
    let text_of = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let told =
        BIDS_SCANNER.iter().filter_map(|(ours, theirs)| Some(((*ours).to_owned(), text_of(fields.get(*theirs)?)?)));
    let told: BTreeMap<String, String> = told.filter(|(_, value)| !value.trim().is_empty()).collect();
    if told.is_empty() {
        return None;
    }
    let stem = &relative[..relative.len() - ".json".len()];
    let row = |ending: &str| {
        let mut row = LabelRow { place: (SIDECAR, 1), values: told.clone(), ..LabelRow::default() };
        row.values.insert("file".to_owned(), format!("{stem}{ending}"));
        row
    };
    Some(vec![row(".nii.gz"), row(".nii")])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(rows: &'a [LabelRow], name: &str) -> &'a str {
        rows[0].get(name).unwrap()
    }

    /// The file as the collection's page shows it.
    #[test]
    fn acdc_counts_frames_from_1() {
        let text = "ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n";
        let rows = read("training/patient001/Info.cfg", text).unwrap();
        assert_eq!((value(&rows, "patient_id"), value(&rows, "label")), ("patient001", "DCM"));
        assert_eq!((rows[0].attributes["ed_phase"].as_str(), rows[0].attributes["es_phase"].as_str()), ("0", "11"));
        assert_eq!(read("a/Info.cfg", "colour: red\n"), None);
    }

    #[test]
    fn mnms_2_codes_are_padded_to_their_folders() {
        let text = "SUBJECT_CODE,DISEASE,VENDOR,SCANNER,FIELD\n1,LV,SIEMENS,Symphony,1.5\n160,NOR,Philips MEDICAL SYSTEMS,Achieva,3.0\n";
        let rows = read("dataset_information.csv", text).unwrap();
        assert_eq!((value(&rows, "patient_id"), value(&rows, "field_strength_t")), ("001", "1.5"));
        assert_eq!(rows[1].get("patient_id").unwrap(), "160");
    }

    #[test]
    fn a_bids_sidecar_gives_scanner_and_site_and_nothing_that_names_people() {
        let text = r#"{"Manufacturer": "Siemens", "MagneticFieldStrength": 3, "InstitutionName": "North", "PatientName": "Doe^Jane"}"#;
        let rows = read("sub-01/cine/sub-01_cine.json", text).unwrap();
        assert_eq!(value(&rows, "file"), "sub-01/cine/sub-01_cine.nii.gz");
        assert_eq!((value(&rows, "vendor"), value(&rows, "field_strength_t")), ("Siemens", "3"));
        assert!(rows.iter().all(|row| !format!("{row:?}").contains("Doe")));
        assert_eq!(read("dataset_description.json", r#"{"Name": "x"}"#), None);
        let people = read("participants.tsv", "participant_id\tsex\tage\tname\nsub-01\tF\t57\tDoe\n").unwrap();
        assert_eq!((value(&people, "patient_id"), value(&people, "age_years")), ("sub-01", "57"));
        assert!(people[0].attributes.is_empty());
    }
}
