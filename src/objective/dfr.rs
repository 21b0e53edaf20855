//! Deep feature reweighting (Kirichenko et al. 2023): the last layer's `mean(ce)` over group-balanced subsets; its penalty and its solver are in
//! [`super::logistic`]. Nothing is trained by steps; this rule is the loss that a refit network is evaluated with.

use super::registry::{Mix, Rule};
use crate::settings::objective::ObjectiveSettings;

/// The rule of evaluation.
pub fn rule(_settings: &ObjectiveSettings) -> Rule {
    Rule::mean(Mix::CE)
}
