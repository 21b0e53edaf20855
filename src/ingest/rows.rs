//! Rows of `stacks.parquet` and `frames.parquet` from assembled stacks: what the files, the label tables and the settings say of
//! each, the nearest word first (label tables, then sidecars, then the file itself).

use std::collections::{BTreeMap, BTreeSet};

use super::discover::Found;
use super::groups;
use super::image::{Format, Image, Series};
use super::join::Matches;
use super::labels;
use super::people::Subject;
use super::privacy::{Pseudonyms, allowed};
use super::stack_label::{FileLabel, Place};
use super::stacks::{Stack, position_of};
use super::view::{Evidence, View, view};
use crate::formats::cohort::{FrameRow, StackRow};
use crate::settings::ingest::{IngestSettings, SiteFrom};

/// Ages above are one (design, Privacy).
const AGE_CAP_YEARS: f64 = 90.0;

/// What is known of the images of one file.
pub struct Facts<'a> {
    /// From the file.
    pub series: &'a Series,
    /// From label tables and sidecars.
    pub matches: &'a Matches<'a>,
    /// Rows of label tables, by table and line, whose label is nobody's.
    pub ambiguous: &'a BTreeSet<Place>,
    /// `site_map` and the like.
    pub settings: &'a IngestSettings,
    /// Path of the file below its source.
    pub relative: &'a str,
}

/// Where an unknown value is from.
const UNKNOWN: &str = "unknown";

/// A value and where it is from.
pub struct Told {
    /// `None`: nobody knows.
    pub value: Option<String>,
    /// As written in `stacks.parquet`.
    pub source: &'static str,
}

impl Facts<'_> {
    /// A column of the label tables, unless it holds a token of the patient's identifiers.
    fn told(&self, name: &str) -> Option<String> {
        self.safe(self.matches.get(name)?)
    }

    fn safe(&self, value: &str) -> Option<String> {
        let person = &self.series.person;
        let told = self.matches.identifiers().cloned();
        let known: Vec<String> = person.identifiers.iter().chain(&person.patient_id).cloned().chain(told).collect();
        allowed(value, &known)
    }

    /// The site and where it is from: label tables, then `site_map`, then sidecars, then what `site_from` says.
    pub fn site(&self, ids: &Pseudonyms) -> Told {
        let (told, told_by) = (self.told("site"), self.matches.source("site"));
        if told.is_some() && told_by == "table" {
            return Told { value: told, source: told_by };
        }
        let institution = &self.series.scanner.institution;
        let (station, device) = (self.station(), self.device(ids));
        let names = [&told, institution, &station, &device];
        if let Some(value) = names.into_iter().flatten().find_map(|name| self.settings.site_map.get(name)) {
            return Told { value: Some(value.clone()), source: "site-map" };
        }
        if told.is_some() {
            return Told { value: told, source: told_by };
        }
        let (value, source) = match self.settings.site_from {
            SiteFrom::Institution => (institution.clone(), "institution"),
            SiteFrom::Station => (station, "station"),
            SiteFrom::DeviceSerial => (device, "device-serial"),
            SiteFrom::Folder => {
                let folder = self.relative.split_once('/').map(|(first, _)| first.trim_end_matches('!'));
                (folder.and_then(|folder| self.safe(folder)), "folder")
            }
        };
        Told { source: if value.is_some() { source } else { UNKNOWN }, value }
    }

    fn told_vendor(&self) -> Option<String> {
        groups::vendor(&self.told("vendor")?)
    }

    fn own_vendor(&self) -> Option<String> {
        groups::vendor(self.series.scanner.manufacturer.as_deref()?)
    }

    fn station(&self) -> Option<String> {
        self.told("station").or_else(|| self.series.scanner.station.clone())
    }

    /// The scanner's pseudonym: serial numbers are unique within a manufacturer.
    fn device(&self, ids: &Pseudonyms) -> Option<String> {
        let scanner = &self.series.scanner;
        let serial = scanner.device_serial.as_ref().or_else(|| self.matches.get("device_serial"))?;
        let manufacturer = scanner.manufacturer.as_ref().or_else(|| self.matches.get("vendor"));
        let vendor = manufacturer.and_then(|manufacturer| groups::vendor(manufacturer)).unwrap_or_default();
        Some(ids.of("device", &[&vendor, serial.trim()]))
    }

    fn vendor(&self) -> Told {
        if let Some(value) = self.told_vendor() {
            return Told { value: Some(value), source: self.matches.source("vendor") };
        }
        let value = self.own_vendor();
        Told { source: if value.is_some() { "file" } else { UNKNOWN }, value }
    }

    /// Whether a label table names another vendor than the file does.
    pub fn vendors_differ(&self) -> bool {
        matches!((self.told_vendor(), self.own_vendor()), (Some(told), Some(own)) if told != own)
    }

    /// The label of the file; `None` where nobody says one.
    pub fn label(&self) -> Option<FileLabel> {
        let Some(row) = self.matches.label_row() else {
            return self.series.label.clone().map(|label| FileLabel { place: None, label: Some(label) });
        };
        let is_trusted = !self.ambiguous.contains(&row.place) && self.matches.contradiction().is_none();
        Some(FileLabel { place: Some(row.place), label: row.get("label").filter(|_| is_trusted).cloned() })
    }

    /// Whether a label table gives another label than a sidecar, or either of them another than the file's name.
    pub fn labels_differ(&self) -> bool {
        let mut told = self.matches.rows().filter_map(|row| Some((row.place.0 == labels::SIDECAR, row.get("label")?)));
        let Some((is_sidecar, first)) = told.next() else { return false };
        let differs = |own: &String| own != first;
        told.any(|(other, label)| other != is_sidecar && differs(label))
            || self.series.label.as_ref().is_some_and(differs)
    }

    fn age_years(&self) -> Option<f64> {
        let told = self.matches.get("age_years").and_then(|age| labels::age_years(age));
        told.or_else(|| self.series.person.age_years.map(f64::from)).map(|age| age.min(AGE_CAP_YEARS))
    }

    fn attributes(&self) -> BTreeMap<String, String> {
        let mut found = self.series.attributes.clone();
        let told = self.matches.attributes().into_iter();
        found.extend(told.filter_map(|(name, value)| Some((name, self.safe(&value)?))));
        found
    }
}

