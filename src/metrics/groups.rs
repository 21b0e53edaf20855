//! Accuracy and loss per group, and the averages and the worst over groups (design, section 3, "Metrics").
//!
//! Used per epoch by training (samples) and by the audit (samples and subjects); one implementation for both.

/// Counts per group, filled sample by sample: `add` / `finish` / `reset`. Neither the order of samples nor their split into
/// batches changes the result.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupTally {
    correct: Vec<u64>,
    losses: Vec<Vec<f64>>,
}

/// One group of a finished tally.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupResult {
    /// Samples of the group.
    pub n: u64,
    /// Of these, classified correctly.
    pub correct: u64,
    /// `correct / n`; `None` for a group without a sample.
    pub accuracy: Option<f64>,
    /// Mean loss; `None` for a group without a sample.
    pub loss: Option<f64>,
}

/// The worst of several groups.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worst {
    /// Index of the group; ties go to the lower index.
    pub group: usize,
    /// Its accuracy.
    pub accuracy: f64,
}

/// A finished tally.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupSummary {
    /// Samples in all.
    pub n: u64,
    /// Per group, in index order.
    pub groups: Vec<GroupResult>,
    /// Correct / all; `None` without a sample.
    pub accuracy: Option<f64>,
    /// Mean loss over all samples; `None` without a sample.
    pub loss: Option<f64>,
    /// Group accuracies weighted by the training shares, renormalised over the groups present; `None` when none of the groups
    /// present was trained on.
    pub train_weighted_accuracy: Option<f64>,
    /// Plain mean of the accuracies of the groups present; `None` without a sample.
    pub mean_group_accuracy: Option<f64>,
    /// Minimum over the groups present; `None` without a sample.
    pub worst: Option<Worst>,
    /// Groups without a sample, in index order: these have no accuracy and cannot be the worst.
    pub absent: Vec<usize>,
}

impl GroupTally {
    /// A tally over `groups` groups, empty.
    pub fn new(groups: usize) -> Self {
        Self { correct: vec![0; groups], losses: vec![Vec::new(); groups] }
    }

    /// Adds one sample of `group`.
    ///
    /// # Panics
    /// When `group` is not below the number of groups: a caller's bug.
    pub fn add(&mut self, group: usize, is_correct: bool, loss: f64) {
        self.correct[group] += u64::from(is_correct);
        self.losses[group].push(loss);
    }

    /// Forgets all samples.
    pub fn reset(&mut self) {
        self.correct.fill(0);
        self.losses.iter_mut().for_each(Vec::clear);
    }

    /// The summary; `train_counts[g]` is the number of training samples of group `g`.
    ///
    /// # Panics
    /// When `train_counts` has another length than there are groups: a caller's bug.
    pub fn finish(&self, train_counts: &[u64]) -> GroupSummary {
        assert_eq!(train_counts.len(), self.correct.len(), "one training count per group");
        let sums: Vec<f64> = self.losses.iter().map(|losses| ordered_sum(losses)).collect();
        let result = |(group, &correct): (usize, &u64)| {
            let n = self.losses[group].len() as u64;
            let per_sample = |sum: f64| (n > 0).then(|| sum / n as f64);
            GroupResult { n, correct, accuracy: per_sample(correct as f64), loss: per_sample(sums[group]) }
        };
        let groups: Vec<GroupResult> = self.correct.iter().enumerate().map(result).collect();
        let n: u64 = groups.iter().map(|group| group.n).sum();
        let correct: u64 = groups.iter().map(|group| group.correct).sum();
        let per_sample = |sum: f64| (n > 0).then(|| sum / n as f64);
        let accuracies: Vec<Option<f64>> = groups.iter().map(|group| group.accuracy).collect();
        GroupSummary {
            n,
            accuracy: per_sample(correct as f64),
            loss: per_sample(ordered_sum(&sums)),
            train_weighted_accuracy: train_weighted_accuracy(&accuracies, train_counts),
            mean_group_accuracy: mean_group_accuracy(&accuracies),
            worst: worst(&accuracies),
            absent: (0..groups.len()).filter(|&group| groups[group].n == 0).collect(),
            groups,
        }
    }
}

/// Sum of the values in ascending order, so that it does not depend on the order in which they came.
pub fn ordered_sum(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.iter().sum()
}

