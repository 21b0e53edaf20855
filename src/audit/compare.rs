//! Two models on the same subjects: whose predictions can be paired, and the paired differences.

use std::collections::{BTreeMap, BTreeSet};

use super::cohort::{Cohort, Scored, by_cell};
use super::error::AuditError;
use super::facet::{Facet, Facets};
use super::model::{Model, Row};
use super::numbers::{Making, Statistic, lowest_accuracy};
use super::report::{Comparison, Estimate, Method, Missing, PairedCell};
use crate::metrics::cases::{Case, MacroRoc, accuracy};
use crate::metrics::interval::{PairedCounts, newcombe_paired};

/// Restricts `other` to the subjects of `first`, with the classes in `first`'s order and the groups as `first` names them, so
/// that one table holds both.
pub(super) fn align(first: &Model, other: &mut Model) -> Result<(), AuditError> {
    let name = |model: &Model| model.identity.name.clone();
    let position = |class: &String| first.classes.iter().position(|found| found == class);
    let order: Option<Vec<usize>> = other.classes.iter().map(position).collect();
    let order = order.filter(|order| order.len() == first.classes.len()).ok_or_else(|| AuditError::Classes {
        first: name(first),
        expected: first.classes.clone(),
        other: name(other),
        found: other.classes.clone(),
    })?;
    let places = Places::new(first);
    let (mut rows, mut differing) = (Vec::new(), BTreeSet::new());
    for row in std::mem::take(&mut other.rows) {
        let Some(labels) = places.labels.get(row.subject.as_str()) else { continue };
        let label = order[row.label];
        if !labels.contains(&label) {
            differing.insert(row.subject.clone());
        }
        let mut probabilities = vec![0.0; order.len()];
        order.iter().zip(&row.probabilities).for_each(|(class, value)| probabilities[*class] = *value);
        let facets = places.facets(&row);
        rows.push(Row { label, facets, probabilities, ..row });
    }
    if !differing.is_empty() {
        return Err(AuditError::LabelsDiffer { first: name(first), other: name(other), subjects: differing.len() });
    }
    let common: BTreeSet<&str> = rows.iter().map(|row| row.subject.as_str()).collect();
    if common.is_empty() {
        return Err(AuditError::NothingInCommon { first: name(first), other: name(other) });
    }
    if common.len() < places.labels.len() {
        other.warnings.push(format!(
            "{}: only {} of {} subjects are in its predictions; it is shown, and compared, on these.",
            other.identity.name,
            common.len(),
            places.labels.len()
        ));
    }
    other.rows = rows;
    other.classes.clone_from(&first.classes);
    Ok(())
}

/// Where the model under audit has its subjects.
struct Places<'a> {
    labels: BTreeMap<&'a str, BTreeSet<usize>>,
    by_stack: BTreeMap<(&'a str, &'a str), &'a Facets>,
    by_subject: BTreeMap<&'a str, &'a Facets>,
}

impl<'a> Places<'a> {
    fn new(model: &'a Model) -> Self {
        let mut places = Self { labels: BTreeMap::new(), by_stack: BTreeMap::new(), by_subject: BTreeMap::new() };
        // In the order of ids, so that the order of rows changes nothing for a subject seen in two places.
        let mut rows: Vec<&Row> = model.rows.iter().collect();
        rows.sort_by(|a, b| (&a.subject, &a.stack).cmp(&(&b.subject, &b.stack)));
        for row in rows {
            places.labels.entry(&row.subject).or_default().insert(row.label);
            places.by_stack.entry((&row.subject, &row.stack)).or_insert(&row.facets);
            places.by_subject.entry(&row.subject).or_insert(&row.facets);
        }
        places
    }

    fn facets(&self, row: &Row) -> Facets {
        let by_stack = self.by_stack.get(&(row.subject.as_str(), row.stack.as_str()));
        by_stack
            .or_else(|| self.by_subject.get(row.subject.as_str()))
            .map_or_else(Facets::default, |found| (*found).clone())
    }
}

/// A cell of both models.
struct Pair {
    first: Scored,
    other: Scored,
}

/// Rows of both models in the cells that both have.
fn pairs(first: &[&Row], other: &[&Row], facet: Facet, cohort: &Cohort) -> Vec<(Option<String>, Pair)> {
    let mut others: BTreeMap<Option<String>, Vec<&Row>> = by_cell(other, facet).into_iter().collect();
    let pair = |(name, rows): (Option<String>, Vec<&Row>)| {
        let other = others.remove(&name)?;
        Some((name, Pair { first: Scored::new(&rows, cohort), other: Scored::new(&other, cohort) }))
    };
    by_cell(first, facet).into_iter().filter_map(pair).collect()
}

