//! Group labels: normalised vendors, snapped field strengths, group names and `groups.json`.

use std::collections::{BTreeMap, BTreeSet};

use crate::formats::cohort::{GROUPS_SCHEMA, GroupCounts, GroupsJson, StackRow};

/// Manufacturer texts by what they begin with or contain, upper case; the published table of `docs/groups.md`.
const VENDORS: [(&str, &str); 14] = [
    ("SIEMENS", "siemens"),
    ("HEALTHINEERS", "siemens"),
    ("PHILIPS", "philips"),
    ("GE MEDICAL", "ge"),
    ("GE HEALTHCARE", "ge"),
    ("GENERAL ELECTRIC", "ge"),
    ("GEMS", "ge"),
    ("CANON", "canon"),
    ("TOSHIBA", "canon"),
    ("UIH", "uih"),
    ("UNITED IMAGING", "uih"),
    ("HITACHI", "hitachi"),
    ("FUJIFILM", "hitachi"),
    ("BRUKER", "bruker"),
];

/// Vendor of a Manufacturer text. Toshiba's scanners are Canon's since 2018. A text that the table lacks is its own vendor.
pub fn vendor(manufacturer: &str) -> Option<String> {
    let upper = manufacturer.trim().to_uppercase();
    if upper.is_empty() {
        return None;
    }
    let known = VENDORS.iter().find(|(pattern, _)| upper.contains(pattern)).map(|(_, vendor)| *vendor);
    let exact = if upper == "GE" { Some("ge") } else { known };
    Some(exact.map_or_else(|| upper.to_lowercase(), str::to_owned))
}

/// Nominal field strengths, T (design, section 3).
const FIELDS_T: [f64; 9] = [0.35, 0.5, 0.55, 0.6, 1.0, 1.5, 3.0, 5.0, 7.0];
/// Values above are gauss.
const GAUSS_ABOVE: f64 = 100.0;
/// Relative distance within which a value is snapped.
const SNAP: f64 = 0.04;

/// Field strength in T: gauss converted, snapped to the nearest nominal value within 4 %, else rounded to 0.01.
pub fn field_strength_t(raw: f64) -> Option<f64> {
    if !(raw.is_finite() && raw > 0.0) {
        return None;
    }
    let tesla = if raw > GAUSS_ABOVE { raw / 10_000.0 } else { raw };
    let nearest = FIELDS_T.into_iter().min_by(|a, b| (a - tesla).abs().total_cmp(&(b - tesla).abs()))?;
    Some(if (nearest - tesla).abs() <= SNAP * nearest { nearest } else { (tesla * 100.0).round() / 100.0 })
}

/// `%`, `;` and `=` percent-encoded, so that group names can be taken apart again.
fn encoded(value: &str) -> String {
    value.replace('%', "%25").replace(';', "%3B").replace('=', "%3D")
}

/// The value of one `--group-by` key for a stack; unknown is a value of its own.
fn value(stack: &StackRow, key: &str) -> String {
    let text = match key {
        "vendor" => stack.vendor.clone(),
        "site" => stack.site.clone(),
        "model" => stack.model.clone(),
        "station" => stack.station.clone(),
        "software" => stack.software.clone(),
        "sex" => stack.sex.clone(),
        "label" => stack.label.clone(),
        "field_strength_t" => stack.field_strength_t.map(|field| field.to_string()),
        other => stack.attributes.get(other.strip_prefix("attr_").unwrap_or(other)).cloned(),
    };
    encoded(&text.unwrap_or_else(|| "unknown".to_owned()))
}

/// Keys that `--group-by` takes besides `attr_<name>`.
pub const GROUP_KEYS: [&str; 8] =
    ["vendor", "site", "model", "station", "software", "sex", "label", "field_strength_t"];

/// The acquisition group where nothing but the label makes groups.
const ALL: &str = "all";

/// `acquisition_group` of a stack: the `group_by` values without the label. A key that the stack lacks is `unknown`.
pub fn acquisition_group(stack: &StackRow, group_by: &[String]) -> String {
    let pairs: Vec<String> = group_by
        .iter()
        .filter(|key| *key != "label")
        .map(|key| format!("{}={}", key.strip_prefix("attr_").unwrap_or(key), value(stack, key)))
        .collect();
    // Grouped by label alone, all scanners are one group.
    if pairs.is_empty() { ALL.to_owned() } else { pairs.join(";") }
}

/// Sets `acquisition_group` and `group` of a stack.
pub fn set_groups(stack: &mut StackRow, group_by: &[String]) {
    stack.acquisition_group = acquisition_group(stack, group_by);
    stack.group = if group_by.iter().any(|key| key == "label") {
        let label = format!("label={}", value(stack, "label"));
        if stack.acquisition_group == ALL { label } else { format!("{label};{}", stack.acquisition_group) }
    } else {
        stack.acquisition_group.clone()
    };
}

