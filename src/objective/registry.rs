//! The register of objectives: one line each. A new one is a file with its rule, a line here and a name in `settings::objective`; docs/objectives.md
//! has the steps.

use super::{agre_kd, dfr, erm, group_distil, group_dro, jtt, kd};
use crate::settings::objective::{ObjectiveKind, ObjectiveSettings};

/// Coefficients of a sample's cross-entropy and of its distillation loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// Of the cross-entropy.
    pub ce: f64,
    /// Of the distillation loss.
    pub kd: f64,
}

impl Mix {
    /// Neither.
    pub const NOTHING: Self = Self { ce: 0.0, kd: 0.0 };
    /// The cross-entropy alone.
    pub const CE: Self = Self { ce: 1.0, kd: 0.0 };
    /// The distillation loss alone.
    pub const KD: Self = Self { ce: 0.0, kd: 1.0 };

    /// `(1 - alpha) ce + alpha kd`.
    pub fn of(alpha: f64) -> Self {
        Self { ce: 1.0 - alpha, kd: alpha }
    }
}

/// What an objective minimises: `mean_i(mean) + sum_g q_g mean_{i in g}(weighted)`, with q moved by each group's mean of `driving`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// Averaged over the batch.
    pub mean: Mix,
    /// Averaged over each group of the batch, then weighted with q; nothing for objectives without q.
    pub weighted: Mix,
    /// Whose group means drive q.
    pub driving: Mix,
}

impl Rule {
    /// A plain mean, without q.
    pub fn mean(mix: Mix) -> Self {
        Self { mean: mix, weighted: Mix::NOTHING, driving: Mix::NOTHING }
    }
}

/// The rule of an objective with these settings.
pub fn rule(settings: &ObjectiveSettings) -> Rule {
    match settings.objective {
        ObjectiveKind::Erm => erm::rule(settings),
        ObjectiveKind::Kd => kd::rule(settings),
        ObjectiveKind::GroupDro => group_dro::rule(settings),
        ObjectiveKind::GroupDistil => group_distil::rule(settings),
        ObjectiveKind::Jtt => jtt::rule(settings),
        ObjectiveKind::AgreKd => agre_kd::rule(settings),
        ObjectiveKind::DfrTrain | ObjectiveKind::DfrVal => dfr::rule(settings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::objective::{AbsentRule, Scope};

    #[test]
    fn what_settings_say_of_an_objective_is_what_its_rule_does() {
        for objective in ObjectiveKind::ALL {
            let settings = ObjectiveSettings {
                objective,
                scope: Scope::Total,
                absent: AbsentRule::Keep,
                temperature: 4.0,
                alpha: 0.9,
                eta: 0.3,
                adjustment: 0.0,
                floor: 0.0,
            };
            let Rule { mean, weighted, driving } = rule(&settings);
            assert_eq!(objective.needs_teacher(), mean.kd + weighted.kd > 0.0, "{objective:?}");
            assert_eq!(objective.has_weights(), weighted != Mix::NOTHING, "{objective:?}");
            assert_eq!(objective.has_weights(), driving != Mix::NOTHING, "{objective:?}");
            let total = mean.ce + mean.kd + weighted.ce + weighted.kd;
            assert!((total - 1.0).abs() < 1e-12, "{objective:?}: the coefficients sum to 1");
        }
    }
}
