//! Geometric stacks across series: images of one subject and study, one plane and matrix, sorted into positions x phases.
//!
//! Rules, in order (`docs/stacks.md` has them for users):
//! 1. Images stay apart by study, frame of reference (of their series), matrix, contrast and plane (axes within 1 degree, spacing
//!    within 1 %).
//! 2. Series whose slices overlap those of other series are two acquisitions of the heart and stay apart.
//! 3. Positions are projections on the normal; closer than 0.5 mm is one position.
//! 4. At one position each acquisition (see `phases`) is a candidate. Cine and static candidates belong to different stacks. The
//!    candidate with most phases stands; among equals the last acquired. The others are skipped as `superseded-position`.
//! 5. Phases of a stack = the commonest count over positions (ties: the larger). Positions with fewer are left out as
//!    `incomplete-position`; positions with more make a stack of their own.

use std::collections::{BTreeMap, BTreeSet};

use super::image::{Format, Image};
use super::phases::{Candidate, KindBy, PhaseOrder, candidates, is_one_cycle};
use crate::geometry::{Plane, Vector, dot, median, subtract};

/// Projections on the normal closer than this are one position, mm.
const POSITION_TOLERANCE_MM: f64 = 0.5;
/// Cosine of 1 degree.
const SAME_DIRECTION: f64 = 0.999_85;
/// Relative difference of equal spacings.
const SAME_SPACING: f64 = 0.01;
/// Slices of two series that share more than a quarter of their thickness were not planned together.
const OVERLAP: f64 = 0.75;
/// With fewer series, one frame of reference each may well be true.
const LEAST_SERIES: usize = 3;

/// What the order of positions rests on, and what was decided on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PositionRule {
    /// Without geometry the slice number stands for the position.
    pub by_number: bool,
    /// Some position was acquired more than once.
    pub reacquired: bool,
    /// Every series holds one phase.
    pub series_per_phase: bool,
    /// Every series, or every file, has a frame of reference of its own, which then says nothing.
    pub frame_of_reference_ignored: bool,
    /// Series with overlapping slices were kept apart.
    pub overlap_apart: bool,
}

impl PositionRule {
    /// As written in `stacks.parquet`: `projection` or `slice-number`, then what was decided, joined by `+`.
    pub fn text(self) -> String {
        let mut words = vec![if self.by_number { "slice-number" } else { "projection" }];
        let decided = [
            (self.reacquired, "reacquired"),
            (self.series_per_phase, "series-per-phase"),
            (self.frame_of_reference_ignored, "frame-of-reference-ignored"),
            (self.overlap_apart, "overlap-apart"),
        ];
        words.extend(decided.into_iter().filter(|(is_so, _)| *is_so).map(|(_, word)| word));
        words.join("+")
    }
}

/// One assembled stack.
#[derive(Debug, Clone)]
pub struct Stack {
    /// `frames[slice][phase]`, indices into the list of images.
    pub frames: Vec<Vec<usize>>,
    /// Positions that were left out for having fewer phases.
    pub positions_incomplete: usize,
    /// Phases that the source announced, at least those found.
    pub phases_expected: usize,
    /// Whether cardiac phases were acquired, and why.
    pub kind: KindBy,
    /// What the phases are ordered by, at the position that has least to go by.
    pub phase_order: PhaseOrder,
    /// What the positions are ordered by.
    pub position_rule: PositionRule,
    /// Orientation and spacing.
    pub plane: Option<Plane>,
    /// Median distance of adjacent positions, mm; `None` for one position and without geometry.
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
    /// In a fixed order, whatever the order of the images was.
    pub stacks: Vec<Stack>,
    /// Image index and reason.
    pub unused: Vec<(usize, Unused)>,
}

/// What must be equal within a stack, besides the plane.
type Key<'a> = (&'a str, &'a str, &'a str, u32, u32, &'a str, Format);

