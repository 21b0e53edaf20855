//! Geometric stacks across series: images of one subject and study, one plane and matrix, sorted into positions x phases.
//!
//! Rules, in order:
//! 1. Images stay apart by study, frame of reference (of their series), matrix, contrast and plane (axes within 1 degree, spacing
//!    within 1 %).
//! 2. Positions are projections on the normal; closer than 0.5 mm is one position.
//! 3. At one position each series (and, where its trigger times repeat, each acquisition) is a candidate. Cine and static
//!    candidates belong to different stacks. The candidate with most phases stands; among equals the last acquired. The others
//!    are skipped as `superseded-position`.
//! 4. Phases of a stack = the commonest count over positions (ties: the larger). Positions with fewer are left out as
//!    `incomplete-position`; positions with more make a stack of their own.

use std::collections::BTreeMap;

use super::image::{Format, Image};
use crate::geometry::{Plane, Vector, dot, median, subtract};

/// Projections on the normal closer than this are one position, mm.
const POSITION_TOLERANCE_MM: f64 = 0.5;
/// Cosine of 1 degree.
const SAME_DIRECTION: f64 = 0.999_85;
/// Relative difference of equal spacings.
const SAME_SPACING: f64 = 0.01;
/// Trigger times closer than this are one, ms.
const SAME_TIME_MS: f64 = 0.05;

/// One assembled stack.
#[derive(Debug, Clone)]
pub struct Stack {
    /// `frames[slice][phase]`, indices into the list of images.
    pub frames: Vec<Vec<usize>>,
    /// Positions that were left out for having fewer phases.
    pub positions_incomplete: usize,
    /// Phases that the source announced, at least those found.
    pub phases_expected: usize,
    /// Whether cardiac phases were acquired.
    pub is_cine: bool,
    /// Orientation and spacing.
    pub plane: Option<Plane>,
    /// Median distance of adjacent positions, mm.
    pub slice_spacing_mm: Option<f64>,
}

/// Why an image gave no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unused {
    /// Its position has fewer phases than the stack.
    IncompletePosition,
    /// Another acquisition of its position was used.
    Superseded,
}

/// Stacks, and the images that are in none.
#[derive(Debug, Default)]
pub struct Assembly {
    /// In the order of their first image.
    pub stacks: Vec<Stack>,
    /// Image index and reason.
    pub unused: Vec<(usize, Unused)>,
}

/// What must be equal within a stack, besides the plane.
type Key<'a> = (&'a str, &'a str, &'a str, u32, u32, &'a str, Format);

/// Frame of reference of each series. All images of a series share one (PS3.3 C.7.4.1); where they do not, an anonymiser made one
/// up for every file, and it says nothing.
fn frames_of_reference(images: &[Image]) -> BTreeMap<&str, Option<&str>> {
    let mut frames: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for image in images {
        let own = image.series.frame_of_reference.as_str();
        let known = frames.entry(&image.series.series_uid).or_insert(Some(own));
        if *known != Some(own) {
            *known = None;
        }
    }
    frames
}

fn key<'a>(image: &'a Image, subject: &'a str, frames: &BTreeMap<&'a str, Option<&'a str>>) -> Key<'a> {
    let series = &image.series;
    let study = series.person.study_uid.as_deref().unwrap_or_default();
    let frame_of_reference = || frames.get(series.series_uid.as_str()).copied().flatten().unwrap_or_default();
    // Formats without geometry are stacked by their series alone.
    let place = if image.plane.is_some() { frame_of_reference() } else { &series.series_uid };
    (subject, study, place, image.rows, image.columns, &series.contrast, series.format)
}

/// Assembles `images`, whose subjects are `subjects` (one per image).
pub fn assemble(images: &[Image], subjects: &[String]) -> Assembly {
    let frames = frames_of_reference(images);
    let mut groups: BTreeMap<Key<'_>, Vec<usize>> = BTreeMap::new();
    for (index, image) in images.iter().enumerate() {
        groups.entry(key(image, &subjects[index], &frames)).or_default().push(index);
    }
    let mut assembly = Assembly::default();
    for group in groups.into_values() {
        for same_plane in by_plane(images, group) {
            assemble_plane(images, &same_plane, &mut assembly);
        }
    }
    assembly
}

fn same_plane(a: &Plane, b: &Plane) -> bool {
    let near = |x: f64, y: f64| (x - y).abs() <= SAME_SPACING * x.max(y);
    dot(a.row, b.row) > SAME_DIRECTION
        && dot(a.column, b.column) > SAME_DIRECTION
        && near(a.row_spacing_mm, b.row_spacing_mm)
        && near(a.column_spacing_mm, b.column_spacing_mm)
}

