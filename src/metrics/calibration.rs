//! Calibration: does a probability of 0.8 come true in 80 of 100 cases? Binned (reliability, ECE) and by logistic recalibration
//! (intercept and slope; Cox 1958, Van Calster et al. 2019).

use serde::{Deserialize, Serialize};

use super::cases::Case;

/// Bins of equal width over the probability of the predicted class.
pub const DEFAULT_BINS: usize = 10;

/// One reliability bin: confidences in `(low, high]`, the first also holding 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bin {
    /// Lower edge, excluded.
    pub low: f64,
    /// Upper edge, included.
    pub high: f64,
    /// Cases in the bin.
    pub n: u64,
    /// Mean probability of the predicted class; `None` when empty.
    pub confidence: Option<f64>,
    /// Share of correct cases; `None` when empty.
    pub accuracy: Option<f64>,
}

/// Reliability of the predicted class over `bins` bins of equal width.
pub fn reliability(cases: &[&Case], bins: usize) -> Vec<Bin> {
    let mut members: Vec<Vec<(f64, bool)>> = vec![Vec::new(); bins];
    for case in cases {
        let confidence = case.probabilities[case.predicted];
        let index = (confidence * bins as f64).ceil() as usize;
        members[index.clamp(1, bins) - 1].push((confidence, case.is_correct()));
    }
    let bin = |(index, mut members): (usize, Vec<(f64, bool)>)| {
        members.sort_by(|a, b| a.0.total_cmp(&b.0));
        let n = members.len() as u64;
        let mean = |sum: f64| (n > 0).then(|| sum / n as f64);
        Bin {
            low: index as f64 / bins as f64,
            high: (index + 1) as f64 / bins as f64,
            n,
            confidence: mean(members.iter().map(|member| member.0).sum()),
            accuracy: mean(members.iter().filter(|member| member.1).count() as f64),
        }
    };
    members.into_iter().enumerate().map(bin).collect()
}

/// Expected calibration error: mean over cases of |accuracy - confidence| of their bin (Naeini et al. 2015); `None` without a case.
pub fn expected_calibration_error(cases: &[&Case], bins: usize) -> Option<f64> {
    let total = cases.len() as f64;
    let gap = |bin: &Bin| Some(bin.n as f64 * (bin.accuracy? - bin.confidence?).abs());
    (total > 0.0).then(|| reliability(cases, bins).iter().filter_map(gap).sum::<f64>() / total)
}

/// Logistic recalibration of one class against the rest: `logit P(class) = intercept + slope * logit p`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recalibration {
    /// Calibration in the large: the intercept with the slope held at 1; 0 is perfect, below 0 the class is predicted too often.
    pub intercept: f64,
    /// Slope of the free fit; 1 is perfect, below 1 the probabilities are too extreme.
    pub slope: f64,
}

/// Why there is no [`Recalibration`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoRecalibration {
    /// All cases are of the class, or none is.
    OneOutcome,
    /// The probabilities separate the outcomes, or are all equal: the maximum-likelihood slope is infinite or arbitrary.
    NoFiniteFit,
}

/// Probabilities are kept this far from 0 and 1 before the logit.
const LOGIT_MARGIN: f64 = 1e-6;
/// A slope beyond this is taken for infinite: the outcomes are separated.
const LARGEST_SLOPE: f64 = 1e3;

