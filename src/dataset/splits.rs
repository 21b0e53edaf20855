//! Which subject is trained, selected and tested on: stratified and seeded, from a column of the cohort, or in k folds.
//!
//! A subject is in one split only. Its order within a stratum is the hash of (seed, subject_id), so that a subject more or less
//! moves few others, and the result does not depend on the order of the cohort.

use std::collections::{BTreeMap, BTreeSet};

use crate::failure::Classify;
use crate::formats::dataset::Split;
use crate::outdir::fingerprint;

/// A subject as the split sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Pseudonym.
    pub id: String,
    /// Group that drives worst-group accuracy (of the subject's first stack).
    pub group: String,
    /// Class (of the subject's first stack).
    pub label: String,
    /// Split named by the source.
    pub source_split: Option<String>,
    /// Only tested on.
    pub held_out: bool,
    /// Only trained on.
    pub training_only: bool,
}

/// How subjects are divided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// By shares of training, validation and test.
    Random {
        /// Shares that add up to 1.
        fractions: [f64; 3],
    },
    /// As the source says.
    Source,
    /// In equal parts.
    KFold {
        /// Number of parts, at least 3.
        folds: usize,
    },
}

/// Options of [`assign`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitOptions {
    /// How subjects are divided.
    pub method: Method,
    /// Keep each group's share in every split.
    pub by_group: bool,
    /// Keep each label's share in every split.
    pub by_label: bool,
    /// Seed of the order within strata.
    pub seed: u64,
}

/// Where a subject belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Split; with folds as fold 0 sees it.
    pub split: Split,
    /// Fold; `None` without folds, or training only in every fold.
    pub fold: Option<i32>,
}

/// Why the subjects cannot be divided.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// Nothing to learn.
    #[error(
        "all {subjects} usable subjects have the label `{label}`; a classifier needs two classes: check the labels given to ingest, and exclusions.csv"
    )]
    OneClass {
        /// The label.
        label: String,
        /// Subjects.
        subjects: usize,
    },
    /// No subject is left.
    #[error("no usable subject is left; exclusions.csv says why")]
    NoSubjects,
    /// A class that is never trained on.
    #[error("class `{label}` has no training subject ({subjects} subjects in all)")]
    ClassWithoutTraining {
        /// The class.
        label: String,
        /// Its subjects.
        subjects: usize,
    },
    /// A group that could not be selected for or reported on.
    #[error(
        "group `{group}` has {subjects} subjects and none in {missing}; add it to held_out_groups or training_only_groups, merge it with merge_small_groups_into, or group by less"
    )]
    GroupWithout {
        /// The group.
        group: String,
        /// Its subjects.
        subjects: usize,
        /// The split or fold that lacks it.
        missing: String,
    },
    /// The source's split is not complete.
    #[error(
        "{missing} of {subjects} subjects have no split in the source; name one for each in labels.csv, or use split = \"random\""
    )]
    SourceMissing {
        /// Subjects without.
        missing: usize,
        /// Subjects in all.
        subjects: usize,
    },
    /// The source's split has another name.
    #[error("the source's split is `{found}`, expected train, val or test")]
    SourceName {
        /// What is there.
        found: String,
    },
    /// Folds test everything; held-out groups are never trained on.
    #[error("held_out_groups cannot be combined with split = \"k-fold\"")]
    HeldOutWithFolds,
}

impl Classify for SplitError {}

/// The split of a source's name.
fn source_split(name: &str) -> Result<Split, SplitError> {
    match name.trim().to_ascii_lowercase().as_str() {
        "train" | "training" | "0" => Ok(Split::Train),
        "val" | "valid" | "validation" | "1" => Ok(Split::Val),
        "test" | "testing" | "2" => Ok(Split::Test),
        _ => Err(SplitError::SourceName { found: name.to_owned() }),
    }
}

/// Subjects in the order in which they are dealt out: by stratum, then by seeded hash.
fn dealing_order<'a>(subjects: &[&'a Subject], options: &SplitOptions) -> Vec<&'a Subject> {
    let key = |subject: &&Subject| {
        let seed = options.seed.to_le_bytes();
        (
            options.by_group.then(|| subject.group.clone()),
            options.by_label.then(|| subject.label.clone()),
            fingerprint([b"split".as_slice(), &seed, subject.id.as_bytes()]),
        )
    };
    let mut ordered = subjects.to_vec();
    ordered.sort_by_cached_key(key);
    ordered
}

