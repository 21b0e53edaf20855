//! The images of one position as acquisitions: which were taken together, in which order of the cardiac cycle, and whether they
//! are a cine (`docs/stacks.md`).
//!
//! Trigger times decide where they tell images apart; times that repeat exactly (all 0 after some anonymisers and exports) say
//! nothing. Then temporal position, acquisition number and instance number are asked, and the stack says which one answered.

use std::collections::{BTreeMap, BTreeSet};

use super::image::{Format, Image};

/// Trigger times closer than this are one, ms.
const SAME_TIME_MS: f64 = 0.05;
/// No cine's phases follow each other faster, ms: times closer than that are one moment with the jitter of its trigger.
const LEAST_STEP_MS: f64 = 10.0;
/// Times that span this much are no jitter, ms.
const LEAST_SPAN_MS: f64 = 50.0;
/// Steps longer than this are heartbeats, not phases: a dynamic series such as perfusion, ms.
const LONGEST_STEP_MS: f64 = 300.0;
/// Without times, fewer images than this at a position are repetitions, not a cycle.
const LEAST_UNTIMED: usize = 5;
/// A position is not acquired more often than this; times that repeat more often are no times.
const MOST_REPETITIONS: usize = 4;
/// One position's phases are acquired within a breath hold, s.
const LONGEST_ACQUISITION_S: f64 = 60.0;

/// What the phases of a position were ordered by, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PhaseOrder {
    /// One phase: nothing to order.
    None,
    /// Time after the R wave.
    TriggerTime,
    /// TemporalPositionIdentifier or -Index, or the time axis of a volume.
    TemporalPosition,
    /// AcquisitionNumber.
    AcquisitionNumber,
    /// InstanceNumber.
    InstanceNumber,
    /// SOPInstanceUID and frame: a fixed order without a meaning.
    FileOrder,
}

impl PhaseOrder {
    /// As written in `stacks.parquet`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::TriggerTime => "trigger-time",
            Self::TemporalPosition => "temporal-position",
            Self::AcquisitionNumber => "acquisition-number",
            Self::InstanceNumber => "instance-number",
            Self::FileOrder => "file-order",
        }
    }
}

/// Why images are taken for a cine or for static ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KindBy {
    /// Cine: trigger times over the cycle.
    TriggerTimes,
    /// Cine: the volume has a time axis.
    TimeAxis,
    /// Cine: the source announces several phases.
    AnnouncedPhases,
    /// Cine: at least five images of one series at one position.
    ImagesPerPosition,
    /// Static: one image.
    OneImage,
    /// Static: echo numbers differ.
    Echoes,
    /// Static: inversion times differ.
    InversionTimes,
    /// Static: one image per heartbeat.
    Heartbeats,
    /// Static: fewer images than a cycle has, without times.
    FewImages,
    /// Static: nothing but the description tells, and it names a static technique.
    Description,
}

impl KindBy {
    /// Whether cardiac phases were acquired.
    pub fn is_cine(self) -> bool {
        self <= Self::ImagesPerPosition
    }

    /// As written in the evidence of a stack.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TriggerTimes => "cine by trigger times",
            Self::TimeAxis => "cine by the time axis",
            Self::AnnouncedPhases => "cine by announced phases",
            Self::ImagesPerPosition => "cine by the images per position",
            Self::OneImage => "static: one image",
            Self::Echoes => "static: several echoes",
            Self::InversionTimes => "static: several inversion times",
            Self::Heartbeats => "static: one image per heartbeat",
            Self::FewImages => "static: few images without times",
            Self::Description => "static by description",
        }
    }
}

/// One acquisition of one position, its images in the order of the cycle.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Indices into the list of images.
    pub images: Vec<usize>,
    /// What they were ordered by.
    pub order: PhaseOrder,
    /// Whether they are a cine, and why.
    pub kind: KindBy,
    /// Of its latest image.
    pub recency: Recency,
}

/// What grows with time.
#[derive(Debug, Clone, Copy)]
pub struct Recency {
    acquired: f64,
    series_number: i64,
    acquisition_number: i64,
}