/// Frame of reference of each series; `None` where it says nothing. All images of a series share one (PS3.3 C.7.4.1): where they do
/// not, or where every series of a study has one of its own, an anonymiser made them up.
fn frames_of_reference(images: &[Image]) -> BTreeMap<&str, Option<&str>> {
    let mut frames: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    let mut studies: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for image in images {
        let own = image.series.frame_of_reference.as_str();
        let known = frames.entry(&image.series.series_uid).or_insert(Some(own));
        if *known != Some(own) {
            *known = None;
        }
        let study = image.series.person.study_uid.as_deref().unwrap_or_default();
        studies.entry(study).or_default().insert(&image.series.series_uid);
    }
    for series in studies.into_values().filter(|series| series.len() >= LEAST_SERIES) {
        let distinct: BTreeSet<&str> = series.iter().filter_map(|uid| frames[uid]).collect();
        if distinct.len() == series.len() {
            frames.extend(series.into_iter().map(|uid| (uid, None)));
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
    let mut order: Vec<usize> = (0..images.len()).collect();
    let place = |index: usize| {
        let Image { series, instance, frame, .. } = &images[index];
        (series.series_number, &series.series_uid, instance, *frame)
    };
    order.sort_by(|a, b| place(*a).cmp(&place(*b)));
    let mut groups: BTreeMap<Key<'_>, Vec<usize>> = BTreeMap::new();
    for index in order {
        groups.entry(key(&images[index], &subjects[index], &frames)).or_default().push(index);
    }
    let mut assembly = Assembly::default();
    for group in groups.into_values() {
        for same_plane in by_plane(images, group) {
            let ignored = same_plane.iter().any(|index| frames[images[*index].series.series_uid.as_str()].is_none());
            let has_plane = images[same_plane[0]].plane.is_some();
            let parts = apart(images, same_plane);
            let rule = PositionRule {
                by_number: !has_plane,
                frame_of_reference_ignored: ignored && has_plane,
                overlap_apart: parts.len() > 1,
                ..PositionRule::default()
            };
            for part in parts {
                assemble_plane(images, &part, rule, &mut assembly);
            }
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

/// Where images of one plane are along its normal, mm.
struct Along<'a> {
    images: &'a [Image],
    origin: Vector,
    normal: Vector,
}

impl<'a> Along<'a> {
    fn new(images: &'a [Image], first: usize) -> Self {
        let origin = images[first].position.unwrap_or_default();
        Self { images, origin, normal: images[first].plane.map_or([0.0; 3], |plane| plane.normal()) }
    }

    fn of(&self, index: usize) -> f64 {
        match self.images[index].position {
            Some(position) => dot(subtract(position, self.origin), self.normal),
            // Without geometry the slice number stands for the position, far enough apart.
            None => self.images[index].timing.acquisition_number.unwrap_or(0) as f64 * 10.0,
        }
    }

    /// Images by position, ascending.
    fn places(&self, indices: &[usize]) -> Vec<(f64, Vec<usize>)> {
        let mut sorted: Vec<(f64, usize)> = indices.iter().map(|index| (self.of(*index), *index)).collect();
        // A stable sort keeps the fixed order of images at one place.
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut places: Vec<(f64, Vec<usize>)> = Vec::new();
        for (place, index) in sorted {
            match places.last_mut() {
                Some((first, members)) if place - *first < POSITION_TOLERANCE_MM => members.push(index),
                _ => places.push((place, vec![index])),
            }
        }
        places
    }
}

fn by_series<'a>(images: &'a [Image], indices: &[usize]) -> BTreeMap<(i64, &'a str), Vec<usize>> {
    let mut found: BTreeMap<(i64, &str), Vec<usize>> = BTreeMap::new();
    for index in indices {
        let series = &images[*index].series;
        found.entry((series.series_number, &series.series_uid)).or_default().push(*index);
    }
    found
}

/// Images of one plane, with series apart whose slices overlap those of a series before them: the heart was planned twice. Series
/// that overlap themselves were planned so.
fn apart(images: &[Image], indices: Vec<usize>) -> Vec<Vec<usize>> {
    let along = Along::new(images, indices[0]);
    let series = by_series(images, &indices);
    if series.len() < 2 || images[indices[0]].plane.is_none() {
        return vec![indices];
    }
    let mut parts: Vec<Planned> = Vec::new();
    let planned = |members: Vec<usize>| {
        let thickness_mm = images[members[0]].series.slice_thickness_mm.unwrap_or(0.0);
        let places = along.places(&members).into_iter().map(|(place, _)| place).collect();
        Planned { places, least_mm: thickness_mm * OVERLAP, members }
    };
    let (several, singles): (Vec<Planned>, Vec<Planned>) =
        series.into_values().map(planned).partition(|one| one.places.len() > 1);
    // Series of one slice each come last: they are judged against those of several alone.
    for one in several.into_iter().chain(singles) {
        match parts.iter().position(|part| !one.overlaps(part)) {
            Some(part) => parts[part].join(one),
            None => parts.push(one),
        }
    }
    parts.into_iter().map(|part| part.members).collect()
}

/// Slices of one series, or of several that were planned together.
struct Planned {
    /// Ascending, mm along the normal.
    places: Vec<f64>,
    /// Slices closer than this overlap.
    least_mm: f64,
    members: Vec<usize>,
}

impl Planned {
    fn overlaps_itself(&self) -> bool {
        self.places.windows(2).any(|pair| pair[1] - pair[0] < self.least_mm)
    }

    /// Whether a place of this series is neither one of the known ones nor far enough from all of them.
    fn overlaps(&self, known: &Self) -> bool {
        let is_planned_so = known.places.len() < 2 || self.overlaps_itself() || known.overlaps_itself();
        let between = |place: &f64| {
            let nearest = known.places.iter().map(|one| (one - place).abs()).fold(f64::INFINITY, f64::min);
            (POSITION_TOLERANCE_MM..self.least_mm).contains(&nearest)
        };
        !is_planned_so && self.places.iter().any(between)
    }

    fn join(&mut self, other: Self) {
        self.places.extend(other.places);
        self.places.sort_by(f64::total_cmp);
        self.places.dedup_by(|b, a| *b - *a < POSITION_TOLERANCE_MM);
        self.members.extend(other.members);
    }
}

/// Candidates at one place along the normal.
struct Position {
    along_mm: f64,
    candidates: Vec<Candidate>,
}

/// A position's acquisition that stands.
struct Chosen {
    along_mm: f64,
    candidate: Candidate,
    reacquired: bool,
}

fn assemble_plane(images: &[Image], indices: &[usize], rule: PositionRule, assembly: &mut Assembly) {
    let places = Along::new(images, indices[0]).places(indices);
    let one_phase_each = series_per_phase(images, &places);
    let rule = PositionRule { series_per_phase: !one_phase_each.is_empty(), ..rule };
    let position = |(along_mm, members): (f64, Vec<usize>)| {
        let (together, others): (Vec<usize>, Vec<usize>) =
            members.into_iter().partition(|index| one_phase_each.contains(images[*index].series.series_uid.as_str()));
        let mut found: Vec<Candidate> =
            by_series(images, &others).into_values().flat_map(|series| candidates(images, series)).collect();
        if !together.is_empty() {
            found.extend(candidates(images, together));
        }
        Position { along_mm, candidates: found }
    };
    let positions: Vec<Position> = places.into_iter().map(position).collect();
    for is_cine in [true, false] {
        let mut chosen: Vec<Chosen> = Vec::new();
        for position in &positions {
            let mut of_kind: Vec<&Candidate> =
                position.candidates.iter().filter(|one| one.kind.is_cine() == is_cine).collect();
            of_kind.sort_by(|a, b| a.images.len().cmp(&b.images.len()).then(a.recency.compare(&b.recency)));
            let Some(best) = of_kind.pop() else { continue };
            let superseded = of_kind.iter().flat_map(|one| &one.images);
            assembly.unused.extend(superseded.map(|index| (*index, Unused::Superseded)));
            let reacquired = !of_kind.is_empty();
            chosen.push(Chosen { along_mm: position.along_mm, candidate: best.clone(), reacquired });
        }
        split_by_phases(images, chosen, rule, assembly);
    }
}

/// Series that hold one phase of all positions each; empty where the phases are within the series, as usual.
fn series_per_phase<'a>(images: &'a [Image], places: &[(f64, Vec<usize>)]) -> BTreeSet<&'a str> {
    let mut slices: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, (_, members)) in places.iter().enumerate() {
        members.iter().for_each(|index| slices.entry(&images[*index].series.series_uid).or_default().push(place));
    }
    let is_single = |places: &Vec<usize>| places.windows(2).all(|pair| pair[0] != pair[1]);
    slices.retain(|_, places| is_single(places));
    // The set of positions that most of these series share; a series that was cut off has fewer.
    let mut sets: BTreeMap<&Vec<usize>, usize> = BTreeMap::new();
    slices.values().for_each(|places| *sets.entry(places).or_default() += 1);
    let Some((shared, _)) = sets.into_iter().max_by_key(|(places, times)| (*times, places.len())) else {
        return BTreeSet::new();
    };
    let together: BTreeSet<&str> = slices
        .iter()
        .filter(|(_, places)| places.iter().all(|place| shared.contains(place)))
        .map(|(series, _)| *series)
        .collect();
    let is_cycle = shared.iter().all(|place| {
        let members = places[*place].1.iter().copied();
        let members: Vec<usize> =
            members.filter(|index| together.contains(images[*index].series.series_uid.as_str())).collect();
        members.len() > 1 && is_one_cycle(images, members)
    });
    if is_cycle { together } else { BTreeSet::new() }
}

