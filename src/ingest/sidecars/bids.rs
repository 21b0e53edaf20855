//! BIDS (<https://bids-specification.readthedocs.io>): sidecars `NAME.json` with their inheritance, and `participants.tsv`.
//!
//! A sidecar speaks of the image beside it of the same name. One whose name holds a part of an image's entities, and its suffix, speaks
//! of such images in its folder and below; key by key the nearest one counts (Common principles, "The inheritance principle").

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::join::Scope;
use super::super::labels::{LabelRow, SIDECAR, parse, sidecar_table};
use super::name;

/// Keys of a sidecar that groups are made of; all others stay unread, whoever they name.
const SCANNER: [(&str, &str); 7] = [
    ("vendor", "Manufacturer"),
    ("model", "ManufacturersModelName"),
    ("site", "InstitutionName"),
    ("station", "StationName"),
    ("software", "SoftwareVersions"),
    ("field_strength_t", "MagneticFieldStrength"),
    // Leaves ingest as a pseudonym alone.
    ("device_serial", "DeviceSerialNumber"),
];
/// Columns of `participants.tsv` that may hold the label, in lower case; the first that is there does.
const LABELS: [&str; 4] = ["label", "diagnosis", "group", "pathology"];
/// A missing value of a BIDS table.
const MISSING: &str = "n/a";

/// The part of a name behind its entities: `cine` of `sub-01_cine`.
pub fn suffix(stem: &str) -> &str {
    stem.rsplit('_').next().unwrap_or(stem)
}

fn entities(stem: &str) -> impl Iterator<Item = &str> {
    stem.rsplit_once('_').map_or("", |(entities, _)| entities).split('_').filter(|entity| !entity.is_empty())
}

fn is_entity(part: &str) -> bool {
    part.split_once('-').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty())
}

/// How many entities of the image `image` the sidecar `own` leaves open, `between` folders above it; `None` when it does not speak of
/// that image. Both without their endings.
pub fn entities_left_open(own: &str, image: &str, between: usize) -> Option<usize> {
    if own == image && between == 0 {
        return Some(0);
    }
    let is_bids = image.starts_with("sub-") && entities(image).chain(entities(own)).all(is_entity);
    let speaks =
        is_bids && suffix(own) == suffix(image) && entities(own).all(|one| entities(image).any(|two| one == two));
    speaks.then(|| entities(image).count().saturating_sub(entities(own).count()))
}

/// The row of a sidecar; `None` when it tells nothing of the scanner.
pub fn sidecar(relative: &str, text: &str) -> Option<Vec<LabelRow>> {
    let Value::Object(fields) = serde_json::from_str(text).ok()? else { return None };
    let text_of = |value: &Value| match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let told = SCANNER.iter().filter_map(|(ours, theirs)| Some(((*ours).to_owned(), text_of(fields.get(*theirs)?)?)));
    let values: BTreeMap<String, String> = told.filter(|(_, value)| is_told(value)).collect();
    if values.is_empty() {
        return None;
    }
    let name = name(relative);
    let stem = name.get(..name.len().checked_sub(".json".len())?)?;
    let scope = Scope { stem: Some(stem.to_owned()), ..Scope::of(relative) };
    Some(vec![LabelRow { place: (SIDECAR, 1), values, scope: Some(scope), ..LabelRow::default() }])
}

fn is_told(value: &str) -> bool {
    !value.is_empty() && !value.eq_ignore_ascii_case(MISSING)
}

/// Rows of `participants.tsv`, which speak of the scans of its folder.
pub fn participants(relative: &str, text: &str) -> Option<Vec<LabelRow>> {
    let (headers, _) = parse(text).ok()?;
    let header = |name: &str| headers.iter().find(|header| header.eq_ignore_ascii_case(name)).map(String::as_str);
    let label = LABELS.iter().find_map(|name| header(name));
    let found = [
        ("patient_id", header("participant_id")),
        ("label", label),
        ("sex", header("sex")),
        ("age_years", header("age")),
    ];
    let columns: Vec<(&str, &str)> = found.into_iter().filter_map(|(ours, header)| Some((ours, header?))).collect();
    let mut rows = sidecar_table(text, &columns, &[header("participant_id")?])?;
    for row in &mut rows {
        row.values.retain(|_, value| is_told(value));
        row.attributes.retain(|_, value| is_told(value));
        row.scope = Some(Scope::of(relative));
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::super::{read, value};
    use super::*;

    #[test]
    fn a_sidecar_gives_scanner_and_site_and_nothing_that_names_people() {
        let text = r#"{"Manufacturer": "Siemens", "MagneticFieldStrength": 3, "StationName": "MR 2", "PatientName": "Doe^Jane"}"#;
        let rows = read("sub-01/cine/sub-01_cine.json", text).unwrap();
        let told = ["vendor", "field_strength_t", "station"].map(|name| value(&rows, name));
        assert_eq!(told, ["Siemens", "3", "MR 2"]);
        let scope = Scope { folder: "sub-01/cine".into(), stem: Some("sub-01_cine".into()), source: 0 };
        assert_eq!(rows[0].scope, Some(scope));
        assert!(!format!("{rows:?}").contains("Doe"));
        assert_eq!(read("dataset_description.json", r#"{"Name": "x"}"#), None);
    }

    /// The names of the specification's examples of the inheritance principle, and names of other collections.
    #[test]
    fn a_sidecar_speaks_of_images_with_all_its_entities_and_its_suffix() {
        let image = "sub-01_ses-test_task-rest_bold";
        assert_eq!(entities_left_open("task-rest_bold", image, 3), Some(2));
        assert_eq!(entities_left_open("bold", image, 3), Some(3));
        assert_eq!(entities_left_open("sub-01_bold", image, 1), Some(2));
        assert_eq!(entities_left_open(image, image, 0), Some(0));
        for other in ["task-nback_bold", "sub-02_bold", "task-rest_cbv", "sub-1_bold"] {
            assert_eq!(entities_left_open(other, image, 3), None, "{other}");
        }
        assert_eq!(entities_left_open("A0S9V9_sa", "A0S9V9_sa", 0), Some(0), "beside it, any name");
        assert_eq!(entities_left_open("sa", "A0S9V9_sa", 1), None, "no BIDS name");
    }

    #[test]
    fn participants_have_a_label_by_the_first_of_the_known_columns() {
        let header = "participant_id\tsex\tage\tname\tGroup\tDiagnosis";
        let rows = read(
            "x/participants.tsv",
            &format!("{header}\nsub-01\tF\t57\tDoe\tpatient\tDCM\nsub-02\tn/a\tn/a\t\t\tn/a\n"),
        );
        let rows = rows.unwrap();
        let told = ["patient_id", "age_years", "label"].map(|name| value(&rows, name));
        assert_eq!(told, ["sub-01", "57", "DCM"]);
        assert_eq!(rows[0].attributes, BTreeMap::from([("Group".to_owned(), "patient".to_owned())]));
        assert_eq!(rows[1].values.len(), 1, "n/a is missing: {:?}", rows[1].values);
    }
}
