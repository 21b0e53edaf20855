//! The files of a COHORT (design, section 3): `cohort.json`, `groups.json`, `stacks.parquet`, `frames.parquet`, `ledger.parquet`
//! and `ledger.csv`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::table::{Column, Table};

/// The folder's JSON, written last.
pub const COHORT_JSON: &str = "cohort.json";
/// Both kinds of groups with their counts.
pub const GROUPS_JSON: &str = "groups.json";
/// One row per stack.
pub const STACKS_PARQUET: &str = "stacks.parquet";
/// One row per 2-d image.
pub const FRAMES_PARQUET: &str = "frames.parquet";
/// One row per file found; a CSV twin lies beside it.
pub const LEDGER_PARQUET: &str = "ledger.parquet";
/// `schema` of `cohort.json`.
pub const COHORT_SCHEMA: &str = "groupdistil.cohort/1";
/// `schema` of `groups.json`.
pub const GROUPS_SCHEMA: &str = "groupdistil.groups/1";

/// One row of `stacks.parquet`: a geometric stack, positions x phases. `None` is unknown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StackRow {
    /// 26 characters of base32.
    pub stack_id: String,
    /// Pseudonym of the patient.
    pub subject_id: String,
    /// What the pseudonym was made from: `patient-id`, `study-uid` or `folder`.
    pub subject_source: String,
    /// Pseudonym of the study.
    pub study_id: Option<String>,
    /// `sax`, `2ch`, `3ch`, `4ch`, `scout` or `other`.
    pub view: String,
    /// `cine` or `static`.
    pub kind: String,
    /// What view and kind were told by.
    pub view_evidence: String,
    /// What the phases are ordered by: `trigger-time`, `temporal-position`, `acquisition-number`, `instance-number`, `file-order`, or
    /// `none` for one phase.
    pub phase_order: String,
    /// What the positions are ordered by, and what was decided on the way: `projection` or `slice-number`, then words joined by `+`.
    pub position_rule: String,
    /// Normalised vendor.
    pub vendor: Option<String>,
    /// Where the vendor is from: `table`, `sidecar`, `file` or `unknown`.
    pub vendor_source: String,
    /// Manufacturer as in the file.
    pub manufacturer_raw: Option<String>,
    /// ManufacturerModelName.
    pub model: Option<String>,
    /// Snapped field strength, T.
    pub field_strength_t: Option<f64>,
    /// Field strength as in the file.
    pub field_strength_raw: Option<f64>,
    /// Site.
    pub site: Option<String>,
    /// Where the site is from: `table`, `sidecar`, `site-map`, `institution`, `station`, `device-serial`, `folder` or `unknown`.
    pub site_source: String,
    /// StationName.
    pub station: Option<String>,
    /// SoftwareVersions.
    pub software: Option<String>,
    /// Pseudonym of the scanner's serial number.
    pub device: Option<String>,
    /// Rows of every frame.
    pub rows: i32,
    /// Columns of every frame.
    pub columns: i32,
    /// Whole positions.
    pub slices: i32,
    /// Phases at every whole position.
    pub phases: i32,
    /// Phases that the source announced.
    pub phases_expected: i32,
    /// Positions left out for having fewer phases.
    pub positions_incomplete: i32,
    /// No incomplete position and at least `phases_expected` phases.
    pub complete: bool,
    /// Unit vectors of increasing column index and of increasing row index, LPS.
    pub axes: Option<([f64; 3], [f64; 3])>,
    /// Distance of adjacent rows, mm.
    pub pixel_spacing_row_mm: Option<f64>,
    /// Distance of adjacent columns, mm.
    pub pixel_spacing_column_mm: Option<f64>,
    /// Median distance of adjacent positions, mm; `None` for one position.
    pub slice_spacing_mm: Option<f64>,
    /// SliceThickness, mm.
    pub slice_thickness_mm: Option<f64>,
    /// Class.
    pub label: Option<String>,
    /// Group without the label.
    pub acquisition_group: String,
    /// Group that drives q.
    pub group: String,
    /// `M`, `F` or `O`.
    pub sex: Option<String>,
    /// Age, years; 90 for all above 89.
    pub age_years: Option<f64>,
    /// Split named by the source.
    pub source_split: Option<String>,
    /// `dicom`, `nifti` or `image`.
    pub source_format: String,
    /// Mapped CSV columns by name, without the `attr_` prefix.
    pub attributes: BTreeMap<String, String>,
}

