//! Which epoch is kept (design, section 3): the best on the validation split by the chosen figure; ties by higher mean group
//! accuracy, then lower loss, then the earlier epoch. Or simply the last.

use serde::{Deserialize, Serialize};

use crate::formats::run::MetricsLine;
use crate::settings::train::Selection;

/// What an epoch is judged by. `None` never wins.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// The chosen figure; higher is better.
    figure: Option<f64>,
    mean_group_accuracy: Option<f64>,
    loss: Option<f64>,
}

impl Standing {
    /// How an epoch with this validation line stands.
    pub fn of(selection: Selection, line: &MetricsLine) -> Self {
        let figure = match selection {
            Selection::WorstGroupAccuracy => line.worst_group_accuracy,
            Selection::MeanGroupAccuracy => line.mean_group_accuracy,
            Selection::Accuracy => line.accuracy,
            Selection::Loss => line.loss.map(|loss| -loss),
            Selection::LastEpoch => Some(line.epoch as f64),
            Selection::WorstGroupLoss => {
                let losses = line.groups.values().filter_map(|group| group.loss);
                losses.reduce(f64::max).map(|loss| -loss)
            }
            Selection::Auroc => line.auroc,
            Selection::WorstGroupAuroc => line.worst_group_auroc,
        };
        Self { figure, mean_group_accuracy: line.mean_group_accuracy, loss: line.loss }
    }

    /// Whether a later epoch that stands like this replaces `earlier`.
    pub fn beats(&self, earlier: &Self) -> bool {
        let key = |standing: &Self| {
            [standing.figure, standing.mean_group_accuracy, standing.loss.map(|loss| -loss)]
                .map(|value| value.unwrap_or(f64::NEG_INFINITY))
        };
        key(self).partial_cmp(&key(earlier)) == Some(std::cmp::Ordering::Greater)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(figure: f64, mean: f64, loss: f64) -> Standing {
        Standing { figure: Some(figure), mean_group_accuracy: Some(mean), loss: Some(loss) }
    }

    #[test]
    fn ties_go_to_the_mean_then_the_loss_then_the_earlier_epoch() {
        let best = standing(0.5, 0.7, 0.9);
        assert!(standing(0.6, 0.1, 9.0).beats(&best));
        assert!(!standing(0.4, 0.9, 0.1).beats(&best));
        assert!(standing(0.5, 0.8, 9.0).beats(&best));
        assert!(standing(0.5, 0.7, 0.8).beats(&best));
        assert!(!standing(0.5, 0.7, 0.9).beats(&best));
        let nothing = Standing { figure: None, ..best };
        assert!(!nothing.beats(&best) && best.beats(&nothing));
    }
}
