//! Just train twice (Liu et al. 2021): `mean(ce)` over an epoch in which the errors of a first, short ERM run come `upweight` times.
//! The rule is ERM's; the repeats are in the epoch's samples (`train::jtt`). Group labels take part in selection only.

use super::registry::{Mix, Rule};
use crate::settings::objective::ObjectiveSettings;

/// The rule of the second run.
pub fn rule(_settings: &ObjectiveSettings) -> Rule {
    Rule::mean(Mix::CE)
}