/// Whole numbers in proportion to `fractions` that add up to `count`; each at least 1 where there are enough.
fn quotas(count: usize, fractions: [f64; 3]) -> [usize; 3] {
    let exact = fractions.map(|share| share * count as f64);
    let mut found = exact.map(|value| value.floor() as usize);
    while found.iter().sum::<usize>() < count {
        let rest = |index: usize| exact[index] - found[index] as f64;
        let next = (0..3).rev().max_by(|&a, &b| rest(a).total_cmp(&rest(b))).expect("three splits");
        found[next] += 1;
    }
    for index in 0..3 {
        if found[index] == 0 && count >= 3 {
            let donor = (0..3).max_by_key(|&other| found[other]).expect("three splits");
            found[donor] -= 1;
            found[index] += 1;
        }
    }
    found
}

/// Deals one list out so that every prefix holds each split in proportion: neighbours in the list are of the same stratum.
fn deal(subjects: &[&Subject], fractions: [f64; 3], places: &mut BTreeMap<String, Place>) {
    let wanted = quotas(subjects.len(), fractions);
    let mut given = [0_usize; 3];
    for (index, subject) in subjects.iter().enumerate() {
        let due =
            |split: usize| wanted[split] as f64 * (index as f64 + 1.0) / subjects.len() as f64 - given[split] as f64;
        let open = (0..3).filter(|&split| given[split] < wanted[split]);
        let next = open.max_by(|&a, &b| due(a).total_cmp(&due(b)).then(b.cmp(&a))).expect("the quotas add up");
        given[next] += 1;
        places.insert(subject.id.clone(), Place { split: Split::ALL[next], fold: None });
    }
}

fn deal_random(free: &[&Subject], fractions: [f64; 3], options: &SplitOptions) -> BTreeMap<String, Place> {
    let mut places = BTreeMap::new();
    let ordered = dealing_order(free, options);
    if options.by_group {
        let mut groups: BTreeMap<&str, Vec<&Subject>> = BTreeMap::new();
        for subject in ordered {
            groups.entry(&subject.group).or_default().push(subject);
        }
        groups.values().for_each(|members| deal(members, fractions, &mut places));
    } else {
        deal(&ordered, fractions, &mut places);
    }
    places
}

fn deal_folds(free: &[&Subject], folds: usize, options: &SplitOptions) -> BTreeMap<String, Place> {
    let place = |(index, subject): (usize, &Subject)| {
        let fold = index % folds;
        let split = match fold {
            0 => Split::Test,
            1 => Split::Val,
            _ => Split::Train,
        };
        (subject.id.clone(), Place { split, fold: i32::try_from(fold).ok() })
    };
    dealing_order(free, options).into_iter().enumerate().map(place).collect()
}

fn deal_source(free: &[&Subject]) -> Result<BTreeMap<String, Place>, SplitError> {
    let missing = free.iter().filter(|subject| subject.source_split.is_none()).count();
    if missing > 0 {
        return Err(SplitError::SourceMissing { missing, subjects: free.len() });
    }
    let place = |subject: &&Subject| {
        let split = source_split(subject.source_split.as_deref().unwrap_or_default())?;
        Ok((subject.id.clone(), Place { split, fold: None }))
    };
    free.iter().map(place).collect()
}

