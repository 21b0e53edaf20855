//! `dataset_information.csv` of M&Ms-2 (<https://www.ub.edu/mnms-2>), told by its headers.

use super::super::labels::{LabelRow, sidecar_table};

const COLUMNS: [(&str, &str); 5] = [
    ("patient_id", "SUBJECT_CODE"),
    ("label", "DISEASE"),
    ("vendor", "VENDOR"),
    ("model", "SCANNER"),
    ("field_strength_t", "FIELD"),
];
const TELLING: [&str; 3] = ["SUBJECT_CODE", "DISEASE", "VENDOR"];
/// The folders are numbered with this many digits, the table with fewer.
const CODE_DIGITS: usize = 3;

/// Its rows, with codes as the folders write them; `None` when the table is another.
pub fn read(text: &str) -> Option<Vec<LabelRow>> {
    let mut rows = sidecar_table(text, &COLUMNS, &TELLING)?;
    for id in rows.iter_mut().filter_map(|row| row.values.get_mut("patient_id")) {
        if id.chars().all(|digit| digit.is_ascii_digit()) {
            *id = format!("{id:0>CODE_DIGITS$}");
        }
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::super::value;
    use super::*;

    #[test]
    fn codes_are_padded_to_their_folders() {
        let text = "SUBJECT_CODE,DISEASE,VENDOR,SCANNER,FIELD\n1,LV,SIEMENS,Symphony,1.5\n160,NOR,Philips MEDICAL SYSTEMS,Achieva,3.0\n";
        let rows = read(text).unwrap();
        assert_eq!((value(&rows, "patient_id"), value(&rows, "field_strength_t")), ("001", "1.5"));
        assert_eq!(rows[1].get("patient_id").unwrap(), "160");
    }
}
