//! From predictions to cases: who is a subject, which stratum it is resampled in, and its probabilities.

use std::collections::{BTreeMap, BTreeSet};

use super::facet::Facet;
use super::model::Row;
use super::report::Counts;
use crate::metrics::bootstrap::Strata;
use crate::metrics::cases::{Case, mean_probabilities};

/// Subjects of a report in byte order; the position is the cluster of their cases.
pub(super) struct Cohort {
    index: BTreeMap<String, usize>,
    /// Acquisition groups and sites keep their sizes in every replicate.
    pub(super) strata: Strata,
}

impl Cohort {
    /// The subjects of `rows`.
    pub(super) fn new<'a>(rows: impl Iterator<Item = &'a Row>) -> Self {
        let mut places: BTreeMap<&str, BTreeSet<[Option<&str>; 2]>> = BTreeMap::new();
        for row in rows {
            let place = [Facet::AcquisitionGroup, Facet::Site].map(|facet| row.facets.get(facet));
            places.entry(&row.subject).or_default().insert(place);
        }
        let strata = Strata::new(&places.values().collect::<Vec<_>>());
        let index = places.keys().enumerate().map(|(index, subject)| ((*subject).to_owned(), index)).collect();
        Self { index, strata }
    }

    /// Number of subjects.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Weights of the estimate itself.
    pub(super) fn ones(&self) -> Vec<u32> {
        vec![1; self.len()]
    }

    fn cluster(&self, subject: &str) -> usize {
        self.index[subject]
    }
}

/// Rows of a cell as cases, at both levels.
#[derive(Debug, Clone, Default)]
pub(super) struct Scored {
    pub(super) counts: Counts,
    /// One per sample.
    pub(super) samples: Vec<Case>,
    /// One per subject and label: mean over a stack's samples, then over stacks.
    pub(super) subjects: Vec<Case>,
    /// Subjects with more than one label.
    pub(super) several_labels: u64,
}

/// In an order that does not depend on that of the source.
fn canonical<'a>(rows: &[&'a Row]) -> Vec<&'a Row> {
    let mut sorted = rows.to_vec();
    sorted.sort_by(|a, b| {
        let keys = (&a.subject, a.label, &a.stack).cmp(&(&b.subject, b.label, &b.stack));
        let pairs = a.probabilities.iter().zip(&b.probabilities);
        pairs.fold(keys, |order, (a, b)| order.then_with(|| a.total_cmp(b)))
    });
    sorted
}

/// Rounded to 40 bits: the last bits of a mean depend on how many values went in, and would break ties in ranks and classes.
fn rounded(probability: f64) -> f64 {
    const DROPPED_BITS: u32 = 12;
    let half = 1_u64 << (DROPPED_BITS - 1);
    f64::from_bits((probability.to_bits() + half) >> DROPPED_BITS << DROPPED_BITS)
}

impl Scored {
    /// Cases of `rows`, whose subjects are all in `cohort`.
    pub(super) fn new(rows: &[&Row], cohort: &Cohort) -> Self {
        let rows = canonical(rows);
        let case = |row: &&Row, probabilities: Vec<f64>| {
            Case::new(cohort.cluster(&row.subject), row.label, probabilities)
                .expect("probabilities were checked when they were read")
        };
        let samples = rows.iter().map(|row| case(row, row.probabilities.clone())).collect();
        let by_subject = rows.chunk_by(|a, b| a.subject == b.subject && a.label == b.label);
        let subjects: Vec<Case> = by_subject
            .map(|rows| {
                let stacks = rows.chunk_by(|a, b| a.stack == b.stack);
                let means: Vec<Vec<f64>> = stacks
                    .filter_map(|rows| mean_probabilities(rows.iter().map(|row| row.probabilities.as_slice())))
                    .collect();
                let mean = mean_probabilities(means.iter().map(Vec::as_slice));
                let mean = mean.expect("a chunk has at least one row");
                case(&rows[0], mean.into_iter().map(rounded).collect())
            })
            .collect();
        let clusters: BTreeSet<usize> = subjects.iter().map(|case| case.cluster).collect();
        let stacks: BTreeSet<&str> = rows.iter().map(|row| row.stack.as_str()).collect();
        let counts =
            Counts { subjects: clusters.len() as u64, stacks: stacks.len() as u64, samples: rows.len() as u64 };
        let several_labels =
            subjects.chunk_by(|a, b| a.cluster == b.cluster).filter(|cases| cases.len() > 1).count() as u64;
        Self { counts, samples, subjects, several_labels }
    }
}

