//! Empirical risk minimisation: `mean(ce)`.

use super::registry::{Mix, Rule};
use crate::settings::objective::ObjectiveSettings;

/// The rule; it has no settings.
pub fn rule(_settings: &ObjectiveSettings) -> Rule {
    Rule::mean(Mix::CE)
}
