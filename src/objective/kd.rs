//! Knowledge distillation (Hinton et al. 2015): `(1 - alpha) mean(ce) + alpha mean(kd)`.

use super::registry::{Mix, Rule};
use crate::settings::objective::ObjectiveSettings;

/// The rule for `alpha`.
pub fn rule(settings: &ObjectiveSettings) -> Rule {
    Rule::mean(Mix::of(settings.alpha))
}
