//! The information file of M&Ms (<https://www.ub.edu/mnms>), told by its headers. Its frames count from 0.

use super::super::labels::{LabelRow, sidecar_table};

const COLUMNS: [(&str, &str); 7] = [
    ("patient_id", "External code"),
    ("label", "Pathology"),
    ("vendor", "VendorName"),
    ("site", "Centre"),
    ("sex", "Sex"),
    ("age_years", "Age"),
    ("attr_vendor_code", "Vendor"),
];
const TELLING: [&str; 3] = ["External code", "Vendor", "Centre"];
/// Our names of its columns of frames, which also stay under their own.
const PHASES: [(&str, &str); 2] = [("ed_phase", "ED"), ("es_phase", "ES")];

/// Its rows; `None` when the table is another.
pub fn read(text: &str) -> Option<Vec<LabelRow>> {
    let mut rows = sidecar_table(text, &COLUMNS, &TELLING)?;
    for row in &mut rows {
        for (ours, theirs) in PHASES {
            let phase = row.attributes.get(theirs).and_then(|frame| whole(frame));
            row.attributes.extend(phase.map(|phase| (ours.to_owned(), phase)));
        }
    }
    Some(rows)
}

/// A whole number, also as CSV writers write it where a column has gaps: `9.0`.
fn whole(text: &str) -> Option<String> {
    text.strip_suffix(".0").unwrap_or(text).parse().ok().map(|phase: u32| phase.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Header of the collection's own file; values made up.
    #[test]
    fn frames_keep_their_names_and_get_ours() {
        let header = ",External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,Sex";
        let rows =
            read(&format!("{header}\n0,A0S9V9,Siemens,A,1,0.0,10,28,DCM,M\n1,B3,Philips,B,2,,,1,NOR,F\n")).unwrap();
        let of = |row: usize, name: &str| rows[row].attributes.get(name).map(String::as_str);
        assert_eq!((of(0, "ed_phase"), of(0, "es_phase")), (Some("0"), Some("10")));
        assert_eq!((of(0, "ED"), of(0, "ES"), of(1, "ed_phase")), (Some("0.0"), Some("10"), None));
        assert_eq!((rows[0].get("site").unwrap().as_str(), of(0, "vendor_code")), ("1", Some("A")));
    }
}
