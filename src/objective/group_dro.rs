//! Group DRO (Sagawa et al. 2020): `sum_g q_g L_g(ce)`, q driven by `L_g(ce)`.

use super::registry::{Mix, Rule};
use crate::settings::objective::ObjectiveSettings;

/// The rule; step size and adjustment belong to q.
pub fn rule(_settings: &ObjectiveSettings) -> Rule {
    Rule { mean: Mix::NOTHING, weighted: Mix::CE, driving: Mix::CE }
}
