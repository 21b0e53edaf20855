//! The numbers of the report, as `report.json` holds them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::features::{BINS, GreyFeatures, GreyValues, POOLED_SIDE};
use super::probe::{self, Case, Guessed};
use crate::formats::quality::{QualityFlag, QualityRow};
use crate::preprocess::source::CohortStack;

/// `schema` of `report.json`.
pub const REPORT_SCHEMA: &str = "groupdistil.preprocess-report/1";
/// Percentile of a stack's grey values that is its darkest and brightest, against single pixels.
const DARK_BRIGHT: (usize, usize) = (1, 99);
/// Share of stacks that may lie beyond the common scale on each side.
const BEYOND: f64 = 0.05;

/// One prepared stack with its grey values.
#[derive(Debug, Clone, Copy)]
pub struct ReportStack<'a> {
    /// The stack.
    pub stack: &'a CohortStack,
    /// Its row of `quality.parquet`.
    pub quality: &'a QualityRow,
    /// Its grey values.
    pub grey: &'a GreyFeatures,
}

/// `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`REPORT_SCHEMA`].
    pub schema: String,
    /// Prepared stacks.
    pub stacks: usize,
    /// Their subjects.
    pub subjects: usize,
    /// Stacks left out.
    pub left_out: usize,
    /// What the intensity steps were, in words.
    pub steps: String,
    /// Scale of all histograms before the intensity steps: source values over one constant of the cohort.
    pub before: Scale,
    /// Scale of all histograms after them.
    pub after: Scale,
    /// Acquisition groups, byte-sorted.
    pub groups: Vec<GroupGrey>,
    /// Vendor, then site.
    pub probes: Vec<Probe>,
}

/// The common scale of histograms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Source value that is 1; 1 after the intensity steps.
    pub unit: f64,
    /// Lower edge of the first bin, in units.
    pub low: f64,
    /// Upper edge of the last bin, in units.
    pub high: f64,
}

/// One acquisition group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupGrey {
    /// Name.
    pub name: String,
    /// Subjects with a prepared stack.
    pub subjects: usize,
    /// Prepared stacks.
    pub stacks: usize,
    /// Of them with any flag.
    pub flagged: usize,
    /// Stacks per flag; all flags are named.
    pub flags: BTreeMap<String, usize>,
    /// Shares of grey values in 32 bins, mean over stacks.
    pub before: Vec<f64>,
    /// The same after the intensity steps.
    pub after: Vec<f64>,
}

/// What a linear probe tells of the scanner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// `vendor` or `site`.
    pub target: String,
    /// Why there is no result.
    pub reason: Option<String>,
    /// From the grey values before the intensity steps.
    pub before: Option<Guessed>,
    /// From those after them.
    pub after: Option<Guessed>,
}

/// The value below which `share` of the sorted ones lie (nearest rank); 0 without values.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (share * values.len().saturating_sub(1) as f64).round() as usize;
    values.get(rank).copied().unwrap_or(0.0)
}

/// From the darkest to the brightest of nearly all stacks, in source values.
fn range<'a>(values: impl Iterator<Item = &'a GreyValues> + Clone) -> (f64, f64) {
    let at = |place: usize| values.clone().map(|values| f64::from(values.percentiles[place])).collect();
    let (low, high) = (quantile(at(DARK_BRIGHT.0), BEYOND), quantile(at(DARK_BRIGHT.1), 1.0 - BEYOND));
    (low, if high > low { high } else { low + 1.0 })
}

fn mean(histograms: &[Vec<f64>]) -> Vec<f64> {
    let share = 1.0 / histograms.len().max(1) as f64;
    (0..BINS).map(|bin| histograms.iter().map(|histogram| histogram[bin]).sum::<f64>() * share).collect()
}

/// Histogram and coarse image, of a stack on a common scale.
fn features(values: &GreyValues, range: (f64, f64)) -> Vec<f64> {
    let pooled = values.pooled.iter().map(|&value| f64::from(value));
    let features: Vec<f64> = values.histogram(range).into_iter().chain(pooled).collect();
    debug_assert_eq!(features.len(), BINS + POOLED_SIDE * POOLED_SIDE);
    features
}

fn probe<'a>(
    target: &str,
    stacks: &[ReportStack<'a>],
    class: fn(&CohortStack) -> Option<&str>,
    ranges: [(f64, f64); 2],
    pool: &rayon::ThreadPool,
) -> Probe {
    let cases = |pick: fn(&GreyFeatures) -> &GreyValues, range: (f64, f64)| {
        let case = |one: &ReportStack<'a>| {
            let features = features(pick(one.grey), range);
            Some(Case { subject: &one.stack.subject_id, class: class(one.stack)?, features })
        };
        stacks.iter().filter_map(case).collect::<Vec<_>>()
    };
    let guess = |pick, range| probe::probe(&cases(pick, range), pool);
    match (guess(|grey| &grey.before, ranges[0]), guess(|grey| &grey.after, ranges[1])) {
        (Ok(before), Ok(after)) => {
            Probe { target: target.to_owned(), reason: None, before: Some(before), after: Some(after) }
        }
        (Err(reason), _) | (_, Err(reason)) => {
            Probe { target: target.to_owned(), reason: Some(reason), before: None, after: None }
        }
    }
}