/// The stack's row, without its label and its groups.
pub fn stack_row(images: &[Image], stack: &Stack, subject: &Subject, facts: &Facts<'_>, ids: &Pseudonyms) -> StackRow {
    let first = &images[stack.frames[0][0]];
    let series = facts.series;
    let scanner = &series.scanner;
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let phases = stack.frames[0].len();
    let normal = stack.plane.map(|plane| plane.normal());
    let evidence = Evidence {
        is_cine: stack.kind.is_cine(),
        slices: stack.frames.len(),
        normal,
        description: &series.description,
        may_lack_orientation: series.format == Format::Nifti,
    };
    let view = if series.format == Format::Image {
        View { name: "other", evidence: "a picture without geometry".to_owned() }
    } else {
        view(&evidence)
    };
    let (vendor, site) = (facts.vendor(), facts.site(ids));
    let told_field = || facts.told("field_strength_t").and_then(|field| labels::field_strength(&field));
    let field_strength_raw = scanner.field_strength_raw.or_else(told_field);
    StackRow {
        stack_id: stack_id(images, stack, subject, ids),
        subject_id: subject.id.clone(),
        subject_source: subject.source.as_str().to_owned(),
        study_id: series.person.study_uid.as_ref().map(|uid| ids.of("study", &[uid])),
        view: view.name.to_owned(),
        kind: if stack.kind.is_cine() { "cine" } else { "static" }.to_owned(),
        view_evidence: format!("{}; {}", view.evidence, stack.kind.as_str()),
        phase_order: stack.phase_order.as_str().to_owned(),
        position_rule: stack.position_rule.text(),
        vendor_source: vendor.source.to_owned(),
        vendor: vendor.value,
        manufacturer_raw: scanner.manufacturer.clone(),
        model: facts.told("model").or_else(|| scanner.model.clone()),
        field_strength_t: field_strength_raw.and_then(groups::field_strength_t),
        field_strength_raw,
        site_source: site.source.to_owned(),
        site: site.value,
        station: facts.station(),
        software: facts.told("software").or_else(|| scanner.software.clone()),
        device: facts.device(ids),
        rows: i32::try_from(first.rows).unwrap_or(i32::MAX),
        columns: i32::try_from(first.columns).unwrap_or(i32::MAX),
        slices: count(stack.frames.len()),
        phases: count(phases),
        phases_expected: count(stack.phases_expected),
        positions_incomplete: count(stack.positions_incomplete),
        complete: stack.positions_incomplete == 0 && phases >= stack.phases_expected,
        axes: stack.plane.map(|plane| (plane.row, plane.column)),
        pixel_spacing_row_mm: stack.plane.map(|plane| plane.row_spacing_mm),
        pixel_spacing_column_mm: stack.plane.map(|plane| plane.column_spacing_mm),
        slice_spacing_mm: stack.slice_spacing_mm,
        slice_thickness_mm: series.slice_thickness_mm,
        label: None,
        acquisition_group: String::new(),
        group: String::new(),
        sex: facts.matches.get("sex").and_then(|sex| labels::sex(sex)).or_else(|| series.person.sex.clone()),
        age_years: facts.age_years(),
        source_split: facts.matches.get("split").cloned().or_else(|| series.split.clone()),
        source_format: series.format.as_str().to_owned(),
        attributes: facts.attributes(),
    }
}

/// From the instances alone, so that neither file names nor their order matter.
fn stack_id(images: &[Image], stack: &Stack, subject: &Subject, ids: &Pseudonyms) -> String {
    let mut members: Vec<String> = stack
        .frames
        .iter()
        .flatten()
        .map(|index| format!("{}#{}", images[*index].instance, images[*index].frame))
        .collect();
    members.sort();
    let parts: Vec<&str> = std::iter::once(subject.id.as_str()).chain(members.iter().map(String::as_str)).collect();
    ids.of("stack", &parts)
}

/// One row per 2-d image, by slice and phase.
pub fn frame_rows(images: &[Image], stack: &Stack, stack_id: &str, found: &[Found]) -> Vec<FrameRow> {
    let mut rows = Vec::with_capacity(stack.frames.len() * stack.frames[0].len());
    for (slice, phases) in (0_i32..).zip(&stack.frames) {
        for (phase, index) in (0_i32..).zip(phases) {
            let image = &images[*index];
            rows.push(FrameRow {
                stack_id: stack_id.to_owned(),
                slice,
                phase,
                path: found[image.file].path.to_string_lossy().into_owned(),
                frame: image.frame,
                trigger_time_ms: image.timing.trigger_time_ms,
                position_mm: position_of(images, *index),
            });
        }
    }
    rows
}
