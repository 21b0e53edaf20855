//! Test figures of every arm and seed, and paired differences over the seeds with two intervals: Student's over the seeds (another
//! cohort, another training) and a bootstrap over the subjects within each seed (the same networks, other patients).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rayon::prelude::*;

use super::tuning::Choices;
use super::{Cohort, EvidenceError, final_run, folds};
use crate::compare::figures::subject_is_correct;
use crate::context::Context;
use crate::formats::compare::Figures;
use crate::formats::dataset::Split;
use crate::formats::evidence::{ArmJson, Difference, Level, SeedFigures, Spread};
use crate::formats::predictions::{PredictionRow, Predictions};
use crate::formats::run::{PREDICTIONS, read_run_json};
use crate::metrics::argmax;
use crate::metrics::bootstrap::Strata;
use crate::metrics::interval::percentile;
use crate::metrics::seeds::{mean, standard_deviation, t_interval};
use crate::outdir::Collection;
use crate::settings::evidence::{Arm, EvidenceSettings};

/// All arms, and how many subjects stand behind a group.
pub struct Arms {
    /// In the order of the table.
    pub arms: Vec<ArmJson>,
    /// Least and most test subjects of a group in a seed.
    pub test_subjects_per_group: [u64; 2],
}

/// One test sample, or one subject within a group.
struct Unit {
    subject: usize,
    group: usize,
    correct: bool,
}

/// What an arm's networks said of a seed's test set.
struct Outcomes {
    /// Names of the groups, byte-sorted.
    groups: Vec<String>,
    samples: Vec<Unit>,
    subjects: Vec<Unit>,
    /// The first group of each subject: the strata of the bootstrap.
    strata: Vec<usize>,
}

/// Which units a figure counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Per {
    Sample,
    Subject,
}

/// Accuracies of one test set, or of one drawn from it.
struct Accuracies {
    all: Option<f64>,
    groups: Vec<Option<f64>>,
}

impl Accuracies {
    fn worst(&self) -> Option<f64> {
        crate::metrics::groups::worst(&self.groups).map(|worst| worst.accuracy)
    }
}

impl Outcomes {
    fn of(rows: &[PredictionRow], classes: &[String]) -> Self {
        let mut groups: Vec<String> = rows.iter().map(|row| row.group.clone()).collect();
        groups.sort();
        groups.dedup();
        let mut by_subject: BTreeMap<&str, BTreeMap<&str, Vec<&PredictionRow>>> = BTreeMap::new();
        for row in rows {
            by_subject.entry(&row.subject_id).or_default().entry(&row.group).or_default().push(row);
        }
        let at = |group: &str| groups.binary_search_by(|name| name.as_str().cmp(group)).unwrap_or_default();
        let (mut samples, mut subjects, mut strata) = (Vec::new(), Vec::new(), Vec::new());
        for (subject, in_groups) in by_subject.values().enumerate() {
            strata.push(in_groups.keys().next().map_or(0, |group| at(group)));
            for (group, rows) in in_groups {
                let group = at(group);
                subjects.push(Unit { subject, group, correct: subject_is_correct(rows, classes) });
                samples.extend(rows.iter().map(|row| Unit { subject, group, correct: is_correct(row, classes) }));
            }
        }
        Self { groups, samples, subjects, strata }
    }

    /// Each subject counted as often as `times` says; `None`: once.
    fn accuracies(&self, per: Per, times: Option<&[u32]>) -> Accuracies {
        let mut counts = vec![(0_u64, 0_u64); self.groups.len()];
        let units = if per == Per::Sample { &self.samples } else { &self.subjects };
        for unit in units {
            let times = times.map_or(1, |times| u64::from(times[unit.subject]));
            counts[unit.group].0 += times * u64::from(unit.correct);
            counts[unit.group].1 += times;
        }
        let share = |(right, all): (u64, u64)| (all > 0).then(|| right as f64 / all as f64);
        let total = counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Accuracies { all: share(total), groups: counts.into_iter().map(share).collect() }
    }

    fn figures(&self, per: Per) -> Figures {
        let units = if per == Per::Sample { &self.samples } else { &self.subjects };
        let Accuracies { all, groups } = self.accuracies(per, None);
        let worst = crate::metrics::groups::worst(&groups);
        Figures {
            n: units.len() as u64,
            accuracy: all,
            mean_group_accuracy: crate::metrics::groups::mean_group_accuracy(&groups),
            worst_group_accuracy: worst.map(|worst| worst.accuracy),
            worst_group: worst.map(|worst| self.groups[worst.group].clone()),
        }
    }
}

fn is_correct(row: &PredictionRow, classes: &[String]) -> bool {
    let logits: Vec<f64> = row.logits.iter().map(|logit| f64::from(*logit)).collect();
    argmax(&logits).is_some_and(|best| row.label == classes[best])
}