impl Recency {
    const NEVER: Self = Self { acquired: f64::NEG_INFINITY, series_number: i64::MIN, acquisition_number: i64::MIN };

    fn of(image: &Image) -> Self {
        Self {
            acquired: image.timing.acquired.unwrap_or(0.0),
            series_number: image.series.series_number,
            acquisition_number: image.timing.acquisition_number.unwrap_or(0),
        }
    }

    /// Earlier is less.
    pub fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let numbers = |one: &Self| (one.series_number, one.acquisition_number);
        self.acquired.total_cmp(&other.acquired).then(numbers(self).cmp(&numbers(other)))
    }
}

/// The acquisitions among the images of one series (or of several that hold one phase each) at one position.
pub fn candidates(images: &[Image], mut members: Vec<usize>) -> Vec<Candidate> {
    members.sort_by(|a, b| by_numbers(&images[*a], &images[*b]));
    let parts = acquisitions(images, &members);
    parts.into_iter().map(|(part, order)| candidate(images, part, order)).collect()
}

fn candidate(images: &[Image], members: Vec<usize>, order: PhaseOrder) -> Candidate {
    let recency = members.iter().map(|index| Recency::of(&images[*index]));
    let recency = recency.max_by(Recency::compare).unwrap_or(Recency::NEVER);
    Candidate { kind: kind(images, &members, order), images: members, order, recency }
}

/// Whether images that several series hold, one each, are the phases of one cine: the same moment of acquisition, another of the
/// cycle.
pub fn is_one_cycle(images: &[Image], mut members: Vec<usize>) -> bool {
    members.sort_by(|a, b| by_numbers(&images[*a], &images[*b]));
    let parts = acquisitions(images, &members);
    let [(part, order)] = parts.as_slice() else { return false };
    let is_timed = matches!(order, PhaseOrder::TriggerTime | PhaseOrder::TemporalPosition);
    let enough = members.len() >= LEAST_UNTIMED || announced(images, part) >= part.len();
    let at_once = spread(&seconds(images, part)) <= LONGEST_ACQUISITION_S;
    is_timed && enough && at_once && kind(images, part, *order).is_cine()
}

/// A fixed order of all images, whatever the files are called.
fn by_numbers(a: &Image, b: &Image) -> std::cmp::Ordering {
    let time = |image: &Image| image.timing.trigger_time_ms.unwrap_or(f64::NEG_INFINITY);
    let numbers = |image: &Image| {
        let timing = image.timing;
        (timing.temporal_position, timing.acquisition_number, timing.instance_number)
    };
    time(a)
        .total_cmp(&time(b))
        .then_with(|| numbers(a).cmp(&numbers(b)))
        .then_with(|| (&a.series.series_uid, &a.instance, a.frame).cmp(&(&b.series.series_uid, &b.instance, b.frame)))
}

type Parts = Vec<(Vec<usize>, PhaseOrder)>;

/// Splits images into acquisitions, each in the order of its phases.
fn acquisitions(images: &[Image], members: &[usize]) -> Parts {
    if members.len() < 2 {
        return vec![(members.to_vec(), PhaseOrder::None)];
    }
    let times: Option<Vec<f64>> = members.iter().map(|index| images[*index].timing.trigger_time_ms).collect();
    if let Some(parts) = times.and_then(|times| by_moment(images, members, &moments(&times))) {
        return parts.into_iter().map(|part| (part, PhaseOrder::TriggerTime)).map(alone).collect();
    }
    let positions: Option<Vec<i64>> = members.iter().map(|index| images[*index].timing.temporal_position).collect();
    if let Some(parts) = positions.and_then(|positions| by_moment(images, members, &positions)) {
        return parts.into_iter().map(|part| (part, PhaseOrder::TemporalPosition)).map(alone).collect();
    }
    untimed(images, members)
}

/// One image has no order.
fn alone((part, order): (Vec<usize>, PhaseOrder)) -> (Vec<usize>, PhaseOrder) {
    let order = if part.len() < 2 { PhaseOrder::None } else { order };
    (part, order)
}