/// Mean of the group accuracies weighted by training counts, renormalised over the groups present.
///
/// `None` when no group present has a training sample.
pub fn train_weighted_accuracy(accuracies: &[Option<f64>], train_counts: &[u64]) -> Option<f64> {
    let present = || accuracies.iter().zip(train_counts).filter_map(|(accuracy, &count)| Some(((*accuracy)?, count)));
    let total: u64 = present().map(|(_, count)| count).sum();
    (total > 0).then(|| present().map(|(accuracy, count)| accuracy * count as f64).sum::<f64>() / total as f64)
}

/// Plain mean of the accuracies of the groups present; `None` when there is none.
pub fn mean_group_accuracy(accuracies: &[Option<f64>]) -> Option<f64> {
    let present: Vec<f64> = accuracies.iter().flatten().copied().collect();
    (!present.is_empty()).then(|| present.iter().sum::<f64>() / present.len() as f64)
}

/// The lowest accuracy over the groups present, ties to the lower index; `None` when there is none.
pub fn worst(accuracies: &[Option<f64>]) -> Option<Worst> {
    let present =
        accuracies.iter().enumerate().filter_map(|(group, accuracy)| Some(Worst { group, accuracy: (*accuracy)? }));
    present.reduce(|lowest, next| if next.accuracy < lowest.accuracy { next } else { lowest })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Three groups by hand: 3 of 4, 1 of 2, and one without a sample.
    fn tally() -> GroupTally {
        let mut tally = GroupTally::new(3);
        for (is_correct, loss) in [(true, 0.1), (true, 0.2), (true, 0.3), (false, 2.0)] {
            tally.add(0, is_correct, loss);
        }
        tally.add(2, true, 0.5);
        tally.add(2, false, 1.5);
        tally
    }

    #[test]
    fn averages_and_worst_follow_the_design_by_hand() {
        let summary = tally().finish(&[90, 100, 10]);
        assert_eq!((summary.n, summary.accuracy), (6, Some(4.0 / 6.0)));
        assert_eq!(summary.groups[0].accuracy, Some(0.75));
        assert_eq!(summary.groups[1], GroupResult { n: 0, correct: 0, accuracy: None, loss: None });
        assert_eq!(summary.groups[2].loss, Some(1.0));
        // Group 1 is absent, so the shares are 90 and 10 of 100: 0.9 x 0.75 + 0.1 x 0.5.
        assert!((summary.train_weighted_accuracy.unwrap() - 0.725).abs() < 1e-15);
        assert_eq!(summary.mean_group_accuracy, Some(0.625));
        assert_eq!(summary.worst, Some(Worst { group: 2, accuracy: 0.5 }));
        assert_eq!(summary.absent, [1]);
    }

    #[test]
    fn an_empty_tally_has_no_numbers_and_lists_every_group_as_absent() {
        let mut tally = tally();
        tally.reset();
        let summary = tally.finish(&[1, 1, 1]);
        assert_eq!(summary, GroupTally::new(3).finish(&[1, 1, 1]));
        assert_eq!((summary.accuracy, summary.loss, summary.worst), (None, None, None));
        assert_eq!(summary.absent, [0, 1, 2]);
    }

    #[test]
    fn a_group_without_training_samples_has_no_train_weighted_accuracy() {
        let summary = tally().finish(&[0, 5, 0]);
        assert_eq!(summary.train_weighted_accuracy, None);
        assert!(summary.mean_group_accuracy.is_some());
    }

    #[test]
    fn the_worst_of_equal_groups_is_the_first() {
        assert_eq!(worst(&[None, Some(0.5), Some(0.5)]), Some(Worst { group: 1, accuracy: 0.5 }));
    }

    proptest! {
        #[test]
        fn the_order_of_samples_changes_nothing(samples in prop::collection::vec((0usize..4, any::<bool>(), 0.0f64..9.0), 0..50)) {
            let fill = |samples: &mut dyn Iterator<Item = &(usize, bool, f64)>| {
                let mut tally = GroupTally::new(4);
                samples.for_each(|&(group, is_correct, loss)| tally.add(group, is_correct, loss));
                tally.finish(&[1, 2, 3, 4])
            };
            prop_assert_eq!(fill(&mut samples.iter()), fill(&mut samples.iter().rev()));
        }
    }
}