/// The commonest number of phases, ties to the larger.
fn commonest(counts: impl Iterator<Item = usize>) -> Option<usize> {
    let mut tally: BTreeMap<usize, usize> = BTreeMap::new();
    counts.for_each(|count| *tally.entry(count).or_default() += 1);
    tally.into_iter().max_by_key(|(count, times)| (*times, *count)).map(|(count, _)| count)
}

fn split_by_phases(images: &[Image], chosen: Vec<Chosen>, rule: PositionRule, assembly: &mut Assembly) {
    let count = |one: &Chosen| one.candidate.images.len();
    let Some(phases) = commonest(chosen.iter().map(count)) else { return };
    let (more, rest): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|one| count(one) > phases);
    let (whole, fewer): (Vec<_>, Vec<_>) = rest.into_iter().partition(|one| count(one) == phases);
    let left_out = fewer.iter().flat_map(|one| &one.candidate.images);
    assembly.unused.extend(left_out.map(|index| (*index, Unused::IncompletePosition)));
    let announced = whole.iter().chain(&fewer).flat_map(|one| &one.candidate.images);
    let announced = announced.filter_map(|index| images[*index].series.phases_expected).max().unwrap_or(0);
    // Without geometry the places are made of slice numbers: an order, and no distance.
    let is_measured = !rule.by_number && whole.iter().all(|one| images[one.candidate.images[0]].position.is_some());
    let mut gaps: Vec<f64> = whole.windows(2).map(|pair| pair[1].along_mm - pair[0].along_mm).collect();
    let first = &whole[0].candidate;
    let is_cine = first.kind.is_cine();
    assembly.stacks.push(Stack {
        positions_incomplete: fewer.len(),
        phases_expected: if is_cine { usize::try_from(announced).unwrap_or(0) } else { 0 }.max(phases),
        kind: whole.iter().map(|one| one.candidate.kind).max().unwrap_or(first.kind),
        phase_order: whole.iter().map(|one| one.candidate.order).max().unwrap_or(first.order),
        position_rule: PositionRule { reacquired: whole.iter().any(|one| one.reacquired), ..rule },
        plane: images[first.images[0]].plane,
        slice_spacing_mm: median(&mut gaps).filter(|_| is_measured),
        frames: whole.into_iter().map(|one| one.candidate.images).collect(),
    });
    split_by_phases(images, more, rule, assembly);
}

/// Where the first pixel of a slice is.
pub fn position_of(images: &[Image], frame: usize) -> Option<Vector> {
    images[frame].position
}

#[cfg(test)]
#[path = "stacks_tests.rs"]
mod tests;