/// Every group that is neither held out nor training only must be in each split (or fold); every class must be trained on.
///
/// # Errors
/// [`SplitError`] with the first class or group that is not.
///
/// # Panics
/// When a subject has no place: a caller's bug.
pub fn check(subjects: &[Subject], places: &BTreeMap<String, Place>, method: Method) -> Result<(), SplitError> {
    let mut classes: BTreeMap<&str, Vec<Split>> = BTreeMap::new();
    let mut groups: BTreeMap<&str, Vec<Place>> = BTreeMap::new();
    for subject in subjects {
        classes.entry(&subject.label).or_default().push(places[&subject.id].split);
        if !subject.held_out && !subject.training_only {
            groups.entry(&subject.group).or_default().push(places[&subject.id]);
        }
    }
    if let (Some((label, splits)), 1) = (classes.first_key_value(), classes.len()) {
        return Err(SplitError::OneClass { label: (*label).to_owned(), subjects: splits.len() });
    }
    for (group, found) in &groups {
        let without = |missing: String| {
            Err(SplitError::GroupWithout { group: (*group).to_owned(), subjects: found.len(), missing })
        };
        if let Method::KFold { folds } = method {
            let present: BTreeSet<i32> = found.iter().filter_map(|place| place.fold).collect();
            let absent = (0..).take(folds).find(|fold| !present.contains(fold));
            if let Some(fold) = absent {
                return without(format!("fold {fold} of {folds}"));
            }
        } else if let Some(split) = Split::ALL.into_iter().find(|split| found.iter().all(|p| p.split != *split)) {
            return without(format!("the {} split", split.as_str()));
        }
    }
    match classes.iter().find(|(_, splits)| !splits.contains(&Split::Train)) {
        Some((label, splits)) => {
            Err(SplitError::ClassWithoutTraining { label: (*label).to_owned(), subjects: splits.len() })
        }
        None => Ok(()),
    }
}

