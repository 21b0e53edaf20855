//! The heart in a cine: the roundest bright disc within reach of what beats.
//!
//! Motion alone is drawn to where it is strongest: to the right ventricle's free wall and to the coil, and a failing left ventricle
//! hardly moves. So motion ([`super::motion`]) says where a heart may be, weighted by a broad prior around the image's centre, and
//! the disc ([`super::circle`]) says where in it the left ventricle is. The crop's centre is the middle of the box around the disc
//! with its wall and the motion within a heart's reach of it, which is where the right ventricle is; and since a right ventricle that
//! moves little shows too little of itself, and a vessel beside it too much, it is taken half way to where the middle of both
//! ventricles usually is. Static stacks fall back to the image's centre.
//!
//! Limits: the disc that is second best, 35 mm or more away, may be the true one (stomach, aorta, a round right ventricle);
//! confidence says how close it came, and how far motion is concentrated at all. Hearts that are mirrored (situs inversus) are found,
//! but the crop is some 16 mm off the middle of both ventricles.

use ndarray::Array2;

use super::blur::smooth;
use super::circle::circles;
use super::coarse::CoarseStack;
use super::motion::motion_map;

/// Sigma of the hill that motion raises, mm: what beats within a heart's reach speaks for a place.
const REACH_MM: f64 = 50.0;
/// Share of the field of view that is the sigma of the prior: hearts are imaged near the centre.
const PRIOR_SHARE: f64 = 0.25;
/// Motion within this distance of the disc's rim belongs to the heart, mm: the wall and a wide right ventricle.
const HEART_REACH_MM: f64 = 55.0;
/// Share of that motion that may lie outside the box on each side: noise and vessels.
const BOX_SHARE: f64 = 0.04;
/// Left-ventricular wall around the disc, mm.
const WALL_MM: f64 = 10.0;
/// Farthest that the right ventricle draws the crop away from the left one's centre, mm: half of a wide one, so that the left
/// ventricle always stays in a crop of 140 mm.
const MOST_SHIFT_MM: f64 = 25.0;
/// Where the middle of both ventricles usually is, mm right of the left one's centre in standard orientation: a wall lies some 35 mm to
/// the right of it, the right ventricle's free wall some 65 mm to the left.
const USUAL_RIGHT_MM: f64 = -16.0;
/// How much the motion counts against that.
const MOTION_SHARE: f64 = 0.5;
/// A disc that is so far away is another one, mm.
const OTHER_DISC_MM: f64 = 35.0;
/// Radius within which motion should be concentrated, mm.
const MOTION_RADIUS_MM: f64 = 60.0;
/// Below this confidence the heart counts as uncertain.
pub const LOW_CONFIDENCE: f64 = 0.2;

/// Where the heart is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heart {
    /// Centre of both ventricles in the common plane, (down, right) from the border of the first slice's first pixel, mm.
    pub centre_mm: (f64, f64),
    /// How far disc, wall and motion reach from there at most, (down or up, right or left), mm; zero where nothing was found.
    pub reach_mm: (f64, f64),
    /// 0 to 1, the lower of `lead` and twice `motion_share`.
    pub confidence: f64,
    /// 0 to 1: by how much the next best disc elsewhere falls short of the chosen one.
    pub lead: f64,
    /// Up to 1: share of all motion that lies around the disc beyond what an even spread would give.
    pub motion_share: f64,
    /// Whether it was found by motion; otherwise the image's centre.
    pub by_motion: bool,
}

fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    ((a.0 - b.0) * (a.0 - b.0) + (a.1 - b.1) * (a.1 - b.1)).sqrt()
}

/// The disc that is taken for the left ventricle's cavity.
struct Disc {
    centre_mm: (f64, f64),
    radius_mm: f64,
    /// Score of the best disc elsewhere, as a share of this one's.
    rival: f64,
}

