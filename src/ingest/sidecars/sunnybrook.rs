//! The patients' table of the Sunnybrook Cardiac Data (<https://www.cardiacatlas.org/sunnybrook-cardiac-data>), told by its headers.
//! It speaks of the DICOM files, whose PatientID it holds. Pictures are named by its other id, written in another way and with two
//! patients too many for the table: they need a mapping (`pipelines/sunnybrook.toml`).

use super::super::labels::{LabelRow, parse, sidecar_table};

/// Our columns, and their headers in the collection's own table and in copies.
const COLUMNS: [(&str, &[&str]); 5] = [
    ("patient_id", &["patientid"]),
    ("label", &["pathology"]),
    ("sex", &["gender", "sex"]),
    ("age_years", &["age"]),
    ("software", &["scannersoftware"]),
];
/// Headers that tell the table, lower case without signs.
const TELLING: [&str; 3] = ["patientid", "originalid", "pathology"];
/// What every PatientID of the collection begins with.
const ID_START: &str = "SCD";

/// Its rows; `None` when the table is another.
pub fn read(text: &str) -> Option<Vec<LabelRow>> {
    let (headers, _) = parse(text).ok()?;
    let header = |plain: &str| headers.iter().find(|header| simplified(header) == plain).map(String::as_str);
    if TELLING.iter().any(|telling| header(telling).is_none()) {
        return None;
    }
    let columns = COLUMNS.iter().filter_map(|(ours, theirs)| Some((*ours, theirs.iter().find_map(|one| header(one))?)));
    let mut rows = sidecar_table(text, &columns.collect::<Vec<_>>(), &[])?;
    // The other columns are ids, and the diagnosis once more.
    rows.iter_mut().for_each(|row| row.attributes.clear());
    let is_its_own = |row: &LabelRow| row.get("patient_id").is_some_and(|id| id.starts_with(ID_START));
    rows.iter().all(is_its_own).then_some(rows)
}

fn simplified(header: &str) -> String {
    header.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::super::value;
    use super::*;

    /// The first lines of `scd_patientdata.csv` of the collection, and the headers of a copy with the scanners' releases.
    #[test]
    fn patients_are_named_as_the_dicom_files_name_them() {
        let text = "\u{feff}PatientID,OriginalID,Gender,Age,Pathology\nSCD0000101,SC-HF-I-1,Male,53,Heart failure with infarct\n";
        let rows = read(text).unwrap();
        let told = ["patient_id", "label", "sex", "age_years"].map(|name| value(&rows, name));
        assert_eq!(told, ["SCD0000101", "Heart failure with infarct", "Male", "53"]);
        assert!(rows[0].attributes.is_empty());
        let text =
            "patient_id,original_id,pathology,sex,age,scanner_software\nSCD0000101,SC-HF-I-1,Normal,Male,53,14.0_M4\n";
        assert_eq!(value(&read(text).unwrap(), "software"), "14.0_M4");
        assert_eq!(read("PatientID,OriginalID,Pathology\n17,x,DCM\n"), None, "another hospital's");
    }
}
