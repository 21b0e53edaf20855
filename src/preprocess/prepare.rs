//! One stack to its samples: the one implementation behind training data and `predict`. Pixels in, float16 images out; no I/O.

use std::collections::{BTreeMap, BTreeSet};

use half::f16;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfFloatVecExt;
use ndarray::Array2;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::bias;
use super::checks::{self, Checks};
use super::coarse;
use super::intensity::{self, IntensityFault};
use super::localise::{self, Heart};
use super::orient::Orientation;
use super::phases;
use super::rejected::StackRejected;
use super::report::features::{GreyFeatures, GreyValues};
use super::resample::{GridAxis, Resampler};
use super::samples::{self, PlannedSlice, SamplePlan};
use super::turn::{self, Turned};
use crate::formats::plan::{CardiacPhases, Centre, Plan, PlanGeometry, SampleKind, Scope};

/// A stack's pixels and geometry as read.
#[derive(Debug, Clone)]
pub struct StackImages {
    /// `[slice][phase][channel]`, all of one size; slices ascend along row x column.
    pub frames: Vec<Vec<Vec<Array2<f32>>>>,
    /// (distance of rows, distance of columns), mm.
    pub spacing_mm: Option<(f64, f64)>,
    /// Unit vectors of increasing column index and of increasing row index, LPS.
    pub axes: Option<([f64; 3], [f64; 3])>,
    /// Centre of the first pixel of each slice, LPS mm; empty = unknown.
    pub positions_mm: Vec<[f64; 3]>,
    /// (end-diastole, end-systole) from the cohort's columns, 0-based.
    pub known_phases: Option<(i32, i32)>,
}

/// One sample, ready for the network.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedSample {
    /// 0-based source slices, in channel order without repetition.
    pub slices: Vec<i32>,
    /// 0-based source phases, in channel order without repetition.
    pub phases: Vec<i32>,
    /// c x h x w values of the plan's image shape.
    pub image: Vec<f16>,
}

/// What was found in a stack besides its samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Findings {
    /// The heart; `None` where neither crop nor phases asked for it.
    pub heart: Option<Heart>,
    /// Centre of the crop as (row, column) of the first slice as stored; `None` without spacing.
    pub centre_pixel: Option<(f64, f64)>,
    /// How the frames were turned.
    pub orientation: Orientation,
    /// (end-diastole, end-systole), 0-based.
    pub phases: (usize, usize),
    /// Share of the crop that lies outside the source image, 0 to 1.
    pub outside_share: f64,
    /// What the crop leaves at least around what beats, mm; negative where it cuts it; `None` where it is not cut around a heart.
    pub crop_margin_mm: Option<f64>,
    /// Numbers for the quality flags.
    pub checks: Checks,
}

/// A prepared stack.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedStack {
    /// Samples by slices, then phases.
    pub samples: Vec<PreparedSample>,
    /// What was found on the way.
    pub findings: Findings,
    /// Grey values before and after the intensity steps, for the report.
    pub grey: GreyFeatures,
    /// First 128 bits of the SHA-256 of each frame that was used, hex, sorted: equal frames are equal patients. Frames of one value
    /// are left out.
    pub frame_hashes: Vec<String>,
}

/// Prepares a stack.
///
/// # Errors
/// [`StackRejected`] with the first reason.
pub fn prepare_images(plan: &Plan, stack: StackImages) -> Result<PreparedStack, StackRejected> {
    let located = locate(plan, stack)?;
    let cut = cut(plan, &located)?;
    finish(plan, &located, cut)
}

/// The crops of a stack before any grey value is changed, one list of known pixels per scope of the plan: what standard landmarks are
/// fitted on.
///
/// # Errors
/// [`StackRejected`] with the first reason.
pub fn crops(plan: &Plan, stack: StackImages) -> Result<Vec<Vec<f32>>, StackRejected> {
    let cut = cut(plan, &locate(plan, stack)?)?;
    let known = |grids: &mut dyn Iterator<Item = &Vec<f32>>| -> Vec<f32> {
        grids.flatten().copied().filter(|value| !value.is_nan()).collect()
    };
    Ok(match plan.intensity.scope {
        Scope::Stack => vec![known(&mut cut.grids.values())],
        Scope::Sample => {
            cut.plans.iter().map(|sample| known(&mut sample.frames.iter().map(|frame| &cut.grids[frame]))).collect()
        }
    })
}