/// Fits intercept and slope by maximum likelihood (Newton's method).
///
/// # Errors
/// The reason when there is no finite fit.
pub fn recalibrate(cases: &[&Case], class: usize) -> Result<Recalibration, NoRecalibration> {
    let logit = |p: f64| {
        let p = p.clamp(LOGIT_MARGIN, 1.0 - LOGIT_MARGIN);
        (p / (1.0 - p)).ln()
    };
    let mut points: Vec<(f64, bool)> =
        cases.iter().map(|case| (logit(case.probabilities[class]), case.label == class)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let positives = points.iter().filter(|point| point.1).count();
    if positives == 0 || positives == points.len() {
        return Err(NoRecalibration::OneOutcome);
    }
    if is_separated(&points) {
        return Err(NoRecalibration::NoFiniteFit);
    }
    let (_, slope) = newton(&points, false).ok_or(NoRecalibration::NoFiniteFit)?;
    let (intercept, _) = newton(&points, true).ok_or(NoRecalibration::NoFiniteFit)?;
    Ok(Recalibration { intercept, slope })
}

/// Whether a threshold splits the outcomes, with ties at the threshold only (quasi-complete separation), or all logits are equal.
fn is_separated(points: &[(f64, bool)]) -> bool {
    let range = |outcome: bool| {
        let of = points.iter().filter(|point| point.1 == outcome).map(|point| point.0);
        (of.clone().fold(f64::INFINITY, f64::min), of.fold(f64::NEG_INFINITY, f64::max))
    };
    let ((low_0, high_0), (low_1, high_1)) = (range(false), range(true));
    low_1 >= high_0 || low_0 >= high_1
}

/// Newton's method with step halving for intercept and slope, or for the intercept alone with the slope at 1.
fn newton(points: &[(f64, bool)], slope_is_one: bool) -> Option<(f64, f64)> {
    let log_likelihood = |a: f64, b: f64| -> f64 {
        points.iter().map(|&(x, y)| (a + b * x) * f64::from(u8::from(y)) - softplus(a + b * x)).sum()
    };
    let (mut a, mut b) = (0.0, 1.0);
    let mut current = log_likelihood(a, b);
    for _ in 0..200 {
        let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for &(x, y) in points {
            let p = 1.0 / (1.0 + (-(a + b * x)).exp());
            let (residual, curvature) = (f64::from(u8::from(y)) - p, p * (1.0 - p));
            ga += residual;
            gb += residual * x;
            haa += curvature;
            hab += curvature * x;
            hbb += curvature * x * x;
        }
        let determinant = haa * hbb - hab * hab;
        let (step_a, step_b) = if slope_is_one {
            (ga / haa, 0.0)
        } else {
            ((hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant)
        };
        if !(step_a.is_finite() && step_b.is_finite()) {
            return None;
        }
        let scale = (0..60).map(|power| 0.5_f64.powi(power)).find(|scale| {
            let next = log_likelihood(a + scale * step_a, b + scale * step_b);
            next >= current - 1e-12 * current.abs()
        })?;
        (a, b) = (a + scale * step_a, b + scale * step_b);
        current = log_likelihood(a, b);
        if b.abs() > LARGEST_SLOPE {
            return None;
        }
        if step_a.abs() < 1e-10 && step_b.abs() < 1e-10 {
            return Some((a, b));
        }
    }
    None
}

/// ln(1 + e^x) without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve binary cases: probability of class 1 and outcome.
    fn cases() -> Vec<Case> {
        let rows = [
            (0.05, 0),
            (0.1, 0),
            (0.2, 1),
            (0.3, 0),
            (0.35, 0),
            (0.45, 1),
            (0.55, 0),
            (0.6, 1),
            (0.7, 1),
            (0.8, 0),
            (0.9, 1),
            (0.97, 1),
        ];
        rows.iter().map(|&(p, label)| Case::new(0, label, vec![1.0 - p, p]).unwrap()).collect()
    }

    #[test]
    fn slope_and_intercept_equal_an_unpenalised_logistic_regression() {
        let cases = cases();
        let all: Vec<&Case> = cases.iter().collect();
        let fit = recalibrate(&all, 1).unwrap();
        // scipy.optimize.minimize of the Bernoulli likelihood (tests/python/metrics_reference.py), tolerance of its optimiser.
        assert!((fit.slope - 0.743_534_479_6).abs() < 1e-5, "{fit:?}");
        assert!((fit.intercept - 0.015_311_138_5).abs() < 1e-5, "{fit:?}");
    }

    #[test]
    fn separated_or_one_sided_outcomes_have_no_slope() {
        let separated: Vec<Case> =
            [(0.2, 0), (0.3, 0), (0.7, 1)].iter().map(|&(p, y)| Case::new(0, y, vec![1.0 - p, p]).unwrap()).collect();
        let all: Vec<&Case> = separated.iter().collect();
        assert_eq!(recalibrate(&all, 1), Err(NoRecalibration::NoFiniteFit));
        assert_eq!(recalibrate(&all[..2], 1), Err(NoRecalibration::OneOutcome));
    }

    #[test]
    fn the_calibration_error_is_as_computed_by_hand() {
        // Two cases at 0.9 (one right) and two at 0.6 (both right), ten bins: (2 |0.5 - 0.9| + 2 |1 - 0.6|) / 4.
        let rows = [(0.9, 1), (0.9, 0), (0.6, 1), (0.6, 1)];
        let cases: Vec<Case> = rows.iter().map(|&(p, y)| Case::new(0, y, vec![1.0 - p, p]).unwrap()).collect();
        let all: Vec<&Case> = cases.iter().collect();
        assert!((expected_calibration_error(&all, 10).unwrap() - 0.4).abs() < 1e-12);
        assert_eq!(expected_calibration_error(&[], 10), None);
    }

    #[test]
    fn a_confidence_on_an_edge_belongs_to_the_lower_bin() {
        let case = Case::new(0, 0, vec![0.5, 0.5]).unwrap();
        let bins = reliability(&[&case], 10);
        assert_eq!(bins[4].n, 1);
        let certain = Case::new(0, 0, vec![1.0, 0.0]).unwrap();
        assert_eq!(reliability(&[&certain], 10)[9].n, 1);
    }
}