/// Splits a group by plane, each compared with the first image of a part.
fn by_plane(images: &[Image], group: Vec<usize>) -> Vec<Vec<usize>> {
    let mut parts: Vec<Vec<usize>> = Vec::new();
    for index in group {
        let fits = |part: &&mut Vec<usize>| match (&images[part[0]].plane, &images[index].plane) {
            (Some(a), Some(b)) => same_plane(a, b),
            (None, None) => true,
            _ => false,
        };
        match parts.iter_mut().find(fits) {
            Some(part) => part.push(index),
            None => parts.push(vec![index]),
        }
    }
    parts
}

/// One acquisition of one position, its images in the order of the cycle.
#[derive(Debug, Clone)]
struct Candidate {
    images: Vec<usize>,
    is_cine: bool,
    /// Of its latest image.
    recency: Recency,
}

/// Candidates at one place along the normal.
struct Position {
    along_mm: f64,
    candidates: Vec<Candidate>,
}

fn assemble_plane(images: &[Image], indices: &[usize], assembly: &mut Assembly) {
    let positions = positions(images, indices);
    for is_cine in [true, false] {
        let mut chosen: Vec<(f64, Candidate)> = Vec::new();
        for position in &positions {
            let mut of_kind: Vec<&Candidate> =
                position.candidates.iter().filter(|one| one.is_cine == is_cine).collect();
            of_kind.sort_by(|a, b| a.images.len().cmp(&b.images.len()).then(a.recency.compare(&b.recency)));
            let Some(best) = of_kind.pop() else { continue };
            let superseded = of_kind.iter().flat_map(|one| &one.images);
            assembly.unused.extend(superseded.map(|index| (*index, Unused::Superseded)));
            chosen.push((position.along_mm, best.clone()));
        }
        split_by_phases(images, chosen, is_cine, assembly);
    }
}

/// What grows with time.
#[derive(Debug, Clone, Copy)]
struct Recency {
    acquired: f64,
    series_number: i64,
    acquisition_number: i64,
}

impl Recency {
    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let numbers = |one: &Self| (one.series_number, one.acquisition_number);
        self.acquired.total_cmp(&other.acquired).then(numbers(self).cmp(&numbers(other)))
    }
}

/// The commonest number of phases, ties to the larger.
fn commonest(counts: impl Iterator<Item = usize>) -> Option<usize> {
    let mut tally: BTreeMap<usize, usize> = BTreeMap::new();
    counts.for_each(|count| *tally.entry(count).or_default() += 1);
    tally.into_iter().max_by_key(|(count, times)| (*times, *count)).map(|(count, _)| count)
}

fn split_by_phases(images: &[Image], chosen: Vec<(f64, Candidate)>, is_cine: bool, assembly: &mut Assembly) {
    let Some(phases) = commonest(chosen.iter().map(|(_, one)| one.images.len())) else { return };
    let (more, rest): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|(_, one)| one.images.len() > phases);
    let (whole, fewer): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(_, one)| one.images.len() == phases);
    let left_out = fewer.iter().flat_map(|(_, one)| &one.images);
    assembly.unused.extend(left_out.map(|index| (*index, Unused::IncompletePosition)));
    let announced = whole.iter().chain(&fewer).flat_map(|(_, one)| &one.images);
    let announced = announced.filter_map(|index| images[*index].series.phases_expected).max().unwrap_or(0);
    let mut gaps: Vec<f64> = whole.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assembly.stacks.push(Stack {
        positions_incomplete: fewer.len(),
        phases_expected: if is_cine { usize::try_from(announced).unwrap_or(0) } else { 0 }.max(phases),
        is_cine,
        plane: images[whole[0].1.images[0]].plane,
        slice_spacing_mm: median(&mut gaps),
        frames: whole.into_iter().map(|(_, one)| one.images).collect(),
    });
    split_by_phases(images, more, is_cine, assembly);
}

