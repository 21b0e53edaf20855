//! Tests of the division of subjects: hand-made cases and properties.

use proptest::prelude::*;

use super::*;

const RANDOM: SplitOptions =
    SplitOptions { method: Method::Random { fractions: [0.6, 0.15, 0.25] }, by_group: true, by_label: true, seed: 7 };

fn subject(index: usize, group: &str, label: &str) -> Subject {
    Subject {
        id: format!("s{index:04}"),
        group: group.to_owned(),
        label: label.to_owned(),
        site: Some(format!("site-{group}")),
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
    assert_eq!(places["s0900"], Place::fixed(Split::Test));
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
    assert_eq!(places["s0900"], Place::fixed(Split::Train));
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

/// By hand: of 90 and 10 subjects every second is tested; of the 45 and 5 others a fifth validates: 9 and 1.
#[test]
fn a_source_that_names_nobody_for_validation_gives_a_share_of_its_training() {
    let mut subjects = cohort(100);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for subject in &mut subjects {
        let index = seen.entry(subject.group.clone()).or_default();
        subject.source_split = Some(if index.is_multiple_of(2) { "test" } else { "train" }.to_owned());
        *index += 1;
    }
    let options = SplitOptions { method: Method::Source { validation: 0.2 }, ..RANDOM };
    let places = assign(&subjects, &options).unwrap();
    for (group, validating, trained) in [("large", 9, 36), ("small", 1, 4)] {
        let of = |split| subjects.iter().filter(|s| s.group == group && places[&s.id].split == split).count();
        assert_eq!((of(Split::Val), of(Split::Train)), (validating, trained), "{group}");
    }
    let mut published = subjects.iter().filter(|subject| subject.source_split.as_deref() == Some("test"));
    assert!(published.all(|subject| places[&subject.id].split == Split::Test));
}

#[test]
fn the_sources_split_is_taken_or_missed_by_number() {
    let mut subjects = cohort(60);
    for (index, subject) in subjects.iter_mut().enumerate() {
        subject.source_split = Some(["Training", "val", "TEST"][index % 3].to_owned());
    }
    let options = SplitOptions { method: Method::Source { validation: 0.2 }, ..RANDOM };
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

const BY_SITE: SplitOptions =
    SplitOptions { method: Method::LeaveOneSiteOut { validation: 0.2 }, by_group: true, by_label: true, seed: 7 };

/// `counts` subjects of labels A and B at sites x, y, ...; the group is the site.
fn at_sites(counts: &[[usize; 2]]) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for (site, counts) in ["x", "y", "z"].iter().zip(counts) {
        let group = format!("site={site}");
        for (label, count) in ["A", "B"].iter().zip(counts) {
            for _ in 0..*count {
                let site = Some((*site).to_owned());
                subjects.push(Subject { site, ..subject(subjects.len(), &group, label) });
            }
        }
    }
    subjects
}

#[test]
fn each_site_is_tested_in_its_fold_and_a_fifth_of_each_other_validates() {
    // By hand: 10 subjects of each label at every site; 0.2 x 20 = 4 validate, 2 of each label.
    let subjects = at_sites(&[[10, 10], [10, 10], [10, 10]]);
    let places = assign(&subjects, &BY_SITE).unwrap();
    assert_eq!(sites(&subjects), ["x", "y", "z"]);
    for (fold, site) in (0..).zip(["x", "y", "z"]) {
        for subject in &subjects {
            let tested = places[&subject.id].seen_by(fold) == Split::Test;
            assert_eq!(tested, subject.site.as_deref() == Some(site));
        }
        for label in ["A", "B"] {
            let validating = subjects.iter().filter(|s| s.label == label && places[&s.id].seen_by(fold) == Split::Val);
            assert_eq!(validating.count(), 2 * 2);
        }
    }
    // The split column is what fold 0 sees.
    assert!(subjects.iter().all(|subject| places[&subject.id].split == places[&subject.id].seen_by(0)));
}

#[test]
fn sites_that_cannot_be_left_out_are_refused_with_the_remedy() {
    let refused = |subjects: &[Subject]| assign(subjects, &BY_SITE).unwrap_err();
    assert!(matches!(refused(&at_sites(&[[5, 5]])), SplitError::OneSite { subjects: 10, .. }));
    // Label B is at site y alone.
    let error = refused(&at_sites(&[[6, 0], [6, 6], [6, 0]]));
    assert!(matches!(&error, SplitError::ClassAtOneSite { label, site } if label == "B" && site == "y"), "{error}");
    // A group of one subject is either trained on or validated on.
    let mut subjects = at_sites(&[[5, 5], [5, 5]]);
    subjects.push(Subject { site: Some("z".into()), ..subject(900, "site=z", "A") });
    let message = refused(&subjects).to_string();
    assert!(message.contains("`site=z` has 1 subjects") && message.contains("while site `x` is tested"), "{message}");
    subjects[0].site = None;
    assert!(matches!(refused(&subjects), SplitError::SiteMissing { missing: 1, subjects: 21 }));
    subjects[0].training_only = true;
    subjects.pop();
    let places = assign(&subjects, &BY_SITE).unwrap();
    assert_eq!(places[&subjects[0].id], Place::fixed(Split::Train));
    subjects[1].held_out = true;
    assert!(matches!(refused(&subjects), SplitError::HeldOutWithFolds));
}

proptest! {
    #[test]
    fn every_subject_is_tested_once_and_never_trained_on_in_its_own_fold(
        counts in prop::collection::vec([2_usize..30, 2_usize..30], 2..4), seed in any::<u64>(), share in 0.05_f64..0.6,
    ) {
        let subjects = at_sites(&counts);
        let method = Method::LeaveOneSiteOut { validation: share };
        let places = assign(&subjects, &SplitOptions { method, seed, ..BY_SITE });
        // The few subjects of a label at the only other site may all validate: that is refused.
        let places = match places {
            Err(SplitError::ClassAtOneSite { .. }) => return Ok(()),
            places => places.unwrap(),
        };
        let folds = i32::try_from(counts.len()).unwrap();
        for subject in &subjects {
            let place = places[&subject.id];
            let tested: Vec<i32> = (0..folds).filter(|&fold| place.seen_by(fold) == Split::Test).collect();
            prop_assert_eq!(tested, vec![place.fold.unwrap()]);
        }
        for (fold, pair) in (0..).zip(&counts) {
            let members = pair[0] + pair[1];
            let validating = subjects.iter().filter(|s| places[&s.id].fold == Some(fold) && places[&s.id].validates);
            let wanted = (share * members as f64).round().clamp(1.0, members as f64 - 1.0);
            prop_assert_eq!(validating.count() as f64, wanted);
        }
        let mut reversed = subjects.clone();
        reversed.reverse();
        prop_assert_eq!(assign(&reversed, &SplitOptions { method, seed, ..BY_SITE }).unwrap(), places);
    }

    #[test]
    fn every_subject_is_tested_in_one_fold_of_k_fold(count in 60_usize..200, folds in 3_usize..9, seed in any::<u64>()) {
        let subjects = cohort(count);
        let options = SplitOptions { method: Method::KFold { folds }, seed, ..RANDOM };
        let places = match assign(&subjects, &options) {
            Err(SplitError::GroupWithout { .. }) => return Ok(()),
            places => places.unwrap(),
        };
        let in_fold = |fold: usize| places.values().filter(|place| place.fold == i32::try_from(fold).ok()).count();
        prop_assert_eq!((0..folds).map(in_fold).sum::<usize>(), subjects.len());
        prop_assert!((0..folds).all(|fold| in_fold(fold).abs_diff(count / folds) <= 1));
    }

    #[test]
    fn random_shares_hold_over_all(count in 60_usize..400, seed in any::<u64>()) {
        let subjects = cohort(count);
        let places = assign(&subjects, &SplitOptions { seed, ..RANDOM }).unwrap();
        for (split, share) in Split::ALL.into_iter().zip([0.6, 0.15, 0.25]) {
            let found = places.values().filter(|place| place.split == split).count() as f64;
            // Two groups are rounded each, and a small one gives every split a subject.
            prop_assert!((found - share * count as f64).abs() <= 3.0, "{:?}: {} of {}", split, found, count);
        }
    }
}