/// The place of every subject.
///
/// # Errors
/// [`SplitError`] when a class or group could not be trained, selected or tested on.
pub fn assign(subjects: &[Subject], options: &SplitOptions) -> Result<BTreeMap<String, Place>, SplitError> {
    if subjects.is_empty() {
        return Err(SplitError::NoSubjects);
    }
    let free: Vec<&Subject> = subjects.iter().filter(|subject| !subject.held_out && !subject.training_only).collect();
    let mut places = match options.method {
        Method::Random { fractions } => deal_random(&free, fractions, options),
        Method::KFold { .. } if subjects.iter().any(|subject| subject.held_out) => {
            return Err(SplitError::HeldOutWithFolds);
        }
        Method::KFold { folds } => deal_folds(&free, folds, options),
        Method::Source => deal_source(&free)?,
    };
    for subject in subjects.iter().filter(|subject| subject.held_out || subject.training_only) {
        let split = if subject.held_out { Split::Test } else { Split::Train };
        places.insert(subject.id.clone(), Place { split, fold: None });
    }
    check(subjects, &places, options.method)?;
    Ok(places)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RANDOM: SplitOptions = SplitOptions {
        method: Method::Random { fractions: [0.6, 0.15, 0.25] },
        by_group: true,
        by_label: true,
        seed: 7,
    };

    fn subject(index: usize, group: &str, label: &str) -> Subject {
        Subject {
            id: format!("s{index:04}"),
            group: group.to_owned(),
            label: label.to_owned(),
            source_split: None,
            held_out: false,
            training_only: false,
        }
    }

    fn cohort(count: usize) -> Vec<Subject> {
        let group = |index: usize| if index.is_multiple_of(10) { "small" } else { "large" };
        (0..count).map(|index| subject(index, group(index), ["A", "B", "C"][index / 7 % 3])).collect()
    }

    fn share(subjects: &[Subject], places: &BTreeMap<String, Place>, group: &str, label: &str, split: Split) -> f64 {
        let of: Vec<_> = subjects.iter().filter(|s| s.group == group && s.label == label).collect();
        of.iter().filter(|s| places[&s.id].split == split).count() as f64 / of.len() as f64
    }

    #[test]
    fn shares_hold_in_every_group_and_label() {
        let subjects = cohort(600);
        let places = assign(&subjects, &RANDOM).unwrap();
        for (group, tolerance) in [("large", 0.02), ("small", 0.1)] {
            for label in ["A", "B", "C"] {
                for (split, wanted) in Split::ALL.into_iter().zip([0.6, 0.15, 0.25]) {
                    let found = share(&subjects, &places, group, label, split);
                    assert!((found - wanted).abs() < tolerance, "{group} {label} {split:?}: {found}");
                }
            }
        }
    }

    #[test]
    fn another_seed_gives_another_division_and_the_same_seed_the_same() {
        let subjects = cohort(60);
        let places = assign(&subjects, &RANDOM).unwrap();
        let mut shuffled = subjects.clone();
        shuffled.reverse();
        assert_eq!(assign(&shuffled, &RANDOM).unwrap(), places);
        assert_ne!(assign(&subjects, &SplitOptions { seed: 8, ..RANDOM }).unwrap(), places);
    }

    #[test]
    fn a_group_of_two_is_refused_by_name_with_the_remedy() {
        let mut subjects = cohort(30);
        subjects.push(subject(900, "tiny", "A"));
        subjects.push(subject(901, "tiny", "B"));
        let message = assign(&subjects, &RANDOM).unwrap_err().to_string();
        assert!(message.contains("`tiny` has 2 subjects") && message.contains("held_out_groups"), "{message}");
        for subject in subjects.iter_mut().filter(|subject| subject.group == "tiny") {
            subject.held_out = true;
        }
        let places = assign(&subjects, &RANDOM).unwrap();
        assert_eq!(places["s0900"], Place { split: Split::Test, fold: None });
    }

    #[test]
    fn one_class_is_refused() {
        let subjects: Vec<_> = (0..9).map(|index| subject(index, "g", "NOR")).collect();
        assert!(matches!(assign(&subjects, &RANDOM), Err(SplitError::OneClass { subjects: 9, .. })));
    }

    #[test]
    fn folds_hold_each_label_and_training_only_subjects_have_none() {
        let mut subjects = cohort(60);
        subjects.push(Subject { training_only: true, ..subject(900, "unknown", "A") });
        let options = SplitOptions { method: Method::KFold { folds: 5 }, ..RANDOM };
        let places = assign(&subjects, &options).unwrap();
        assert_eq!(places["s0900"], Place { split: Split::Train, fold: None });
        for fold in 0..5 {
            for label in ["A", "B", "C"] {
                let in_fold = subjects.iter().filter(|s| s.label == label && places[&s.id].fold == Some(fold)).count();
                let all = subjects.iter().filter(|s| s.label == label && !s.training_only).count();
                assert!((in_fold as f64 - all as f64 / 5.0).abs() < 2.0, "{fold} {label}: {in_fold} of {all}");
            }
        }
        subjects[0].held_out = true;
        assert!(matches!(assign(&subjects, &options), Err(SplitError::HeldOutWithFolds)));
    }

    #[test]
    fn the_sources_split_is_taken_or_missed_by_number() {
        let mut subjects = cohort(60);
        for (index, subject) in subjects.iter_mut().enumerate() {
            subject.source_split = Some(["Training", "val", "TEST"][index % 3].to_owned());
        }
        let options = SplitOptions { method: Method::Source, ..RANDOM };
        let places = assign(&subjects, &options).unwrap();
        assert_eq!((places["s0000"].split, places["s0001"].split), (Split::Train, Split::Val));
        subjects[5].source_split = Some("holdout".into());
        assert!(matches!(assign(&subjects, &options), Err(SplitError::SourceName { .. })));
        subjects[5].source_split = None;
        assert!(matches!(assign(&subjects, &options), Err(SplitError::SourceMissing { missing: 1, subjects: 60 })));
    }

    proptest! {
        #[test]
        fn quotas_add_up_and_leave_no_split_empty(count in 3_usize..500, a in 0.05_f64..0.9, b in 0.05_f64..0.9) {
            let fractions = [a, (1.0 - a) * b, (1.0 - a) * (1.0 - b)];
            let found = quotas(count, fractions);
            prop_assert_eq!(found.iter().sum::<usize>(), count);
            prop_assert!(found.iter().all(|&quota| quota > 0));
        }

        #[test]
        fn every_subject_has_one_place(count in 60_usize..200, seed in any::<u64>(), folds in any::<bool>()) {
            let subjects = cohort(count);
            let method = if folds { Method::KFold { folds: 3 } } else { RANDOM.method };
            let places = assign(&subjects, &SplitOptions { method, seed, ..RANDOM }).unwrap();
            prop_assert_eq!(places.len(), subjects.len());
        }
    }
}