/// Fewer subjects than this cannot be trained on and judged.
const SMALL_GROUP_SUBJECTS: usize = 10;

/// Whether preprocess selects a stack unless told otherwise: short-axis cines and plain images.
pub fn is_for_training(stack: &StackRow) -> bool {
    stack.source_format == "image" || (stack.view == "sax" && stack.kind == "cine")
}

/// `groups.json` over the stacks that training may use: short-axis cines and plain images.
pub fn summarise(stacks: &[StackRow], group_by: &[String], conflicts: Vec<String>) -> GroupsJson {
    let counted: Vec<&StackRow> = stacks.iter().filter(|stack| is_for_training(stack)).collect();
    let groups = counts(&counted, |stack| &stack.group);
    let acquisition_groups = counts(&counted, |stack| &stack.acquisition_group);
    let mut warnings = conflicts;
    if counted.is_empty() {
        warnings.push("no short-axis cine and no picture: nothing here can be trained on".to_owned());
    }
    warnings.extend(labels_alike(&counted));
    for group in groups.iter().filter(|group| group.subjects < SMALL_GROUP_SUBJECTS) {
        warnings.push(format!(
            "group `{}` has {} subjects: too few to train and to judge (fewer than {SMALL_GROUP_SUBJECTS})",
            group.name, group.subjects
        ));
    }
    GroupsJson { schema: GROUPS_SCHEMA.to_owned(), group_by: group_by.to_vec(), groups, acquisition_groups, warnings }
}

/// Labels that differ in case or spaces only: a typing error would become a class of its own.
fn labels_alike(stacks: &[&StackRow]) -> Vec<String> {
    let mut spellings: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for label in stacks.iter().filter_map(|stack| stack.label.as_deref()) {
        spellings.entry(label.split_whitespace().collect::<String>().to_lowercase()).or_default().insert(label);
    }
    let alike = spellings.into_values().filter(|labels| labels.len() > 1);
    let named = |labels: BTreeSet<&str>| labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
    alike
        .map(|labels| format!("labels {} differ in case or spaces only: one class or several?", named(labels)))
        .collect()
}

fn counts<'a>(stacks: &[&'a StackRow], name: fn(&'a StackRow) -> &'a String) -> Vec<GroupCounts> {
    let mut members: BTreeMap<&String, Vec<&StackRow>> = BTreeMap::new();
    stacks.iter().for_each(|stack| members.entry(name(stack)).or_default().push(stack));
    let count = |(index, (name, stacks)): (usize, (&String, Vec<&StackRow>))| {
        let subjects: BTreeSet<&str> = stacks.iter().map(|stack| stack.subject_id.as_str()).collect();
        let labelled: BTreeSet<(&str, &str)> = stacks
            .iter()
            .map(|stack| (stack.label.as_deref().unwrap_or("unlabelled"), stack.subject_id.as_str()))
            .collect();
        let mut labels = BTreeMap::new();
        labelled.iter().for_each(|(label, _)| *labels.entry((*label).to_owned()).or_default() += 1);
        GroupCounts { index, name: name.clone(), subjects: subjects.len(), stacks: stacks.len(), labels }
    };
    members.into_iter().enumerate().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendor_names_are_normalised() {
        for (text, expected) in [
            ("SIEMENS", "siemens"),
            ("Siemens Healthineers", "siemens"),
            ("Philips Medical Systems", "philips"),
            ("GE MEDICAL SYSTEMS", "ge"),
            ("TOSHIBA", "canon"),
            ("CANON_MEC", "canon"),
            ("UIH", "uih"),
            ("Acme MR", "acme mr"),
        ] {
            assert_eq!(vendor(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(vendor(" "), None);
    }

    /// The design's and the examples.
    #[test]
    fn field_strengths_are_tesla_snapped_to_nominal_values() {
        assert_eq!(field_strength_t(1.494), Some(1.5));
        assert_eq!(field_strength_t(15000.0), Some(1.5));
        assert_eq!(field_strength_t(2.89362), Some(3.0));
        assert_eq!(field_strength_t(2.0), Some(2.0));
        assert_eq!(field_strength_t(0.0), None);
    }

    #[test]
    fn group_names_put_the_label_first_and_encode_separators() {
        let mut stack = StackRow {
            vendor: Some("ge".into()),
            site: Some("A;B=50%".into()),
            label: Some("DCM".into()),
            ..StackRow::default()
        };
        set_groups(&mut stack, &["vendor".into(), "site".into(), "label".into()]);
        assert_eq!(stack.acquisition_group, "vendor=ge;site=A%3BB%3D50%25");
        assert_eq!(stack.group, "label=DCM;vendor=ge;site=A%3BB%3D50%25");
        stack.site = None;
        set_groups(&mut stack, &["site".into()]);
        assert_eq!((stack.group.as_str(), stack.acquisition_group.as_str()), ("site=unknown", "site=unknown"));
    }
}
