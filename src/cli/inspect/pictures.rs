//! Reads the few frames that the pictures of a stack show, and draws them. One stack at a time per thread; large frames few at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;

use super::reasons;
use crate::context::Context;
use crate::formats::cohort::{FrameRow, StackRow};
use crate::ingest::pixels::{self, Channels, PixelsError};
use crate::ingest::{Opener, Scan};
use crate::sheet::{self, SLICE_PIXELS, Shown, Sketch, THUMBNAIL_PIXELS, Thumbnail, Wanted};

/// Pixels of full-size frames that one thread holds at once: 64 MB of float32.
const PIXELS_AT_ONCE: usize = 1 << 24;

/// A stack to be drawn.
pub(super) struct Job<'a> {
    pub(super) stack: &'a StackRow,
    pub(super) is_animated: bool,
}

/// (slice, phase), 0-based.
type Place = (usize, usize);

type Read<'a> = dyn Fn(&Path, &[i32]) -> Result<Vec<Channels>, PixelsError> + Sync + 'a;

/// The pictures of the jobs, in their order; `None` when interrupted.
pub(super) fn draw(scan: &Scan, jobs: &[Job<'_>], context: Context<'_>) -> Option<Vec<Shown>> {
    let opener = Opener::new();
    let read = |path: &Path, frames: &[i32]| pixels::read_frames(&opener, path, frames);
    let mut frames: BTreeMap<&str, Vec<&FrameRow>> = BTreeMap::new();
    for frame in &scan.frames {
        frames.entry(&frame.stack_id).or_default().push(frame);
    }
    context.observer.begin("drawing pictures", Some(jobs.len() as u64));
    let one = |job: &Job<'_>| {
        if context.interrupt.is_set() {
            return None;
        }
        let own = frames.get(job.stack.stack_id.as_str()).map_or(&[][..], Vec::as_slice);
        let shown = shown(job, own, &read);
        context.observer.advance(1);
        Some(shown)
    };
    let drawn = context.pool.install(|| jobs.par_iter().map(one).collect());
    context.observer.end();
    drawn
}

fn shown(job: &Job<'_>, frames: &[&FrameRow], read: &Read<'_>) -> Shown {
    let count = |count: i32| usize::try_from(count).unwrap_or(0);
    let wanted = sheet::wanted(count(job.stack.slices), count(job.stack.phases), job.is_animated);
    match sketch(job.stack, frames, &wanted, read) {
        Ok(sketch) => Thumbnail::draw(&sketch).map_or_else(
            || Shown::Unreadable("its files have no pixels".to_owned()),
            |thumbnail| Shown::Picture(Box::new(thumbnail)),
        ),
        Err(error) => {
            let reason = error.reason();
            tracing::warn!("a stack has no picture: {}", chain(&error));
            let remedy = reasons::remedy(reason).map_or_else(String::new, |remedy| format!(": {remedy}"));
            Shown::Unreadable(format!("Its pixels cannot be read ({reason}){remedy}."))
        }
    }
}

/// The wanted frames at the size of their pictures.
fn sketch(stack: &StackRow, frames: &[&FrameRow], wanted: &Wanted, read: &Read<'_>) -> Result<Sketch, PixelsError> {
    let side = |side: i32| usize::try_from(side).unwrap_or(0).max(1);
    let (rows, columns) = (side(stack.rows), side(stack.columns));
    let spacing_mm = stack.pixel_spacing_row_mm.zip(stack.pixel_spacing_column_mm);
    let large = sheet::fit(rows, columns, spacing_mm, THUMBNAIL_PIXELS);
    let small = sheet::fit(rows, columns, spacing_mm, SLICE_PIXELS);
    let in_cine: BTreeSet<Place> = wanted.phases.iter().map(|phase| (wanted.middle, *phase)).collect();
    let in_strip: BTreeSet<Place> = wanted.slices.iter().map(|slice| (*slice, 0)).collect();
    let place = |frame: &FrameRow| Some((usize::try_from(frame.slice).ok()?, usize::try_from(frame.phase).ok()?));
    let mut by_path: BTreeMap<&str, Vec<(Place, i32)>> = BTreeMap::new();
    for frame in frames {
        if let Some(place) = place(frame).filter(|place| in_cine.contains(place) || in_strip.contains(place)) {
            by_path.entry(&frame.path).or_default().push((place, frame.frame));
        }
    }
    let at_once = (PIXELS_AT_ONCE / rows.saturating_mul(columns)).max(1);
    let (mut cine, mut slices) = (BTreeMap::new(), BTreeMap::new());
    for (path, all) in by_path {
        for part in all.chunks(at_once) {
            let numbers: Vec<i32> = part.iter().map(|(_, number)| *number).collect();
            for ((place, _), channels) in part.iter().zip(read(Path::new(path), &numbers)?) {
                if in_cine.contains(place) {
                    cine.extend(sheet::reduce(&channels, large).map(|frame| (place.1, frame)));
                }
                if in_strip.contains(place) {
                    slices.extend(sheet::reduce(&channels, small).map(|frame| (place.0, frame)));
                }
            }
        }
    }
    Ok(Sketch {
        cine: cine.into_values().collect(),
        slices: slices.into_iter().collect(),
        beat_ms: beat_ms(frames, wanted.middle),
        ..Sketch::default()
    })
}