/// The model under audit minus `other`, which is aligned with it.
pub(super) fn compare(first: &Model, other: &Model, making: Making<'_>) -> Result<Comparison, AuditError> {
    let common: BTreeSet<&str> = other.rows.iter().map(|row| row.subject.as_str()).collect();
    let first_rows: Vec<&Row> = first.rows.iter().filter(|row| common.contains(row.subject.as_str())).collect();
    let other_rows: Vec<&Row> = other.rows.iter().collect();
    let cohort = Cohort::new(first_rows.iter().copied());
    let overall = Pair { first: Scored::new(&first_rows, &cohort), other: Scored::new(&other_rows, &cohort) };
    let mut cells = vec![paired_cell((None, None), &overall, &cohort, making)?];
    for facet in [Facet::AcquisitionGroup, Facet::Site] {
        for (name, pair) in pairs(&first_rows, &other_rows, facet, &cohort) {
            cells.push(paired_cell((Some(facet), name), &pair, &cohort, making)?);
        }
    }
    let groups = pairs(&first_rows, &other_rows, Facet::Group, &cohort);
    let [worst_group_accuracy, sample_worst_group_accuracy, auroc] =
        differences(&overall, &groups, first.classes.len(), &cohort, making)?;
    Ok(Comparison {
        other: other.identity.name.clone(),
        cells,
        worst_group_accuracy,
        sample_worst_group_accuracy,
        auroc,
    })
}

fn paired_cell(
    (facet, name): (Option<Facet>, Option<String>),
    pair: &Pair,
    cohort: &Cohort,
    making: Making<'_>,
) -> Result<PairedCell, AuditError> {
    let others: BTreeMap<(usize, usize), bool> =
        pair.other.subjects.iter().map(|case| ((case.cluster, case.label), case.is_correct())).collect();
    let mut counts = PairedCounts::default();
    for case in &pair.first.subjects {
        match (case.is_correct(), others.get(&(case.cluster, case.label))) {
            (_, None) => {}
            (true, Some(true)) => counts.both += 1,
            (true, Some(false)) => counts.first_only += 1,
            (false, Some(true)) => counts.second_only += 1,
            (false, Some(false)) => counts.neither += 1,
        }
    }
    let PairedCounts { both, first_only, second_only, neither } = counts;
    let n = both + first_only + second_only + neither;
    let samples = [&pair.first, &pair.other].map(|scored| scored.samples.iter().collect::<Vec<&Case>>());
    let difference = |weights: &[u32]| Some(accuracy(&samples[0], weights)? - accuracy(&samples[1], weights)?);
    let interval = making.bootstrap(cohort, n, &[&difference])?.remove(0);
    Ok(PairedCell {
        facet,
        name,
        n,
        correct: [both, first_only, second_only, neither],
        evidence: making.evidence(n),
        accuracy: paired_difference(counts, n, making),
        sample_accuracy: Making::estimate(difference(&cohort.ones()), interval, Missing::NoCase),
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn paired_difference(counts: PairedCounts, n: u64, making: Making<'_>) -> Estimate {
    if n == 0 {
        return Estimate::undefined(Missing::NoCase);
    }
    let value = (counts.first_only as f64 - counts.second_only as f64) / n as f64;
    let interval = if n < 2 { None } else { newcombe_paired(counts, making.settings.tail()) };
    Estimate::new(value, interval.map(|interval| (interval, Method::Newcombe)).ok_or(Missing::OneSubject))
}

/// Differences of worst-group accuracy per subject and per sample, and of AUROC.
fn differences(
    overall: &Pair,
    groups: &[(Option<String>, Pair)],
    classes: usize,
    cohort: &Cohort,
    making: Making<'_>,
) -> Result<[Estimate; 3], AuditError> {
    let of = |choose: for<'p> fn(&'p Pair) -> &'p [Case]| -> Vec<Vec<&Case>> {
        groups.iter().map(|(_, pair)| choose(pair).iter().collect()).collect()
    };
    let subject_groups = [of(|pair| &pair.first.subjects), of(|pair| &pair.other.subjects)];
    let sample_groups = [of(|pair| &pair.first.samples), of(|pair| &pair.other.samples)];
    let roc = [&overall.first, &overall.other]
        .map(|scored| MacroRoc::new(&scored.subjects.iter().collect::<Vec<_>>(), classes));
    let worst = |groups: &[Vec<Vec<&Case>>; 2], weights: &[u32]| {
        Some(lowest_accuracy(&groups[0], weights)? - lowest_accuracy(&groups[1], weights)?)
    };
    let statistics: [Statistic<'_>; 3] =
        [&|weights| worst(&subject_groups, weights), &|weights| worst(&sample_groups, weights), &|weights| {
            Some(roc[0].area(weights)? - roc[1].area(weights)?)
        }];
    let intervals = making.bootstrap(cohort, overall.other.counts.subjects, &statistics)?;
    let ones = cohort.ones();
    let undefined = [Missing::NoCase, Missing::NoCase, Missing::ClassMissing];
    Ok(std::array::from_fn(|index| Making::estimate(statistics[index](&ones), intervals[index], undefined[index])))
}