/// One row of `frames.parquet`.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameRow {
    /// The stack.
    pub stack_id: String,
    /// 0-based, ascending along row x column.
    pub slice: i32,
    /// 0-based rank of the trigger time within the position.
    pub phase: i32,
    /// The file. Private.
    pub path: String,
    /// 0-based frame in the file.
    pub frame: i32,
    /// Time after the R wave, ms.
    pub trigger_time_ms: Option<f64>,
    /// Centre of the first pixel, LPS mm.
    pub position_mm: Option<[f64; 3]>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Gave a frame, or was read as labels, sidecar or container.
    Used,
    /// Understood and not wanted.
    Skipped,
    /// Could not be understood.
    Rejected,
}

impl Outcome {
    /// As written in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Skipped => "skipped",
            Self::Rejected => "rejected",
        }
    }
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// The file. Private.
    pub path: String,
    /// Its size.
    pub bytes: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// One of the closed list in `docs/ledger.md`.
    pub reason: String,
    /// For people, with the remedy.
    pub message: String,
}

/// How many there are of each in a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCounts {
    /// Position in the byte-sorted list, the index in q.
    pub index: usize,
    /// Group name.
    pub name: String,
    /// Subjects.
    pub subjects: usize,
    /// Stacks.
    pub stacks: usize,
    /// Subjects per label; `unlabelled` for those without.
    pub labels: BTreeMap<String, usize>,
}

/// `groups.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupsJson {
    /// [`GROUPS_SCHEMA`].
    pub schema: String,
    /// The `--group-by` values in order.
    pub group_by: Vec<String>,
    /// Groups that drive q, over labelled short-axis cines and images.
    pub groups: Vec<GroupCounts>,
    /// Groups without the label.
    pub acquisition_groups: Vec<GroupCounts>,
    /// Acquisition groups that are for the test alone, by the rule for small groups.
    #[serde(default)]
    pub held_out: Vec<String>,
    /// Groups too small to train or to judge, and metadata that contradict each other.
    pub warnings: Vec<String>,
}

/// Counts of `cohort.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CohortCounts {
    /// Files found, archive members included.
    pub files: usize,
    /// Files per outcome.
    pub outcomes: BTreeMap<String, usize>,
    /// Files per reason.
    pub reasons: BTreeMap<String, usize>,
    /// Subjects with a stack.
    pub subjects: usize,
    /// Stacks.
    pub stacks: usize,
    /// Stacks per `view kind`.
    pub views: BTreeMap<String, usize>,
    /// 2-d images.
    pub frames: usize,
    /// Stacks with a label.
    pub labelled_stacks: usize,
    /// Label rows that matched nothing.
    pub labels_unmatched: usize,
}

/// `cohort.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CohortJson {
    /// [`COHORT_SCHEMA`].
    pub schema: String,
    /// The resolved settings.
    pub settings: serde_json::Value,
    /// Counts.
    pub counts: CohortCounts,
    /// What a group is made of.
    pub group_by: Vec<String>,
    /// SHA-256 over the sorted stack and frame rows, without paths.
    pub content_hash: String,
}

fn text<R>(rows: &[R], value: impl Fn(&R) -> Option<&str>) -> Column {
    Column::Text(rows.iter().map(|row| value(row).map(str::to_owned)).collect())
}

fn float<R>(rows: &[R], value: impl Fn(&R) -> Option<f64>) -> Column {
    Column::Float64(rows.iter().map(value).collect())
}

fn int<R>(rows: &[R], value: impl Fn(&R) -> i32) -> Column {
    Column::Int32(rows.iter().map(|row| Some(value(row))).collect())
}