/// A turned stack with what was found in it.
struct Located {
    turned: Turned,
    /// What each slice's frames are multiplied by against coil bias; empty = nothing.
    gains: Vec<Option<Array2<f32>>>,
    heart: Option<Heart>,
    /// (end-diastole, end-systole).
    phases: (usize, usize),
    checks: Checks,
}

fn locate(plan: &Plan, stack: StackImages) -> Result<Located, StackRejected> {
    let oriented = tracing::trace_span!("orient").entered();
    check_frames(&stack)?;
    let known_phases = stack.known_phases;
    let turned = turn::turn(plan, stack);
    drop(oriented);
    let phase_count = turned.frames[0].len();
    let needed = samples::phases_needed(plan.sample);
    if phase_count < needed {
        return Err(StackRejected::TooFewPhases { found: phase_count, needed });
    }
    let _localised = tracing::trace_span!("localise").entered();
    let given = given_phases(plan, known_phases, phase_count)?;
    let crops_on_heart = matches!(plan.geometry, PlanGeometry::Mm { centre: Centre::Heart, .. });
    let wants_phases = given.is_none() && !all_phases(plan.sample) && phase_count > 1;
    // Colour is 8-bit pictures, whose grey values are no physical signal.
    let wants_gains = plan.intensity.bias_correction && plan.frame_channels == 1;
    let mut coarse = (crops_on_heart || wants_phases || wants_gains).then(|| turn::reduce(&turned));
    let gains =
        coarse.as_mut().filter(|_| wants_gains).map_or_else(Vec::new, |coarse| bias::remove(coarse, turned.size));
    let coarse = coarse.filter(|_| crops_on_heart || wants_phases);
    let heart = coarse.as_ref().map(|coarse| localise::localise(coarse, turned.is_standard));
    let phases = match (given, &coarse, &heart) {
        (Some(given), ..) => given,
        (None, Some(coarse), Some(heart)) if wants_phases => phases::from_area_curve(coarse, heart),
        _ => (0, 0),
    };
    let checks = match (&coarse, &heart) {
        (Some(coarse), Some(heart)) => checks::of_cine(coarse, heart, phases),
        _ => Checks::default(),
    };
    drop(coarse);
    let checks = Checks { contrast_to_noise: contrast_to_noise(&turned, heart.as_ref(), phases.0), ..checks };
    Ok(Located { turned, gains, heart, phases, checks })
}

/// Of the middle slice, around the heart or else the image's centre; `None` for colours.
fn contrast_to_noise(turned: &Turned, heart: Option<&Heart>, phase: usize) -> Option<f64> {
    let slice = turned.frames.len() / 2;
    let [frame] = &turned.frames[slice].get(phase)?[..] else { return None };
    let spacing = turned.spacing_mm.unwrap_or_else(|| coarse::nominal_spacing(turned.size));
    let middle = (turned.size.0 as f64 * spacing.0 / 2.0, turned.size.1 as f64 * spacing.1 / 2.0);
    let shift = turned.shifts_mm[slice];
    let centre = heart.map_or(middle, |heart| (heart.centre_mm.0 - shift.0, heart.centre_mm.1 - shift.1));
    checks::contrast_to_noise(frame.view(), spacing, centre)
}

/// Whether a sample kind uses every phase and so needs neither end-diastole nor end-systole.
fn all_phases(kind: SampleKind) -> bool {
    matches!(kind, SampleKind::Single { phase: crate::formats::plan::PhaseChoice::All })
}

