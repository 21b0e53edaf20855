//! Which subject is trained, selected and tested on: stratified and seeded, from a column of the cohort, in k folds, or in folds
//! that are the sites.
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
    /// Site (of the subject's first stack).
    pub site: Option<String>,
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
    Source {
        /// Share of the training subjects that validates where the source names nobody for it (ACDC), over 0 and under 1.
        validation: f64,
    },
    /// In equal parts.
    KFold {
        /// Number of parts, at least 3.
        folds: usize,
    },
    /// Each site is a fold: it is tested on, and the others are trained and validated on.
    LeaveOneSiteOut {
        /// Share of each group at each site that validates while the site is not tested, over 0 and under 1.
        validation: f64,
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
    /// With sites as folds: validates in every fold but its own site's.
    pub validates: bool,
}

impl Place {
    /// The same in every run: no folds.
    pub fn fixed(split: Split) -> Self {
        Self { split, fold: None, validates: false }
    }

    /// The split as the fold of site `tested` sees it.
    fn seen_by(self, tested: i32) -> Split {
        match self.fold {
            Some(fold) if fold == tested => Split::Test,
            _ if self.validates => Split::Val,
            _ => Split::Train,
        }
    }
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
    #[error("held_out_groups cannot be combined with split = \"k-fold\" or \"leave-one-site-out\"")]
    HeldOutWithFolds,
    /// Without a site a subject is in no fold.
    #[error(
        "{missing} of {subjects} subjects have no site; name one for each in labels.csv, or their groups in training_only_groups"
    )]
    SiteMissing {
        /// Subjects without.
        missing: usize,
        /// Subjects in all.
        subjects: usize,
    },
    /// Nobody is left to train on.
    #[error("split = \"leave-one-site-out\" needs two sites; all {subjects} subjects are of `{site}`")]
    OneSite {
        /// The site.
        site: String,
        /// Its subjects.
        subjects: usize,
    },
    /// A class that some fold does not train on.
    #[error("class `{label}` has no training subject while site `{site}` is tested; use split = \"k-fold\"")]
    ClassAtOneSite {
        /// The class.
        label: String,
        /// The site that is left out.
        site: String,
    },
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