/// The best disc by roundness, motion around it and place in the image; `None` where nothing is round or nothing moves.
fn best_disc(stack: &CoarseStack, motion: &Array2<f32>) -> Option<Disc> {
    let extent = stack.extent_mm();
    let found = circles(stack);
    let mut scores = smooth(motion, (REACH_MM / stack.pixel_mm.0, REACH_MM / stack.pixel_mm.1));
    for (at, score) in scores.indexed_iter_mut() {
        let (down, right) = stack.middle_mm(at);
        let (down, right) = ((down / extent.0 - 0.5) / PRIOR_SHARE, (right / extent.1 - 0.5) / PRIOR_SHARE);
        *score *= found.share[at] * libm::exp(-0.5 * (down * down + right * right)) as f32;
    }
    let mut best = ((0, 0), 0.0_f32);
    for (at, &score) in scores.indexed_iter() {
        if score > best.1 {
            best = (at, score);
        }
    }
    let (at, score) = best;
    if !(score > 0.0 && score.is_finite()) {
        return None;
    }
    let centre_mm = stack.middle_mm(at);
    let elsewhere = scores.indexed_iter().filter(|(at, _)| distance(stack.middle_mm(*at), centre_mm) > OTHER_DISC_MM);
    let rival = elsewhere.fold(0.0_f32, |most, (_, &score)| most.max(score));
    Some(Disc { centre_mm, radius_mm: f64::from(found.radius_mm[at]), rival: f64::from(rival / score) })
}

/// Distances from the image's border within which all but `BOX_SHARE` of the profile lies on each side, mm.
fn between(profile: &[f64], pixel_mm: f64) -> Option<(f64, f64)> {
    let total: f64 = profile.iter().sum();
    if !(total > 0.0 && total.is_finite()) {
        return None;
    }
    let at = |share: f64| {
        let mut before = 0.0;
        for (index, &value) in profile.iter().enumerate() {
            if before + value >= share * total {
                let part = if value > 0.0 { (share * total - before) / value } else { 0.0 };
                return (index as f64 + part) * pixel_mm;
            }
            before += value;
        }
        profile.len() as f64 * pixel_mm
    };
    Some((at(BOX_SHARE), at(1.0 - BOX_SHARE)))
}

/// The box around the disc with its wall and the motion along one axis, mm.
fn extent(disc: (f64, f64), profile: &[f64], pixel_mm: f64) -> (f64, f64) {
    let (centre, half) = (disc.0, disc.1 + WALL_MM);
    let (low, high) = between(profile, pixel_mm).unwrap_or((centre, centre));
    (low.min(centre - half), high.max(centre + half))
}

/// Where the middle of both ventricles is, and how far the box around disc, wall and motion reaches from there.
fn both_ventricles(
    stack: &CoarseStack,
    motion: &Array2<f32>,
    disc: &Disc,
    is_standard: bool,
) -> ((f64, f64), (f64, f64)) {
    let (mut rows, mut columns) = (vec![0.0; stack.size.0], vec![0.0; stack.size.1]);
    for (at, &value) in motion.indexed_iter() {
        if distance(stack.middle_mm(at), disc.centre_mm) <= disc.radius_mm + HEART_REACH_MM {
            rows[at.0] += f64::from(value);
            columns[at.1] += f64::from(value);
        }
    }
    let down = extent((disc.centre_mm.0, disc.radius_mm), &rows, stack.pixel_mm.0);
    let right = extent((disc.centre_mm.1, disc.radius_mm), &columns, stack.pixel_mm.1);
    let middle = |(low, high): (f64, f64)| (low + high) / 2.0;
    let mut shift = (middle(down) - disc.centre_mm.0, middle(right) - disc.centre_mm.1);
    if is_standard {
        shift.0 *= MOTION_SHARE;
        shift.1 = MOTION_SHARE * shift.1 + (1.0 - MOTION_SHARE) * USUAL_RIGHT_MM;
    }
    let length = distance(shift, (0.0, 0.0));
    let kept = if length > MOST_SHIFT_MM { MOST_SHIFT_MM / length } else { 1.0 };
    let centre = (disc.centre_mm.0 + kept * shift.0, disc.centre_mm.1 + kept * shift.1);
    let reach = |centre: f64, (low, high): (f64, f64)| (centre - low).max(high - centre);
    (centre, (reach(centre.0, down), reach(centre.1, right)))
}

/// The share of all motion around a place, beyond what an even spread would give; at most 1.
fn concentration(stack: &CoarseStack, motion: &Array2<f32>, centre_mm: (f64, f64)) -> f64 {
    let (mut inside, mut total, mut pixels) = (0.0, 0.0, 0_usize);
    for (at, &value) in motion.indexed_iter() {
        total += f64::from(value);
        if distance(stack.middle_mm(at), centre_mm) <= MOTION_RADIUS_MM {
            inside += f64::from(value);
            pixels += 1;
        }
    }
    let even = pixels as f64 / motion.len().max(1) as f64;
    if total > 0.0 && even < 1.0 { (inside / total - even) / (1.0 - even) } else { 0.0 }
}