/// An arm's outcomes, a test set for each seed.
struct ArmOutcomes<'a> {
    arm: &'a Arm,
    seeds: Vec<Outcomes>,
}

/// Reads the chosen RUNs and makes the figures.
pub fn arms(
    settings: &EvidenceSettings,
    cohorts: &[Cohort],
    choices: &Choices,
    folder: &Collection,
    context: Context<'_>,
) -> Result<Arms, EvidenceError> {
    let read = |arm| ArmOutcomes::read(arm, cohorts, folder);
    let outcomes = settings.arms.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let drawn = context.pool.install(|| draw(&outcomes, settings));
    let one = |at: usize| -> Result<ArmJson, EvidenceError> {
        let ArmOutcomes { arm, seeds } = &outcomes[at];
        let first = final_run(cohorts[0].seed, &arm.name, folds(&cohorts[0])[0]);
        let missing = |what| EvidenceError::NoFigure { run: first.display().to_string(), what };
        let run = read_run_json(&folder.path(&first)).map_err(|_| missing("run.json"))?;
        let level =
            |per| level(settings, (&outcomes, at), &drawn, per).ok_or_else(|| missing("test sample of a group"));
        let of_seed = |(cohort, outcomes): (&Cohort, &Outcomes)| SeedFigures {
            seed: cohort.seed,
            sample: outcomes.figures(Per::Sample),
            subject: outcomes.figures(Per::Subject),
            groups: by_group(outcomes),
        };
        Ok(ArmJson {
            name: arm.name.clone(),
            architecture: run.architecture,
            parameters: run.parameters,
            held_out: run.held_out,
            trials: choices.trials(arm),
            chosen: choices.chosen(arm),
            seeds: cohorts.iter().zip(seeds).map(of_seed).collect(),
            sample: level(Per::Sample)?,
            subject: level(Per::Subject)?,
        })
    };
    let arms = (0..outcomes.len()).map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(Arms { arms, test_subjects_per_group: test_subjects_per_group(&outcomes[0].seeds) })
}

fn by_group(outcomes: &Outcomes) -> BTreeMap<String, f64> {
    let accuracies = outcomes.accuracies(Per::Sample, None).groups;
    outcomes.groups.iter().cloned().zip(accuracies).filter_map(|(name, value)| Some((name, value?))).collect()
}

fn test_subjects_per_group(seeds: &[Outcomes]) -> [u64; 2] {
    let counts = |outcomes: &Outcomes| {
        let count = |group| outcomes.subjects.iter().filter(|unit| unit.group == group).count() as u64;
        (0..outcomes.groups.len()).map(count).collect::<Vec<_>>()
    };
    let counts: Vec<u64> = seeds.iter().flat_map(counts).collect();
    [counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0)]
}

impl<'a> ArmOutcomes<'a> {
    fn read(arm: &'a Arm, cohorts: &[Cohort], folder: &Collection) -> Result<Self, EvidenceError> {
        let of_seed = |cohort: &Cohort| {
            let (mut rows, mut classes) = (Vec::new(), Vec::new());
            for fold in folds(cohort) {
                let path = folder.path(final_run(cohort.seed, &arm.name, fold)).join(PREDICTIONS);
                let predictions = Predictions::read(&path)?;
                rows.extend(predictions.rows.into_iter().filter(|row| row.split == Split::Test));
                classes = predictions.classes;
            }
            Ok(Outcomes::of(&rows, &classes))
        };
        let seeds = cohorts.iter().map(of_seed).collect::<Result<Vec<_>, EvidenceError>>()?;
        Ok(Self { arm, seeds })
    }
}

/// Accuracies of one replicate, averaged over the seeds.
struct Averages {
    worst: Option<f64>,
    all: Option<f64>,
}

