//! `Info.cfg` of ACDC (<https://www.creatis.insa-lyon.fr/Challenge/acdc>): `ED: 1`, `ES: 12`, `Group: DCM`, ... of the patient that its
//! folder, or its archive, is named after. Its frames count from 1.

use std::collections::BTreeMap;

use super::super::content::folder_name;
use super::super::labels::{LabelRow, SIDECAR};

/// The row of its patient; `None` without a group or a folder.
pub fn read(relative: &str, text: &str) -> Option<Vec<LabelRow>> {
    let pairs: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.trim(), value.trim())).collect();
    let label = pairs.get("Group").filter(|group| !group.is_empty())?;
    let mut row = LabelRow { place: (SIDECAR, 1), ..LabelRow::default() };
    row.values.insert("patient_id".to_owned(), patient(relative)?.to_owned());
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

/// The folder's name; at the root of an archive, the archive's: `patient001.tar.gz!/Info.cfg` says patient001.
fn patient(relative: &str) -> Option<&str> {
    // Some tar programs write `./Info.cfg`.
    relative.rsplit('/').skip(1).find(|folder| *folder != ".").map(folder_name)
}

#[cfg(test)]
mod tests {
    use super::super::value;
    use super::*;

    /// The file as the collection's page shows it.
    #[test]
    fn frames_count_from_1() {
        let text = "ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n";
        let rows = read("training/patient001/Info.cfg", text).unwrap();
        assert_eq!((value(&rows, "patient_id"), value(&rows, "label")), ("patient001", "DCM"));
        assert_eq!((rows[0].attributes["ed_phase"].as_str(), rows[0].attributes["es_phase"].as_str()), ("0", "11"));
        assert_eq!(read("a/Info.cfg", "colour: red\n"), None);
    }

    #[test]
    fn the_patient_is_the_folder_or_the_archive() {
        for (relative, expected) in [
            ("training/patient001/Info.cfg", Some("patient001")),
            ("patient001.zip!/Info.cfg", Some("patient001")),
            ("acdc/patient001.tar.gz!/./Info.cfg", Some("patient001")),
            ("acdc.zip!/testing/patient101/Info.cfg", Some("patient101")),
            ("Info.cfg", None),
        ] {
            assert_eq!(patient(relative), expected, "{relative}");
        }
    }
}
