//! Which slices and phases a stack gives, and how they become channels. Indices only; no pixels.

use crate::formats::plan::{PhaseChoice, SampleKind};

use super::phases::over_cycle;

/// A slice of the plan: one of the source, or a mix of two neighbours where slices are resampled.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedSlice {
    /// Source slices with their weights, which add up to 1.
    pub parts: Vec<(usize, f32)>,
    /// The source slice with the largest weight.
    pub nearest: usize,
}

impl PlannedSlice {
    fn source(slice: usize) -> Self {
        Self { parts: vec![(slice, 1.0)], nearest: slice }
    }
}

/// One sample: its frames in channel order, as (index into the planned slices, phase).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplePlan {
    /// Frames in channel order.
    pub frames: Vec<(usize, usize)>,
}

/// The slices of a stack from base to apex, resampled along the stack to `spacing_mm` where that is asked for.
///
/// `places_mm`: position of each source slice along the stack's normal, ascending; empty = unknown, which resamples nothing.
pub fn planned_slices(
    slices: usize,
    places_mm: &[f64],
    spacing_mm: Option<f64>,
    base_first: bool,
) -> Vec<PlannedSlice> {
    let mut planned: Vec<PlannedSlice> = match (spacing_mm, places_mm) {
        (Some(spacing_mm), [first, .., last]) => resampled_slices(places_mm, *first, *last, spacing_mm),
        _ => (0..slices).map(PlannedSlice::source).collect(),
    };
    if !base_first {
        planned.reverse();
    }
    planned
}

fn resampled_slices(places_mm: &[f64], first: f64, last: f64, spacing_mm: f64) -> Vec<PlannedSlice> {
    // As many as fit, centred, so that no slice lies beyond the ends. A stack is a few hundred mm at most.
    let count = ((last - first) / spacing_mm).floor().clamp(0.0, 4096.0) as usize + 1;
    let start = first + ((last - first) - spacing_mm * (count - 1) as f64) / 2.0;
    let one = |index: usize| {
        let place = start + spacing_mm * index as f64;
        let upper = places_mm.iter().position(|&found| found >= place).unwrap_or(places_mm.len() - 1);
        let lower = upper.saturating_sub(1);
        let gap = places_mm[upper] - places_mm[lower];
        let share = if gap > 0.0 { ((place - places_mm[lower]) / gap).clamp(0.0, 1.0) } else { 1.0 };
        let nearest = if share < 0.5 { lower } else { upper };
        let parts = [(lower, (1.0 - share) as f32), (upper, share as f32)];
        PlannedSlice { parts: parts.into_iter().filter(|(_, weight)| *weight > 0.0).collect(), nearest }
    };
    (0..count).map(one).collect()
}

/// Indices of the slices whose centres lie in `range` (0 = base, 1 = apex); at least the middle one.
pub fn slices_in_range(slices: usize, range: [f64; 2]) -> Vec<usize> {
    let centre = |index: usize| (index as f64 + 0.5) / slices as f64;
    let found: Vec<usize> = (0..slices).filter(|&index| (range[0]..=range[1]).contains(&centre(index))).collect();
    if found.is_empty() && slices > 0 { vec![slices / 2] } else { found }
}

fn chosen_phases(choice: PhaseChoice, phases: usize, (diastole, systole): (usize, usize)) -> Vec<usize> {
    match choice {
        PhaseChoice::All => (0..phases).collect(),
        PhaseChoice::EndDiastole => vec![diastole],
        PhaseChoice::EndSystole => vec![systole],
        PhaseChoice::Both if diastole == systole => vec![diastole],
        PhaseChoice::Both => vec![diastole, systole],
    }
}

/// Phases that a sample kind needs at least.
pub fn phases_needed(kind: SampleKind) -> usize {
    match kind {
        SampleKind::Single { .. } => 1,
        SampleKind::Pair | SampleKind::Slab { phase: PhaseChoice::Both, .. } => 2,
        SampleKind::Cycle { phases } => phases.min(2),
        SampleKind::Slab { .. } => 1,
    }
}

