//! Group distributionally robust knowledge distillation (Vilouras et al. 2023). Scope `distillation`:
//! `(1 - alpha) mean(ce) + alpha sum_g q_g L_g(kd)`, q driven by `L_g(kd)`; scope `total`: `sum_g q_g L_g((1 - alpha) ce + alpha kd)`, q driven by
//! the same.

use super::registry::{Mix, Rule};
use crate::settings::objective::{ObjectiveSettings, Scope};

/// The rule for `alpha` and `scope`.
pub fn rule(settings: &ObjectiveSettings) -> Rule {
    let mix = Mix::of(settings.alpha);
    match settings.scope {
        Scope::Distillation => {
            Rule { mean: Mix { kd: 0.0, ..mix }, weighted: Mix { ce: 0.0, ..mix }, driving: Mix::KD }
        }
        Scope::Total => Rule { mean: Mix::NOTHING, weighted: mix, driving: mix },
    }
}