fn check_frames(stack: &StackImages) -> Result<(), StackRejected> {
    let first = stack.frames.first().and_then(|phases| phases.first()).and_then(|channels| channels.first());
    let expected = first.ok_or(StackRejected::NoFrames)?.dim();
    if expected.0 == 0 || expected.1 == 0 {
        return Err(StackRejected::NoFrames);
    }
    let phases = stack.frames[0].len();
    if stack.frames.iter().any(|slice| slice.len() != phases) {
        let found = stack.frames.iter().map(Vec::len).sum();
        return Err(StackRejected::Grid { found, slices: stack.frames.len(), phases });
    }
    for (slice, frames) in stack.frames.iter().enumerate() {
        for (phase, channels) in frames.iter().enumerate() {
            for channel in channels {
                if channel.dim() != expected {
                    return Err(StackRejected::FrameSize { slice, phase, found: channel.dim(), expected });
                }
                if !channel.iter().any(|value| value.is_finite()) {
                    return Err(StackRejected::NotFinite { slice, phase });
                }
            }
        }
    }
    Ok(())
}

/// (end-diastole, end-systole) where plan or cohort say them.
fn given_phases(
    plan: &Plan,
    known: Option<(i32, i32)>,
    phases: usize,
) -> Result<Option<(usize, usize)>, StackRejected> {
    let given = match plan.cardiac_phases {
        CardiacPhases::Fixed { end_diastole, end_systole } => Some((end_diastole, end_systole)),
        CardiacPhases::Columns { .. } => known,
        CardiacPhases::AreaCurve => None,
    };
    let inside = |name, found: i32| {
        let index = usize::try_from(found).ok().filter(|&index| index < phases);
        index.ok_or(StackRejected::PhaseOutside { name, found, phases })
    };
    given.map(|(d, s)| Ok((inside("end-diastole", d)?, inside("end-systole", s)?))).transpose()
}

/// The resampler of one slice.
fn resampler(plan: &Plan, turned: &Turned, slice: usize, centre_mm: (f64, f64)) -> Result<Resampler, StackRejected> {
    match plan.geometry {
        PlanGeometry::None { height, width, kernel } => Ok(Resampler::new(
            turned.size,
            GridAxis::whole(turned.size.0, height),
            GridAxis::whole(turned.size.1, width),
            kernel,
        )),
        PlanGeometry::Mm { pixel_spacing_mm, height, width, kernel, .. } => {
            let usable = |mm: f64| mm.is_finite() && mm > 1e-3 && mm < 1e3;
            let spacing = turned.spacing_mm.filter(|spacing| usable(spacing.0) && usable(spacing.1));
            let spacing = spacing.ok_or(StackRejected::NoSpacing)?;
            let shift = turned.shifts_mm[slice];
            let axis = |centre: f64, shift: f64, spacing: f64, count: usize| {
                GridAxis::centred((centre - shift) / spacing - 0.5, pixel_spacing_mm / spacing, count)
            };
            Ok(Resampler::new(
                turned.size,
                axis(centre_mm.0, shift.0, spacing.0, height),
                axis(centre_mm.1, shift.1, spacing.1, width),
                kernel,
            ))
        }
    }
}

/// Pixels of the needed frames on the target grid, by (planned slice, phase): channel after channel.
type Grids = BTreeMap<(usize, usize), Vec<f32>>;