/// Whole numbers in proportion to `fractions` that add up to `count`; each wanted at all is at least 1 where there are enough.
fn quotas(count: usize, fractions: [f64; 3]) -> [usize; 3] {
    let exact = fractions.map(|share| share * count as f64);
    let mut found = exact.map(|value| value.floor() as usize);
    while found.iter().sum::<usize>() < count {
        let rest = |index: usize| exact[index] - found[index] as f64;
        let next = (0..3).rev().max_by(|&a, &b| rest(a).total_cmp(&rest(b))).expect("three splits");
        found[next] += 1;
    }
    for index in 0..3 {
        if found[index] == 0 && count >= 3 && fractions[index] > 0.0 {
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
        places.insert(subject.id.clone(), Place::fixed(Split::ALL[next]));
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
        (subject.id.clone(), Place { split, fold: i32::try_from(fold).ok(), validates: false })
    };
    dealing_order(free, options).into_iter().enumerate().map(place).collect()
}

/// The sites of subjects that are in a fold, sorted: the position is the fold.
pub fn sites(subjects: &[Subject]) -> Vec<String> {
    let free = subjects.iter().filter(|subject| !subject.held_out && !subject.training_only);
    let found: BTreeSet<&String> = free.filter_map(|subject| subject.site.as_ref()).collect();
    found.into_iter().cloned().collect()
}

/// Each site's subjects in its fold; of each group there (of the site, without strata of groups) a share validates for the others.
fn deal_sites(
    free: &[&Subject],
    validation: f64,
    options: &SplitOptions,
) -> Result<BTreeMap<String, Place>, SplitError> {
    let mut sites: BTreeMap<&str, BTreeMap<&str, Vec<&Subject>>> = BTreeMap::new();
    for subject in dealing_order(free, options) {
        let Some(site) = &subject.site else {
            let missing = free.iter().filter(|subject| subject.site.is_none()).count();
            return Err(SplitError::SiteMissing { missing, subjects: free.len() });
        };
        let group = if options.by_group { subject.group.as_str() } else { "" };
        sites.entry(site).or_default().entry(group).or_default().push(subject);
    }
    if let (Some(site), 1) = (sites.keys().next(), sites.len()) {
        return Err(SplitError::OneSite { site: (*site).to_owned(), subjects: free.len() });
    }
    let mut places = BTreeMap::new();
    for (fold, groups) in (0..).zip(sites.values()) {
        for members in groups.values() {
            let count = members.len();
            // Of two or more, one at least is trained on and one validates.
            let wanted = ((validation * count as f64).round() as usize).clamp(1, count.max(2) - 1);
            for (index, subject) in members.iter().enumerate() {
                // Evenly over the list, whose neighbours are of one label.
                let validates = count > 1 && (index + 1) * wanted / count > index * wanted / count;
                let place = Place { split: Split::Test, fold: Some(fold), validates };
                places.insert(subject.id.clone(), Place { split: place.seen_by(0), ..place });
            }
        }
    }
    Ok(places)
}

fn deal_source(
    free: &[&Subject],
    validation: f64,
    options: &SplitOptions,
) -> Result<BTreeMap<String, Place>, SplitError> {
    let missing = free.iter().filter(|subject| subject.source_split.is_none()).count();
    if missing > 0 {
        return Err(SplitError::SourceMissing { missing, subjects: free.len() });
    }
    let place = |subject: &&Subject| {
        let split = source_split(subject.source_split.as_deref().unwrap_or_default())?;
        Ok((subject.id.clone(), Place::fixed(split)))
    };
    let mut places = free.iter().map(place).collect::<Result<BTreeMap<_, _>, SplitError>>()?;
    if !places.values().any(|place| place.split == Split::Val) {
        let trained = |subject: &&&Subject| places[&subject.id].split == Split::Train;
        let training: Vec<&Subject> = free.iter().filter(trained).copied().collect();
        places.extend(deal_random(&training, [1.0 - validation, validation, 0.0], options));
    }
    Ok(places)
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
        if let Method::LeaveOneSiteOut { .. } = method {
            continue;
        }
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
    if let Method::LeaveOneSiteOut { .. } = method {
        return check_sites(subjects, places);
    }
    match classes.iter().find(|(_, splits)| !splits.contains(&Split::Train)) {
        Some((label, splits)) => {
            Err(SplitError::ClassWithoutTraining { label: (*label).to_owned(), subjects: splits.len() })
        }
        None => Ok(()),
    }
}

/// While a site is tested, every class must be trained on, and every group that is trained on must be validated on.
fn check_sites(subjects: &[Subject], places: &BTreeMap<String, Place>) -> Result<(), SplitError> {
    let classes: BTreeSet<&str> = subjects.iter().map(|subject| subject.label.as_str()).collect();
    let folds = places.values().filter_map(|place| place.fold).max().map_or(0, |last| last + 1);
    for tested in 0..folds {
        let seen = |subject: &Subject| places[&subject.id].seen_by(tested);
        let site = subjects.iter().find(|subject| places[&subject.id].fold == Some(tested));
        let Some(site) = site.and_then(|subject| subject.site.clone()) else {
            return Err(SplitError::GroupWithout {
                group: format!("site {tested}"),
                subjects: 0,
                missing: format!("fold {tested} of {folds}"),
            });
        };
        let trained: BTreeSet<&str> =
            subjects.iter().filter(|s| seen(s) == Split::Train).map(|subject| subject.label.as_str()).collect();
        if let Some(label) = classes.difference(&trained).next() {
            return Err(SplitError::ClassAtOneSite { label: (*label).to_owned(), site });
        }
        let mut groups: BTreeMap<&str, BTreeSet<Split>> = BTreeMap::new();
        for subject in subjects.iter().filter(|subject| !subject.training_only) {
            groups.entry(&subject.group).or_default().insert(seen(subject));
        }
        let unvalidated = |splits: &BTreeSet<Split>| splits.contains(&Split::Train) && !splits.contains(&Split::Val);
        if let Some((group, _)) = groups.iter().find(|(_, splits)| unvalidated(splits)) {
            return Err(SplitError::GroupWithout {
                group: (*group).to_owned(),
                subjects: subjects.iter().filter(|subject| subject.group == *group).count(),
                missing: format!("the validation subjects while site `{site}` is tested"),
            });
        }
    }
    Ok(())
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
        Method::KFold { .. } | Method::LeaveOneSiteOut { .. } if subjects.iter().any(|subject| subject.held_out) => {
            return Err(SplitError::HeldOutWithFolds);
        }
        Method::KFold { folds } => deal_folds(&free, folds, options),
        Method::LeaveOneSiteOut { validation } => deal_sites(&free, validation, options)?,
        Method::Source { validation } => deal_source(&free, validation, options)?,
    };
    for subject in subjects.iter().filter(|subject| subject.held_out || subject.training_only) {
        let split = if subject.held_out { Split::Test } else { Split::Train };
        places.insert(subject.id.clone(), Place::fixed(split));
    }
    check(subjects, &places, options.method)?;
    Ok(places)
}

#[cfg(test)]
#[path = "splits_tests.rs"]
mod tests;