/// Positions along the normal, each with its candidates.
fn positions(images: &[Image], indices: &[usize]) -> Vec<Position> {
    let origin = images[indices[0]].position.unwrap_or_default();
    let normal = images[indices[0]].plane.map_or([0.0; 3], |plane| plane.normal());
    let along = |index: usize| match images[index].position {
        Some(position) => dot(subtract(position, origin), normal),
        // Without geometry the slice number stands for the position, far enough apart.
        None => images[index].timing.acquisition_number.unwrap_or(0) as f64 * 10.0,
    };
    let mut sorted: Vec<(f64, usize)> = indices.iter().map(|index| (along(*index), *index)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut positions: Vec<(f64, Vec<usize>)> = Vec::new();
    for (place, index) in sorted {
        match positions.last_mut() {
            Some((first, members)) if place - *first < POSITION_TOLERANCE_MM => members.push(index),
            _ => positions.push((place, vec![index])),
        }
    }
    let position = |(along_mm, members)| Position { along_mm, candidates: candidates(images, members) };
    positions.into_iter().map(position).collect()
}

fn candidates(images: &[Image], members: Vec<usize>) -> Vec<Candidate> {
    let mut by_series: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for index in members {
        by_series.entry(&images[index].series.series_uid).or_default().push(index);
    }
    let mut found = Vec::new();
    for series in by_series.into_values() {
        if repeats(images, &series) {
            let mut by_acquisition: BTreeMap<Option<i64>, Vec<usize>> = BTreeMap::new();
            for index in series {
                by_acquisition.entry(images[index].timing.acquisition_number).or_default().push(index);
            }
            found.extend(by_acquisition.into_values().map(|part| candidate(images, part)));
        } else {
            found.push(candidate(images, series));
        }
    }
    found
}

fn trigger(image: &Image) -> Option<f64> {
    image.timing.trigger_time_ms
}

/// Whether two images of a series were taken at the same moment of the cycle: the position was acquired twice.
fn repeats(images: &[Image], series: &[usize]) -> bool {
    let mut times: Vec<f64> = series.iter().filter_map(|index| trigger(&images[*index])).collect();
    times.sort_by(f64::total_cmp);
    let all_timed = times.len() == series.len();
    all_timed && times.len() > 1 && times.windows(2).any(|pair| pair[1] - pair[0] < SAME_TIME_MS)
}

fn candidate(images: &[Image], mut members: Vec<usize>) -> Candidate {
    sort_phases(images, &mut members);
    let of = |index: &usize| &images[*index];
    let distinct_times = {
        let mut times: Vec<f64> = members.iter().filter_map(|index| trigger(of(index))).collect();
        times.sort_by(f64::total_cmp);
        times.dedup_by(|b, a| *b - *a < SAME_TIME_MS);
        times.len()
    };
    let announced = members.iter().filter_map(|index| of(index).series.phases_expected).max().unwrap_or(1);
    let untimed_series = of(&members[0]).series.format != Format::Dicom && members.len() > 1;
    let recency = members.iter().map(|index| {
        let image = of(index);
        Recency {
            acquired: image.timing.acquired.unwrap_or(0.0),
            series_number: image.series.series_number,
            acquisition_number: image.timing.acquisition_number.unwrap_or(0),
        }
    });
    let none = Recency { acquired: 0.0, series_number: i64::MIN, acquisition_number: i64::MIN };
    let recency = recency.max_by(Recency::compare).unwrap_or(none);
    Candidate { is_cine: distinct_times > 1 || announced > 1 || untimed_series, recency, images: members }
}

/// By trigger time where every image has its own; else temporal position, acquisition, instance number.
fn sort_phases(images: &[Image], members: &mut [usize]) {
    let timed = members.iter().all(|index| trigger(&images[*index]).is_some()) && !repeats(images, members);
    let distinct = |value: fn(&Image) -> Option<i64>, members: &[usize]| {
        let mut values: Vec<i64> = members.iter().filter_map(|index| value(&images[*index])).collect();
        values.sort_unstable();
        values.dedup();
        values.len() == members.len()
    };
    let numbers: [fn(&Image) -> Option<i64>; 3] = [
        |image| image.timing.temporal_position,
        |image| image.timing.acquisition_number,
        |image| image.timing.instance_number,
    ];
    let number = numbers.into_iter().find(|value| distinct(*value, members));
    members.sort_by(|a, b| {
        let (first, second) = (&images[*a], &images[*b]);
        let by_time = match (timed, trigger(first), trigger(second)) {
            (true, Some(x), Some(y)) => x.total_cmp(&y),
            _ => std::cmp::Ordering::Equal,
        };
        let by_number = number.map_or(std::cmp::Ordering::Equal, |value| value(first).cmp(&value(second)));
        by_time.then(by_number).then(first.instance.cmp(&second.instance)).then(first.frame.cmp(&second.frame))
    });
}

/// Where the first pixel of a slice is.
pub fn position_of(images: &[Image], frame: usize) -> Option<Vector> {
    images[frame].position
}

#[cfg(test)]
#[path = "stacks_tests.rs"]
mod tests;
