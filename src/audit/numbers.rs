//! The numbers of one model: overall, per cell, averages and worst group, calibration.

use std::collections::BTreeMap;

use super::cohort::{Cohort, Scored, by_cell};
use super::error::AuditError;
use super::facet::Facet;
use super::model::{Model, Row};
use super::report::{
    Breakdown, Calibration, Cell, ClassCalibration, ClassRecall, Estimate, Evidence, GroupNumbers, Method, Missing,
    Performance, SampleLevel, SubjectLevel, Worst,
};
use crate::context::Context;
use crate::metrics::calibration::{expected_calibration_error, recalibrate, reliability};
use crate::metrics::cases::{self, Case, MacroRoc, accuracy, balanced_accuracy, brier, confusion, log_loss};
use crate::metrics::groups::{mean_group_accuracy, train_weighted_accuracy, worst};
use crate::metrics::interval::{self, Interval};
use crate::metrics::permutation;
use crate::settings::audit::AuditSettings;

/// A number for given weights of the subjects.
pub(super) type Statistic<'a> = &'a (dyn Fn(&[u32]) -> Option<f64> + Sync);

/// How numbers are made: settings, and whom progress is told.
#[derive(Clone, Copy)]
pub(super) struct Making<'a> {
    pub(super) settings: &'a AuditSettings,
    pub(super) context: Context<'a>,
}

