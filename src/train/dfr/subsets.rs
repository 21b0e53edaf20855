//! Which samples a last layer is fitted to, and which choose its penalty: halves of the validation split by subject, and group-balanced
//! subsets.

use std::collections::{BTreeMap, BTreeSet};

use crate::formats::dataset::Split;
use crate::train::TrainError;
use crate::train::data::Samples;
use crate::train::streams::{shuffle, stream};

/// Rows of the dataset, apart by subject where they come from one split.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// Fitted to.
    pub fit: Vec<usize>,
    /// The penalty is chosen by these.
    pub choose: Vec<usize>,
}

impl Parts {
    /// `dfr-train`: the training split, and all of validation.
    pub fn of_training(samples: &Samples) -> Self {
        Self { fit: samples.rows(Split::Train), choose: samples.rows(Split::Val) }
    }

    /// `dfr-val`: two halves of the validation split, by subject, within each group at random.
    ///
    /// # Errors
    /// [`TrainError::GroupsTooSmallToHalve`] for groups that are not in both halves.
    pub fn of_validation(samples: &Samples, seed: u64) -> Result<Self, TrainError> {
        let rows = samples.rows(Split::Val);
        let keyed = rows.iter().map(|&row| (samples.groups[row], samples.sample(row).subject_id.as_str()));
        let fitted = first_halves(keyed, seed);
        let is_fitted = |row: &usize| fitted.contains(samples.sample(*row).subject_id.as_str());
        let (fit, choose): (Vec<usize>, Vec<usize>) = rows.into_iter().partition(is_fitted);
        let of = |rows: &[usize]| rows.iter().map(|&row| samples.groups[row]).collect::<BTreeSet<usize>>();
        let (first, second) = (of(&fit), of(&choose));
        let wanted: BTreeSet<usize> = samples.weighted.iter().copied().chain(first.union(&second).copied()).collect();
        let lacking = wanted.into_iter().filter(|group| !(first.contains(group) && second.contains(group)));
        let groups: Vec<String> = lacking.map(|group| samples.dataset.groups()[group].clone()).collect();
        if groups.is_empty() { Ok(Self { fit, choose }) } else { Err(TrainError::GroupsTooSmallToHalve { groups }) }
    }
}

/// The subjects of the first half: of each group's subjects, in random order, every other one. A subject of several groups belongs to the
/// first that names it.
fn first_halves<'a>(keyed: impl Iterator<Item = (usize, &'a str)>, seed: u64) -> BTreeSet<&'a str> {
    let mut group_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (group, subject) in keyed {
        group_of.entry(subject).or_insert(group);
    }
    let mut subjects: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    group_of.into_iter().for_each(|(subject, group)| subjects.entry(group).or_default().push(subject));
    let mut first = BTreeSet::new();
    for (group, mut subjects) in subjects {
        shuffle(&mut stream(seed, "dfr halves", &[group as u64]), &mut subjects);
        first.extend(subjects.into_iter().step_by(2));
    }
    first
}

/// Group-balanced subsets of `rows`: as many samples of each group as the smallest has, drawn without replacement.
#[derive(Debug)]
pub struct Balanced {
    /// Rows per group.
    members: Vec<Vec<usize>>,
    /// Samples of each group in a subset.
    pub per_group: usize,
    seed: u64,
}

impl Balanced {
    /// Groups are those of `rows`; `groups[row]` is the group of a row.
    pub fn new(rows: &[usize], groups: &[usize], seed: u64) -> Self {
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        rows.iter().for_each(|&row| members.entry(groups[row]).or_default().push(row));
        let members: Vec<Vec<usize>> = members.into_values().collect();
        let per_group = members.iter().map(Vec::len).min().unwrap_or(0);
        Self { members, per_group, seed }
    }

    /// Subset `number`, the same whenever it is asked for.
    pub fn subset(&self, number: u64) -> Vec<usize> {
        let mut rng = stream(self.seed, "dfr subset", &[number]);
        let draw = |group: &Vec<usize>| {
            let mut group = group.clone();
            shuffle(&mut rng, &mut group);
            group.truncate(self.per_group);
            group
        };
        self.members.iter().flat_map(draw).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_keep_subjects_whole_and_share_every_group() {
        // Subjects 0..10 of group 0 and 10..13 of group 1, two samples each; subject 0 is in group 1 as well.
        let names: Vec<String> = (0..13).map(|subject| format!("subject{subject:02}")).collect();
        let group = |subject: usize| usize::from(subject >= 10);
        let mut keyed: Vec<(usize, &str)> = (0..26).map(|at| (group(at / 2), names[at / 2].as_str())).collect();
        keyed.push((1, &names[0]));
        let first = first_halves(keyed.iter().copied(), 3);
        let count = |range: std::ops::Range<usize>| range.filter(|&at| first.contains(names[at].as_str())).count();
        assert_eq!((count(0..10), count(10..13)), (5, 2));
        assert_eq!(first, first_halves(keyed.iter().copied(), 3));
        assert_ne!(first, first_halves(keyed.iter().copied(), 4));
    }

    #[test]
    fn a_subset_has_as_many_of_each_group_as_the_smallest_and_none_twice() {
        let groups = [0, 0, 0, 0, 0, 2, 2, 2, 5, 5];
        let rows: Vec<usize> = (0..10).collect();
        let balanced = Balanced::new(&rows, &groups, 1);
        assert_eq!(balanced.per_group, 2);
        let subset = balanced.subset(0);
        for group in [0, 2, 5] {
            assert_eq!(subset.iter().filter(|&&row| groups[row] == group).count(), 2);
        }
        assert_eq!(subset.iter().collect::<BTreeSet<_>>().len(), 6);
        assert_eq!(subset, balanced.subset(0));
        assert!((1..20).any(|number| balanced.subset(number) != subset));
    }
}
