//! Quality flags of a stack: what a person should look at. They report and never leave a stack out.

use super::localise::LOW_CONFIDENCE;
use super::prepare::Findings;
use super::source::CohortStack;
use crate::formats::quality::QualityFlag;

/// Share of the crop outside the image from which the heart counts as near the border.
const BORDER_SHARE: f64 = 0.1;

/// The flags of a stack, in the order of [`QualityFlag`].
pub fn flags(stack: &CohortStack, findings: &Findings) -> Vec<QualityFlag> {
    let uncertain = |heart: &super::localise::Heart| !heart.by_motion || heart.confidence < LOW_CONFIDENCE;
    let checks = [
        (QualityFlag::HeartUncertain, findings.heart.as_ref().is_some_and(uncertain)),
        (QualityFlag::HeartNearBorder, findings.outside_share > BORDER_SHARE),
        (QualityFlag::MissingPhases, stack.phases < stack.phases_expected),
    ];
    checks.into_iter().filter(|(_, raised)| *raised).map(|(flag, _)| flag).collect()
}