/// `stacks.parquet` from its rows.
pub fn stacks_to_table(rows: &[StackRow]) -> Table {
    let axis = |pick: fn(&([f64; 3], [f64; 3])) -> f64| float(rows, move |row| row.axes.as_ref().map(pick));
    let table = Table::new()
        .with("stack_id", text(rows, |row| Some(&row.stack_id)))
        .with("subject_id", text(rows, |row| Some(&row.subject_id)))
        .with("subject_source", text(rows, |row| Some(&row.subject_source)))
        .with("study_id", text(rows, |row| row.study_id.as_deref()))
        .with("view", text(rows, |row| Some(&row.view)))
        .with("kind", text(rows, |row| Some(&row.kind)))
        .with("view_evidence", text(rows, |row| Some(&row.view_evidence)))
        .with("phase_order", text(rows, |row| Some(&row.phase_order)))
        .with("position_rule", text(rows, |row| Some(&row.position_rule)))
        .with("vendor", text(rows, |row| row.vendor.as_deref()))
        .with("vendor_source", text(rows, |row| Some(&row.vendor_source)))
        .with("manufacturer_raw", text(rows, |row| row.manufacturer_raw.as_deref()))
        .with("model", text(rows, |row| row.model.as_deref()))
        .with("field_strength_t", float(rows, |row| row.field_strength_t))
        .with("field_strength_raw", float(rows, |row| row.field_strength_raw))
        .with("site", text(rows, |row| row.site.as_deref()))
        .with("site_source", text(rows, |row| Some(&row.site_source)))
        .with("station", text(rows, |row| row.station.as_deref()))
        .with("software", text(rows, |row| row.software.as_deref()))
        .with("device", text(rows, |row| row.device.as_deref()))
        .with("rows", int(rows, |row| row.rows))
        .with("columns", int(rows, |row| row.columns))
        .with("slices", int(rows, |row| row.slices))
        .with("phases", int(rows, |row| row.phases))
        .with("phases_expected", int(rows, |row| row.phases_expected))
        .with("positions_incomplete", int(rows, |row| row.positions_incomplete))
        .with("complete", Column::Bool(rows.iter().map(|row| Some(row.complete)).collect()))
        .with("row_x", axis(|axes| axes.0[0]))
        .with("row_y", axis(|axes| axes.0[1]))
        .with("row_z", axis(|axes| axes.0[2]))
        .with("column_x", axis(|axes| axes.1[0]))
        .with("column_y", axis(|axes| axes.1[1]))
        .with("column_z", axis(|axes| axes.1[2]))
        .with("pixel_spacing_row_mm", float(rows, |row| row.pixel_spacing_row_mm))
        .with("pixel_spacing_column_mm", float(rows, |row| row.pixel_spacing_column_mm))
        .with("slice_spacing_mm", float(rows, |row| row.slice_spacing_mm))
        .with("slice_thickness_mm", float(rows, |row| row.slice_thickness_mm))
        .with("label", text(rows, |row| row.label.as_deref()))
        .with("acquisition_group", text(rows, |row| Some(&row.acquisition_group)))
        .with("group", text(rows, |row| Some(&row.group)))
        .with("sex", text(rows, |row| row.sex.as_deref()))
        .with("age_years", float(rows, |row| row.age_years))
        .with("source_split", text(rows, |row| row.source_split.as_deref()))
        .with("source_format", text(rows, |row| Some(&row.source_format)));
    let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.attributes.keys()).collect();
    names.into_iter().fold(table, |table, name| {
        table.with(&format!("attr_{name}"), text(rows, |row| row.attributes.get(name).map(String::as_str)))
    })
}

/// `frames.parquet` from its rows.
pub fn frames_to_table(rows: &[FrameRow]) -> Table {
    let position = |axis: usize| float(rows, move |row: &FrameRow| row.position_mm.map(|position| position[axis]));
    Table::new()
        .with("stack_id", text(rows, |row| Some(&row.stack_id)))
        .with("slice", int(rows, |row| row.slice))
        .with("phase", int(rows, |row| row.phase))
        .with("path", text(rows, |row| Some(&row.path)))
        .with("frame", int(rows, |row| row.frame))
        .with("trigger_time_ms", float(rows, |row| row.trigger_time_ms))
        .with("position_x_mm", position(0))
        .with("position_y_mm", position(1))
        .with("position_z_mm", position(2))
}

/// The ledger from its rows.
pub fn ledger_to_table(rows: &[LedgerRow]) -> Table {
    Table::new()
        .with("path", text(rows, |row| Some(&row.path)))
        .with("bytes", Column::Int64(rows.iter().map(|row| Some(row.bytes)).collect()))
        .with("outcome", text(rows, |row| Some(row.outcome.as_str())))
        .with("reason", text(rows, |row| Some(&row.reason)))
        .with("message", text(rows, |row| Some(&row.message)))
}