/// Of every replicate: by arm, then per sample and per subject. All arms see the same draws of a seed, so that differences stay paired.
fn draw(outcomes: &[ArmOutcomes<'_>], settings: &EvidenceSettings) -> Vec<Vec<[Averages; 2]>> {
    let strata: Vec<Strata> = outcomes[0].seeds.iter().map(|seed| Strata::new(&seed.strata)).collect();
    let replicate = |number: u64| {
        let of_seeds = strata.iter().zip(&settings.seeds);
        let times: Vec<Vec<u32>> = of_seeds.map(|(strata, &seed)| strata.draw(seed, number)).collect();
        let of_arm = |arm: &ArmOutcomes<'_>| [Per::Sample, Per::Subject].map(|per| over_seeds(&arm.seeds, per, &times));
        outcomes.iter().map(of_arm).collect()
    };
    (0..u64::from(settings.replicates)).into_par_iter().map(replicate).collect()
}

fn over_seeds(seeds: &[Outcomes], per: Per, times: &[Vec<u32>]) -> Averages {
    let drawn: Vec<Accuracies> =
        seeds.iter().zip(times).map(|(seed, times)| seed.accuracies(per, Some(times))).collect();
    let average = |value: fn(&Accuracies) -> Option<f64>| {
        drawn.iter().map(value).collect::<Option<Vec<f64>>>().and_then(|values| mean(&values))
    };
    Averages { worst: average(Accuracies::worst), all: average(|one| one.all) }
}

fn level(
    settings: &EvidenceSettings,
    (outcomes, at): (&[ArmOutcomes<'_>], usize),
    drawn: &[Vec<[Averages; 2]>],
    per: Per,
) -> Option<Level> {
    let arm = outcomes[at].arm;
    let values = |at: usize, value: fn(&Figures) -> Option<f64>| -> Option<Vec<f64>> {
        outcomes[at].seeds.iter().map(|seed| value(&seed.figures(per))).collect()
    };
    let spread = |value| {
        let values = values(at, value)?;
        Some(Spread { mean: mean(&values)?, sd: standard_deviation(&values) })
    };
    let kind = usize::from(per == Per::Subject);
    let tail = (1.0 - settings.confidence) / 2.0;
    let differences =
        |value: fn(&Figures) -> Option<f64>, average: fn(&Averages) -> Option<f64>| -> Option<Vec<Difference>> {
            let named = settings.references.iter().filter_map(|name| settings.reference(arm, name));
            let one = |reference: &Arm| {
                let other = outcomes.iter().position(|one| one.arm.name == reference.name)?;
                let (own, theirs) = (values(at, value)?, values(other, value)?);
                let by_seed: Vec<f64> = own.iter().zip(&theirs).map(|(own, other)| own - other).collect();
                let of = |arms: &Vec<[Averages; 2]>| Some(average(&arms[at][kind])? - average(&arms[other][kind])?);
                let replicates: Vec<Option<f64>> = drawn.iter().map(of).collect();
                let count = |wanted: Ordering| by_seed.iter().filter(|one| one.total_cmp(&0.0) == wanted).count();
                Some(Difference {
                    to: reference.name.clone(),
                    mean: mean(&by_seed)?,
                    interval: t_interval(&by_seed, tail).map(|one| [one.low, one.high]),
                    subject_interval: percentile(&replicates, tail).map(|one| [one.low, one.high]),
                    signs: [count(Ordering::Greater), count(Ordering::Equal), count(Ordering::Less)],
                })
            };
            named.map(one).collect()
        };
    Some(Level {
        accuracy: spread(|figures| figures.accuracy)?,
        mean_group_accuracy: spread(|figures| figures.mean_group_accuracy)?,
        worst_group_accuracy: spread(|figures| figures.worst_group_accuracy)?,
        worst_group_differences: differences(|figures| figures.worst_group_accuracy, |drawn| drawn.worst)?,
        accuracy_differences: differences(|figures| figures.accuracy, |drawn| drawn.all)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::figures::tests::row;

    /// Group a: subject x with two samples right and one wrong, y with one wrong; group b: z with one right.
    fn outcomes() -> Outcomes {
        let rows = [
            row("x", "x", "a", "one", 2.0),
            row("x", "x", "a", "one", 2.0),
            row("x", "x", "a", "one", -1.0),
            row("y", "y", "a", "none", 1.0),
            row("z", "z", "b", "none", -1.0),
        ];
        Outcomes::of(&rows, &["none".to_owned(), "one".to_owned()])
    }

    #[test]
    fn figures_count_samples_and_subjects_by_hand() {
        let outcomes = outcomes();
        let (sample, subject) = (outcomes.figures(Per::Sample), outcomes.figures(Per::Subject));
        assert_eq!((sample.n, sample.accuracy), (5, Some(0.6)));
        assert_eq!((sample.worst_group_accuracy, sample.mean_group_accuracy), (Some(0.5), Some(0.75)));
        assert_eq!((subject.n, subject.accuracy.map(|share| (share * 3.0).round())), (3, Some(2.0)));
        assert_eq!((subject.worst_group_accuracy, subject.worst_group.as_deref()), (Some(0.5), Some("a")));
        assert_eq!(outcomes.strata, [0, 0, 1]);
    }

    #[test]
    fn a_subject_drawn_twice_counts_twice_and_one_not_drawn_not_at_all() {
        let drawn = outcomes().accuracies(Per::Sample, Some(&[0, 2, 1]));
        assert_eq!((drawn.all, drawn.worst()), (Some(1.0 / 3.0), Some(0.0)));
        let none_of_b = outcomes().accuracies(Per::Subject, Some(&[1, 1, 0]));
        assert_eq!(none_of_b.groups, [Some(0.5), None]);
    }
}