/// Finds the heart. `is_standard`: the stack is in standard orientation, where the right ventricle is left of the left one.
pub fn localise(stack: &CoarseStack, is_standard: bool) -> Heart {
    let extent = stack.extent_mm();
    let motion = motion_map(stack);
    let Some(disc) = best_disc(stack, &motion) else {
        let centre_mm = (extent.0 / 2.0, extent.1 / 2.0);
        let reach_mm = (0.0, 0.0);
        return Heart { centre_mm, reach_mm, confidence: 0.0, lead: 0.0, motion_share: 0.0, by_motion: false };
    };
    let motion_share = concentration(stack, &motion, disc.centre_mm);
    let lead = 1.0 - disc.rival;
    let (centre_mm, reach_mm) = both_ventricles(stack, &motion, &disc, is_standard);
    Heart {
        centre_mm,
        reach_mm,
        confidence: lead.min(2.0 * motion_share).clamp(0.0, 1.0),
        lead,
        motion_share,
        by_motion: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The disc is found to a reduced pixel of 3 mm; a little more for rounding.
    const HALF_DIAGONAL_MM: f64 = 2.2;

    /// A ring whose radius beats about (60, 70) mm in noise-free surroundings, 3 mm pixels.
    fn beating(slices: usize, phases: usize, amplitude: f64) -> CoarseStack {
        let frame = |phase: usize| {
            let beat = libm::cos(std::f64::consts::TAU * phase as f64 / phases as f64);
            Array2::from_shape_fn((60, 60), |(row, column)| {
                let down = (row as f64 + 0.5) * 3.0 - 60.0;
                let right = (column as f64 + 0.5) * 3.0 - 70.0;
                let radius = 24.0 + amplitude * beat;
                let texture = ((row * 31 + column * 17) % 7) as f32;
                100.0 / (1.0 + libm::exp((down.hypot(right) - radius) / 2.0)) as f32 + texture
            })
        };
        CoarseStack {
            frames: (0..slices).map(|_| (0..phases).map(frame).collect()).collect(),
            size: (60, 60),
            blocks: (2, 2),
            pixel_mm: (3.0, 3.0),
            shifts_mm: vec![(0.0, 0.0); slices],
        }
    }

    #[test]
    fn a_beating_ring_is_found_at_its_centre() {
        for phases in [2, 8, 25] {
            let heart = localise(&beating(5, phases, 8.0), false);
            let error = (heart.centre_mm.0 - 60.0).hypot(heart.centre_mm.1 - 70.0);
            assert!(heart.by_motion && error < HALF_DIAGONAL_MM && heart.confidence > 0.9, "{phases}: {heart:?}");
        }
    }

    /// By hand: in standard orientation the crop's centre lies half of 16 mm to the left of a disc that beats evenly, and what beats
    /// there, 32 mm from the middle of the disc, is 8 mm further away on the right.
    #[test]
    fn the_crop_is_drawn_to_where_the_right_ventricle_usually_is() {
        let stack = beating(5, 8, 8.0);
        let (as_stored, standard) = (localise(&stack, false), localise(&stack, true));
        let moved = (standard.centre_mm.0 - as_stored.centre_mm.0, standard.centre_mm.1 - as_stored.centre_mm.1);
        assert!(moved.0.abs() < 1.5 && (moved.1 + 8.0).abs() < 1.5, "{as_stored:?} {standard:?}");
        assert!((standard.reach_mm.1 - as_stored.reach_mm.1 - 8.0).abs() < 1.5, "{as_stored:?} {standard:?}");
    }

    #[test]
    fn a_static_stack_falls_back_to_the_centre_without_confidence() {
        for stack in [beating(3, 1, 0.0), beating(3, 12, 0.0)] {
            let heart = localise(&stack, false);
            assert_eq!((heart.centre_mm, heart.by_motion), ((90.0, 90.0), false));
            assert!(heart.confidence < LOW_CONFIDENCE);
        }
    }

    #[test]
    fn slices_shifted_in_plane_are_brought_together() {
        let mut stack = beating(4, 10, 8.0);
        // The second pair of slices lies 12 mm further down: the same heart appears 4 pixels higher in them.
        for slice in [2, 3] {
            stack.shifts_mm[slice] = (12.0, 0.0);
            for frame in &mut stack.frames[slice] {
                let source = frame.clone();
                for ((row, column), value) in frame.indexed_iter_mut() {
                    *value = source.get((row + 4, column)).copied().unwrap_or(0.0);
                }
            }
        }
        let heart = localise(&stack, false);
        assert!((heart.centre_mm.0 - 60.0).hypot(heart.centre_mm.1 - 70.0) < HALF_DIAGONAL_MM, "{heart:?}");
    }
}