/// The samples of a stack: `slices` = indices of planned slices in range out of `all_slices`, base first.
pub fn sample_plans(
    kind: SampleKind,
    slices: &[usize],
    all_slices: usize,
    phases: usize,
    found: (usize, usize),
) -> Vec<SamplePlan> {
    let same_slice =
        |slice: usize, phases: &[usize]| SamplePlan { frames: phases.iter().map(|&phase| (slice, phase)).collect() };
    let per_slice = |slice: usize| -> Vec<SamplePlan> {
        match kind {
            SampleKind::Single { phase } => {
                chosen_phases(phase, phases, found).into_iter().map(|phase| same_slice(slice, &[phase])).collect()
            }
            SampleKind::Pair => vec![same_slice(slice, &[found.0, found.1])],
            SampleKind::Cycle { phases: count } => vec![same_slice(slice, &over_cycle(found.0, phases, count))],
            SampleKind::Slab { slices: count, phase } => {
                let chosen = match phase {
                    PhaseChoice::EndDiastole => vec![found.0],
                    PhaseChoice::EndSystole => vec![found.1],
                    PhaseChoice::Both | PhaseChoice::All => vec![found.0, found.1],
                };
                let neighbour =
                    |offset: usize| (slice + offset).saturating_sub(count / 2).min(all_slices.saturating_sub(1));
                let frames = chosen.iter().flat_map(|&phase| (0..count).map(move |offset| (neighbour(offset), phase)));
                vec![SamplePlan { frames: frames.collect() }]
            }
        }
    };
    slices.iter().flat_map(|&slice| per_slice(slice)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_middle_of_a_stack_is_taken_by_slice_centres() {
        assert_eq!(slices_in_range(10, [0.15, 0.85]), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(slices_in_range(10, [0.5, 1.0]), [5, 6, 7, 8, 9]);
        assert_eq!(slices_in_range(1, [0.15, 0.85]), [0]);
        assert_eq!(slices_in_range(2, [0.45, 0.55]), [1]);
    }

    #[test]
    fn each_kind_gives_its_channels() {
        let plans = |kind| sample_plans(kind, &[0, 2], 3, 20, (1, 8));
        assert_eq!(plans(SampleKind::Pair)[1].frames, [(2, 1), (2, 8)]);
        assert_eq!(plans(SampleKind::Single { phase: PhaseChoice::Both }).len(), 4);
        assert_eq!(plans(SampleKind::Single { phase: PhaseChoice::All }).len(), 40);
        assert_eq!(plans(SampleKind::Cycle { phases: 2 })[0].frames, [(0, 1), (0, 11)]);
        let slab = plans(SampleKind::Slab { slices: 3, phase: PhaseChoice::EndSystole });
        assert_eq!(slab[0].frames, [(0, 8), (0, 8), (1, 8)]);
        assert_eq!(slab[1].frames, [(1, 8), (2, 8), (2, 8)]);
        assert_eq!(plans(SampleKind::Slab { slices: 3, phase: PhaseChoice::Both })[0].frames.len(), 6);
    }

    #[test]
    fn slices_run_from_base_to_apex() {
        let nearest =
            |base_first| planned_slices(3, &[], None, base_first).iter().map(|slice| slice.nearest).collect::<Vec<_>>();
        assert_eq!((nearest(true), nearest(false)), (vec![0, 1, 2], vec![2, 1, 0]));
    }

    #[test]
    fn slices_are_resampled_between_their_neighbours() {
        // Slices at 0, 10, 20, 30 mm on 8 mm: four fit (24 mm), centred, so at 3, 11, 19, 27 mm.
        let planned = planned_slices(4, &[0.0, 10.0, 20.0, 30.0], Some(8.0), true);
        let weights: Vec<Vec<(usize, f32)>> = planned.iter().map(|slice| slice.parts.clone()).collect();
        let wanted = [[(0, 0.7), (1, 0.3)], [(1, 0.9), (2, 0.1)], [(1, 0.1), (2, 0.9)], [(2, 0.3), (3, 0.7)]];
        for (found, wanted) in weights.iter().flatten().zip(wanted.iter().flatten()) {
            assert!(found.0 == wanted.0 && (found.1 - wanted.1).abs() < 1e-6, "{weights:?}");
        }
        assert_eq!(planned.iter().map(|slice| slice.nearest).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    proptest! {
        #[test]
        fn every_sample_uses_slices_and_phases_that_exist(
            slices in 1_usize..20, phases in 1_usize..40, kind in 0..4, seed in 0_usize..40, range in 0.0..0.9_f64,
        ) {
            let kind = match kind {
                0 => SampleKind::Single { phase: PhaseChoice::All },
                1 => SampleKind::Pair,
                2 => SampleKind::Cycle { phases: 1 + seed % 9 },
                _ => SampleKind::Slab { slices: 1 + 2 * (seed % 4), phase: PhaseChoice::Both },
            };
            let chosen = slices_in_range(slices, [range, range + 0.1]);
            prop_assert!(!chosen.is_empty());
            let plans = sample_plans(kind, &chosen, slices, phases, (seed % phases, (seed / 2) % phases));
            prop_assert!(plans.iter().flat_map(|plan| &plan.frames).all(|f| f.0 < slices && f.1 < phases));
            let channels = plans[0].frames.len();
            prop_assert!(plans.iter().all(|plan| plan.frames.len() == channels));
        }

        #[test]
        fn resampled_slices_stay_inside_the_stack(
            gaps in prop::collection::vec(0.5..15.0_f64, 1..15), spacing in 0.5..30.0_f64,
        ) {
            let mut places = vec![0.0];
            for gap in gaps {
                places.push(places[places.len() - 1] + gap);
            }
            let planned = planned_slices(places.len(), &places, Some(spacing), true);
            let place = |slice: &PlannedSlice| {
                slice.parts.iter().map(|&(index, weight)| places[index] * f64::from(weight)).sum::<f64>()
            };
            for pair in planned.windows(2) {
                prop_assert!((place(&pair[1]) - place(&pair[0]) - spacing).abs() < 1e-3);
            }
            for slice in &planned {
                let sum: f32 = slice.parts.iter().map(|part| part.1).sum();
                prop_assert!((sum - 1.0).abs() < 1e-6);
            }
        }
    }
}