fn group(name: &str, stacks: &[ReportStack<'_>], ranges: [(f64, f64); 2]) -> GroupGrey {
    let own: Vec<_> = stacks.iter().filter(|one| one.stack.acquisition_group == name).collect();
    let subjects: BTreeSet<&str> = own.iter().map(|one| one.stack.subject_id.as_str()).collect();
    let count = |flag: QualityFlag| own.iter().filter(|one| one.quality.flags.contains(&flag)).count();
    let histograms = |pick: fn(&GreyFeatures) -> &GreyValues, range| {
        own.iter().map(|one| pick(one.grey).histogram(range)).collect::<Vec<_>>()
    };
    GroupGrey {
        name: name.to_owned(),
        subjects: subjects.len(),
        stacks: own.len(),
        flagged: own.iter().filter(|one| !one.quality.flags.is_empty()).count(),
        flags: QualityFlag::ALL.iter().map(|flag| (flag.as_str().to_owned(), count(*flag))).collect(),
        before: mean(&histograms(|grey| &grey.before, ranges[0])),
        after: mean(&histograms(|grey| &grey.after, ranges[1])),
    }
}

/// The report on these stacks, which are in the order of the dataset. `steps`: the intensity steps in words.
pub fn report(stacks: &[ReportStack<'_>], left_out: usize, steps: String, pool: &rayon::ThreadPool) -> Report {
    let ranges = [range(stacks.iter().map(|one| &one.grey.before)), range(stacks.iter().map(|one| &one.grey.after))];
    let names: BTreeSet<&str> = stacks.iter().map(|one| one.stack.acquisition_group.as_str()).collect();
    let subjects: BTreeSet<&str> = stacks.iter().map(|one| one.stack.subject_id.as_str()).collect();
    let unit = if ranges[0].1 > 0.0 { ranges[0].1 } else { 1.0 };
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        stacks: stacks.len(),
        subjects: subjects.len(),
        left_out,
        steps,
        before: Scale { unit, low: ranges[0].0 / unit, high: ranges[0].1 / unit },
        after: Scale { unit: 1.0, low: ranges[1].0, high: ranges[1].1 },
        groups: names.iter().map(|name| group(name, stacks, ranges)).collect(),
        probes: vec![
            probe("vendor", stacks, |stack| stack.vendor.as_deref(), ranges, pool),
            probe("site", stacks, |stack| stack.site.as_deref(), ranges, pool),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two vendors whose values differ by a gain of ten before, and not at all after.
    #[test]
    fn a_gain_shows_before_and_not_after() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let values = |number: usize, gain: f32| {
            let pixel = move |index: usize| gain * (1.0 + ((index * 7 + number * 13) % 50) as f32);
            GreyValues::of(&[&(0..256).map(pixel).collect::<Vec<_>>()], (16, 16))
        };
        let vendor = |number: usize| ["ge", "siemens"][number % 2];
        let stack = |number: usize| CohortStack {
            stack_id: format!("stack{number}"),
            subject_id: format!("subject{number}"),
            vendor: Some(vendor(number).into()),
            acquisition_group: format!("vendor={}", vendor(number)),
            ..CohortStack::default()
        };
        let stacks: Vec<CohortStack> = (0..40).map(stack).collect();
        let gain = |number: usize| [1.0, 10.0][number % 2];
        // Numbers 0 and 1, 2 and 3, ... hold the same image.
        let grey: Vec<GreyFeatures> = (0..40)
            .map(|number| GreyFeatures { before: values(number / 2, gain(number)), after: values(number / 2, 1.0) })
            .collect();
        let quality: Vec<QualityRow> = stacks.iter().map(|stack| row(&stack.stack_id)).collect();
        let rows: Vec<ReportStack<'_>> =
            (0..40).map(|at| ReportStack { stack: &stacks[at], quality: &quality[at], grey: &grey[at] }).collect();
        let report = report(&rows, 3, "none".into(), &pool);
        let vendor = &report.probes[0];
        assert!(vendor.before.as_ref().unwrap().balanced_accuracy > 0.95, "{vendor:?}");
        // Twins of both vendors look alike, so that none can be told.
        assert!(vendor.after.as_ref().unwrap().balanced_accuracy <= 0.6, "{vendor:?}");
        assert!(report.probes[1].before.is_none() && report.probes[1].reason.is_some());
        let [ge, siemens] = &report.groups[..] else { panic!("two groups") };
        assert!(ge.before[..4].iter().sum::<f64>() > 0.95 && siemens.before[..4].iter().sum::<f64>() < 0.3);
        assert_eq!((ge.stacks, ge.flags["motion"], ge.flagged), (20, 20, 20));
        assert!((ge.after.iter().sum::<f64>() - 1.0).abs() < 1e-12 && ge.after == siemens.after);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    fn row(stack_id: &str) -> QualityRow {
        QualityRow { stack_id: stack_id.to_owned(), flags: vec![QualityFlag::Motion], ..QualityRow::default() }
    }
}