/// Trigger times as ranks; times closer than the tolerance have one rank.
fn moments(times: &[f64]) -> Vec<i64> {
    let mut sorted: Vec<usize> = (0..times.len()).collect();
    sorted.sort_by(|a, b| times[*a].total_cmp(&times[*b]));
    let mut ranks = vec![0; times.len()];
    let mut rank = 0;
    for pair in sorted.windows(2) {
        rank += i64::from(times[pair[1]] - times[pair[0]] >= SAME_TIME_MS);
        ranks[pair[1]] = rank;
    }
    ranks
}

/// Acquisitions by the moments of the cycle that the images (in their fixed order) were taken at; `None` when the moments do not
/// tell them apart.
fn by_moment(images: &[Image], members: &[usize], moments: &[i64]) -> Option<Vec<Vec<usize>>> {
    let mut at: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    members.iter().zip(moments).for_each(|(index, moment)| at.entry(*moment).or_default().push(*index));
    let distinct = at.len();
    let most = at.values().map(Vec::len).max().unwrap_or(0);
    if distinct < 2 || most > MOST_REPETITIONS {
        return None;
    }
    // Two times that round to one are a coincidence, many are a second acquisition.
    if members.len() - distinct <= distinct / 10 {
        return Some(vec![at.into_values().flatten().collect()]);
    }
    let known: BTreeMap<usize, i64> = members.iter().copied().zip(moments.iter().copied()).collect();
    if let Some(parts) = by_acquisition_number(images, members, &known) {
        return Some(parts);
    }
    // The first image of each moment in one acquisition, the second in the next.
    let mut parts: Vec<Vec<usize>> = vec![Vec::new(); most];
    for mut same in at.into_values() {
        // Stable: equals stay in their fixed order.
        same.sort_by(|a, b| Recency::of(&images[*a]).compare(&Recency::of(&images[*b])));
        same.into_iter().enumerate().for_each(|(rank, index)| parts[rank].push(index));
    }
    Some(parts)
}

fn grouped(images: &[Image], members: &[usize]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<Option<i64>, Vec<usize>> = BTreeMap::new();
    for index in members {
        groups.entry(images[*index].timing.acquisition_number).or_default().push(*index);
    }
    groups.into_values().collect()
}

/// The acquisition numbers' parts, where no moment repeats within one.
fn by_acquisition_number(
    images: &[Image],
    members: &[usize],
    moments: &BTreeMap<usize, i64>,
) -> Option<Vec<Vec<usize>>> {
    let mut parts = grouped(images, members);
    let fits = |part: &Vec<usize>| {
        let distinct: BTreeSet<i64> = part.iter().map(|index| moments[index]).collect();
        distinct.len() == part.len()
    };
    // A number of its own for every image numbers the phases, not the acquisitions.
    if parts.len() < 2 || parts.len() == members.len() || !parts.iter().all(fits) {
        return None;
    }
    parts.iter_mut().for_each(|part| part.sort_by_key(|index| moments[index]));
    Some(parts)
}

/// Images whose moments are unknown: by acquisition number, then instance number.
fn untimed(images: &[Image], members: &[usize]) -> Parts {
    let groups = grouped(images, members);
    let is_repeated = groups.len() > 1 && groups.iter().all(|group| group.len() > 1);
    // Few images without times are one static image, acquired again.
    let is_static = groups.len() == members.len()
        && members.len() < LEAST_UNTIMED
        && announced(images, members) < 2
        && images[members[0]].series.format == Format::Dicom;
    if is_repeated || is_static {
        return groups.iter().map(|group| alone(numbered(images, group))).collect();
    }
    vec![numbered(images, members)]
}

/// A number that images are ordered by.
type Number = fn(&Image) -> Option<i64>;

