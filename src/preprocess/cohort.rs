//! The COHORT as preprocessing reads it: `cohort.json`'s hash, `stacks.parquet` and `frames.parquet` by the design's columns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::PreprocessError;
use super::source::{CohortFrame, CohortStack};
use crate::formats::cohort::{FrameRow, StackRow, frames_to_table, stacks_to_table};
use crate::formats::dataset::read_json;
use crate::formats::table::{Table, TableError};

/// Stacks sorted by subject and stack, each with its frames.
#[derive(Debug, Clone, Default)]
pub struct Cohort {
    /// `content_hash` of `cohort.json`.
    pub content_hash: String,
    /// By (subject_id, stack_id).
    pub stacks: Vec<CohortStack>,
    /// By stack, slice and phase.
    frames: BTreeMap<String, Vec<CohortFrame>>,
}

/// What is read of `cohort.json`.
#[derive(serde::Deserialize)]
struct CohortHead {
    content_hash: String,
}

/// What is read of `groups.json`.
#[derive(serde::Deserialize)]
struct Groups {
    #[serde(default)]
    held_out: Vec<String>,
}

/// Acquisition groups that ingest's rule for small groups holds out of training.
///
/// # Errors
/// [`PreprocessError::Cohort`].
pub fn held_out(folder: &Path) -> Result<Vec<String>, PreprocessError> {
    let groups: Result<Groups, _> = read_json(&folder.join("groups.json"));
    let wrong = |error: Box<dyn std::error::Error + Send + Sync>| PreprocessError::Cohort {
        path: folder.to_path_buf(),
        source: error,
    };
    Ok(groups.map_err(|error| wrong(error.into()))?.held_out)
}

impl Cohort {
    /// A cohort of these stacks and frames (by stack id).
    pub fn new(content_hash: String, mut stacks: Vec<CohortStack>, frames: BTreeMap<String, Vec<CohortFrame>>) -> Self {
        stacks.sort_by(|a, b| (&a.subject_id, &a.stack_id).cmp(&(&b.subject_id, &b.stack_id)));
        Self { content_hash, stacks, frames }
    }

    /// Reads a COHORT folder.
    ///
    /// # Errors
    /// [`PreprocessError::Cohort`].
    pub fn read(folder: &Path) -> Result<Self, PreprocessError> {
        let wrong = |source: Box<dyn std::error::Error + Send + Sync>| PreprocessError::Cohort {
            path: folder.to_path_buf(),
            source,
        };
        let head: CohortHead = read_json(&folder.join("cohort.json")).map_err(|error| wrong(error.into()))?;
        let read = |name: &str| Table::read_parquet(&folder.join(name));
        let stacks = read("stacks.parquet").and_then(|table| stacks(&table)).map_err(|error| wrong(error.into()))?;
        let frames = read("frames.parquet").and_then(|table| frames(&table)).map_err(|error| wrong(error.into()))?;
        Ok(Self::new(head.content_hash, stacks, frames))
    }

    /// A cohort of ingest's rows, as if they had been written and read.
    ///
    /// # Errors
    /// [`TableError`] for a row outside the format.
    pub fn from_rows(content_hash: &str, rows: &[StackRow], frame_rows: &[FrameRow]) -> Result<Self, TableError> {
        let stacks = stacks(&stacks_to_table(rows))?;
        Ok(Self::new(content_hash.to_owned(), stacks, frames(&frames_to_table(frame_rows))?))
    }

    /// The stacks by their ids.
    pub fn by_id(&self) -> BTreeMap<&str, &CohortStack> {
        self.stacks.iter().map(|stack| (stack.stack_id.as_str(), stack)).collect()
    }

    /// The frames of a stack.
    pub fn frames_of(&self, stack: &CohortStack) -> &[CohortFrame] {
        self.frames.get(&stack.stack_id).map_or(&[], Vec::as_slice)
    }
}

fn count(value: Option<i32>) -> usize {
    value.and_then(|value| usize::try_from(value).ok()).unwrap_or(0)
}

