//! Quality flags of a stack: what a person should look at. They report and never leave a stack out. Where the limits come from is in
//! `docs/preprocess.md`.

use super::localise::LOW_CONFIDENCE;
use super::orient::{cross, dot};
use super::prepare::Findings;
use super::source::CohortStack;
use crate::formats::quality::QualityFlag;

/// Share of the crop outside the image from which the heart counts as near the border.
const BORDER_SHARE: f64 = 0.1;
/// A crop that leaves less around what beats may cut it, mm.
const CROP_MARGIN_MM: f64 = 2.0;
/// A slice this far from where its neighbours say it should be has moved, mm.
const SLICE_JUMP_MM: f64 = 10.0;
/// The last phase runs into the first; a change this many times the largest other one does not.
const PHASE_JUMP: f64 = 1.5;
/// Under this range over noise blood and muscle are hard to tell apart.
const CONTRAST_TO_NOISE: f64 = 10.0;
/// A cavity that changes less does not beat.
const CAVITY_CHANGE: f64 = 0.03;
/// Usual direction of the left ventricle's long axis, base to apex, LPS, as `ingest` uses it for views (docs/stacks.md).
const LONG_AXIS: [f64; 3] = [0.66, -0.52, -0.54];
/// A short-axis plane's normal lies within this angle of it.
const AXIS_ANGLE_DEG: f64 = 45.0;

/// Angle between a stack's normal, whichever way it points, and the usual long axis, degrees; `None` without geometry.
pub fn axis_angle_deg(stack: &CohortStack) -> Option<f64> {
    let (row, column) = stack.axes?;
    let normal = cross(row, column);
    let lengths = (dot(normal, normal) * dot(LONG_AXIS, LONG_AXIS)).sqrt();
    let cosine = (dot(normal, LONG_AXIS).abs() / lengths).clamp(0.0, 1.0);
    cosine.is_finite().then(|| libm::acos(cosine).to_degrees())
}

/// The flags of a stack, in the order of [`QualityFlag`].
pub fn flags(stack: &CohortStack, findings: &Findings) -> Vec<QualityFlag> {
    let uncertain = |heart: &super::localise::Heart| !heart.by_motion || heart.confidence < LOW_CONFIDENCE;
    let checks = &findings.checks;
    let above = |value: Option<f64>, limit: f64| value.is_some_and(|value| value > limit);
    let below = |value: Option<f64>, limit: f64| value.is_some_and(|value| value < limit);
    let is_short_axis = stack.view == "sax" && !stack.is_plain_image;
    let checks = [
        (QualityFlag::HeartUncertain, findings.heart.as_ref().is_some_and(uncertain)),
        (
            QualityFlag::HeartNearBorder,
            findings.outside_share > BORDER_SHARE || below(findings.crop_margin_mm, CROP_MARGIN_MM),
        ),
        (QualityFlag::MissingPhases, stack.phases < stack.phases_expected),
        (QualityFlag::LowContrast, below(checks.contrast_to_noise, CONTRAST_TO_NOISE)),
        (QualityFlag::Motion, above(checks.slice_jump_mm, SLICE_JUMP_MM) || above(checks.phase_jump, PHASE_JUMP)),
        (
            QualityFlag::WrongView,
            is_short_axis
                && (above(axis_angle_deg(stack), AXIS_ANGLE_DEG) || below(checks.cavity_change, CAVITY_CHANGE)),
        ),
    ];
    checks.into_iter().filter(|(_, raised)| *raised).map(|(flag, _)| flag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::checks::Checks;

    fn findings(checks: Checks) -> Findings {
        let heart = super::super::localise::Heart {
            centre_mm: (0.0, 0.0),
            reach_mm: (45.0, 50.0),
            confidence: 0.9,
            lead: 0.9,
            motion_share: 0.5,
            by_motion: true,
        };
        Findings {
            heart: Some(heart),
            centre_pixel: None,
            orientation: Default::default(),
            phases: (0, 9),
            outside_share: 0.0,
            crop_margin_mm: Some(20.0),
            checks,
        }
    }

    /// Geometry of Sunnybrook SCD0000301, as pydicom reads it.
    fn short_axis() -> CohortStack {
        let row = [0.712_221, 0.701_112, -0.034_394_9];
        let column = [-0.307_715, 0.267_798, -0.913_015];
        CohortStack {
            view: "sax".into(),
            phases: 20,
            phases_expected: 20,
            axes: Some((row, column)),
            ..CohortStack::default()
        }
    }

    const GOOD: Checks = Checks {
        slice_jump_mm: Some(1.0),
        phase_jump: Some(0.8),
        cavity_change: Some(0.4),
        contrast_to_noise: Some(40.0),
    };

    #[test]
    fn a_good_stack_has_no_flag_and_each_number_raises_its_own() {
        let raised = |checks: Checks| flags(&short_axis(), &findings(checks));
        assert_eq!(raised(GOOD), []);
        assert_eq!(raised(Checks::default()), [], "what cannot be told is no fault");
        assert_eq!(raised(Checks { slice_jump_mm: Some(20.0), ..GOOD }), [QualityFlag::Motion]);
        assert_eq!(raised(Checks { phase_jump: Some(4.0), ..GOOD }), [QualityFlag::Motion]);
        assert_eq!(raised(Checks { contrast_to_noise: Some(2.0), ..GOOD }), [QualityFlag::LowContrast]);
        assert_eq!(raised(Checks { cavity_change: Some(0.0), ..GOOD }), [QualityFlag::WrongView]);
    }

    #[test]
    fn what_beats_at_the_border_of_the_crop_is_flagged() {
        let near = Findings { crop_margin_mm: Some(1.0), ..findings(GOOD) };
        assert_eq!(flags(&short_axis(), &near), [QualityFlag::HeartNearBorder]);
        let outside = Findings { outside_share: 0.2, ..findings(GOOD) };
        assert_eq!(flags(&short_axis(), &outside), [QualityFlag::HeartNearBorder]);
        assert_eq!(flags(&short_axis(), &Findings { crop_margin_mm: None, ..findings(GOOD) }), []);
    }

    /// By hand: the normal of an axial plane is (0, 0, 1); acos(0.54 / 0.9984) = 57 degrees.
    #[test]
    fn a_plane_far_from_the_short_axis_is_a_wrong_view_and_only_where_short_axis_is_claimed() {
        let axial = CohortStack { axes: Some(([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])), ..short_axis() };
        assert!((axis_angle_deg(&axial).unwrap() - 57.26).abs() < 0.1);
        assert!(axis_angle_deg(&short_axis()).unwrap() < 20.0);
        assert_eq!(flags(&axial, &findings(GOOD)), [QualityFlag::WrongView]);
        assert_eq!(flags(&CohortStack { view: "4ch".into(), ..axial }, &findings(GOOD)), []);
        let fewer = CohortStack { phases: 12, ..short_axis() };
        assert_eq!(flags(&fewer, &findings(GOOD)), [QualityFlag::MissingPhases]);
    }
}
