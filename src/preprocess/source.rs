//! Stacks of a COHORT as preprocessing sees them, and their pixels as [`StackImages`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use rayon::prelude::*;

use super::prepare::StackImages;
use super::rejected::StackRejected;
use crate::formats::plan::CardiacPhases;
use crate::ingest::{Opener, pixels};

/// One stack of `stacks.parquet`, with what preprocessing and the samples need. `None` is unknown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CohortStack {
    /// The stack.
    pub stack_id: String,
    /// Its subject.
    pub subject_id: String,
    /// `sax`, `2ch`, ...; `other` where unknown.
    pub view: String,
    /// `cine` or `static`.
    pub kind: String,
    /// Whether the source is a plain image (PNG, JPEG) without geometry.
    pub is_plain_image: bool,
    /// Rows of every frame.
    pub rows: usize,
    /// Columns of every frame.
    pub columns: usize,
    /// Positions.
    pub slices: usize,
    /// Phases at every position.
    pub phases: usize,
    /// Phases that the source announced.
    pub phases_expected: usize,
    /// Unit vectors of increasing column index and of increasing row index, LPS.
    pub axes: Option<([f64; 3], [f64; 3])>,
    /// (distance of rows, distance of columns), mm.
    pub spacing_mm: Option<(f64, f64)>,
    /// Class.
    pub label: Option<String>,
    /// Group without label.
    pub acquisition_group: String,
    /// Group that drives q.
    pub group: String,
    /// Site.
    pub site: Option<String>,
    /// Normalised vendor.
    pub vendor: Option<String>,
    /// Scanner model.
    pub model: Option<String>,
    /// Field strength, T.
    pub field_strength_t: Option<f64>,
    /// Sex.
    pub sex: Option<String>,
    /// Age, years.
    pub age_years: Option<f64>,
    /// Split named by the source.
    pub source_split: Option<String>,
    /// `attr_<name>` columns that are filled.
    pub attributes: BTreeMap<String, String>,
}

/// One frame of a stack: where its pixels are.
#[derive(Debug, Clone, PartialEq)]
pub struct CohortFrame {
    /// 0-based position along the normal.
    pub slice: usize,
    /// 0-based phase.
    pub phase: usize,
    /// The file.
    pub path: PathBuf,
    /// 0-based frame in the file.
    pub frame: i32,
    /// Centre of the first pixel, LPS mm.
    pub position_mm: Option<[f64; 3]>,
}

/// Reads frames of one file: per frame its channels, `[rows, columns]` each, modality rescale applied.
pub type ReadFrames<'a> =
    dyn Fn(&Path, &[i32]) -> Result<Vec<Vec<Array2<f32>>>, Box<dyn std::error::Error + Send + Sync>> + Sync + 'a;

/// A reader of any source that ingest knows; it keeps the archives open that it reads from.
///
/// Its errors are [`pixels::PixelsError`], with the path.
pub fn reader() -> Box<ReadFrames<'static>> {
    let opener = Opener::new();
    Box::new(move |path, frames| Ok(pixels::read_frames(&opener, path, frames)?))
}

/// Bytes that preparing this stack may hold at once: all frames in float32, the copy that orientation makes of one of them, the
/// reduced cine, and the file that is being decoded.
pub fn memory_bytes(stack: &CohortStack) -> u64 {
    let pixels = (stack.rows as u64).saturating_mul(stack.columns as u64);
    let frames = (stack.slices as u64).saturating_mul(stack.phases as u64).max(1);
    let channels = if stack.is_plain_image { 3 } else { 1 };
    let decoded = pixels.saturating_mul(frames).saturating_mul(4 * channels);
    decoded.saturating_add(decoded / 2).saturating_add(1 << 20)
}

/// Reads the pixels of a stack; each file is opened once, several at a time.
///
/// # Errors
/// [`StackRejected::NoFrames`], [`StackRejected::Grid`] or [`StackRejected::Unreadable`]; the file and its reason go to stderr.
pub fn read_stack(
    stack: &CohortStack,
    frames: &[CohortFrame],
    read: &ReadFrames<'_>,
) -> Result<StackImages, StackRejected> {
    if frames.is_empty() {
        return Err(StackRejected::NoFrames);
    }
    let slices = frames.iter().map(|frame| frame.slice).max().map_or(0, |last| last + 1);
    let phases = frames.iter().map(|frame| frame.phase).max().map_or(0, |last| last + 1);
    let grid = StackRejected::Grid { found: frames.len(), slices, phases };
    if slices.checked_mul(phases) != Some(frames.len()) {
        return Err(grid);
    }
    let mut by_path: BTreeMap<&Path, Vec<&CohortFrame>> = BTreeMap::new();
    for frame in frames {
        by_path.entry(&frame.path).or_default().push(frame);
    }
    let by_path: Vec<(&Path, Vec<&CohortFrame>)> = by_path.into_iter().collect();
    let read_file = |(path, wanted): &(&Path, Vec<&CohortFrame>)| {
        let numbers: Vec<i32> = wanted.iter().map(|frame| frame.frame).collect();
        read(path, &numbers)
    };
    let files: Vec<_> = by_path.par_iter().map(read_file).collect();
    let mut places: Vec<Vec<Option<Vec<Array2<f32>>>>> = vec![vec![None; phases]; slices];
    for ((path, wanted), found) in by_path.into_iter().zip(files) {
        let unreadable = StackRejected::Unreadable { slice: wanted[0].slice, phase: wanted[0].phase };
        let found = found.map_err(|error| {
            tracing::warn!(path = %path.display(), stack = stack.stack_id, "stack left out: {}", chain(error.as_ref()));
            unreadable.clone()
        })?;
        if found.len() != wanted.len() || found.iter().any(Vec::is_empty) {
            return Err(unreadable);
        }
        for (frame, channels) in wanted.into_iter().zip(found) {
            places[frame.slice][frame.phase] = Some(channels);
        }
    }
    let complete: Option<Vec<Vec<_>>> = places.into_iter().map(|phases| phases.into_iter().collect()).collect();
    Ok(StackImages {
        frames: complete.ok_or(grid)?,
        spacing_mm: stack.spacing_mm,
        axes: stack.axes,
        positions_mm: positions(frames, slices),
        known_phases: None,
    })
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source()).map(|cause| format!(": {cause}"));
    std::iter::once(error.to_string()).chain(causes).collect()
}