impl Making<'_> {
    /// Whether this many subjects are enough.
    pub(super) fn evidence(&self, subjects: u64) -> Evidence {
        if subjects >= u64::from(self.settings.min_subjects) { Evidence::Sufficient } else { Evidence::Insufficient }
    }

    /// Stops between steps when the user asked to.
    pub(super) fn check(&self) -> Result<(), AuditError> {
        if self.context.interrupt.is_set() { Err(AuditError::Interrupted) } else { Ok(()) }
    }

    /// Percentile intervals of several statistics over the same replicates. `subjects` is how many the statistics rest on.
    pub(super) fn bootstrap(
        &self,
        cohort: &Cohort,
        subjects: u64,
        statistics: &[Statistic<'_>],
    ) -> Result<Vec<Result<Interval, Missing>>, AuditError> {
        self.check()?;
        if subjects < 2 {
            return Ok(vec![Err(Missing::OneSubject); statistics.len()]);
        }
        let AuditSettings { seed, replicates, .. } = *self.settings;
        let interrupt = self.context.interrupt;
        let one = |weights: &[u32]| -> Vec<Option<f64>> {
            if interrupt.is_set() {
                return vec![None; statistics.len()];
            }
            statistics.iter().map(|statistic| statistic(weights)).collect()
        };
        let drawn = self.context.pool.install(|| cohort.strata.replicates(seed, replicates, one));
        self.check()?;
        self.context.observer.advance(1);
        let interval = |index: usize| {
            let values: Vec<Option<f64>> = drawn.iter().map(|values| values[index]).collect();
            let found = interval::percentile(&values, self.settings.tail()).ok_or(Missing::Unstable)?;
            if found.low < found.high { Ok(found) } else { Err(Missing::NoVariation) }
        };
        Ok((0..statistics.len()).map(interval).collect())
    }

    /// A bootstrapped estimate.
    pub(super) fn estimate(value: Option<f64>, interval: Result<Interval, Missing>, undefined: Missing) -> Estimate {
        let interval = interval.map(|interval| (interval, Method::Bootstrap));
        value.map_or_else(|| Estimate::undefined(undefined), |value| Estimate::new(value, interval))
    }

    /// A proportion of independent subjects with Wilson's interval.
    fn proportion(&self, correct: u64, n: u64) -> Estimate {
        if n == 0 {
            return Estimate::undefined(Missing::NoCase);
        }
        let interval = if n < 2 { None } else { interval::wilson(correct, n, self.settings.tail()) };
        let interval = interval.map(|interval| (interval, Method::Wilson)).ok_or(Missing::OneSubject);
        Estimate::new(ratio(correct, n), interval)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

pub(super) fn count_correct(cases: &[Case]) -> u64 {
    cases.iter().filter(|case| case.is_correct()).count() as u64
}

/// Mean probability of the predicted class minus accuracy.
fn confidence_gap(cases: &[&Case], weights: &[u32]) -> Option<f64> {
    let mut sums = (0.0, 0.0);
    for case in cases {
        let weight = f64::from(weights[case.cluster]);
        sums.0 += weight;
        sums.1 += weight * (case.probabilities[case.predicted] - f64::from(u8::from(case.is_correct())));
    }
    (sums.0 > 0.0).then(|| sums.1 / sums.0)
}

/// All numbers of some cases.
pub(super) fn performance(
    scored: &Scored,
    classes: usize,
    cohort: &Cohort,
    making: Making<'_>,
) -> Result<Performance, AuditError> {
    let subjects: Vec<&Case> = scored.subjects.iter().collect();
    let samples: Vec<&Case> = scored.samples.iter().collect();
    let roc = MacroRoc::new(&subjects, classes);
    let statistics: [Statistic<'_>; 7] = [
        &|weights| balanced_accuracy(&subjects, weights, classes),
        &|weights| roc.area(weights),
        &|weights| brier(&subjects, weights),
        &|weights| log_loss(&subjects, weights),
        &|weights| confidence_gap(&subjects, weights),
        &|weights| accuracy(&samples, weights),
        &|weights| balanced_accuracy(&samples, weights, classes),
    ];
    let intervals = making.bootstrap(cohort, scored.counts.subjects, &statistics)?;
    let ones = cohort.ones();
    let estimate = |index: usize| {
        let undefined = if index == 1 { Missing::ClassMissing } else { Missing::NoCase };
        Making::estimate(statistics[index](&ones), intervals[index], undefined)
    };
    let recall = |class: usize| {
        let of_class = subjects.iter().filter(|case| case.label == class);
        let (n, correct) = of_class.fold((0, 0), |(n, correct), case| (n + 1, correct + u64::from(case.is_correct())));
        ClassRecall { n, correct, recall: making.proportion(correct, n) }
    };
    let (n, correct) = (subjects.len() as u64, count_correct(&scored.subjects));
    let bins = making.settings.calibration_bins as usize;
    Ok(Performance {
        counts: scored.counts,
        evidence: making.evidence(scored.counts.subjects),
        subject: SubjectLevel {
            n,
            correct,
            accuracy: making.proportion(correct, n),
            balanced_accuracy: estimate(0),
            recall: (0..classes).map(recall).collect(),
            auroc: estimate(1),
            brier: estimate(2),
            log_loss: estimate(3),
            confidence_gap: estimate(4),
            calibration_error: expected_calibration_error(&subjects, bins),
            confusion: confusion(&subjects, classes),
        },
        sample: SampleLevel {
            n: samples.len() as u64,
            correct: count_correct(&scored.samples),
            accuracy: estimate(5),
            balanced_accuracy: estimate(6),
        },
    })
}

/// Calibration of the predicted class, and of each class against the rest.
pub(super) fn calibration(scored: &Scored, classes: usize, settings: &AuditSettings) -> Calibration {
    let subjects: Vec<&Case> = scored.subjects.iter().collect();
    let class = |class: usize| match recalibrate(&subjects, class) {
        Ok(fit) => ClassCalibration { fit: Some(fit), missing: None },
        Err(missing) => ClassCalibration { fit: None, missing: Some(missing) },
    };
    Calibration {
        bins: reliability(&subjects, settings.calibration_bins as usize),
        recalibration: (0..classes).map(class).collect(),
    }
}

/// The breakdown of `rows` by `facet`; `None` where nobody's value is known.
pub(super) fn breakdown(
    facet: Facet,
    rows: &[&Row],
    model: &Model,
    cohort: &Cohort,
    making: Making<'_>,
) -> Result<Option<Breakdown>, AuditError> {
    let mut results: BTreeMap<(bool, Option<String>), Option<Scored>> = BTreeMap::new();
    if let Some(training) = &model.training {
        results.extend(training.names(facet).into_iter().map(|name| ((name.is_none(), name), None)));
    }
    for (name, rows) in by_cell(rows, facet) {
        results.insert((name.is_none(), name), Some(Scored::new(&rows, cohort)));
    }
    if results.keys().all(|(is_unknown, _)| *is_unknown) {
        return Ok(None);
    }
    let mut cells = Vec::new();
    for ((_, name), scored) in &results {
        let train = model.training.as_ref().map(|training| training.counts(facet, name.as_deref()));
        let performance = match scored {
            Some(scored) => Some(performance(scored, model.classes.len(), cohort, making)?),
            None => None,
        };
        cells.push(Cell { name: name.clone(), train, performance });
    }
    let scored: Vec<&Scored> = results.values().flatten().collect();
    Ok(Some(Breakdown { facet, same_as: None, cells, heterogeneity: heterogeneity(facet, &scored, making) }))
}

/// Whether the cells with enough subjects differ by more than chance.
/// Not by group of the worst-group accuracy: where the label is part of the group, nothing can be exchanged within a class.
fn heterogeneity(facet: Facet, cells: &[&Scored], making: Making<'_>) -> Option<super::report::Heterogeneity> {
    if facet == Facet::Group {
        return None;
    }
    let enough = |scored: &&&Scored| making.evidence(scored.counts.subjects) == Evidence::Sufficient;
    let cells: Vec<&&Scored> = cells.iter().filter(enough).collect();
    let of_cell = |(cell, scored): (usize, &&&Scored)| -> Vec<permutation::Outcome> {
        let outcome = |case: &Case| permutation::Outcome { cell, stratum: case.label, is_correct: case.is_correct() };
        scored.subjects.iter().map(outcome).collect()
    };
    let outcomes: Vec<_> = cells.iter().enumerate().flat_map(of_cell).collect();
    let AuditSettings { seed, replicates, .. } = *making.settings;
    let found = making.context.pool.install(|| permutation::largest_gap(&outcomes, cells.len(), seed, replicates))?;
    Some(super::report::Heterogeneity { cells: cells.len() as u64, gap: found.gap, p_value: found.p_value })
}

/// Which level of a [`Performance`] is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Subject,
    Sample,
}

/// Averages and worst group from the breakdown by group.
pub(super) fn group_numbers(groups: &Breakdown, model: &Model, level: Level, making: Making<'_>) -> GroupNumbers {
    let tested: Vec<(&Cell, &Performance)> =
        groups.cells.iter().filter_map(|cell| Some((cell, cell.performance.as_ref()?))).collect();
    let counts = |performance: &Performance| match level {
        Level::Subject => (performance.subject.correct, performance.subject.n),
        Level::Sample => (performance.sample.correct, performance.sample.n),
    };
    let accuracies: Vec<Option<f64>> = tested
        .iter()
        .map(|(_, performance)| {
            let (correct, n) = counts(performance);
            (n > 0).then(|| ratio(correct, n))
        })
        .collect();
    let train_count = |(cell, _): &(&Cell, &Performance)| {
        cell.name.as_ref().and_then(|name| model.identity.train_counts.get(name)).copied().unwrap_or(0)
    };
    let train_counts: Vec<u64> = tested.iter().map(train_count).collect();
    let worst_of = |cells: &[(&Cell, &Performance)]| {
        let proportions: Vec<(u64, u64)> = cells.iter().map(|(_, performance)| counts(performance)).collect();
        let names: Vec<Option<String>> = cells.iter().map(|(cell, _)| cell.name.clone()).collect();
        worst_group(&names, &proportions, level, making)
    };
    let enough: Vec<_> =
        tested.iter().filter(|(_, performance)| performance.evidence == Evidence::Sufficient).copied().collect();
    GroupNumbers {
        train_weighted_accuracy: train_weighted_accuracy(&accuracies, &train_counts),
        mean_group_accuracy: mean_group_accuracy(&accuracies),
        worst: worst_of(&tested),
        worst_with_evidence: worst_of(&enough),
    }
}

/// The lowest of several proportions, per subject with the interval of the minimum.
fn worst_group(names: &[Option<String>], proportions: &[(u64, u64)], level: Level, making: Making<'_>) -> Worst {
    let accuracies: Vec<Option<f64>> =
        proportions.iter().map(|&(correct, n)| (n > 0).then(|| ratio(correct, n))).collect();
    let Some(lowest) = worst(&accuracies) else {
        return Worst { group: None, tied: Vec::new(), accuracy: Estimate::undefined(Missing::NoCase), groups: 0 };
    };
    let interval = match level {
        Level::Sample => Err(Missing::PerSubjectOnly),
        Level::Subject => {
            let exact = |group: usize, tail: f64| {
                let (correct, n) = proportions[group];
                interval::clopper_pearson(correct, n, tail)
            };
            let found = interval::of_minimum(proportions.len(), making.settings.tail(), exact);
            found.map(|interval| (interval, Method::Minimum)).ok_or(Missing::NoCase)
        }
    };
    let others = names.iter().enumerate().filter(|(index, _)| {
        *index != lowest.group && accuracies[*index].is_some_and(|accuracy| accuracy <= lowest.accuracy)
    });
    Worst {
        group: names[lowest.group].clone(),
        tied: others.filter_map(|(_, name)| name.clone()).collect(),
        accuracy: Estimate::new(lowest.accuracy, interval),
        groups: names.len() as u64,
    }
}

/// Lowest accuracy over groups of cases, for a replicate: groups without weight are left out.
pub(super) fn lowest_accuracy(groups: &[Vec<&Case>], weights: &[u32]) -> Option<f64> {
    let accuracies: Vec<Option<f64>> = groups.iter().map(|group| cases::accuracy(group, weights)).collect();
    worst(&accuracies).map(|worst| worst.accuracy)
}
