//! Group labels: normalised vendors, snapped field strengths, group names and `groups.json`.

use std::collections::{BTreeMap, BTreeSet};

use crate::formats::cohort::{GROUPS_SCHEMA, GroupCounts, GroupsJson, StackRow};
use crate::settings::ingest::{IngestSettings, SmallGroups};

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

/// A folder that holds one subject alone is no site and may be named after the person: it becomes unknown.
pub fn forget_personal_folders<'a>(stacks: impl Iterator<Item = &'a mut StackRow>) {
    let mut named: Vec<&mut StackRow> = stacks.filter(|stack| stack.site_source == "folder").collect();
    let mut subjects: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
    for stack in &named {
        subjects.entry(stack.site.clone()).or_default().insert(stack.subject_id.clone());
    }
    for stack in named.iter_mut().filter(|stack| subjects[&stack.site].len() == 1) {
        stack.site = None;
        "unknown".clone_into(&mut stack.site_source);
    }
}

/// Sets `acquisition_group` and `group` of a stack.
pub fn set_groups(stack: &mut StackRow, group_by: &[String]) {
    stack.acquisition_group = acquisition_group(stack, group_by);
    set_group(stack, group_by);
}

/// Sets `group` from `acquisition_group` and the label.
fn set_group(stack: &mut StackRow, group_by: &[String]) {
    stack.group = if group_by.iter().any(|key| key == "label") {
        let label = format!("label={}", value(stack, "label"));
        if stack.acquisition_group == ALL { label } else { format!("{label};{}", stack.acquisition_group) }
    } else {
        stack.acquisition_group.clone()
    };
}

/// What a merged group is called, value by value.
const OTHER: &str = "other";

/// Labelled subjects of each acquisition group that training may use.
fn labelled_subjects(stacks: &[StackRow]) -> BTreeMap<String, BTreeSet<String>> {
    // Where nothing is labelled yet, all subjects count.
    let is_labelled = stacks.iter().any(|stack| stack.label.is_some());
    let mut subjects: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for stack in stacks.iter().filter(|stack| is_for_training(stack)) {
        let members = subjects.entry(stack.acquisition_group.clone()).or_default();
        if stack.label.is_some() || !is_labelled {
            members.insert(stack.subject_id.clone());
        }
    }
    subjects
}

/// Applies the rule for small groups; gives the acquisition groups that are held out.
pub fn apply_rule(stacks: &mut [StackRow], settings: &IngestSettings) -> Vec<String> {
    let subjects = labelled_subjects(stacks);
    let small = subjects.into_iter().filter(|(_, members)| members.len() < settings.min_group_subjects);
    let small: BTreeSet<String> = small.map(|(name, _)| name).collect();
    match settings.small_groups {
        SmallGroups::Warn => Vec::new(),
        SmallGroups::HoldOut => small.into_iter().collect(),
        SmallGroups::MergeToOther => {
            for stack in stacks.iter_mut().filter(|stack| small.contains(&stack.acquisition_group)) {
                let keys = settings.group_by.iter().filter(|key| *key != "label");
                let pairs: Vec<String> =
                    keys.map(|key| format!("{}={OTHER}", key.strip_prefix("attr_").unwrap_or(key))).collect();
                stack.acquisition_group = if pairs.is_empty() { ALL.to_owned() } else { pairs.join(";") };
                set_group(stack, &settings.group_by);
            }
            Vec::new()
        }
    }
}

/// Whether preprocess selects a stack unless told otherwise: short-axis cines and plain images.
pub fn is_for_training(stack: &StackRow) -> bool {
    stack.source_format == "image" || (stack.view == "sax" && stack.kind == "cine")
}

/// `groups.json` over the stacks that training may use: short-axis cines and plain images.
pub fn summarise(
    stacks: &[StackRow],
    settings: &IngestSettings,
    held_out: Vec<String>,
    conflicts: Vec<String>,
) -> GroupsJson {
    let group_by = &settings.group_by;
    let counted: Vec<&StackRow> = stacks.iter().filter(|stack| is_for_training(stack)).collect();
    let groups = counts(&counted, |stack| &stack.group);
    let acquisition_groups = counts(&counted, |stack| &stack.acquisition_group);
    let mut warnings = conflicts;
    if counted.is_empty() {
        warnings.push("no short-axis cine and no picture: nothing here can be trained on".to_owned());
    }
    let labels = counted.iter().filter_map(|stack| stack.label.as_deref());
    warnings.extend(
        alike(labels).map(|labels| format!("labels {labels} differ in case or spaces only: one class or several?")),
    );
    let least = settings.min_group_subjects;
    for group in groups.iter().filter(|group| group.subjects < least) {
        let (name, subjects) = (&group.name, group.subjects);
        warnings.push(format!(
            "group `{name}` has {subjects} subjects: too few to train and to judge (fewer than {least})"
        ));
    }
    warnings.extend(held_out.iter().map(|name| format!("group `{name}` is small and held out: for the test alone")));
    let schema = GROUPS_SCHEMA.to_owned();
    GroupsJson { schema, group_by: group_by.clone(), groups, acquisition_groups, held_out, warnings }
}