fn resample_frames(
    plan: &Plan,
    located: &Located,
    slices: &[PlannedSlice],
    plans: &[SamplePlan],
    centre_mm: (f64, f64),
) -> Result<Grids, StackRejected> {
    let _resampled = tracing::trace_span!("resample").entered();
    let Located { turned, gains, .. } = located;
    let (height, width) = plan.geometry.size();
    let wanted: BTreeSet<(usize, usize)> = plans.iter().flat_map(|sample| sample.frames.iter().copied()).collect();
    let sources: BTreeSet<usize> =
        wanted.iter().flat_map(|&(planned, _)| slices[planned].parts.iter().map(|part| part.0)).collect();
    let resamplers = sources
        .into_iter()
        .map(|source| Ok((source, resampler(plan, turned, source, centre_mm)?)))
        .collect::<Result<BTreeMap<usize, Resampler>, StackRejected>>()?;
    let grid = |(planned, phase): (usize, usize)| {
        let mut sum = vec![0.0_f32; plan.frame_channels * height * width];
        for &(source, weight) in &slices[planned].parts {
            let resampler = &resamplers[&source];
            for (channel, target) in turned.frames[source][phase].iter().zip(sum.chunks_exact_mut(height * width)) {
                let grid = match gains.get(source).and_then(Option::as_ref) {
                    Some(gain) => resampler.apply((channel * gain).view()),
                    None => resampler.apply(channel.view()),
                };
                target.iter_mut().zip(&grid).for_each(|(sum, &value)| *sum += weight * value);
            }
        }
        ((planned, phase), sum)
    };
    Ok(wanted.into_par_iter().map(grid).collect())
}

fn fault(fault: IntensityFault) -> StackRejected {
    match fault {
        IntensityFault::Empty => StackRejected::EmptyCrop,
        IntensityFault::Constant => StackRejected::Constant,
    }
}

/// Indices in order of first appearance, without repetition.
fn distinct(indices: impl Iterator<Item = usize>) -> Vec<i32> {
    let mut found = Vec::new();
    for index in indices {
        let index = i32::try_from(index).unwrap_or(i32::MAX);
        if !found.contains(&index) {
            found.push(index);
        }
    }
    found
}

/// The crops of a stack on the target grid, with grey values as they are.
struct Cut {
    slices: Vec<PlannedSlice>,
    plans: Vec<SamplePlan>,
    grids: Grids,
    centre_mm: (f64, f64),
}

fn cut(plan: &Plan, located: &Located) -> Result<Cut, StackRejected> {
    let turned = &located.turned;
    let spacing = turned.spacing_mm.unwrap_or((1.0, 1.0));
    let middle = (turned.size.0 as f64 * spacing.0 / 2.0, turned.size.1 as f64 * spacing.1 / 2.0);
    let on_heart = matches!(plan.geometry, PlanGeometry::Mm { centre: Centre::Heart, .. });
    let centre_mm = located.heart.filter(|_| on_heart).map_or(middle, |heart| heart.centre_mm);
    let slice_spacing_mm = match plan.geometry {
        PlanGeometry::Mm { slice_spacing_mm, .. } => slice_spacing_mm,
        PlanGeometry::None { .. } => None,
    };
    let slices = samples::planned_slices(turned.frames.len(), &turned.places_mm, slice_spacing_mm, turned.base_first);
    let chosen = samples::slices_in_range(slices.len(), plan.selection.slice_range);
    let plans = samples::sample_plans(plan.sample, &chosen, slices.len(), turned.frames[0].len(), located.phases);
    let grids = resample_frames(plan, located, &slices, &plans, centre_mm)?;
    Ok(Cut { slices, plans, grids, centre_mm })
}