fn stacks(table: &Table) -> Result<Vec<CohortStack>, TableError> {
    let text = |name: &str| table.text(name);
    let float = |name: &str| table.float64(name);
    let (stack_id, subject_id) = (table.required_text("stack_id")?, table.required_text("subject_id")?);
    let (view, kind, format) = (text("view")?, text("kind")?, text("source_format")?);
    let sizes = ["rows", "columns", "slices", "phases", "phases_expected"].map(|name| table.int32(name));
    let [rows, columns, slices, phases, phases_expected] = sizes;
    let (rows, columns, slices, phases, phases_expected) = (rows?, columns?, slices?, phases?, phases_expected?);
    let vector = |prefix: &str| -> Result<[&[Option<f64>]; 3], TableError> {
        Ok([float(&format!("{prefix}_x"))?, float(&format!("{prefix}_y"))?, float(&format!("{prefix}_z"))?])
    };
    let (row_vector, column_vector) = (vector("row")?, vector("column")?);
    let spacing = (float("pixel_spacing_row_mm")?, float("pixel_spacing_column_mm")?);
    let (label, source_split) = (text("label")?, text("source_split")?);
    let (acquisition_group, group) = (table.required_text("acquisition_group")?, table.required_text("group")?);
    let (site, vendor, model, sex) = (text("site")?, text("vendor")?, text("model")?, text("sex")?);
    let (field_strength_t, age_years) = (float("field_strength_t")?, float("age_years")?);
    let at = |vector: &[&[Option<f64>]; 3], row: usize| Some([vector[0][row]?, vector[1][row]?, vector[2][row]?]);
    let attributes: Vec<&str> = table.names().filter(|name| name.starts_with("attr_")).collect();
    let stack = |row: usize| CohortStack {
        stack_id: stack_id[row].clone(),
        subject_id: subject_id[row].clone(),
        view: view[row].clone().unwrap_or_else(|| "other".to_owned()),
        kind: kind[row].clone().unwrap_or_else(|| "static".to_owned()),
        is_plain_image: format[row].as_deref().is_some_and(is_image_format),
        rows: count(rows[row]),
        columns: count(columns[row]),
        slices: count(slices[row]),
        phases: count(phases[row]),
        phases_expected: count(phases_expected[row]),
        axes: at(&row_vector, row).zip(at(&column_vector, row)),
        spacing_mm: spacing.0[row].zip(spacing.1[row]),
        label: label[row].clone(),
        acquisition_group: acquisition_group[row].clone(),
        group: group[row].clone(),
        site: site[row].clone(),
        vendor: vendor[row].clone(),
        model: model[row].clone(),
        field_strength_t: field_strength_t[row],
        sex: sex[row].clone(),
        age_years: age_years[row],
        source_split: source_split[row].clone(),
        attributes: attributes
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), table.text(name).ok()?[row].clone()?)))
            .collect(),
    };
    Ok((0..table.rows()).map(stack).collect())
}

/// Whether a `source_format` is a plain image without geometry.
fn is_image_format(format: &str) -> bool {
    matches!(format, "image" | "png" | "jpeg" | "jpg")
}

fn frames(table: &Table) -> Result<BTreeMap<String, Vec<CohortFrame>>, TableError> {
    let stack_id = table.text("stack_id")?;
    let (slice, phase, frame) = (table.int32("slice")?, table.int32("phase")?, table.int32("frame")?);
    let path = table.text("path")?;
    let position = [table.float64("position_x_mm")?, table.float64("position_y_mm")?, table.float64("position_z_mm")?];
    let mut found: BTreeMap<String, Vec<CohortFrame>> = BTreeMap::new();
    for row in 0..table.rows() {
        let null = |column: &str| TableError::Null { column: column.to_owned(), row };
        let index = |value: Option<i32>, column: &str| {
            value
                .and_then(|value| usize::try_from(value).ok())
                .filter(|&index| index < 1 << 20)
                .ok_or_else(|| null(column))
        };
        let one = CohortFrame {
            slice: index(slice[row], "slice")?,
            phase: index(phase[row], "phase")?,
            path: PathBuf::from(path[row].as_deref().ok_or_else(|| null("path"))?),
            frame: frame[row].unwrap_or(0),
            position_mm: position[0][row].zip(position[1][row]).zip(position[2][row]).map(|((x, y), z)| [x, y, z]),
        };
        let stack = stack_id[row].as_deref().ok_or_else(|| null("stack_id"))?;
        match found.get_mut(stack) {
            Some(frames) => frames.push(one),
            None => drop(found.insert(stack.to_owned(), vec![one])),
        }
    }
    for frames in found.values_mut() {
        frames.sort_by_key(|frame| (frame.slice, frame.phase));
    }
    Ok(found)
}