/// Scanners' metadata that contradict each other: a site spelled in several ways, a station at several sites, a study of one subject
/// from several vendors.
pub fn conflicts(stacks: &[StackRow]) -> Vec<String> {
    let mut sites: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    let mut vendors: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for stack in stacks {
        if let (Some(station), Some(site)) = (&stack.station, &stack.site) {
            sites.entry((station, stack.model.as_deref().unwrap_or_default())).or_default().insert(site);
        }
        if let (Some(study), Some(vendor)) = (&stack.study_id, &stack.vendor) {
            vendors.entry((&stack.subject_id, study)).or_default().insert(vendor);
        }
    }
    let spelled = alike(stacks.iter().filter_map(|stack| stack.site.as_deref()));
    let spelled = spelled.map(|sites| format!("sites {sites} differ in case or spaces only: one site or several?"));
    let several = sites.iter().filter(|(_, sites)| sites.len() > 1);
    let moved = several.map(|((station, _), sites)| {
        format!("station `{station}` is at several sites ({}): one of them renamed, or two scanners?", named(sites))
    });
    let mixed = vendors.iter().filter(|(_, vendors)| vendors.len() > 1).map(|((subject, _), vendors)| {
        format!("subject {subject}: one study has images of several vendors ({})", named(vendors))
    });
    spelled.chain(moved).chain(mixed).collect()
}

fn named(names: &BTreeSet<&str>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Texts that differ in case or spaces only, together: a typing error would become a class or a site of its own.
fn alike<'a>(texts: impl Iterator<Item = &'a str>) -> impl Iterator<Item = String> {
    let mut spellings: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for text in texts {
        spellings.entry(text.split_whitespace().collect::<String>().to_lowercase()).or_default().insert(text);
    }
    spellings.into_values().filter(|texts| texts.len() > 1).map(|texts| named(&texts))
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

    #[test]
    fn a_folder_of_one_subject_is_no_site() {
        let row = |subject: &str, site: &str| StackRow {
            subject_id: subject.into(),
            site: Some(site.into()),
            site_source: "folder".into(),
            ..StackRow::default()
        };
        let mut rows = [row("1", "north"), row("2", "north"), row("3", "Doe Jane"), row("3", "Doe Jane")];
        forget_personal_folders(rows.iter_mut());
        let sites: Vec<Option<&str>> = rows.iter().map(|row| row.site.as_deref()).collect();
        assert_eq!(sites, [Some("north"), Some("north"), None, None]);
        assert_eq!(rows[3].site_source, "unknown");
    }

    /// Subjects by hand: eleven at a, two at b, one at c.
    #[test]
    fn small_groups_are_warned_of_merged_or_held_out() {
        use std::path::Path;

        use crate::settings::ingest::IngestWire;

        let rows = || -> Vec<StackRow> {
            let sites = (0..11).map(|_| "a").chain(["b", "b", "c"]);
            let row = |(number, site): (usize, &str)| {
                let mut row = StackRow {
                    subject_id: format!("s{number}"),
                    site: Some(site.into()),
                    label: Some("DCM".into()),
                    source_format: "image".into(),
                    ..StackRow::default()
                };
                set_groups(&mut row, &["site".into(), "label".into()]);
                row
            };
            sites.enumerate().map(row).collect()
        };
        let outcome = |small_groups, least| {
            let wire = IngestWire {
                group_by: Some(vec!["site".into(), "label".into()]),
                min_group_subjects: least,
                small_groups: Some(small_groups),
                ..IngestWire::default()
            };
            let settings = IngestSettings::from_wire(wire, Path::new("")).unwrap();
            let mut rows = rows();
            let held_out = apply_rule(&mut rows, &settings);
            summarise(&rows, &settings, held_out, Vec::new())
        };
        let names = |json: &GroupsJson| json.groups.iter().map(|group| group.name.clone()).collect::<Vec<_>>();
        let warned = outcome(SmallGroups::Warn, None);
        assert_eq!((warned.groups.len(), warned.warnings.len()), (3, 2));
        let merged = outcome(SmallGroups::MergeToOther, None);
        assert_eq!(names(&merged), ["label=DCM;site=a", "label=DCM;site=other"]);
        assert_eq!((merged.groups[1].subjects, merged.warnings.len()), (3, 1), "still small");
        let held = outcome(SmallGroups::HoldOut, Some(2));
        assert_eq!(held.held_out, ["site=c"]);
    }
}