/// Position of each slice by its first phase; empty where one is unknown.
fn positions(frames: &[CohortFrame], slices: usize) -> Vec<[f64; 3]> {
    let mut found = vec![None; slices];
    for frame in frames.iter().filter(|frame| frame.phase == 0) {
        found[frame.slice] = frame.position_mm;
    }
    found.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// (end-diastole, end-systole) of a stack, 0-based, where the plan names columns and both are whole numbers.
pub fn known_phases(plan: &CardiacPhases, stack: &CohortStack) -> Option<(i32, i32)> {
    let CardiacPhases::Columns { end_diastole, end_systole, first } = plan else { return None };
    let phase = |column: &String| {
        let value: f64 = stack.attributes.get(column)?.trim().parse().ok()?;
        // CSV writers turn whole numbers into floats where a column has gaps: "9.0".
        let whole = value.fract() == 0.0 && value.abs() < 1e6;
        whole.then(|| value as i32 - first)
    };
    Some((phase(end_diastole)?, phase(end_systole)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(slice: usize, phase: usize, path: &str, frame: i32) -> CohortFrame {
        CohortFrame { slice, phase, path: path.into(), frame, position_mm: Some([0.0, 0.0, slice as f64]) }
    }

    fn read(path: &Path, frames: &[i32]) -> Result<Vec<Vec<Array2<f32>>>, Box<dyn std::error::Error + Send + Sync>> {
        if path.ends_with("bad") {
            return Err("truncated".into());
        }
        let base = if path.ends_with("b") { 100.0 } else { 0.0 };
        Ok(frames.iter().map(|&frame| vec![Array2::from_elem((2, 2), base + frame as f32)]).collect())
    }

    #[test]
    fn frames_of_several_files_are_put_in_their_places() {
        let frames = [frame(0, 0, "a", 3), frame(0, 1, "b", 0), frame(1, 0, "a", 1), frame(1, 1, "b", 2)];
        let stack = read_stack(&CohortStack::default(), &frames, &read).unwrap();
        let value = |slice: usize, phase: usize| stack.frames[slice][phase][0][(0, 0)];
        assert_eq!([value(0, 0), value(0, 1), value(1, 0), value(1, 1)], [3.0, 100.0, 1.0, 102.0]);
        assert_eq!(stack.positions_mm, [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]);
    }

    #[test]
    fn holes_and_bad_files_are_rejected() {
        let hole = [frame(0, 0, "a", 0), frame(1, 1, "a", 1)];
        assert_eq!(read_stack(&CohortStack::default(), &hole, &read).unwrap_err().reason(), "incomplete-grid");
        let twice = [frame(0, 0, "a", 0), frame(0, 0, "a", 1), frame(0, 1, "a", 1), frame(1, 1, "a", 1)];
        assert_eq!(read_stack(&CohortStack::default(), &twice, &read).unwrap_err().reason(), "incomplete-grid");
        let bad = [frame(0, 0, "bad", 0)];
        assert_eq!(read_stack(&CohortStack::default(), &bad, &read).unwrap_err().reason(), "unreadable");
    }

    #[test]
    fn phases_come_from_named_columns_counted_from_their_first() {
        let attributes = [("attr_ed", "1"), ("attr_es", "10.0")];
        let stack = CohortStack {
            attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..CohortStack::default()
        };
        let columns =
            |first| CardiacPhases::Columns { end_diastole: "attr_ed".into(), end_systole: "attr_es".into(), first };
        assert_eq!(known_phases(&columns(1), &stack), Some((0, 9)));
        assert_eq!(known_phases(&columns(0), &stack), Some((1, 10)));
        assert_eq!(known_phases(&CardiacPhases::AreaCurve, &stack), None);
    }
}