/// Rows by the name of their cell, unknown last.
pub(super) fn by_cell<'a>(rows: &[&'a Row], facet: Facet) -> Vec<(Option<String>, Vec<&'a Row>)> {
    let mut cells: BTreeMap<(bool, Option<String>), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let name = row.facets.get(facet).map(str::to_owned);
        cells.entry((name.is_none(), name)).or_default().push(row);
    }
    cells.into_iter().map(|((_, name), rows)| (name, rows)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(subject: &str, stack: &str, label: usize, p: f64) -> Row {
        let (subject, stack) = (subject.to_owned(), stack.to_owned());
        Row { subject, stack, label, facets: Default::default(), probabilities: vec![1.0 - p, p] }
    }

    fn scored(rows: &[Row]) -> Scored {
        Scored::new(&rows.iter().collect::<Vec<_>>(), &Cohort::new(rows.iter()))
    }

    #[test]
    fn a_subject_is_the_mean_over_its_stacks_of_the_mean_over_their_samples() {
        // Stack x: (0.2 + 0.4) / 2 = 0.3; stack y: 0.9; subject: 0.6, not 0.5 as over all three samples.
        let scored = scored(&[row("a", "x", 1, 0.2), row("a", "x", 1, 0.4), row("a", "y", 1, 0.9)]);
        assert_eq!(scored.subjects.len(), 1);
        assert!((scored.subjects[0].probabilities[1] - 0.6).abs() < 1e-12);
        assert!(scored.subjects[0].is_correct());
        assert_eq!(scored.counts, Counts { subjects: 1, stacks: 2, samples: 3 });
    }

    #[test]
    fn neither_the_order_of_rows_nor_a_doubled_sample_changes_a_subject() {
        let rows = vec![row("b", "x", 0, 0.7), row("a", "y", 1, 0.3), row("a", "y", 1, 0.8), row("b", "z", 0, 0.2)];
        let reversed: Vec<Row> = rows.iter().rev().cloned().collect();
        assert_eq!(scored(&rows).subjects, scored(&reversed).subjects);
        assert_eq!(scored(&rows).samples, scored(&reversed).samples);
        let doubled: Vec<Row> = rows.iter().chain(&rows).cloned().collect();
        assert_eq!(scored(&rows).subjects, scored(&doubled).subjects);
        assert_eq!(scored(&doubled).samples.len(), 8);
    }

    #[test]
    fn equal_images_tie_with_one_of_them() {
        // The mean of three 0.7 is 0.6999999999999998 in binary, which would rank below one 0.7.
        let scored =
            scored(&[row("a", "x", 1, 0.7), row("b", "y", 1, 0.7), row("b", "y", 1, 0.7), row("b", "y", 1, 0.7)]);
        assert_eq!(scored.subjects[0].probabilities, scored.subjects[1].probabilities);
        assert_eq!((rounded(0.0), rounded(1.0), rounded(1e-300) > 0.0), (0.0, 1.0, true));
    }

    #[test]
    fn a_subject_with_two_labels_is_two_cases_of_one_cluster() {
        let scored = scored(&[row("a", "x", 0, 0.2), row("a", "y", 1, 0.9)]);
        assert_eq!((scored.subjects.len(), scored.counts.subjects, scored.several_labels), (2, 1, 1));
        assert_eq!(scored.subjects[0].cluster, scored.subjects[1].cluster);
    }
}