fn finish(plan: &Plan, located: &Located, cut: Cut) -> Result<PreparedStack, StackRejected> {
    let Cut { slices, plans, mut grids, centre_mm } = cut;
    let turned = &located.turned;
    let frame_hashes = hash_frames(turned, &slices, grids.keys());
    let _normalised = tracing::trace_span!("intensity").entered();
    let pixels: usize = grids.values().map(Vec::len).sum();
    let outside: usize = grids.par_iter().map(|(_, grid)| grid.iter().filter(|value| value.is_nan()).count()).sum();
    let is_colour = plan.frame_channels == 3;
    let size = plan.geometry.size();
    let shown: Vec<&[f32]> =
        plans.iter().flat_map(|sample| &sample.frames).map(|frame| grids[frame].as_slice()).collect();
    let before = grey_values(&shown, size);
    if plan.intensity.scope == Scope::Stack {
        let mut images: Vec<&mut [f32]> = grids.values_mut().map(Vec::as_mut_slice).collect();
        intensity::normalise(&mut images, &plan.intensity, is_colour).map_err(fault)?;
    }
    let assemble = |sample: &SamplePlan| {
        let mut image: Vec<f32> = sample.frames.iter().flat_map(|frame| grids[frame].iter().copied()).collect();
        if plan.intensity.scope == Scope::Sample {
            intensity::normalise(&mut [&mut image], &plan.intensity, is_colour).map_err(fault)?;
        }
        Ok(PreparedSample {
            slices: distinct(sample.frames.iter().map(|frame| slices[frame.0].nearest)),
            phases: distinct(sample.frames.iter().map(|frame| frame.1)),
            image: Vec::from_f32_slice(&image),
        })
    };
    let assembled: Vec<Result<_, _>> = plans.par_iter().map(assemble).collect();
    let mut samples = assembled.into_iter().collect::<Result<Vec<PreparedSample>, _>>()?;
    samples.sort_by(|a, b| (&a.slices, &a.phases).cmp(&(&b.slices, &b.phases)));
    let seen: Vec<Vec<f32>> = samples.par_iter().map(|sample| sample.image.to_f32_vec()).collect();
    let after = grey_values(&seen.iter().map(Vec::as_slice).collect::<Vec<_>>(), size);
    Ok(PreparedStack {
        samples,
        grey: GreyFeatures { before, after },
        findings: Findings {
            heart: located.heart,
            centre_pixel: turned.spacing_mm.map(|mm| {
                let pixel = (centre_mm.0 / mm.0 - 0.5, centre_mm.1 / mm.1 - 0.5);
                turned.orientation.turn_back(pixel, turned.size)
            }),
            orientation: turned.orientation,
            phases: located.phases,
            outside_share: outside as f64 / pixels.max(1) as f64,
            crop_margin_mm: crop_margin_mm(plan, located.heart),
            checks: located.checks,
        },
        frame_hashes,
    })
}

fn grey_values(images: &[&[f32]], size: (usize, usize)) -> GreyValues {
    let _found = tracing::trace_span!("grey values").entered();
    GreyValues::of(images, size)
}

/// What the crop leaves at least around the heart, mm.
fn crop_margin_mm(plan: &Plan, heart: Option<Heart>) -> Option<f64> {
    let PlanGeometry::Mm { pixel_spacing_mm, height, width, centre: Centre::Heart, .. } = plan.geometry else {
        return None;
    };
    let heart = heart.filter(|heart| heart.by_motion)?;
    let half = |pixels: usize| pixels as f64 * pixel_spacing_mm / 2.0;
    Some((half(height) - heart.reach_mm.0).min(half(width) - heart.reach_mm.1))
}

/// Hashes of the source frames behind `used` (planned slice, phase).
fn hash_frames<'a>(
    turned: &Turned,
    slices: &[PlannedSlice],
    used: impl Iterator<Item = &'a (usize, usize)>,
) -> Vec<String> {
    let _hashed = tracing::trace_span!("hash").entered();
    let sources = used.flat_map(|&(planned, phase)| slices[planned].parts.iter().map(move |part| (part.0, phase)));
    let hash = |(slice, phase): (usize, usize)| {
        let channels = &turned.frames[slice][phase];
        let first = channels[0].first()?;
        if channels.iter().all(|channel| channel.iter().all(|value| value == first)) {
            return None;
        }
        let mut hasher = Sha256::new();
        let mut bytes = vec![0; turned.size.1 * 4];
        for channel in channels {
            for row in channel.rows() {
                bytes.chunks_exact_mut(4).zip(row).for_each(|(four, value)| four.copy_from_slice(&value.to_le_bytes()));
                hasher.update(&bytes);
            }
        }
        Some(data_encoding::HEXLOWER.encode(&hasher.finalize()[..16]))
    };
    let distinct: BTreeSet<(usize, usize)> = sources.collect();
    let hashes: BTreeSet<String> = distinct.into_par_iter().filter_map(hash).collect();
    hashes.into_iter().collect()
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
pub(super) mod tests;