fn numbered(images: &[Image], members: &[usize]) -> (Vec<usize>, PhaseOrder) {
    let numbers: [(PhaseOrder, Number); 2] = [
        (PhaseOrder::AcquisitionNumber, |image| image.timing.acquisition_number),
        (PhaseOrder::InstanceNumber, |image| image.timing.instance_number),
    ];
    let mut sorted = members.to_vec();
    for (order, number) in numbers {
        let distinct: BTreeSet<i64> = members.iter().filter_map(|index| number(&images[*index])).collect();
        if distinct.len() == members.len() {
            sorted.sort_by_key(|index| number(&images[*index]));
            return (sorted, order);
        }
    }
    let name = |index: &usize| (&images[*index].series.series_uid, &images[*index].instance, images[*index].frame);
    sorted.sort_by(|a, b| name(a).cmp(&name(b)));
    (sorted, PhaseOrder::FileOrder)
}

/// Phases that the source announces for these images.
fn announced(images: &[Image], members: &[usize]) -> usize {
    let announced = members.iter().filter_map(|index| images[*index].series.phases_expected).max().unwrap_or(0);
    usize::try_from(announced).unwrap_or(0)
}

/// Moments of acquisition, s, as far as they are known; only differences within a day count.
fn seconds(images: &[Image], members: &[usize]) -> Vec<f64> {
    let second = |acquired: f64| {
        let (date, time) = ((acquired / 1e6).floor(), acquired.rem_euclid(1e6));
        let (hours, minutes) = ((time / 1e4).floor(), (time / 100.0).floor().rem_euclid(100.0));
        date * 86_400.0 + hours * 3600.0 + minutes * 60.0 + time.rem_euclid(100.0)
    };
    members.iter().filter_map(|index| images[*index].timing.acquired).map(second).collect()
}

fn spread(values: &[f64]) -> f64 {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.is_empty() { 0.0 } else { high - low }
}

/// The median step of values, 0 for fewer than two.
fn median_step(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let mut steps: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
    crate::geometry::median(&mut steps).unwrap_or(0.0)
}

fn several<T: Ord>(values: impl Iterator<Item = T>) -> bool {
    values.collect::<BTreeSet<T>>().len() > 1
}

/// Words of static techniques, asked only where neither times nor announcements tell.
const STATIC_WORDS: [&str; 12] =
    ["perf", "dynamic", "molli", "shmolli", "sasha", "map", "lge", "delayed", "viab", "psir", "loc", "scout"];

/// Timing first; the description is asked last.
fn kind(images: &[Image], members: &[usize], order: PhaseOrder) -> KindBy {
    let of = |index: &usize| &images[*index];
    let announced = announced(images, members);
    if members.len() < 2 {
        // One phase of an announced cycle is an interrupted cine.
        return if announced > 1 { KindBy::AnnouncedPhases } else { KindBy::OneImage };
    }
    if of(&members[0]).series.format != Format::Dicom {
        return KindBy::TimeAxis;
    }
    if several(members.iter().filter_map(|index| of(index).timing.echo_number)) {
        return KindBy::Echoes;
    }
    let inversion = |index: &usize| of(index).timing.inversion_time_ms.map(|time| time.round() as i64);
    if several(members.iter().filter_map(inversion)) {
        return KindBy::InversionTimes;
    }
    let times: Vec<f64> = members.iter().filter_map(|index| of(index).timing.trigger_time_ms).collect();
    let least_span = LEAST_SPAN_MS.min(LEAST_STEP_MS * (members.len() - 1) as f64);
    if order == PhaseOrder::TriggerTime && spread(&times) >= least_span {
        // The end-diastolic and end-systolic frames alone are far apart, too.
        let is_dynamic = members.len() >= LEAST_UNTIMED && median_step(times) > LONGEST_STEP_MS;
        return if is_dynamic { KindBy::Heartbeats } else { KindBy::TriggerTimes };
    }
    let moments = seconds(images, members);
    let all_known = moments.len() == members.len();
    if all_known && members.len() >= LEAST_UNTIMED && median_step(moments) * 1000.0 > LONGEST_STEP_MS {
        return KindBy::Heartbeats;
    }
    if announced > 1 {
        return KindBy::AnnouncedPhases;
    }
    if members.len() < LEAST_UNTIMED {
        return KindBy::FewImages;
    }
    let description = &of(&members[0]).series.description;
    if STATIC_WORDS.iter().any(|word| description.contains(word)) {
        return KindBy::Description;
    }
    KindBy::ImagesPerPosition
}