/// From the first to the last phase of a slice, and one step more to the next heartbeat.
fn beat_ms(frames: &[&FrameRow], slice: usize) -> Option<f64> {
    let of_slice = frames.iter().filter(|frame| usize::try_from(frame.slice) == Ok(slice));
    let times: Vec<f64> = of_slice.map(|frame| frame.trigger_time_ms).collect::<Option<_>>()?;
    let (first, last, steps) = (times.first()?, times.last()?, times.len().checked_sub(1)?);
    (steps > 0 && last > first).then(|| (last - first) * (steps + 1) as f64 / steps as f64)
}

/// An error with its causes; for stderr alone.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source()).map(|cause| format!(": {cause}"));
    std::iter::once(error.to_string()).chain(causes).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::sheet::Frame;

    fn frame(slice: i32, phase: i32) -> FrameRow {
        FrameRow {
            stack_id: "s".into(),
            slice,
            phase,
            path: if slice == 0 { "a".into() } else { "b".into() },
            frame: 10 * slice + phase,
            trigger_time_ms: Some(20.0 + 40.0 * f64::from(phase)),
            position_mm: None,
        }
    }

    fn stack() -> StackRow {
        let side = 100;
        StackRow { rows: side, columns: side, slices: 3, phases: 4, ..StackRow::default() }
    }

    /// Each frame is filled with its number.
    fn read(_: &Path, frames: &[i32]) -> Result<Vec<Channels>, PixelsError> {
        Ok(frames.iter().map(|frame| vec![Array2::from_elem((100, 100), *frame as f32)]).collect())
    }

    fn first_value(frame: &Frame) -> f32 {
        match frame {
            Frame::Grey(channel) => channel[(0, 0)],
            Frame::Colour(_) => panic!("grey was read"),
        }
    }

    #[test]
    fn the_middle_slice_at_all_phases_and_three_slices_at_the_first_are_read_and_no_others() {
        let rows: Vec<FrameRow> = (0..3).flat_map(|slice| (0..4).map(move |phase| frame(slice, phase))).collect();
        let frames: Vec<&FrameRow> = rows.iter().rev().collect();
        let sketch = sketch(&stack(), &frames, &sheet::wanted(3, 4, true), &read).unwrap();
        assert_eq!(sketch.cine.iter().map(first_value).collect::<Vec<_>>(), [10.0, 11.0, 12.0, 13.0]);
        let slices: Vec<(usize, f32)> =
            sketch.slices.iter().map(|(slice, frame)| (*slice, first_value(frame))).collect();
        assert_eq!(slices, [(0, 0.0), (1, 10.0), (2, 20.0)]);
    }

    /// By hand: 20, 60, 100, 140 ms: the next heartbeat is at 180.
    #[test]
    fn a_heartbeat_lasts_until_the_next_one() {
        let rows: Vec<FrameRow> = (0..4).map(|phase| frame(1, phase)).collect();
        assert_eq!(beat_ms(&rows.iter().collect::<Vec<_>>(), 1), Some(160.0));
        assert_eq!(beat_ms(&[&rows[0]], 1), None);
        assert_eq!(beat_ms(&[], 1), None);
    }

    #[test]
    fn pixels_that_cannot_be_read_are_a_reason_without_a_path() {
        let gone = |path: &Path, _: &[i32]| Err(PixelsError::Panicked { path: path.to_path_buf() });
        let row = FrameRow { path: "/export/Muster^Max/1".into(), ..frame(0, 0) };
        let single = StackRow { slices: 1, phases: 1, ..stack() };
        let found = shown(&Job { stack: &single, is_animated: false }, &[&row], &gone);
        let Shown::Unreadable(text) = found else { panic!("{found:?}") };
        assert_eq!(text, "Its pixels cannot be read (malformed): export the file again.");
    }
}
